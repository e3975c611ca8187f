"""Series that a generator drew as active steps that meet their flow's totals, answer and reply."""

from __future__ import annotations

import numpy as np

from netsynth.dataset import SeriesDataset
from netsynth.generate.sharing import share_out
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.series_drawing import wait_for_replies
from netsynth.numbers import FloatArray, IntArray

LEAST = 1e-3  # weight of a step in which nothing was drawn, and something must be


def first_and_spans(
    flows: DrawnFlows, totals: DrawnTotals, *, window_ns: int, step_count: int
) -> tuple[IntArray, IntArray]:
    """First step of each flow, and steps to its last one, both counted: int64 [F] each."""
    scale = step_count / window_ns
    start = flows.start_ns.cpu().numpy()
    end = start + totals.duration_ns.cpu().numpy()
    first = np.clip((start * scale).astype(np.int64), 0, step_count - 1)
    last = np.clip((end * scale).astype(np.int64), 0, step_count - 1)
    return first, last - first + 1


def draw_steps(
    drawn: SeriesDataset,
    first: IntArray,
    spans: IntArray,
    flows: DrawnFlows,
    totals: DrawnTotals,
    *,
    window_ns: int,
    step_count: int,
    rng: np.random.Generator,
) -> DrawnSeries:
    """Turn series into active steps.

    The first and the last step of a flow are active, and of those between them the ones in which
    most packets were drawn, as many as there are packets for. What was drawn shares out the
    totals, by weight.

    Args:
        drawn: Packets and bytes (SERIES_CHANNELS) of each step of F flows.
        first: int64 [F], first step.
        spans: int64 [F]; series may be shorter.
        flows: F flows.
        totals: Theirs.
        window_ns: Length of a window.
        step_count: Steps in it.
        rng: Source of randomness.
    """
    amounts = totals.packets_and_bytes.cpu().numpy()
    flow, place, weights = _active_steps(drawn, spans, amounts[:, :2].sum(axis=1), rng)
    offsets = np.searchsorted(flow, np.arange(first.size + 1)).astype(np.int64)
    values = share_out(weights, amounts, offsets, rng=rng)
    scale = step_count / window_ns
    start = flows.start_ns.cpu().numpy()
    answer, reply = (t.cpu().numpy() for t in (totals.answer_ns, totals.reply_ns))
    last = first + spans - 1
    due = np.minimum(((start + np.maximum(answer, 0)) * scale).astype(np.int64), last)
    series = _Steps(flow, place + first[flow], values)
    series.hold_back(due, answer >= 0)
    series.bring(first, 0, np.ones_like(first), amounts[:, 0] > 0)
    series.bring(due, 1, np.ones_like(first), (answer >= 0) & (amounts[:, 1] > 0))
    waited = wait_for_replies(
        series.drawn(first.size), flows, totals, scale=scale, step_count=step_count
    )
    steps = np.repeat(np.arange(first.size), np.diff(waited.offsets))
    series = _Steps(steps, waited.step, waited.values)
    later = (start + np.maximum(answer, 0) + np.maximum(reply, 0)) * scale
    late = np.minimum(later.astype(np.int64), last)
    needed = 1 + (late == first)  # the flow's first packet and the reply may share a step
    series.bring(late, 0, needed, (answer >= 0) & (reply > 0) & (amounts[:, 0] > 1))
    return series.drawn(first.size)


