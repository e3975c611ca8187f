"""Last steps that would hold more than any before, by hand."""

import itertools

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.generate.transformer.excess import FEW, ODD, share_excess
from netsynth.numbers import IntArray


def series(*flows: list[list[int]]) -> tuple[IntArray, IntArray]:
    offsets = np.cumsum([0, *(len(f) for f in flows)]).astype(np.int64)
    return offsets, np.array([row for flow in flows for row in flow], dtype=np.int64)


def test_the_excess_goes_to_the_steps_before_in_proportion() -> None:
    """Ten packets at most in a step, then 70: ten stay, 60 go where 10, 10, 5 and 5 are."""
    own = [[10, 0, 100, 0], [10, 0, 100, 0], [5, 0, 50, 0], [5, 0, 50, 0], [70, 0, 700, 0]]
    offsets, values = series([[1, 1, 9, 9]], own)
    shared = share_excess(offsets, values)
    assert shared[0].tolist() == [1, 1, 9, 9]
    assert shared[1:, 0].tolist() == [30, 30, 15, 15, 10]
    assert shared[1:, 2].tolist() == [300, 300, 150, 150, 100]


def test_each_direction_keeps_to_the_steps_that_have_it() -> None:
    own = [[4, 0, 0, 0], [4, 2, 0, 20], [4, 0, 0, 0], [16, 16, 0, 160]]
    offsets, values = series(own)  # six packets at most in a step: three of 16 stay, either way
    shared = share_excess(offsets, values)
    assert shared[:, 0].tolist() == [8, 8, 9, 3]
    assert shared[:, 1].tolist() == [0, 15, 0, 3]
    assert shared[:, 3].tolist() == [0, 150, 0, 30]


def test_a_direction_that_comes_last_alone_stays_there() -> None:
    offsets, values = series([[1, 0, 0, 0]] * 3 + [[0, 50, 0, 500]])
    assert (share_excess(offsets, values) == values).all()


def test_flows_of_few_steps_and_usual_ends_stay() -> None:
    offsets, values = series([[1, 1, 5, 5], [90, 0, 9, 0]], [[3, 0, 0, 0]] * 4 + [[6, 0, 0, 0]])
    assert (share_excess(offsets, values) == values).all()
    assert share_excess(*series([[1, 0, 0, 0]])).tolist() == [[1, 0, 0, 0]]


STEP = st.tuples(
    st.integers(0, 40), st.integers(0, 40), st.integers(0, 9000), st.integers(0, 9000)
).filter(lambda row: row[0] + row[1] > 0)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(STEP, min_size=1, max_size=9), min_size=1, max_size=6))
def test_nothing_is_lost(flows: list[list[tuple[int, ...]]]) -> None:
    offsets, values = series(*([list(row) for row in flow] for flow in flows))
    values[offsets[1:] - 1, :2] *= 9
    shared = share_excess(offsets, values)
    assert (shared >= 0).all()
    assert (shared[:, :2].sum(axis=1) >= 1).all()
    sums = [np.add.reduceat(v, offsets[:-1], axis=0) for v in (values, shared)]
    assert (sums[0] == sums[1]).all()
    changed = (shared != values).any(axis=1)
    for first, last in itertools.pairwise(offsets):
        if changed[first:last].any():
            packets = values[first:last, :2].sum(axis=1)
            assert last - first >= FEW
            assert packets[-1] > ODD * packets[:-1].max()
