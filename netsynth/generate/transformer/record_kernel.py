"""The record level on a CPU: packet after packet of a few flows at a time, compiled.

What a record may be is decided as `RecordLevel.sample` does; parts that are known (the length of
a packet without payload, the gap of a first packet, the window of a datagram) ask no network.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from netsynth.generate.transformer.field_kernel import LIKELY, matrix
from netsynth.generate.transformer.kernels import (
    add_to,
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
    to_token,
)
from netsynth.generate.transformer.record_arrays import (
    DELAY_TABLE,
    EMBED,
    GAP_TABLE,
    HEAD,
    HEAD_BIAS,
    HIDDEN,
    HIDDEN_BIAS,
    INNER,
    INNER_BIAS,
    LENGTH_TABLE,
    PARTS,
    RULERS,
    SIZE,
    TRACES,
    RecordArrays,
)
from netsynth.generate.transformer.record_level import (
    ANY_BYTES,
    FORWARD_STATES,
    GAP,
    KIND,
    LENGTH,
    RECENT,
    REVERSE_STATES,
    SIZE_BUCKETS,
    STRANGE,
    WINDOW,
)
from netsynth.numbers import Array

FLOWS = 64  # flows side by side
STRANGE_SHARE = np.float32(math.exp(-STRANGE))
LEAST_SHARE = 1e-13  # of a token that lies outside the gaps that are possible


class FlowsToDraw(NamedTuple):
    """What the levels above say of F flows."""

    vector: Array  # float32 [F, H], of `RecordLevel.flow_vector`
    service: Array  # int64 [F]
    shape: Array  # int64 [F]
    totals: Array  # int64 [F, 4], packets and bytes, forward and reverse
    exact: Array  # bool [F, 2], whether the bytes are told exactly
    start_ns: Array  # float64 [F]
    end_ns: Array  # float64 [F]
    latest_ns: Array  # float64 [F], the flow ends before
    delays: Array  # float64 [F, 2], to the answer and on to the reply, -1 where none comes
    series_offsets: Array  # int64 [F + 1]
    step: Array  # int64 [S]
    values: Array  # int64 [S, 4]
    around: Array  # float32 [S, AROUND]
    streams: Array  # uint64 [F]
    offsets: Array  # int64 [F + 1], first record of each flow


class DrawnRows(NamedTuple):
    """Records, flow after flow."""

    tokens: Array  # int32 [N, 3], kind, length and window
    size_bytes: Array  # int64 [N]
    time_ns: Array  # float64 [N]


class Lanes(NamedTuple):
    """Flows being drawn, one a lane; the context of the next record of each."""

    flow: Array  # int64 [B], -1: none
    position: Array  # int64 [B]
    owed: Array  # int64 [B]
    left: Array  # int64 [B, 2]
    bytes_left: Array  # int64 [B, 2]
    step_left: Array  # int64 [B, 2]
    row: Array  # int64 [B], of the series
    time: Array  # float64 [B]
    due: Array  # float64 [B], when the answer, then the reply is due, -1 once they came
    due_reply: Array  # int64 [B], 1: it is the reply
    first_reverse: Array  # int64 [B]
    low: Array  # float64 [B], smallest gap
    high: Array  # float64 [B], largest gap
    windows: Array  # int64 [B, 2], window token told last in each direction
    history: Array  # int64 [B, R, 5], tokens + 1, newest first, 0: none
    base: Array  # float32 [B, W], what the flow itself adds to the state
    token: Array  # int64 [B, 4], of the record being drawn
    gap: Array  # float64 [B], its gap
    size: Array  # int64 [B], its payload


def draw_rows(
    a: RecordArrays,
    flows: FlowsToDraw,
    queue: Array,
    count_bucket: Array,
    step_ns: float,
    drawn: DrawnRows,
) -> None:
    """Draw the records of the flows `queue` into `drawn`.

    Args:
        a: The record level.
        flows: Of which some are drawn.
        queue: int64 [Q], rows of `flows`; those with most packets first save time.
        count_bucket: int64, bucket of 0, 1, 2 .. packets, the last for all above.
        step_ns: Length of a step.
        drawn: Filled at the places of those flows.
    """
    width = a.flow_bias.size
    lanes = Lanes(
        flow=np.full(FLOWS, -1),
        position=np.zeros(FLOWS, dtype=np.int64),
        owed=np.zeros(FLOWS, dtype=np.int64),
        left=np.zeros((FLOWS, 2), dtype=np.int64),
        bytes_left=np.zeros((FLOWS, 2), dtype=np.int64),
        step_left=np.zeros((FLOWS, 2), dtype=np.int64),
        row=np.zeros(FLOWS, dtype=np.int64),
        time=np.zeros(FLOWS),
        due=np.zeros(FLOWS),
        due_reply=np.zeros(FLOWS, dtype=np.int64),
        first_reverse=np.zeros(FLOWS, dtype=np.int64),
        low=np.zeros(FLOWS),
        high=np.zeros(FLOWS),
        windows=np.zeros((FLOWS, 2), dtype=np.int64),
        history=np.zeros((FLOWS, *a.history.shape), dtype=np.int64),
        base=np.zeros((FLOWS, width), dtype=np.float32),
        token=np.zeros((FLOWS, PARTS), dtype=np.int64),
        gap=np.zeros(FLOWS),
        size=np.zeros(FLOWS, dtype=np.int64),
    )
    _draw_rows(a, lanes, flows, queue, count_bucket, step_ns, drawn)


@compiled
def _draw_rows(
    a: RecordArrays,
    lanes: Lanes,
    flows: FlowsToDraw,
    queue: Array,
    count_bucket: Array,
    step_ns: float,
    drawn: DrawnRows,
) -> None:
    """Draw record after record; a lane whose flow is done takes the next of the queue."""
    width = a.flow_bias.size
    state = np.zeros((FLOWS, width), dtype=np.float32)
    lane = np.zeros(FLOWS, dtype=np.int64)
    asked = np.zeros(FLOWS, dtype=np.int64)
    share = np.zeros(np.max(a.parts[:, SIZE]), dtype=np.float32)
    waiting = 0
    while True:
        rows = 0
        for place in range(FLOWS):
            if lanes.flow[place] < 0 and waiting < queue.size:
                _begin(a, lanes, place, flows, queue[waiting])
                waiting += 1
            if lanes.flow[place] >= 0:
                lane[rows] = place
                _embed(a, lanes, place, flows, drawn.time_ns, count_bucket, step_ns, state[rows])
                rows += 1
        if rows == 0:
            return
        _mix(a, state, rows)
        for part in (KIND, LENGTH, GAP, WINDOW):
            count = 0
            for row in range(rows):
                if _is_asked(a, lanes, lane[row], flows, part):
                    asked[count] = row
                    count += 1
            if part == GAP:
                _draw_gaps(a, lanes, lane, asked, count, flows, state)
            else:
                logits = part_logits(a, part, state, asked, count)
                for i in range(count):
                    _draw_part(a, lanes, lane[asked[i]], flows, part, logits[i], share)
            if part != WINDOW:
                for row in range(rows):
                    _tell_token(a, lanes, lane[row], part, state[row])
        for row in range(rows):
            _finish(a, lanes, lane[row], flows, drawn)


@compiled
def _begin(a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, flow: int) -> None:
    """Put a flow into a lane."""
    lanes.flow[place] = flow
    lanes.position[place] = 0
    lanes.owed[place] = a.shape_state[flows.shape[flow]]
    for way in range(2):
        lanes.left[place, way] = flows.totals[flow, way]
        lanes.bytes_left[place, way] = flows.totals[flow, 2 + way]
        lanes.step_left[place, way] = flows.values[flows.series_offsets[flow], way]
    lanes.row[place] = flows.series_offsets[flow]
    lanes.time[place] = flows.start_ns[flow]
    delay = flows.delays[flow, 0]
    lanes.due[place] = -1.0 if delay < 0 else flows.start_ns[flow] + delay
    lanes.due_reply[place] = 0
    lanes.first_reverse[place] = 0
    lanes.windows[place] = 0
    lanes.history[place] = 0
    base = lanes.base[place]
    base[:] = a.flow_bias
    for i in range(a.flow.shape[0]):
        line, share = a.flow[i], flows.vector[flow, i]
        for j in range(base.size):
            base[j] = base[j] + share * line[j]


@compiled
def _embed(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    flows: FlowsToDraw,
    time_ns: Array,
    count_bucket: Array,
    step_ns: float,
    x: Array,
) -> None:
    """Set x [W] to the embedded context of a lane's next record; see `RecordLevel.state`."""
    flow, width = lanes.flow[place], x.size
    step_left, time = lanes.step_left[place], lanes.time[place]
    if step_left[0] + step_left[1] == 0:
        row = min(lanes.row[place] + 1, flows.series_offsets[flow + 1] - 1)
        lanes.row[place] = row
        step_left[0], step_left[1] = flows.values[row, 0], flows.values[row, 1]
    row = lanes.row[place]
    grid = flows.step[row] * step_ns
    low = max(grid - time, 0.0)
    time_left = max(flows.end_ns[flow] - time, 0.0)
    high = min(grid + step_ns, flows.latest_ns[flow]) - time
    high -= run_ns(a, flows.service[flow], step_left[0] + step_left[1] - 1)
    due_left = 0.0
    if lanes.due[place] >= 0:
        due_left = max(lanes.due[place] - time, 0.0)
        high = min(high, due_left)
    high = max(high, low + 1)
    if lanes.position[place] == 0:
        low = 0.0
    lanes.low[place], lanes.high[place] = low, high
    x[:] = lanes.base[place]
    for back in range(a.history.shape[0]):
        for column in range(TRACES):
            at = a.history[back, column] + lanes.history[place, back, column] * width
            add_to(x, a.weights[at : at + width])
    for i in range(a.around.shape[0]):
        line, share = a.around[i], flows.around[row, i]
        for j in range(width):
            x[j] = x[j] + share * line[j]
    last = count_bucket.size - 1
    left, bytes_left = lanes.left[place], lanes.bytes_left[place]
    numbers = a.numbers
    answer, reply = flows.delays[flow, 0], flows.delays[flow, 1]
    trip = max(answer, 0.0) + max(reply, 0.0)
    buckets = (
        count_bucket[min(lanes.position[place], last)],
        count_bucket[min(max(left[0], 0), last)],
        count_bucket[min(max(left[1], 0), last)],
        count_bucket[min(step_left[0], last)],
        count_bucket[min(step_left[1], last)],
        to_token(numbers, LENGTH_TABLE, float(min(max(bytes_left[0], 0), 65535))),
        to_token(numbers, LENGTH_TABLE, float(min(max(bytes_left[1], 0), 65535))),
        _size_bucket(bytes_left[0]),
        _size_bucket(bytes_left[1]),
        to_token(numbers, GAP_TABLE, time_left),
        to_token(numbers, GAP_TABLE, time_left / max(left[0] + left[1], 1)),
        to_token(numbers, GAP_TABLE, due_left),
        to_token(numbers, GAP_TABLE, max(answer, 0.0)),
        to_token(numbers, GAP_TABLE, max(reply, 0.0)),
        to_token(numbers, GAP_TABLE, low),
        to_token(numbers, GAP_TABLE, high),
        to_token(numbers, GAP_TABLE, high / max(step_left[0] + step_left[1], 1)),
        _pace(a, lanes, place, flows, time_ns, RECENT[0]),
        _pace(a, lanes, place, flows, time_ns, RECENT[1]),
        _pace(a, lanes, place, flows, time_ns, RECENT[2]),
        per_delay_token(a, time_left, trip),
        per_delay_token(a, high, trip),
        lanes.due_reply[place],
        lanes.owed[place],
        lanes.windows[place, 0],
        lanes.windows[place, 1],
    )
    for column in range(a.progress_start.size):
        add_to(x, a.progress[a.progress_start[column] + buckets[column]])


