"""What is left for the last step of a flow, where that is more than the flow ever sent in one.

The last step takes what the others left. Drawn one by one, those often leave a hundred packets to
it; no flow learned ended so. The excess goes to the steps before, in proportion to what they have.
"""

from __future__ import annotations

import numpy as np

from netsynth.numbers import FloatArray, IntArray

FEW = 4  # active steps of a flow that show what it sends in one
ODD = 2.0  # times the largest step before, from which on the last one is too large


def share_excess(offsets: IntArray, values: IntArray) -> IntArray:
    """Share the excess of last steps out among those before.

    Args:
        offsets: int64 [F + 1], first active step of each flow.
        values: int64 [S, 4], packets forward and reverse, bytes forward and reverse.

    Returns:
        int64 [S, 4]; sums over flows are as they were, and no packet changes its direction.
    """
    counts = np.diff(offsets)
    several = np.flatnonzero(counts >= FEW)
    if several.size == 0:
        return values
    packets = values[:, :2].sum(axis=1)
    last = offsets[1:][several] - 1
    before = packets.copy()
    before[last] = 0
    flow = np.repeat(np.arange(counts.size), counts)
    largest = np.zeros(counts.size, dtype=np.int64)
    np.maximum.at(largest, flow, before)
    largest = largest[several]
    odd = packets[last] > ODD * largest
    several, last, largest = several[odd], last[odd], largest[odd]
    if several.size == 0:
        return values
    result = values.copy()
    keep = largest / packets[last]
    for way in (0, 1):
        kept = np.ceil(values[last, way] * keep).astype(np.int64)
        excess = values[last, way] - kept
        for column, amount in (
            (way, excess),
            (way + 2, values[last, way + 2] * excess // np.maximum(values[last, way], 1)),
        ):
            given = _share_out(offsets, values[:, column], several, last, amount.astype(np.float64))
            result[:, column] += given
            result[last, column] -= np.bincount(flow, given, counts.size)[several].astype(np.int64)
    return result


def _share_out(
    offsets: IntArray, weight: IntArray, flows: IntArray, last: IntArray, amount: FloatArray
) -> IntArray:
    """Share `amount` of each of `flows` out among its steps but the `last`, by their `weight`.

    Returns:
        int64 [S]; nothing where a flow's steps have no weight.
    """
    counts = np.diff(offsets)
    weight = weight.astype(np.float64)
    weight[last] = 0
    flow = np.repeat(np.arange(counts.size), counts)
    total = np.bincount(flow, weight, counts.size)
    wanted = np.zeros(counts.size)
    wanted[flows] = np.where(total[flows] > 0, amount, 0)
    running = np.cumsum(weight)
    begin = np.append(0.0, running)[offsets[:-1]]
    share = (running - begin[flow]) / np.maximum(total, 1)[flow]
    until = np.floor(share * wanted[flow] + 1e-9).astype(np.int64)
    previous = np.append(0, until[:-1])
    previous[offsets[:-1][counts > 0]] = 0
    return np.asarray(until - previous)
