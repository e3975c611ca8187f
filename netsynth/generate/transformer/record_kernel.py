"""The record level on a CPU: packet after packet of a few flows at a time, compiled.

What a record may be is decided as `RecordLevel.sample` does; parts that are known (the length of
a packet without payload, the gap of a first packet, the window of a datagram) ask no network.
"""

from __future__ import annotations

import numpy as np

from netsynth.generate.transformer.gap_kernel import draw_gaps
from netsynth.generate.transformer.kernels import (
    add_share_from,
    borrowing,
    compiled,
)
from netsynth.generate.transformer.part_kernel import (
    draw_part,
    is_asked,
    part_logits,
    row_behind,
    tell_token,
)
from netsynth.generate.transformer.record_arrays import (
    PARTS,
    SIZE,
    TRACES,
    RecordArrays,
)
from netsynth.generate.transformer.record_context_kernel import (
    embed_context,
    mix_states,
    per_delay_token,
)
from netsynth.generate.transformer.record_lanes import (
    FLOWS,
    DrawnRows,
    FlowsToDraw,
    Lanes,
)
from netsynth.generate.transformer.record_level import (
    GAP,
    KIND,
    LENGTH,
    RETRIED,
    RETRIES,
    WINDOW,
)
from netsynth.generate.transformer.unheard import hear
from netsynth.numbers import Array
from netsynth.tcp_windows import ADD, NOT_SET, SET

END = 16  # packets before a flow's end that are drawn again where it strays


def draw_rows(
    a: RecordArrays,
    flows: FlowsToDraw,
    queue: Array,
    count_bucket: Array,
    step_ns: float,
    drawn: DrawnRows,
    *,
    retries: int = RETRIES,
) -> None:
    """Draw the records of the flows `queue` into `drawn`.

    Args:
        a: The record level.
        flows: Of which some are drawn.
        queue: int64 [Q], rows of `flows`; those with most packets first save time.
        count_bucket: int64, bucket of 0, 1, 2 .. packets, the last for all above.
        step_ns: Length of a step.
        drawn: Filled at the places of those flows.
        retries: How often a flow is drawn again that does not end as its tokens say.
    """
    lanes, ends = _make_lanes(a), _make_lanes(a)
    _draw_rows(a, lanes, ends, flows, queue, count_bucket, step_ns, drawn, retries)


def _make_lanes(a: RecordArrays) -> Lanes:
    """Lanes without flows."""
    width = a.flow_bias.size
    return Lanes(
        flow=np.full(FLOWS, -1),
        position=np.zeros(FLOWS, dtype=np.int64),
        owed=np.zeros(FLOWS, dtype=np.int64),
        left=np.zeros((FLOWS, 2), dtype=np.int64),
        bytes_left=np.zeros((FLOWS, 2), dtype=np.int64),
        step_left=np.zeros((FLOWS, 2), dtype=np.int64),
        step_bytes=np.zeros((FLOWS, 2), dtype=np.int64),
        row=np.zeros(FLOWS, dtype=np.int64),
        time=np.zeros(FLOWS),
        due=np.zeros(FLOWS),
        due_reply=np.zeros(FLOWS, dtype=np.int64),
        first_reverse=np.zeros(FLOWS, dtype=np.int64),
        low=np.zeros(FLOWS),
        high=np.zeros(FLOWS),
        windows=np.zeros((FLOWS, 2), dtype=np.int64),
        lengths=np.zeros((FLOWS, 2), dtype=np.int64),
        unheard=np.zeros((FLOWS, 2), dtype=np.int64),
        history=np.zeros((FLOWS, *a.history.shape), dtype=np.int64),
        base=np.zeros((FLOWS, width), dtype=np.float32),
        token=np.zeros((FLOWS, PARTS), dtype=np.int64),
        gap=np.zeros(FLOWS),
        size=np.zeros(FLOWS, dtype=np.int64),
        tries=np.zeros(FLOWS, dtype=np.int64),
        strays=np.zeros(FLOWS, dtype=np.int64),
    )


@compiled
def _draw_rows(
    a: RecordArrays,
    lanes: Lanes,
    ends: Lanes,
    flows: FlowsToDraw,
    queue: Array,
    count_bucket: Array,
    step_ns: float,
    drawn: DrawnRows,
    retries: int,
) -> None:
    """Draw record after record; a lane whose flow is done takes the next of the queue.

    `ends` holds each lane as it was END packets before its flow ends.
    """
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
                lanes.tries[place] = 0
                waiting += 1
            if lanes.flow[place] >= 0:
                lane[rows] = place
                embed_context(
                    a, lanes, place, flows, drawn.time_ns, count_bucket, step_ns, state[rows]
                )
                rows += 1
        if rows == 0:
            return
        mix_states(a, state, rows)
        for part in (KIND, LENGTH, GAP, WINDOW):
            count = 0
            for row in range(rows):
                if is_asked(a, lanes, lane[row], flows, part):
                    asked[count] = row
                    count += 1
            if part == GAP:
                draw_gaps(a, lanes, lane, asked, count, flows, state)
            else:
                logits = part_logits(a, part, state, asked, count)
                for i in range(count):
                    draw_part(a, lanes, lane[asked[i]], flows, part, logits[i], share)
            if part != WINDOW:
                for row in range(rows):
                    tell_token(a, lanes, lane[row], part, state[row])
        for row in range(rows):
            _finish(a, lanes, ends, lane[row], flows, drawn, retries)


