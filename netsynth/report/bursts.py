"""Bursts of the whole trace: how long, how far apart, how large."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.distances import emd
from netsynth.report.fidelity import Figure
from netsynth.report.measure import distance_figures, figure_of
from netsynth.report.pair import Pair
from netsynth.report.samples import Measure, Sample, whole
from netsynth.report.series import bytes_per_interval, resampled_series
from netsynth.report.trace import Trace

STEPS = 1000  # intervals of the trace, CascadeNet section 7.3
THRESHOLD = 0.5  # of the largest interval

MEASURES = (
    Measure(
        name="BD",
        kind="emd",
        unit="s",
        text="duration of a burst",
        subject="bursts",
        more="long",
        less="short",
        over_time=True,
    ),
    Measure(
        name="TB",
        kind="emd",
        unit="s",
        text="time between bursts",
        subject="pauses between bursts",
        more="long",
        less="short",
        over_time=True,
    ),
    Measure(
        name="NU",
        kind="emd",
        unit="",
        text="utilisation of an interval",
        subject="loads of intervals",
        more="high",
        less="low",
        over_time=True,
    ),
    Measure(
        name="BPS",
        kind="emd",
        unit="B",
        text="number of bytes of a burst",
        subject="bursts",
        more="large",
        less="small",
        over_time=True,
    ),
    Measure(
        name="NPS",
        kind="emd",
        unit="B",
        text="number of bytes between bursts",
        subject="volumes between bursts",
        more="large",
        less="small",
        over_time=True,
    ),
)


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure BD, TB, NU, BPS and NPS; intervals come from resampled flows."""
    side = pair.lacks(lambda trace: trace.duration_ns > 0)
    if side:
        return [figure_of(m, "bursts").unmeasured(side, "has no duration") for m in MEASURES], {}
    replicates: dict[str, FloatArray] = {} if pair.quick else resampled_bursts(pair)
    rows, details = distance_figures(
        pair,
        family="bursts",
        measures=MEASURES,
        of_trace=burst_samples,
        replicate=lambda measure: replicates[measure.name],
    )
    details["utilisation"] = {
        "real": utilisation(bytes_per_interval(pair.real.trace, STEPS)).tolist(),
        "synthetic": utilisation(bytes_per_interval(pair.synthetic, STEPS)).tolist(),
        "seconds": [pair.real.trace.duration_s, pair.synthetic.duration_s],
    }
    return rows, details


def resampled_bursts(pair: Pair) -> dict[str, FloatArray]:
    """Raw distance of each measure when the sessions of both traces are resampled."""
    found: dict[str, list[float]] = {measure.name: [] for measure in MEASURES}
    traces, rng = (pair.real.trace, pair.synthetic), pair.rng("bursts")
    for both in zip(*(resampled_series(t, STEPS, rng=rng) for t in traces), strict=True):
        real, synthetic = (
            series_bursts(series, step_s=trace.duration_s / STEPS)
            for series, trace in zip(both, traces, strict=True)
        )
        for name, values in found.items():
            if real[name].values.size and synthetic[name].values.size:
                values.append(emd(real[name].values, synthetic[name].values))
    return {name: np.array(values) for name, values in found.items()}


def utilisation(series: FloatArray) -> FloatArray:
    """Bytes of each interval over those of the largest, float64 [T], 0..1; 0 if all are 0."""
    peak = float(series.max(initial=0.0))
    return series / peak if peak > 0 else np.zeros_like(series)


def burst_samples(trace: Trace) -> dict[str, Sample]:
    """Sample the five burst measures of a trace.

    A burst is a maximal run of intervals whose utilisation is over 0.5; a stretch between
    bursts has a burst on both sides for TB, and is any maximal run of the others for NPS.

    References:
        CascadeNet, section 7.3.
    """
    return series_bursts(bytes_per_interval(trace, STEPS), step_s=trace.duration_s / STEPS)


def series_bursts(series: FloatArray, *, step_s: float) -> dict[str, Sample]:
    """Sample the burst measures of bytes in equal intervals.

    Args:
        series: Bytes, float64 [T].
        step_s: Duration of an interval, s.

    Returns:
        BD, TB, NU, BPS and NPS.
    """
    used = utilisation(series)
    high = used > THRESHOLD
    edges = np.flatnonzero(np.diff(high)) + 1
    starts = np.concatenate([[0], edges])  # [runs], bursts and stretches in turn
    lengths = np.diff(np.append(starts, series.size))
    sums = np.add.reduceat(series, starts)
    burst = high[starts]
    between = ~burst
    inner = between.copy()
    inner[[0, -1]] = False
    return {
        "BD": whole(lengths[burst] * step_s),
        "TB": whole(lengths[inner] * step_s),
        "NU": whole(used),
        "BPS": whole(sums[burst]),
        "NPS": whole(sums[between]),
    }
