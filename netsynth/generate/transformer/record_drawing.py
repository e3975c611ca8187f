"""Drawing the records of flows, many flows side by side."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.pace import run_ns
from netsynth.generate.transformer.record_context import PASSED, RECENT, RecordContext
from netsynth.generate.transformer.record_data import around_rows
from netsynth.generate.transformer.record_level import (
    LENGTH,
    RETRIED,
    RETRIES,
    WINDOW,
    RecordLevel,
    last_kinds,
    strays,
)
from netsynth.generate.transformer.unheard import hear_all
from netsynth.tcp_windows import ADD, NOT_SET, SET


@dataclass(slots=True)
class _Lanes:
    """State of the flows whose records are being drawn, longest first."""

    flow: Tensor  # rows of the flows
    count: Tensor  # records each has
    vector: Tensor
    service: Tensor
    shape: Tensor
    stack: Tensor  # see `RecordLevel.stack`
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
    step_bytes: Tensor
    row: Tensor  # row of the series
    windows: Tensor  # last TCP window in each direction
    lengths: Tensor  # last length in each direction, see RecordContext
    unheard: Tensor  # segments not acknowledged yet
    history: Tensor
    strange: Tensor  # whether a kind came that never comes there, bool [M]
    out: dict[str, Tensor] = field(default_factory=dict)


@torch.no_grad()
@parametrize.cached()  # rows are mixed once, see neighbours
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
        for tries in range(1 + RETRIES):
            lanes = _begin(level, rows, flows, totals, values, first_row, config.record_history)
            _draw_lanes(level, lanes, out, starts, step, values, around, step_ns, random)
            again = strays(lanes.owed, lanes.bytes_left, lanes.exact) | _is_strange(level, lanes)
            rows = rows[again & ((tries + 1) * lanes.count <= RETRIED)]
            if rows.numel() == 0:
                break
    return DrawnRecords(
        offsets=offsets,
        tokens=out["tokens"].cpu().numpy(),
        size_bytes=out["size"].cpu().numpy(),
        time_ns=out["time"].floor().long().cpu().numpy(),
    )


def _begin(
    level: RecordLevel,
    rows: Tensor,
    flows: DrawnFlows,
    totals: DrawnTotals,
    values: Tensor,
    first_row: Tensor,
    history: int,
) -> _Lanes:
    """Lanes of the flows `rows` before their first records."""
    shape = flows.tokens[rows, level.shape_place]
    start, answer = flows.start_ns[rows], totals.answer_ns[rows]
    return _Lanes(
        flow=rows,
        count=totals.packets_and_bytes[rows, :2].sum(1),
        vector=level.flow_vector(flows.tokens[rows]),
        service=flows.tokens[rows, level.service_place],
        shape=shape,
        stack=level.stack(flows.tokens[rows]),
        owed=level.shape_state[shape],
        time=start.clone(),
        end=start + totals.duration_ns[rows],
        latest=start + totals.longest_ns[rows],
        delays=torch.stack([answer, totals.reply_ns[rows]], dim=1),
        due=torch.where(answer < 0, -1.0, start + answer),
        due_reply=torch.zeros_like(rows, dtype=torch.bool),
        first_reverse=torch.zeros_like(rows),
        left=totals.packets_and_bytes[rows, :2].clone(),
        bytes_left=totals.packets_and_bytes[rows, 2:].clone(),
        exact=level.exact(flows.tokens[rows]),
        step_left=values[first_row[rows], :2].clone(),
        step_bytes=values[first_row[rows], 2:].clone(),
        row=first_row[rows].clone(),
        windows=torch.full_like(totals.packets_and_bytes[rows, :2], NOT_SET),
        lengths=torch.zeros_like(totals.packets_and_bytes[rows, :2]),
        unheard=torch.zeros_like(totals.packets_and_bytes[rows, :2]),
        history=torch.zeros(rows.numel(), history, 5, dtype=torch.int64, device=rows.device),
        strange=torch.zeros_like(rows, dtype=torch.bool),
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
        step_bytes = torch.where(exhausted[:, None], values[row, 2:], lanes.step_bytes[here])
        time = lanes.time[here]
        grid = step[row].double() * step_ns
        low = (grid - time).clamp(min=0)
        time_left = (lanes.end[here] - time).clamp(min=0)
        pending = lanes.due[here] >= 0
        due_left = torch.where(pending, (lanes.due[here] - time).clamp(min=0), -1.0)
        begins = (time / step_ns).floor() * step_ns
        begins = torch.where(time > grid + PASSED * step_ns, begins, grid)
        high = torch.minimum(begins + step_ns, lanes.latest[here]) - time
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
            step_bytes=step_bytes,
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
            lengths=lanes.lengths[here],
            unheard=lanes.unheard[here],
            around=around[row],
            history=lanes.history[here],
        )
        tokens, gap, size = level.sample(
            lanes.vector[here],
            lanes.service[here],
            lanes.shape[here],
            lanes.stack[here],
            context,
            lanes.latest[here] - time,
            random=random,
        )
        seen = _seen(level, lanes, here).gather(1, tokens[:, :1])[:, 0]
        lanes.strange[here] |= ~seen
        reverse = level.kind_reverse[tokens[:, 0]].long()
        lanes.owed[here] = lanes.owed[here] & ~level.kind_state[tokens[:, 0]]
        if position == 0:
            lanes.first_reverse[here] = reverse
        _set_due(lanes, here, reverse, time + gap)
        spent = torch.stack([1 - reverse, reverse], dim=1)
        lanes.left[here] -= spent
        lanes.step_left[here] = (step_left - spent).clamp(min=0)
        lanes.step_bytes[here] = step_bytes - spent * size[:, None]
        lanes.bytes_left[here] -= spent * size[:, None]
        lanes.time[here] = time + gap
        told = _next_windows(lanes.windows[here], tokens[:, WINDOW], level.windows)
        lanes.windows[here] = torch.where(spent > 0, told, lanes.windows[here])
        data = spent * level.kind_payload[tokens[:, 0], None]
        length = tokens[:, LENGTH, None] + 1
        lanes.lengths[here] = torch.where(data > 0, length, lanes.lengths[here])
        brings, ack_class = level.kind_brings[tokens[:, 0]], level.kind_ack_class[tokens[:, 0]]
        lanes.unheard[here] = hear_all(lanes.unheard[here], reverse, brings, ack_class)
        lanes.history[here, 1:] = lanes.history[here, :-1].clone()
        lanes.history[here, 0] = tokens + 1
        place = first + position
        out["tokens"][place] = tokens[:, [0, 2, 3]].int()
        out["size"][place] = size
        out["time"][place] = lanes.time[here]


def _seen(level: RecordLevel, lanes: _Lanes, here: slice) -> Tensor:
    """Kinds that came behind the last ones of lanes, the last column whether none: bool."""
    return level.next_kinds.seen(lanes.service[here], last_kinds(lanes.history[here]))


def _is_strange(level: RecordLevel, lanes: _Lanes) -> Tensor:
    """Tell which flows had, or end with, kinds of packets as none has: bool [M]."""
    return lanes.strange | ~_seen(level, lanes, slice(None))[:, -1]


def _next_windows(before: Tensor, token: Tensor, windows: Tensor) -> Tensor:
    """Windows behind tokens [M], either way; `before` them [M, 2] as in `RecordContext`."""
    told = windows[token][:, None]
    added = torch.where(before == NOT_SET, before, before + told[..., ADD])
    return torch.where(told[..., SET] == NOT_SET, added, told[..., SET])


def _set_due(lanes: _Lanes, here: slice, reverse: Tensor, time: Tensor) -> None:
    """Note that records of direction `reverse` came at `time`: what is due next?"""
    due, replies = lanes.due[here], lanes.due_reply[here]
    came = (due >= 0) & ((reverse != lanes.first_reverse[here]) != replies)
    reply = lanes.delays[here, 1]
    next_due = torch.where(replies | (reply < 0), -1.0, time + reply)
    lanes.due[here] = torch.where(came, next_due, due)
    lanes.due_reply[here] = (replies | came) & (lanes.due[here] >= 0)
