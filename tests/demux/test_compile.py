"""The compiler, by hand from the RFCs, and against dialogues that real stacks held."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from demux_actions import HANDSHAKE, STEP_NS, Action, dialogue, flow_table
from demux_reading import read_with_dpkt

from netsynth.demux import CompiledPackets, assemble_flows, compile_flows
from netsynth.errors import ConfigError
from netsynth.tables import (
    ACK,
    ACK_PART,
    ACK_SAME,
    AHEAD,
    FIN,
    ICMP,
    ICMPV6,
    KEEP_ALIVE,
    OPTION_SACK,
    RETRANSMIT,
    RST,
    SYN,
    TCP,
    UDP,
    FlowTable,
    PacketTable,
)

ROOT = Path(__file__).parents[2]
Numbers = list[tuple[int, int]]


def compiled(actions: list[Action], *, seed: int = 1) -> CompiledPackets:
    return compile_flows(flow_table([actions]), seed=seed, payload="zero")


def numbers(actions: list[Action], *, seed: int = 1) -> Numbers:
    """Return seq and ack of each packet relative to the side's first number; 0 without ACK."""
    p = compiled(actions, seed=seed).packets
    base: list[int | None] = [None, None]
    found: Numbers = []
    for i, action in enumerate(actions):
        side = int(action.reverse)
        if base[side] is None:
            base[side] = int(p.seq[i])
        start = base[side]
        assert start is not None
        ack = 0
        if p.tcp_flags[i] & ACK:
            if base[1 - side] is None:
                base[1 - side] = int(p.ack[i])
            ack = (int(p.ack[i]) - (base[1 - side] or 0)) % 2**32
        found.append(((int(p.seq[i]) - start) % 2**32, ack))
    return found


def test_a_whole_connection_is_numbered_as_rfc_9293_figure_5_and_12_do() -> None:
    assert numbers(dialogue(100, 2000)) == [
        (0, 0), (0, 1), (1, 1),
        (1, 1), (1, 101),
        (1, 101), (1449, 101), (101, 2001),
        (101, 2001), (2001, 102), (102, 2002),
    ]  # fmt: skip


def test_numbers_wrap_past_the_32nd_bit() -> None:
    """Send 3 MB a flow: with this seed, some of 1,000 flows pass 2**32 on their way."""
    data = [Action("PA", payload=60_000), Action("A", True)] * 50
    table = flow_table([HANDSHAKE + data] * 1000)
    p = compile_flows(table, seed=0, payload="zero").packets
    seq = p.seq.astype(np.int64).reshape(1000, -1)[:, 3::2]  # the data
    ack = p.ack.astype(np.int64).reshape(1000, -1)[:, 4::2]  # and what acknowledges it
    assert (np.diff(seq, axis=1) % 2**32 == 60_000).all()
    assert ((ack - seq) % 2**32 == 60_000).all()
    assert 0 < np.count_nonzero(np.diff(seq, axis=1) < 0) < 10