@compiled
def run_ns(a: RecordArrays, service: int, count: int) -> float:
    """`pace.run_ns` of one row."""
    total, octave = 0.0, 0
    while count > 0 and octave < a.fastest_runs.shape[1]:
        if count & 1:
            total += a.fastest_runs[service, octave]
        count >>= 1
        octave += 1
    return total


@compiled
def _pace(
    a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, time_ns: Array, count: int
) -> int:
    """Token, plus 1, of the mean gap of a lane's last `count` records; 0 where there are fewer."""
    if lanes.position[place] <= count:
        return 0
    before = flows.offsets[lanes.flow[place]] + lanes.position[place] - 1 - count
    mean = max(lanes.time[place] - time_ns[before], 0.0) / count
    return 1 + to_token(a.numbers, GAP_TABLE, mean)


@compiled
def per_delay_token(a: RecordArrays, time: float, delay: float) -> int:
    """`RecordLevel.per_delay_token` of one time."""
    if delay <= 0:
        return 0
    return 1 + to_token(a.numbers, DELAY_TABLE, time / max(delay, 1.0))


@compiled
def _size_bucket(size: int) -> int:
    """`record_level._size_bucket`."""
    return int(min(math.floor(2 * math.log2(max(size, 0) + 1.0)), SIZE_BUCKETS - 1))


