"""Series by activity and rates, and records in time, against values worked out by hand."""

import numpy as np

from netsynth.generate.cascade.drawing import DrawnFlows, series_of
from netsynth.generate.cascade.flow_data import CONDITIONS, Series, flow_conditions
from netsynth.generate.cascade.networks import C
from netsynth.generate.cascade.record_drawing import DrawnRecords, even_out, place_in_time
from netsynth.generate.sharing import share_out
from netsynth.steps import count_steps

TOPS = np.log1p(np.array([100.0, 1e5]))


def flow(
    *, totals: list[int], spans: int, active: int, duration_ns: int = 0, start_ns: int = 0
) -> DrawnFlows:
    """One flow that starts in step 0."""
    return DrawnFlows(
        window=np.zeros(1, np.int64), start_ns=np.array([start_ns]),
        duration_ns=np.array([duration_ns]), totals=np.array([totals]), label=np.zeros(1, np.int64),
        first=np.zeros(1, np.int64), spans=np.array([spans]), active=np.array([active]),
        numbers=np.zeros((1, len(CONDITIONS))),
    )  # fmt: skip


def test_rates_are_read_only_where_the_activity_channel_is_on() -> None:
    made = np.zeros((1, 6, C), dtype=np.float32)
    made[0, :, 0] = [1e-6, 1e-6, 1 - 1e-6, 1e-6, 1e-6, 1e-6]
    made[0, :, 1:5] = 0.5
    made[0, 3, 1:5] = 1.0  # large, but nothing says that the step is active
    flows = flow(totals=[20, 10, 2000, 0], spans=6, active=3)
    series = series_of(
        made, flows, np.array([0]), tops=TOPS, zero_inflation=True, rng=np.random.default_rng(0)
    )
    assert series.step.tolist() == [0, 2, 5]  # both ends, and the one that is on
    assert series.values.sum(axis=0).tolist() == [20, 10, 2000, 0]


def test_without_the_channel_the_rates_themselves_say_what_is_active() -> None:
    made = np.zeros((1, 6, C), dtype=np.float32)
    made[0, 3, 1] = 1.0
    flows = flow(totals=[20, 10, 2000, 0], spans=6, active=3)
    series = series_of(
        made, flows, np.array([0]), tops=TOPS, zero_inflation=False, rng=np.random.default_rng(0)
    )
    assert series.step.tolist() == [0, 3, 5]


def test_shares_sum_to_the_totals_and_no_active_step_is_empty() -> None:
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 9, 300)
    offsets = np.concatenate([[0], np.cumsum(counts)])
    totals = np.stack(
        [counts + rng.integers(0, 50, 300), rng.integers(0, 20, 300),
         rng.integers(0, 9000, 300), rng.integers(0, 9000, 300)], axis=1,
    )  # fmt: skip
    totals[totals[:, 1] == 0, 3] = 0  # no packets, no bytes
    values = share_out(rng.random((offsets[-1], 4)) + 1e-3, totals, offsets, rng=rng)
    flows = np.repeat(np.arange(300), counts)
    for column in range(4):
        assert np.array_equal(np.bincount(flows, values[:, column], 300), totals[:, column])
    assert (values >= 0).all()
    assert (values[:, :2].sum(axis=1) >= 1).all()
    assert (values[values[:, 0] == 0, 2] == 0).all()


def test_totals_are_shared_by_weight() -> None:
    weights = np.array([[1.0, 1, 1, 1], [3.0, 1, 1, 1]])
    values = share_out(
        weights, np.array([[42, 0, 4000, 0]]), np.array([0, 2]), rng=np.random.default_rng(0)
    )
    assert values[:, 0].tolist() == [11, 31]  # one each, then 40 as 1 : 3
    assert values[:, 2].tolist() == [2000, 2000]


def test_records_lie_in_their_sub_period_in_proportion_to_their_gaps() -> None:
    series = Series(
        offsets=np.array([0, 2]), step=np.array([0, 1]),
        values=np.array([[3, 0, 0, 0], [2, 0, 0, 0]]), period=np.array([[0.3, 0.9], [0.2, 0.4]]),
    )  # fmt: skip
    records = DrawnRecords(
        kind=np.zeros(5, np.int64), size_bytes=np.zeros(5, np.int64),
        gap_ns=np.array([0, 100, 300, 7, 50.0]), offsets=np.array([0, 5]),
    )  # fmt: skip
    flows = flow(totals=[5, 0, 0, 0], spans=2, active=2, start_ns=200, duration_ns=1300)
    time = place_in_time(records, flows, series, window_ns=2000, step_count=2)
    # begins at 200, ends at 1500; step 0 until 900, step 1 from 1200
    assert time.tolist() == [200, 200 + 700 * 100 // 400, 900, 1200, 1500]


def test_flows_are_evened_out_between_their_first_and_last_record() -> None:
    time = np.array([10, 11, 12, 70, 5, 6, 9])
    made = even_out(time, np.array([0, 4, 7]), np.array([True, False]))
    assert made.tolist() == [10, 30, 50, 70, 5, 6, 9]
    assert even_out(np.array([3]), np.array([0, 1]), np.array([True])).tolist() == [3]


def test_a_series_counts_packets_and_bytes_of_each_step() -> None:
    counted = count_steps(
        np.array([0, 10, 99, 100, 250]), np.array([False, True, False, False, True]),
        np.array([1, 2, 3, 4, 5]), np.array([0, 4, 5]), window_ns=400, step_count=4,
    )  # fmt: skip
    series = Series(
        offsets=counted.offsets, step=counted.step, values=counted.values, period=counted.period
    )
    assert series.offsets.tolist() == [0, 2, 3]
    assert series.step.tolist() == [0, 1, 2]
    assert series.values.tolist() == [[2, 1, 4, 2], [1, 0, 4, 0], [0, 1, 0, 5]]
    assert np.allclose(series.period, [[0, 0.99], [0, 0], [0.5, 0.5]])
    assert series.spans.tolist() == [2, 1]


def test_conditions_describe_the_series() -> None:
    series = Series(
        offsets=np.array([0, 3]), step=np.array([2, 3, 8]),
        values=np.array([[4, 2, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0]]), period=np.zeros((3, 2)),
    )  # fmt: skip
    made = dict(
        zip(
            CONDITIONS,
            flow_conditions(
                np.array([7]), np.array([50]), np.array([[6, 3, 10, 20]]), series
            )[0].tolist(),
            strict=True,
        )
    )  # fmt: skip
    assert made["active_steps"] == 3
    assert made["rate_max"] == 6
    assert made["rate_mean"] == 3
    assert made["rate_std"] == np.sqrt((9 + 4 + 1) / 3)
    assert made["interval_mean"] == 3  # (8 - 2) / 2
    assert (made["start_ns"], made["duration_ns"], made["bytes_reverse"]) == (7, 50, 20)