RETRANSMISSIONS: dict[str, tuple[list[Action], Numbers]] = {
    "the segment at the peer's acknowledgement": (
        [
            Action("PA", payload=500),
            Action("PA", payload=500),
            Action("PA", payload=500),
            Action("A", True, ack_class=ACK_PART),
            Action("PA", payload=500, segment=RETRANSMIT),
        ],
        [(1, 1), (501, 1), (1001, 1), (1, 1001), (1001, 1)],
    ),
    "the last where all are acknowledged": (
        [
            Action("PA", payload=500),
            Action("PA", payload=300),
            Action("A", True),
            Action("PA", payload=500, segment=RETRANSMIT),
            Action("PA", payload=100),
        ],
        [(1, 1), (501, 1), (1, 801), (501, 1), (801, 1)],
    ),
    "the last whole where none is as long": (
        [Action("PA", payload=500), Action("PA", payload=200, segment=RETRANSMIT)] * 2,
        [(1, 1), (1, 1), (501, 1), (501, 1)],
    ),
    "not one in the middle of what was just sent": (
        [
            Action("PA", payload=400),
            Action("PA", payload=6),
            Action("PA", payload=53),
            Action("PA", payload=6, segment=RETRANSMIT),
            Action("A", True),
        ],
        [(1, 1), (401, 1), (407, 1), (407, 1), (1, 460)],
    ),
    "nothing to repeat": (
        [Action("PA", payload=500, segment=RETRANSMIT), Action("A", True)],
        [(1, 1), (1, 501)],
    ),
    "a keep-alive": (
        [Action("PA", payload=9), Action("A", segment=KEEP_ALIVE), Action("A", True)],
        [(1, 1), (9, 1), (1, 10)],
    ),
    "data ahead, and the retransmission that fills the hole": (
        [
            Action("PA", payload=500),
            Action("PA", payload=100, segment=AHEAD),
            Action("A", True),
            Action("PA", payload=700, segment=RETRANSMIT),
            Action("A", True),
        ],
        [(1, 1), (1201, 1), (1, 501), (501, 1), (1, 1301)],
    ),
    "data ahead of what the capture missed": (
        [
            Action("PA", payload=500, segment=0),
            Action("PA", payload=90, segment=AHEAD),
            Action("A", True),
        ],
        [(1, 1), (591, 1), (1, 681)],
    ),
    "the same and parts": (
        [Action("PA", payload=100)] * 4
        + [Action("A", True, ack_class=ACK_PART), Action("A", True, ack_class=ACK_SAME)]
        + [Action("A", True, ack_class=ACK_PART), Action("A", True)],
        # one of four, three left for two: two, as 1.5 is rounded up, then the last
        [(1, 1), (101, 1), (201, 1), (301, 1), (1, 101), (1, 101), (1, 301), (1, 401)],
    ),
    "a repeated FIN": (
        [
            Action("FPA", payload=5),
            Action("FPA", payload=5, segment=RETRANSMIT),
            Action("FA", True),
            Action("A"),
        ],
        [(1, 1), (1, 1), (1, 7), (7, 2)],
    ),
    "a reset without ACK stands where it was acknowledged": (
        [Action("PA", payload=100), Action("A", True), Action("PA", payload=50), Action("R")],
        [(1, 1), (1, 101), (101, 1), (101, 0)],
    ),
}


@pytest.mark.parametrize("name", RETRANSMISSIONS)
@pytest.mark.parametrize("seed", range(3))
def test_segments_after_a_handshake(name: str, seed: int) -> None:
    actions, expected = RETRANSMISSIONS[name]
    assert numbers(HANDSHAKE + actions, seed=seed)[3:] == expected


def test_initial_numbers_differ_between_flows_sides_and_seeds() -> None:
    table = flow_table([HANDSHAKE] * 50)
    first = compile_flows(table, seed=1).packets.seq[np.isin(np.arange(150) % 3, (0, 1))]
    second = compile_flows(table, seed=2).packets.seq[np.isin(np.arange(150) % 3, (0, 1))]
    assert len({*first.tolist(), *second.tolist()}) == 200


def test_a_refused_syn_is_answered_from_number_0() -> None:
    p = compiled([Action("S"), Action("RA", True)]).packets
    assert p.seq[1] == 0
    assert p.ack[1] == (int(p.seq[0]) + 1) % 2**32


def test_a_flow_seen_midway_agrees_on_both_sides() -> None:
    p = compiled([Action("PA", payload=10), Action("PA", True, 20), Action("A")]).packets
    assert int(p.ack[0]) == int(p.seq[1])
    assert int(p.ack[1]) == (int(p.seq[0]) + 10) % 2**32
    assert int(p.ack[2]) == (int(p.seq[1]) + 20) % 2**32


OFFER = Action("S", option_bits=15, mss=1460, window_scale=7, window=64240)
ANSWER = Action("SA", True, option_bits=15, mss=1460, window_scale=2, window=65160)


def test_agreed_timestamps_are_on_every_segment_tick_in_milliseconds_and_are_echoed() -> None:
    stamped = Action("A", option_bits=8)
    actions = [OFFER, ANSWER, stamped, stamped._replace(payload=10), Action("A", True)]
    result = compiled(actions)
    p = result.packets
    assert p.option_bits.tolist() == [15, 15, 8, 8, 8]
    assert result.repairs["options_added"] == 1
    assert STEP_NS == 1_000_000
    client, server = p.ts_val[[0, 2, 3]].astype(np.int64), p.ts_val[[1, 4]].astype(np.int64)
    assert (client - client[0]).tolist() == [0, 2, 3]
    assert (server - server[0]).tolist() == [0, 3]
    assert p.ts_ecr.tolist() == [0, client[0], server[0], server[0], client[2]]


