"""Totals of flows shared out over their active steps, in whole numbers and by weight."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import FloatArray, IntArray


def share_out(
    weights: FloatArray, totals: IntArray, offsets: IntArray, *, rng: np.random.Generator
) -> IntArray:
    """Share packets and bytes of flows out over their active steps, a packet a step at least.

    Args:
        weights: float64 [S, 4], above 0.
        totals: int64 [F, 4]; packets are as many as active steps, or more.
        offsets: int64 [F+1], rows of a flow.
        rng: Source of randomness.

    Returns:
        int64 [S, 4], which sum to `totals`; no bytes where there is no packet.
    """
    flow = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    packets = totals[:, :2]
    # one packet of each step is set aside, its direction by weight, within what there is
    forward = weights[:, 0] / weights[:, :2].sum(axis=1)
    wanted = (rng.random(forward.size) < forward).astype(np.int64)
    order = np.lexsort((-forward + 1e-9 * rng.random(forward.size), flow))
    rank = np.empty(flow.size, dtype=np.int64)
    rank[order] = np.arange(flow.size) - np.repeat(offsets[:-1], np.diff(offsets))
    ways = np.bincount(flow, wanted, minlength=packets.shape[0]).astype(np.int64)
    active = np.diff(offsets)
    ways = np.clip(ways, np.maximum(active - packets[:, 1], 0), np.minimum(active, packets[:, 0]))
    is_forward = (rank < ways[flow]).astype(np.int64)
    values = np.zeros((flow.size, 4), dtype=np.int64)
    for way, set_aside in enumerate((is_forward, 1 - is_forward)):
        spare = packets[:, way] - np.bincount(flow, set_aside, minlength=packets.shape[0])
        values[:, way] = set_aside + _apportion(weights[:, way], spare.astype(np.int64), offsets)
        sized = np.where(values[:, way] > 0, weights[:, 2 + way], 0.0)
        values[:, 2 + way] = _apportion(sized, totals[:, 2 + way], offsets)
    return values


def _apportion(weights: FloatArray, totals: IntArray, offsets: IntArray) -> IntArray:
    """Split `totals` [F] by `weights` [S] in whole numbers, largest remainders first: int64 [S]."""
    counts = np.diff(offsets)
    flow = np.repeat(np.arange(counts.size), counts)
    sums = np.bincount(flow, weights, minlength=counts.size)
    exact = weights / np.maximum(sums, 1e-12)[flow] * totals[flow]
    whole = np.floor(exact).astype(np.int64)
    left = totals - np.bincount(flow, whole, minlength=counts.size).astype(np.int64)
    left = np.where(sums > 0, left, 0)
    order = np.lexsort((whole - exact, flow))
    rank = np.empty(flow.size, dtype=np.int64)
    rank[order] = np.arange(flow.size) - np.repeat(offsets[:-1], counts)
    return whole + (rank < left[flow])