def _active_steps(
    drawn: SeriesDataset, spans: IntArray, packets: IntArray, rng: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    """Flow [S] and place [S] of active steps, and what was drawn in each, float64 [S, 4]."""
    flow, place, weights = drawn.sample_of_record, drawn.step_of_record, drawn.values
    short = np.flatnonzero(drawn.lengths < spans)  # the last step lies behind what was drawn
    flow = np.concatenate([flow, short])
    place = np.concatenate([place, spans[short] - 1])
    weights = np.concatenate([weights, np.zeros((short.size, weights.shape[1]))]) + LEAST
    score = weights[:, :2].sum(axis=1) * rng.random(flow.size)
    ends = (place == 0) | (place == spans[flow] - 1)
    # of an end with one packet alone, the start counts
    score = np.where(ends, np.inf, score)
    score[ends & (place > 0)] = np.finfo(np.float64).max
    idle = ~ends & (weights[:, :2].sum(axis=1) < 0.5)
    order = np.lexsort((-score, idle, flow))
    begins = np.searchsorted(flow[order], np.arange(spans.size))
    rank = np.arange(flow.size) - begins[flow[order]]
    kept = order[(rank < packets[flow[order]]) & ~idle[order]]
    kept = kept[np.lexsort((place[kept], flow[kept]))]
    return flow[kept], place[kept], weights[kept]


class _Steps:
    """Rows (flow, step, amounts) that packets are moved between; sorted by flow and step."""

    def __init__(self, flow: IntArray, step: IntArray, values: IntArray) -> None:
        self.flow, self.step, self.values = flow, step, values

    def hold_back(self, due: IntArray, answered: np.ndarray) -> None:
        """Move packets of the responder from before its answer is due [F] to that step."""
        early = np.flatnonzero(
            answered[self.flow] & (self.step < due[self.flow]) & (self.values[:, 1] > 0)
        )
        self._move(early, due[self.flow[early]], 1, self.values[early, 1])

    def bring(self, wanted: IntArray, way: int, needed: IntArray, asked: np.ndarray) -> None:
        """See that `needed` [F] packets of direction `way` come in step `wanted` [F].

        Where flows `asked` [F] have fewer there, one comes from the nearest step behind it, else
        from the nearest before it, that can spare it.
        """
        there = self.step == wanted[self.flow]
        held = np.bincount(self.flow[there], self.values[there, way], minlength=wanted.size).astype(
            np.int64
        )
        lacking = asked & (held < needed)
        spare = lacking[self.flow] & ~there & (self.values[:, way] > 0)
        rows = np.flatnonzero(spare)
        away = self.step[rows] - wanted[self.flow[rows]]
        order = rows[np.lexsort((np.abs(away), away < 0, self.flow[rows]))]
        _, nearest = np.unique(self.flow[order], return_index=True)
        chosen = order[nearest]
        self._move(chosen, wanted[self.flow[chosen]], way, np.ones(chosen.size, dtype=np.int64))

    def _move(self, rows: IntArray, step: IntArray, way: int, packets: IntArray) -> None:
        """Move `packets` [M] of direction `way`, and their share of bytes, to `step` [M]."""
        if rows.size == 0:
            return
        taken = np.zeros((rows.size, 4), dtype=np.int64)
        had = self.values[rows]
        taken[:, way] = packets
        taken[:, 2 + way] = np.ceil(had[:, 2 + way] * (packets / had[:, way])).astype(np.int64)
        self.values = self.values.copy()
        self.values[rows] -= taken
        flow = np.concatenate([self.flow, self.flow[rows]])
        steps = np.concatenate([self.step, step])
        values = np.concatenate([self.values, taken])
        some = values[:, :2].sum(axis=1) > 0
        flow, steps, values = flow[some], steps[some], values[some]
        order = np.lexsort((steps, flow))
        flow, steps = flow[order], steps[order]
        new = np.ones(flow.size, dtype=np.bool_)
        new[1:] = (np.diff(flow) != 0) | (np.diff(steps) != 0)
        first = np.flatnonzero(new)
        self.flow, self.step = flow[first], steps[first]
        self.values = np.add.reduceat(values[order], first, axis=0)

    def drawn(self, flow_count: int) -> DrawnSeries:
        """Return the rows as DrawnSeries of `flow_count` flows."""
        offsets = np.searchsorted(self.flow, np.arange(flow_count + 1)).astype(np.int64)
        return DrawnSeries(offsets=offsets, step=self.step, values=self.values)
