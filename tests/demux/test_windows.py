"""Windows of a long capture: whole, evenly spread, and as in the whole capture."""

from pathlib import Path

import numpy as np
import pytest

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows, spread_windows
from netsynth.tables import FlowTable

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"


@pytest.fixture(scope="module")
def flows() -> FlowTable:
    return assemble_flows(read_capture(OFFICE)[0])


def rows_of(flows: FlowTable) -> set[tuple[int, ...]]:
    """What tells a packet and its role from others."""
    packets = flows.packets
    flow = flows.flow_of_packet
    columns = (packets.time_ns, packets.seq, packets.src_port, packets.ip_id, flows.reverse,
               flows.segment, flows.initiator[flow], flows.responder_port[flow])  # fmt: skip
    return set(zip(*(column.tolist() for column in columns), strict=True))


def test_windows_are_kept_whole_and_others_not_at_all(flows: FlowTable) -> None:
    time_ns = flows.packets.time_ns
    first, span = int(time_ns.min()), int(time_ns.max() - time_ns.min()) + 1
    part = spread_windows(flows, window_ns=span // 10, most_packets=25_000)
    length = -(-span // 10)
    of_all, of_part = ((f.packets.time_ns - first) // length for f in (flows, part))
    kept = np.unique(of_part)
    assert kept[0] == 0
    assert kept[-1] == 9
    assert np.diff(kept).max() - np.diff(kept).min() <= 1  # evenly spread
    assert len(part.packets) <= 25_000
    assert len(part.packets) == np.isin(of_all, kept).sum()
    assert rows_of(part) <= rows_of(flows)
    assert (np.diff(part.start_ns) >= 0).all()
    assert (np.diff(part.offsets) > 0).all()


def test_as_many_windows_as_there_is_room_for(flows: FlowTable) -> None:
    span = int(np.ptp(flows.packets.time_ns)) + 1
    sizes = [
        len(spread_windows(flows, window_ns=span // 20, most_packets=most).packets)
        for most in (5_000, 20_000, 40_000, len(flows.packets))
    ]
    assert sizes == sorted(sizes)
    assert sizes[2] > 30_000
    assert sizes[3] == len(flows.packets)


def test_the_first_and_the_last_window_are_kept_in_any_case(flows: FlowTable) -> None:
    time_ns = flows.packets.time_ns
    span = int(np.ptp(time_ns)) + 1
    part = spread_windows(flows, window_ns=span // 5, most_packets=1)
    assert part.packets.time_ns.min() == time_ns.min()
    assert part.packets.time_ns.max() == time_ns.max()
    assert len(part.packets) < len(flows.packets)
