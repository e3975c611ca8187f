"""Throughput prediction: does a forecaster trained on synthetic traffic serve on real traffic?"""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.fidelity import Figure
from netsynth.report.forecasters import Forecaster, forecasters
from netsynth.report.pair import Pair
from netsynth.report.resample import interval_about
from netsynth.report.series import bytes_per_interval, resampled_series

STEPS = 200
SHARES = (0.1, 0.3, 0.5, 0.7, 0.9)  # of a series that a forecaster is trained on
TESTED = STEPS // 10  # the last tenth of the real series
RESAMPLED = 20


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Train on the first 10 to 90 % of either trace, forecast the last 10 % of the real one.

    Returns:
        Per forecaster its mean absolute error over the five shares when trained on the synthetic
        trace over that when trained on the real one: 1 is as good as real. Rates are in B/s, so
        that traces of unlike duration compare. The errors themselves are in details.

    References:
        CascadeNet, section 7.3.
    """
    names = list(forecasters())
    for trace, which in ((pair.real.trace, "real"), (pair.synthetic, "synthetic")):
        if trace.duration_ns == 0:
            note = f"the {which} capture has no duration"
            return [_figure(name).measured(note=note) for name in names], {}
    real = bytes_per_interval(pair.real.trace, STEPS) / pair.real.trace.duration_s * STEPS
    synthetic = bytes_per_interval(pair.synthetic, STEPS) / pair.synthetic.duration_s * STEPS
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
        rows.append(_figure(name).measured(raw=raw, interval=interval_about(raw, np.array(found))))
    return rows, {"throughput": details}


def _figure(name: str) -> Figure:
    text = f"error of {name} trained on synthetic traffic over its error trained on real; 1 is best"
    return Figure(family="throughput", name=name, text=text)


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
