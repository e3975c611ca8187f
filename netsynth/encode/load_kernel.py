"""The queue of `Load`, compiled."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np

from netsynth.jit import compiled
from netsynth.numbers import Array

SLACK = 0.01  # share of a bucket that may be lacking


@compiled
def queue(
    time: Array,
    size: Array,
    offsets: Array,
    waits: Array,
    passing: Array,
    depth: Array,
    rate: Array,
) -> Array:
    """Let packets pass token buckets in order of time; a flow that waited is late from then on.

    Args:
        time: int64 [N] ns, flow after flow, ascending in each.
        size: float64 [N] bytes.
        offsets: int64 [F + 1], first packet of each flow.
        waits: bool [F], flows that wait.
        passing: int64 [P], packets of the others in order of time: they pass at once, but count.
        depth: float64 [B] bytes.
        rate: float64 [B] bytes per ns.

    Returns:
        int64 [N] ns.
    """
    out = time.copy()
    tokens = depth.copy()
    heap: list[Any] = [(time[0], np.int64(0), offsets[0]) for _ in range(0)]  # packet of a flow
    for flow in range(waits.size):
        if waits[flow] and offsets[flow] < offsets[flow + 1]:
            heap.append((time[offsets[flow]], np.int64(flow), offsets[flow]))
    heapq.heapify(heap)
    clock: Any = time.min()
    following = 0  # of those that pass
    while len(heap) > 0 or following < passing.size:
        go, packet = clock, np.int64(-1)
        if len(heap) > 0:
            due, flow, packet = heap[0]
            go = max(due, clock)
            for bucket in range(depth.size):
                lacking = size[packet] - tokens[bucket] - rate[bucket] * (go - clock)
                if lacking > SLACK * depth[bucket]:
                    go += np.int64(np.ceil(lacking / rate[bucket]))
        if packet < 0 or (following < passing.size and time[passing[following]] <= go):
            packet = passing[following]
            go = max(time[packet], clock)
            following += 1
        else:
            out[packet] = go
            heapq.heappop(heap)
            if packet + 1 < offsets[flow + 1]:
                after = time[packet + 1] + (go - time[packet])
                heapq.heappush(heap, (after, flow, packet + 1))
        for bucket in range(depth.size):
            refilled = min(tokens[bucket] + rate[bucket] * (go - clock), depth[bucket])
            tokens[bucket] = refilled - size[packet]
        clock = go
    return out
