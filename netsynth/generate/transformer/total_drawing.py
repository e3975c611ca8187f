"""Drawing packets, bytes and times of flows from tokens, and fitting them to their windows."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from netsynth.generate.transformer.drawn import DrawnFlows, DrawnTotals
from netsynth.generate.transformer.limits import shortest_ns
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.pace import LATE
from netsynth.steps import REST
from netsynth.tables import TokenField, ruler_ns


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
    rulers = level.fields[place["service"]].rulers
    assert rulers is not None
    ruler = torch.as_tensor(rulers, device=trip.device)[flows.tokens[:, place["service"]]]
    unit = ruler_ns(trip, ruler)
    tables = level.number("stretch"), level.number("duration")
    longest = torch.where(
        stretch_token > 0,
        unit * tables[0].rows[(stretch_token - 1).clamp(min=0), -1],
        tables[1].rows[(alone_token - REST.size).clamp(min=0), -1],
    )
    duration = torch.maximum(torch.where(stretch_token > 0, unit * stretch, alone), trip)
    longest = torch.maximum(longest, trip)
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
