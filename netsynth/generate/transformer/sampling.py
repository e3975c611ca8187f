"""Drawing windows: flows one after the other, then their details, series and records at once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.excess import share_excess
from netsynth.generate.transformer.flow_level import FlowLevel, clock_features
from netsynth.generate.transformer.limits import shortest_ns
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.pace import LATE, run_ns
from netsynth.generate.transformer.plan import Left, fit_to_parts
from netsynth.generate.transformer.record_data import around_rows
from netsynth.generate.transformer.record_level import RECENT, WINDOW, RecordContext, RecordLevel
from netsynth.generate.transformer.series_level import SeriesLevel
from netsynth.generate.transformer.time_room import TimeRoom
from netsynth.numbers import Array, IntArray
from netsynth.steps import REST
from netsynth.tables import TokenField

FEW = 16  # packets of a flow that asks and answers, and does not stream
LATEST = 4  # windows after which a plan is given up, a guard


@dataclass(slots=True)
class DrawnFlows:
    """Flows of W windows, in order of (window, start)."""

    window: Tensor  # int64 [F]
    start_ns: Tensor  # float64 [F]
    tokens: Tensor  # int64 [F, K]

    def take(self, rows: slice | Tensor) -> DrawnFlows:
        """Return the flows `rows`."""
        return DrawnFlows(
            window=self.window[rows], start_ns=self.start_ns[rows], tokens=self.tokens[rows]
        )


@torch.no_grad()
def draw_flows(
    level: FlowLevel,
    *,
    window_count: int,
    window_ns: int,
    random: torch.Generator,
    allowed: dict[str, Tensor] | None = None,
    flow_limit: int,
) -> DrawnFlows:
    """Draw the flows of windows, all windows side by side.

    Args:
        level: The trained flow level.
        window_count: Windows to draw.
        window_ns: Their length.
        random: Source of randomness.
        allowed: Tokens that a column may take, bool [size] by name of the column.
        flow_limit: Most flows a window may have, a guard against a model that never ends.
    """
    device = level.begin.device
    cache = level.transformer.start()
    plans, binds = level.plans.under(level.plans.draw(window_count, random), allowed or {})
    left = Left(level.plans, plans, strict=binds)
    latest_ns = window_ns * LATEST if left.strict else window_ns
    time = torch.zeros(window_count, dtype=torch.float64, device=device)
    rows = torch.arange(window_count, device=device)

    def situation() -> Tensor:
        return torch.cat([clock_features(time, window_ns), left.features(time / window_ns)], dim=1)

    x = level.begin + level.clock(situation())
    none = torch.zeros(window_count, 0, dtype=torch.int64, device=device)
    found: list[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]] = []
    for _ in range(flow_limit):
        state = level.transformer.step(x, cache)
        skeleton = level.skeleton.sample(
            state, none, random=random, allowed=allowed, room=left.room
        )
        time = time + level.gap.draw(skeleton[:, 0], random).round()
        go = torch.nonzero((time < latest_ns) & ~left.over())[:, 0]
        if go.numel() < rows.numel():
            rows, time, state, skeleton = rows[go], time[go], state[go], skeleton[go]
            none = none[: go.numel()]
            cache.keep(go)
            left.keep(go)
            if rows.numel() == 0:
                break
        found.append((rows, left.part, time, skeleton, state))
        left.take(level.plans.classes(skeleton), time / window_ns)
        x = level.inputs(skeleton, situation())
    if not found:
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        tokens = torch.zeros(0, len(level.fields), dtype=torch.int64, device=device)
        return DrawnFlows(window=empty, start_ns=empty.double(), tokens=tokens)
    drawn = [torch.cat(column) for column in zip(*found, strict=True)]
    order = torch.argsort(drawn[0], stable=True)
    window, part, start, skeleton, state = (column[order] for column in drawn)
    if left.strict:
        start = fit_to_parts(window, part, start, plans.spans * window_ns)
    parts = []
    for at in range(0, window.numel(), 16384):
        piece = slice(at, at + 16384)
        hidden = level.detail_state(
            state[piece], skeleton[piece], clock_features(start[piece], window_ns)
        )
        times = TimeRoom(level.fields, (window_ns - 1 - start[piece]).clamp(min=0))
        parts.append(
            level.details.sample(
                hidden, skeleton[piece], random=random, allowed=allowed, room=times.room
            )
        )
    return DrawnFlows(
        window=window, start_ns=start, tokens=torch.cat([skeleton, torch.cat(parts)], dim=1)
    )


@dataclass(slots=True)
class DrawnTotals:
    """Numbers drawn from the flow tokens."""

    packets_and_bytes: Tensor  # int64 [F, 4]
    answer_ns: Tensor  # float64 [F], from the first packet to the answer; -1 where none comes
    reply_ns: Tensor  # float64 [F], from that to the reply; -1 where none comes
    duration_ns: Tensor  # float64 [F]
    longest_ns: Tensor  # float64 [F], most that the duration's token may stand for

    def take(self, rows: slice | Tensor) -> DrawnTotals:
        """Return the totals of the flows `rows`."""
        return DrawnTotals(
            packets_and_bytes=self.packets_and_bytes[rows],
            answer_ns=self.answer_ns[rows],
            reply_ns=self.reply_ns[rows],
            duration_ns=self.duration_ns[rows],
            longest_ns=self.longest_ns[rows],
        )


class FlowNumbers(Protocol):
    """What the tokens of flows stand for."""

    @property
    def fields(self) -> tuple[TokenField, ...]:
        """Columns of the flows."""

    @property
    def fastest(self) -> Tensor:
        """Largest throughputs, see `limits.fastest_rates`."""

    def number(self, name: str) -> NumberTable:
        """Return what the tokens of the column `name` stand for."""


def draw_lasting_ns(token: Tensor, room_ns: Tensor, random: torch.Generator) -> Tensor:
    """Draw how long flows last that go on until the window ends: float64 [F] ns.

    Args:
        token: int64 [F], of the column "duration"; only those of REST's classes matter.
        room_ns: float64 [F], from their starts to the window's end.
        random: Source of randomness.
    """
    edges = torch.as_tensor(REST, device=token.device)
    place = (token - 1).clamp(0, REST.size - 2)
    uniform = torch.rand(token.shape, generator=random, device=token.device, dtype=torch.float64)
    rest = edges[place] + (edges[place + 1] - edges[place]) * uniform
    return (1 - rest) * room_ns


@torch.no_grad()
def draw_totals(
    level: FlowNumbers,
    flows: DrawnFlows,
    *,
    window_ns: int,
    largest_payload: int,
    random: torch.Generator,
) -> DrawnTotals:
    """Draw packets, bytes and duration of each flow from its tokens, and make them agree."""
    place = {f.name: i for i, f in enumerate(level.fields)}
    totals = torch.stack(
        [
            level.number(name).draw(flows.tokens[:, place[name]], random).round().long()
            for name in ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse")
        ],
        dim=1,
    )
    answer_token, reply_token, stretch_token, alone_token = (
        flows.tokens[:, place[name]] for name in ("answer", "reply", "stretch", "duration")
    )
    answer, reply, stretch, alone = (
        level.number(name).draw((token - first).clamp(min=0), random)
        for name, token, first in (
            ("answer", answer_token, 1),
            ("reply", reply_token, 1),
            ("stretch", stretch_token, 1),
            ("duration", alone_token, REST.size),
        )
    )
    reply = reply.masked_fill(reply_token == 0, 0.0)
    none = totals[:, 0] + totals[:, 1] == 0
    totals[none, 0] = 1
    totals[:, 2:] = torch.minimum(totals[:, 2:], totals[:, :2] * largest_payload)
    trip = answer.masked_fill(answer_token == 0, 0.0) + reply
    tables = level.number("stretch"), level.number("duration")
    longest = torch.where(
        stretch_token > 0,
        trip * tables[0].rows[(stretch_token - 1).clamp(min=0), -1],
        tables[1].rows[(alone_token - REST.size).clamp(min=0), -1],
    )
    duration = torch.where(stretch_token > 0, trip * stretch, torch.maximum(alone, trip))
    duration = torch.maximum(duration, shortest_ns(totals, level.fastest))
    longest = longest * LATE
    room = (window_ns - 1 - flows.start_ns).clamp(min=0)
    until_end = (alone_token > 0) & (alone_token < REST.size) & (stretch_token == 0)
    lasting = draw_lasting_ns(alone_token, room, random)
    duration = torch.where(until_end, torch.maximum(lasting, trip), duration)
    longest = torch.where(until_end, room, longest)
    pair = (answer_token > 0) & (totals[:, :2] == 1).all(dim=1)  # the answer ends it
    duration = torch.where(pair, answer, duration)
    longest = torch.where(pair, answer, longest)
    duration = duration.masked_fill(totals[:, 0] + totals[:, 1] == 1, 0.0)
    silent = (answer_token == 0) | (totals[:, :2].min(dim=1).values == 0)
    mute = silent | (reply_token == 0) | (totals[:, 0] + totals[:, 1] < 3)
    return DrawnTotals(
        packets_and_bytes=totals,
        answer_ns=answer.masked_fill(silent, -1.0),
        reply_ns=reply.masked_fill(mute, -1.0),
        duration_ns=duration,
        longest_ns=longest,
    )


def fit_to_room(
    flows: DrawnFlows, totals: DrawnTotals, *, window_ns: int
) -> tuple[DrawnFlows, DrawnTotals, Tensor]:
    """Let flows end within their window: those that would not begin earlier.

    What was learned of a flow that a window's end cut is what was left of it. So a flow that would
    be cut again begins earlier, at the same share of the time in which it can begin. One that is
    longer than the window loses packets in proportion.

    Args:
        flows: F flows in order of (window, start).
        totals: Their numbers, as drawn.
        window_ns: Length of a window.

    Returns:
        Both, again in order of (window, start), and the row that each flow had, int64 [F].
    """
    latest = (window_ns - 1 - totals.duration_ns).clamp(min=0)
    earlier = (flows.start_ns * (latest / max(window_ns - 1, 1))).floor()
    start = torch.where(flows.start_ns > latest, earlier, flows.start_ns)
    order = torch.argsort(start, stable=True)
    order = order[torch.argsort(flows.window[order], stable=True)]
    flows = DrawnFlows(window=flows.window, start_ns=start, tokens=flows.tokens).take(order)
    totals = totals.take(order)
    amounts, duration = totals.packets_and_bytes, totals.duration_ns
    room = (window_ns - 1 - flows.start_ns).clamp(min=0)
    share = (room.clamp(min=1) / duration.clamp(min=1)).clamp(max=1)
    cut = torch.ceil(amounts * share[:, None]).long()  # a packet at least
    amounts = torch.where((share < 1)[:, None], cut, amounts)
    duration = torch.minimum(duration, room)
    duration = duration.masked_fill(amounts[:, 0] + amounts[:, 1] == 1, 0.0)
    longest = torch.minimum(torch.maximum(totals.longest_ns, duration), room)
    answer = torch.minimum(totals.answer_ns, duration)
    reply = torch.minimum(totals.reply_ns, duration - answer.clamp(min=0))
    reply = reply.masked_fill(amounts[:, 0] + amounts[:, 1] < 3, -1.0)
    fitted = DrawnTotals(
        packets_and_bytes=amounts,
        answer_ns=answer,
        reply_ns=reply,
        duration_ns=duration,
        longest_ns=longest,
    )
    return flows, fitted, order


@dataclass(slots=True)
class DrawnSeries:
    """Active steps, sorted by flow and step; see EncodedTrace."""

    offsets: IntArray  # [F + 1]
    step: IntArray  # [S]
    values: IntArray  # [S, 4]


@torch.no_grad()
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
        one_way=totals.answer_ns >= room_ns,
        random=random,
    )
    rows, steps = row.cpu().numpy(), step.cpu().numpy()
    order = np.lexsort((steps, rows))
    offsets = np.searchsorted(rows[order], np.arange(first.numel() + 1)).astype(np.int64)
    amounts = share_excess(offsets, values.cpu().numpy()[order])
    drawn = DrawnSeries(offsets=offsets, step=steps[order], values=amounts)
    return wait_for_replies(drawn, flows, totals, scale=scale, step_count=step_count)


def wait_for_replies(
    series: DrawnSeries,
    flows: DrawnFlows,
    totals: DrawnTotals,
    *,
    scale: float,
    step_count: int,
) -> DrawnSeries:
    """Move packets that were drawn between a flow's answer and its reply to the reply's step.

    Whoever asked says nothing more before the reply is due; and in a flow of a few packets, nor
    does whoever answered (a resolver asked again after minutes).

    Args:
        series: As drawn.
        flows: F flows.
        totals: Their answers and replies.
        scale: Steps a ns.
        step_count: Steps of a window.
    """
    start, answer = flows.start_ns.cpu().numpy(), totals.answer_ns.cpu().numpy()
    reply = totals.reply_ns.cpu().numpy()
    due = np.minimum(((start + answer + reply) * scale).astype(np.int64), step_count - 1)
    answered = ((start + np.maximum(answer, 0)) * scale).astype(np.int64)
    flow = np.repeat(np.arange(start.size), np.diff(series.offsets))
    early = (series.step > answered[flow]) & (series.step < due[flow]) & (reply[flow] > 0)
    few = totals.packets_and_bytes[:, :2].sum(1).cpu().numpy() <= FEW
    early &= (series.values[:, 0] > 0) | few[flow]
    if not early.any():
        return series
    step = np.where(early, due[flow], series.step)
    order = np.lexsort((step, flow))
    flow, step = flow[order], step[order]
    begins = np.ones(flow.size, dtype=np.bool_)
    begins[1:] = (np.diff(flow) != 0) | (np.diff(step) != 0)
    first = np.flatnonzero(begins)
    return DrawnSeries(
        offsets=np.searchsorted(flow[first], np.arange(start.size + 1)).astype(np.int64),
        step=step[first],
        values=np.add.reduceat(series.values[order], first, axis=0),
    )


@dataclass(slots=True)
class DrawnRecords:
    """Records in order of flow and time; see EncodedTrace."""

    offsets: IntArray
    tokens: Array  # int32 [N, 3]
    size_bytes: IntArray
    time_ns: IntArray


@dataclass(slots=True)
class _Lanes:
    """State of the flows whose records are being drawn, longest first."""

    flow: Tensor  # rows of the flows
    count: Tensor  # records each has
    vector: Tensor
    service: Tensor
    shape: Tensor
    owed: Tensor
    time: Tensor
    end: Tensor
    latest: Tensor  # the flow ends before
    delays: Tensor  # to the answer and on to the reply, -1 where none comes
    due: Tensor  # when the answer, then the reply, is due, -1 once they came
    due_reply: Tensor  # whether it is the reply
    first_reverse: Tensor  # direction of the first record
    left: Tensor
    bytes_left: Tensor
    exact: Tensor  # whether they are told exactly, bool [M, 2]
    step_left: Tensor
    row: Tensor  # row of the series
    windows: Tensor  # window token told last in each direction
    history: Tensor
    out: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
def draw_records(
    level: RecordLevel,
    flows: DrawnFlows,
    totals: DrawnTotals,
    series: DrawnSeries,
    *,
    window_ns: int,
    step_count: int,
    config: TransformerConfig,
    random: torch.Generator,
) -> DrawnRecords:
    """Draw the records of all flows, `config.sample_flows` flows side by side."""
    device = flows.tokens.device
    packets = totals.packets_and_bytes[:, :2].sum(1)
    counts = packets.cpu().numpy()
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    out = {
        "tokens": torch.zeros(total, 3, dtype=torch.int32, device=device),
        "size": torch.zeros(total, dtype=torch.int64, device=device),
        "time": torch.zeros(total, dtype=torch.float64, device=device),
    }
    around = torch.as_tensor(around_rows(series.offsets, series.step, series.values), device=device)
    step = torch.as_tensor(series.step, device=device)
    values = torch.as_tensor(series.values, device=device)
    first_row = torch.as_tensor(series.offsets[:-1], device=device)
    starts = torch.as_tensor(offsets[:-1], device=device)
    order = torch.argsort(packets, descending=True, stable=True)
    step_ns = window_ns / step_count
    for at in range(0, order.numel(), config.sample_flows):
        rows = order[at : at + config.sample_flows]
        lanes = _Lanes(
            flow=rows,
            count=packets[rows],
            vector=level.flow_vector(flows.tokens[rows]),
            service=flows.tokens[rows, level.service_place],
            shape=flows.tokens[rows, level.shape_place],
            owed=level.shape_state[flows.tokens[rows, level.shape_place]],
            time=flows.start_ns[rows].clone(),
            end=flows.start_ns[rows] + totals.duration_ns[rows],
            latest=flows.start_ns[rows] + totals.longest_ns[rows],
            delays=torch.stack([totals.answer_ns[rows], totals.reply_ns[rows]], dim=1),
            due=torch.where(
                totals.answer_ns[rows] < 0, -1.0, flows.start_ns[rows] + totals.answer_ns[rows]
            ),
            due_reply=torch.zeros_like(rows, dtype=torch.bool),
            first_reverse=torch.zeros_like(rows),
            left=totals.packets_and_bytes[rows, :2].clone(),
            bytes_left=totals.packets_and_bytes[rows, 2:].clone(),
            exact=level.exact(flows.tokens[rows]),
            step_left=values[first_row[rows], :2].clone(),
            row=first_row[rows].clone(),
            windows=torch.zeros_like(totals.packets_and_bytes[rows, :2]),
            history=torch.zeros(
                rows.numel(), config.record_history, 5, dtype=torch.int64, device=device
            ),
        )
        _draw_lanes(level, lanes, out, starts, step, values, around, step_ns, random)
    return DrawnRecords(
        offsets=offsets,
        tokens=out["tokens"].cpu().numpy(),
        size_bytes=out["size"].cpu().numpy(),
        time_ns=out["time"].floor().long().cpu().numpy(),
    )


def _draw_lanes(
    level: RecordLevel,
    lanes: _Lanes,
    out: dict[str, Tensor],
    starts: Tensor,
    step: Tensor,
    values: Tensor,
    around: Tensor,
    step_ns: float,
    random: torch.Generator,
) -> None:
    """Draw record after record of the lanes; those that are done fall off the end."""
    longest = int(lanes.count[0]) if lanes.count.numel() else 0
    alive_at = torch.searchsorted(
        -lanes.count, torch.arange(longest, device=lanes.count.device).neg(), right=False
    ).tolist()
    last_row = step.numel() - 1
    for position in range(longest):
        alive = int(alive_at[position])
        here = slice(0, alive)
        exhausted = lanes.step_left[here].sum(1) == 0
        row = torch.where(exhausted, (lanes.row[here] + 1).clamp(max=last_row), lanes.row[here])
        lanes.row[here] = row
        step_left = torch.where(exhausted[:, None], values[row, :2], lanes.step_left[here])
        time = lanes.time[here]
        grid = step[row].double() * step_ns
        low = (grid - time).clamp(min=0)
        time_left = (lanes.end[here] - time).clamp(min=0)
        pending = lanes.due[here] >= 0
        due_left = torch.where(pending, (lanes.due[here] - time).clamp(min=0), -1.0)
        high = torch.minimum(grid + step_ns, lanes.latest[here]) - time
        high = high - run_ns(level.fastest_runs[lanes.service[here]], step_left.sum(1) - 1)
        high = torch.where(pending, torch.minimum(high, due_left), high)
        high = torch.maximum(high, low + 1)
        if position == 0:
            low = torch.zeros_like(low)
        first = starts[lanes.flow[here]]
        recent = torch.stack(
            [
                (time - out["time"][first + position - 1 - count]) / count
                if position > count
                else torch.full_like(time, -1.0)
                for count in RECENT
            ],
            dim=1,
        )
        context = RecordContext(
            position=torch.full_like(row, position),
            owed=lanes.owed[here],
            left=lanes.left[here],
            step_left=step_left,
            bytes_left=lanes.bytes_left[here],
            exact=lanes.exact[here],
            time_left=time_left,
            delays=lanes.delays[here],
            due_left=due_left,
            due_reply=lanes.due_reply[here],
            first_reverse=lanes.first_reverse[here] > 0,
            gap_low=low,
            gap_high=high,
            recent=recent,
            windows=lanes.windows[here],
            around=around[row],
            history=lanes.history[here],
        )
        tokens, gap, size = level.sample(
            lanes.vector[here],
            lanes.service[here],
            lanes.shape[here],
            context,
            random=random,
        )
        reverse = level.kind_reverse[tokens[:, 0]].long()
        lanes.owed[here] = lanes.owed[here] & ~level.kind_state[tokens[:, 0]]
        if position == 0:
            lanes.first_reverse[here] = reverse
        _set_due(lanes, here, reverse, time + gap)
        spent = torch.stack([1 - reverse, reverse], dim=1)
        lanes.left[here] -= spent
        lanes.step_left[here] = (step_left - spent).clamp(min=0)
        lanes.bytes_left[here] -= spent * size[:, None]
        lanes.time[here] = time + gap
        window = tokens[:, WINDOW, None]
        lanes.windows[here] = torch.where((spent * window) > 0, window, lanes.windows[here])
        lanes.history[here, 1:] = lanes.history[here, :-1].clone()
        lanes.history[here, 0] = tokens + 1
        place = first + position
        out["tokens"][place] = tokens[:, [0, 2, 3]].int()
        out["size"][place] = size
        out["time"][place] = lanes.time[here]


def _set_due(lanes: _Lanes, here: slice, reverse: Tensor, time: Tensor) -> None:
    """Note that records of direction `reverse` came at `time`: what is due next?"""
    due, replies = lanes.due[here], lanes.due_reply[here]
    came = (due >= 0) & ((reverse != lanes.first_reverse[here]) != replies)
    reply = lanes.delays[here, 1]
    next_due = torch.where(replies | (reply < 0), -1.0, time + reply)
    lanes.due[here] = torch.where(came, next_due, due)
    lanes.due_reply[here] = (replies | came) & (lanes.due[here] >= 0)
