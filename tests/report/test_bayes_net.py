"""The Chow-Liu tree against scikit-learn and scipy."""

import numpy as np
import pytest
from report_tables import dialogues
from scipy.sparse.csgraph import minimum_spanning_tree
from sklearn.metrics import mutual_info_score

from netsynth.report.bayes_net import (
    chow_liu_tree,
    mutual_information,
    sample_bayes_net,
    sample_tree,
)
from netsynth.report.trace import trace_of


def chain(rng: np.random.Generator, count: int) -> np.ndarray:
    """Columns 0 -> 2 -> 1 and an independent 3, each a noisy copy of the one before."""
    noise = rng.random((3, count)) < [[0.1], [0.2], [1.0]]
    first = rng.integers(0, 4, count)
    third = np.where(noise[0], rng.integers(0, 4, count), first)
    second = np.where(noise[1], rng.integers(0, 4, count), third)
    return np.column_stack([first, second, third, rng.integers(0, 3, count)])


def test_mutual_information_is_that_of_scikit_learn_in_bits() -> None:
    codes = chain(np.random.default_rng(0), 500)
    expected = mutual_info_score(codes[:, 0], codes[:, 1]) / np.log(2)
    assert mutual_information(codes[:, 0], codes[:, 1]) == pytest.approx(expected)


def test_the_tree_is_the_maximum_spanning_tree_of_scipy() -> None:
    codes = chain(np.random.default_rng(1), 5000)
    weights = np.zeros((4, 4))
    for a in range(4):
        for b in range(a + 1, 4):
            weights[a, b] = -mutual_info_score(codes[:, a], codes[:, b])
    rows, columns = minimum_spanning_tree(weights).nonzero()
    expected = {frozenset(edge) for edge in zip(rows.tolist(), columns.tolist(), strict=True)}
    tree = chow_liu_tree(codes)
    assert {frozenset(edge) for edge in tree if edge[1] >= 0} == expected
    assert tree[0] == (0, -1)
    assert (2, 0) in tree
    assert (1, 2) in tree


def test_samples_keep_the_pairs_of_the_tree() -> None:
    rng = np.random.default_rng(2)
    codes = chain(rng, 5000)
    drawn = sample_tree(codes, chow_liu_tree(codes), count=20_000, rng=rng)
    for a, b in ((0, 2), (2, 1)):
        expected = np.histogram2d(codes[:, a], codes[:, b], bins=4)[0] / 5000
        found = np.histogram2d(drawn[:, a], drawn[:, b], bins=4)[0] / 20_000
        assert found == pytest.approx(expected, abs=0.02)


def test_the_network_gives_as_many_sessions_in_the_same_time() -> None:
    trace = trace_of(dialogues(1, sessions=300))
    drawn = trace_of(sample_bayes_net(trace, np.random.default_rng(0)))
    assert drawn.session_count == pytest.approx(trace.session_count, rel=0.05)
    assert len(drawn) == pytest.approx(len(trace), rel=0.2)
    assert drawn.duration_s == pytest.approx(trace.duration_s, rel=0.2)
