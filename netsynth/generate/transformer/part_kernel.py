"""Drawing the parts of a record but its gap on a CPU: kind, length and window."""

from __future__ import annotations

import math

import numpy as np

from netsynth.generate.transformer.field_kernel import matrix
from netsynth.generate.transformer.followers import DEPTH, UNSEEN_SHARE
from netsynth.generate.transformer.kernels import (
    add_from,
    borrowing,
    compiled,
    gelu,
    linear,
    next_uniform,
    normalise,
    pick,
    to_weights,
)
from netsynth.generate.transformer.number_arrays import (
    from_token,
    to_token,
)
from netsynth.generate.transformer.record_arrays import (
    EMBED,
    GAP_TABLE,
    HEAD,
    HEAD_BIAS,
    HIDDEN,
    HIDDEN_BIAS,
    LENGTH_TABLE,
    SIZE,
    RecordArrays,
)
from netsynth.generate.transformer.record_lanes import (
    FlowsToDraw,
    Lanes,
    answers_first,
)
from netsynth.generate.transformer.record_level import (
    ANY_BYTES,
    FORWARD_STATES,
    GAP,
    KIND,
    LENGTH,
    REVERSE_STATES,
    STRANGE,
    WINDOW,
)
from netsynth.numbers import Array
from netsynth.tcp_windows import ADD, MOST_WINDOW, NOT_SET, SET

STRANGE_SHARE = np.float32(math.exp(-STRANGE))
LITTLE = np.float32(UNSEEN_SHARE)


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


@borrowing
def tell_token(a: RecordArrays, lanes: Lanes, place: int, part: int, x: Array) -> None:
    """Add a part that is drawn to the state x [W]; a length or gap by the token of its value."""
    if part == LENGTH:
        lanes.token[place, LENGTH] = to_token(a.numbers, LENGTH_TABLE, float(lanes.size[place]))
    if part == GAP:
        lanes.token[place, GAP] = to_token(a.numbers, GAP_TABLE, lanes.gap[place])
    add_from(x, a.weights, a.parts[part, EMBED] + lanes.token[place, part] * x.size)


@borrowing
def is_asked(a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, part: int) -> bool:
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
        if lanes.due[place] >= 0 and answers_first(a, lanes, place) != lanes.due_reply[place]:
            due_left = max(lanes.due[place] - lanes.time[place], 0.0)
            lanes.gap[place] = min(max(due_left, lanes.low[place]), lanes.high[place])
            return False
        flow, left = lanes.flow[place], lanes.left[place]
        if lanes.position[place] == 1 and left[0] + left[1] == 1 and flows.delays[flow, 0] < 0:
            whole = max(flows.end_ns[flow] - lanes.time[place], 0.0)  # the last of two: it ends
            lanes.gap[place] = min(max(whole, lanes.low[place]), lanes.high[place])
            return False
    return True


@borrowing
def draw_part(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    flows: FlowsToDraw,
    part: int,
    logits: Array,
    share: Array,
) -> None:
    """Draw kind, length or window of a record from its logits [size]."""
    flow, seen = lanes.flow[place], -1
    share = share[: logits.size]
    if part == KIND:
        exact = flows.exact[flow]
        service, shape, reply = flows.service[flow], flows.shape[flow], flows.delays[flow, 1]
        kind_shares(a, lanes, place, service, shape, reply, exact, share)
        seen = row_behind(a, lanes, place, service)
        rule_out_unseen(a.kind_rows, seen, share)
    else:
        share[:] = np.float32(1)
    left = 0
    if part == LENGTH:
        way = a.kind_reverse[lanes.token[place, KIND]]
        left = lanes.bytes_left[place, way] if flows.exact[flow, way] else ANY_BYTES
        length_shares(a, flows.service[flow], left, share)
        rule_out_lengths(a, lanes, place, flows.service[flow], left, share)
    if part == WINDOW:
        way = a.kind_reverse[lanes.token[place, KIND]]
        window_shares(a, lanes.windows[place, way], share)
        last, kind = kind_back(lanes, place, 0), lanes.token[place, KIND] + 1
        seen = follower_row(
            a, a.window_keys, flows.stack[flow], kind_back(lanes, place, 1), last, kind
        )
        rule_out_unseen(a.window_rows, seen, share)
    token = _draw_shared(logits, share, next_uniform(flows.streams, flow))
    lanes.token[place, part] = token
    if part == KIND and seen >= 0 and a.kind_rows[seen, token] == 0:
        lanes.strays[place] = 1
    lengths = a.numbers.size[LENGTH_TABLE]
    if part == LENGTH and token >= lengths:
        lanes.size[place] = left - a.remainders[token - lengths]
    elif part == LENGTH:
        drawn = from_token(a.numbers, LENGTH_TABLE, token, next_uniform(flows.streams, flow))
        size = max(int(np.rint(drawn)), 1)
        lanes.size[place] = min(size, left) if left > 0 else size


