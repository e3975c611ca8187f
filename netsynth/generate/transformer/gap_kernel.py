"""Drawing the gaps before records on a CPU; see `GapDecoder.sample`."""

from __future__ import annotations

import numpy as np

from netsynth.generate.transformer.field_kernel import LIKELY, matrix
from netsynth.generate.transformer.gap_range import OCTAVES
from netsynth.generate.transformer.kernels import (
    borrowing,
    compiled,
    gelu,
    keep_likely,
    linear,
    next_uniform,
    normalise,
    pick,
    to_weights,
)
from netsynth.generate.transformer.number_arrays import (
    from_knots,
    from_token,
    highest,
    lowest,
)
from netsynth.generate.transformer.record_arrays import (
    DELAY_TABLE,
    GAP_TABLE,
    INNER,
    INNER_BIAS,
    RULERS,
    RecordArrays,
)
from netsynth.generate.transformer.record_lanes import FlowsToDraw, Lanes, answers_first
from netsynth.generate.transformer.record_level import (
    GAP,
    KIND,
)
from netsynth.numbers import Array

NO_ROOM = -1.0  # for gaps that cannot be within their step

LEAST_SHARE = 1e-13  # of a token that lies outside the gaps that are possible


@compiled
def draw_gaps(
    a: RecordArrays,
    lanes: Lanes,
    lane: Array,
    asked: Array,
    count: int,
    flows: FlowsToDraw,
    state: Array,
) -> None:
    """Draw the gaps before the records of the rows `asked`; see `GapDecoder.sample`."""
    height, width = state.shape
    normed = np.zeros((height, width), dtype=np.float32)
    hidden = np.zeros((height, a.hidden_width), dtype=np.float32)
    inner = np.zeros((height, a.hidden_width), dtype=np.float32)
    logits = np.zeros((height, np.max(a.numbers.size[:RULERS])), dtype=np.float32)
    ruler = np.zeros(height, dtype=np.int64)
    unit = np.ones(height)
    some = np.zeros(height, dtype=np.int64)
    for i in range(count):
        normed[i] = state[asked[i]]
    normalise(normed, count, width, normed)
    for stage in range(-2, RULERS):
        source, rows = inner, 0
        if stage < 0:
            source, rows = (normed if stage == -2 else hidden), count
        else:
            for i in range(count):
                if ruler[i] == stage:
                    some[rows] = i
                    inner[rows] = hidden[i]
                    rows += 1
        at = a.gaps[INNER + 2 * (stage + 2)]
        high = width if stage == -2 else a.hidden_width
        wide = a.hidden_width
        if stage == -1:
            wide = RULERS
        elif stage >= 0:
            wide = a.numbers.size[stage]
        bias = a.gaps[INNER_BIAS + 2 * (stage + 2)]
        target = hidden if stage == -2 else logits
        linear(
            source, rows, matrix(a.weights, at, high, wide), a.weights[bias : bias + wide], target
        )
        if stage == -2:
            gelu(hidden, count, a.hidden_width)
        elif stage == -1:
            for i in range(count):
                place = lane[asked[i]]
                flow = lanes.flow[place]
                delay = flows.delays[flow, 1 - answers_first(a, lanes, place)]
                if a.by_delay[flows.service[flow], lanes.token[place, KIND]] == 0:
                    delay = 0.0
                ruler[i] = _draw_ruler(logits[i], delay, next_uniform(flows.streams, flow))
                unit[i] = max(delay, 1.0) if ruler[i] == DELAY_TABLE else 1.0
        else:
            for i in range(rows):
                place = lane[asked[some[i]]]
                _draw_gap(a, lanes, place, flows, stage, unit[some[i]], logits[i, :wide])


@borrowing
def _draw_ruler(logits: Array, delay: float, uniform: float) -> int:
    """Choose the ruler of a gap; that of delays only where there is one."""
    if delay <= 0:
        return GAP_TABLE
    to_weights(logits, RULERS)
    return max(pick(logits, RULERS, uniform), 0)


