"""Whatever a generator emits compiles to a dialogue that an independent checker accepts."""

from __future__ import annotations

import struct

import numpy as np
from demux_actions import HANDSHAKE, Action, flow_table
from demux_checker import complaints
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsynth.demux import assemble_flows, compile_flows
from netsynth.tables import (
    ACK,
    AHEAD,
    FIN,
    IN_ORDER,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    PACKET_COLUMNS,
    RST,
    SYN,
)

FLAGS = ["S", "SA", "A", "PA", "A", "PA", "FA", "R", "RA", "", "F", "SF", "SR", "FPU", "SEC"]
ACTION = st.builds(
    Action,
    flags=st.sampled_from(FLAGS),
    reverse=st.booleans(),
    payload=st.sampled_from([0, 0, 0, 1, 2, 100, 100, 536, 1448, 1448, 9000, 65_000]),
    segment=st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
    ack_class=st.sampled_from([None, None, 0, 1, 1, 2, 3]),
    window=st.sampled_from([0, 1, 100, 512, 8192, 65_535]),
    option_bits=st.integers(0, 31),
    mss=st.sampled_from([0, 536, 1460]),
    window_scale=st.sampled_from([255, 0, 2, 7, 14, 20]),
    icmp=st.just(0),
)
NEW_SEGMENT = ACTION.filter(lambda a: not {*a.flags} & {*"SR"} and a.segment in (IN_ORDER, AHEAD))
OPENING = st.sampled_from(
    [[], [Action("S")], [Action("S", option_bits=15, window_scale=7, mss=1460)]]
)
FLOW = st.builds(lambda opening, rest: opening + rest, OPENING, st.lists(ACTION, max_size=40))


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(FLOW.filter(bool), min_size=1, max_size=3), st.integers(0, 2**40))
@example([[Action("S"), Action("PA", True, 9), Action("SA", True), Action("FA")]], 0)
def test_any_actions_compile_to_legal_dialogues(flows: list[list[Action]], seed: int) -> None:
    table = flow_table(flows)
    compiled = compile_flows(table, seed=seed)
    p = compiled.packets
    assert (np.diff(p.time_ns) >= 0).all()
    added = compiled.repairs["syn_ack_inserted"] + compiled.repairs["ack_inserted"]
    assert len(p) == len(table.packets) + added
    if not added:
        assert np.array_equal(compiled.flow, table.flow_of_packet)
    if not added and not compiled.repairs["early_moved"]:
        assert np.array_equal(p.time_ns, table.packets.time_ns)
        assert np.array_equal(p.src, table.packets.src)
    reverse = p.src != table.initiator[compiled.flow]
    for flow in range(len(table)):
        rows = np.flatnonzero(compiled.flow == flow)
        drawn = slice(table.offsets[flow], table.offsets[flow + 1])
        one = p.take(rows)
        assert 0 <= rows.size - table.reverse[drawn].size <= 2
        assert 0 <= reverse[rows].sum() - table.reverse[drawn].sum() <= added
        found = list(complaints(one, reverse[rows]))
        assert not found, (found, flows[flow])
    tells = p.option_bits & OPTION_SACK > 0
    assert (compiled.prefix_length <= np.where(tells, 36, p.payload_length)).all()
    blocks_name_what_was_sent(compiled, reverse)
    assert (compiled.prefix_start + compiled.prefix_length <= compiled.prefix.size).all()
    streams_repeat_their_bytes(compiled, compiled.flow, reverse)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(FLOW.filter(bool), min_size=1, max_size=3), st.integers(0, 2**40))
def test_the_same_seed_gives_the_same_packets(flows: list[list[Action]], seed: int) -> None:
    first, second = (compile_flows(flow_table(flows), seed=seed) for _ in range(2))
    for name in PACKET_COLUMNS:
        assert np.array_equal(getattr(first.packets, name), getattr(second.packets, name)), name
    assert np.array_equal(first.prefix, second.prefix)
    assert np.array_equal(first.prefix_start, second.prefix_start)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(st.lists(NEW_SEGMENT, max_size=30))
def test_compiling_the_packets_again_repairs_nothing(actions: list[Action]) -> None:
    """What the compiler wrote after a handshake, read back as flows, is legal as it is."""
    once = compile_flows(flow_table([[*HANDSHAKE, *actions]]), seed=1)
    flows = assemble_flows(once.packets)
    again = compile_flows(flows, seed=2)
    kept = np.array_equal(np.sort(again.packets.tcp_flags), np.sort(once.packets.tcp_flags))
    assert kept, again.repairs


def streams_repeat_their_bytes(compiled, flow, reverse) -> None:  # type: ignore[no-untyped-def]
    """Check that what one sequence number carries is the same wherever it is sent."""
    known: dict[tuple[int, bool, int], int] = {}
    p = compiled.packets
    for i in range(len(p)):
        start = int(p.seq[i]) + bool(p.tcp_flags[i] & SYN)
        begin = int(compiled.prefix_start[i])
        if p.option_bits[i] & OPTION_SACK:
            continue
        data = compiled.prefix[begin : begin + int(compiled.prefix_length[i])]
        for offset, byte in enumerate(data.tolist()):
            place = (int(flow[i]), bool(reverse[i]), (start + offset) % 2**32)
            assert known.setdefault(place, byte) == byte, f"packet {i} changes a byte"


def blocks_name_what_was_sent(compiled, reverse) -> None:  # type: ignore[no-untyped-def]
    """Check SACK blocks as their receiver would: RFC 2018 section 4, RFC 2883 section 4."""
    p = compiled.packets
    sent: dict[tuple[int, bool], set[int]] = {}
    for i in range(len(p)):
        key = int(compiled.flow[i]), bool(reverse[i])
        start, flags = int(p.seq[i]), int(p.tcp_flags[i])
        if not flags & RST:
            length = int(p.payload_length[i]) + bool(flags & SYN) + bool(flags & FIN)
            sent.setdefault(key, set()).update(n % 2**32 for n in range(start, start + length))
        if not p.option_bits[i] & OPTION_SACK:
            continue
        assert not p.payload_length[i]
        assert not flags & (SYN | FIN | RST)
        begin, length = int(compiled.prefix_start[i]), int(compiled.prefix_length[i])
        option = compiled.prefix[begin : begin + length].tobytes()
        assert length <= (28 if p.option_bits[i] & OPTION_TIMESTAMPS else 36)
        assert option[:4] == bytes([1, 1, 5, length - 2])
        edges = struct.unpack(f">{(length - 4) // 4}I", option[4:])
        told: set[int] = set()
        for place, (left, right) in enumerate(zip(edges[::2], edges[1::2], strict=True)):
            bytes_of = {n % 2**32 for n in range(left, left + (right - left) % 2**32)}
            assert bytes_of
            assert bytes_of <= sent[key[0], not key[1]], f"packet {i} tells what was not sent"
            is_ahead = (left - int(p.ack[i]) - 1) % 2**32 < 2**31
            assert is_ahead or place == 0, f"packet {i} tells what it acknowledges"
            if is_ahead:
                assert not bytes_of & told
                told |= bytes_of


def test_acks_of_one_sided_flows_stay_put() -> None:
    table = flow_table([[Action("PA", False, 100)] * 3])
    p = compile_flows(table, seed=3).packets
    assert np.diff(p.seq.astype(np.int64) % 2**32).tolist() == [100, 100]
    assert len(set(p.ack.tolist())) == 1
    assert (p.tcp_flags & ACK).all()
