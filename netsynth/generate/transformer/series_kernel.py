"""The series level on a CPU: active steps of a few flows at a time, compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import nn

from netsynth.generate.transformer.attention_kernel import (
    AttentionArrays,
    AttentionCache,
    attention_step,
    make_cache,
    pack_attention,
)
from netsynth.generate.transformer.field_arrays import Packer, as_float32, weight_of
from netsynth.generate.transformer.field_kernel import matrix
from netsynth.generate.transformer.kernels import (
    add_to,
    borrowing,
    compiled,
    exponential,
    gelu,
    linear,
    next_uniform,
    normalise,
    pick,
)
from netsynth.generate.transformer.number_arrays import (
    NumberArrays,
    from_token,
    pack_numbers,
    to_token,
)
from netsynth.generate.transformer.series_level import (
    BOTH,
    FINENESS,
    GUIDES,
    KEEPS,
    PARTS,
    REACH,
    SeriesLevel,
)
from netsynth.numbers import Array, IntArray

FLOWS = 32  # flows side by side
COUNT = len(PARTS)
# columns of SeriesArrays.parts
BEFORE, LEFT, HIDDEN, HIDDEN_BIAS, HEAD, HEAD_BIAS, EMBED = 0, 1, 2, 3, 4, 5, 6


class SeriesArrays(NamedTuple):
    """A SeriesLevel as arrays."""

    attention: AttentionArrays
    numbers: NumberArrays  # one table a part
    weights: Array  # float32, matrices [in, out], biases and embeddings, one behind the other
    parts: Array  # int64 [5, 7], where in `weights` each part finds its own, see BEFORE
    flow: Array  # float32 [H, H]
    flow_bias: Array  # float32 [H]
    off_share: Array  # float32 [5, 2 * REACH + 1], see `SeriesLevel`
    octave: Array  # float64, of each token, places as in `numbers.rows`
    hidden_width: int


class SeriesLanes(NamedTuple):
    """Flows whose series are being drawn, one a lane."""

    flow: Array  # int64 [B], -1: none
    position: Array  # int64 [B], active steps so far
    step: Array  # int64 [B]
    left: Array  # int64 [B, 4], packets and bytes
    before: Array  # int64 [B, 5], tokens of the last active step + 1, 0: none
    cache: AttentionCache


def pack_series_level(level: SeriesLevel) -> SeriesArrays:
    """Copy what `level` learned to arrays."""
    packer = Packer()
    parts = np.zeros((COUNT, 7), dtype=np.int64)
    for part in range(COUNT):
        tables = (level.embed_before[part], level.embed_left[part], level.embed[part])
        before, left, own = (packer.add(weight_of(table)) for table in tables)
        hidden = packer.add_linear(level.hidden[part], level.norm)
        parts[part] = before, left, *hidden, *packer.add_linear(level.heads[part]), own
    first = level.hidden[0]
    assert isinstance(first, nn.Linear)
    return SeriesArrays(
        attention=pack_attention(level.transformer),
        numbers=pack_numbers(level.tables),
        weights=packer.array(),
        parts=parts,
        flow=as_float32(level.flow.weight.T),
        flow_bias=as_float32(level.flow.bias),
        off_share=as_float32(level.off_share),
        octave=np.concatenate(
            [getattr(level, f"octave_{part}").cpu().numpy() for part in range(COUNT)]
        ),
        hidden_width=first.out_features,
    )


def draw_series_rows(
    a: SeriesArrays,
    vector: Array,
    totals: IntArray,
    first: IntArray,
    last: IntArray,
    opening: Array,
    streams: Array,
) -> tuple[IntArray, IntArray, IntArray]:
    """Draw the active steps of F flows; see `SeriesLevel.sample`.

    Args:
        a: The series level.
        vector: float32 [F, H], of `SeriesLevel.flow_vector`.
        totals: int64 [F, 4], packets and bytes, forward and reverse.
        first: int64 [F], first step.
        last: int64 [F], last step.
        opening: int64 [F], BOTH, ALONE or KEEPS: who sends in the first step.
        streams: uint64 [F], one a flow.

    Returns:
        Active steps of each flow [F], then their steps [S] and values [S, 4], flow after flow.
    """
    room = np.minimum(last - first + 1, totals[:, 0] + totals[:, 1])
    room = np.where(first >= last, 1, room)
    start = np.cumsum(room) - room
    step = np.zeros(int(room.sum()), dtype=np.int64)
    values = np.zeros((step.size, 4), dtype=np.int64)
    count = np.ones(first.size, dtype=np.int64)
    single = np.flatnonzero(first >= last)
    step[start[single]], values[start[single]] = first[single], totals[single]
    many = np.flatnonzero(first < last)
    many = many[np.argsort(-room[many], kind="stable")]
    if many.size:
        lanes = SeriesLanes(
            flow=np.full(FLOWS, -1),
            position=np.zeros(FLOWS, dtype=np.int64),
            step=np.zeros(FLOWS, dtype=np.int64),
            left=np.zeros((FLOWS, 4), dtype=np.int64),
            before=np.zeros((FLOWS, COUNT), dtype=np.int64),
            cache=make_cache(a.attention, FLOWS, longest=int(room.max())),
        )
        _draw_lanes(
            a, lanes, many, vector, totals, first, last, opening, streams,
            start, count, step, values,
        )  # fmt: skip
    inside = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    kept = np.repeat(start, count) + inside
    return count, step[kept], values[kept]


@compiled
def _draw_lanes(
    a: SeriesArrays,
    lanes: SeriesLanes,
    queue: Array,
    vector: Array,
    totals: Array,
    first: Array,
    last: Array,
    opening: Array,
    streams: Array,
    start: Array,
    count: Array,
    steps: Array,
    values: Array,
) -> None:
    """Draw the flows `queue`; a lane that is done takes the next one."""
    width = vector.shape[1]
    x = np.zeros((FLOWS, width), dtype=np.float32)
    state = np.zeros((FLOWS, width), dtype=np.float32)
    source = np.zeros((FLOWS, width), dtype=np.float32)
    lane = np.zeros(FLOWS, dtype=np.int64)
    position = np.zeros(FLOWS, dtype=np.int64)
    flow = np.zeros(FLOWS, dtype=np.int64)
    value = np.zeros((FLOWS, 4), dtype=np.int64)
    token = np.zeros((FLOWS, COUNT), dtype=np.int64)
    waiting = 0
    while True:
        rows = 0
        for place in range(FLOWS):
            # what is left fits one step alone: it needs no network
            while lanes.flow[place] >= 0 and _is_forced(lanes, place, last):
                here = lanes.flow[place]
                _put(lanes, place, last[here], lanes.left[place], start, steps, values)
                count[here] = lanes.position[place] + 1
                lanes.flow[place] = -1
            if lanes.flow[place] < 0 and waiting < queue.size:
                here = queue[waiting]
                waiting += 1
                lanes.flow[place], lanes.position[place] = here, 0
                lanes.step[place] = first[here]
                lanes.left[place] = totals[here]
                lanes.before[place] = 0
            if lanes.flow[place] >= 0:
                lane[rows], flow[rows] = place, lanes.flow[place]
                position[rows] = lanes.position[place]
                source[rows] = vector[lanes.flow[place]]
                rows += 1
        if rows == 0:
            return
        linear(source, rows, a.flow, a.flow_bias, x)
        for row in range(rows):
            place = lane[row]
            _embed(a, x[row], lanes.before[place], last[flow[row]] - lanes.step[place],
                   lanes.left[place])  # fmt: skip
        attention_step(a.attention, lanes.cache, x, rows, lane, position, state)
        _draw_parts(a, lanes, state, rows, lane, flow, last, streams, value, token)
        for row in range(rows):
            place, here = lane[row], flow[row]
            if lanes.position[place] == 0:
                _open(value[row], lanes.left[place], opening[here])
            ends = lanes.step[place] >= last[here]
            _mend(value[row], lanes.left[place], ends)
            for part in range(1, COUNT):
                token[row, part] = to_token(a.numbers, part, float(value[row, part - 1]))
            _put(lanes, place, lanes.step[place], value[row], start, steps, values)
            lanes.position[place] += 1
            for i in range(4):
                lanes.left[place, i] -= value[row, i]
            for part in range(COUNT):
                lanes.before[place, part] = token[row, part] + 1
            if ends:
                count[here] = lanes.position[place]
                lanes.flow[place] = -1


@compiled
def _is_forced(lanes: SeriesLanes, place: int, last: Array) -> bool:
    """Tell whether what is left of a flow can only be its last step."""
    if lanes.position[place] == 0:
        return False
    alone = lanes.left[place, 0] + lanes.left[place, 1] <= 1
    return bool(alone or last[lanes.flow[place]] - lanes.step[place] == 1)


@borrowing
def _put(
    lanes: SeriesLanes, place: int, step: int, value: Array, start: Array, steps: Array,
    values: Array,
) -> None:  # fmt: skip
    at = start[lanes.flow[place]] + lanes.position[place]
    steps[at] = step
    for i in range(4):
        values[at, i] = value[i]


@borrowing
def _embed(a: SeriesArrays, x: Array, before: Array, ahead: int, left: Array) -> None:
    """Add tokens before and amounts left to x [H]; see `SeriesLevel.inputs`."""
    width = x.size
    for part in range(COUNT):
        at = a.parts[part, BEFORE] + before[part] * width
        add_to(x, a.weights[at : at + width])
        amount = ahead if part == 0 else left[part - 1]
        token = to_token(a.numbers, part, float(max(amount, 0)))
        at = a.parts[part, LEFT] + token * width
        add_to(x, a.weights[at : at + width])


@compiled
def _draw_parts(
    a: SeriesArrays,
    lanes: SeriesLanes,
    state: Array,
    rows: int,
    lane: Array,
    flow: Array,
    last: Array,
    streams: Array,
    value: Array,
    token: Array,
) -> None:
    """Draw skip, packets and bytes of the next active step of each row; move to that step."""
    height, width = state.shape
    normed = np.zeros((height, width), dtype=np.float32)
    hidden = np.zeros((height, a.hidden_width), dtype=np.float32)
    logits = np.zeros((height, np.max(a.numbers.size)), dtype=np.float32)
    compact = np.zeros((height, width), dtype=np.float32)
    asked = np.zeros(height, dtype=np.int64)
    for part in range(COUNT):
        count = 0
        for row in range(rows):
            place = lane[row]
            skips = part == 0 and lanes.position[place] > 0
            counts = part > 0 and lanes.step[place] < last[flow[row]]
            if skips or counts:
                asked[count] = row
                compact[count] = state[row]
                count += 1
        size = a.numbers.size[part]
        at = a.parts[part]
        normalise(compact, count, width, normed)
        matrix_1 = matrix(a.weights, at[HIDDEN], width, a.hidden_width)
        bias = a.weights[at[HIDDEN_BIAS] : at[HIDDEN_BIAS] + a.hidden_width]
        linear(normed, count, matrix_1, bias, hidden)
        gelu(hidden, count, a.hidden_width)
        matrix_2 = matrix(a.weights, at[HEAD], a.hidden_width, size)
        linear(hidden, count, matrix_2, a.weights[at[HEAD_BIAS] : at[HEAD_BIAS] + size], logits)
        if part == 0:
            for row in range(rows):
                token[row, 0] = to_token(a.numbers, 0, 0.0)
        for i in range(count):
            row = asked[i]
            place = lane[row]
            ahead = last[flow[row]] - lanes.step[place]
            amount = max(ahead, 1) if part == 0 else lanes.left[place, part - 1]
            _add_off_share(a, part, float(amount), value[row], lanes.left[place], logits[i])
            chosen = _pick_up_to(
                a, part, logits[i], float(amount), next_uniform(streams, flow[row])
            )
            drawn = from_token(a.numbers, part, chosen, next_uniform(streams, flow[row]))
            whole = int(np.rint(drawn))
            if part == 0:
                skip = min(max(whole, 1), ahead)
                chosen = to_token(a.numbers, 0, float(skip))
                token[row, 0] = chosen
                lanes.step[place] += skip
            else:
                value[row, part - 1] = min(whole, amount)
                at_token = at[EMBED] + chosen * width
                add_to(state[row], a.weights[at_token : at_token + width])
        if part == 0:
            for row in range(rows):
                at_token = at[EMBED] + token[row, 0] * width
                add_to(state[row], a.weights[at_token : at_token + width])


@borrowing
def _add_off_share(
    a: SeriesArrays, part: int, share: float, value: Array, left: Array, logits: Array
) -> None:
    """Add what speaks for and against amounts by their share; see `SeriesLevel._logits`."""
    guide = GUIDES[part]
    if guide >= 0:
        if left[guide - 1] <= 0:
            return
        share = value[guide - 1] * float(left[part - 1]) / left[guide - 1]
    octave = math.log2(share + 0.5)
    first = a.numbers.row_start[part]
    for i in range(a.numbers.size[part]):
        off = math.floor(FINENESS * (a.octave[first + i] - octave) + 0.5)
        logits[i] += a.off_share[part, REACH + min(max(off, -REACH), REACH)]


@borrowing
def _pick_up_to(a: SeriesArrays, part: int, logits: Array, amount: float, uniform: float) -> int:
    """Draw a token whose smallest value is at most `amount`; logits are overwritten."""
    size = a.numbers.size[part]
    start = a.numbers.row_start[part]
    low = a.numbers.low[start : start + size]
    largest = np.float32(-np.inf)
    for i in range(size):
        if low[i] <= amount:
            largest = max(largest, logits[i])
    if largest == -np.inf:  # nothing fits: whatever is drawn is cut to what is left
        return 0
    for i in range(size):
        logits[i] = exponential(logits[i] - largest) if low[i] <= amount else np.float32(0)
    return pick(logits, size, uniform)


@borrowing
def _open(value: Array, left: Array, opening: int) -> None:
    """`series_level._open` of one flow."""
    side = 0 if left[0] > 0 else 1
    if opening != BOTH:
        value[1 - side] = 0
        value[3 - side] = 0
    most = left[side] - (1 if opening == KEEPS else 0)
    value[side] = max(min(value[side], most), 1)


@borrowing
def _mend(value: Array, left: Array, ends: bool) -> None:
    """`series_level._mend` of one step."""
    if ends:
        for i in range(4):
            value[i] = left[i]
        return
    if value[0] + value[1] == 0:
        value[1 if left[1] > left[0] else 0] = 1
    if value[0] + value[1] >= left[0] + left[1]:
        value[1 if value[1] >= value[0] else 0] -= 1
    for direction in range(2):
        if value[direction] == 0:
            value[2 + direction] = 0
        elif value[direction] == left[direction]:
            value[2 + direction] = left[2 + direction]
