"""Temporal measures: gaps, durations, rates, burstiness and long memory of flows."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import FloatArray, IntArray
from netsynth.report.hurst import hurst_exponents
from netsynth.report.samples import Measure, Sample, whole
from netsynth.report.trace import NS_PER_S, Trace, bytes_per_interval, flow_sums, intervals_of

STEPS = 400  # intervals of the trace for BU and LD, CascadeNet section 7.2
ACF_STEPS = 1000
ACF_LAGS = 199

MEASURES = (
    Measure(
        name="IT",
        kind="emd",
        unit="s",
        text="gap between packets of the trace",
        over_time=True,
    ),
    Measure(name="FIT", kind="emd", unit="s", text="gap between packets of a directed flow"),
    Measure(name="FD", kind="emd", unit="s", text="duration of a directed flow"),
    Measure(name="AT", kind="emd", unit="B/s", text="throughput of a directed flow"),
    Measure(name="BU", kind="emd", unit="", text="burstiness of a directed flow's packet rate"),
    Measure(name="LD", kind="emd", unit="", text="long memory (Hurst) of a directed flow's rate"),
)


def gaps_of_trace(trace: Trace) -> Sample:
    """Gaps between consecutive packets of the trace, s, float64 [N-1]."""
    return whole(np.diff(trace.packets.time_ns) / NS_PER_S)


def temporal_samples(trace: Trace) -> dict[str, Sample]:
    """Sample FIT, FD, AT, BU and LD over the directed flows of a trace.

    Args:
        trace: The trace.

    Returns:
        A Sample a measure, empty where no flow shows it; IT is `gaps_of_trace`.

    References:
        CascadeNet, section 7.2 and appendices.
    """
    times = trace.packets.time_ns
    order = np.argsort(trace.flow, kind="stable")  # by flow, then time
    flow = trace.flow[order]
    gaps_ns = np.diff(times[order])
    inside = flow[1:] == flow[:-1]
    gap_flow = flow[1:][inside]

    count = trace.flow_count
    ends = np.flatnonzero(np.append(~inside, True)) if flow.size else np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1]) if flow.size else ends
    duration_s = (times[order][ends] - times[order][starts]) / NS_PER_S  # [F]
    lasting = duration_s > 0
    rate = flow_sums(trace, trace.packets.ip_length)[lasting] / duration_s[lasting]

    every = np.arange(count, dtype=np.int64)
    burstiness = rate_variation(trace)
    busy, memory = long_memory(trace)

    def sample(values: FloatArray, flows: IntArray) -> Sample:
        return Sample(
            values=values, group=trace.flow_session[flows], group_count=trace.session_count
        )

    return {
        "FIT": sample(gaps_ns[inside] / NS_PER_S, gap_flow),
        "FD": sample(duration_s, every),
        "AT": sample(rate, every[lasting]),
        "BU": sample(burstiness, every),
        "LD": sample(memory, busy),
    }


def _active_intervals(trace: Trace) -> tuple[IntArray, IntArray, IntArray]:
    """Flow, interval and packets of each interval in which a flow has packets, three [K]."""
    cells, counts = np.unique(trace.flow * STEPS + intervals_of(trace, STEPS), return_counts=True)
    return cells // STEPS, cells % STEPS, counts.astype(np.int64)


def rate_variation(trace: Trace) -> FloatArray:
    """Coefficient of variation of each flow's packets in 400 intervals of the trace, [F]."""
    flow, _, counts = _active_intervals(trace)
    squares = np.bincount(flow, weights=counts.astype(np.float64) ** 2, minlength=trace.flow_count)
    mean = np.bincount(flow, weights=counts, minlength=trace.flow_count) / STEPS
    variance = np.maximum(squares / STEPS - mean**2, 0.0)
    return np.asarray(np.sqrt(variance) / mean, dtype=np.float64)


def long_memory(trace: Trace) -> tuple[IntArray, FloatArray]:
    """Hurst exponent of the packet series of each flow with two or more active intervals.

    Returns:
        The flows, int64 [K], and their exponents, float64 [K].
    """
    flow, interval, counts = _active_intervals(trace)
    active = np.bincount(flow, minlength=trace.flow_count)
    busy = np.flatnonzero(active > 1).astype(np.int64)
    place = np.full(trace.flow_count, -1, dtype=np.int64)
    place[busy] = np.arange(busy.size)
    kept = place[flow] >= 0
    exponents = np.zeros(busy.size)
    row, step, value = place[flow[kept]], interval[kept], counts[kept]
    for first in range(0, busy.size, 4096):  # 4096 x 400 float64 are 13 MB
        some = slice(*np.searchsorted(row, [first, first + 4096]))
        series = np.zeros((min(4096, busy.size - first), STEPS))
        series[row[some] - first, step[some]] = value[some]
        exponents[first : first + 4096] = hurst_exponents(series)
    known = np.isfinite(exponents)
    return busy[known], exponents[known]


def autocorrelation(series: FloatArray, *, lags: int) -> FloatArray:
    """Autocorrelation of a series at lags 1..`lags`; 0 throughout for a constant series.

    Args:
        series: float64 [T].
        lags: Largest lag, less than T.

    Returns:
        float64 [lags], -1 to 1: autocovariance with divisor T over the variance.

    References:
        Box and Jenkins, "Time Series Analysis", section 2.1.5.
    """
    off = series - series.mean()
    power = float(off @ off)
    if power == 0:
        return np.zeros(lags)
    size = 1 << int(2 * series.size - 1).bit_length()
    spectrum = np.abs(np.fft.rfft(off, size)) ** 2
    return np.asarray(np.fft.irfft(spectrum, size)[1 : lags + 1] / power, dtype=np.float64)


def acf_of(trace: Trace) -> FloatArray:
    """Autocorrelation of bytes per 1/1000 of the trace at lags 1..199, float64 [199].

    References:
        Lin et al., "Using GANs for Sharing Networked Time Series Data", IMC 2020, section 5.2.
    """
    return autocorrelation(bytes_per_interval(trace, ACF_STEPS), lags=ACF_LAGS)
