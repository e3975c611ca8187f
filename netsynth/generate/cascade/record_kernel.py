"""Drawing records on a CPU: the loop over the records of a few flows side by side, compiled.

Every flow draws from a random stream of its own, so the result does not depend on how many threads
there are. Importing this module imports numba; `record_drawing` has the same loop through torch,
for other devices, and the tests compare.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.cascade.networks import SEEN
from netsynth.generate.cascade.pairs import Cascade
from netsynth.generate.cascade.record_arrays import RecordArrays, pack_records
from netsynth.generate.cascade.record_lanes import RecordRequest
from netsynth.generate.cascade.record_places import (
    DrawnRows,
    FlowsToDraw,
    Lanes,
    bar_kinds,
    describe,
    emit,
    enter_flow,
    enter_step,
)
from netsynth.generate.transformer.cpu_sampling import on_all_cores
from netsynth.generate.transformer.field_arrays import as_float32
from netsynth.generate.transformer.kernels import (
    LANES,
    add_to,
    compiled,
    gelu,
    linear,
    next_uniform,
    pick,
    seed_streams,
    to_weights,
)
from netsynth.numbers import Array, IntArray

STEPS_AT_ONCE = 16384


@torch.no_grad()
def draw_compiled(request: RecordRequest) -> tuple[IntArray, IntArray, Array]:
    """Draw kinds and payloads, int64 [N], and images of gaps, float32 [N]."""
    arrays = pack_records(request.cascade, request.scales, request.rules, request.maps)
    packets = np.diff(request.offsets)
    key = int(torch.randint(2**62, (1,), generator=request.random))
    windows = request.windows
    if request.cascade.g3.backbone == "lstm":
        windows = _read_steps(request.cascade, windows)
    known = torch.cat([request.cascade.given(request.conditions), request.tuples], dim=1)
    protocols = request.rules.protocols
    flows = FlowsToDraw(
        known=as_float32(known),
        windows=as_float32(windows),
        step_row=request.series.offsets[:-1],
        step_packets=np.ascontiguousarray(request.series.values[:, :2]),
        totals=request.totals,
        service=np.minimum(request.service.cpu().numpy(), arrays.map_rows.shape[0] - 1),
        protocol=torch.searchsorted(protocols, request.protocol)
        .clamp(max=protocols.numel() - 1)
        .numpy(),
        state=request.state.numpy(),
        streams=seed_streams(key, np.arange(packets.size)),
        offsets=request.offsets,
    )
    count = int(request.offsets[-1])
    drawn = DrawnRows(
        kind=np.zeros(count, dtype=np.int64),
        size_bytes=np.zeros(count, dtype=np.int64),
        gap=np.zeros(count, dtype=np.float32),
    )
    order = np.argsort(-packets, kind="stable")  # longest first: no thread ends far behind
    order = order[: np.count_nonzero(packets)]
    on_all_cores(lambda rows: draw_rows(arrays, flows, order[rows], drawn), order.size)
    return drawn.kind, drawn.size_bytes, drawn.gap


def _read_steps(cascade: Cascade, windows: Tensor) -> Tensor:
    """What a recurrent G3 makes of windows [S, W]: float32 [S, H]."""
    net = cascade.g3
    parts = [
        net.steps(windows[at : at + STEPS_AT_ONCE].view(-1, net.window, SEEN))[0][:, -1]
        for at in range(0, max(windows.shape[0], 1), STEPS_AT_ONCE)
    ]
    return torch.cat(parts)


@compiled
def draw_rows(a: RecordArrays, flows: FlowsToDraw, order: Array, drawn: DrawnRows) -> None:
    """Draw the records of the flows `order` [M], none of which is empty, into `drawn`."""
    width, kinds = a.bias.size, a.kinds_bias.size
    history = a.previous.shape[0]
    lanes = Lanes(
        np.full(LANES, -1),
        np.zeros(LANES, dtype=np.int64),
        np.zeros(LANES, dtype=np.int64),
        np.zeros((LANES, 2), dtype=np.int64),
        np.zeros((LANES, 2), dtype=np.int64),
        np.zeros((LANES, 2), dtype=np.int64),
        np.zeros(LANES, dtype=np.int64),
        np.zeros((LANES, history), dtype=np.int64),
        np.zeros((LANES, 2 * history), dtype=np.float32),
        np.zeros((LANES, width), dtype=np.float32),
        np.zeros((LANES, width), dtype=np.float32),
    )
    inputs = np.zeros((LANES, a.position.shape[0]), dtype=np.float32)
    hidden = np.zeros((LANES, width), dtype=np.float32)
    deeper = np.zeros((LANES, width), dtype=np.float32)
    logits = np.zeros((LANES, kinds), dtype=np.float32)
    finish = np.zeros((LANES, a.finish.shape[1]), dtype=np.float32)
    images = np.zeros((LANES, 2), dtype=np.float32)
    chosen = np.zeros(LANES, dtype=np.int64)
    none = np.zeros(width, dtype=np.float32)
    no_finish = np.zeros(finish.shape[1], dtype=np.float32)
    likely = np.zeros(kinds, dtype=np.uint8)
    taken, busy = 0, LANES
    while busy > 0:
        busy = 0
        for lane in range(LANES):
            if lanes.flow[lane] < 0 and taken < order.size:
                enter_flow(a, flows, lanes, lane, order[taken])
                taken += 1
            if lanes.flow[lane] >= 0:
                enters = enter_step(a, flows, lanes, lane)
                describe(a, flows, lanes, lane, enters, inputs[lane])
                busy += 1
        if busy == 0:
            break
        linear(inputs, LANES, a.position, none, hidden)
        for lane in range(LANES):
            add_to(hidden[lane], lanes.of_step[lane])
            for back in range(history):
                add_to(hidden[lane], a.previous[back, lanes.previous[lane, back]])
        gelu(hidden, LANES, width)
        for layer in range(a.deeper.shape[0]):
            linear(hidden, LANES, a.deeper[layer], a.deeper_bias[layer], deeper)
            gelu(deeper, LANES, width)
            hidden[:] = deeper
        linear(hidden, LANES, a.kinds, a.kinds_bias, logits)
        linear(hidden, LANES, a.finish, no_finish, finish)
        for lane in range(LANES):
            if lanes.flow[lane] >= 0:
                bar_kinds(a, flows, lanes, lane, logits[lane], likely)
                to_weights(logits[lane], kinds)
                stream = flows.streams[lanes.flow[lane] : lanes.flow[lane] + 1]
                chosen[lane] = pick(logits[lane], kinds, next_uniform(stream, 0))
                add_to(finish[lane], a.finish_kind[chosen[lane]])
        gelu(finish, LANES, finish.shape[1])
        linear(finish, LANES, a.numbers, a.numbers_bias, images)
        for lane in range(LANES):
            if lanes.flow[lane] >= 0:
                emit(a, flows, lanes, lane, chosen[lane], images[lane], drawn)
