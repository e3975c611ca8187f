"""What is left of the plans of windows while their flows are drawn, and where their parts go."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netsynth.generate.transformer.plan import STRETCH, Plans, WindowPlans

SHORT = 0.1  # of the mean gap by time, below which a gap is no pause


class Left:
    """What is left of the current parts of W windows while their flows are drawn."""

    def __init__(self, plans: Plans, windows: WindowPlans, *, strict: bool) -> None:
        """Begin with all of `windows`; `strict` rules out what is not in the current part."""
        self.plans = plans
        self.windows = windows
        self.strict = strict
        self.row = torch.arange(windows.counts.shape[0], device=windows.counts.device)
        self.part = torch.zeros_like(self.row)
        self.left = windows.counts[:, 0].clone()  # float32 [W, services, outcomes]
        self.large = windows.large.clone()  # float32 [W, K]
        self._go_on(torch.zeros_like(self.row, dtype=torch.float64))

    def take(self, classes: Tensor, share: Tensor) -> None:
        """Count a flow of each window, its class [W, 3] and its start [W]."""
        place = torch.arange(classes.shape[0], device=classes.device), classes[:, 0], classes[:, 1]
        self.left[place] = (self.left[place] - 1).clamp(min=0)
        same = (self.plans.large[None] == classes[:, None]).all(2)
        self.large = (self.large - same.float()).clamp(min=0)
        self._go_on(share)

    def _go_on(self, share: Tensor) -> None:
        """Go to the next part where the current one is used up, or over where plans do not bind."""
        last = self.windows.counts.shape[1] - 1
        while True:
            if self.strict:
                over = self.left.sum((1, 2)) <= 0
            else:
                over = share.to(self.row.device) > self.windows.edges[self.row, self.part]
            over &= self.part < last
            if not bool(over.any()):
                return
            self.part = self.part + over
            self.left[over] = self.windows.counts[self.row[over], self.part[over]]

    def keep(self, rows: Tensor) -> None:
        """Keep the windows `rows` alone."""
        self.left, self.row, self.part = self.left[rows], self.row[rows], self.part[rows]
        self.large = self.large[rows]

    def over(self) -> Tensor:
        """Tell which windows have no flow left: bool [W]."""
        if not self.strict:
            return torch.zeros_like(self.left[:, 0, 0], dtype=torch.bool)
        return self.left.sum((1, 2)) <= 0

    def features(self, share: Tensor) -> Tensor:
        """See `Plans.features`, at the share [W] of the windows that is gone; [W, width]."""
        share_left = (self.windows.edges[self.row, self.part] - share).float()
        return self.plans.features(self.left.sum(2), self.left.sum(1), share_left)

    def room(self, name: str, seen: Tensor) -> Tensor | None:
        """Tokens that column `name` may take after `seen` [W, k]: bool [W, size], None for all."""
        if not self.strict:
            return None
        if name == "service":
            return self.left.sum(2) > 0
        if name == "shape":
            rows = torch.arange(seen.shape[0], device=seen.device)
            service = seen[:, self.plans.places[0]]
            return self.left[rows, service][:, self.plans.outcome] > 0
        if name == "responder":
            return self._responders(seen)
        return None

    def _responders(self, seen: Tensor) -> Tensor | None:
        """Responders of which large flows are left; all where none is, or the flow is not large."""
        if self.plans.large.shape[0] == 0:
            return None
        service, shape = (seen[:, place] for place in self.plans.places[:2])
        own = torch.stack([service, self.plans.outcome[shape]], dim=1)
        rows, places = torch.nonzero(
            (self.plans.large[None, :, :2] == own[:, None]).all(2) & (self.large > 0), as_tuple=True
        )
        room = torch.zeros(seen.shape[0], self.plans.hosts, dtype=torch.bool, device=seen.device)
        room[rows, self.plans.large[places, 2]] = True
        return room | ~room.any(dim=1, keepdim=True)


def fit_to_parts(
    window: Tensor, part: Tensor, start: Tensor, span_ns: Tensor, *, stretch: float = STRETCH
) -> Tensor:
    """Move the starts of each part's flows to where their part began and ended.

    Gaps are drawn one by one, and the sum of their errors is known at the end alone. It is made up
    for where it comes from, in pauses: gaps that are short beside the part's pauses stay as they
    are where they are not most of its time, or a pause too long would hasten the scan before it.

    Args:
        window: int64 [F], ascending.
        part: int64 [F], ascending in each window.
        start: float64 [F] ns, ascending in each window.
        span_ns: float64 [W, P, 2], where the first and last flow of each part begin.
        stretch: By which flows are moved apart at most.
    """
    count = span_ns.shape[1]
    place = window * count + part
    flat = span_ns.reshape(-1, 2)
    first = torch.full_like(flat[:, 0], torch.inf).scatter_reduce(0, place, start, "amin")
    last = torch.zeros_like(flat[:, 0]).scatter_reduce(0, place, start, "amax")
    wanted = flat[:, 1] - flat[:, 0]
    scale = torch.where(last > first, wanted / (last - first).clamp(min=1), 1.0)
    scale = scale.clamp(max=stretch)
    gap = torch.diff(start, prepend=start[:1]).round()  # sums of whole numbers are exact
    gap = torch.where(torch.diff(place, prepend=place[:1] - 1) == 0, gap, 0.0)
    none = torch.zeros_like(scale)
    total = none.scatter_add(0, place, gap)
    pause = none.scatter_add(0, place, gap.square()) / total.clamp(min=1)
    is_short = gap <= SHORT * pause[place]
    short = none.scatter_add(0, place, gap.where(is_short, 0.0))
    is_short &= (short <= scale * total / 2)[place]
    short = none.scatter_add(0, place, gap.where(is_short, 0.0))
    others = (scale * total - short) / (total - short).clamp(min=1)
    moved = _sums_within(place, gap.where(is_short, 0.0))
    moved += _sums_within(place, gap.where(~is_short, 0.0)) * others[place]
    return (flat[place, 0] + moved).floor()


def _sums_within(place: Tensor, values: Tensor) -> Tensor:
    """Cumulative sums of values [F] that begin anew with each place [F], ascending; float64 [F]."""
    total = values.cumsum(0)
    begins = torch.diff(place, prepend=place[:1] - 1) != 0
    before = (total - values).where(begins, -torch.inf).cummax(0).values
    return total - before


def left_after(before: Tensor, classes: Tensor) -> Tensor:
    """Count what is left after each flow, float32 [T, V].

    Args:
        before: float32 [V], what is left before the first of them, or [T, V] of what each asks.
        classes: int64 [T], class of each flow.
    """
    ones = nn.functional.one_hot(classes, before.shape[-1]).to(before.dtype)
    return before - ones.cumsum(0)


def counts_before(classes: Tensor, size: int, *, every: int) -> Tensor:
    """Count each class before every `every`-th of F flows: float32 [C, size]."""
    blocks = -(-classes.numel() // every)
    place = torch.arange(classes.numel(), device=classes.device) // every * size + classes
    counts = torch.bincount(place, minlength=blocks * size).view(blocks, size)
    return (counts.cumsum(0) - counts).float()
