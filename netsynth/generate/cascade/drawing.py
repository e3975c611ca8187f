"""From level 0's tokens to conditions that can be met, and from G2's series to packets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.start_level import DETAILS, SKELETON, StartLevel
from netsynth.generate.sharing import share_out
from netsynth.generate.transformer.limits import shortest_ns
from netsynth.numbers import Array, FloatArray, IntArray


@dataclass(slots=True)
class DrawnFlows:
    """Flows of W windows, in order of (window, start).

    Attributes:
        window: int64 [F].
        start_ns: int64 [F].
        duration_ns: int64 [F].
        totals: int64 [F, 4], packets and bytes per direction.
        label: int64 [F].
        first: int64 [F], step of the first packet.
        spans: int64 [F], steps from the first to the last packet's.
        active: int64 [F], active steps.
        numbers: float64 [F, 11], CONDITIONS.
    """

    window: IntArray
    start_ns: IntArray
    duration_ns: IntArray
    totals: IntArray
    label: IntArray
    first: IntArray
    spans: IntArray
    active: IntArray
    numbers: FloatArray

    def take(self, rows: Array | slice) -> DrawnFlows:
        """Return the flows `rows`."""
        return DrawnFlows(*(getattr(self, name)[rows] for name in self.__slots__))


def flows_of_tokens(
    level: StartLevel, window: Tensor, start: Tensor, tokens: Tensor, *, window_ns: int,
    step_count: int, largest_payload: int, fastest: FloatArray, random: torch.Generator,
) -> DrawnFlows:  # fmt: skip
    """Draw numbers from the tokens of flows [F, 11], and make them agree with each other."""
    place = {name: i for i, name in enumerate((*SKELETON, *DETAILS))}

    def drawn(name: str) -> FloatArray:
        values = level.number(name).draw(tokens[:, place[name]], random)
        return np.asarray(values.cpu().numpy(), dtype=np.float64)

    names = ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse")
    totals = np.stack([np.round(drawn(name)) for name in names], axis=1).astype(np.int64)
    totals[totals[:, :2].sum(axis=1) == 0, 0] = 1
    totals[:, 2:] = np.minimum(totals[:, 2:], totals[:, :2] * largest_payload)
    packets = totals[:, :2].sum(axis=1)
    # a flow lasts as long as its packets take, and ends inside its window, or else begins earlier
    room = (window_ns - 1 - start).clamp_min(0.0)
    least = shortest_ns(torch.as_tensor(totals, device=start.device), _on(start, fastest))
    least = least.clamp_max(window_ns - 1.0)
    duration_ns = level.number("duration_ns").draw_within(
        tokens[:, place["duration_ns"]], least, torch.maximum(room, least), random
    ).cpu().numpy().astype(np.int64)  # fmt: skip
    duration_ns[packets == 1] = 0
    start_ns = np.floor(start.cpu().numpy()).astype(np.int64)
    start_ns = np.maximum(np.minimum(start_ns, window_ns - 1 - duration_ns), 0)
    scale = step_count / window_ns
    first = np.clip((start_ns * scale).astype(np.int64), 0, step_count - 1)
    last = np.clip(((start_ns + duration_ns) * scale).astype(np.int64), first, step_count - 1)
    spans = last - first + 1
    active = np.round(drawn("active_steps")).astype(np.int64)
    active = np.clip(active, np.minimum(spans, 2), np.minimum(spans, packets))
    mean = packets / active
    most = np.clip(np.round(drawn("rate_max")), np.ceil(mean), packets - active + 1)
    spread = np.where(active > 1, drawn("rate_std"), 0.0)
    numbers = [
        start_ns, duration_ns, *totals.T, active, np.where(active > 1, most, packets), mean,
        spread, (spans - 1) / np.maximum(active - 1, 1),
    ]  # fmt: skip
    flows = DrawnFlows(
        window=window.cpu().numpy(),
        start_ns=start_ns,
        duration_ns=duration_ns,
        totals=totals,
        label=tokens[:, place["label"]].cpu().numpy(),
        first=first,
        spans=spans,
        active=active,
        numbers=np.stack([np.asarray(n, dtype=np.float64) for n in numbers], axis=1),
    )
    return flows.take(np.lexsort((flows.start_ns, flows.window)))


def _on(like: Tensor, values: Array) -> Tensor:
    """Return `values` as a tensor beside `like`."""
    return torch.as_tensor(values, device=like.device)


def series_of(
    made: Array, flows: DrawnFlows, rows: IntArray, *, tops: FloatArray, zero_inflation: bool,
    rng: np.random.Generator,
) -> Series:  # fmt: skip
    """Turn what G2 made for the flows `rows` into series of all flows that meet their conditions.

    The first and last step of a flow are active, and between them the likeliest by the activity
    channel, as many as the condition says. Their rates, read there alone, share out the totals.

    Args:
        made: float32 [B, T, C], for the flows `rows`, which last two steps or more.
        flows: All flows.
        rows: int64 [B].
        tops: See CascadeScales.
        zero_inflation: Whether channel 0 says what is active; else the rates themselves do.
        rng: Source of randomness.
    """
    count = flows.spans.size
    active = np.ones(count, dtype=np.int64)
    active[rows] = flows.active[rows]
    offsets = np.concatenate([[0], np.cumsum(active)]).astype(np.int64)
    step = np.repeat(flows.first, active)
    weights = np.ones((step.size, 4))
    period = np.zeros((step.size, 2))
    period[:, 1] = 1.0
    if rows.size:
        steps = made.shape[1]
        rates = np.expm1(np.maximum(made[..., 1:5], 0) * np.repeat(tops, 2))
        chance = made[..., 0] if zero_inflation else rates[..., :2].sum(axis=2) / (1 + steps)
        chance = np.clip(chance, 1e-6, 1 - 1e-6)
        # drawing without replacement by odds: the Gumbel top-k trick
        score = np.log(chance / (1 - chance)) + rng.gumbel(size=chance.shape)
        place = np.arange(steps)
        spans = flows.spans[rows][:, None]
        score = np.where(place < spans, score, -np.inf)
        score = np.where((place == 0) | (place == spans - 1), np.inf, score)
        rank = np.argsort(np.argsort(-score, axis=1), axis=1)
        batch, chosen = np.nonzero(rank < flows.active[rows][:, None])
        at = np.repeat(offsets[rows], flows.active[rows])
        at = (
            at
            + np.arange(at.size)
            - np.repeat(np.cumsum(flows.active[rows]) - flows.active[rows], flows.active[rows])
        )
        step[at] = flows.first[rows][batch] + chosen
        weights[at] = rates[batch, chosen] + 1e-3
        period[at] = np.sort(np.clip(made[batch, chosen, 5:7], 0, 1), axis=1)
    values = share_out(weights, flows.totals, offsets, rng=rng)
    return Series(offsets=offsets, step=step, values=values, period=period)
