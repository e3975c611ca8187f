"""Endpoints by quota: how many by counts, which by what was made."""

import numpy as np

from netsynth.generate.cascade.quotas import assign, quotas


def test_quotas_sum_to_the_flows_and_stay_within_one_of_their_share() -> None:
    counts = np.array([7, 0, 2, 1])
    drawn = np.stack([quotas(counts, 5, np.random.default_rng(seed)) for seed in range(2000)])
    assert (drawn.sum(axis=1) == 5).all()
    assert (np.abs(drawn - counts / 10 * 5) < 1).all()
    assert np.allclose(drawn.mean(axis=0), [3.5, 0, 1, 0.5], atol=0.05)  # deviation 0.011


def test_flows_get_what_they_ask_for_where_there_is_room() -> None:
    targets = np.array([[0.0], [1.0], [9.0]], dtype=np.float32)
    made = np.array([[[0.1]], [[0.9]], [[8.0]]], dtype=np.float32)
    near = np.array([[0], [1], [2]])
    row = assign(made, near, targets, np.array([1, 1, 1]), np.random.default_rng(0))
    assert row.tolist() == [0, 1, 2]


def test_where_many_ask_for_one_the_rest_take_the_nearest_that_is_left() -> None:
    targets = np.array([[0.0], [1.0], [9.0]], dtype=np.float32)
    made = np.zeros((4, 2, 1), dtype=np.float32)
    near = np.zeros((4, 2), dtype=np.int64)
    row = assign(made, near, targets, np.array([2, 1, 1]), np.random.default_rng(0))
    assert sorted(row.tolist()) == [0, 0, 1, 2]


def test_no_flows_need_no_room() -> None:
    none = np.zeros((0, 2, 1), dtype=np.float32)
    row = assign(none, np.zeros((0, 2), int), np.zeros((1, 1), np.float32), np.array([0]),
                 np.random.default_rng(0))  # fmt: skip
    assert row.size == 0