@borrowing
def _draw_gap(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    flows: FlowsToDraw,
    ruler: int,
    unit: float,
    logits: Array,
) -> None:
    """Draw the gap of a record by a ruler, from its logits [size]."""
    flow, size = lanes.flow[place], logits.size
    room = flows.latest_ns[flow] - lanes.time[place]
    low, high = narrow(a, lanes, place, flows.service[flow], room)
    to_weights(logits, size)
    start = a.numbers.row_start[ruler]
    smallest, largest = a.numbers.low[start : start + size], a.numbers.high[start : start + size]
    for token in range(size):
        share = share_within(smallest[token], largest[token], low / unit, high / unit)
        logits[token] = logits[token] * np.float32(share)
    keep_likely(logits, size, LIKELY)
    token = max(pick(logits, size, next_uniform(flows.streams, flow)), 0)
    first, second = next_uniform(flows.streams, flow), next_uniform(flows.streams, flow)
    if ruler == GAP_TABLE:
        kind = lanes.token[place, KIND]
        gap = _draw_timer(a, flows.service[flow], kind, token, low, high, first, second)
    else:
        gap = _draw_within(a, ruler, token, low / unit, high / unit, first, second) * unit
    lanes.gap[place] = min(max(gap, low), high)


@borrowing
def narrow(
    a: RecordArrays, lanes: Lanes, place: int, service: int, room: float
) -> tuple[float, float]:
    """Shortest and longest gap of a record that are possible and were seen; see `GapRange`.

    `room` ns are left in its flow for one that follows from the gap before.
    """
    low, high = float(lanes.low[place]), float(lanes.high[place])
    kinds = a.kind_reverse.size
    before = max(lanes.history[place, 0, KIND] - 1, 0)
    kind = lanes.token[place, KIND]
    code = (service * kinds + before) * kinds + kind
    low, high = _narrow_by(a.range_keys, a.range_rows, code, low, high, NO_ROOM)
    octave = a.gap_octaves[lanes.history[place, 0, GAP]]
    code = ((service * OCTAVES + octave) * kinds + before) * kinds + kind
    return _narrow_by(a.after_keys, a.after_rows, code, low, high, room)


@borrowing
def _narrow_by(
    keys: Array, rows: Array, code: int, low: float, high: float, room: float
) -> tuple[float, float]:
    """Narrow a range by that of a code, where there is one; see `GapRange.narrow`."""
    row = np.searchsorted(keys, code)
    if row < keys.size and keys[row] == code:
        shortest, longest = float(rows[row, 0]), float(rows[row, 1])
        if shortest < high and longest > low:
            return max(low, shortest), min(high, longest)
        if shortest < room:
            return shortest, min(longest, room)
    return low, high


@borrowing
def _draw_timer(
    a: RecordArrays,
    service: int,
    kind: int,
    token: int,
    low: float,
    high: float,
    first: float,
    second: float,
) -> float:
    """Draw a gap of a token in ns, where it is narrow as the service and kind say."""
    kinds, size = a.kind_reverse.size, a.numbers.size[GAP_TABLE]
    for own in (kind, kinds):
        code = (service * (kinds + 1) + own) * size + token
        row = np.searchsorted(a.timer_keys, code)
        if row < a.timer_keys.size and a.timer_keys[row] == code:
            value = float(from_knots(a.timer_rows[row], first))
            if low <= value <= high:
                return value
            start = min(max(lowest(a.numbers, GAP_TABLE, token), low), high)
            stop = max(min(highest(a.numbers, GAP_TABLE, token), high), low)
            return float(start + max(stop - start, 0.0) * second)
    return float(_draw_within(a, GAP_TABLE, token, low, high, first, second))


@borrowing
def share_within(start: float, stop: float, low: float, high: float) -> float:
    """Share of start .. stop that lies in low .. high; see `NumberTable.share_within`."""
    if stop > start:
        inside = min(stop, high) - max(start, low)
        share = min(max(inside / max(stop - start, 1e-9), 0.0), 1.0)
    else:
        share = 1.0 if low <= start <= high else 0.0
    return float(max(share, LEAST_SHARE))


@borrowing
def _draw_within(
    a: RecordArrays, ruler: int, token: int, low: float, high: float, first: float, second: float
) -> float:
    """`NumberTable.draw_within`, with two uniform numbers."""
    value = from_token(a.numbers, ruler, token, first)
    if low <= value <= high:
        return value
    start = min(max(lowest(a.numbers, ruler, token), low), high)
    stop = max(min(highest(a.numbers, ruler, token), high), low)
    return float(start + max(stop - start, 0.0) * second)
