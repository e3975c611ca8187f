"""The queue of `Load`, compiled."""

from __future__ import annotations

import numpy as np

from netsynth.demux.jit import compiled
from netsynth.numbers import Array

SLACK = 0.01  # share of a bucket that may be lacking


@compiled
def queue(time: Array, size: Array, small: Array, depth: Array, rate: Array, end: int) -> Array:
    """Let packets pass token buckets, first in, first out; small flows pass them at once.

    Args:
        time: int64 [N] ns, ascending.
        size: float64 [N] bytes.
        small: bool [N].
        depth: float64 [B] bytes.
        rate: float64 [B] bytes per ns.
        end: Time that none is moved to.

    Returns:
        int64 [N] ns.
    """
    out = time.copy()
    count = time.size
    tokens = depth.copy()
    clock = time[0]
    front = 0  # of those that wait
    free = time[0]  # none of them goes before the one ahead of it
    following = 0  # next small one
    while True:
        while front < count and small[front]:
            front += 1
        while following < count and not small[following]:
            following += 1
        if front >= count and following >= count:
            return out
        go = end
        if front < count:
            go = max(time[front], free)
            for bucket in range(depth.size):
                lacking = size[front] - tokens[bucket] - rate[bucket] * max(go - clock, 0)
                if lacking > SLACK * depth[bucket]:
                    go = max(go, clock) + np.int64(np.ceil(lacking / rate[bucket]))
            go = max(min(go, end - 1), time[front], free)
        pick = front
        if following < count and (front >= count or time[following] <= go):
            pick, go = following, max(time[following], clock)
        elapsed = max(go - clock, 0)
        for bucket in range(depth.size):
            refilled = min(tokens[bucket] + rate[bucket] * elapsed, depth[bucket])
            tokens[bucket] = refilled - size[pick]
        clock = max(clock, go)
        if pick == front:
            out[front] = go
            free = go
            front += 1
        else:
            following += 1