def test_most_segments_decide_on_timestamps() -> None:
    stamped = Action("A", option_bits=8)
    answer = ANSWER._replace(option_bits=1, window_scale=255)
    p = compiled([OFFER, answer, stamped, stamped]).packets
    assert p.option_bits.tolist() == [15, 15, 8, 8]
    assert p.window_scale.tolist() == [7, 7, 255, 255]
    p = compiled([OFFER, ANSWER, Action("A"), stamped, Action("A", True)]).packets
    assert p.option_bits.tolist() == [7, 7, 0, 0, 0]


def test_options_that_one_side_lacks_are_dropped() -> None:
    answer = ANSWER._replace(option_bits=1)
    late = Action("PA", payload=10, option_bits=23, mss=9, window_scale=3)
    p = compiled([OFFER, answer, Action("A"), late]).packets
    assert p.option_bits.tolist() == [15, 1, 0, 0]
    assert p.window_scale.tolist() == [7, 255, 255, 255]
    assert p.mss.tolist() == [1460, 1460, 0, 0]
    assert not p.ts_val[1:].any()
    offer = OFFER._replace(option_bits=1)
    assert compiled([offer, ANSWER, Action("A")]).packets.option_bits.tolist() == [1, 1, 0]


def test_clocks_belong_to_hosts_whatever_the_table() -> None:
    stamped = [Action("PA", payload=1, option_bits=8)]
    one = compile_flows(flow_table([stamped]), seed=5).packets
    many = compile_flows(flow_table([stamped] * 3), seed=5).packets
    assert many.ts_val[0] == one.ts_val[0]
    assert np.diff(many.ts_val.astype(np.int64)).tolist() == [1, 1]


def test_a_window_is_raised_to_hold_the_data() -> None:
    offer, answer = OFFER._replace(option_bits=7), ANSWER._replace(option_bits=7)
    actions = [offer, answer, Action("A"), Action("A", True, window=100)]
    actions += [Action("PA", payload=1000, window=9)]
    result = compiled(actions)
    assert result.packets.window.tolist() == [64240, 65160, 65535, 100, 9]  # the SYN-ACK's holds
    small = [offer, answer._replace(window=300), Action("A"), Action("A", True, window=100)]
    result = compiled([*small, Action("PA", payload=1000), Action("A", True, window=7)])
    assert result.packets.window.tolist() == [64240, 300, 65535, 250, 65535, 7]  # 250 << 2
    assert result.repairs["window_raised"] == 1


def test_data_beyond_any_window_becomes_a_retransmission() -> None:
    actions = HANDSHAKE + [Action("A", payload=30_000)] * 3
    result = compiled(actions)
    assert numbers(actions)[3:] == [(1, 1), (30_001, 1), (30_001, 1)]
    assert result.repairs["window_blocked"] == 1


REPAIRED: dict[str, tuple[list[Action], list[str]]] = {
    "late_syn": ([*HANDSHAKE, Action("S")], ["S", "SA", "A", "A"]),
    "late_syn_ack": ([*HANDSHAKE, Action("PA", True, 9), Action("SA", True)], ["A", "PA", "A"]),
    "syn_ack_added": ([Action("S"), Action("A", True), Action("A")], ["S", "SA", "A"]),
    "early_data": (
        [Action("S"), Action("A"), Action("R"), Action("SA", True)],
        ["S", "S", "R", "SA"],
    ),
    "ack_added": ([*HANDSHAKE, Action("P", payload=9)], ["A", "PA"]),
    "early_fin": ([*HANDSHAKE, Action("FA"), Action("PA", payload=3)], ["A", "A", "FPA"]),
    "early_reset": ([*HANDSHAKE, Action("R"), Action("PA", payload=3)], ["A", "A", "PA"]),
    "after_reset": ([*HANDSHAKE, Action("R"), Action("A")], ["A", "R", "RA"]),
    "syn_with_fin_or_rst": ([Action("SF")], ["S"]),
}


@pytest.mark.parametrize("name", REPAIRED)
def test_repairs_change_flags_as_little_as_needed(name: str) -> None:
    actions, expected = REPAIRED[name]
    result = compiled(actions)
    flags = [
        "".join(letter for bit, letter in enumerate("FSRPAUEC") if value >> bit & 1)
        for value in result.packets.tcp_flags.tolist()
    ]
    assert flags[-len(expected) :] == expected
    assert {key: count for key, count in result.repairs.items() if count} == {name: 1}


def test_data_after_fin_repeats_what_was_sent() -> None:
    actions = [*HANDSHAKE, Action("PA", payload=50), Action("FA")]
    actions += [Action("PA", payload=50, segment=RETRANSMIT), Action("FA")]
    assert numbers(actions)[3:] == [(1, 1), (51, 1), (1, 1), (51, 1)]


