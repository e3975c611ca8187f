"""Series against a plain count in a dictionary; windows cut where arithmetic says."""

from collections import defaultdict

import numpy as np
import pytest
from encode_flows import make_flows, office_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode import SeriesConfig
from netsynth.encode.series import SparseSeries, aggregate, densify
from netsynth.encode.windows import cut_windows, take_flows, window_length_ns
from netsynth.errors import ConfigError
from netsynth.tables import FlowTable

PACKETS = st.lists(
    st.tuples(st.integers(0, 999), st.integers(0, 1), st.integers(0, 1460)), min_size=1, max_size=30
)


def count(flows: FlowTable, *, first_ns: int, step_ns: float) -> dict[tuple[int, int], list[int]]:
    """Packets and bytes either way by (flow, step), with a loop and a dictionary."""
    found: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for flow in range(len(flows)):
        for row in range(flows.offsets[flow], flows.offsets[flow + 1]):
            step = int((int(flows.packets.time_ns[row]) - first_ns) // step_ns)
            values = found[flow, step]
            back = int(flows.reverse[row])
            values[back] += 1
            values[2 + back] += int(flows.packets.payload_length[row])
    return dict(found)


def as_dict(series: SparseSeries) -> dict[tuple[int, int], list[int]]:
    flow = np.repeat(np.arange(series.offsets.size - 1), np.diff(series.offsets))
    keys = zip(flow.tolist(), series.step.tolist(), strict=True)
    return dict(zip(keys, series.values.tolist(), strict=True))


@settings(deadline=None)
@given(st.lists(PACKETS, min_size=1, max_size=6))
def test_series_count_what_a_dictionary_counts(packets: list[list[tuple[int, int, int]]]) -> None:
    flows = make_flows([{} for _ in packets], [sorted(flow) for flow in packets])
    series = aggregate(flows, first_ns=0, window_ns=1000, step_count=20)
    assert as_dict(series) == count(flows, first_ns=0, step_ns=50)
    for a, b in zip(series.offsets[:-1], series.offsets[1:]):  # noqa: B905
        assert (np.diff(series.step[a:b]) > 0).all()


def test_a_real_capture_is_counted_alike() -> None:
    flows = office_flows()
    first = int(flows.packets.time_ns.min())
    # a power of two of ns a step: no rounding can tell the two apart
    series = aggregate(flows, first_ns=first, window_ns=2**34, step_count=128)
    assert as_dict(series) == count(flows, first_ns=first, step_ns=2**27)
    assert series.values[:, :2].sum() == 4000
    assert series.values[:, 2:].sum() == flows.packets.payload_length.astype(int).sum()


def test_a_step_says_where_its_first_and_last_packet_lie() -> None:
    """Steps of 100 ns: packets at 25, 50 and 75, then one at 350."""
    flows = make_flows([{}], [[(25, 0, 0), (50, 1, 0), (75, 0, 0), (350, 0, 0)]])
    series = aggregate(flows, first_ns=0, window_ns=1000, step_count=10)
    assert series.step.tolist() == [0, 3]
    assert series.period.tolist() == [[0.25, 0.75], [0.5, 0.5]]


def test_dense_series_have_a_flag_for_activity() -> None:
    flows = make_flows([{}, {}, {}], [[(0, 0, 7)], [(150, 1, 0)], [(999, 0, 3)]])
    series = aggregate(flows, first_ns=0, window_ns=1000, step_count=10)
    dense = densify(series, np.array([2, 1]), step_count=10)
    assert dense.shape == (2, 10, 5)
    assert dense[0, 9].tolist() == [1, 1, 0, 3, 0]
    assert dense[1, 1].tolist() == [1, 0, 1, 0, 0]
    assert dense.sum() == 7  # zero everywhere else


def test_windows_are_equal_and_lose_no_packet() -> None:
    """Times 0..999: a window of about 300 gives 3 of ceil(1000 / 3) = 334."""
    rows = [[(t, 0, t) for t in range(start, 1000, 100)] for start in (0, 40, 330)]
    flows = make_flows([{"initiator_port": 1000 + i} for i in range(3)], rows)
    flows.packets.time_ns[-1] = 999
    pieces = cut_windows(flows, window_ns=300)
    assert [(first, length) for first, length, _ in pieces] == [(0, 334), (334, 334), (668, 334)]
    times = np.concatenate([part.packets.time_ns for _, _, part in pieces])
    assert sorted(times.tolist()) == sorted(flows.packets.time_ns.tolist())
    for first, length, part in pieces:
        assert (part.packets.time_ns >= first).all()
        assert (part.packets.time_ns < first + length).all()
        assert (np.diff(part.start_ns) >= 0).all()
        for flow in range(len(part)):  # each packet is still in its own flow
            ports = part.packets.src_port[part.offsets[flow] : part.offsets[flow + 1]]
            assert set(ports.tolist()) == {int(part.initiator_port[flow])}


def test_a_flow_lies_in_each_window_it_has_packets_in() -> None:
    flows = make_flows([{}, {}], [[(0, 0, 0), (900, 0, 0)], [(450, 0, 0)]])
    sizes = [len(part) for _, _, part in cut_windows(flows, window_ns=300)]
    assert sizes == [1, 1, 1]
    assert [len(p) for _, _, p in cut_windows(flows, window_ns=250)] == [1, 1, 1]  # one is empty
    ((first, length, whole),) = cut_windows(flows, window_ns=10**6)
    assert (first, length, len(whole)) == (0, 901, 2)


def test_taking_flows_keeps_their_packets() -> None:
    flows = office_flows()
    kept = np.array([3, 7, 11])
    part = take_flows(flows, kept)
    assert (part.initiator_port == flows.initiator_port[kept]).all()
    assert len(part.packets) == np.diff(flows.offsets)[kept].sum()


def test_the_window_follows_the_packets_of_the_capture() -> None:
    flows = office_flows()
    span = int(flows.packets.time_ns.max() - flows.packets.time_ns.min())
    assert window_length_ns([flows], SeriesConfig()) == span + 1
    assert window_length_ns([flows], SeriesConfig(window_packets=1000)) == (span + 1) // 4
    assert window_length_ns([flows], SeriesConfig(window_ns=77)) == 77


@pytest.mark.parametrize("setting", ["step_count", "window_packets"])
def test_settings_out_of_range_are_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match=f"{setting} is 0"):
        SeriesConfig(**{setting: 0})
    with pytest.raises(ConfigError, match="window_ns is -1"):
        SeriesConfig(window_ns=-1)
