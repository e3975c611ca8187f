"""The context of the next record of a lane, embedded; see `RecordLevel.state`."""

from __future__ import annotations

import math

import numpy as np

from netsynth.generate.transformer.field_kernel import matrix
from netsynth.generate.transformer.kernels import (
    add_from,
    add_share_from,
    add_to,
    borrowing,
    compiled,
    gelu,
    linear,
    normalise,
)
from netsynth.generate.transformer.number_arrays import (
    to_token,
)
from netsynth.generate.transformer.record_arrays import (
    DELAY_TABLE,
    GAP_TABLE,
    LENGTH_TABLE,
    TRACES,
    WINDOW_TABLE,
    RecordArrays,
)
from netsynth.generate.transformer.record_context import BALANCES, PASSED, RECENT, SIZE_BUCKETS
from netsynth.generate.transformer.record_lanes import FlowsToDraw, Lanes
from netsynth.numbers import Array
from netsynth.tcp_windows import NOT_SET


@borrowing
def embed_context(
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
        for way in range(2):
            lanes.step_bytes[place, way] = flows.values[row, 2 + way]
    row = lanes.row[place]
    grid = flows.step[row] * step_ns
    low = max(grid - time, 0.0)
    time_left = max(flows.end_ns[flow] - time, 0.0)
    high = grid + step_ns
    if time > grid + PASSED * step_ns:
        high = np.floor(time / step_ns) * step_ns + step_ns
    high = min(high, flows.latest_ns[flow]) - time
    high -= run_ns(a, flows.service[flow], step_left[0] + step_left[1] - 1)
    due_left = 0.0
    if lanes.due[place] >= 0:
        due_left = max(lanes.due[place] - time, 0.0)
        high = min(high, due_left)
    high = max(high, low + 1)
    if lanes.position[place] == 0:
        low = 0.0
    lanes.low[place], lanes.high[place] = low, high
    base = lanes.base
    for j in range(width):
        x[j] = base[place, j]
    history, at_history, weights = lanes.history, a.history, a.weights
    for back in range(at_history.shape[0]):
        for column in range(TRACES):
            at = at_history[back, column] + history[place, back, column] * width
            add_from(x, weights, at)
    around, tables = flows.around, a.around
    for i in range(around.shape[1]):
        add_share_from(x, tables, i * width, around[row, i])
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
        _size_bucket(lanes.step_bytes[place, 0]),
        _size_bucket(lanes.step_bytes[place, 1]),
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
        _window_token(a, lanes, place, 0),
        _window_token(a, lanes, place, 1),
        lanes.lengths[place, 0],
        lanes.lengths[place, 1],
        count_bucket[min(lanes.unheard[place, 0], last)],
        count_bucket[min(lanes.unheard[place, 1], last)],
        _balance(step_left),
        _balance(left),
        _pressure(lanes, place, 0),
        _pressure(lanes, place, 1),
        _mean_token(a, bytes_left[0], left[0]),
        _mean_token(a, bytes_left[1], left[1]),
        _mean_token(a, lanes.step_bytes[place, 0], step_left[0]),
        _mean_token(a, lanes.step_bytes[place, 1], step_left[1]),
    )
    progress, progress_start = a.progress, a.progress_start
    for column in range(progress_start.size):
        add_from(x, progress, (progress_start[column] + buckets[column]) * width)


@borrowing
def _mean_token(a: RecordArrays, size: int, count: int) -> int:
    """Token of `record_context.mean_payload`."""
    return int(to_token(a.numbers, LENGTH_TABLE, min(max(size, 0) / max(count, 1), 65535.0)))


@borrowing
def _window_token(a: RecordArrays, lanes: Lanes, place: int, way: int) -> int:
    """Token, plus 1, of the last window of a direction; 0 where none is known."""
    value = lanes.windows[place, way]
    return 0 if value == NOT_SET else 1 + to_token(a.numbers, WINDOW_TABLE, float(value))


@borrowing
def run_ns(a: RecordArrays, service: int, count: int) -> float:
    """`pace.run_ns` of one row."""
    total, octave = 0.0, 0
    while count > 0 and octave < a.fastest_runs.shape[1]:
        if count & 1:
            total += a.fastest_runs[service, octave]
        count >>= 1
        octave += 1
    return total


@borrowing
def _pace(
    a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, time_ns: Array, count: int
) -> int:
    """Token, plus 1, of the mean gap of a lane's last `count` records; 0 where there are fewer."""
    if lanes.position[place] <= count:
        return 0
    before = flows.offsets[lanes.flow[place]] + lanes.position[place] - 1 - count
    mean = max(lanes.time[place] - time_ns[before], 0.0) / count
    return 1 + to_token(a.numbers, GAP_TABLE, mean)


@borrowing
def per_delay_token(a: RecordArrays, time: float, delay: float) -> int:
    """`record_progress.per_delay_token` of one time."""
    if delay <= 0:
        return 0
    return 1 + to_token(a.numbers, DELAY_TABLE, time / max(delay, 1.0))


@borrowing
def _pressure(lanes: Lanes, place: int, side: int) -> int:
    """`record_context.pressure` of one row."""
    step_left = lanes.step_left[place]
    if lanes.step_bytes[place, side] > 0 or step_left[side] <= 0:
        return 0
    more = step_left[side] - step_left[1 - side]
    if lanes.unheard[place, 1 - side] > 0:
        more -= 1
    return int(5 + min(max(more, -4), 2))


@borrowing
def _balance(counts: Array) -> int:
    """`record_context.balance` of one row."""
    ratio = math.log2((max(counts[0], 0) + 0.5) / (max(counts[1], 0) + 0.5))
    half = BALANCES // 2
    return int(min(max(math.floor(3 * ratio + 0.5), -half), half)) + half


@borrowing
def _size_bucket(size: int) -> int:
    """`record_context.size_bucket`."""
    return int(min(math.floor(2 * math.log2(max(size, 0) + 1.0)), SIZE_BUCKETS - 1))


@compiled
def mix_states(a: RecordArrays, state: Array, rows: int) -> None:
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
