"""FieldDecoder on a CPU: token columns one after the other, compiled."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.generate.transformer.choosing import UNLIKELY
from netsynth.generate.transformer.counts import ENOUGH, LEAST_SHARE
from netsynth.generate.transformer.field_arrays import (
    BASE,
    CATEGORY,
    EMBED,
    HEAD,
    HEAD_BIAS,
    HIDDEN,
    HIDDEN_BIAS,
    LEVEL,
    LEVELS,
    PAIR,
    PAIRS,
    SHARP,
    SIZE,
    FieldArrays,
)
from netsynth.generate.transformer.kernels import (
    add_from,
    borrowing,
    compiled,
    exponential,
    gelu,
    keep_likely,
    linear,
    next_uniform,
    normalise,
    pick,
)
from netsynth.generate.transformer.time_room import TimeColumns, ends_late
from netsynth.numbers import Array

LIKELY = np.float32(UNLIKELY)
LEAST = np.float32(LEAST_SHARE)
# why a token is not to be drawn; what exceeds the plan or the window is used up
MASKED, UNSEEN, FORBIDDEN, USED_UP = 1, 2, 4, 8


class PlanArrays(NamedTuple):
    """What is left of the windows' plans; see `plan_left.Left`."""

    left: Array  # float32 [M, services, outcomes], of each row
    outcome: Array  # int64 [shapes], outcome of each shape
    service: int  # column of the service; -1 where nothing is ruled out
    shape: int  # column of the shape
    responder: int  # column of the responder
    large: Array  # float32 [M, K], large flows left of each row of `book`
    book: Array  # int64 [K, 3], service, outcome and responder


@compiled
def draw_fields(
    a: FieldArrays,
    state: Array,
    tokens: Array,
    given: int,
    rows: int,
    allowed: Array,
    plan: PlanArrays,
    times: TimeColumns,
    left_ns: Array,
    quantiles: Array,
    streams: Array,
) -> None:
    """Draw the columns of `rows` rows.

    Args:
        a: The decoder.
        state: float32 [M, H], M at least `rows` rounded up to LANES; columns are added to it.
        tokens: int64 [M, given + K], the given columns filled.
        given: Columns that are given.
        rows: Rows to draw.
        allowed: uint8, tokens each column may take, laid out as `a.base`.
        plan: Rules out services and shapes of which none is left.
        times: The columns that tell times.
        left_ns: float64 [M], what is left of each row's window; rules out times that exceed it.
        quantiles: float64 [M, K], where in its distribution each column lies; < 0: drawn.
        streams: uint64 [M], one number a column is drawn from each.
    """
    width = state.shape[1]
    height = state.shape[0]
    largest = np.max(a.fields[:, SIZE])
    normed = np.zeros((height, width), dtype=np.float32)
    hidden = np.zeros((height, a.hidden_width), dtype=np.float32)
    logits = np.zeros((height, largest), dtype=np.float32)
    share = np.empty(largest, dtype=np.float32)
    barred = np.empty(largest, dtype=np.uint8)
    for place in range(a.fields.shape[0]):
        field = a.fields[place]
        size = field[SIZE]
        if size == 1:
            tokens[:rows, given + place] = 0
            continue
        normalise(state, rows, width, normed)
        linear(
            normed,
            rows,
            matrix(a.weights, field[HIDDEN], width, a.hidden_width),
            a.weights[field[HIDDEN_BIAS] : field[HIDDEN_BIAS] + a.hidden_width],
            hidden,
        )
        gelu(hidden, rows, a.hidden_width)
        linear(
            hidden,
            rows,
            matrix(a.weights, field[HEAD], a.hidden_width, size),
            a.weights[field[HEAD_BIAS] : field[HEAD_BIAS] + size],
            logits,
        )
        is_time = np.any(times.column == given + place)
        for row in range(rows):
            prior_shares(a, place, tokens[row], share)
            bar_tokens(a, place, tokens[row], allowed, barred)
            if plan.service >= 0:
                _bar_used_up(plan, row, given + place, tokens[row], size, barred)
            for token in range(size if is_time else 0):
                if ends_late(times, given + place, tokens[row], token, left_ns[row]):
                    barred[token] |= np.uint8(USED_UP)
            quantile, order = next_uniform(streams, row), a.order[:0]
            if quantiles[row, place] >= 0:
                quantile = quantiles[row, place]
                order = a.order[field[BASE] : field[BASE] + size]
            token = draw_token(logits[row], share, barred, size, field[SHARP] > 0, quantile, order)
            tokens[row, given + place] = token
            add_from(state[row], a.weights, field[EMBED] + token * width)


@compiled
def matrix(weights: Array, at: int, height: int, width: int) -> Array:
    """View the matrix [height, width] that begins at `at`."""
    return weights[at : at + height * width].reshape((height, width))


