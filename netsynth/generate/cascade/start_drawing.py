"""Drawing from level 0: the flows of windows, all windows side by side, by plan and limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from netsynth.generate.cascade.plan import FlowsLeft
from netsynth.generate.cascade.start_level import DETAILS, FLOWS_BEFORE, SKELETON, StartLevel
from netsynth.generate.transformer.choosing import draw, likely
from netsynth.generate.transformer.fields import FieldDecoder
from netsynth.generate.transformer.flow_level import clock_features
from netsynth.generate.transformer.limits import shortest_ns
from netsynth.numbers import KNOTS

Weigh = Callable[[str, Tensor], Tensor | None]  # column, tokens before -> log weights of its tokens


@dataclass(slots=True, kw_only=True)
class StartRequest:
    """Which flows to draw, and within what.

    Attributes:
        window_ns: Length of a window.
        random: Source of randomness.
        flow_limit: Most flows of a window that has no plan.
        begins: float64 [W], ns, when each begins; None for 0.
        until: float64 [W], ns, when each that has no plan ends; None for `window_ns`.
        boosts: Log weights of tokens, by column: [size], or [size of the column before, size].
        pace: Factor of the gaps between flows.
        left: Plans of the windows, which decide how many flows there are; else the time does.
        ends: float64 [W], share of a window with a plan at which its last flow begins.
        fastest: float64 [OCTAVES], see `fastest_rates`; no flow is drawn shorter than its
            packets take at that rate.
    """

    window_ns: int
    random: torch.Generator
    flow_limit: int = 0
    begins: Tensor | None = None
    until: Tensor | None = None
    boosts: dict[str, Tensor] = field(default_factory=dict)
    pace: float = 1.0
    left: FlowsLeft | None = None
    ends: Tensor | None = None
    fastest: Tensor | None = None


@torch.no_grad()
def draw_starts(
    level: StartLevel, window_count: int, request: StartRequest
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw the flows of windows, all windows side by side.

    Returns:
        Window int64 [F], start in ns float64 [F], tokens int64 [F, 11]; in order of window and
        start.
    """
    window, start, skeleton, state = draw_skeletons(level, window_count, request)
    order = torch.argsort(window, stable=True)
    window, start, skeleton, state = window[order], start[order], skeleton[order], state[order]
    if request.left is not None and request.ends is not None and window.numel():
        start = fill_windows(window, start, request.ends * request.window_ns)
    hidden = level.detail_state(state, skeleton, clock_features(start, request.window_ns))
    limits = _duration_limits(level, start, request)
    details = draw_fields(level.details, hidden, skeleton, request.random, limits)
    return window, start, torch.cat([skeleton, details], dim=1)