@borrowing
def length_shares(a: RecordArrays, service: int, left: int, share: Array) -> None:
    """Set share [lengths + REMAINDERS] to 1 where a length fits what is `left`, else 0; see
    `RecordLevel._length_logits`."""
    start, lengths = a.numbers.row_start[LENGTH_TABLE], a.numbers.size[LENGTH_TABLE]
    low, high = a.numbers.low[start:], a.numbers.high[start:]
    fits, most = False, max(left, 1)
    for token in range(share.size):
        if token < lengths:
            is_possible = low[token] <= most and high[token] >= 1
        else:
            rest = a.remainders[token - lengths]
            size = left - rest
            is_possible = rest >= 0 and left < ANY_BYTES and 1 <= size <= a.most_payload[service]
        share[token] = np.float32(1 if is_possible else 0)
        fits = fits or is_possible
    if not fits:
        for token in range(share.size):
            share[token] = np.float32(1 if token < lengths else 0)


@borrowing
def follower_row(
    a: RecordArrays, keys: Array, service: int, first: int, second: int, third: int
) -> int:
    """Row of a service and three kinds plus 1, 0: none, or the last two or one, or -1; see
    `Followers`."""
    any_kind = a.kind_reverse.size + 1
    for left_out in range(DEPTH):
        code = service * (any_kind + 1) + (first if left_out < 1 else any_kind)
        code = code * (any_kind + 1) + (second if left_out < 2 else any_kind)
        code = code * (any_kind + 1) + third
        row = np.searchsorted(keys, code)
        if row < keys.size and keys[row] == code:
            return int(row)
    return -1


@borrowing
def row_behind(a: RecordArrays, lanes: Lanes, place: int, service: int) -> int:
    """Row of the kinds seen behind the last ones of a lane, or -1."""
    first, second, third = (
        kind_back(lanes, place, 2), kind_back(lanes, place, 1), kind_back(lanes, place, 0)
    )  # fmt: skip
    return int(follower_row(a, a.kind_keys, service, first, second, third))


@borrowing
def kind_back(lanes: Lanes, place: int, back: int) -> int:
    """Kind plus 1 of an earlier record of a lane, 0: none."""
    return int(lanes.history[place, back, KIND]) if back < lanes.history.shape[1] else 0


@borrowing
def rule_out_unseen(rows: Array, row: int, share: Array) -> None:
    """Leave UNSEEN_SHARE of what never came, by a row of `follower_row`."""
    if row >= 0:
        for token in range(share.size):
            if rows[row, token] == 0:
                share[token] *= LITTLE


@borrowing
def window_shares(a: RecordArrays, before: int, share: Array) -> None:
    """Set share [windows] to 1 where a window can come behind the one `before`, else 0."""
    for token in range(share.size):
        possible = a.windows[token, SET] != NOT_SET
        if not possible and before != NOT_SET:
            added = a.windows[token, ADD]
            possible = added == 0 or 0 <= before + added <= MOST_WINDOW
        share[token] = np.float32(1 if possible else 0)


@borrowing
def rule_out_lengths(
    a: RecordArrays, lanes: Lanes, place: int, service: int, left: int, share: Array
) -> None:
    """Leave UNSEEN_SHARE of lengths unlike those seen; see `RecordLevel._is_unseen_length`."""
    kinds = a.kind_reverse.size + 2
    low, high = 1.0, float(ANY_BYTES)
    for before in (kinds - 1, kind_back(lanes, place, 0)):
        code = (service * kinds + before) * kinds + lanes.token[place, KIND]
        row = np.searchsorted(a.length_keys, code)
        if row < a.length_keys.size and a.length_keys[row] == code:
            shortest, longest = float(a.length_rows[row, 0]), float(a.length_rows[row, 1])
            if shortest < high and longest > low:
                low, high = max(low, shortest), min(high, longest)
    start, lengths = a.numbers.row_start[LENGTH_TABLE], a.numbers.size[LENGTH_TABLE]
    for token in range(share.size):
        least, most = low, high
        if token < lengths:
            least, most = a.numbers.low[start + token], a.numbers.high[start + token]
        else:
            least = most = float(left - a.remainders[token - lengths])
        if most < low or least > high:
            share[token] *= LITTLE


@borrowing
def kind_shares(
    a: RecordArrays,
    lanes: Lanes,
    place: int,
    service: int,
    shape: int,
    reply: float,
    exact: Array,
    share: Array,
) -> None:
    """Set share [kinds] to what is left of each kind; see `RecordLevel._kind_logits`."""
    owed, left = lanes.owed[place], lanes.left[place]
    forward_due = left[0] <= _bit_count(owed & FORWARD_STATES)
    reverse_due = left[1] <= _bit_count(owed & REVERSE_STATES)
    first = lanes.first_reverse[place]
    kept = lanes.due[place] >= 0 and lanes.due_reply[place] == 0 and reply >= 0
    kept = kept and lanes.position[place] > 0 and left[first] <= 1  # the reply is still to come
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
        if not (strange or empty or due or (kept and way == first)):
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


@borrowing
def _bit_count(bits: int) -> int:
    """`record_level._bit_count`."""
    count = 0
    for place in range(6):
        count += (bits >> place) & 1
    return count


@borrowing
def _draw_shared(logits: Array, share: Array, uniform: float) -> int:
    """Draw from softmax(logits) * share; logits are overwritten."""
    for i in range(share.size):
        if share[i] == 0:
            logits[i] = np.float32(-1e30)
    to_weights(logits, share.size)
    for i in range(share.size):
        logits[i] = logits[i] * share[i]
    return max(pick(logits, share.size, uniform), 0)
