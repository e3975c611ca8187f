"""Level 0 on a CPU: the loop over the flows of windows, a few windows side by side, compiled.

Importing this module imports numba. `start_drawing` has the same loop through torch, for other
devices; the tests compare.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.cascade.start_arrays import (
    COLUMNS,
    FORWARD,
    REVERSE,
    Drawn,
    StartArrays,
    StartLanes,
    pack_starts,
)
from netsynth.generate.cascade.start_drawing import StartRequest
from netsynth.generate.cascade.start_level import FLOWS_BEFORE, SKELETON, StartLevel
from netsynth.generate.transformer.clock_kernel import add_clock, clock_features
from netsynth.generate.transformer.field_arrays import (
    EMBED,
    HEAD,
    HEAD_BIAS,
    HIDDEN,
    HIDDEN_BIAS,
    SIZE,
    as_float32,
)
from netsynth.generate.transformer.field_kernel import matrix, prior_shares
from netsynth.generate.transformer.flow_level import CLOCK_WIDTH
from netsynth.generate.transformer.kernels import (
    LANES,
    add_to,
    compiled,
    gelu,
    linear,
    next_uniform,
    normalise,
    pick,
    seed_streams,
    to_weights,
)
from netsynth.generate.transformer.number_arrays import from_token
from netsynth.numbers import Array

WINDOWS_AT_ONCE = 64  # windows whose flows are drawn side by side
MORE = 4096  # flows for which room is made at a time
GAP = SKELETON.index("gap")
NEVER = np.float32(-1e30)


def draw_skeletons(
    level: StartLevel, window_count: int, request: StartRequest
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw the flows of windows one after the other; see `start_drawing.draw_skeletons`."""
    arrays = pack_starts(level, request)
    key = int(torch.randint(2**62, (1,), generator=request.random))
    parts = []
    for first in range(0, window_count, WINDOWS_AT_ONCE):
        windows = np.arange(first, min(first + WINDOWS_AT_ONCE, window_count))
        lanes = _start_lanes(windows, request, seed_streams(key, windows))
        limit = 2**62 if request.left is not None else request.flow_limit
        while lanes.alive[0] and lanes.drawn[0] < limit:
            steps = int(min(max(MORE // int(lanes.alive[0]), 1), limit - lanes.drawn[0]))
            parts.append(_draw_some(arrays, lanes, steps, request))
    if not parts:
        lanes = _start_lanes(np.zeros(0, dtype=np.int64), request, np.zeros(0, dtype=np.uint64))
        parts.append(_draw_some(arrays, lanes, 0, request))
    window, start, tokens, state = map(np.concatenate, zip(*parts, strict=True))
    return (
        torch.as_tensor(window), torch.as_tensor(start), torch.as_tensor(tokens),
        torch.as_tensor(state),
    )  # fmt: skip


def _start_lanes(windows: Array, request: StartRequest, streams: Array) -> StartLanes:
    """Lanes at the start of `windows` [W]."""
    count, left = windows.size, request.left
    begins = np.zeros(count) if request.begins is None else request.begins.numpy()[windows]
    until = np.full(count, float(request.window_ns))
    if request.until is not None:
        until = request.until.numpy()[windows].astype(np.float64)
    plan = np.zeros((count, 0, 0), dtype=np.float32)
    if left is not None:
        plan = as_float32(left.left)[windows]
    return StartLanes(
        alive=np.array([count], dtype=np.int64),
        window=windows.copy(),
        drawn=np.zeros(count, dtype=np.int64),
        time=begins.astype(np.float64),
        until=until,
        before=np.zeros((count, FLOWS_BEFORE * COLUMNS), dtype=np.int64),
        left=plan.copy(),
        streams=streams.copy(),
    )


def _draw_some(a: StartArrays, lanes: StartLanes, steps: int, request: StartRequest) -> Drawn:
    """Draw the next flows of each window, `steps` at most."""
    room = steps * int(lanes.alive[0])
    drawn = Drawn(
        window=np.zeros(room, dtype=np.int64),
        start_ns=np.zeros(room),
        tokens=np.zeros((room, COLUMNS), dtype=np.int64),
        state=np.zeros((room, a.mix_bias.size), dtype=np.float32),
    )
    count = _draw_steps(
        a, lanes, steps, float(request.window_ns), float(request.pace), request.left is not None,
        drawn,
    )  # fmt: skip
    return Drawn(*(part[:count] for part in drawn))


@compiled
def _draw_steps(
    a: StartArrays, lanes: StartLanes, steps: int, window_ns: float, pace: float, is_planned: bool,
    drawn: Drawn,
) -> int:  # fmt: skip
    """`_draw_some` into the arrays of `drawn`; return the number of flows."""
    width = a.mix_bias.size
    height = lanes.window.size + LANES  # rows are computed a few at a time
    inner = np.zeros((height, width), dtype=np.float32)
    state = np.zeros((height, width), dtype=np.float32)
    working = np.zeros((height, width), dtype=np.float32)
    tokens = np.zeros((height, a.skeleton.fields.shape[0]), dtype=np.int64)
    features = np.zeros(CLOCK_WIDTH, dtype=np.float32)
    count = 0
    for _ in range(steps):
        _drop_done(lanes, is_planned)
        rows = lanes.alive[0]
        if rows == 0:
            break
        for row in range(rows):
            x = inner[row]
            x[:] = np.float32(0)
            for column in range(a.starts.size):
                add_to(x, a.table[a.starts[column] + lanes.before[row, column]])
            clock_features(lanes.time[row], window_ns, features)
            add_clock(x, features, a.clock, a.clock_bias)
        gelu(inner, rows, width)
        linear(inner, rows, a.mix, a.mix_bias, state)
        gelu(state, rows, width)
        working[:rows] = state[:rows]
        _draw_columns(a, lanes, working, tokens, rows, is_planned)
        for row in range(rows):
            gap = from_token(a.gap, 0, tokens[row, GAP], next_uniform(lanes.streams, row))
            lanes.time[row] += np.rint(gap * pace)
            lanes.drawn[row] += 1
            before = lanes.before[row]
            for column in range(before.size - 1, COLUMNS - 1, -1):
                before[column] = before[column - COLUMNS]
            for column in range(COLUMNS):
                before[column] = tokens[row, column] + 1
            if is_planned:
                left = lanes.left[row]
                octaves = a.forward[tokens[row, FORWARD]], a.reverse[tokens[row, REVERSE]]
                left[octaves] = max(left[octaves] - np.float32(1), np.float32(0))
            elif lanes.time[row] >= lanes.until[row]:
                continue
            drawn.window[count] = lanes.window[row]
            drawn.start_ns[count] = lanes.time[row]
            drawn.tokens[count] = tokens[row]
            drawn.state[count] = state[row]
            count += 1
    return count


@compiled
def _drop_done(lanes: StartLanes, is_planned: bool) -> None:
    """Move the windows that go on to the first rows."""
    kept = 0
    for row in range(lanes.alive[0]):
        if is_planned:
            left = np.float32(0)
            for number in lanes.left[row].ravel():
                left += number
            goes_on = left >= 0.5
        else:
            goes_on = lanes.time[row] < lanes.until[row]
        if not goes_on:
            continue
        if kept < row:
            lanes.window[kept] = lanes.window[row]
            lanes.drawn[kept] = lanes.drawn[row]
            lanes.time[kept] = lanes.time[row]
            lanes.until[kept] = lanes.until[row]
            lanes.before[kept] = lanes.before[row]
            lanes.left[kept] = lanes.left[row]
            lanes.streams[kept] = lanes.streams[row]
        kept += 1
    lanes.alive[0] = kept


@compiled
def _draw_columns(
    a: StartArrays, lanes: StartLanes, state: Array, tokens: Array, rows: int, is_planned: bool
) -> None:
    """Draw the skeletons of `rows` flows, plans and boosts weighed in; see `draw_fields`."""
    fields = a.skeleton
    height, width = state.shape
    largest = a.boosts.shape[1]
    normed = np.zeros((height, width), dtype=np.float32)
    hidden = np.zeros((height, fields.hidden_width), dtype=np.float32)
    logits = np.zeros((height, largest), dtype=np.float32)
    share = np.empty(largest, dtype=np.float32)
    factor = np.empty(largest, dtype=np.float32)
    for place in range(fields.fields.shape[0]):
        field = fields.fields[place]
        size = field[SIZE]
        if size == 1:
            tokens[:rows, place] = 0
            continue
        normalise(state, rows, width, normed)
        linear(
            normed,
            rows,
            matrix(fields.weights, field[HIDDEN], width, fields.hidden_width),
            fields.weights[field[HIDDEN_BIAS] : field[HIDDEN_BIAS] + fields.hidden_width],
            hidden,
        )
        gelu(hidden, rows, fields.hidden_width)
        linear(
            hidden,
            rows,
            matrix(fields.weights, field[HEAD], fields.hidden_width, size),
            fields.weights[field[HEAD_BIAS] : field[HEAD_BIAS] + size],
            logits,
        )
        for row in range(rows):
            own = logits[row]
            for i in range(size):
                own[i] += a.boosts[place, i]
            if place == REVERSE:
                add_to(own[:size], a.pairs[tokens[row, FORWARD]])
            factor[:size] = np.float32(1)
            if is_planned and place == FORWARD:
                _weigh_forward(a, lanes.left[row], factor)
            if is_planned and place == REVERSE:
                _weigh_reverse(a, lanes.left[row], a.forward[tokens[row, FORWARD]], factor)
            for i in range(size):  # what is used up must not be the likeliest
                own[i] = own[i] if factor[i] > 0 else NEVER
            to_weights(own, size)
            prior_shares(fields, place, tokens[row], share)
            for i in range(size):
                own[i] *= share[i] * factor[i]
            token = pick(own, size, next_uniform(lanes.streams, row))
            tokens[row, place] = token
            at = field[EMBED] + token * width
            add_to(state[row], fields.weights[at : at + width])


@compiled
def _weigh_forward(a: StartArrays, left: Array, factor: Array) -> None:
    """What is left of each token's octave over its usual share; see `FlowsLeft.weigh`."""
    octaves, others = left.shape
    ratio = np.zeros(octaves, dtype=np.float32)
    total = np.float32(0)
    for i in range(octaves):
        usual = np.float32(0)
        for j in range(others):
            ratio[i] += left[i, j]
            usual += a.share[i, j]
        total += ratio[i]
        ratio[i] /= usual
    for i in range(a.forward.size):
        factor[i] = ratio[a.forward[i]] / max(total, np.float32(1))


@compiled
def _weigh_reverse(a: StartArrays, left: Array, octave: int, factor: Array) -> None:
    """The same of packets reverse, of flows in an octave of packets forward."""
    total, usual = np.float32(0), np.float32(0)
    for j in range(left.shape[1]):
        total += left[octave, j]
        usual += a.share[octave, j]
    for i in range(a.reverse.size):
        j = a.reverse[i]
        factor[i] = left[octave, j] / max(total, np.float32(1)) * (usual / a.share[octave, j])
