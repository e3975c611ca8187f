"""What the record level learns from: the context of every packet of a trace."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.generate.transformer.pace import LATE, run_ns
from netsynth.generate.transformer.record_context import AROUND, RECENT, RecordContext
from netsynth.generate.transformer.unheard import unheard_before
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.steps import REST
from netsynth.tables import EncodedTrace, ruler_ns
from netsynth.tcp_windows import NOT_SET, running_windows

HINT = 0.3  # natural logs by which the durations told to records are off


def record_gaps(trace: EncodedTrace) -> IntArray:
    """Return the gap before each record, 0 before the first of a flow: int64 [N] ns."""
    gap = np.diff(trace.record_ns, prepend=0)
    gap[trace.record_offsets[:-1]] = 0
    return gap


def record_targets(trace: EncodedTrace) -> IntArray:
    """Return kind, gap, length and window tokens of each record, int64 [N, 4]."""
    number = trace.record_fields[3].number
    assert number is not None
    gap = record_gaps(trace)
    kind, length, window = (trace.records[:, i].astype(np.int64) for i in range(3))
    return np.stack([kind, number.encode(gap), length, window], axis=1)


def record_context(
    trace: EncodedTrace, fastest: Tensor, *, history: int, random: np.random.Generator
) -> RecordContext:
    """Compute the context of each record of `trace` from the true ones before it.

    How long a flow lasts is known as well as its tokens tell it: drawn from them with `random`.
    `fastest` [services, RUNS] is what `pace.fastest_runs` says.
    """
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    first = trace.record_offsets[:-1][flow]
    position = np.arange(flow.size) - first
    kinds = trace.record_fields[0].groups["reverse"]
    reverse = kinds[trace.records[:, 0]].astype(np.int64)
    ones = np.stack([1 - reverse, reverse], axis=1)
    data = ones * trace.record_bytes[:, None]
    left = trace.totals[flow, :2] - _sum_before(ones, first)
    told, exact = _drawn_bytes(trace, random)
    bytes_left = told[flow] - _sum_before(data, first)
    row = series_row(trace)
    row_first = np.searchsorted(row, np.arange(trace.series_step.size))[row]
    step_left = trace.series_values[row, :2] - _sum_before(ones, row_first)
    step_bytes = trace.series_values[row, 2:] - _sum_before(data, row_first)
    before_ns = np.concatenate([[0], trace.record_ns[:-1]])
    before_ns = np.where(position == 0, trace.record_ns, before_ns).astype(np.float64)
    step_ns = trace.window_ns / trace.step_count
    step = trace.series_step[row].astype(np.float64)
    low = np.maximum(step * step_ns - before_ns, 0)
    high = (step + 1) * step_ns - before_ns
    targets = record_targets(trace)
    groups = trace.record_fields[0].groups
    brings, ack_class = (groups[name][targets[:, 0]] for name in ("brings", "ack_class"))
    gaps = record_gaps(trace)
    opposite = reverse != reverse[first]
    answer, reply = _due_rows(opposite, flow, len(trace))  # [F]
    time = np.append(trace.record_ns, 0)
    answer_ns = np.where(answer < flow.size, time[answer] - trace.start_ns, -1)
    reply_ns = np.where(reply < flow.size, time[reply] - time[answer], -1)
    delays = np.stack([answer_ns, reply_ns], axis=1)[flow]
    rows = np.arange(flow.size)
    due = np.where(rows <= answer[flow], answer[flow], reply[flow])
    pending = (rows <= due) & (due < flow.size)
    end_ns, latest_ns = (
        trace.start_ns + d for d in _drawn_durations(trace, answer_ns, reply_ns, random)
    )
    end_ns = end_ns[flow]
    high = np.minimum(high, latest_ns[flow] - before_ns)  # nor beyond the flow's end
    place = next(i for i, f in enumerate(trace.token_fields) if f.name == "service")
    service = torch.as_tensor(trace.tokens[flow, place].astype(np.int64))
    behind = torch.as_tensor(step_left.sum(axis=1) - 1)
    high = high - run_ns(fastest[service], behind).numpy()  # with time for those behind it
    due_left = np.where(pending, np.maximum(time[due] - before_ns, 0), -1.0)
    high = np.where(pending, np.minimum(high, due_left), high)
    per_delay = trace.record_fields[4].number
    assert per_delay is not None
    own = np.where(opposite, delays[:, 0], delays[:, 1])
    ruled = np.where(own > 0, per_delay.encode(gaps / np.maximum(own, 1)), -1)
    told = np.concatenate([targets, ruled[:, None]], axis=1)
    shape = next(i for i, f in enumerate(trace.token_fields) if f.name == "shape")
    state = trace.token_fields[shape].groups["state"][trace.tokens[:, shape]]
    return RecordContext(
        owed=torch.as_tensor(_owed(trace, state[flow], first)),
        position=torch.as_tensor(position),
        left=torch.as_tensor(left),
        step_left=torch.as_tensor(np.maximum(step_left, 0)),
        step_bytes=torch.as_tensor(step_bytes),
        bytes_left=torch.as_tensor(bytes_left),
        exact=torch.as_tensor(exact[flow]),
        time_left=torch.as_tensor(np.maximum(end_ns - before_ns, 0)),
        delays=torch.as_tensor(delays.astype(np.float64)),
        due_left=torch.as_tensor(due_left),
        due_reply=torch.as_tensor(pending & (rows > answer[flow])),
        first_reverse=torch.as_tensor(reverse[first] > 0),
        gap_low=torch.as_tensor(np.where(position == 0, 0, low)),
        gap_high=torch.as_tensor(np.maximum(high, low + 1)),
        recent=torch.as_tensor(_recent(trace.record_ns, position)),
        windows=torch.as_tensor(_windows(trace, reverse, first)),
        lengths=torch.as_tensor(_last_lengths(trace, reverse, first)),
        unheard=torch.as_tensor(unheard_before(first, reverse, brings, ack_class)),
        around=torch.as_tensor(series_around(trace)[row]),
        history=torch.as_tensor(_history(told, position, count=history)),
    )


def _recent(time_ns: IntArray, position: IntArray) -> FloatArray:
    """Mean gap of the last RECENT records before each, -1 where there are fewer: [N, 3] ns."""
    recent = np.full((time_ns.size, len(RECENT)), -1.0)
    for place, count in enumerate(RECENT):
        rows = np.flatnonzero(position > count)
        recent[rows, place] = (time_ns[rows - 1] - time_ns[rows - 1 - count]) / count
    return recent


def _windows(trace: EncodedTrace, reverse: IntArray, first: IntArray) -> IntArray:
    """Last window of TCP in each direction before each record of its flow, NOT_SET where none is
    known: int64 [N, 2]."""
    table = trace.record_fields[2].windows
    assert table is not None
    tokens = trace.records[:, 2].astype(np.int64)
    value = running_windows(tokens, first * 2 + reverse, table)
    told = np.full((tokens.size, 2), NOT_SET, dtype=np.int64)
    rows = np.arange(tokens.size)
    for way in (0, 1):
        last = np.concatenate([[-1], np.maximum.accumulate(np.where(reverse == way, rows, -1))])
        last = last[:-1]
        told[:, way] = np.where(last >= first, value[np.maximum(last, 0)], NOT_SET)
    return told


def _last_lengths(trace: EncodedTrace, reverse: IntArray, first: IntArray) -> IntArray:
    """Length token plus 1 of the last record with data in each direction before each record of its
    flow, 0 where there was none: int64 [N, 2]."""
    tokens = trace.records[:, 1].astype(np.int64) + 1
    payload = trace.record_fields[0].groups["payload"][trace.records[:, 0]] > 0
    told = np.zeros((tokens.size, 2), dtype=np.int64)
    rows = np.arange(tokens.size)
    for way in (0, 1):
        own = np.where(payload & (reverse == way), rows, -1)
        last = np.concatenate([[-1], np.maximum.accumulate(own)[:-1]])
        told[:, way] = np.where(last >= first, tokens[np.maximum(last, 0)], 0)
    return told


def _drawn_bytes(
    trace: EncodedTrace, random: np.random.Generator
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Bytes of each flow, forward and reverse, as its tokens tell them: int64 [F, 2], and whether
    they tell them exactly, bool [F, 2]."""
    names = [f.name for f in trace.token_fields]
    drawn, exact = [], []
    for way in ("forward", "reverse"):
        place = names.index(f"bytes_{way}")
        number, token = trace.token_fields[place].number, trace.tokens[:, place]
        assert number is not None
        drawn.append(np.round(number.decode(token, random.random(token.size))).astype(np.int64))
        exact.append((number.low == number.high)[token])
    return np.stack(drawn, axis=1), np.stack(exact, axis=1)


