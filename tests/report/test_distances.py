"""Distances against scipy and pencil."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from netsynth.report.distances import count_categories, deviation, emd, jsd, rank_jsd
from netsynth.report.resample import interval_about, resampled_distances
from netsynth.report.samples import Sample


@pytest.mark.parametrize("seed", range(5))
def test_emd_is_that_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.exponential(3, 501), rng.integers(0, 9, 77).astype(float)
    assert emd(one, other) == pytest.approx(wasserstein_distance(one, other), rel=1e-12)


def test_emd_of_a_moved_pile_is_how_far_it_moved() -> None:
    assert emd(np.array([1.0, 1.0]), np.array([3.5])) == 2.5


def test_equal_samples_are_at_distance_zero_exactly() -> None:
    values = np.random.default_rng(0).random(997)
    assert emd(values, values[::-1].copy()) == 0.0


def test_what_lies_out_of_the_real_range_counts() -> None:
    assert emd(np.array([0.0, 1.0]), np.array([0.0, 1001.0])) == 500.0


@pytest.mark.parametrize("seed", range(5))
def test_jsd_is_the_square_of_scipys_distance_in_bits(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = rng.integers(0, 9, 30).astype(float), rng.integers(0, 9, 30).astype(float)
    assert jsd(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-12)


def test_jsd_of_nothing_in_common_is_one_bit() -> None:
    assert jsd(np.array([5.0, 0.0]), np.array([0.0, 2.0])) == 1.0


def test_jsd_of_a_coin_and_its_one_side() -> None:
    # p = (1/2, 1/2), q = (1, 0): H(3/4, 1/4) - H(1/2, 1/2) / 2 = 0.81128 - 0.5
    assert jsd(np.array([1.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx(0.3112781, abs=1e-7)


def test_ranks_forget_who_is_popular() -> None:
    assert rank_jsd(np.array([9.0, 1.0, 0.0]), np.array([0.0, 0.1, 0.9])) == pytest.approx(0.0)
    assert rank_jsd(np.array([1.0, 1.0]), np.array([2.0])) == pytest.approx(0.3112781, abs=1e-7)


def test_categories_of_both_samples_are_counted() -> None:
    one, other = count_categories(np.array([7, 7, 3]), np.array([9, 7]))
    assert one.tolist() == [1, 2, 0]
    assert other.tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1.0, 2.0, 6.0], 5 / 3), ([4.0, 4.0], 4.0), ([-4.0], 4.0), ([0.0, 0.0], 0.0)],
)
def test_the_scale_is_the_mean_distance_from_the_median(values: list[float], scale: float) -> None:
    assert deviation(np.array(values)) == pytest.approx(scale)


def test_the_interval_holds_the_estimate_and_is_as_wide_as_theory_says() -> None:
    # the EMD of two normal samples far apart is the difference of their means, whose
    # standard error is sqrt(2 / 400); 1.96 of it either way
    rng = np.random.default_rng(1)
    samples = [
        Sample(values=rng.normal(mean, 1, 400), group=np.arange(400), group_count=400)
        for mean in (0, 10)
    ]
    raw = emd(samples[0].values, samples[1].values)
    found = interval_about(raw, resampled_distances("emd", *samples, rng=rng))
    assert found is not None
    assert found[0] < raw < found[1]
    assert found[1] - found[0] == pytest.approx(2 * 1.96 * np.sqrt(2 / 400), rel=0.35)


def test_flows_are_resampled_whole() -> None:
    # 400 values in 4 groups of equal values are 4 observations, not 400
    rng = np.random.default_rng(2)
    values = np.repeat([0.0, 1.0, 2.0, 3.0], 100)
    other = Sample(values=values + 10, group=np.arange(400), group_count=400)
    coarse = Sample(values=values, group=np.repeat(np.arange(4), 100), group_count=4)
    fine = Sample(values=values, group=np.arange(400), group_count=400)
    spread = [resampled_distances("emd", s, other, rng=rng).std() for s in (coarse, fine)]
    assert spread[0] > 4 * spread[1]


@pytest.mark.parametrize("kind", ["jsd", "rank"])
def test_resampled_divergences_stay_in_range(kind: str) -> None:
    rng = np.random.default_rng(3)
    one = Sample(values=rng.integers(0, 5, 50), group=np.arange(50), group_count=50)
    found = resampled_distances(kind, one, one, rng=rng)  # type: ignore[arg-type]
    assert found.size == 100
    assert ((found >= 0) & (found <= 1)).all()
