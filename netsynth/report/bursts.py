"""Bursts of the whole trace: how long, how far apart, how large."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.samples import Measure, Sample, whole
from netsynth.report.trace import Trace, bytes_per_interval

STEPS = 1000  # intervals of the trace, CascadeNet section 7.3
THRESHOLD = 0.5  # of the largest interval

MEASURES = (
    Measure(name="BD", kind="emd", unit="s", text="duration of a burst", over_time=True),
    Measure(name="TB", kind="emd", unit="s", text="time between bursts", over_time=True),
    Measure(name="NU", kind="emd", unit="", text="utilisation of an interval", over_time=True),
    Measure(name="BPS", kind="emd", unit="B", text="bytes of a burst", over_time=True),
    Measure(name="NPS", kind="emd", unit="B", text="bytes between bursts", over_time=True),
)


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