@borrowing
def _find_row(a: FieldArrays, level: int, tokens: Array) -> int:
    """Row of counts under the parents among `tokens`; -1 where they never occurred."""
    first, count, start, keys = a.levels[level]
    code = 0
    for parent in range(first, first + count):
        column, classes, size = a.parents[parent]
        token = tokens[column]
        code = code * size + (token if classes < 0 else a.classes[classes + token])
    row = start + np.searchsorted(a.keys[start : start + keys], code)
    return int(row) if row < start + keys and a.keys[row] == code else -1


@borrowing
def prior_shares(a: FieldArrays, place: int, tokens: Array, share: Array) -> None:
    """Set share[:size] to what counts tell of column `place`; see `CountPrior`.

    `tokens` holds the given columns and those before.
    """
    size, base = a.fields[place, SIZE], a.fields[place, BASE]
    for i in range(size):
        share[i] = a.base[base + i]
    first = a.fields[place, LEVEL]
    for level in range(first, first + a.fields[place, LEVELS]):
        row = _find_row(a, level, tokens)
        if row < 0:
            continue
        total = a.row_total[row] + a.pseudo[row]
        kept = a.pseudo[row] / total
        for i in range(size):
            share[i] = share[i] * kept
        for i in range(a.row_start[row], a.row_start[row + 1]):
            share[a.token[i]] += a.times[i] / total
    for i in range(size):
        share[i] = max(share[i], LEAST)


@borrowing
def bar_tokens(a: FieldArrays, place: int, tokens: Array, allowed: Array, barred: Array) -> None:
    """Set barred[:size] to why each token of column `place` is not to be drawn; 0: it may be."""
    field = a.fields[place]
    size, base = field[SIZE], field[BASE]
    unseen = np.uint8(0)
    row = -1
    if field[CATEGORY] > 0:
        for level in range(field[LEVEL] + field[LEVELS] - 1, field[LEVEL] - 1, -1):
            row = _find_row(a, level, tokens)
            if row >= 0 and a.row_total[row] >= ENOUGH:
                unseen = np.uint8(UNSEEN)
                break
    for i in range(size):
        barred[i] = unseen if allowed[base + i] else unseen | np.uint8(FORBIDDEN)
    if unseen:
        for i in range(a.row_start[row], a.row_start[row + 1]):
            barred[a.token[i]] &= np.uint8(255 - UNSEEN)
    for pair in range(field[PAIR], field[PAIR] + field[PAIRS]):
        at = a.pairs[pair, 1] + tokens[a.pairs[pair, 0]] * size
        for i in range(size):
            barred[i] |= np.uint8(0) if a.masks[at + i] else np.uint8(MASKED)


@borrowing
def _bar_used_up(
    plan: PlanArrays, row: int, column: int, tokens: Array, size: int, barred: Array
) -> None:
    """Bar the services and shapes of which the plan of a row has none left, and the responders of
    large flows of which others have some left."""
    left = plan.left[row]
    if column == plan.service:
        for i in range(size):
            some = False
            for outcome in range(left.shape[1]):
                some = some or left[i, outcome] > 0
            if not some:
                barred[i] |= np.uint8(USED_UP)
    if column == plan.shape:
        for i in range(size):
            if left[tokens[plan.service], plan.outcome[i]] <= 0:
                barred[i] |= np.uint8(USED_UP)
    if column == plan.responder:
        service, outcome = tokens[plan.service], plan.outcome[tokens[plan.shape]]
        some = False
        for k in range(plan.book.shape[0]):
            if not (plan.book[k, 0] == service and plan.book[k, 1] == outcome):
                continue
            if plan.large[row, k] > 0:
                if not some:
                    for i in range(size):
                        barred[i] |= np.uint8(USED_UP)
                some = True
                barred[plan.book[k, 2]] &= np.uint8(255 - USED_UP)


@compiled
def draw_token(
    logits: Array,
    share: Array,
    barred: Array,
    size: int,
    sharp: bool,
    uniform: float,
    order: Array,
) -> int:
    """Draw a token from softmax(logits) * share; share is overwritten.

    The token is the one at `uniform` of the distribution, by `order` [size], or, where that is
    empty, as they are numbered.

    Where no token is free of bars, those that never occurred are let in, then those that are used
    up, then those that do not go together, then all.
    """
    for excused in (0, UNSEEN, UNSEEN | USED_UP, UNSEEN | USED_UP | MASKED, 255):
        largest = np.float32(-np.inf)
        for i in range(size):
            if (barred[i] & ~excused) == 0:
                largest = max(largest, logits[i])
        if largest > -np.inf:
            break
    for i in range(size):
        free = (barred[i] & ~excused) == 0
        share[i] = share[i] * exponential(logits[i] - largest) if free else np.float32(0)
    if sharp:
        keep_likely(share, size, LIKELY)
    if order.size == 0:
        return pick(share, size, uniform)
    return int(order[pick(share[order], size, uniform)])
