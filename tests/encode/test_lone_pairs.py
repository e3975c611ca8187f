"""A pair that a service joins once is not drawn twice while another is left."""

import numpy as np

from netsynth.encode.hosts import RARE_V4
from netsynth.encode.lone_pairs import NO_PAIRS, fit_lone_pairs, spread_pairs


def test_repeated_pairs_take_those_that_are_left() -> None:
    """Service 1 joins 5 to 6, 7 and 8; drawn are 5-6 three times, 5-7, and 9-9 of service 2."""
    learned = np.array([[1, 5, 6], [1, 5, 7], [1, 5, 8], [2, 9, 9], [3, 1, 1]])
    pairs = fit_lone_pairs(learned, np.array([True, True, True, True, False]))
    assert pairs.rows.shape[0] == 4  # the last one's port was free
    drawn = np.array([[1, 5, 6], [1, 5, 6], [1, 5, 6], [1, 5, 7], [2, 9, 9], [2, 9, 9], [1, 5, 6]])
    fixed = np.array([True] * 6 + [False])
    made = spread_pairs(drawn, fixed, pairs, np.random.default_rng(0))
    assert sorted(made[:4, 2].tolist()) == [6, 6, 7, 8]  # one pair was left for two flows
    assert made[0].tolist() == [1, 5, 6]
    assert made[4:].tolist() == drawn[4:].tolist()
    assert drawn[1].tolist() == [1, 5, 6]  # what was given is left as it is


def test_nothing_learned_changes_nothing() -> None:
    drawn = np.array([[1, 5, 6], [1, 5, 6]])
    fixed = np.array([True, True])
    assert spread_pairs(drawn, fixed, NO_PAIRS, np.random.default_rng(0)) is drawn


def test_rare_hosts_are_not_one_host() -> None:
    """Token 0 stands for every rare IPv4 host: its flows repeat no pair, and are no spare ones."""
    learned = np.array([[1, RARE_V4, 6], [1, RARE_V4, 7], [1, 5, 6], [1, 5, 7]])
    pairs = fit_lone_pairs(learned, np.ones(4, dtype=np.bool_))
    assert sorted(pairs.rows.tolist()) == [[1, 5, 6], [1, 5, 7]]
    drawn = np.array([[1, RARE_V4, 6], [1, RARE_V4, 6]])
    made = spread_pairs(drawn, np.ones(2, dtype=np.bool_), pairs, np.random.default_rng(0))
    assert made.tolist() == drawn.tolist()
