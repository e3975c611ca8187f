"""Windows become one stream: sorted, complete, in bounded memory, exactly as long as asked."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.chain import (
    chain_windows,
    limit_packets,
    limit_time,
    merge_packets,
    move_ports,
    shift_flows,
    take_flows,
    take_packets,
)
from netsynth.demux import CompiledPackets, assemble_flows
from netsynth.tables import TCP, UDP, PacketTable

WINDOW = 1000


def make_addresses(*last_bytes: int) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """10.0.0.x for each x, as IPv4-mapped IPv6."""
    addresses = np.zeros((len(last_bytes), 16), dtype=np.uint8)
    addresses[:, 10:12], addresses[:, 12] = 255, 10
    addresses[:, 15] = last_bytes
    return addresses


def make_part(times_ns: list[int], *, hosts: tuple[int, int] = (1, 2)) -> CompiledPackets:
    """One flow with a packet at each time, whose ip_id and payload prefix are its time's bytes."""
    count = len(times_ns)
    packets = PacketTable.zeros(count, make_addresses(*hosts))
    packets.time_ns[:] = sorted(times_ns)
    packets.dst[:] = 1
    packets.ip_id[:] = packets.time_ns % 65536
    prefix = np.concatenate([[0], packets.time_ns % 256, [0]]).astype(np.uint8)
    return CompiledPackets(
        packets=packets,
        flow=np.zeros(count, dtype=np.int64),
        prefix=prefix,
        prefix_start=np.arange(1, count + 1),
        prefix_length=np.ones(count, dtype=np.int64),
        repairs={},
    )


def prefixes(part: CompiledPackets) -> list[int]:
    return [
        int(part.prefix[start]) if length else -1
        for start, length in zip(part.prefix_start, part.prefix_length, strict=True)
    ]


def sources(part: CompiledPackets) -> list[int]:
    return part.packets.addresses[part.packets.src][:, 15].tolist()


WINDOWS = st.lists(st.lists(st.lists(st.integers(0, 2500), min_size=1), max_size=3), max_size=6)


@given(WINDOWS)
@settings(deadline=None)
def test_the_stream_holds_every_packet_once_in_time_order(windows: list[list[list[int]]]) -> None:
    shifted = [
        [make_part([time + WINDOW * k for time in times]) for times in parts]
        for k, parts in enumerate(windows)
    ]
    stream = list(chain_windows(shifted, window_ns=WINDOW, start_ns=0))
    times = [t for part in stream for t in part.packets.time_ns.tolist()]
    expected = [t + WINDOW * k for k, parts in enumerate(windows) for ts in parts for t in ts]
    assert times == sorted(expected)
    for part in stream:  # what belongs to a packet stays with it
        assert part.packets.ip_id.tolist() == (part.packets.time_ns % 65536).tolist()
        assert prefixes(part) == (part.packets.time_ns % 256).tolist()
    flows = {(int(f)) for part in stream for f in part.flow}
    assert len(flows) == sum(len(parts) for parts in windows)


def test_a_part_leaves_as_soon_as_nothing_can_come_before_it() -> None:
    pulled: list[int] = []

    def windows() -> Iterator[list[CompiledPackets]]:
        for k in range(100):
            pulled.append(k)
            yield [make_part([k * WINDOW, k * WINDOW + 999])]

    stream = chain_windows(windows(), window_ns=WINDOW, start_ns=0)
    for k in range(3):
        assert next(stream).packets.time_ns.tolist() == [k * WINDOW, k * WINDOW + 999]
        assert len(pulled) == k + 1


def test_merging_keeps_addresses_apart_and_ties_in_order() -> None:
    merged = merge_packets(
        [make_part([5, 9], hosts=(1, 2)), make_part([5, 7], hosts=(2, 3)), make_part([6])]
    )
    assert merged.packets.time_ns.tolist() == [5, 5, 6, 7, 9]
    assert sources(merged) == [1, 2, 1, 2, 1]
    assert len(merged.packets.addresses) == 3


def test_taking_packets_drops_what_only_others_used() -> None:
    merged = merge_packets([make_part([1, 2], hosts=(1, 2)), make_part([3], hosts=(8, 9))])
    part = take_packets(merged, np.array([2]))
    assert part.packets.addresses[:, 15].tolist() == [8, 9]
    assert prefixes(part) == [3]
    assert part.prefix.size == 1


