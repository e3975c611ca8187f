"""What the record level learns from: the context of every packet of a trace."""

from __future__ import annotations

import numpy as np
import torch

from netsynth.generate.transformer.record_level import AROUND, RecordContext
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace


def record_targets(trace: EncodedTrace) -> IntArray:
    """Return kind, gap, length and window tokens of each record, int64 [N, 4]."""
    number = trace.record_fields[3].number
    assert number is not None
    gap = np.diff(trace.record_ns, prepend=0)
    gap[trace.record_offsets[:-1]] = 0
    kind, length, window = (trace.records[:, i].astype(np.int64) for i in range(3))
    return np.stack([kind, number.encode(gap), length, window], axis=1)


def record_context(trace: EncodedTrace, *, history: int) -> RecordContext:
    """Compute the context of each record of `trace` from the true ones before it."""
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    first = trace.record_offsets[:-1][flow]
    position = np.arange(flow.size) - first
    kinds = trace.record_fields[0].groups["reverse"]
    reverse = kinds[trace.records[:, 0]].astype(np.int64)
    ones = np.stack([1 - reverse, reverse], axis=1)
    data = ones * trace.record_bytes[:, None]
    left = trace.totals[flow, :2] - _sum_before(ones, first)
    bytes_left = trace.totals[flow, 2:] - _sum_before(data, first)
    row = series_row(trace)
    row_first = np.searchsorted(row, np.arange(trace.series_step.size))[row]
    step_left = trace.series_values[row, :2] - _sum_before(ones, row_first)
    before_ns = np.concatenate([[0], trace.record_ns[:-1]])
    before_ns = np.where(position == 0, trace.record_ns, before_ns).astype(np.float64)
    step_ns = trace.window_ns / trace.step_count
    step = trace.series_step[row].astype(np.float64)
    low = np.maximum(step * step_ns - before_ns, 0)
    high = (step + 1) * step_ns - before_ns
    end_ns = (trace.start_ns + trace.duration_ns)[flow]
    high = np.minimum(high, end_ns - before_ns)  # nor beyond the flow's end
    targets = record_targets(trace)
    opposite = reverse != reverse[first]
    rows = np.arange(flow.size)
    answer_row = np.full(len(trace), flow.size, dtype=np.int64)
    np.minimum.at(answer_row, flow[opposite], rows[opposite])
    due = np.append(trace.record_ns, 0)[answer_row][flow]  # 0 where none comes
    pending = (rows <= answer_row[flow]) & (answer_row[flow] < flow.size)
    answer_left = np.where(pending, np.maximum(due - before_ns, 0), -1.0)
    high = np.where(pending, np.minimum(high, answer_left), high)
    shape = next(i for i, f in enumerate(trace.token_fields) if f.name == "shape")
    state = trace.token_fields[shape].groups["state"][trace.tokens[:, shape]]
    return RecordContext(
        owed=torch.as_tensor(_owed(trace, state[flow], first)),
        position=torch.as_tensor(position),
        left=torch.as_tensor(left),
        step_left=torch.as_tensor(np.maximum(step_left, 0)),
        bytes_left=torch.as_tensor(bytes_left),
        time_left=torch.as_tensor(np.maximum(end_ns - before_ns, 0)),
        answer_left=torch.as_tensor(answer_left.astype(np.float64)),
        first_reverse=torch.as_tensor(reverse[first] > 0),
        gap_low=torch.as_tensor(np.where(position == 0, 0, low)),
        gap_high=torch.as_tensor(np.maximum(high, low + 1)),
        around=torch.as_tensor(series_around(trace)[row]),
        history=torch.as_tensor(_history(targets, position, count=history)),
    )


def series_row(trace: EncodedTrace) -> IntArray:
    """Row of the series that each record falls in, int64 [N]."""
    counts = trace.series_values[:, 0] + trace.series_values[:, 1]
    return np.repeat(np.arange(counts.size), counts)


def series_around(trace: EncodedTrace) -> Array:
    """Describe each active step and its neighbours in the flow: float32 [S, AROUND].

    Logs of packets forward and reverse and of the distance in steps, for the active steps from
    two before to two after, 0 where the flow has none; logs of the step's bytes either way.
    """
    return around_rows(trace.series_offsets, trace.series_step, trace.series_values)


def around_rows(offsets: IntArray, step: Array, values: IntArray) -> Array:
    """`series_around` from its columns."""
    count = step.size
    flow = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    around = np.zeros((count, AROUND), dtype=np.float32)
    rows = np.arange(count)
    for place, shift in enumerate((-2, -1, 0, 1, 2)):
        other = np.clip(rows + shift, 0, max(count - 1, 0))
        inside = (rows + shift >= 0) & (rows + shift < count)
        inside &= flow[other] == flow
        around[:, 3 * place] = np.where(inside, np.log1p(values[other, 0]), 0)
        around[:, 3 * place + 1] = np.where(inside, np.log1p(values[other, 1]), 0)
        distance = np.abs(step[other].astype(np.int64) - step)
        around[:, 3 * place + 2] = np.where(inside, np.log1p(distance), 0)
    around[:, 15:17] = np.log1p(values[:, 2:]) / 4
    return around


def _sum_before(values: IntArray, first: IntArray) -> IntArray:
    """Sum of the rows from `first` [N] up to, not including, each row of values [N, C]."""
    total = np.concatenate([np.zeros((1, values.shape[1]), np.int64), np.cumsum(values, axis=0)])
    before: IntArray = total[:-1] - total[first]
    return before


def _owed(trace: EncodedTrace, state: IntArray, first: IntArray) -> IntArray:
    """State bits of the flow that no record before has shown, int64 [N]."""
    shown = trace.record_fields[0].groups["state"][trace.records[:, 0]]
    owed = state.copy()
    for bit in (1, 2, 4, 8, 16, 32):
        before = _sum_before((shown & bit > 0).astype(np.int64)[:, None], first)[:, 0]
        owed[before > 0] &= ~bit
    return owed


def _history(targets: IntArray, position: IntArray, *, count: int) -> IntArray:
    """Tokens + 1 of the `count` records before each, newest first, 0: none; [N, count, 4]."""
    history = np.zeros((targets.shape[0], count, 4), dtype=np.int64)
    for back in range(1, count + 1):
        if targets.shape[0] > back:
            known = position[back:] >= back
            history[back:, back - 1] = np.where(known[:, None], targets[:-back] + 1, 0)
    return history
