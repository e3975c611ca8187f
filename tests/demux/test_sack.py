"""Selective acknowledgements, by the examples of RFC 2018 section 4 and RFC 2883 section 4."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from demux_actions import Action, flow_table
from demux_reading import read_with_dpkt
from demux_writing import write

from netsynth.demux import CompiledPackets, assemble_flows, compile_flows
from netsynth.tables import ACK_SAME, AHEAD, KEEP_ALIVE, OPTION_SACK, OPTION_TIMESTAMPS, RETRANSMIT

ROOT = Path(__file__).parents[2]
Blocks = list[tuple[int, int]]
SIZE = 500  # bytes of each segment, as in RFC 2018


def opening(bits: int, *, answered: int | None = None) -> list[Action]:
    """Return a handshake whose SYNs offer `bits`."""
    stamped = bits & 8
    other = bits if answered is None else answered
    return [
        Action("S", option_bits=bits, mss=1460, window_scale=7),
        Action("SA", True, option_bits=other, mss=1460, window_scale=7),
        Action("A", option_bits=stamped),
    ]


def told(compiled: CompiledPackets) -> list[tuple[int, int, Blocks]]:
    """Return row, acknowledgement and blocks of each segment with SACK, from the peer's SYN on."""
    p, found = compiled.packets, []
    base = {int(p.src[row]): int(p.seq[row]) for row in (0, 1)}
    for row in np.flatnonzero(p.option_bits & OPTION_SACK):
        start, length = compiled.prefix_start[row], compiled.prefix_length[row]
        option = compiled.prefix[start : start + length].tobytes()
        assert option[:4] == bytes([1, 1, 5, length - 2])
        assert p.payload_length[row] == 0
        edges = struct.unpack(f">{(length - 4) // 4}I", option[4:])
        first = base[int(p.dst[row])]
        near = [(edge - first) % 2**32 for edge in edges]
        blocks = list(zip(near[::2], near[1::2], strict=True))
        found.append((int(row), (int(p.ack[row]) - first) % 2**32, blocks))
    return found


def compiled(actions: list[Action], seed: int = 1) -> CompiledPackets:
    return compile_flows(flow_table([actions]), seed=seed, payload="zero")


def data(segment: int = 0, flags: str = "A", size: int = SIZE) -> Action:
    return Action(flags, payload=size, segment=segment)


def answer(ack_class: int | None = None, bits: int = 0) -> Action:
    return Action("A", True, ack_class=ack_class, option_bits=bits)


def test_a_lost_segment_leaves_one_block_that_grows() -> None:
    """RFC 2018 section 4, case 2: the first of the segments is dropped, the others arrive."""
    later = [each for _ in range(3) for each in (data(), answer(ACK_SAME))]
    lost = [data(AHEAD), answer(ACK_SAME), *later, data(RETRANSMIT), answer()]
    found = told(compiled([*opening(4), *lost]))
    assert [(ack, blocks) for _, ack, blocks in found] == [
        (1, [(501, 1001 + SIZE * k)]) for k in range(4)
    ]


def test_every_other_segment_lost_leaves_blocks_the_newest_first() -> None:
    """RFC 2018 section 4, case 3: the second, fourth and sixth segments are dropped."""
    ahead = [each for _ in range(3) for each in (data(AHEAD), answer(ACK_SAME))]
    found = told(compiled([*opening(4), data(), answer(), *ahead, *[data(RETRANSMIT)] * 3]))
    first, second, third = (1001, 1501), (2001, 2501), (3001, 3501)
    assert [(ack, blocks) for _, ack, blocks in found] == [
        (501, [first]),
        (501, [second, first]),
        (501, [third, second, first]),
    ]


@pytest.mark.parametrize(("bits", "most"), [(4, 4), (12, 3)])
def test_blocks_fit_into_the_header(bits: int, most: int) -> None:
    """RFC 2018 section 3: four blocks, three beside timestamps; the oldest is left out."""
    ahead = [each for _ in range(6) for each in (data(AHEAD), answer(ACK_SAME, bits & 8))]
    for place, action in enumerate(ahead):
        ahead[place] = action._replace(option_bits=bits & 8)
    part = compiled([*opening(bits), *ahead, *[data(RETRANSMIT)] * 6])
    found = told(part)
    assert max(len(blocks) for _, _, blocks in found) == most
    row, _, blocks = found[5]
    assert blocks == sorted(blocks, reverse=True)
    stamps = 12 if bits & 8 else 0
    assert part.packets.ip_length[row] == 20 + 20 + stamps + 4 + 8 * most
    assert part.packets.wire_length[row] == part.packets.ip_length[row] + 14


