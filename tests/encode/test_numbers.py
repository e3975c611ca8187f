"""Numbers as tokens: atoms exact, bins that hold what they say, tails kept."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from netsynth.encode.classes import class_count, count_class, token_classes
from netsynth.errors import ConfigError
from netsynth.numbers import KNOTS, Array, NumberCodec, fit_number_codec

VALUES = st.lists(
    st.one_of(st.integers(0, 40), st.integers(0, 10**12), st.floats(0, 1e9)),
    min_size=1,
    max_size=400,
)
UNIFORM = st.floats(0, 1, exclude_max=True)


def tokens_of(codec: NumberCodec) -> Array:
    return np.arange(codec.size)


@settings(deadline=None, max_examples=80)
@given(VALUES, UNIFORM)
def test_a_value_drawn_from_a_token_is_of_that_token(values: list[float], place: float) -> None:
    codec = fit_number_codec(np.array(values), bin_count=16)
    tokens = tokens_of(codec)
    drawn = codec.decode(tokens, np.full(tokens.size, place))
    back = codec.encode(drawn)
    is_atom = tokens < codec.atoms.size
    assert (back[is_atom] == tokens[is_atom]).all()
    # a draw from a bin may hit an atom that lies inside it, or stand on the bin's upper edge
    hit = np.isin(drawn, codec.atoms) | np.isin(drawn, codec.edges)
    assert ((back == tokens) | hit | is_atom).all()
    assert (drawn >= codec.low).all()
    assert (drawn <= codec.high).all()


@settings(deadline=None, max_examples=80)
@given(VALUES, UNIFORM)
def test_a_round_trip_stays_in_the_bin(values: list[float], place: float) -> None:
    codec = fit_number_codec(np.array(values), bin_count=16)
    tokens = codec.encode(np.array(values))
    assert ((tokens >= 0) & (tokens < codec.size)).all()
    drawn = codec.decode(tokens, np.full(tokens.size, place))
    assert (codec.low[tokens] <= np.array(values)).all()
    assert (np.array(values) <= codec.high[tokens]).all()
    exact = tokens < codec.atoms.size
    assert (drawn[exact] == np.array(values)[exact]).all()


@settings(deadline=None, max_examples=80)
@given(VALUES)
def test_the_smallest_and_largest_are_within_reach(values: list[float]) -> None:
    codec = fit_number_codec(np.array(values))
    top = np.full(codec.size, 1 - 1e-16)
    drawn = codec.decode(tokens_of(codec), np.minimum(top, np.nextafter(1, 0)))
    assert drawn.max() == pytest.approx(max(values), rel=1e-6, abs=1e-9)
    assert codec.low.min() == pytest.approx(min(values), rel=1e-12, abs=1e-12)


def test_frequent_values_are_atoms() -> None:
    """1460 is a fifth of all, 52 a hundredth, 7 occurs thrice: too rare for 4 or 0.2 %."""
    values = np.concatenate(
        [np.full(2000, 1460), np.full(100, 52), np.full(3, 7), np.arange(10_000, 17_897)]
    )
    codec = fit_number_codec(values, atom_share=0.002)
    assert codec.atoms.tolist() == [52, 1460]
    codec = fit_number_codec(values, atom_share=0.002, exact_below=8)
    assert codec.atoms.tolist() == [7, 52, 1460]
    assert fit_number_codec(values, atom_share=0.002, atom_count=1).atoms.tolist() == [1460]


def test_whole_numbers_below_the_limit_are_exact() -> None:
    values = np.arange(100)
    codec = fit_number_codec(values, atom_share=1.0, exact_below=33)
    tokens = codec.encode(np.arange(33))
    assert tokens.tolist() == list(range(33))
    assert codec.decode(tokens, np.zeros(33)).tolist() == list(range(33))


def test_bins_hold_about_equal_shares() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(8, 0.1, 64_000)
    codec = fit_number_codec(values, bin_count=64)
    counts = np.bincount(codec.encode(values), minlength=codec.size)
    body = counts[:60]
    assert body.min() > 700
    assert body.max() < 1300


def test_a_bin_never_spans_more_than_the_ratio() -> None:
    """A pause of 1 s after gaps of microseconds must not share a bin with 10 ms."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(1e3, 2e3, 5000), rng.uniform(1e7, 1e9, 60)])
    codec = fit_number_codec(values, bin_count=8, largest_ratio=1.6)
    inside = [values[(values >= a) & (values <= b)] for a, b in zip(codec.low, codec.high)]  # noqa: B905
    assert max(part.max() / part.min() for part in inside if part.size) <= 1.6 + 1e-9