@torch.no_grad()
def draw_skeletons(
    level: StartLevel, window_count: int, request: StartRequest
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Draw flow after flow: window [F], start [F], skeleton [F, 4] and state [F, H]."""
    if level.clock.weight.device.type == "cpu" and find_spec("numba") is not None:
        from netsynth.generate.cascade import start_kernel  # late: imports numba

        return start_kernel.draw_skeletons(level, window_count, request)
    return draw_step_by_step(level, window_count, request)


@torch.no_grad()
@parametrize.cached()  # rows are mixed once, see neighbours
def draw_step_by_step(
    level: StartLevel, window_count: int, request: StartRequest
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`draw_skeletons` on any device: a few hundred small operations a flow."""
    device, window_ns, left = level.clock.weight.device, request.window_ns, request.left
    rows = torch.arange(window_count, device=device)
    time = torch.zeros(window_count, dtype=torch.float64, device=device)
    until = torch.full_like(time, window_ns) if request.until is None else request.until.to(device)
    time = time if request.begins is None else request.begins.to(device)
    before = torch.zeros(
        window_count, FLOWS_BEFORE * len(SKELETON), dtype=torch.int64, device=device
    )
    found: list[tuple[Tensor, ...]] = []
    drawn = 0
    while left is not None or drawn < request.flow_limit:
        go = ~left.over() if left is not None else time < until
        if not go.all():
            rows, time, before, until = rows[go], time[go], before[go], until[go]
            if left is not None:
                left.keep(go)
        if rows.numel() == 0:
            break
        state = level.state(before, clock_features(time, window_ns))
        skeleton = draw_fields(
            level.skeleton, state, before[:, :0], request.random,
            _both(left.weigh if left is not None else None, request.boosts),
        )  # fmt: skip
        gap = level.number("gap").draw(skeleton[:, 0], request.random)
        time = time + (gap * request.pace).round()
        if left is not None:
            left.take(skeleton[:, 2], skeleton[:, 3])
        inside = (time < until) | (left is not None)
        found.append((rows[inside], time[inside], skeleton[inside], state[inside]))
        before = torch.cat([skeleton + 1, before[:, : -len(SKELETON)]], dim=1)
        drawn += 1
    if not found:
        none = torch.zeros(0, dtype=torch.int64, device=device)
        hidden = level.clock.weight.new_zeros(0, level.clock.out_features)
        return none, none.double(), none.new_zeros(0, len(SKELETON)), hidden
    window, start, skeleton, state = (torch.cat(part) for part in zip(*found, strict=True))
    return window, start, skeleton, state


def fill_windows(window: Tensor, start: Tensor, last_ns: Tensor) -> Tensor:
    """Stretch or squeeze the starts of each window's flows so that the last begins when it should.

    Args:
        window: int64 [F], ascending.
        start: float64 [F], ns, ascending in each window.
        last_ns: float64 [W], when the last flow of each window begins.
    """
    drawn = torch.zeros_like(last_ns).scatter_reduce(0, window, start, "amax")  # [W]
    factor = torch.where(drawn > 0, last_ns / drawn.clamp_min(1), 1.0)
    return (start * factor[window]).floor()


def _duration_limits(level: StartLevel, start: Tensor, request: StartRequest) -> Weigh:
    """Log weights by which flows end inside the window, and do not run faster than any learned."""
    places = [(*SKELETON, *DETAILS).index(n) for n in
              ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse")]  # fmt: skip
    names = [(*SKELETON, *DETAILS)[place] for place in places]

    def weigh(name: str, seen: Tensor) -> Tensor | None:
        if name != "duration_ns":
            return None
        high = (request.window_ns - 1 - start).clamp_min(0.0)
        low = torch.zeros_like(high)
        if request.fastest is not None:
            middle = [
                level.number(n).rows[seen[:, place], KNOTS // 2]
                for n, place in zip(names, places, strict=True)
            ]
            low = shortest_ns(torch.stack(middle, dim=1).round().long(), request.fastest)
        return level.number(name).share_within(low, torch.maximum(high, low))

    return weigh


def _both(weigh: Weigh | None, boosts: dict[str, Tensor]) -> Weigh:
    """Add `boosts` (see `StartRequest`) to the log weights by `weigh`."""

    def sum_up(name: str, seen: Tensor) -> Tensor | None:
        total = weigh(name, seen) if weigh is not None else None
        if name in boosts:
            boost = boosts[name]
            boost = boost[seen[:, -1]] if boost.dim() == 2 else boost
            total = boost if total is None else total + boost
        return total

    return sum_up


def draw_fields(
    decoder: FieldDecoder, state: Tensor, given: Tensor, random: torch.Generator, weigh: Weigh
) -> Tensor:
    """Draw token columns as `FieldDecoder.sample` does, log weights added: int64 [M, K]."""
    seen = given
    for place, item in enumerate(decoder.fields):
        if item.size == 1:
            token = torch.zeros_like(state[:, 0], dtype=torch.int64)
        else:
            logits = decoder.logits(place, state, seen)
            weight = weigh(item.name, seen)
            if weight is not None:
                logits = logits + weight
            if item.name in decoder.sharp:
                logits = likely(logits)
            token = draw(logits, random)
            state = state + decoder.embed[place](token)
        seen = torch.cat([seen, token[:, None]], dim=1)
    return seen[:, given.shape[1] :]