@pytest.mark.parametrize("count", [1, 4, 5, 6, 99])
def test_exactly_as_many_packets_and_no_more_windows_than_that_takes(count: int) -> None:
    pulled: list[int] = []

    def parts() -> Iterator[CompiledPackets]:
        for k in range(30):
            pulled.append(k)
            yield make_part([k * 10 + j for j in range(5)])

    taken = [len(part.packets) for part in limit_packets(parts(), count)]
    assert sum(taken) == count
    assert len(pulled) == -(-count // 5)


def test_flows_that_begin_last_are_left_out_whole_where_there_are_a_few_packets_too_many() -> None:
    """Of 12 flows of 10 packets that take turns, 110 and 105 packets: the last flow is missing."""
    flows = [make_part(list(range(i, 1200, 100))[:10]) for i in range(12)]
    part = next(chain_windows([flows], window_ns=2000, start_ns=0))
    made = next(limit_packets([part], 110))
    assert np.bincount(made.flow, minlength=12).tolist() == [10] * 11 + [0]
    made = next(limit_packets([part], 105))
    counts = np.bincount(made.flow, minlength=12)
    assert counts.tolist() == [10] * 6 + [9] * 5 + [0]  # five more lost their last packet


def test_small_flows_stay_whole_where_a_large_one_may_end_earlier() -> None:
    """A flow of 90 packets, 10 of one: 90 are two small ones less, and 82 of the large one."""
    flows = [make_part(list(range(0, 990, 11))), *[make_part([100 * i + 5]) for i in range(10)]]
    part = next(chain_windows([flows], window_ns=2000, start_ns=0))
    assert len(part.packets) == 100
    made = next(limit_packets([part], 90))
    assert np.bincount(made.flow, minlength=11).tolist() == [82, *[1] * 8, 0, 0]
    large = made.packets.time_ns[made.flow == 0]
    assert large.tolist() == [11 * i for i in range(82)]
    assert made.packets.time_ns.max() <= 990


def test_flows_that_began_in_an_earlier_part_are_not_left_out() -> None:
    first = make_part([0, 10, 20, 1500, 1510, 1520])
    second = [make_part([1001 + i]) for i in range(9)]
    made = list(limit_packets(chain_windows([[first], second], window_ns=1000, start_ns=0), 13))
    flow = np.concatenate([part.flow for part in made])
    assert flow.size == 13
    assert (flow == 0).sum() == 6


def test_a_part_with_far_more_than_is_wanted_is_cut_off_in_time() -> None:
    flows = [make_part(list(range(i, 1200, 100))[:10]) for i in range(12)]
    part = next(chain_windows([flows], window_ns=2000, start_ns=0))
    made = next(limit_packets([part], 30))
    assert np.array_equal(made.packets.time_ns, part.packets.time_ns[:30])


@pytest.mark.parametrize(("end", "times"), [(0, []), (1, [0]), (10, [0, 4]), (11, [0, 4, 10])])
def test_a_time_limit_is_exclusive(end: int, times: list[int]) -> None:
    parts = [make_part([0, 4]), make_part([10, 14]), make_part([20])]
    taken = [t for part in limit_time(parts, end) for t in part.packets.time_ns.tolist()]
    assert taken == times


def make_flows() -> PacketTable:
    """Three flows of two packets each: TCP 40000->80, TCP 40000->443, UDP 53->53."""
    packets = PacketTable.zeros(6, make_addresses(1, 2))
    packets.time_ns[:] = [0, 10, 1, 11, 2, 12]
    packets.src[:] = [0, 1, 0, 1, 0, 1]
    packets.dst[:] = [1, 0, 1, 0, 1, 0]
    packets.protocol[:] = [TCP, TCP, TCP, TCP, UDP, UDP]
    packets.ip_version[:] = 4
    packets.src_port[:] = [40000, 80, 40000, 443, 53, 53]
    packets.dst_port[:] = [80, 40000, 443, 40000, 53, 53]
    packets.tcp_flags[:] = [2, 18, 2, 18, 0, 0]
    return packets


def test_taking_flows_keeps_their_packets_together() -> None:
    flows = take_flows(assemble_flows(make_flows()), np.array([0, 2]))
    assert flows.packets.time_ns.tolist() == [0, 10, 2, 12]
    assert flows.offsets.tolist() == [0, 2, 4]
    assert flows.responder_port.tolist() == [80, 53]
    assert flows.reverse.tolist() == [False, True, False, True]
    assert shift_flows(flows, 100).packets.time_ns.tolist() == [100, 110, 102, 112]


def test_flows_laid_over_each_other_share_no_connection() -> None:
    flows = assemble_flows(make_flows())
    taken: set[tuple[bytes, bytes, int, int, int]] = set()
    first, second = (move_ports(flows, taken) for _ in range(2))
    assert first.initiator_port.tolist() == flows.initiator_port.tolist()
    assert second.initiator_port[:2].tolist() == [40001, 40001]
    assert second.initiator_port[2] == 53  # UDP between fixed ports: one more exchange of the pair
    p = second.packets
    assert list(zip(p.src_port[:2].tolist(), p.dst_port[:2].tolist(), strict=True)) == [
        (40001, 80), (80, 40001),
    ]  # fmt: skip


def test_a_port_of_the_system_cannot_move_so_the_connection_is_left_out() -> None:
    packets = make_flows()
    packets.src_port[packets.src_port == 40000] = 900
    packets.dst_port[packets.dst_port == 40000] = 900
    flows = assemble_flows(packets)
    taken: set[tuple[bytes, bytes, int, int, int]] = set()
    move_ports(flows, taken)
    assert move_ports(flows, taken).protocol.tolist() == [UDP]