@compiled
def _mix(a: RecordArrays, state: Array, rows: int) -> None:
    """Send states through the residual blocks."""
    height, width = state.shape
    normed = np.zeros((height, width), dtype=np.float32)
    inner = np.zeros((height, width), dtype=np.float32)
    for block in range(a.blocks.shape[0]):
        at = a.blocks[block]
        normalise(state, rows, width, normed)
        first = matrix(a.weights, at[0], width, width)
        linear(normed, rows, first, a.weights[at[1] : at[1] + width], inner)
        gelu(inner, rows, width)
        second = matrix(a.weights, at[2], width, width)
        linear(inner, rows, second, a.weights[at[3] : at[3] + width], normed)
        for row in range(rows):
            add_to(state[row], normed[row])


@compiled
def part_logits(a: RecordArrays, part: int, state: Array, asked: Array, count: int) -> Array:
    """Logits of a part for the rows `asked` [M] of state: float32 [M, size]."""
    height, width = state.shape
    normed = np.zeros((height, width), dtype=np.float32)
    hidden = np.zeros((height, a.hidden_width), dtype=np.float32)
    size, at = a.parts[part, SIZE], a.parts[part]
    logits = np.zeros((height, size), dtype=np.float32)
    for i in range(count):
        normed[i] = state[asked[i]]
    normalise(normed, count, width, normed)
    weight = matrix(a.weights, at[HIDDEN], width, a.hidden_width)
    bias = a.weights[at[HIDDEN_BIAS] : at[HIDDEN_BIAS] + a.hidden_width]
    linear(normed, count, weight, bias, hidden)
    gelu(hidden, count, a.hidden_width)
    weight = matrix(a.weights, at[HEAD], a.hidden_width, size)
    linear(hidden, count, weight, a.weights[at[HEAD_BIAS] : at[HEAD_BIAS] + size], logits)
    return logits


