"""Drawing windows: flows one after the other, then their details, series and records at once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.flow_level import FlowLevel, clock_features
from netsynth.generate.transformer.record_data import around_rows
from netsynth.generate.transformer.record_level import RecordContext, RecordLevel
from netsynth.generate.transformer.series_level import SeriesLevel
from netsynth.numbers import Array, FloatArray, IntArray


@dataclass(slots=True)
class DrawnFlows:
    """Flows of W windows, in order of (window, start)."""

    window: Tensor  # int64 [F]
    start_ns: Tensor  # float64 [F]
    tokens: Tensor  # int64 [F, K]

    def take(self, rows: slice) -> DrawnFlows:
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
    time = torch.zeros(window_count, dtype=torch.float64, device=device)
    rows = torch.arange(window_count, device=device)
    first_clock = clock_features(time, window_ns)
    x = level.begin + level.clock(first_clock)
    none = torch.zeros(window_count, 0, dtype=torch.int64, device=device)
    found: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    for _ in range(flow_limit):
        state = level.transformer.step(x, cache)
        skeleton = level.skeleton.sample(state, none, random=random, allowed=allowed)
        time = time + level.gap.draw(skeleton[:, 0], random).round()
        go = torch.nonzero(time < window_ns)[:, 0]
        if go.numel() < rows.numel():
            rows, time, state, skeleton = rows[go], time[go], state[go], skeleton[go]
            none = none[: go.numel()]
            cache.keep(go)
            if rows.numel() == 0:
                break
        found.append((rows, time, skeleton, state))
        x = level.inputs(skeleton, clock_features(time, window_ns))
    if not found:
        empty = torch.zeros(0, dtype=torch.int64, device=device)
        tokens = torch.zeros(0, len(level.fields), dtype=torch.int64, device=device)
        return DrawnFlows(window=empty, start_ns=empty.double(), tokens=tokens)
    window, start, skeleton, state = (torch.cat(part) for part in zip(*found, strict=True))
    order = torch.argsort(window, stable=True)
    window, start, skeleton, state = window[order], start[order], skeleton[order], state[order]
    parts = []
    for at in range(0, window.numel(), 16384):
        piece = slice(at, at + 16384)
        hidden = level.detail_state(
            state[piece], skeleton[piece], clock_features(start[piece], window_ns)
        )
        parts.append(level.details.sample(hidden, skeleton[piece], random=random, allowed=allowed))
    return DrawnFlows(
        window=window, start_ns=start, tokens=torch.cat([skeleton, torch.cat(parts)], dim=1)
    )


@dataclass(slots=True)
class DrawnTotals:
    """Numbers drawn from the flow tokens."""

    packets_and_bytes: Tensor  # int64 [F, 4]
    answer_ns: Tensor  # float64 [F], from the first packet to the answer; -1 where none comes
    duration_ns: Tensor  # float64 [F]

    def take(self, rows: slice) -> DrawnTotals:
        """Return the totals of the flows `rows`."""
        return DrawnTotals(
            packets_and_bytes=self.packets_and_bytes[rows],
            answer_ns=self.answer_ns[rows],
            duration_ns=self.duration_ns[rows],
        )


@torch.no_grad()
def draw_totals(
    level: FlowLevel,
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
    answer_token = flows.tokens[:, place["answer"]]
    answer = level.answer.draw((answer_token - 1).clamp(min=0), random)
    none = totals[:, 0] + totals[:, 1] == 0
    totals[none, 0] = 1
    totals[:, 2:] = torch.minimum(totals[:, 2:], totals[:, :2] * largest_payload)
    alone = level.number("duration").draw(
        (flows.tokens[:, place["duration"]] - 1).clamp(min=0), random
    )
    stretch_token = flows.tokens[:, place["stretch"]]
    stretch = level.number("stretch").draw((stretch_token - 1).clamp(min=0), random)
    duration = torch.where(stretch_token > 0, answer * stretch, alone)
    room = (window_ns - 1 - flows.start_ns).clamp(min=0)
    share = (room / duration.clamp(min=1)).clamp(max=1)  # the window's end cuts a flow
    cut = torch.ceil(totals * share[:, None]).long()
    totals = torch.where((share < 1)[:, None], cut, totals)
    duration = torch.minimum(duration, room)
    duration = duration.masked_fill(totals[:, 0] + totals[:, 1] == 1, 0.0)
    silent = (answer_token == 0) | (totals[:, :2].min(dim=1).values == 0)
    answer = torch.minimum(answer, duration).masked_fill(silent, -1.0)
    return DrawnTotals(packets_and_bytes=totals, answer_ns=answer, duration_ns=duration)


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
    return DrawnSeries(offsets=offsets, step=steps[order], values=values.cpu().numpy()[order])


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
    answer: Tensor  # when the answer is due, -1 once it came
    first_reverse: Tensor  # direction of the first record
    left: Tensor
    bytes_left: Tensor
    step_left: Tensor
    row: Tensor  # row of the series
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
            answer=torch.where(
                totals.answer_ns[rows] < 0, -1.0, flows.start_ns[rows] + totals.answer_ns[rows]
            ),
            first_reverse=torch.zeros_like(rows),
            left=totals.packets_and_bytes[rows, :2].clone(),
            bytes_left=totals.packets_and_bytes[rows, 2:].clone(),
            step_left=values[first_row[rows], :2].clone(),
            row=first_row[rows].clone(),
            history=torch.zeros(
                rows.numel(), config.record_history, 4, dtype=torch.int64, device=device
            ),
        )
        _draw_lanes(level, lanes, out, starts, step, values, around, step_ns, random)
    time = _land(
        out["time"].cpu().numpy(), series, offsets,
        (flows.start_ns + totals.duration_ns).cpu().numpy(),
    )  # fmt: skip
    return DrawnRecords(
        offsets=offsets,
        tokens=out["tokens"].cpu().numpy(),
        size_bytes=out["size"].cpu().numpy(),
        time_ns=np.floor(time).astype(np.int64),
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
        pending = lanes.answer[here] >= 0
        answer_left = torch.where(pending, (lanes.answer[here] - time).clamp(min=0), -1.0)
        high = torch.minimum(grid + step_ns - time, time_left)
        high = torch.where(pending, torch.minimum(high, answer_left), high)
        high = torch.maximum(high, low + 1)
        if position == 0:
            low = torch.zeros_like(low)
        context = RecordContext(
            position=torch.full_like(row, position),
            owed=lanes.owed[here],
            left=lanes.left[here],
            step_left=step_left,
            bytes_left=lanes.bytes_left[here],
            time_left=time_left,
            answer_left=answer_left,
            first_reverse=lanes.first_reverse[here] > 0,
            gap_low=low,
            gap_high=high,
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
        answered = reverse != lanes.first_reverse[here]
        lanes.answer[here] = lanes.answer[here].masked_fill(answered, -1.0)
        spent = torch.stack([1 - reverse, reverse], dim=1)
        lanes.left[here] -= spent
        lanes.step_left[here] = (step_left - spent).clamp(min=0)
        lanes.bytes_left[here] = (lanes.bytes_left[here] - spent * size[:, None]).clamp(min=0)
        lanes.time[here] = time + gap
        lanes.history[here, 1:] = lanes.history[here, :-1].clone()
        lanes.history[here, 0] = tokens + 1
        place = starts[lanes.flow[here]] + position
        out["tokens"][place] = tokens[:, [0, 2, 3]].int()
        out["size"][place] = size
        out["time"][place] = lanes.time[here]


def _land(
    time: FloatArray, series: DrawnSeries, offsets: IntArray, end_ns: FloatArray
) -> FloatArray:
    """Move the records of each flow's last step so that the flow ends where its duration says.

    Gaps were drawn from bins, each with an error in proportion to its length; the sum of the
    errors is known now, and is taken back where it most likely arose, in proportion to the
    squares of the gaps.
    """
    if offsets.size <= 1:
        return time
    last_step = series.values[series.offsets[1:] - 1, :2].sum(axis=1)  # records there, [F]
    counts = np.diff(offsets)
    inside = np.where(last_step < counts, last_step, counts - 1)  # gaps that may move
    flow = np.repeat(np.arange(counts.size), inside)
    first = np.repeat(offsets[1:] - inside, inside)
    place = first + np.arange(flow.size) - np.repeat(np.cumsum(inside) - inside, inside)
    gap = time[place] - time[place - 1]
    # a step that was just entered keeps its first record where it is, unless it is the only one
    entered = (last_step < counts)[flow] & (place == first) & (inside[flow] > 1)
    free = np.where(entered, 0.0, gap)
    error = (end_ns - time[offsets[1:] - 1])[flow]
    squares = np.bincount(flow, free**2, minlength=counts.size)[flow]
    sums = np.bincount(flow, free, minlength=counts.size)[flow]
    largest = np.zeros(counts.size)
    np.maximum.at(largest, flow, free)
    gentle = -error * largest[flow] <= squares  # no gap turns negative
    shift = np.where(
        gentle,
        error * free**2 / np.maximum(squares, 1e-9),
        np.maximum(error / np.maximum(sums, 1e-9), -1.0) * free,
    )
    moved = time.copy()
    total = np.cumsum(shift)
    before = np.cumsum(inside) - inside
    base = np.where(before > 0, total[np.maximum(before - 1, 0)], 0.0)
    moved[place] += total - base[flow]
    return moved
