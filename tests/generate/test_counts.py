"""Smoothed counts against values worked out by hand."""

import pytest
import torch

from netsynth.generate.transformer.counts import NEAR, STRENGTHS, CountPrior, blur_matrix


def prior_by_hand() -> CountPrior:
    """Tokens 0, 0, 1 under parent 0 and 1 under parent 1; strength 1 a token, a base of 0.1 each.

    Base: counts 2 and 2, so (2 + 0.1) / (4 + 0.2) = 1/2 each.
    Parent 0: counts 2 and 1, two tokens, so (2 + 2/2) / (3 + 2) = 3/5 and 2/5.
    Parent 1: counts 0 and 1, one token, so (0 + 1/2) / (1 + 1) = 1/4 and 3/4.
    """
    prior = CountPrior(2, ((3,),))
    tokens, parents = torch.tensor([0, 0, 1, 1]), torch.tensor([[0], [0], [0], [1]])
    prior.set_counts(tokens, [parents], choose=False)
    return prior


def shares(prior: CountPrior, parents: list[list[int]], **options: object) -> list[list[float]]:
    made = prior([torch.tensor(parents)], **options)  # type: ignore[arg-type]
    rows: list[list[float]] = made.exp().tolist()
    return rows


def test_counts_are_smoothed_towards_the_column_alone() -> None:
    made = shares(prior_by_hand(), [[0], [1], [2]])
    assert made[0] == pytest.approx([3 / 5, 2 / 5])
    assert made[1] == pytest.approx([1 / 4, 3 / 4])
    assert made[2] == pytest.approx([1 / 2, 1 / 2])  # never seen: the level before


def test_a_flow_is_not_counted_for_itself() -> None:
    """Without one 0 under parent 0 the base is (1.1, 2.1) / 3.2 and the counts 1 and 1 of 2.

    So token 0 has (1 + 2 * 1.1 / 3.2) / 4. Without the lone 1 under parent 1 nothing is left there,
    and the base, (2.1, 1.1) / 3.2, holds.
    """
    made = shares(prior_by_hand(), [[0], [1]], left_out=torch.tensor([0, 1]))
    assert made[0] == pytest.approx([(1 + 2.2 / 3.2) / 4, (1 + 4.2 / 3.2) / 4])
    assert made[1] == pytest.approx([2.1 / 3.2, 1.1 / 3.2])


def test_levels_are_used_from_coarse_to_fine() -> None:
    prior = CountPrior(2, ((2,), (2, 2)))
    tokens = torch.tensor([0, 0, 0, 1])
    coarse = torch.tensor([[0], [0], [0], [1]])
    fine = torch.tensor([[0, 0], [0, 0], [0, 1], [1, 1]])
    prior.set_counts(tokens, [coarse, fine], choose=False)
    base = 3.1 / 4.2
    level_0 = (3 + base) / 4
    level_1 = (1 + level_0) / 2  # parents (0, 1): one flow, of token 0
    parents = [torch.tensor([[0]]), torch.tensor([[0, 1]])]
    assert prior(parents).exp()[0, 0].item() == pytest.approx(level_1)
    assert prior(parents, level_count=1).exp()[0, 0].item() == pytest.approx(level_0)
    assert prior(parents, level_count=0).exp()[0, 0].item() == pytest.approx(base)


def test_tuples_of_parents_are_told_apart() -> None:
    """(1, 0) and (0, 1) must not share a code."""
    prior = CountPrior(2, ((2, 2),))
    tokens = torch.tensor([0] * 50 + [1] * 50)
    parents = torch.tensor([[0, 1]] * 50 + [[1, 0]] * 50)
    prior.set_counts(tokens, [parents], choose=False)
    made = prior([torch.tensor([[0, 1], [1, 0]])]).exp()
    assert made[0, 0] > 0.95
    assert made[1, 1] > 0.95


def test_the_smoothing_follows_what_left_out_flows_ask_for() -> None:
    """Where parents decide the token, smooth little; where they say nothing, much."""
    random = torch.Generator().manual_seed(0)
    parents = torch.randint(0, 200, (2000, 1), generator=random)
    telling, silent = CountPrior(4, ((200,),)), CountPrior(4, ((200,),))
    telling.set_counts(parents[:, 0] % 4, [parents], choose=True)
    silent.set_counts(torch.randint(0, 4, (2000,), generator=random), [parents], choose=True)
    assert telling.strength.item() == pytest.approx(STRENGTHS[0])
    assert silent.strength.item() >= 30


