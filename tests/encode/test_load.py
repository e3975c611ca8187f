"""The load of a capture, and traffic held to it."""

import numpy as np
from encode_flows import make_flows, office_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode import EncodeConfig, fit_codec
from netsynth.encode.load import HEADER_BYTES, SMALL, Load, fit_load
from netsynth.numbers import IntArray
from netsynth.tables import FlowTable

MS = 1_000_000
THOUSAND = 1000 - HEADER_BYTES  # payload of a packet that counts 1000 bytes


def steady(count: int, every_ns: int = MS) -> FlowTable:
    """One flow of packets of 1000 bytes at equal distances."""
    return make_flows([{}], [[(i * every_ns, 0, THOUSAND) for i in range(count)]])


def hold(load: Load, time: IntArray, *, small: bool = False, end_ns: int = 1 << 62) -> IntArray:
    sizes = np.full(time.size, THOUSAND)
    return load.delay(time, sizes, np.full(time.size, small), end_ns=end_ns)


def test_what_was_learned_passes() -> None:
    flows = office_flows()
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (trace,) = codec.encode(flows)
    order = np.argsort(trace.record_ns, kind="stable")
    time = trace.record_ns[order]
    none = np.zeros(time.size, dtype=np.bool_)
    held = codec.load.delay(time, trace.record_bytes[order], none, end_ns=trace.window_ns)
    assert np.array_equal(held, time)


def test_twice_the_packets_take_twice_the_time() -> None:
    load = fit_load([steady(4000)])
    double = np.repeat(np.arange(1000) * MS, 2)
    held = hold(load, double)
    assert abs(held[-1] / (2000 * MS) - 1) < 0.05
    assert (np.diff(held) >= 0).all()


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
    assert np.array_equal(hold(fit_load([steady(4000)]), time, small=True), time)


def test_nothing_is_moved_beyond_the_end() -> None:
    time = np.zeros(1000, dtype=np.int64)
    held = hold(fit_load([steady(4000)]), time, end_ns=50 * MS)
    assert held.max() == 50 * MS - 1


def test_a_capture_of_one_moment_holds_nothing_back() -> None:
    time = np.zeros(SMALL * 10, dtype=np.int64)
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
