"""Drawing the active steps of flows, all at once."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils import parametrize

from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.excess import share_excess
from netsynth.generate.transformer.series_level import ALONE, BOTH, KEEPS, SeriesLevel
from netsynth.numbers import IntArray

RETRANSMITTED_NS = 0.9e9  # a SYN is repeated no sooner: RFC 6298 asks for a second
FEW = 16  # packets of a flow that asks and answers, and does not stream


@torch.no_grad()
@parametrize.cached()  # rows are mixed once, see neighbours
def draw_series(
    level: SeriesLevel,
    flows: DrawnFlows,
    totals: DrawnTotals,
    *,
    window_ns: int,
    step_count: int,
    random: torch.Generator,
) -> DrawnSeries:
    """Draw the active steps of each flow."""
    scale = step_count / window_ns
    start, end = flows.start_ns * scale, (flows.start_ns + totals.duration_ns) * scale
    first = start.long().clamp(0, step_count - 1)
    last = end.long().clamp(0, step_count - 1)
    vectors = [torch.zeros(0, level.flow.in_features, device=first.device)]
    for at in range(0, first.numel(), 16384):
        piece = slice(at, at + 16384)
        room, reach = 1 - start[piece] % 1, end[piece] % 1
        vectors.append(level.flow_vector(flows.tokens[piece], room, reach))
    vector = torch.cat(vectors)
    room_ns = (first + 1) / scale - flows.start_ns
    row, step, values = level.sample(
        vector,
        totals.packets_and_bytes,
        first,
        last,
        opening=openings(totals, room_ns),
        random=random,
    )
    rows, steps = row.cpu().numpy(), step.cpu().numpy()
    order = np.lexsort((steps, rows))
    offsets = np.searchsorted(rows[order], np.arange(first.numel() + 1)).astype(np.int64)
    amounts = share_excess(offsets, values.cpu().numpy()[order])
    drawn = DrawnSeries(offsets=offsets, step=steps[order], values=amounts)
    drawn = hold_handshakes(drawn, level, flows, totals, scale=scale, step_count=step_count)
    return wait_for_replies(drawn, flows, totals, scale=scale, step_count=step_count)


def openings(totals: DrawnTotals, room_ns: torch.Tensor) -> torch.Tensor:
    """Who sends in the first step of each flow, which has `room_ns` [F] left: int64 [F]."""
    alone = totals.answer_ns >= room_ns
    return torch.where(alone, torch.where(totals.reply_ns >= 0, KEEPS, ALONE), BOTH)


def hold_handshakes(
    series: DrawnSeries,
    level: SeriesLevel,
    flows: DrawnFlows,
    totals: DrawnTotals,
    *,
    scale: float,
    step_count: int,
) -> DrawnSeries:
    """Move packets of TCP flows that were drawn before the SYN-ACK, the SYN apart, behind it.

    Nothing but the SYN can come before, and it is not repeated within RETRANSMITTED_NS. Data that
    was drawn with it goes to the initiator's next packets, where there are some.

    Args:
        series: As drawn.
        level: Tells which flows begin with a SYN.
        flows: F flows.
        totals: Their answers and replies.
        scale: Steps a ns.
        step_count: Steps of a window.

    References:
        RFC 6298 section 2; RFC 9293 section 3.5.
    """
    if series.step.size == 0:
        return series
    start, answer, reply = (
        t.cpu().numpy() for t in (flows.start_ns, totals.answer_ns, totals.reply_ns)
    )
    held = level.begins_with_syn(flows.tokens).cpu().numpy()
    held &= (answer >= 0) & (answer < RETRANSMITTED_NS)
    answered = ((start + np.maximum(answer, 0)) * scale).astype(np.int64)
    due = ((start + np.maximum(answer, 0) + np.maximum(reply, 0)) * scale).astype(np.int64)
    answered, due = (np.minimum(step, step_count - 1) for step in (answered, due))
    flow = np.repeat(np.arange(start.size), np.diff(series.offsets))
    early = np.flatnonzero(held[flow] & (series.step < answered[flow]))
    opens = early[early == series.offsets[:-1][flow[early]]]
    step, values = series.step.copy(), series.values.copy()
    step[early] = due[flow[early]]
    step[opens] = series.step[opens]
    _hand_data_on(values, series.offsets[1:][flow[opens]], opens)
    rest = values[opens] - np.array([1, 0, 0, 0])
    rest[rest[:, 0] == 0, 2] = 0  # no other packet could have it
    more = (rest[:, :2].sum(axis=1) > 0) & (rest >= 0).all(axis=1)
    values[opens[more]] -= rest[more]
    moved = opens[more]
    merged = _merged(
        np.concatenate([flow, flow[moved]]),
        np.concatenate([step, due[flow[moved]]]),
        np.concatenate([values, rest[more]]),
        start.size,
    )
    for way, when in ((1, answered), (0, due)):
        late = held if way else held & (reply >= 0)
        merged = _bring(merged, np.flatnonzero(late), way, when)
    return merged


def _hand_data_on(values: IntArray, ends: IntArray, opens: IntArray) -> None:
    """Have lone SYNs, in the rows `opens` [M], pass their data on in `values` [S, 4].

    The first row behind it with a packet of the initiator takes it, if the flow, which ends at
    `ends` [M], has one.
    """
    lone = (values[opens, 0] == 1) & (values[opens, 2] > 0)
    opens, ends = opens[lone], ends[lone]
    sends = np.append(np.flatnonzero(values[:, 0] > 0), values.shape[0])
    behind = sends[np.searchsorted(sends, opens, side="right")]
    opens, behind = opens[behind < ends], behind[behind < ends]
    values[behind, 2] += values[opens, 2]
    values[opens, 2] = 0


def _bring(series: DrawnSeries, rows: IntArray, way: int, when: IntArray) -> DrawnSeries:
    """Bring a packet of a direction from the flows' next steps with one to the steps `when` [F].

    It has no data, unless all of those steps have one packet with data. Of the initiator's packets
    in the flow's first step one stays.
    """
    flow = np.repeat(np.arange(when.size), np.diff(series.offsets))
    wanted = np.zeros(when.size, dtype=np.bool_)
    wanted[rows] = True
    spare = series.values[:, way].copy()
    if way == 0:
        spare[series.offsets[:-1][np.diff(series.offsets) > 0]] -= 1
    has = (series.step == when[flow]) & (spare > 0)
    wanted[flow[has]] = False
    source = np.flatnonzero(wanted[flow] & (series.step > when[flow]) & (spare > 0))
    if source.size == 0:
        return series
    values = series.values.copy()
    with_data = (values[source, way] == 1) & (values[source, 2 + way] > 0)
    source = source[np.lexsort((with_data, flow[source]))]
    source = source[np.diff(flow[source], prepend=-1) != 0]  # the best of each flow
    brought = np.zeros((source.size, 4), dtype=values.dtype)
    brought[:, way] = 1
    alone = values[source, way] == 1
    brought[alone, 2 + way] = values[source[alone], 2 + way]
    values[source] -= brought
    some = values[:, :2].sum(axis=1) > 0
    return _merged(
        np.concatenate([flow[some], flow[source]]),
        np.concatenate([series.step[some], when[flow[source]]]),
        np.concatenate([values[some], brought]),
        when.size,
    )


def _merged(flow: IntArray, step: IntArray, values: IntArray, flow_count: int) -> DrawnSeries:
    """Series of steps [S] in any order, those of a flow that are the same put together."""
    order = np.lexsort((step, flow))
    flow, step = flow[order], step[order]
    begins = np.ones(flow.size, dtype=np.bool_)
    begins[1:] = (np.diff(flow) != 0) | (np.diff(step) != 0)
    first = np.flatnonzero(begins)
    return DrawnSeries(
        offsets=np.searchsorted(flow[first], np.arange(flow_count + 1)).astype(np.int64),
        step=step[first],
        values=np.add.reduceat(values[order], first, axis=0),
    )


def wait_for_replies(
    series: DrawnSeries,
    flows: DrawnFlows,
    totals: DrawnTotals,
    *,
    scale: float,
    step_count: int,
) -> DrawnSeries:
    """Move packets of flows that were drawn before the reply to the reply's step.

    Those between the answer and the reply: whoever asked says nothing more before the reply is
    due; and in a flow of a few packets, nor does whoever answered (a resolver asked again after
    minutes). And a packet of the initiator, if none would be left for the reply (a handshake that
    is acknowledged before the SYN-ACK came); an answer behind all of its packets comes when due.

    Args:
        series: As drawn.
        flows: F flows.
        totals: Their answers and replies.
        scale: Steps a ns.
        step_count: Steps of a window.
    """
    if series.step.size == 0:
        return series
    start, answer = flows.start_ns.cpu().numpy(), totals.answer_ns.cpu().numpy()
    reply = totals.reply_ns.cpu().numpy()
    due = np.minimum(((start + answer + reply) * scale).astype(np.int64), step_count - 1)
    answered = ((start + np.maximum(answer, 0)) * scale).astype(np.int64)
    flow = np.repeat(np.arange(start.size), np.diff(series.offsets))
    step, values, flow = _keep_replies(series, flow, answered, due, reply >= 0)
    early = (step > answered[flow]) & (step < due[flow]) & (reply[flow] > 0)
    few = totals.packets_and_bytes[:, :2].sum(1).cpu().numpy() <= FEW
    early &= (values[:, 0] > 0) | few[flow]
    step = np.where(early, due[flow], step)
    if step.size == series.step.size and (step == series.step).all():
        return series
    return _merged(flow, step, values, start.size)


def _keep_replies(
    series: DrawnSeries,
    flow: IntArray,
    answered: IntArray,
    due: IntArray,
    replies: NDArray[np.bool_],
) -> tuple[IntArray, IntArray, IntArray]:
    """Leave a packet of the initiator for its reply, where it has more than the first step's.

    Args:
        series: As drawn, of F flows.
        flow: Flow of each step, int64 [S].
        answered: Step of the answer, int64 [F].
        due: Step of the reply, int64 [F].
        replies: Whether one comes, bool [F].

    Returns:
        Steps [S'], values [S', 4] and flows [S'], unsorted; as they are where all is well.
    """
    rows, begins = np.arange(flow.size), series.offsets[:-1]
    first = np.minimum.reduceat(np.where(series.values[:, 1] > 0, rows, flow.size), begins)
    last = np.maximum.reduceat(np.where(series.values[:, 0] > 0, rows, -1), begins)
    soon = np.flatnonzero((last > begins) & (series.step[last] < due) & replies)
    if soon.size == 0:
        return series.step, series.values, flow
    step, values = series.step.copy(), series.values.copy()
    late = soon[(first[soon] < flow.size) & (last[soon] < first[soon])]
    step[first[late]] = np.minimum(
        step[first[late]], np.maximum(answered[late], step[begins[late]])
    )
    source = last[soon]
    kept = np.zeros((soon.size, 4), dtype=values.dtype)
    kept[:, 0] = 1
    kept[:, 2] = values[source, 2] // values[source, 0]
    values[source] -= kept
    some = values[:, :2].sum(axis=1) > 0
    return (
        np.concatenate([step[some], due[soon]]),
        np.concatenate([values[some], kept]),
        np.concatenate([flow[some], soon]),
    )
