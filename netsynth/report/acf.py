"""Autocorrelation of the bytes of the trace: does load now tell of load later?"""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import interval_about
from netsynth.report.series import bytes_per_interval, resampled_series
from netsynth.report.trace import Trace

STEPS = 1000
LAGS = 199
TEXT = "mean squared error of the autocorrelation of bytes per 1/1000 of the trace"


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure the distance of the autocorrelations, beside that of the real time halves."""
    figure = Figure(family="ACF", name="ACF", text=TEXT, in_mean=True)
    one, other = pair.real.trace, pair.synthetic
    side = pair.lacks(lambda trace: trace.duration_ns > 0)
    if side:
        return [figure.unmeasured(side, "has no duration")], {}
    real, synthetic = acf_of(one), acf_of(other)
    raw = squared_error(real, synthetic)
    early, late = pair.real.early, pair.real.late
    measurable = early.duration_ns > 0 and late.duration_ns > 0
    floor = squared_error(acf_of(early), acf_of(late)) if measurable else None
    interval = None
    if not pair.quick:
        rng = pair.rng("ACF")
        found = [
            squared_error(autocorrelation(a, lags=LAGS), autocorrelation(b, lags=LAGS))
            for a, b in zip(
                resampled_series(one, STEPS, rng=rng),
                resampled_series(other, STEPS, rng=rng),
                strict=True,
            )
        ]
        interval = interval_about(raw, np.array(found))
    note = "" if measurable else "a half of the real capture has no duration"
    figure = figure.scaled_to(raw=raw, scaled=raw, floor=floor, interval=interval, note=note)
    return [figure], {"acf": {"real": real.tolist(), "synthetic": synthetic.tolist()}}


def squared_error(first: FloatArray, second: FloatArray) -> float:
    """Mean squared difference of two curves, float64 [lags]."""
    return float(np.mean((first - second) ** 2))


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
    return autocorrelation(bytes_per_interval(trace, STEPS), lags=LAGS)