def test_the_tail_keeps_its_weight() -> None:
    """Draws of Pareto values (exponent 1.2) have the quantiles of what was encoded."""
    rng = np.random.default_rng(0)
    values = 100 * (1 + rng.pareto(1.2, 50_000))
    codec = fit_number_codec(values, bin_count=48)
    drawn = codec.decode(codec.encode(values), rng.random(values.size))
    for share in (0.1, 0.5, 0.9, 0.99, 0.999):
        assert np.quantile(drawn, share) == pytest.approx(np.quantile(values, share), rel=0.05)
    assert drawn.sum() == pytest.approx(values.sum(), rel=0.05)


def test_beyond_what_was_seen_is_the_outermost_bin() -> None:
    codec = fit_number_codec(np.arange(1000, 3000), atom_share=1.0)
    assert codec.encode(np.array([0, 10**9])).tolist() == [0, codec.size - 1]


def test_atoms_alone_take_the_nearest() -> None:
    codec = fit_number_codec(np.repeat([10, 20, 90], 50))
    assert codec.size == 3
    assert codec.encode(np.array([0, 14, 16, 56, 500])).tolist() == [0, 0, 1, 2, 2]


def test_a_lone_value_is_not_kept_to_the_digit() -> None:
    """Bins of few values are stretched to their edges: no draw need be the value itself."""
    values = np.concatenate([np.full(500, 5.0), [1_234_567.0], [2_000_000.0], [4_000_000.0]])
    codec = fit_number_codec(values)
    drawn = codec.decode(np.full(200, codec.encode(np.array([2e6]))[0]), np.linspace(0, 0.999, 200))
    assert np.unique(drawn).size > 100


def test_arrays_restore_the_codec() -> None:
    codec = fit_number_codec(np.random.default_rng(0).lognormal(5, 2, 3000), bin_count=20)
    again = NumberCodec.from_arrays("x", codec.to_arrays("x"))
    assert again.knots.shape[1] == KNOTS
    values = np.geomspace(0.01, 1e6, 500)
    assert (again.encode(values) == codec.encode(values)).all()


def test_no_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one value"):
        fit_number_codec(np.zeros(0))


@settings(deadline=None, max_examples=80)
@given(VALUES, UNIFORM)
@example([2, 3], float(np.nextafter(1, 0)))
def test_no_bin_reaches_across_a_wall(values: list[float], place: float) -> None:
    walls = np.array([0.5, 2.5, 4.5, 12.5, 99.5, 1e6, 3e10])
    codec = fit_number_codec(np.array(values), bin_count=4, atom_count=2, walls=walls)
    tokens = codec.encode(np.array(values))
    rooms = np.searchsorted(walls, values, side="right")
    drawn = codec.decode(tokens, np.full(tokens.size, place))
    assert (np.searchsorted(walls, codec.low, side="right")[tokens] == rooms).all()
    assert (np.searchsorted(walls, drawn, side="right") == rooms).all()


def test_counts_are_of_one_class_each() -> None:
    """Classes 12 and 13 begin at 77 and 116 (4.5 x 1.5 ** 7, ** 8): nothing is of both."""
    counts = np.concatenate([np.arange(1, 40), [70, 75, 76, 90, 110, 115, 116, 130, 400]])
    walls = class_count(np.arange(1, 64)) - 0.5
    codec = fit_number_codec(counts, bin_count=4, exact_below=33, walls=walls)
    classes = token_classes(codec)
    assert (classes >= 0).all()
    assert (classes[codec.encode(counts)] == count_class(counts)).all()
    assert classes[codec.encode(np.array([76, 90, 115, 116]))].tolist() == [11, 12, 12, 13]
