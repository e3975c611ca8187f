"""Throughput prediction: does a forecaster trained on synthetic traffic serve on real traffic?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.fidelity import Figure
from netsynth.report.forecasters import Forecaster, forecasters
from netsynth.report.pair import Pair
from netsynth.report.resample import interval_about
from netsynth.report.series import bytes_per_interval, resampled_series
from netsynth.report.trace import Trace

STEPS = 200
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a series that a forecaster is trained on
TESTED = STEPS // 10  # the last tenth of the real series
RESAMPLED = 20


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Train on the first 10 to 90 % of either trace, forecast the last 10 % of the real one.

    Returns:
        Per forecaster its mean absolute error over the five shares when trained on the synthetic
        trace over that when trained on the real one: 1 is as good as real. Its floor is that of
        one time half of the real trace trained on the other. Rates are in B/s, so that traces of
        unlike duration compare. The errors themselves are in details.

    References:
        CascadeNet, section 7.3.
    """
    names = list(forecasters())
    side = pair.lacks(lambda trace: trace.duration_ns > 0)
    if side:
        return [_figure(name).unmeasured(side, "has no duration") for name in names], {}
    real, synthetic = _rates(pair.real.trace), _rates(pair.synthetic)
    halves = [_rates(half) for half in (pair.real.early, pair.real.late) if half.duration_ns]
    rows, details = [], {}
    resampled: list[FloatArray] = []
    if not pair.quick:
        rng = pair.rng("throughput")
        again = resampled_series(pair.synthetic, STEPS, rng=rng, replicates=RESAMPLED)
        resampled = [series / pair.synthetic.duration_s * STEPS for series in again]
    for name, train in forecasters().items():
        ours, theirs = errors(train, real, real), errors(train, synthetic, real)
        details[name] = {"shares": SHARES, "real": ours, "synthetic": theirs}
        if sum(ours) == 0:
            note = "trained on the real trace it makes no error, so there is no ratio"
            rows.append(_figure(name).measured(note=note))
            continue
        raw = sum(theirs) / sum(ours)
        found = [sum(errors(train, series, real)) / sum(ours) for series in resampled]
        beside = _between_halves(train, halves)
        rows.append(
            _figure(name).scaled_to(
                raw=raw,
                scaled=raw,
                floor=beside,
                real=beside,
                interval=interval_about(raw, np.array(found)),
                note="" if beside else "the real capture's halves give no floor",
            )
        )
    return rows, {"throughput": details}


def _rates(trace: Trace) -> FloatArray:
    """B/s in each of 200 equal intervals of a trace that lasts, float64 [200]."""
    return bytes_per_interval(trace, STEPS) / trace.duration_s * STEPS


def _between_halves(train: Forecaster, halves: Sequence[FloatArray]) -> float | None:
    """Error trained on one time half over that trained on the other, which both forecast.

    The mean of both ways round; None where there are no two halves, or no error is made.
    """
    found = []
    for one, other in permutations(halves, 2):
        own = sum(errors(train, one, one))
        if own > 0:
            found.append(sum(errors(train, other, one)) / own)
    return float(np.mean(found)) if found else None


def _figure(name: str) -> Figure:
    text = f"error of {name} trained on synthetic traffic over its error trained on real; 1 is best"
    return Figure(family="throughput", name=name, text=text, in_mean=True)


def errors(train: Forecaster, series: FloatArray, real: FloatArray) -> list[float]:
    """Mean absolute error over the last tenth of `real`, trained on each share of `series`.

    Args:
        train: The forecaster.
        series: What it is trained on, float64 [200], B/s.
        real: What it forecasts, float64 [200], B/s.

    Returns:
        One error a share, B/s. Forecasts are kept between 0 and the highest rate seen.
    """
    found = []
    for share in SHARES:
        seen = series[: round(share * STEPS)]
        highest = max(float(seen.max()), float(real[:-TESTED].max()))
        ahead = np.clip(train(seen)(real), 0.0, highest)  # an unstable fit must not rule the mean
        found.append(float(np.abs(ahead - real)[-TESTED:].mean()))
    return found
