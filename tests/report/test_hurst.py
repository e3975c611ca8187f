"""The Hurst exponent against nolds, series by series."""

import numpy as np
import pytest
from report_tables import load_nolds

from netsynth.report.hurst import box_sizes, expected_rescaled_range, hurst_exponents


@pytest.fixture(scope="module")
def series() -> np.ndarray:
    rng = np.random.default_rng(0)
    noise = rng.normal(size=(4, 400))
    walks = np.cumsum(rng.normal(size=(4, 400)), axis=1)
    counts = rng.poisson(0.02, (30, 400)).astype(float)  # sparse, as flows are
    return np.concatenate([noise, walks, counts[(counts > 0).sum(axis=1) > 1]])


def test_exponents_are_those_of_nolds_with_a_least_squares_line(series: np.ndarray) -> None:
    nolds = load_nolds()
    expected = [nolds.hurst_rs(row, fit="poly") for row in series]
    assert hurst_exponents(series) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("length", [60, 400, 5000])
def test_boxes_are_those_of_nolds(length: int) -> None:
    assert box_sizes(length).tolist() == load_nolds().logmid_n(length).tolist()


@pytest.mark.parametrize("size", [5, 38, 341, 700])
def test_expected_ranges_are_those_of_nolds(size: int) -> None:
    assert expected_rescaled_range(size) == pytest.approx(load_nolds().expected_rs(size))


def test_a_constant_series_has_no_exponent() -> None:
    assert np.isnan(hurst_exponents(np.ones((1, 400)))).all()
    assert hurst_exponents(np.zeros((0, 400))).size == 0
