"""The load of a capture, and traffic held to it."""

import dataclasses

import numpy as np
from encode_flows import make_flows, office_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode import EncodeConfig, fit_codec
from netsynth.encode.load import HEADER_BYTES, Load, fit_load, hold_to
from netsynth.numbers import IntArray
from netsynth.tables import EncodedTrace, FlowTable

MS = 1_000_000
THOUSAND = 1000 - HEADER_BYTES  # payload of a packet that counts 1000 bytes


def steady(count: int, every_ns: int = MS) -> FlowTable:
    """One flow of packets of 1000 bytes at equal distances."""
    return make_flows([{}], [[(i * every_ns, 0, THOUSAND) for i in range(count)]])


def hold(load: Load, time: IntArray, *, waits: bool = True) -> IntArray:
    """Send packets of one flow."""
    offsets = np.array([0, time.size])
    return load.delay(time, np.full(time.size, THOUSAND), offsets, np.array([waits]))


def test_what_was_learned_passes() -> None:
    flows = office_flows()
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (trace,) = codec.encode(flows)
    everyone = np.ones(len(trace), dtype=np.bool_)
    held = codec.load.delay(trace.record_ns, trace.record_bytes, trace.record_offsets, everyone)
    assert np.array_equal(held, trace.record_ns)


def test_twice_the_packets_take_twice_the_time() -> None:
    load = fit_load([steady(4000)])
    one = np.arange(1000) * MS
    sizes, offsets = np.full(2000, THOUSAND), np.array([0, 1000, 2000])
    held = load.delay(np.append(one, one), sizes, offsets, np.ones(2, dtype=np.bool_))
    assert abs(held.max() / (2000 * MS) - 1) < 0.05
    assert (np.diff(held)[:999] >= MS).all(), "gaps are kept or grow"
    assert abs(held[999] - held[1999]) < 5 * MS, "neither flow waits for the other's end"


def test_a_burst_leaves_at_the_rate_learned() -> None:
    """A thousand packets at once: they leave one a ms, as those learned came."""
    held = hold(fit_load([steady(4000)]), np.zeros(1000, dtype=np.int64))
    assert np.bincount(held // (10 * MS)).max() <= 15
    assert np.bincount(held // (100 * MS))[1:-1].min() >= 95


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 30 * MS), min_size=1, max_size=120))
def test_any_traffic_passes_its_own_load(gaps: list[int]) -> None:
    time = np.cumsum(gaps)
    load = fit_load([make_flows([{}], [[(int(t), 0, THOUSAND) for t in time]])])
    assert np.array_equal(hold(load, time), time)


def test_small_flows_do_not_wait() -> None:
    time = np.zeros(1000, dtype=np.int64)
    assert np.array_equal(hold(fit_load([steady(4000)]), time, waits=False), time)


def window(flows: list[tuple[list[int], int]], *, window_ns: int) -> EncodedTrace:
    """A window of flows, (times of its packets, payload of each), and 300 small ones that last."""
    real = office_flows()
    (trace,) = fit_codec([real], config=EncodeConfig(), seed=0).encode(real)
    everyone = [*flows, *([([0, window_ns - 1], 0)] * 300)]
    counts = np.zeros(len(trace), dtype=np.int64)
    counts[: len(everyone)] = [len(times) for times, _ in everyone]
    total = int(counts.sum())
    return dataclasses.replace(
        trace,
        window_ns=window_ns,
        record_ns=np.concatenate([times for times, _ in everyone]).astype(np.int64),
        record_bytes=np.concatenate([np.full(len(times), size) for times, size in everyone]),
        records=np.zeros((total, trace.records.shape[1]), dtype=trace.records.dtype),
        record_offsets=np.append(0, np.cumsum(counts)),
    )


def test_what_would_go_after_the_end_does_not_go() -> None:
    """Of 200 packets at once, as many as a rate of one a ms sends until the end, and the first of
    a flow that comes last."""
    late = list(range(49 * MS, 49 * MS + 20))
    trace = window([([0] * 200, THOUSAND), (late, 5_000)], window_ns=50 * MS)
    held = hold_to(fit_load([steady(4000)]), trace)
    small = 300 * HEADER_BYTES / 1000  # small packets at the start, which count and do not wait
    assert abs(held.record_offsets[1] - (50 - small)) < 5
    assert np.diff(held.record_offsets)[1] == 1
    assert held.record_ns.size == held.record_bytes.size == held.records.shape[0]
    assert held.record_ns.max() == 50 * MS - 1


def test_the_largest_flows_alone_wait() -> None:
    """Ten flows of a packet each in the middle of a thousand packets at once."""
    small = [([100 + place], THOUSAND) for place in range(10)]
    trace = window([([0] * 1000, THOUSAND), *small], window_ns=5000 * MS)
    held = hold_to(fit_load([steady(4000)]), trace)
    assert np.array_equal(held.record_ns[1000:], trace.record_ns[1000:])
    assert (held.record_ns[100:1000] > 50 * MS).all()


def test_a_window_that_asks_for_more_all_the_time_is_left_alone() -> None:
    """Ten flows, each at the rate that one had when learning."""
    every = [
        ([place + 10 * MS * turn for turn in range(400)], 10 * THOUSAND) for place in range(10)
    ]
    trace = window(every, window_ns=4000 * MS)
    assert hold_to(fit_load([steady(4000)]), trace) is trace


def test_a_capture_of_one_moment_holds_nothing_back() -> None:
    time = np.zeros(160, dtype=np.int64)
    assert np.array_equal(hold(fit_load([steady(3, every_ns=0)]), time), time)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 30 * MS), min_size=30, max_size=120),
    st.lists(st.integers(0, 30 * MS), min_size=2, max_size=120),
)
def test_held_traffic_stays_below_the_lines(learned_gaps: list[int], drawn_gaps: list[int]) -> None:
    """In any window, but for the share of a bucket that may be lacking."""
    learned = np.cumsum(learned_gaps)
    load = fit_load([make_flows([{}], [[(int(t), 0, THOUSAND) for t in learned]])])
    drawn = np.cumsum(np.array(drawn_gaps) // 8)
    held = hold(load, drawn)
    assert (held >= drawn).all()
    assert (np.diff(held) >= 0).all()
    for first in range(held.size):
        lasts = np.arange(first, held.size)
        carried = (lasts - first + 1) * 1000.0
        allowed = load.depth[:, None] * 1.02 + load.rate[:, None] * (held[lasts] - held[first])
        assert (carried <= allowed.min(axis=0, initial=np.inf) + 1).all()