def wish(ack_class: int | None = None, bits: int = 0) -> Action:
    """Return an acknowledgement that should tell blocks: whether it does is drawn, since not every
    stack tells what came twice, and a network may have copied it behind the tap."""
    return answer(ack_class, bits | OPTION_SACK)


@pytest.mark.parametrize(("wished", "told_at"), [("00", []), ("10", [7]), ("01", [8]), ("11", [7])])
def test_a_repeated_segment_is_told_once_where_that_is_wished(
    wished: str, told_at: list[int]
) -> None:
    """RFC 2883 section 4.1.1: what was received twice is the first block, below the ACK. The
    answers, packets 7 and 8, repeat the number of packet 5, which does not make them tell it."""
    answers = [(answer, wish)[int(letter)](ACK_SAME) for letter in wished]
    part = compiled([*opening(4), data(), data(), answer(), data(RETRANSMIT), *answers])
    again = (int(part.packets.seq[6]) - int(part.packets.seq[0])) % 2**32
    assert again == 501, "the last segment again"
    assert told(part) == [(row, 1001, [(501, 1001)]) for row in told_at]


@pytest.mark.parametrize("wished", [False, True])
@pytest.mark.parametrize("bits", [4, 12])
def test_what_was_repeated_before_the_first_answer_is_told_where_that_is_wished(
    wished: bool, bits: int
) -> None:
    """RFC 2883 section 4.1.1 once more; the acknowledgement goes on, to 501, and repeats no number.

    Packet 5 answers the segment of packet 3, which packet 4 repeats.
    """
    stamped = {"option_bits": bits & OPTION_TIMESTAMPS}
    twice = [data()._replace(**stamped), data(RETRANSMIT)._replace(**stamped)]
    first = (wish if wished else answer)(bits=bits & OPTION_TIMESTAMPS)
    part = compiled([*opening(bits), *twice, first, answer(ACK_SAME, bits & OPTION_TIMESTAMPS)])
    assert int(part.packets.seq[3]) == int(part.packets.seq[4])
    assert told(part) == ([(5, 501, [(1, 501)])] if wished else [])
    expected = bits & OPTION_TIMESTAMPS | (OPTION_SACK if wished else 0)
    assert part.packets.option_bits[5:].tolist() == [expected, bits & OPTION_TIMESTAMPS]


def test_wishes_where_nothing_was_repeated_or_lost_are_dropped() -> None:
    """Whatever is wished of acknowledgements, data, or a FIN; also where another flow tells some,
    and where a segment was repeated but long ago: an acknowledgement tells what it answers."""
    plain = [each for _ in range(4) for each in (data(), wish())]
    plain += [
        Action("PA", payload=9, option_bits=OPTION_SACK),
        wish(),
        Action("FA", option_bits=16),
    ]
    late = [data(), data(RETRANSMIT), answer(), wish()]
    times_ns = [k * 10**6 for k in range(6)] + [2 * 10**9]  # the wish 2 s behind
    twice = [data(), data(RETRANSMIT), wish()]
    actions = [[*opening(4), *each] for each in (plain, late, twice)]
    spans = [list(range(0, 14 * 10**6, 10**6)), times_ns, list(range(0, 6 * 10**6, 10**6))]
    table = flow_table(actions, times_ns=spans)
    part = compile_flows(table, seed=1, payload="zero")
    rows = np.flatnonzero(part.packets.option_bits & OPTION_SACK)
    assert part.flow[rows].tolist() == [2]
    assert table.packets.option_bits[14 + 6] == OPTION_SACK, "the actions given are left alone"
    assert not told(compile_flows(flow_table([[*opening(4), *plain]]), seed=1, payload="zero"))


@pytest.mark.parametrize(("client", "server"), [(4, 0), (0, 4), (0, 0)])
def test_wishes_are_dropped_where_a_side_does_not_offer_blocks(client: int, server: int) -> None:
    part = compiled([*opening(client, answered=server), data(), data(RETRANSMIT), wish()])
    assert not told(part)