def test_after_fin_no_part_of_a_segment_is_repeated() -> None:
    actions = [*HANDSHAKE, Action("PA", payload=50), Action("FA")]
    actions.append(Action("PA", payload=20, segment=RETRANSMIT))
    assert numbers(actions)[3:] == [(1, 1), (51, 1), (52, 1)]
    assert compiled(actions).packets.payload_length.tolist() == [0, 0, 0, 50, 0, 0]


def test_a_retransmission_sooner_than_any_answer_is_a_copy_of_the_last() -> None:
    """Nothing can have been missed yet, but networks copy segments."""
    sizes = [(100, 0), (60, 0), (60, RETRANSMIT), (100, RETRANSMIT)]
    actions = [*HANDSHAKE, *[Action("A", payload=size, segment=kind) for size, kind in sizes]]
    actions.append(Action("A", reverse=True))
    times_ms = [0, 10, 20, 21, 22, 23, 24, 34]
    flows = flow_table([actions], times_ns=[[time * STEP_NS for time in times_ms]])
    p = compile_flows(flows, seed=1, payload="zero").packets
    assert (p.seq[3:7] - p.seq[0]).tolist() == [1, 101, 101, 101]
    assert p.payload_length[3:7].tolist() == [100, 60, 60, 60]


def test_after_a_timeout_what_is_not_acknowledged_is_repeated() -> None:
    """200 ms after the last segment it is the first one that went unanswered; sooner the last."""
    for wait_ms, start in ((30, 101), (250, 1)):
        actions = [*HANDSHAKE, Action(payload=100), Action(payload=60)]
        actions += [Action(payload=40, segment=RETRANSMIT), Action("A", reverse=True)]
        times_ms = np.cumsum([0, 10, 10, 1, 1, wait_ms, 10])
        flows = flow_table([actions], times_ns=[(times_ms * STEP_NS).tolist()])
        p = compile_flows(flows, seed=1, payload="zero").packets
        assert p.seq[5] - p.seq[0] == start
        assert p.payload_length[5] == (60 if start == 101 else 100)


def test_a_byte_repeated_is_a_keep_alive_only_in_silence() -> None:
    """A second or more after everything was acknowledged; sooner the last segment comes again."""
    for wait_ms, start, size in ((400, 1, 300), (1500, 300, 1)):
        actions = [*HANDSHAKE, Action("PA", payload=300), Action("A", reverse=True)]
        actions += [Action("A", payload=1, segment=KEEP_ALIVE), Action("A", reverse=True)]
        times_ms = np.cumsum([0, 10, 10, 1, 10, wait_ms, 10])
        flows = flow_table([actions], times_ns=[(times_ms * STEP_NS).tolist()])
        p = compile_flows(flows, seed=1, payload="zero").packets
        assert (p.seq[5] - p.seq[0], p.payload_length[5]) == (start, size)


def test_a_fin_repeats_a_whole_segment_or_brings_new_data() -> None:
    close = Action("FPA", payload=30, segment=RETRANSMIT)
    for size, place in ((50, 51), (30, 1)):
        actions = [*HANDSHAKE, Action("PA", payload=size), close]
        assert numbers(actions)[4] == (place, 1), size


@pytest.mark.parametrize("size", [20, 80])
def test_a_fin_that_came_with_data_comes_again_with_them(size: int) -> None:
    """Of another length they would be other bytes in the place of those that the peer may have; the
    FIN stands behind its 50 bytes, at 51, and the peer acknowledges 52."""
    again = Action("FPA", payload=size, segment=RETRANSMIT)
    actions = [*HANDSHAKE, Action("FPA", payload=50), again, Action("FA", True), Action("A")]
    assert numbers(actions)[3:] == [(1, 1), (1, 1), (1, 52), (52, 2)]
    result = compiled(actions)
    assert result.packets.payload_length.tolist() == [0, 0, 0, 50, 50, 0, 0]
    assert (result.packets.tcp_flags[3:5] & FIN > 0).all()
    assert {name: count for name, count in result.repairs.items() if count} == {"repeat_resized": 1}


@pytest.mark.parametrize("size", [20, 80])
def test_a_fin_that_came_alone_comes_again_alone(size: int) -> None:
    """Behind 50 bytes, at 51; data drawn with it again would be new ones behind the end."""
    again = Action("FPA", payload=size, segment=RETRANSMIT)
    for before in ([Action("PA", payload=50)], []):
        actions = [*HANDSHAKE, *before, Action("FA"), again]
        place = 51 if before else 1
        assert numbers(actions)[-2:] == [(place, 1), (place, 1)]
        result = compiled(actions)
        assert result.packets.payload_length[-2:].tolist() == [0, 0]
        assert (result.packets.tcp_flags[-2:] & FIN > 0).all()


