"""Flows as rows of numbers, in the six forms that netml gives anomaly detectors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.report.trace import NS_PER_S, Trace

NAMES = ("IAT", "SIZE", "IAT+SIZE", "STATS", "SAMP_NUM", "SAMP_SIZE")
WIDEST = 100  # packets or samples of a flow that are looked at


@dataclass(frozen=True, kw_only=True, slots=True)
class Flows:
    """Directed flows of two packets or more, packets sorted by flow, then time.

    Attributes:
        starts: int64 [F]; first packet of each flow.
        counts: int64 [F]; packets of each flow.
        flow: int64 [N]; flow of each packet.
        place: int64 [N]; its place in the flow, from 0.
        age_s: float64 [N]; time since the flow's first packet.
        size: float64 [N]; IP length, bytes.
        session: int64 [F]; session of each flow.
    """

    starts: IntArray
    counts: IntArray
    flow: IntArray
    place: IntArray
    age_s: FloatArray
    size: FloatArray
    session: IntArray

    @property
    def durations_s(self) -> FloatArray:
        """Duration of each flow, float64 [F]."""
        durations: FloatArray = self.age_s[self.starts + self.counts - 1]
        return durations


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """How wide the rows are and how long a sample lasts: of the real trace, for both.

    Attributes:
        width: Packets of a flow that are looked at: the 90 % quantile of their number.
        step_s: Duration of a sample: the 30 % quantile of the flow durations, s.
    """

    width: int
    step_s: float


def flows_of(trace: Trace) -> Flows:
    """The directed flows of two packets or more of a trace."""
    size = np.bincount(trace.flow, minlength=trace.flow_count)
    kept = np.flatnonzero(size > 1).astype(np.int64)
    order = np.argsort(trace.flow, kind="stable")
    order = order[size[trace.flow[order]] > 1]
    counts = size[kept].astype(np.int64)
    starts = np.cumsum(counts) - counts
    flow = np.repeat(np.arange(kept.size), counts)
    times = trace.packets.time_ns[order]
    return Flows(
        starts=starts,
        counts=counts,
        flow=flow,
        place=np.arange(order.size) - starts[flow],
        age_s=(times - times[starts[flow]]) / NS_PER_S,
        size=trace.packets.ip_length[order].astype(np.float64),
        session=trace.flow_session[kept],
    )


def shape_of(flows: Flows) -> Shape:
    """The shape that netml gives the rows of these flows, of which there is one at least."""
    width = int(np.floor(np.quantile(flows.counts, 0.9)))
    return Shape(
        width=min(max(width, 2), WIDEST), step_s=float(np.quantile(flows.durations_s, 0.3))
    )


def represent(flows: Flows, shape: Shape) -> dict[str, FloatArray]:
    """All six representations of flows.

    Args:
        flows: Directed flows of two packets or more, F of them.
        shape: Shape of the rows; the same for every trace that is compared.

    Returns:
        Name -> float64 [F, width of that form]; times in s, sizes in bytes, short flows filled
        with 0. SAMP_NUM and SAMP_SIZE are absent where `step_s` is 0.

    References:
        Yang et al., "A Comparative Study of Network Traffic Representations for Novelty
        Detection", 2020; and the documentation of netml 0.7.
    """
    width = shape.width
    gaps = np.diff(flows.age_s, prepend=0.0)
    later = flows.place > 0
    gap = _rows(flows, flows.place - 1, gaps, width, later)
    size = _rows(flows, flows.place, flows.size, width)
    found = {
        "IAT": gap[:, :-1],
        "SIZE": size,
        "IAT+SIZE": _interleave(flows, gap, size),
        "STATS": statistics(flows),
    }
    if shape.step_s > 0:
        sample = _samples(flows, shape.step_s)
        ones = np.ones(flows.flow.size)
        found["SAMP_NUM"] = _rows(flows, sample, ones, width - 1)
        found["SAMP_SIZE"] = _rows(flows, sample, flows.size, width - 1)
    return found


def _rows(
    flows: Flows,
    column: IntArray,
    values: FloatArray,
    width: int,
    wanted: NDArray[np.bool_] | None = None,
) -> FloatArray:
    """Sum the values of each flow by column, [F, width]; columns past the width are dropped."""
    inside = column < width if wanted is None else wanted & (column < width)
    cells = flows.flow[inside] * width + column[inside]
    table = np.bincount(cells, values[inside], minlength=flows.starts.size * width)
    return np.asarray(table, dtype=np.float64).reshape(flows.starts.size, width)


def _interleave(flows: Flows, gap: FloatArray, size: FloatArray) -> FloatArray:
    """gap 1, size 1, gap 2, size 2, ..., and a flow's last size where its next gap would be."""
    width = size.shape[1]
    mixed = np.zeros((size.shape[0], 2 * width))
    mixed[:, 0::2], mixed[:, 1::2] = gap, size
    last = flows.counts - 1
    short = np.flatnonzero(last < width)
    mixed[short, 2 * last[short]] = size[short, last[short]]
    mixed[short, 2 * last[short] + 1] = 0.0
    return mixed[:, :-1]


def statistics(flows: Flows) -> FloatArray:
    """Duration, packets/s, bytes/s; mean, std, quartiles, min, max of sizes; packets, bytes.

    Returns:
        float64 [F, 12]; rates are 0 for a flow without duration.
    """
    count = flows.counts.astype(np.float64)
    total = np.add.reduceat(flows.size, flows.starts) if count.size else count
    duration = flows.durations_s
    safe = np.where(duration > 0, duration, 1.0)
    mean = total / count
    spread = np.bincount(flows.flow, (flows.size - mean[flows.flow]) ** 2, minlength=count.size)
    ranked = flows.size[np.lexsort((flows.size, flows.flow))]
    quartiles = [_quantile(ranked, flows, q) for q in (0.25, 0.5, 0.75)]
    ends = flows.starts + flows.counts - 1
    return np.column_stack(
        [
            duration,
            np.where(duration > 0, count / safe, 0.0),
            np.where(duration > 0, total / safe, 0.0),
            mean,
            np.sqrt(spread / count),
            *quartiles,
            ranked[flows.starts],
            ranked[ends],
            count,
            total,
        ]
    )


def _quantile(ranked: FloatArray, flows: Flows, level: float) -> FloatArray:
    """Quantile of each flow's ascending values, interpolated linearly as numpy does."""
    position = level * (flows.counts - 1)
    low = np.floor(position).astype(np.int64)
    high = np.minimum(low + 1, flows.counts - 1)
    part = position - low
    found: Array = ranked[flows.starts + low] * (1 - part) + ranked[flows.starts + high] * part
    return found


def _samples(flows: Flows, step_s: float) -> IntArray:
    """Sample of each packet; one at the end of a sample still belongs to it, as in netml."""
    column = np.ceil(flows.age_s / step_s).astype(np.int64) - 1
    return np.maximum(column, 0)