@compiled
def _tell_token(a: RecordArrays, lanes: Lanes, place: int, part: int, x: Array) -> None:
    """Add a part that is drawn to the state x [W]; a length or gap by the token of its value."""
    if part == LENGTH:
        lanes.token[place, LENGTH] = to_token(a.numbers, LENGTH_TABLE, float(lanes.size[place]))
    if part == GAP:
        lanes.token[place, GAP] = to_token(a.numbers, GAP_TABLE, lanes.gap[place])
    at = a.parts[part, EMBED] + lanes.token[place, part] * x.size
    add_to(x, a.weights[at : at + x.size])


@compiled
def _is_asked(a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, part: int) -> bool:
    """Tell whether the network decides a part of a record; where it does not, set it."""
    if part == LENGTH:
        lanes.size[place] = 0
        return bool(a.kind_payload[lanes.token[place, KIND]] > 0)
    if part == WINDOW:
        lanes.token[place, WINDOW] = 0
        return bool(a.is_tcp[flows.service[lanes.flow[place]]] > 0)
    if part == GAP:
        if lanes.position[place] == 0:
            lanes.gap[place] = 0.0
            return False
        if lanes.due[place] >= 0 and _answers(a, lanes, place) != lanes.due_reply[place]:
            due_left = max(lanes.due[place] - lanes.time[place], 0.0)
            lanes.gap[place] = min(max(due_left, lanes.low[place]), lanes.high[place])
            return False
    return True


