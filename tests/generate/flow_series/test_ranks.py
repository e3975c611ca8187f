"""Tokens as ranks and back, kinds given out, and plans: values worked out by hand."""

import numpy as np
import pytest

from netsynth.errors import ConfigError
from netsynth.generate.flow_series.drawing import match_kinds
from netsynth.generate.flow_series.plans import fit_window_plans, start_knots
from netsynth.generate.flow_series.ranks import fit_rank_book, spread

KEYS = np.array([[1, 0], [1, 0], [1, 0], [1, 0], [2, 5]])
TOKENS = np.array([3, 7, 3, 9, 4])


def test_a_token_stands_for_the_ranks_that_its_flows_take() -> None:
    book = fit_rank_book(KEYS, TOKENS)
    middle = book.encode(KEYS, TOKENS, np.full(5, 0.5))
    # 3 is half of the first group, 7 and 9 a quarter each; the second group has 4 alone
    assert middle.tolist() == [0.25, 0.625, 0.25, 0.875, 0.5]
    low = book.encode(KEYS, TOKENS, np.zeros(5))
    assert low.tolist() == [0.0, 0.5, 0.0, 0.75, 0.5]


def test_a_group_gets_its_own_tokens_back_in_the_order_asked_for() -> None:
    book = fit_rank_book(KEYS, TOKENS)
    tokens = book.decode(KEYS, np.array([9.0, 1.0, 8.0, -3.0, 0.1]), np.full(5, 0.5))
    assert tokens.tolist() == [9, 3, 7, 3, 4]  # ranks 7/8, 3/8, 5/8, 1/8 and 1/2


def test_ranks_are_spread_within_their_group() -> None:
    rank = spread(np.array([0, 1, 0, 0]), np.array([0.9, 0.5, 0.1, 0.2]), np.zeros(4))
    assert rank.tolist() == [2 / 3, 0.0, 0.0, 1 / 3]


def test_flows_get_rows_of_their_own_kind_while_there_are_any() -> None:
    drawn = np.array([4, 4, 1, -1, 2])
    wanted = np.array([1, 1, 4, 2, 7])
    chosen = match_kinds(drawn, wanted, np.random.default_rng(0))
    assert sorted(chosen.tolist()) == [0, 1, 2, 3, 4]
    own = drawn[chosen] == wanted
    assert own.tolist() == [True, False, True, True, False]


def kinds(*services: int) -> np.ndarray:
    return np.array([[0, service, 3, 1, 2] for service in services], dtype=np.int64)


def test_a_plan_asks_for_as_many_flows_as_its_window_had() -> None:
    shares = [np.linspace(0.1, 0.4, 40), np.array([0.5, 0.9])]
    plans = fit_window_plans([kinds(*[6] * 30, *[8] * 10), kinds(8, 9)], shares)
    rng = np.random.default_rng(0)
    everything = np.ones(3, dtype=np.bool_)
    plan, window, kind = plans.draw(200, allowed=everything, rng=rng)
    counts = np.zeros((200, 3))
    np.add.at(counts, (window, kind), 1)
    assert np.abs(counts[plan == 0].mean(axis=0) - [30, 10, 0]).max() < 1
    assert np.abs(counts[plan == 1].mean(axis=0) - [0, 1, 1]).max() < 0.2
    only = plans.kinds[:, 1] == 9
    _, window, kind = plans.draw(50, allowed=only, rng=rng)
    assert (plans.kinds[kind, 1] == 9).all()
    assert window.size > 0
    with pytest.raises(ConfigError, match="no flow that fulfils"):
        plans.draw(5, allowed=np.zeros(3, dtype=np.bool_), rng=rng)


def test_flows_start_where_those_of_their_service_did() -> None:
    shares = [np.concatenate([np.linspace(0.1, 0.2, 80), np.linspace(0.7, 0.8, 80)])]
    plans = fit_window_plans([kinds(*[5] * 80, *[6] * 80)], shares)
    service = np.array([5, 6, 5, 6])
    order = np.array([0.0, 0.0, 1.0, 1.0])
    made = plans.start_shares(np.zeros(1, np.int64), np.zeros(4, np.int64), service, order,
                              np.full(4, 0.5))  # fmt: skip
    assert np.allclose(made, [0.125, 0.725, 0.175, 0.775], atol=0.002)


def test_knots_of_starts_are_quantiles_whose_ends_lie_outside() -> None:
    knots = start_knots(np.linspace(0.2, 0.4, 17))  # 17 flows: 2 stretches
    assert np.allclose(knots, [0.2 - 0.2 / 34, 0.3, 0.4 + 0.2 / 34])
