"""Of flows that share a 5-tuple, the longest is kept."""

import numpy as np

from netsynth.encode.decode import _longest


def test_the_longest_of_each_tuple_is_kept() -> None:
    tuples = np.array([[0, 1, 5, 5, 17], [0, 1, 5, 5, 17], [0, 2, 5, 5, 17], [0, 1, 5, 5, 17]])
    kept = _longest(tuples, np.array([10, 40, 3, 40]))
    assert kept.tolist() == [False, True, True, False]