@compiled
def _answers(a: RecordArrays, lanes: Lanes, place: int) -> int:
    """1 where the record goes in the direction opposite to the flow's first one."""
    if lanes.position[place] == 0:
        return 0
    return int(a.kind_reverse[lanes.token[place, KIND]] != lanes.first_reverse[place])


@compiled
def _draw_part(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    flows: FlowsToDraw,
    part: int,
    logits: Array,
    share: Array,
) -> None:
    """Draw kind, length or window of a record from its logits [size]."""
    flow = lanes.flow[place]
    share = share[: logits.size]
    if part == KIND:
        exact = flows.exact[flow]
        kind_shares(a, lanes, place, flows.service[flow], flows.shape[flow], exact, share)
    else:
        share[:] = np.float32(1)
    left = 0
    if part == LENGTH:
        way = a.kind_reverse[lanes.token[place, KIND]]
        left = lanes.bytes_left[place, way] if flows.exact[flow, way] else ANY_BYTES
        length_shares(a, left, share)
    token = _draw_shared(logits, share, next_uniform(flows.streams, flow))
    lanes.token[place, part] = token
    if part == LENGTH:
        drawn = from_token(a.numbers, LENGTH_TABLE, token, next_uniform(flows.streams, flow))
        size = max(int(np.rint(drawn)), 1)
        lanes.size[place] = min(size, left) if left > 0 else size


@compiled
def length_shares(a: RecordArrays, left: int, share: Array) -> None:
    """Set share [lengths] to 1 where a length fits what is `left`, else 0."""
    fits = False
    for token in range(share.size):
        low, high = lowest(a.numbers, LENGTH_TABLE, token), highest(a.numbers, LENGTH_TABLE, token)
        share[token] = np.float32(0 if low > max(left, 1) or high < 1 else 1)
        fits = fits or share[token] > 0
    if not fits:
        share[:] = np.float32(1)


@compiled
def kind_shares(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    service: int,
    shape: int,
    exact: Array,
    share: Array,
) -> None:
    """Set share [kinds] to what is left of each kind; see `RecordLevel._kind_logits`."""
    owed, left = lanes.owed[place], lanes.left[place]
    forward_due = left[0] <= _bit_count(owed & FORWARD_STATES)
    reverse_due = left[1] <= _bit_count(owed & REVERSE_STATES)
    fits = False
    for kind in range(share.size):
        share[kind] = np.float32(0)
        way = a.kind_reverse[kind]
        if a.of_protocol[service, kind] == 0 or lanes.step_left[place, way] <= 0:
            continue
        shown = a.kind_state[kind]
        strange = (shown & ~a.shape_state[shape]) > 0
        empty = a.kind_payload[kind] > 0 and lanes.bytes_left[place, way] <= 0 and exact[way]
        due = (reverse_due if way else forward_due) and (shown & owed) == 0
        share[kind] = STRANGE_SHARE
        if not (strange or empty or due):
            share[kind] = np.float32(1)
            fits = True
    if fits:
        return
    for kind in range(share.size):
        if share[kind] > 0:
            share[kind] = np.float32(1)
            fits = True
    if not fits:  # no packet is left in the step: any of the protocol
        for kind in range(share.size):
            share[kind] = np.float32(a.of_protocol[service, kind])


@compiled
def _bit_count(bits: int) -> int:
    """`record_level._bit_count`."""
    count = 0
    for place in range(6):
        count += (bits >> place) & 1
    return count


@compiled
def _draw_shared(logits: Array, share: Array, uniform: float) -> int:
    """Draw from softmax(logits) * share; logits are overwritten."""
    for i in range(share.size):
        if share[i] == 0:
            logits[i] = np.float32(-1e30)
    to_weights(logits, share.size)
    for i in range(share.size):
        logits[i] = logits[i] * share[i]
    return max(pick(logits, share.size, uniform), 0)