@pytest.mark.parametrize("flags", ["F", "", "FPU", "S", "R", "A"])
def test_scans_stay_as_they_are(flags: str) -> None:
    result = compiled([Action(flags)])
    assert not any(result.repairs.values())
    assert result.packets.tcp_flags.tolist() == [
        sum(1 << "FSRPAUEC".index(letter) for letter in flags)
    ]


def test_lengths_follow_headers_and_payload() -> None:
    actions = [OFFER, ANSWER, *[Action("A", payload=size, option_bits=8) for size in (0, 100)]]
    p = compiled(actions).packets
    assert p.ip_length.tolist() == [60, 60, 52, 152]  # 20 + 20 + options + payload
    assert p.wire_length.tolist() == [74, 74, 66, 166]
    six = compile_flows(flow_table([[Action(payload=9)]], protocol=UDP, ip_version=6), seed=0)
    assert six.packets.ip_length.tolist() == [40 + 8 + 9]
    assert not six.packets.ip_id.any()


def test_identification_counts_and_is_0_where_no_socket_is() -> None:
    p = compiled([*HANDSHAKE, Action("A"), Action("RA", True)]).packets
    client = p.ip_id[[0, 2, 3]].astype(np.int64)
    assert ((client - client[0]) % 65536).tolist() == [0, 1, 2]
    assert p.ip_id[[1, 4]].tolist() == [0, 0]


@pytest.mark.parametrize(("protocol", "asked", "answered"), [(ICMP, 8, 0), (ICMPV6, 128, 129)])
def test_echo_replies_carry_their_request_numbers(protocol: int, asked: int, answered: int) -> None:
    ask = Action("", payload=56, icmp=asked << 8)
    answer = Action("", True, 56, icmp=answered << 8)
    times = [0, 1, 2, 3, 2_000, 2_001]  # ms; the third request is never answered
    table = flow_table(
        [[ask, ask, answer, answer, ask, answer], [ask, answer]],
        protocol=protocol,
        ip_version=4 if protocol == ICMP else 6,
        times_ns=[[time * 10**6 for time in times], [0, 1]],
    )
    result = compile_flows(table, seed=9)
    order = np.argsort(result.flow, kind="stable")
    seq = result.packets.seq[order].astype(np.int64)
    assert (seq & 0xFFFF).tolist() == [1, 2, 1, 2, 3, 3, 1, 1]
    assert len(set((seq >> 16)[:6].tolist())) == 1
    assert seq[0] >> 16 != seq[6] >> 16


def test_a_lost_request_is_not_answered_late() -> None:
    ask, answer = Action("", payload=56, icmp=8 << 8), Action("", True, 56)
    times = [[0, 5 * 10**9, 5 * 10**9 + 10**6]]
    table = flow_table([[ask, ask, answer]], protocol=ICMP, times_ns=times)
    assert (compile_flows(table, seed=0).packets.seq & 0xFFFF).tolist() == [1, 2, 2]


def test_packets_come_in_order_of_time_with_their_flow() -> None:
    table = flow_table([[Action("S")] * 2] * 2, times_ns=[[5, 30], [10, 30]])
    result = compile_flows(table, seed=0)
    assert result.packets.time_ns.tolist() == [5, 10, 30, 30]
    assert result.flow.tolist() == [0, 1, 0, 1]


def test_the_actions_given_are_left_alone() -> None:
    table = flow_table([[Action("SF", option_bits=31)]])
    before = {name: getattr(table.packets, name).copy() for name in ("tcp_flags", "option_bits")}
    compile_flows(table, seed=0)
    for name, column in before.items():
        assert np.array_equal(getattr(table.packets, name), column)


def test_no_flows_compile_to_no_packets() -> None:
    empty = assemble_flows(PacketTable.zeros(0, np.zeros((0, 16), dtype=np.uint8)))
    assert len(compile_flows(empty, seed=0).packets) == 0


def test_an_unknown_payload_is_an_error() -> None:
    with pytest.raises(ConfigError, match="payload is 'zeros', but must be one of templates, zero"):
        compile_flows(flow_table([HANDSHAKE]), seed=0, payload="zeros")