@borrowing
def _begin(a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, flow: int) -> None:
    """Put a flow into a lane."""
    lanes.flow[place] = flow
    lanes.position[place] = 0
    lanes.owed[place] = a.shape_state[flows.shape[flow]]
    for way in range(2):
        lanes.left[place, way] = flows.totals[flow, way]
        lanes.bytes_left[place, way] = flows.totals[flow, 2 + way]
        lanes.step_left[place, way] = flows.values[flows.series_offsets[flow], way]
        lanes.step_bytes[place, way] = flows.values[flows.series_offsets[flow], 2 + way]
    lanes.row[place] = flows.series_offsets[flow]
    lanes.time[place] = flows.start_ns[flow]
    delay = flows.delays[flow, 0]
    lanes.due[place] = -1.0 if delay < 0 else flows.start_ns[flow] + delay
    lanes.due_reply[place] = 0
    lanes.first_reverse[place] = 0
    lanes.windows[place] = NOT_SET
    lanes.lengths[place] = 0
    lanes.unheard[place] = 0
    lanes.history[place] = 0
    lanes.strays[place] = 0
    base, bias = lanes.base[place], a.flow_bias
    for j in range(base.size):
        base[j] = bias[j]
    for i in range(a.flow.size // base.size):
        add_share_from(base, a.flow, i * base.size, flows.vector[flow, i])


@borrowing
def _finish(
    a: RecordArrays,
    lanes: Lanes,
    ends: Lanes,
    place: int,
    flows: FlowsToDraw,
    drawn: DrawnRows,
    retries: int,
) -> None:
    """Write a record down and move its lane on; begin the flow or its end again where that is
    otherwise than its tokens say, or than flows are."""
    flow, token = lanes.flow[place], lanes.token[place]
    position = lanes.position[place]
    way = int(a.kind_reverse[token[KIND]])
    lanes.owed[place] &= ~a.kind_state[token[KIND]]
    if position == 0:
        lanes.first_reverse[place] = way
    lanes.left[place, way] -= 1
    lanes.step_left[place, way] = max(lanes.step_left[place, way] - 1, 0)
    lanes.step_bytes[place, way] -= lanes.size[place]
    lanes.bytes_left[place, way] -= lanes.size[place]
    lanes.time[place] += lanes.gap[place]
    if a.windows[token[WINDOW], SET] != NOT_SET:
        lanes.windows[place, way] = a.windows[token[WINDOW], SET]
    elif lanes.windows[place, way] != NOT_SET:
        lanes.windows[place, way] += a.windows[token[WINDOW], ADD]
    if a.kind_payload[token[KIND]] > 0:
        lanes.lengths[place, way] = token[LENGTH] + 1
    hear(lanes.unheard[place], way, a.kind_brings[token[KIND]], a.kind_ack_class[token[KIND]])
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
    left = flows.offsets[flow + 1] - at - 1
    if left == END:
        lanes.strays[place] = 0
        _copy_lane(lanes, ends, place)
    if left > 0:
        return
    vain = (lanes.tries[place] + 1) * min(position + 1, END)
    again = lanes.tries[place] < retries and vain <= RETRIED
    if not (again and _strays(a, lanes, place, flows, flow)):
        lanes.flow[place] = -1
        return
    lanes.tries[place] += 1
    lanes.strays[place] = 0
    if position >= END:
        _copy_lane(ends, lanes, place)
    else:
        _begin(a, lanes, place, flows, flow)


@borrowing
def _copy_lane(source: Lanes, target: Lanes, place: int) -> None:
    """Copy where a flow is."""
    target.flow[place] = source.flow[place]
    target.position[place] = source.position[place]
    target.owed[place] = source.owed[place]
    target.row[place] = source.row[place]
    target.time[place] = source.time[place]
    target.due[place] = source.due[place]
    target.due_reply[place] = source.due_reply[place]
    target.first_reverse[place] = source.first_reverse[place]
    for way in range(2):
        target.left[place, way] = source.left[place, way]
        target.bytes_left[place, way] = source.bytes_left[place, way]
        target.step_left[place, way] = source.step_left[place, way]
        target.step_bytes[place, way] = source.step_bytes[place, way]
        target.windows[place, way] = source.windows[place, way]
        target.lengths[place, way] = source.lengths[place, way]
        target.unheard[place, way] = source.unheard[place, way]
    for back in range(source.history.shape[1]):
        for column in range(TRACES):
            target.history[place, back, column] = source.history[place, back, column]


@borrowing
def _strays(a: RecordArrays, lanes: Lanes, place: int, flows: FlowsToDraw, flow: int) -> bool:
    """Tell whether a flow that is over left bytes or flags over, has a kind of packet that never
    comes there, or ends as none does; see `record_level.strays`."""
    stray = lanes.owed[place] != 0 or lanes.strays[place] != 0
    seen = row_behind(a, lanes, place, flows.service[flow])
    stray = stray or (seen >= 0 and a.kind_rows[seen, a.kind_reverse.size] == 0)
    for way in range(2):
        stray = stray or (flows.exact[flow, way] and lanes.bytes_left[place, way] != 0)
    return bool(stray)


@borrowing
def _set_due(lanes: Lanes, place: int, answers: int, reply: float) -> None:
    """Note that a record came: what is due next?"""
    replies = lanes.due_reply[place]
    came = lanes.due[place] >= 0 and answers != replies
    if came:
        lanes.due[place] = -1.0 if replies or reply < 0 else lanes.time[place] + reply
    lanes.due_reply[place] = 1 if (replies or came) and lanes.due[place] >= 0 else 0
