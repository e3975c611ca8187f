"""Forecasters of a series from its last values, in the two forms that `throughput` needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from netsynth.numbers import FloatArray

LAGS = 5

Forecaster = Callable[[FloatArray], Callable[[FloatArray], FloatArray]]
"""Trained on a series, float64 [T], it gives what forecasts each value of another, float64 [U],
from the values before it: float64 [U], whose first LAGS are not to be used."""


def lagged(series: FloatArray, lags: int) -> tuple[FloatArray, FloatArray]:
    """Rows of the `lags` values before each value, newest first, [T-lags, lags], and the value."""
    windows = np.lib.stride_tricks.sliding_window_view(series[:-1], lags)[:, ::-1]
    return np.ascontiguousarray(windows), series[lags:]


def fit_ar(series: FloatArray, *, lags: int = LAGS) -> FloatArray:
    """Least-squares coefficients of an autoregression: constant, lag 1, ..., float64 [lags+1].

    References:
        Box and Jenkins, "Time Series Analysis", section 7.3 (conditional least squares).
    """
    past, now = lagged(series, lags)
    design = np.column_stack([np.ones(now.size), past])
    return np.asarray(np.linalg.lstsq(design, now, rcond=None)[0], dtype=np.float64)


def autoregression(series: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """AR(5) by least squares."""
    coefficients = fit_ar(series)

    def forecast(other: FloatArray) -> FloatArray:
        past, _ = lagged(other, LAGS)
        ahead = coefficients[0] + past @ coefficients[1:]
        return np.concatenate([other[:LAGS], ahead])

    return forecast


def fit_arma(series: FloatArray) -> FloatArray:
    """Coefficients of ARMA(2, 1): constant, two lags of the series, one of its residuals.

    Residuals come from a long autoregression, the coefficients from a regression on them.

    Returns:
        float64 [4].

    References:
        Hannan and Rissanen, "Recursive estimation of mixed autoregressive-moving average order",
        Biometrika 69, 1982 (its first two steps).
    """
    long = fit_ar(series, lags=LAGS)
    past, now = lagged(series, LAGS)
    residuals = now - (long[0] + past @ long[1:])  # of series[LAGS:]
    rows = slice(LAGS + 1, None)
    design = np.column_stack(
        [
            np.ones(series.size - LAGS - 1),
            series[LAGS:-1],
            series[LAGS - 1 : -2],
            residuals[:-1],
        ]
    )
    return np.asarray(np.linalg.lstsq(design, series[rows], rcond=None)[0], dtype=np.float64)


def moving_average(series: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """ARMA(2, 1) by the Hannan-Rissanen method; its moving average is kept invertible."""
    constant, first, second, moving = fit_arma(series).tolist()
    moving = min(max(moving, -0.99), 0.99)  # else forecasts feed on their own errors and explode

    def forecast(other: FloatArray) -> FloatArray:
        ahead, residual = other.copy(), 0.0
        for t in range(2, other.size):
            ahead[t] = constant + first * other[t - 1] + second * other[t - 2] + moving * residual
            residual = float(other[t] - ahead[t])
        return ahead

    return forecast


def _learned(make: Callable[[int], Any]) -> Forecaster:
    """A scikit-learn regressor on the last LAGS values; `make` is told how many rows there are."""

    def train(series: FloatArray) -> Callable[[FloatArray], FloatArray]:
        past, now = lagged(series, LAGS)
        model = make(now.size).fit(past, now)

        def forecast(other: FloatArray) -> FloatArray:
            return np.concatenate([other[:LAGS], model.predict(lagged(other, LAGS)[0])])

        return forecast

    return train


def forecasters() -> dict[str, Forecaster]:
    """The six forecasters by name; the learned ones have a fixed seed."""
    from sklearn.ensemble import AdaBoostRegressor, RandomForestRegressor
    from sklearn.neighbors import KNeighborsRegressor
    from sklearn.tree import DecisionTreeRegressor

    return {
        "AR": autoregression,
        "ARMA": moving_average,
        "KNN": _learned(lambda rows: KNeighborsRegressor(n_neighbors=min(5, rows))),
        "decision tree": _learned(lambda _: DecisionTreeRegressor(random_state=0)),
        "random forest": _learned(lambda _: RandomForestRegressor(n_estimators=20, random_state=0)),
        "AdaBoost": _learned(lambda _: AdaBoostRegressor(n_estimators=15, random_state=0)),
    }
