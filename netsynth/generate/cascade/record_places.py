"""What happens to one flow while its records are drawn, compiled: places, rules, and what is left.

`record_kernel` has the loop; importing this module imports numba.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from netsynth.generate.cascade.record_arrays import NORMALS, RecordArrays
from netsynth.generate.cascade.record_data import POSITION, STATE_BITS
from netsynth.generate.cascade.record_rules import FORWARD_STATES, REVERSE_STATES, STRANGE
from netsynth.generate.transformer.kernels import GOLDEN, MIX_1, MIX_2, compiled
from netsynth.numbers import Array

WAYS = np.array([FORWARD_STATES, REVERSE_STATES])
NO_ROOM, NO_PROTOCOL = np.float32(-2e4), np.float32(2000)
UNLIKELY, BARE = np.float32(4 * STRANGE), np.float32(-STRANGE)


class FlowsToDraw(NamedTuple):
    """What is known of F flows; see `record_drawing.draw_records`."""

    known: Array  # float32 [F, Q], conditions and tuples
    windows: Array  # float32 [S, W], steps around each active one
    step_row: Array  # int64 [F], first active step of each
    step_packets: Array  # int64 [S, 2]
    totals: Array  # int64 [F, 4]
    service: Array  # int64 [F], row of `RecordArrays.map_rows`
    protocol: Array  # int64 [F], row of `RecordArrays.of_protocol`
    state: Array  # int64 [F]
    streams: Array  # uint64 [F]
    offsets: Array  # int64 [F + 1]


class DrawnRows(NamedTuple):
    """What is drawn: N records."""

    kind: Array  # int64 [N]
    size_bytes: Array  # int64 [N]
    gap: Array  # float32 [N], images of gaps


class Lanes(NamedTuple):
    """Where LANES flows are; a row each."""

    flow: Array  # int64, -1 where no flow is left
    position: Array  # int64
    row: Array  # int64, step
    left: Array  # int64 [., 2]
    step_left: Array  # int64 [., 2]
    bytes_left: Array  # int64 [., 2]
    owed: Array  # int64
    previous: Array  # int64 [., R]
    numbers: Array  # float32 [., 2 R]
    of_flow: Array  # float32 [., H], what the first layer makes of the flow
    of_step: Array  # float32 [., H], and of the step


@compiled
def enter_flow(a: RecordArrays, flows: FlowsToDraw, lanes: Lanes, lane: int, flow: int) -> None:
    """Let a lane begin a flow."""
    lanes.flow[lane], lanes.position[lane] = flow, 0
    lanes.row[lane], lanes.owed[lane] = flows.step_row[flow] - 1, flows.state[flow]
    lanes.step_left[lane] = 0
    for way in range(2):
        lanes.left[lane, way] = flows.totals[flow, way]
        lanes.bytes_left[lane, way] = flows.totals[flow, 2 + way]
    lanes.previous[lane] = 0
    lanes.numbers[lane] = np.float32(0)
    lanes.of_flow[lane] = a.bias
    _add_product(lanes.of_flow[lane], flows.known[flow], a.known)


@compiled
def enter_step(a: RecordArrays, flows: FlowsToDraw, lanes: Lanes, lane: int) -> bool:
    """Let a lane go on to the next active step where its own is done; tell whether it did."""
    if lanes.step_left[lane, 0] + lanes.step_left[lane, 1] > 0:
        return False
    lanes.row[lane] += 1
    row = lanes.row[lane]
    lanes.step_left[lane] = flows.step_packets[row]
    lanes.of_step[lane] = lanes.of_flow[lane]
    _add_product(lanes.of_step[lane], flows.windows[row], a.steps)
    return True


@compiled
def _add_product(y: Array, x: Array, weight: Array) -> None:
    """Add x @ weight to y in place."""
    for k in range(x.size):
        share, line = x[k], weight[k]
        if share != 0:
            for n in range(y.size):
                y[n] = y[n] + share * line[n]


@compiled
def _log(value: int, over: float) -> np.float32:
    """Scaled log of 1 + value."""
    return np.float32(math.log1p(np.float64(value)) / over)


@compiled
def describe(
    a: RecordArrays, flows: FlowsToDraw, lanes: Lanes, lane: int, enters: bool, x: Array
) -> None:
    """Set x to what changes with each record: `position_features`, numbers before, and noise."""
    left, step_left, bytes_left = lanes.left[lane], lanes.step_left[lane], lanes.bytes_left[lane]
    x[:POSITION] = np.float32(0)
    if lanes.position[lane] < 4:
        x[lanes.position[lane]] = np.float32(1)
    last = left[0] + left[1]
    if 1 <= last <= 3:
        x[3 + last] = np.float32(1)
    x[7] = _log(lanes.position[lane], 6.0)
    for way in range(2):
        x[8 + way] = _log(left[way], 6.0)
        x[10 + way] = _log(step_left[way], 4.0)
        x[12 + way] = _log(bytes_left[way], 12.0)
        x[14 + way] = np.float32(step_left[way] > 0)
    x[16] = np.float32(bytes_left[0] > 0)
    x[17] = np.float32(enters)
    for bit in range(STATE_BITS):
        x[18 + bit] = np.float32((lanes.owed[lane] >> bit) & 1)
    count = lanes.numbers.shape[1]
    for i in range(count):
        x[POSITION + i] = lanes.numbers[lane, i]
    draw_noise(a.normal, flows.streams, lanes.flow[lane], x[POSITION + count :])


@compiled
def draw_noise(normal: Array, streams: Array, row: int, x: Array) -> None:
    """Fill x with normal noise from stream `row`, five numbers of 12 bits a draw."""
    bits = np.uint64(0)
    for i in range(x.size):
        if i % 5 == 0:
            streams[row] = streams[row] + GOLDEN
            z = streams[row]
            z = (z ^ (z >> np.uint64(30))) * MIX_1
            z = (z ^ (z >> np.uint64(27))) * MIX_2
            bits = z ^ (z >> np.uint64(31))
        x[i] = normal[np.int64(bits & np.uint64(NORMALS - 1))]
        bits = bits >> np.uint64(12)


@compiled
def bar_kinds(
    a: RecordArrays, flows: FlowsToDraw, lanes: Lanes, lane: int, logits: Array, likely: Array
) -> None:
    """Take from logits [K] what protocol, direction, state or bytes speak against.

    See `KindRules.mask`; `likely` uint8 [K] is overwritten.
    """
    flow, owed = lanes.flow[lane], lanes.owed[lane]
    fits = a.of_protocol[flows.protocol[flow]]
    missing = ~flows.state[flow]
    some = False
    for k in range(logits.size):
        way = a.reverse[k]
        data = lanes.bytes_left[lane, way] > 0
        ok = fits[k] > 0 and lanes.step_left[lane, way] > 0
        ok = ok and (data or not a.payload[k]) and (a.state[k] & missing) == 0
        if ok and lanes.left[lane, way] <= _bit_count(owed & WAYS[way]):
            ok = (a.state[k] & owed) > 0
        likely[k] = ok
        some = some or ok
        if ok and data and not a.payload[k] and lanes.left[lane, way] == 1:
            logits[k] = BARE
    for k in range(logits.size):
        room = lanes.step_left[lane, a.reverse[k]] > 0
        if not room:
            logits[k] = NO_ROOM
        if not fits[k]:
            logits[k] -= NO_PROTOCOL
        if not (likely[k] if some else (fits[k] > 0 and room)):
            logits[k] -= UNLIKELY


@compiled
def _bit_count(bits: int) -> int:
    """Bits set among the lowest six."""
    count = 0
    for place in range(STATE_BITS):
        count += (bits >> place) & 1
    return count


@compiled
def emit(
    a: RecordArrays, flows: FlowsToDraw, lanes: Lanes, lane: int, kind: int, image: Array,
    drawn: DrawnRows,
) -> None:  # fmt: skip
    """Write a record, and move its lane on."""
    flow, way = lanes.flow[lane], a.reverse[kind]
    row = a.map_rows[flows.service[flow], kind]
    for i in range(2):
        made = math.tanh(np.float64(image[i]))
        image[i] = np.float32(interpolate(made, a.made[i, row], a.real[i, row]))
    budget = lanes.bytes_left[lane, way]
    size = 0
    if a.payload[kind]:
        drawn_size = np.int64(
            np.rint(np.expm1(interpolate(np.float64(image[0]), a.images, a.knots)))
        )
        is_last = lanes.left[lane, way] == 1
        size = min(budget, a.largest) if is_last else min(max(drawn_size, 1), budget)
        size = max(size, 1)
    at = flows.offsets[flow] + lanes.position[lane]
    drawn.kind[at], drawn.size_bytes[at], drawn.gap[at] = kind, size, image[1]
    lanes.left[lane, way] -= 1
    lanes.step_left[lane, way] -= 1
    lanes.bytes_left[lane, way] = max(budget - size, 0)
    lanes.owed[lane] &= ~a.state[kind]
    previous, numbers = lanes.previous[lane], lanes.numbers[lane]
    for back in range(previous.size - 1, 0, -1):
        previous[back] = previous[back - 1]
        numbers[2 * back], numbers[2 * back + 1] = numbers[2 * back - 2], numbers[2 * back - 1]
    previous[0] = kind + 1
    numbers[0] = np.float32(interpolate(math.log1p(np.float64(size)), a.knots, a.images))
    numbers[1] = image[1]
    lanes.position[lane] += 1
    if lanes.left[lane, 0] + lanes.left[lane, 1] == 0:
        lanes.flow[lane] = -1


@compiled
def interpolate(x: float, places: Array, values: Array) -> float:
    """`numpy.interp` of one number; `places` ascend."""
    if x <= places[0]:
        return float(values[0])
    if x >= places[-1]:
        return float(values[-1])
    above = np.searchsorted(places, x, side="right")
    share = (x - places[above - 1]) / (places[above] - places[above - 1])
    return float(values[above - 1] + share * (values[above] - values[above - 1]))