@pytest.fixture(scope="module")
def office() -> FlowTable:
    return assemble_flows(read_with_dpkt(ROOT / "sample_pcaps" / "office.pcap"))


def relative(packets: PacketTable, flows: FlowTable, column: str) -> np.ndarray:
    """Return seq or ack counted from the first number of its side, in the order of flows."""
    key = flows.flow_of_packet * 2 + flows.reverse
    base = np.full(2 * len(flows) + 2, -1, dtype=np.int64)
    rows, first = np.unique(key, return_index=True)
    base[rows] = packets.seq[first]
    side = key if column == "seq" else key ^ 1
    shifted = (getattr(packets, column).astype(np.int64) - base[side]) % 2**32
    return np.where(base[side] >= 0, shifted, 0)


def test_dialogues_of_real_stacks_compile_to_the_same_numbers(office: FlowTable) -> None:
    """Forget numbers, keep actions: flags all come back, and nearly all numbers.

    What cannot is which byte a partial acknowledgement covers, and which of several lost segments
    a retransmission repeats: an action does not say.
    """
    result = compile_flows(office, seed=4, payload="zero")
    back = np.empty(len(office.packets), dtype=np.int64)
    back[np.argsort(office.packets.time_ns, kind="stable")] = np.arange(back.size)
    made, real = result.packets.take(back), office.packets
    assert not any(result.repairs.values())
    for name in ("tcp_flags", "payload_length", "window", "mss", "window_scale", "time_ns", "src"):
        assert np.array_equal(getattr(made, name), getattr(real, name)), name
    assert np.array_equal(made.option_bits & 15, real.option_bits & 15)
    told, kept = made.option_bits & OPTION_SACK > 0, real.option_bits & OPTION_SACK > 0
    assert (told & kept).sum() > 0.6 * kept.sum()  # the rest stands and falls with partial ACKs
    assert (told & ~kept).sum() < 0.2 * told.sum()
    tcp = real.protocol == TCP
    has_ack = tcp & ((real.tcp_flags & ACK) != 0)
    same_seq = (relative(made, office, "seq") == relative(real, office, "seq"))[tcp]
    same_ack = (relative(made, office, "ack") == relative(real, office, "ack"))[has_ack]
    assert same_seq.mean() > 0.997
    assert same_ack.mean() > 0.94
    whole = has_ack & (office.ack_class == 1)
    assert (relative(made, office, "ack") == relative(real, office, "ack"))[whole].mean() > 0.999


def test_compiled_packets_assemble_to_the_same_flows_and_classes(office: FlowTable) -> None:
    again = assemble_flows(compile_flows(office, seed=4, payload="zero").packets)
    assert np.array_equal(again.offsets, office.offsets)
    assert np.array_equal(again.reverse, office.reverse)
    assert np.array_equal(again.initiator, office.initiator)
    assert (again.segment == office.segment).mean() > 0.9999
    assert (again.ack_class == office.ack_class).mean() > 0.997


def test_resets_and_closings_of_real_stacks_are_kept(office: FlowTable) -> None:
    result = compile_flows(office, seed=4, payload="zero")
    for flag in (SYN, FIN, RST):
        real = np.count_nonzero(office.packets.tcp_flags & flag)
        assert np.count_nonzero(result.packets.tcp_flags & flag) == real


@pytest.mark.parametrize(("protocol", "port"), [(TCP, 443), (TCP, 80), (UDP, 53)])
def test_a_flow_compiles_alike_whatever_is_beside_it(protocol: int, port: int) -> None:
    """A trace compiled window by window has the numbers it would have in one piece."""
    exchange = [Action("", False, 60), Action("", True, 90)] * 2
    flow = dialogue(300, 2000, 80, 40) if protocol == TCP else exchange
    table = flow_table([flow, flow], protocol=protocol, port=port)
    both = compile_flows(table, seed=6)
    rows = np.flatnonzero(both.flow == 1)
    alone = compile_flows(assemble_flows(both.packets.take(rows)), seed=6)
    for name in ("seq", "ack", "ip_id", "ts_val"):
        assert np.array_equal(getattr(alone.packets, name), getattr(both.packets, name)[rows]), name
    for one, other in enumerate(rows.tolist()):
        length = int(both.prefix_length[other])
        start, begin = int(both.prefix_start[other]), int(alone.prefix_start[one])
        expected = both.prefix[start : start + length].tobytes()
        assert alone.prefix[begin : begin + int(alone.prefix_length[one])].tobytes() == expected
