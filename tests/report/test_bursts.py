"""Bursts and microbursts by pencil."""

import numpy as np
import pytest
from report_tables import packet_table

from netsynth.report.bursts import series_bursts, utilisation
from netsynth.report.microbursts import microburst_samples
from netsynth.report.trace import trace_of

#            stretch   burst    stretch  burst  stretch
SERIES = [0, 10, 0, 60, 100, 5, 5, 50, 51, 0]


def values(series: list[float]) -> dict[str, list[float]]:
    found = series_bursts(np.array(series, dtype=float), step_s=2.0)
    return {name: sample.values.tolist() for name, sample in found.items()}


def test_a_burst_is_a_run_of_intervals_over_half_the_peak() -> None:
    found = values(SERIES)
    assert found["BD"] == [4.0, 2.0]
    assert found["TB"] == [6.0]  # only between two bursts
    assert found["BPS"] == [160.0, 51.0]
    assert found["NPS"] == [10.0, 60.0, 0.0]
    assert found["NU"] == pytest.approx([x / 100 for x in SERIES])


def test_half_the_peak_is_no_burst() -> None:
    assert values([50, 100, 50])["BD"] == [2.0]


def test_a_steady_load_is_one_burst_without_pauses() -> None:
    found = values([7, 7, 7])
    assert (found["BD"], found["TB"], found["NPS"]) == ([6.0], [], [])


def test_silence_has_no_bursts() -> None:
    assert utilisation(np.zeros(3)).tolist() == [0, 0, 0]
    assert values([0, 0, 0])["BD"] == []


def test_microbursts_are_runs_of_milliseconds() -> None:
    times_us = [0, 500, 1000, 2000, 10_000, 20_000, 20_100]
    sizes = [500, 500, 900, 100, 600, 300, 300]
    rows = [{"time_ns": t * 1000, "ip_length": s} for t, s in zip(times_us, sizes, strict=True)]
    found = microburst_samples(trace_of(packet_table(rows)))
    # bytes by millisecond: 0: 1000, 1: 900, 2: 100, 10: 600, 20: 600; over 500 are hot
    assert found["MBD"].values.tolist() == [2, 1, 1]
    assert found["MTB"].values.tolist() == [8, 9]
    assert found["MBS"].values.tolist() == [1900, 600, 600]
