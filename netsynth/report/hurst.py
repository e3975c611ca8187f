"""Hurst exponent by rescaled range, for many series at once."""

from __future__ import annotations

from math import lgamma, log

import numpy as np

from netsynth.numbers import FloatArray, IntArray

_BATCH = 4096  # series at a time: 4096 x 400 float64 are 13 MB


def box_sizes(length: int) -> IntArray:
    """Box sizes for a series of `length`: 15 even steps through the middle quarter of log length.

    Returns:
        int64 [K], ascending, distinct; the sizes that `nolds.hurst_rs` takes by default.
    """
    steps = 0.375 + 0.25 * np.arange(15) / 15
    sizes = np.exp(steps * np.log(length)).round().astype(np.int64)
    return np.unique(sizes)


def expected_rescaled_range(size: int) -> float:
    """Rescaled range that white noise has on average in a box of `size` values.

    References:
        Anis and Lloyd, "The expected value of the adjusted rescaled Hurst range of independent
        normal summands", Biometrika 63, 1976; for more than 340 values Peters' approximation.
    """
    steps = np.arange(1, size)
    front = (size - 0.5) / size
    if size <= 340:
        front *= float(np.exp(lgamma((size - 1) / 2) - lgamma(size / 2))) / np.sqrt(np.pi)
    else:
        front *= 1 / np.sqrt(size * np.pi / 2)
    return float(front * np.sqrt((size - steps) / steps).sum())


def hurst_exponents(series: FloatArray) -> FloatArray:
    """Hurst exponent of each row, from the rescaled range with the Anis-Lloyd correction.

    Boxes of a constant stretch have no rescaled range and are left out; the line through the
    rest is fitted by least squares.

    Args:
        series: float64 [F, T].

    Returns:
        float64 [F]; 0.5 for independent values, towards 1 for persistent ones; NaN where fewer
        than two box sizes have a rescaled range (a constant series).

    References:
        Hurst, "Long-term storage capacity of reservoirs", Trans. ASCE 116, 1951; Peters,
        "Fractal Market Analysis", 1994, chapter 4.
    """
    return np.concatenate(
        [_exponents(series[i : i + _BATCH]) for i in range(0, series.shape[0], _BATCH)]
        or [np.zeros(0)]
    )


def _exponents(series: FloatArray) -> FloatArray:
    sizes = box_sizes(series.shape[1])
    logs = np.column_stack([_log_rescaled_range(series, int(n)) for n in sizes])  # [F, K]
    expected = np.array([log(expected_rescaled_range(int(n))) for n in sizes])
    known = np.isfinite(logs)
    x = np.log(sizes.astype(np.float64))
    y = np.where(known, logs - expected, 0.0)
    count = known.sum(axis=1)
    safe = np.maximum(count, 1)
    x_mean = (known * x).sum(axis=1) / safe
    x_off = np.where(known, x - x_mean[:, None], 0.0)
    spread = (x_off**2).sum(axis=1)
    slope = (x_off * y).sum(axis=1) / np.where(count > 1, spread, 1.0)
    return np.where(count > 1, slope + 0.5, np.nan)


def _log_rescaled_range(series: FloatArray, size: int) -> FloatArray:
    """Log of the mean rescaled range over boxes of `size`, float64 [F]; NaN where none has any."""
    boxes = series.shape[1] // size
    boxed = series[:, : boxes * size].reshape(-1, boxes, size)
    moving = (boxed != boxed[:, :, :1]).any(axis=2)  # [F, boxes]; of idle flows, few
    some = boxed[moving]  # [M, size]
    off = some - some.mean(axis=1, keepdims=True)
    walk = np.cumsum(off, axis=1)
    reach = walk.max(axis=1, initial=-np.inf) - walk.min(axis=1, initial=np.inf)  # [M]
    spread = np.sqrt((off**2).sum(axis=1) / (size - 1))
    ratio = np.zeros(moving.shape)
    ratio[moving] = reach / spread
    count = moving.sum(axis=1)
    mean = ratio.sum(axis=1) / np.maximum(count, 1)
    return np.where(count > 0, np.log(np.where(count > 0, mean, 1.0)), np.nan)
