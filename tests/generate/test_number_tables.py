"""Number codecs as tensors against the numpy ones, and shares of a range by arithmetic."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import KNOTS, NumberCodec, fit_number_codec

VALUES = st.lists(st.one_of(st.integers(0, 50), st.integers(0, 10**9)), min_size=1, max_size=200)


def by_hand() -> NumberCodec:
    """Atom 5; a bin 10..20 and a bin 20..100, both even."""
    knots = np.stack([np.linspace(10, 20, KNOTS), np.linspace(20, 100, KNOTS)])
    return NumberCodec(atoms=np.array([5.0]), edges=np.array([10.0, 20.0, 100.0]), knots=knots)


@settings(deadline=None, max_examples=60)
@given(VALUES, VALUES)
def test_buckets_are_the_codecs_tokens(learned: list[int], asked: list[int]) -> None:
    codec = fit_number_codec(np.array(learned), bin_count=12)
    table = NumberTable(codec)
    wanted = np.array(asked + learned, dtype=np.float64)
    assert table.size == codec.size
    assert table.bucket(torch.as_tensor(wanted)).tolist() == codec.encode(wanted).tolist()


@settings(deadline=None, max_examples=40)
@given(VALUES, st.integers(0, 2**31))
def test_draws_are_the_codecs_for_the_same_randomness(learned: list[int], seed: int) -> None:
    codec = fit_number_codec(np.array(learned), bin_count=12)
    tokens = torch.arange(codec.size).repeat(3)
    drawn = NumberTable(codec).draw(tokens, torch.Generator().manual_seed(seed))
    uniform = torch.rand(
        tokens.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    expected = codec.decode(tokens.numpy(), uniform.numpy())
    assert np.allclose(drawn.numpy(), expected, rtol=1e-12)


def test_the_share_of_a_token_within_a_range() -> None:
    """Of 10..20 the range 12..40 holds 0.8, of 20..100 a quarter; 5 lies outside."""
    table = NumberTable(by_hand())
    low, high = torch.tensor([12.0, 0.0], dtype=torch.float64), torch.tensor([40.0, 5.0]).double()
    share = table.share_within(low, high).exp()
    assert share[0].tolist() == pytest.approx([0, 0.8, 0.25], abs=1e-6)
    assert share[1].tolist() == pytest.approx([1, 0, 0], abs=1e-6)


@settings(deadline=None, max_examples=60)
@given(VALUES, st.floats(0, 1e9), st.floats(0, 1e9), st.integers(0, 99))
def test_draws_within_a_range_stay_in_it(
    learned: list[int], one: float, other: float, seed: int
) -> None:
    codec = fit_number_codec(np.array(learned), bin_count=12)
    tokens = torch.arange(codec.size)
    low = torch.full((codec.size,), min(one, other), dtype=torch.float64)
    high = torch.full((codec.size,), max(one, other), dtype=torch.float64)
    random = torch.Generator().manual_seed(seed)
    drawn = NumberTable(codec).draw_within(tokens, low, high, random)
    assert (drawn >= low).all()
    assert (drawn <= high).all()


def test_a_range_that_leaves_a_token_whole_leaves_its_draws() -> None:
    codec = by_hand()
    tokens = torch.tensor([0, 1, 2] * 500)
    low, high = torch.zeros(1500, dtype=torch.float64), torch.full((1500,), 1e6).double()
    free = NumberTable(codec).draw(tokens, torch.Generator().manual_seed(4))
    held = NumberTable(codec).draw_within(tokens, low, high, torch.Generator().manual_seed(4))
    assert torch.equal(free, held)
