"""Drawing the flows of windows, one after the other, then their details at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from netsynth.generate.transformer.drawn import DrawnFlows
from netsynth.generate.transformer.flow_level import FlowLevel, clock_features
from netsynth.generate.transformer.plan import STRETCH
from netsynth.generate.transformer.plan_left import Left, fit_to_parts
from netsynth.generate.transformer.time_room import TimeRoom

LATEST = 4  # windows after which a plan is given up, a guard


@torch.no_grad()
@parametrize.cached()  # rows are mixed once, see neighbours
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
    plans = level.plans.draw(window_count, random)
    plans, binds = level.plans.under(plans, allowed or {}, random)
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
        start = fit_to_parts(
            window, part, start, plans.spans * window_ns,
            stretch=math.inf if allowed else STRETCH,
        )  # fmt: skip
    quantiles = level.couplings.draw(
        skeleton, window, start, window_ns=window_ns,
        normal=lambda _: torch.randn(
            start.shape, generator=random, device=device, dtype=torch.float64
        ),
    )  # fmt: skip
    parts = []
    for at in range(0, window.numel(), 16384):
        piece = slice(at, at + 16384)
        hidden = level.detail_state(
            state[piece], skeleton[piece], clock_features(start[piece], window_ns)
        )
        times = TimeRoom(level.fields, (window_ns - 1 - start[piece]).clamp(min=0))
        parts.append(
            level.details.sample(
                hidden,
                skeleton[piece],
                random=random,
                allowed=allowed,
                room=times.room,
                quantiles={name: values[piece] for name, values in quantiles.items()},
            )
        )
    return DrawnFlows(
        window=window, start_ns=start, tokens=torch.cat([skeleton, torch.cat(parts)], dim=1)
    )
