"""Of flows that share a 5-tuple, the longest is kept."""

import numpy as np

from netsynth.encode.classes import is_echo
from netsynth.encode.decode import _longest


def test_echoes_are_told_by_their_identifier() -> None:
    """ICMP echo request and reply, ICMPv6 echo request; not a destination unreachable."""
    rows = np.array([[1, 4, 8 << 8], [1, 4, 0], [58, 6, 128 << 8], [1, 4, 3 << 8], [6, 4, 8 << 8]])
    assert is_echo(rows).tolist() == [True, True, True, False, False]


def test_the_longest_of_each_tuple_is_kept() -> None:
    tuples = np.array([[0, 1, 5, 5, 17], [0, 1, 5, 5, 17], [0, 2, 5, 5, 17], [0, 1, 5, 5, 17]])
    free = np.array([True, False, True, False])
    kept = _longest(tuples, np.array([10, 40, 3, 40]), free)
    assert kept.tolist() == [False, True, True, False]


def test_flows_that_take_a_tuple_again_are_kept() -> None:
    """The third takes the tuple of the first two again, and the fourth is at the same time."""
    tuples = np.array([[0, 1, 5, 5, 6]] * 4)
    kept = _longest(tuples, np.array([10, 40, 3, 2]), np.array([True, False, True, False]))
    assert kept.tolist() == [False, True, True, False]
