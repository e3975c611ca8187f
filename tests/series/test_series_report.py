"""Figures of series with values worked out by hand, and the report as a whole."""

import dataclasses

import numpy as np
import pytest
from series_datasets import small_dataset

from netsynth.dataset import CATEGORICAL, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.errors import TableError
from netsynth.series import compare_series
from netsynth.series.learning import (
    SOURCES,
    accuracies,
    choose_label,
    compare_learning,
    order_kept,
    rare_score,
    telling,
)
from netsynth.series.measures import (
    autocorrelation_error,
    describe_samples,
    divergence,
    earth_movers,
    mean_autocorrelation,
)
from netsynth.series.privacy import closeness, copy_share, membership_auc, size_warning


def dataset(series: list[list[float]], kinds: list[int] | None = None) -> SeriesDataset:
    lengths = [len(cells) for cells in series]
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=(Column(name="kind", kind=CATEGORICAL, values=("a", "b")),),
            measurements=(Column(name="x", kind=NUMERIC, low=-100, high=1000),),
            max_length=max(lengths),
        ),
        metadata=np.array(kinds or [0] * len(series), dtype=np.float64)[:, None],
        values=np.concatenate([np.array(cells, dtype=np.float64) for cells in series])[:, None],
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )


def waves(count: int, seed: int) -> SeriesDataset:
    """Two kinds: slow and small, or fast and large."""
    random = np.random.default_rng(seed)
    kinds = (np.arange(count) % 4 == 0).astype(int)
    step = np.arange(24)
    series = [
        list(
            (1 + 9 * kind) * (2 + np.sin(step * (1 + kind) / 2 + random.random() * 6))
            + random.normal(0, 0.2, 24)
        )
        for kind in kinds
    ]
    return dataset(series, kinds.tolist())


def test_divergence_in_bits() -> None:
    one, other = np.array([0.0, 0, 1, 1]), np.array([2.0, 2, 2, 2])
    assert divergence(one, other, 3) == pytest.approx(1)
    assert divergence(one, one, 3) == 0
    # shares 1/2, 1/2 and 1, 0: middle 3/4, 1/4 has 0.8113 bits; less half of 1 bit
    assert divergence(one, np.zeros(3), 2) == pytest.approx(0.8113 - 0.5, abs=1e-4)


def test_autocorrelation_by_hand() -> None:
    # 1, -1, 1, -1 has sums of products 4, -3, 2, -1; a constant or a short series does not count
    data = dataset([[1, -1, 1, -1], [5, 5, 5, 5], [1, 2]])
    assert mean_autocorrelation(data, 0) == pytest.approx([1, -0.75, 0.5, -0.25])
    # 0, 3, 0 around its mean: -1, 2, -1; products 6, -4, 1 over 6; it knows lags 0 to 2
    both = mean_autocorrelation(dataset([[1, -1, 1, -1], [0, 3, 0]]), 0)
    assert both == pytest.approx([1, (-0.75 - 4 / 6) / 2, (0.5 + 1 / 6) / 2, -0.25])
    other = dataset([[0, 3, 0]])
    error = ((-0.75 + 4 / 6) ** 2 + (0.5 - 1 / 6) ** 2) / 2
    assert autocorrelation_error(data, other, 0) == pytest.approx(error)


def test_autocorrelation_is_statsmodels() -> None:
    from statsmodels.tsa.stattools import acf

    cells = np.random.default_rng(0).normal(size=40).cumsum()
    expected = acf(cells, nlags=39, fft=False, adjusted=False)
    assert mean_autocorrelation(dataset([list(cells)]), 0) == pytest.approx(expected)


def test_what_describes_a_series() -> None:
    found = describe_samples(dataset([[0, 3, 0]]))[0]
    numbers = [3, 1, np.sqrt(2), 0, 3, 0, 0]  # total, mean, deviation, least, most, first, last
    assert found == pytest.approx([np.log(4), *np.log1p(numbers)])
    assert earth_movers(np.array([0.0, 1]), np.array([2.0, 3])) == 2


def test_copies_are_counted_whatever_their_metadata() -> None:
    real = dataset([[1, 2, 3], [4, 5], [9]])
    made = dataset([[1, 2, 3], [1, 2, 3.1], [4, 5.0000000001], [9]], [1, 0, 0, 0])
    assert copy_share(real, made) == pytest.approx(2 / 3)  # a single record is no copy


def test_a_replay_is_told_from_fresh_samples() -> None:
    real, held_out = waves(80, 0), waves(80, 1)
    assert membership_auc(real, held_out, real, seed=0) > 0.95
    assert 0.35 < membership_auc(real, held_out, waves(200, 2), seed=0) < 0.65
    assert closeness(real, held_out, real, seed=0) == 0
    assert 0.7 < closeness(real, held_out, waves(80, 3), seed=0) < 1.4


def test_few_samples_are_warned_of() -> None:
    warning = size_warning(waves(200, 0))
    assert warning is not None
    assert "only 200 real series" in warning
    assert "99.5 %" in warning
    assert size_warning(waves(1000, 0)) is None


