"""Values that packets of a lane (a flow and direction) take from those before."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import Array, IntArray


def fill_forward(lane: IntArray, values: IntArray, known: Array) -> IntArray:
    """Give unknown entries of `values` the last known one of their lane, 0 where there is none."""
    order = np.argsort(lane, kind="stable")
    sorted_lane, sorted_known = lane[order], known[order]
    index = np.where(sorted_known, np.arange(values.size), -1)
    begins = np.ones(values.size, dtype=np.bool_)
    begins[1:] = sorted_lane[1:] != sorted_lane[:-1]
    floor = np.maximum.accumulate(np.where(begins, np.arange(values.size), 0))
    last = np.maximum.accumulate(index)
    found = last >= floor
    filled = np.where(found, values[order][np.maximum(last, 0)], 0)
    result = np.empty_like(values)
    result[order] = filled
    return result