def _drawn_durations(
    trace: EncodedTrace, answer_ns: IntArray, reply_ns: IntArray, random: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Duration of each flow as its tokens tell it, and the longest they allow: float64 [F] ns.

    The first is a hint to records: where it is off, their own gaps tell more of how long a flow
    lasts, so it is blurred.
    """
    column = {f.name: i for i, f in enumerate(trace.token_fields)}
    stretch, alone = (trace.tokens[:, column[name]] for name in ("stretch", "duration"))
    numbers = [trace.token_fields[column[name]].number for name in ("stretch", "duration")]
    assert numbers[0] is not None
    assert numbers[1] is not None
    service = trace.tokens[:, column["service"]]
    rulers = trace.token_fields[column["service"]].rulers
    assert rulers is not None
    trip = np.maximum(answer_ns, 0) + np.maximum(reply_ns, 0)
    drawn, longest = np.zeros((2, len(trace)))
    for number, token, first, unit in (
        (numbers[0], stretch, 1, ruler_ns(trip.astype(np.float64), rulers[service])),
        (numbers[1], alone, REST.size, np.ones(len(trace))),
    ):
        rows = np.flatnonzero(token >= first)
        own = token[rows] - first
        drawn[rows] = number.decode(own, random.random(rows.size)) * unit[rows]
        longest[rows] = number.high[own] * unit[rows]
    rows = np.flatnonzero((alone > 0) & (alone < REST.size))
    room = (trace.window_ns - trace.start_ns[rows]).astype(np.float64)
    place = alone[rows] - 1
    rest = REST[place] + (REST[place + 1] - REST[place]) * random.random(rows.size)
    drawn[rows], longest[rows] = (1 - rest) * room, room
    true = trace.duration_ns.astype(np.float64)
    drawn = drawn * np.exp(HINT * random.standard_normal(len(trace)))
    return np.maximum(drawn, trip), np.maximum(longest, true) * LATE


def _due_rows(opposite: Array, flow: IntArray, flow_count: int) -> tuple[IntArray, IntArray]:
    """First record against the flow's first direction, and the first one in it after that.

    Returns:
        Two int64 [F]; the number of records where there is none.
    """
    rows = np.arange(flow.size)
    answer = np.full(flow_count, flow.size, dtype=np.int64)
    np.minimum.at(answer, flow[opposite], rows[opposite])
    reply = np.full(flow_count, flow.size, dtype=np.int64)
    behind = ~opposite & (rows > answer[flow])
    np.minimum.at(reply, flow[behind], rows[behind])
    return answer, reply


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
    """Tokens + 1 of the `count` records before each, newest first, 0: none; [N, count, C]."""
    history = np.zeros((targets.shape[0], count, targets.shape[1]), dtype=np.int64)
    for back in range(1, count + 1):
        if targets.shape[0] > back:
            known = position[back:] >= back
            history[back:, back - 1] = np.where(known[:, None], targets[:-back] + 1, 0)
    return history
