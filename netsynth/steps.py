"""The steps of a window: packets counted in them, and shares of what follows a flow's start."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray

# Edges of the shares of the rest of its window that a flow which lasts leaves unused.
REST = np.array([0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.55, 1.0])


@dataclass(frozen=True, kw_only=True, slots=True)
class SparseSeries:
    """Active steps of F flows; columns as in EncodedTrace (offsets, step, values, period)."""

    offsets: IntArray
    step: NDArray[np.int32]
    values: IntArray
    period: NDArray[np.float32]


def count_steps(
    time_ns: IntArray,
    reverse: Array,
    size_bytes: Array,
    offsets: IntArray,
    *,
    window_ns: int,
    step_count: int,
) -> SparseSeries:
    """Count the packets of flows in `step_count` equal steps of the window.

    Args:
        time_ns: int64 [N], from the window's start, ascending in each flow.
        reverse: bool [N].
        size_bytes: [N], payload.
        offsets: int64 [F + 1].
        window_ns: Length of the window.
        step_count: T.
    """
    count = offsets.size - 1
    place = time_ns.astype(np.float64) * (step_count / max(window_ns, 1))
    step = np.clip(place.astype(np.int64), 0, step_count - 1)
    flow = np.repeat(np.arange(count), np.diff(offsets))
    begins = np.ones(flow.size, dtype=np.bool_)
    begins[1:] = (flow[1:] != flow[:-1]) | (step[1:] != step[:-1])
    starts = np.flatnonzero(begins)
    if starts.size == 0:
        return SparseSeries(
            offsets=np.zeros(count + 1, np.int64), step=np.zeros(0, np.int32),
            values=np.zeros((0, 4), np.int64), period=np.zeros((0, 2), np.float32),
        )  # fmt: skip
    ends = np.concatenate([starts[1:], [flow.size]]) - 1
    back, payload = reverse.astype(np.int64), size_bytes.astype(np.int64)
    columns = (1 - back, back, payload * (1 - back), payload * back)
    values = np.stack([np.add.reduceat(column, starts) for column in columns], axis=1)  # [S, 4]
    share = np.clip(place - step, 0.0, 1.0)
    period = np.stack([share[starts], share[ends]], axis=1)
    offsets = np.searchsorted(flow[starts], np.arange(count + 1))
    return SparseSeries(
        offsets=offsets.astype(np.int64),
        step=step[starts].astype(np.int32),
        values=values,
        period=period.astype(np.float32),
    )
