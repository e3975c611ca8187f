"""Whose gaps go by the delays of their flow: those that differ less in such units.

A flow's delay is one measurement, noise included. Where the delays between two hosts hardly vary,
gaps in units of them carry that noise as well.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray, IntArray

LEAST_FREEDOM = 8  # gaps beyond the first of each pair of hosts, below which either ruler may do


def fit_by_delay(
    place: IntArray, pair: IntArray, gap_ns: FloatArray, delay_ns: FloatArray, *, size: int
) -> NDArray[np.bool_]:
    """Learn at which places gaps may be told in units of a delay.

    Args:
        place: int64 [M], what each gap belongs to (a service and a kind of packet).
        pair: int64 [M], its hosts.
        gap_ns: float64 [M].
        delay_ns: float64 [M], of the side that sends; not positive where there is none.
        size: Number of places.

    Returns:
        bool [size].
    """
    told = (gap_ns > 0) & (delay_ns > 0)
    place, pair, gap_ns, delay_ns = place[told], pair[told], gap_ns[told], delay_ns[told]
    _, group = np.unique(np.stack([place, pair], axis=1), axis=0, return_inverse=True)
    group = group.ravel()
    spread = [
        np.bincount(place, _deviations(np.log(value), group), minlength=size)
        for value in (gap_ns, gap_ns / delay_ns)
    ]
    first = np.unique(group, return_index=True)[1]
    freedom = np.bincount(place, minlength=size) - np.bincount(place[first], minlength=size)
    return np.asarray((freedom < LEAST_FREEDOM) | (spread[1] < spread[0]), dtype=np.bool_)


def _deviations(values: FloatArray, group: IntArray) -> FloatArray:
    """Distance of each value from the median of its group: float64 [M]."""
    order = np.lexsort((values, group))
    counts = np.bincount(group)
    first = np.cumsum(counts) - counts
    median = values[order][np.minimum(first + counts // 2, max(values.size - 1, 0))]
    return np.asarray(np.abs(values - median[group]))