@compiled
def _draw_gaps(
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
                delay = flows.delays[flow, 1 - _answers(a, lanes, place)]
                if a.by_delay[flows.service[flow], lanes.token[place, KIND]] == 0:
                    delay = 0.0
                ruler[i] = _draw_ruler(logits[i], delay, next_uniform(flows.streams, flow))
                unit[i] = max(delay, 1.0) if ruler[i] == DELAY_TABLE else 1.0
        else:
            for i in range(rows):
                place = lane[asked[some[i]]]
                _draw_gap(a, lanes, place, flows, stage, unit[some[i]], logits[i, :wide])


@compiled
def _draw_ruler(logits: Array, delay: float, uniform: float) -> int:
    """Choose the ruler of a gap; that of delays only where there is one."""
    if delay <= 0:
        return GAP_TABLE
    to_weights(logits, RULERS)
    return max(pick(logits, RULERS, uniform), 0)


@compiled
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
    low, high = lanes.low[place], lanes.high[place]
    to_weights(logits, size)
    for token in range(size):
        share = share_within(a, ruler, token, low / unit, high / unit)
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


@compiled
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
            break
    return float(_draw_within(a, GAP_TABLE, token, low, high, first, second))


@compiled
def share_within(a: RecordArrays, ruler: int, token: int, low: float, high: float) -> float:
    """Share of a token that lies in low .. high; see `NumberTable.share_within`."""
    start, stop = lowest(a.numbers, ruler, token), highest(a.numbers, ruler, token)
    if stop > start:
        inside = min(stop, high) - max(start, low)
        share = min(max(inside / max(stop - start, 1e-9), 0.0), 1.0)
    else:
        share = 1.0 if low <= start <= high else 0.0
    return float(max(share, LEAST_SHARE))


@compiled
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


@compiled
def _finish(
    a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, drawn: DrawnRows
) -> None:
    """Write a record down and move its lane on."""
    flow, token = lanes.flow[place], lanes.token[place]
    position = lanes.position[place]
    way = np.int64(a.kind_reverse[token[KIND]])
    lanes.owed[place] &= ~a.kind_state[token[KIND]]
    if position == 0:
        lanes.first_reverse[place] = way
    lanes.left[place, way] -= 1
    lanes.step_left[place, way] = max(lanes.step_left[place, way] - 1, 0)
    lanes.bytes_left[place, way] -= lanes.size[place]
    lanes.time[place] += lanes.gap[place]
    if token[WINDOW] > 0:
        lanes.windows[place, way] = token[WINDOW]
    answers = 1 if way != lanes.first_reverse[place] else 0
    ruled = per_delay_token(a, lanes.gap[place], flows.delays[flow, 1 - answers])
    _set_due(lanes, place, answers, flows.delays[flow, 1])
    history = lanes.history[place]
    for back in range(history.shape[0] - 1, 0, -1):
        for column in range(TRACES):
            history[back, column] = history[back - 1, column]
    for part in range(PARTS):
        history[0, part] = token[part] + 1
    history[0, PARTS] = ruled
    at = flows.offsets[flow] + position
    drawn.tokens[at, 0] = token[KIND]
    drawn.tokens[at, 1] = token[LENGTH]
    drawn.tokens[at, 2] = token[WINDOW]
    drawn.size_bytes[at] = lanes.size[place]
    drawn.time_ns[at] = lanes.time[place]
    lanes.position[place] = position + 1
    if at + 1 >= flows.offsets[flow + 1]:
        lanes.flow[place] = -1


@compiled
def _set_due(lanes: Lanes, place: int, answers: int, reply: float) -> None:
    """Note that a record came: what is due next?"""
    replies = lanes.due_reply[place]
    came = lanes.due[place] >= 0 and answers != replies
    if came:
        lanes.due[place] = -1.0 if replies or reply < 0 else lanes.time[place] + reply
    lanes.due_reply[place] = 1 if (replies or came) and lanes.due[place] >= 0 else 0
