"""Temporal measures by pencil, and the autocorrelation against statsmodels."""

import numpy as np
import pytest
from report_tables import dialogues, load_nolds, packet_table

from netsynth.report.acf import autocorrelation
from netsynth.report.temporal import (
    active_intervals,
    gaps_of_trace,
    rate_variation,
    temporal_samples,
)
from netsynth.report.trace import trace_of

SECOND = 1_000_000_000
# a flow of three packets in 4 s, its answer, and one packet of another flow at the end
ROWS = [
    {"time_ns": 0, "src": 1, "dst": 2, "src_port": 9, "dst_port": 80, "ip_length": 100},
    {"time_ns": SECOND, "src": 1, "dst": 2, "src_port": 9, "dst_port": 80, "ip_length": 300},
    {"time_ns": 2 * SECOND, "src": 2, "dst": 1, "src_port": 80, "dst_port": 9, "ip_length": 50},
    {"time_ns": 4 * SECOND, "src": 1, "dst": 2, "src_port": 9, "dst_port": 80, "ip_length": 400},
    {"time_ns": 8 * SECOND, "src": 3, "dst": 4, "src_port": 7, "dst_port": 80, "ip_length": 60},
]


def test_gaps_durations_and_rates_of_directed_flows() -> None:
    trace = trace_of(packet_table(ROWS))
    found = temporal_samples(trace)
    assert gaps_of_trace(trace).values.tolist() == [1, 1, 2, 4]
    assert sorted(found["FIT"].values.tolist()) == [1, 3]
    assert sorted(found["FD"].values.tolist()) == [0, 0, 4]
    assert found["AT"].values.tolist() == [200]  # 800 bytes in 4 s; the others have no duration
    assert set(found["FIT"].group.tolist()) == {int(trace.session[0])}


def test_burstiness_is_the_variation_over_400_intervals() -> None:
    trace = trace_of(packet_table(ROWS))
    series = np.zeros(400)
    series[[0, 50, 200]] = 1  # 0, 1/8 and 4/8 of the trace
    one = np.zeros(400)
    one[0] = 1
    expected = sorted([series.std() / series.mean(), *[one.std() / one.mean()] * 2])
    assert sorted(rate_variation(trace, active_intervals(trace))) == pytest.approx(expected)


def test_long_memory_is_that_of_nolds_over_flows_with_two_active_intervals() -> None:
    trace = trace_of(dialogues(4, sessions=60))
    nolds = load_nolds()
    times = trace.packets.time_ns
    cell = np.minimum((times - times[0]) * 400 // trace.duration_ns, 399)
    expected = []
    for flow in range(trace.flow_count):
        series = np.bincount(cell[trace.flow == flow], minlength=400)
        if (series > 0).sum() > 1:
            expected.append(nolds.hurst_rs(series.astype(float), fit="poly"))
    assert temporal_samples(trace)["LD"].values == pytest.approx(expected)


def test_autocorrelation_is_that_of_statsmodels() -> None:
    stattools = pytest.importorskip("statsmodels.tsa.stattools")
    series = np.random.default_rng(0).exponential(1, 1000).cumsum() % 7
    expected = stattools.acf(series, nlags=199, fft=True)[1:]
    assert autocorrelation(series, lags=199) == pytest.approx(expected, abs=1e-10)


def test_a_constant_series_has_no_correlation() -> None:
    assert autocorrelation(np.ones(50), lags=4).tolist() == [0, 0, 0, 0]
