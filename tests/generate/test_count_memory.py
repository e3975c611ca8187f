"""A count prior remembers the rows it has computed, and they are the rows it would compute."""

from __future__ import annotations

import torch

from netsynth.generate.transformer.counts import CountPrior


def test_remembered_rows_are_those_computed_anew() -> None:
    random = torch.Generator().manual_seed(1)
    parents = torch.randint(0, 5, (400, 2), generator=random)
    tokens = (parents[:, 0] + torch.randint(0, 2, (400,), generator=random)) % 7
    other = torch.randint(0, 3, (400, 1), generator=random)  # which the finest do not decide
    prior = CountPrior(7, ((5,), (3,), (5, 5)))
    levels = [parents[:, :1], other, parents]
    prior.set_counts(tokens, levels, choose=True)
    prior.eval()
    plain = prior(levels, level_count=3)
    for start in (0, 40, 100):  # partly known, partly new keys
        part = [p[start : start + 150] for p in levels]
        assert torch.allclose(prior(part), plain[start : start + 150])
    assert torch.allclose(plain.exp().sum(1), torch.ones(400))


def test_counting_again_forgets_the_rows() -> None:
    prior = CountPrior(2, ((1,),))
    parents = [torch.zeros(10, 1, dtype=torch.int64)]
    prior.set_counts(torch.zeros(10, dtype=torch.int64), parents, choose=False)
    prior.eval()
    before = prior(parents)
    prior.set_counts(torch.ones(10, dtype=torch.int64), parents, choose=False)
    assert torch.allclose(prior(parents), before.flip(1))
