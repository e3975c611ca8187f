"""Drawing the records of flows, and placing them in time."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.generate.cascade.drawing import DrawnFlows
from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.number_maps import NumberMaps
from netsynth.generate.cascade.pairs import Cascade
from netsynth.generate.cascade.record_lanes import RecordRequest, draw_side_by_side
from netsynth.generate.cascade.record_rules import KindRules
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.numbers import FloatArray, IntArray


@dataclass(slots=True)
class DrawnRecords:
    """Records in order of flow; int64 [N] each, but gap_ns, float64."""

    kind: IntArray
    size_bytes: IntArray
    gap_ns: FloatArray
    offsets: IntArray


@torch.no_grad()
def draw_records(
    cascade: Cascade, scales: CascadeScales, rules: KindRules, maps: NumberMaps, flows: DrawnFlows,
    series: Series, *, conditions: Tensor, tuples: Tensor, windows: Tensor, service: Tensor,
    protocol: Tensor, state: Tensor, random: torch.Generator,
) -> DrawnRecords:  # fmt: skip
    """Draw the records of all flows.

    Args:
        cascade: The nets.
        scales: Of record numbers.
        rules: What may occur where.
        maps: Corrections of what G3 makes.
        flows: Whose records.
        series: Of the flows.
        conditions: float32 [F, K].
        tuples: float32 [F, D].
        windows: float32 [S, W], what G3 sees of the steps around each active step.
        service: int64 [F], token.
        protocol: int64 [F].
        state: int64 [F], state bits.
        random: Source of randomness.
    """
    counts = flows.totals[:, :2].sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    request = RecordRequest(
        cascade=cascade, scales=scales, rules=rules, maps=maps, totals=flows.totals,
        offsets=offsets, series=series, conditions=conditions, tuples=tuples, windows=windows,
        service=service, protocol=protocol, state=state, random=random,
    )  # fmt: skip
    if conditions.device.type == "cpu" and find_spec("numba") is not None:
        from netsynth.generate.cascade.record_kernel import draw_compiled  # late: imports numba

        kinds, size, gap = draw_compiled(request)
    else:
        kinds, size, gap = draw_side_by_side(request)
    way = rules.reverse.cpu().numpy()[kinds].astype(np.int64)
    return DrawnRecords(
        kind=kinds,
        size_bytes=grow(
            size,
            np.repeat(np.arange(counts.size), counts) * 2 + way,
            flows.totals[:, 2:].ravel(),
            largest=scales.record[0].largest,
        ),
        gap_ns=scales.record[1].decode(gap),
        offsets=offsets,
    )


def grow(size: IntArray, lane: IntArray, totals: IntArray, *, largest: int) -> IntArray:
    """Make payloads larger where a lane's fall short of its total.

    Args:
        size: int64 [N], bytes; 0 stays 0.
        lane: int64 [N], flow and direction of each.
        totals: int64 [L], bytes each lane should have.
        largest: Most bytes of a record.

    Returns:
        int64 [N], each at most `largest`; in proportion, the largest first to reach it.
    """
    size = size.copy()
    for _ in range(4):
        short = totals - np.bincount(lane, size, totals.size)
        open_ = (size > 0) & (size < largest) & (short[lane] > 0)
        spare = np.bincount(lane, np.where(open_, size, 0), totals.size)
        factor = 1 + np.maximum(short, 0) / np.maximum(spare, 1)
        size = np.where(open_, np.minimum(np.floor(size * factor[lane]), largest), size)
        size = size.astype(np.int64)
    return size


def place_in_time(
    records: DrawnRecords, flows: DrawnFlows, series: Series, *, window_ns: int, step_count: int
) -> IntArray:
    """Times of records, int64 [N], ns: gaps by G3 inside the sub-periods by G2.

    A flow begins and ends when its conditions say. In a step, the records lie between the first
    and the last one's place, in proportion to their gaps.

    References:
        CascadeNet section 5.1 (timestamps SP and ML).
    """
    step_ns = window_ns / step_count
    active = np.diff(series.offsets)
    flow = np.repeat(np.arange(active.size), active)  # of each step
    begin = flows.start_ns[flow].astype(np.float64)
    end = begin + flows.duration_ns[flow]
    low = (series.step + series.period[:, 0]) * step_ns
    high = (series.step + series.period[:, 1]) * step_ns
    first = np.zeros(flow.size, dtype=np.bool_)
    first[series.offsets[:-1]] = True
    last = np.zeros(flow.size, dtype=np.bool_)
    last[series.offsets[1:] - 1] = True
    low = np.where(first, begin, np.clip(low, begin, end))
    high = np.where(last, end, np.clip(high, begin, end))
    packets = series.values[:, :2].sum(axis=1)
    low = np.where(last & ~first & (packets == 1), end, np.minimum(low, high))
    row = np.repeat(np.arange(flow.size), packets)
    starts = np.concatenate([[0], np.cumsum(packets)])[:-1]
    gap = np.maximum(records.gap_ns, 1.0)
    gap[starts] = 0.0
    total = np.cumsum(gap)
    place = total - total[starts][row]
    whole = np.add.reduceat(gap, starts) if starts.size else gap
    share = place / np.maximum(whole, 1e-9)[row]
    time: IntArray = np.floor(low[row] + (high - low)[row] * share).astype(np.int64)
    return time


def even_out(time_ns: IntArray, offsets: IntArray, rows: NDArray[np.bool_]) -> IntArray:
    """Place the records of some flows at equal distances from their first to their last.

    Args:
        time_ns: int64 [N].
        offsets: int64 [F+1]; no flow is empty.
        rows: bool [F], flows to even out.
    """
    counts = np.diff(offsets)
    flow = np.repeat(np.arange(counts.size), counts)
    share = (np.arange(time_ns.size) - offsets[flow]) / np.maximum(counts - 1, 1)[flow]
    first = time_ns[offsets[:-1]][flow]
    even = first + (share * (time_ns[offsets[1:] - 1][flow] - first)).astype(np.int64)
    return np.where(rows[flow], even, time_ns)
