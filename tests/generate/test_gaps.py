"""Gaps told by two rulers: likelihoods sum to 1, and draws follow them."""

import numpy as np
import pytest
import torch
from generate_traces import fill_weights
from torch import Tensor

from netsynth.generate.transformer.gaps import GapDecoder
from netsynth.numbers import fit_number_codec

TICK = 1000.0


def decoder() -> GapDecoder:
    rng = np.random.default_rng(0)
    gaps = np.concatenate([np.full(50, 20_000), rng.integers(1, 400, 2000) * 1000])
    shares = rng.gamma(3.0, 0.4, 2000)
    torch.manual_seed(0)
    made = GapDecoder(
        (
            fit_number_codec(gaps, bin_count=12, atom_count=2, atom_share=0.01),
            fit_number_codec(shares, bin_count=12, atom_count=0),
        ),
        kinds=1,
        width=8,
        hidden=8,
        tick_ns=TICK,
    )
    fill_weights([*made.heads, made.choice], std=1.0)
    return made.eval()


def repeat(value: float, count: int) -> Tensor:
    return torch.full((count,), value, dtype=torch.float64)


@pytest.mark.parametrize("unit", [0.0, 90_000.0])
def test_likelihoods_of_all_gaps_sum_to_one(unit: float) -> None:
    """Of gaps 30 to 250 us, tick by tick; with and without an answer to measure by."""
    made = decoder()
    low, high = 30_000.0, 250_000.0
    gap = torch.arange(low, high + 1, TICK, dtype=torch.float64)
    count = gap.numel()
    state = torch.randn(1, 8).expand(count, 8)
    units = torch.stack([repeat(1.0, count), repeat(unit, count)], dim=1)
    with torch.no_grad():
        nll = made.nll(state, gap, repeat(low, count), repeat(high, count), units)
    assert float(torch.exp(-nll).sum()) == pytest.approx(1.0, abs=0.06)  # the last tick is half out


def test_draws_lie_within_bounds_and_follow_the_likelihood() -> None:
    made = decoder()
    count = 20_000
    state = torch.randn(1, 8, generator=torch.Generator().manual_seed(3)).expand(count, 8)
    units = torch.stack([repeat(1.0, count), repeat(90_000.0, count)], dim=1)
    low, high = repeat(30_000.0, count), repeat(250_000.0, count)
    with torch.no_grad():
        none = torch.zeros(count, dtype=torch.int64)
        random = torch.Generator().manual_seed(4)
        drawn = made.sample(state, low, high, units, service=none, kind=none, random=random)
        edges = torch.arange(30_000.0, 250_001, TICK, dtype=torch.float64)
        size = edges.numel()
        nll = made.nll(state[:size], edges, low[:size], high[:size], units[:size])
    assert float(drawn.min()) >= 30_000
    assert float(drawn.max()) <= 250_000
    expected = torch.exp(-nll)[edges < 100_000].sum() / torch.exp(-nll).sum()
    assert float((drawn < 100_000).double().mean()) == pytest.approx(float(expected), abs=0.03)


def test_a_ruler_without_a_unit_is_not_used() -> None:
    """Only the first ruler is left, and its atom is the only value allowed."""
    made = decoder()
    count = 50
    units = torch.stack([repeat(1.0, count), repeat(0.0, count)], dim=1)
    bound = repeat(20_000.0, count)
    with torch.no_grad():
        none = torch.zeros(count, dtype=torch.int64)
        random = torch.Generator().manual_seed(5)
        state = torch.randn(count, 8)
        drawn = made.sample(state, bound, bound, units, service=none, kind=none, random=random)
    assert drawn.tolist() == [20_000.0] * count
