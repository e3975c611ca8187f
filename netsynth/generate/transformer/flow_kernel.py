"""The flow level on a CPU: the loop over the flows of a few windows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.generate.transformer.attention_kernel import (
    AttentionCache,
    attention_step,
    make_cache,
    padded,
)
from netsynth.generate.transformer.clock_kernel import add_clock, clock_features, plan_features
from netsynth.generate.transformer.field_kernel import PlanArrays, draw_fields
from netsynth.generate.transformer.flow_arrays import FlowArrays
from netsynth.generate.transformer.kernels import (
    add_to,
    compiled,
    next_uniform,
)
from netsynth.generate.transformer.number_arrays import from_token
from netsynth.numbers import Array, FloatArray, IntArray


class WindowLanes(NamedTuple):
    """Windows whose flows are being drawn; those that end move out of the first `alive` rows."""

    alive: Array  # int64 [1]
    position: Array  # int64 [W], flows drawn so far
    window: Array  # int64 [W], number of the window
    sequence: Array  # int64 [W], its place in the cache
    time: Array  # float64 [W], of its last flow
    streams: Array  # uint64 [W]
    plans: Array  # float32 [W, P, services, outcomes], by place in the cache, as are edges
    edges: Array  # float64 [W, P], share of the window at which its parts end
    part: Array  # int64 [W], the part that goes on
    left: Array  # float32 [W, services, outcomes], of that part
    services: Array  # float32 [W, services], sums of what is left
    outcomes: Array  # float32 [W, outcomes]
    large: Array  # float32 [W, K], of the window's large flows
    x: Array  # float32 [W rounded up, H], what the transformer sees next
    cache: AttentionCache


class DrawnSkeletons(NamedTuple):
    """Flows in the order in which they were drawn."""

    window: IntArray  # [F]
    ordinal: IntArray  # [F], place in the window
    part: IntArray  # [F], of the window's plan
    start_ns: FloatArray  # [F]
    tokens: IntArray  # [F, 6]
    state: Array  # float32 [F, H], of the transformer


def start_windows(
    a: FlowArrays,
    windows: IntArray,
    plans: Array,
    edges: FloatArray,
    large: Array,
    streams: Array,
    window_ns: int,
    *,
    is_strict: bool,
) -> WindowLanes:
    """Return lanes at the start of `windows` [W].

    Args:
        a: The flow level.
        windows: int64 [W], their numbers.
        plans: float32 [W, P, services, outcomes], flows that each part of them is to have.
        edges: float64 [W, P], shares of the windows at which the parts end.
        large: float32 [W, K], large flows that each is to have.
        streams: uint64 [W].
        window_ns: Their length.
        is_strict: The plans bind.
    """
    count, width = windows.size, a.begin.size
    plans = plans.astype(np.float32, copy=False)
    left, part = plans[:, 0].copy(), np.zeros(count, dtype=np.int64)
    services, outcomes = left.sum(axis=2), left.sum(axis=1)
    x = np.zeros((padded(count), width), dtype=np.float32)
    features = np.zeros(a.clock.shape[0], dtype=np.float32)
    for row in range(count):
        part[row] = next_part(
            plans[row], edges[row], 0, 0.0, is_strict, left[row], services[row], outcomes[row]
        )
        clock_features(0.0, float(window_ns), features)
        plan_features(services[row], outcomes[row], float(edges[row, part[row]]), features)
        x[row] = a.begin
        add_clock(x[row], features, a.clock, a.clock_bias)
    return WindowLanes(
        alive=np.array([count], dtype=np.int64),
        position=np.zeros(count, dtype=np.int64),
        window=windows.copy(),
        sequence=np.arange(count),
        time=np.zeros(count),
        streams=streams.copy(),
        plans=plans,
        edges=edges,
        part=part,
        left=left,
        services=services,
        outcomes=outcomes,
        large=large.astype(np.float32),
        x=x,
        cache=make_cache(a.attention, count, longest=a.attention.context),
    )


def draw_skeletons(
    a: FlowArrays,
    lanes: WindowLanes,
    *,
    steps: int,
    window_ns: int,
    latest_ns: float,
    allowed: Array,
    is_strict: bool,
) -> DrawnSkeletons:
    """Draw the next flows of each window, `steps` at most.

    Args:
        a: The flow level.
        lanes: The windows, moved on.
        steps: Flows a window at most.
        window_ns: Length of a window.
        latest_ns: When a window ends, whatever its plan says.
        allowed: uint8, see `field_arrays.pack_allowed`.
        is_strict: Draw nothing that is not in the plan, and end when it is fulfilled.
    """
    room = steps * int(lanes.alive[0])
    drawn = DrawnSkeletons(
        window=np.zeros(room, dtype=np.int64),
        ordinal=np.zeros(room, dtype=np.int64),
        part=np.zeros(room, dtype=np.int64),
        start_ns=np.zeros(room),
        tokens=np.zeros((room, a.skeleton.fields.shape[0]), dtype=np.int64),
        state=np.zeros((room, a.begin.size), dtype=np.float32),
    )
    count = _draw_skeletons(
        a, lanes, steps, float(window_ns), float(latest_ns), allowed, is_strict, drawn
    )
    return DrawnSkeletons(
        window=drawn.window[:count],
        ordinal=drawn.ordinal[:count],
        part=drawn.part[:count],
        start_ns=drawn.start_ns[:count],
        tokens=drawn.tokens[:count],
        state=drawn.state[:count],
    )


@compiled
def _draw_skeletons(
    a: FlowArrays,
    lanes: WindowLanes,
    steps: int,
    window_ns: float,
    latest_ns: float,
    allowed: Array,
    is_strict: bool,
    drawn: DrawnSkeletons,
) -> int:
    """`draw_skeletons` into the arrays of `drawn`; return the number of flows."""
    height, width = lanes.x.shape
    columns = a.skeleton.fields.shape[0]
    state = np.zeros((height, width), dtype=np.float32)
    working = np.zeros((height, width), dtype=np.float32)
    tokens = np.zeros((height, columns), dtype=np.int64)
    features = np.zeros(a.clock.shape[0], dtype=np.float32)
    ruling = a.service_column if is_strict else -1
    plan = PlanArrays(
        lanes.left, a.outcome, ruling, a.shape_column, a.responder_column, lanes.large, a.book
    )
    endless = np.full(height, np.inf)
    anywhere = np.full((height, columns), -1.0)
    count = 0
    for _ in range(steps):
        rows = lanes.alive[0]
        if rows == 0:
            break
        attention_step(
            a.attention, lanes.cache, lanes.x, rows, lanes.sequence, lanes.position, state
        )
        working[:rows] = state[:rows]
        draw_fields(
            a.skeleton, working, tokens, 0, rows, allowed, plan, a.times, endless, anywhere,
            lanes.streams,
        )  # fmt: skip
        kept = 0
        for row in range(rows):
            gap = from_token(a.gap, 0, tokens[row, 0], next_uniform(lanes.streams, row))
            time = lanes.time[row] + np.rint(gap)
            if time >= latest_ns or (is_strict and lanes.services[row].sum() <= 0):
                continue
            drawn.window[count] = lanes.window[row]
            drawn.ordinal[count] = lanes.position[row]
            drawn.part[count] = lanes.part[row]
            drawn.start_ns[count] = time
            drawn.tokens[count] = tokens[row]
            drawn.state[count] = state[row]
            count += 1
            lanes.time[kept] = time
            lanes.position[kept] = lanes.position[row] + 1
            lanes.window[kept] = lanes.window[row]
            sequence = lanes.sequence[row]
            lanes.sequence[kept] = sequence
            lanes.streams[kept] = lanes.streams[row]
            if kept < row:
                lanes.left[kept] = lanes.left[row]
                lanes.services[kept] = lanes.services[row]
                lanes.outcomes[kept] = lanes.outcomes[row]
                lanes.large[kept] = lanes.large[row]
            left = lanes.left[kept]
            service, outcome = tokens[row, a.service_column], a.outcome[tokens[row, a.shape_column]]
            if left[service, outcome] > 0:
                left[service, outcome] -= np.float32(1)
                lanes.services[kept, service] -= np.float32(1)
                lanes.outcomes[kept, outcome] -= np.float32(1)
            responder = tokens[row, a.responder_column]
            for k in range(a.book.shape[0]):
                same = a.book[k, 0] == service and a.book[k, 1] == outcome
                if same and a.book[k, 2] == responder:
                    lanes.large[kept, k] = max(lanes.large[kept, k] - np.float32(1), np.float32(0))
            share = time / window_ns
            edges = lanes.edges[sequence]
            part = next_part(
                lanes.plans[sequence], edges, lanes.part[row], share, is_strict, left,
                lanes.services[kept], lanes.outcomes[kept],
            )  # fmt: skip
            lanes.part[kept] = part
            clock_features(time, window_ns, features)
            plan_features(lanes.services[kept], lanes.outcomes[kept], edges[part] - share, features)
            x = lanes.x[kept]
            x[:] = np.float32(0)
            for column in range(columns):
                add_to(x, a.table[a.starts[column] + tokens[row, column]])
            add_clock(x, features, a.clock, a.clock_bias)
            kept += 1
        lanes.alive[0] = kept
    return count


@compiled
def next_part(
    plan: Array,
    edges: Array,
    part: int,
    share: float,
    is_strict: bool,
    left: Array,
    services: Array,
    outcomes: Array,
) -> int:
    """Return the part that goes on, and set what is left to it where it is another.

    Args:
        plan: float32 [P, services, outcomes], of the window.
        edges: float64 [P], shares of the window at which the parts end.
        part: The part so far.
        share: Share of the window that is gone.
        is_strict: A part ends when nothing is left of it; else when its time is over.
        left: float32 [services, outcomes], what is left of the part.
        services: float32 [services], its sums.
        outcomes: float32 [outcomes].
    """
    while part < edges.size - 1 and (services.sum() <= 0 if is_strict else share > edges[part]):
        part += 1
        left[:] = plan[part]
        services[:] = 0
        outcomes[:] = 0
        for service in range(services.size):
            for outcome in range(outcomes.size):
                services[service] += left[service, outcome]
                outcomes[outcome] += left[service, outcome]
    return part