def test_the_option_is_on_the_packets_that_tell_blocks_and_on_no_others(tmp_path: Path) -> None:
    """As dpkt reads them from the file: a hole is told by all that come behind it, wished or not,
    what came twice only where it is wished."""
    import dpkt

    lost = [data(AHEAD), answer(ACK_SAME), data(), wish(ACK_SAME), data(RETRANSMIT), wish()]
    twice = [data(), data(RETRANSMIT), answer(), data(), data(RETRANSMIT), wish()]
    part = compiled([*opening(4), *twice, *lost, data(), wish()])
    path = write(part, tmp_path / "told.pcap")
    found, bases = [], []
    with path.open("rb") as file:
        for row, (_, frame) in enumerate(dpkt.pcap.Reader(file)):
            segment = dpkt.ethernet.Ethernet(frame).data.data
            bases += [segment.seq] if segment.flags & 2 else []
            blocks = [value for kind, value in dpkt.tcp.parse_opts(segment.opts) if kind == 5]
            assert len(blocks) == (int(part.packets.option_bits[row]) & OPTION_SACK > 0)
            if blocks:
                edges = struct.unpack(f">{len(blocks[0]) // 4}I", blocks[0])
                found.append((row, [(edge - bases[0]) % 2**32 for edge in edges]))
    # packets 3 and 4: 1..501, 6 and 7: 501..1001, 9 and 11: 1501..2501, which 13 joins
    assert found == [(8, [501, 1001]), (10, [1501, 2001]), (12, [1501, 2501])]


def test_a_probe_of_one_byte_is_a_repeated_segment() -> None:
    probe = [data(), answer(), data(KEEP_ALIVE, size=1), wish(ACK_SAME)]
    times_ns = [k * 10**6 for k in range(5)] + [60 * 10**9, 60 * 10**9 + 10**6]
    flows = flow_table([[*opening(4), *probe]], times_ns=[times_ns])
    found = told(compile_flows(flows, seed=1, payload="zero"))
    assert [(ack, blocks) for _, ack, blocks in found] == [(501, [(500, 501)])]


@pytest.mark.parametrize(("client", "server"), [(4, 0), (0, 4), (0, 0)])
def test_none_are_told_where_a_side_does_not_offer_them(client: int, server: int) -> None:
    """RFC 2018 section 2."""
    lost = [data(AHEAD), answer(ACK_SAME), data(RETRANSMIT), answer()]
    part = compiled([*opening(client, answered=server), *lost])
    assert not told(part)


def test_none_are_told_where_nothing_is_lost() -> None:
    assert not told(compiled([*opening(4), *[data(), answer()] * 4]))


def test_repeated_segments_of_real_stacks_are_answered_as_recorded() -> None:
    """DSACKs of Linux, recorded: nearly all come back, in the same place and of the same bytes."""
    from collections import Counter

    import dpkt

    def below(ack: int, edge: int) -> bool:
        return (ack - edge) % 2**32 < 2**31

    path = ROOT / "sample_pcaps" / "office.pcap"
    recorded: Counter[tuple[int, int, int, int, int]] = Counter()
    starts: dict[tuple[bytes, bytes, int, int], int] = {}
    with path.open("rb") as file:
        for _, frame in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(frame).data
            segment = ip.data if isinstance(ip, dpkt.ip.IP) else None
            if not isinstance(segment, dpkt.tcp.TCP):
                continue
            ends = (ip.src, ip.dst, segment.sport, segment.dport)
            if segment.flags & 2:
                starts[ends] = segment.seq
            base = starts.get((ip.dst, ip.src, segment.dport, segment.sport))
            for kind, value in dpkt.tcp.parse_opts(segment.opts):
                if kind == 5 and base is not None:
                    left, right = struct.unpack(">2I", value[:8])
                    if below(segment.ack, right) and not len(segment.data):
                        key = [(edge - base) % 2**32 for edge in (segment.ack, left, right)]
                        recorded[(segment.sport, segment.dport, *key)] += 1  # type: ignore[index]
    flows = assemble_flows(read_with_dpkt(path))
    part = compile_flows(flows, seed=0, payload="zero")
    p = part.packets
    made: Counter[tuple[int, int, int, int, int]] = Counter()
    for flow in np.unique(part.flow[p.option_bits & OPTION_SACK > 0]):
        rows = np.flatnonzero(part.flow == flow)
        length = np.where(p.option_bits[rows] & OPTION_SACK, part.prefix_length[rows], 0)
        one = CompiledPackets(
            packets=p.take(rows),
            flow=part.flow[rows],
            prefix=part.prefix,
            prefix_start=part.prefix_start[rows],
            prefix_length=length,
            repairs={},
        )
        for row, ack, blocks in told(one):
            if blocks[0][1] <= ack:
                ports = int(one.packets.src_port[row]), int(one.packets.dst_port[row])
                made[(*ports, ack, *blocks[0])] += 1
    assert recorded.total() > 90
    assert (recorded & made).total() >= 0.95 * recorded.total()
    assert (made - recorded).total() <= 0.05 * recorded.total()