def test_a_report_of_samples_as_good_as_real() -> None:
    report = compare_series(waves(300, 0), waves(300, 7), held_out=waves(300, 8), seed=0)
    figures = {(f.name, f.unit): f for f in report.figures}
    assert figures["lengths", "records"].value == 0
    assert figures["kind", "bits"].value == 0
    for figure in figures.values():
        assert figure.floor is not None
        assert figure.value <= 3 * figure.floor + 1e-3
    assert report.learning is not None
    assert report.learning.label == "kind"
    assert report.learning.ratio > 0.95
    assert report.learning.rare == "b"
    assert set(report.learning.real.values()) == {1.0}  # no order to keep, so none is lost
    assert (report.learning.rank_correlation, report.learning.rank_floor) == (1.0, 1.0)
    assert set(report.learning.rare_scores) == set(SOURCES)
    assert all(s.recall == s.f1 == 1 for s in report.learning.rare_scores.values())
    assert report.privacy[-1].value == pytest.approx(0.5, abs=0.1)
    text = report.summary()
    assert text.startswith("warning: only 300 real series")
    assert "x: totals, kind=a" in text


def test_the_order_of_classifiers_counts_where_they_clearly_differ() -> None:
    # of 400 samples, two standard errors of 0.9 and 0.8 are 2 sqrt((0.09 + 0.16) / 400) = 0.05,
    # of 0.9 and 0.89 they are 0.043: b and c differ clearly from a, not from each other
    real = {"a": 0.9, "b": 0.81, "c": 0.8}
    assert order_kept(real, {"a": 0.7, "b": 0.5, "c": 0.6}, judged=400) == 1
    assert order_kept(real, {"a": 0.55, "b": 0.5, "c": 0.6}, judged=400) == 0.5
    assert order_kept({"a": 0.9, "b": 0.89}, {"a": 0.1, "b": 0.9}, judged=400) == 1
    assert order_kept({"a": 0.9, "b": 0.89}, {"a": 0.1, "b": 0.9}, judged=40_000) == 0


def test_classifiers_learn_what_is_there_to_learn() -> None:
    train, test = waves(120, 0), waves(80, 1)
    assert set(accuracies(train, test, label="kind", seed=0).values()) == {1.0}
    swapped = dataclasses.replace(test, metadata=1 - test.metadata)
    assert set(accuracies(train, swapped, label="kind", seed=0).values()) == {0.0}


def test_telling_a_value_by_hand() -> None:
    truth = np.array([1, 1, 1, 1, 0, 0, 0, 0])
    answers = {
        "one": np.array([1, 1, 0, 0, 1, 0, 0, 0]),  # 2 of 4 told; 2 of 3 right: F1 4/7
        "other": np.array([1, 1, 1, 1, 1, 1, 1, 1]),  # 4 of 4 told; 4 of 8 right: F1 2/3
    }
    score = rare_score(answers, truth, 1)
    assert score.recall == pytest.approx((0.5 + 1) / 2)
    assert score.f1 == pytest.approx((4 / 7 + 2 / 3) / 2)
    assert rare_score({"one": truth}, truth, 2).f1 == 0  # there is none, and none is told


def test_made_series_of_the_rarest_kind_help_only_where_they_are_like_it() -> None:
    """Of 40 real series, one of kind b is known, and a classifier cannot learn it from that."""
    real, test = waves(40, 0), waves(400, 1)
    rows = np.flatnonzero(real.metadata[:, 0] == 0)
    real = real.take(np.append(rows, np.flatnonzero(real.metadata[:, 0] == 1)[0]))
    right = waves(80, 2)
    wrong = dataclasses.replace(right, metadata=1 - right.metadata)
    alone = telling(real, test, label="kind", value="b", seed=0)
    found = [
        compare_learning(real, test, made, label="kind", seed=0).rare_scores
        for made in (right, wrong)
    ]
    assert alone.f1 < 0.9
    assert found[0]["real"] == alone
    assert found[0]["real, rare"].f1 > 0.98
    assert found[0]["real, synthetic"].f1 > 0.98
    assert found[1]["real, rare"].f1 < 0.7


def test_a_bad_generator_is_seen() -> None:
    flat = waves(300, 0)
    shuffled = np.random.default_rng(0).permutation(flat.values)
    report = compare_series(flat, dataclasses.replace(flat, values=shuffled), seed=0)
    figures = {(f.name, f.unit): f for f in report.figures}
    correlation = figures["x: autocorrelation", "squared"]
    assert correlation.floor is not None
    assert correlation.value > 10 * correlation.floor
    assert report.learning is not None
    assert report.learning.ratio < 0.9


def test_other_columns_are_refused() -> None:
    with pytest.raises(TableError, match="the columns differ"):
        compare_series(waves(8, 0), small_dataset())
    assert choose_label(small_dataset()) == "plan"