def test_a_flow_unlike_all_others_is_not_impossible() -> None:
    """Six levels of one key each, 50,000 flows alike and one that no block left out judges."""
    tokens = torch.zeros(50_000, dtype=torch.int64)
    tokens[1234] = 1
    prior = CountPrior(3, ((1,),) * 6)
    parents = [torch.zeros(50_000, 1, dtype=torch.int64)] * 6
    prior.set_counts(tokens, parents, choose=True)
    logs = prior([p[:1] for p in parents], left_out=tokens[1234:1235])
    assert torch.isfinite(logs).all()
    prior.eval()
    assert torch.isfinite(prior([p[:1] for p in parents])).all()


def test_neighbours_do_not_tell_what_others_will_do() -> None:
    """Runs of 16 flows have a parent and a token of their own: the next run's is another."""
    random = torch.Generator().manual_seed(0)
    run = torch.arange(4000) // 16
    tokens = torch.randint(0, 4, (250,), generator=random)[run]
    prior = CountPrior(4, ((100,),))
    parents = torch.randint(0, 100, (250,), generator=random)[run][:, None]
    prior.set_counts(tokens, [parents], choose=True)
    assert prior.strength.item() >= 30


def test_blurred_counts_reach_the_tokens_near_by() -> None:
    """Numbers 100, 110, 120 and 9,000: three flows of 100 speak for 120, not for 9,000."""
    values = torch.tensor([100.0, 110.0, 120.0, 9000.0], dtype=torch.float64).log()
    tokens = torch.tensor([0, 0, 0] + [0, 1, 2, 3] * 25)
    parents = torch.tensor([[1]] * 3 + [[0]] * 100)
    sharp = CountPrior(4, ((2,),))
    blurred = CountPrior(4, ((2,),), values=values, blurred=(True,))
    for prior in (sharp, blurred):
        prior.set_counts(tokens, [parents], choose=False)
    assert sharp([torch.tensor([[1]])]).exp()[0, 2] < 0.1
    made = blurred([torch.tensor([[1]])]).exp()[0]
    assert made[2] > 0.2
    assert made[3] < 0.1
    assert made.sum() == pytest.approx(1.0)


def test_a_blur_keeps_the_count_and_leaves_alone_what_is_no_number() -> None:
    values = torch.tensor([torch.nan, 0.0, 0.1, 5.0], dtype=torch.float64)
    blur = blur_matrix(values, torch.tensor([7.0, 5.0, 5.0, 9.0]))
    assert torch.allclose(blur.sum(1), torch.ones(4))
    assert blur[0].tolist() == [1, 0, 0, 0]
    assert blur[1, 0] == 0
    assert blur[3].tolist() == [0, 0, 0, 1]
    ratio = float(torch.exp(torch.tensor(-0.1 / NEAR)))
    assert float(blur[1, 2] / blur[1, 1]) == pytest.approx(ratio)


def test_a_blurred_flow_is_not_counted_for_itself() -> None:
    """What the others tell is the same as a prior made without it."""
    values = torch.tensor([1.0, 1.1, 1.3], dtype=torch.float64)
    tokens, parents = torch.tensor([0, 1, 1, 2, 2]), torch.zeros(5, 1, dtype=torch.int64)
    whole = CountPrior(3, ((1,),), values=values, blurred=(True,))
    whole.set_counts(tokens, [parents], choose=False)
    rows = whole.rows_0[0] - blur_matrix(values, whole.base)[2]
    base = (torch.tensor([1.0, 2.0, 1.0]) + 0.1) / 4.3
    expected = (rows + base) / (rows.sum() + 1)
    made = whole([parents[:1]], left_out=torch.tensor([2])).exp()[0]
    assert made.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_no_token_is_impossible_and_shares_sum_to_one() -> None:
    made = torch.tensor(shares(prior_by_hand(), [[0], [1], [2]]))
    assert (made > 0).all()
    assert torch.allclose(made.sum(dim=1), torch.ones(3))


def test_counts_survive_a_state_dict() -> None:
    prior, again = prior_by_hand(), CountPrior(2, ((3,),))
    again.load_state_dict(prior.state_dict())
    assert shares(again, [[0], [1]]) == shares(prior, [[0], [1]])
