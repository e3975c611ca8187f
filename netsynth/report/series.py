"""A trace as counts in equal intervals of its time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from netsynth.numbers import FloatArray, IntArray
from netsynth.report.resample import REPLICATES, weight_batches
from netsynth.report.trace import Trace


def intervals_of(trace: Trace, count: int) -> IntArray:
    """Say in which of `count` equal intervals of the trace each packet lies, int64 [N].

    The last interval is closed, so that the last packet lies in it; a trace of no duration has
    all packets in interval 0.
    """
    times = trace.packets.time_ns
    if times.size == 0 or trace.duration_ns == 0:
        return np.zeros(times.size, dtype=np.int64)
    position = (times - times[0]) / trace.duration_ns * count
    return np.asarray(np.minimum(position.astype(np.int64), count - 1), dtype=np.int64)


def bytes_per_interval(trace: Trace, count: int) -> FloatArray:
    """IP bytes in each of `count` equal intervals of the trace, float64 [count]."""
    return np.bincount(
        intervals_of(trace, count),
        weights=trace.packets.ip_length.astype(np.float64),
        minlength=count,
    ).astype(np.float64)


def resampled_series(
    trace: Trace, count: int, *, rng: np.random.Generator, replicates: int = REPLICATES
) -> Iterator[FloatArray]:
    """Bytes per interval when the sessions of the trace are resampled, each float64 [count]."""
    from scipy.sparse import coo_matrix

    cells = coo_matrix(
        (
            trace.packets.ip_length.astype(np.float32),
            (intervals_of(trace, count), trace.session),
        ),
        shape=(count, trace.session_count),
    ).tocsr()
    for weights in weight_batches(trace.session_count, rng=rng, count=replicates):
        yield from (cells @ weights.T).T.astype(np.float64)
