"""Temporal measures: gaps, durations, rates, burstiness and long memory of flows."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray, IntArray
from netsynth.report.fidelity import Figure
from netsynth.report.hurst import hurst_exponents
from netsynth.report.measure import distance_figures
from netsynth.report.pair import Pair
from netsynth.report.samples import Measure, Sample, whole
from netsynth.report.series import intervals_of
from netsynth.report.trace import NS_PER_S, Trace, flow_sums

STEPS = 400  # intervals of the trace for BU and LD, CascadeNet section 7.2

MEASURES = (
    Measure(
        name="IT",
        kind="emd",
        unit="s",
        text="gap between packets of the trace",
        subject="gaps between packets",
        more="long",
        less="short",
        over_time=True,
    ),
    Measure(
        name="FIT",
        kind="emd",
        unit="s",
        text="gap between packets of a directed flow",
        subject="gaps inside flows",
        more="long",
        less="short",
    ),
    Measure(
        name="FD",
        kind="emd",
        unit="s",
        text="duration of a directed flow",
        subject="flow durations",
        more="long",
        less="short",
    ),
    Measure(
        name="AT",
        kind="emd",
        unit="B/s",
        text="throughput of a directed flow that lasts",
        subject="flow throughputs",
        more="high",
        less="low",
    ),
    Measure(
        name="BU",
        kind="emd",
        unit="",
        text="burstiness of a directed flow's packet rate",
        subject="flows",
        more="bursty",
        less="steady",
    ),
    Measure(
        name="LD",
        kind="emd",
        unit="",
        text="Hurst exponent of a flow's packet rate",
        subject="rates of long flows",
        more="persistent",
        less="erratic",
    ),
)


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure IT, FIT, FD, AT, BU and LD."""
    return distance_figures(
        pair,
        family="temporal",
        measures=MEASURES,
        of_sessions=temporal_samples,
        of_trace=lambda trace: {"IT": gaps_of_trace(trace)},
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
    active = active_intervals(trace)
    burstiness = rate_variation(trace, active)
    busy, memory = long_memory(trace, active)

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


Active = tuple[IntArray, IntArray, IntArray]


def active_intervals(trace: Trace) -> Active:
    """Flow, interval and packets of each interval in which a flow has packets, three [K]."""
    cells, counts = np.unique(trace.flow * STEPS + intervals_of(trace, STEPS), return_counts=True)
    return cells // STEPS, cells % STEPS, counts.astype(np.int64)


def rate_variation(trace: Trace, active: Active) -> FloatArray:
    """Coefficient of variation of each flow's packets in 400 intervals of the trace, [F]."""
    flow, _, counts = active
    squares = np.bincount(flow, weights=counts.astype(np.float64) ** 2, minlength=trace.flow_count)
    mean = np.bincount(flow, weights=counts, minlength=trace.flow_count) / STEPS
    variance = np.maximum(squares / STEPS - mean**2, 0.0)
    return np.asarray(np.sqrt(variance) / mean, dtype=np.float64)


def long_memory(trace: Trace, found: Active) -> tuple[IntArray, FloatArray]:
    """Hurst exponent of the packet series of each flow with two or more active intervals.

    Returns:
        The flows, int64 [K], and their exponents, float64 [K].
    """
    flow, interval, counts = found
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
