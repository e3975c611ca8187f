"""How many flows of each service and outcome a part of a window holds, and what is left of them.

Drawn one by one, flows drift: a scan that comes a little too seldom is missing by the thousand at
the end, of the three flows that carry half of the bytes there may be one or six, of sixty
connections a few too many stay open, and what began in the first minute begins whenever it does.
So a window has a plan: its time is cut into parts, and each part has the number of its flows by
service and outcome, their volume and how they open and end. Each flow is drawn knowing what is
left of the part, as the levels below know what is left of the flow and of the step. The responders
of its large flows are shared out as well: whom everybody downloads from is no matter of one draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.tables import TokenField

PLANS = 32  # windows whose plans are kept, at most
PARTS = 32  # of a window, at most
ALL_PARTS = 256  # of all plans kept, at most
FEW = 32  # flows that a part has at least, but for a window's only one
SPREAD = 0.03  # relative spread of a service's flows from window to window of the same plan
LARGE = 3  # class of sizes that grow by four: flows of 64 packets, whose responders are planned
LARGEST_BOOK = 4096  # classes of large flows and responders kept, at most
STRETCH = 2.0  # by which a part's flows are moved apart to last as long as learned, at most


@dataclass(frozen=True, slots=True)
class WindowPlans:
    """Plans of W windows, P parts each; those with fewer have empty ones at the end.

    Attributes:
        counts: float32 [W, P, services, outcomes], flows of each class.
        edges: float64 [W, P], share of the window at which each part ends.
        spans: float64 [W, P, 2], share at which the first and the last flow of each begin.
        large: float32 [W, K], flows of each row of `Plans.large`.
    """

    counts: Tensor
    edges: Tensor
    spans: Tensor
    large: Tensor


class Plans(nn.Module):
    """Plans of the windows learned from, and new ones like them.

    Args:
        fields: Columns of the flow level; the groups "volume" and "ending" of "shape" are the class
            of a flow's packets, and of how it opens and ends.
    """

    def __init__(self, fields: tuple[TokenField, ...]) -> None:
        super().__init__()
        names = [f.name for f in fields]
        self.places = tuple(names.index(name) for name in ("service", "shape", "responder"))
        service, shape, _ = (fields[place] for place in self.places)
        pairs = np.stack([shape.groups["volume"], shape.groups["ending"]], axis=1)
        outcome = torch.as_tensor(np.unique(pairs, axis=0, return_inverse=True)[1].ravel()).long()
        self.sizes = service.size, int(outcome.max()) + 1
        self.hosts = fields[self.places[2]].size
        self.width = sum(self.sizes) + 2
        self.register_buffer("outcome", outcome, persistent=False)
        self.register_buffer("counts", torch.zeros(1, 1, *self.sizes))
        self.register_buffer("edges", torch.ones(1, 1, dtype=torch.float64))
        self.register_buffer("spans", torch.zeros(1, 1, 2, dtype=torch.float64))
        self.register_buffer("large", torch.zeros(0, 3, dtype=torch.int64))
        self.register_buffer("large_counts", torch.zeros(1, 0))
        is_large = torch.as_tensor(shape.groups["size"]) >= LARGE
        self.least_large = int(outcome[is_large].min()) if bool(is_large.any()) else self.sizes[1]
        self.large: Tensor  # int64 [K, 3], service, outcome and responder of large flows
        self.large_counts: Tensor  # float32 [W, K]
        self.outcome: Tensor  # int64 [shapes], outcome of each shape, by volume first
        self.counts: Tensor
        self.edges: Tensor
        self.spans: Tensor

    @property
    def learned(self) -> WindowPlans:
        """The plans of the windows learned from."""
        return WindowPlans(
            counts=self.counts, edges=self.edges, spans=self.spans, large=self.large_counts
        )

    def classes(self, tokens: Tensor) -> Tensor:
        """Service, outcome and responder of flows [F, K]: int64 [F, 3]."""
        service, shape, responder = (tokens[:, place] for place in self.places)
        return torch.stack([service, self.outcome[shape], responder], dim=1)

    def count(self, classes: Tensor) -> Tensor:
        """Return the plan that flows of `classes` [F, 3] fulfil: float32 [services, outcomes]."""
        plan = torch.zeros(self.sizes, device=classes.device)
        ones = torch.ones(classes.shape[0], device=plan.device)
        return plan.index_put_((classes[:, 0], classes[:, 1]), ones, accumulate=True)

    def learn(self, windows: list[tuple[Tensor, Tensor, Tensor]]) -> None:
        """Keep the plans of windows, or an even choice of them.

        Args:
            windows: Of each window, classes int64 [F, 3] and starts float64 [F], as shares of it
                and ascending, and the end of each of its parts, float64 [P], see `part_edges`.
        """
        step = max(len(windows) / PLANS, 1.0)
        chosen = [windows[int(i * step)] for i in range(min(len(windows), PLANS))]
        most = max(edges.numel() for _, _, edges in chosen)
        device = self.counts.device
        self.counts = torch.zeros(len(chosen), most, *self.sizes, device=device)
        self.edges = torch.ones(len(chosen), most, dtype=torch.float64, device=device)
        self.spans = torch.ones(len(chosen), most, 2, dtype=torch.float64, device=device)
        for row, (classes, start, edges) in enumerate(chosen):
            self.edges[row, : edges.numel()] = edges
            part = parts_of(start, edges)
            for place in range(edges.numel()):
                here = torch.nonzero(part == place)[:, 0]
                if here.numel():
                    self.counts[row, place] = self.count(classes[here])
                    self.spans[row, place] = torch.stack([start[here[0]], start[here[-1]]])
        self._learn_large([classes for classes, _, _ in chosen])

    def _learn_large(self, windows: list[Tensor]) -> None:
        """Keep the responders of large flows of windows, those of the largest first."""
        large = [classes[classes[:, 1] >= self.least_large] for classes in windows]
        rows, place = torch.unique(torch.cat(large), dim=0, return_inverse=True)
        order = torch.argsort(rows[:, 1], descending=True, stable=True)[:LARGEST_BOOK]
        self.large = rows[order]
        ends = torch.tensor([0, *(part.shape[0] for part in large)]).cumsum(0).tolist()
        counts = [torch.bincount(place[a:b], minlength=rows.shape[0]) for a, b in pairwise(ends)]
        self.large_counts = torch.stack(counts)[:, order].float()

    def draw(self, window_count: int, random: torch.Generator) -> WindowPlans:
        """Draw plans like those learned."""
        device = self.counts.device
        row = torch.randint(self.counts.shape[0], (window_count,), generator=random, device=device)
        plan = self.counts[row]
        noise = torch.randn(window_count, 1, self.sizes[0], 1, generator=random, device=device)
        plan = plan * torch.exp(SPREAD * noise)
        chance = torch.rand(plan.shape, generator=random, device=device)
        counts = (plan.floor() + (chance < plan % 1)).clamp(min=0)
        return WindowPlans(
            counts=counts,
            edges=self.edges[row],
            spans=self._spans(row, random),
            large=self.large_counts[row],
        )

    def _spans(self, row: Tensor, random: torch.Generator) -> Tensor:
        """Spans of the plans `row`, whose ends lie elsewhere by a mean gap at most."""
        spans = self.spans[row]
        flows = self.counts[row].sum((2, 3)).double()
        whole = torch.diff(self.edges[row], dim=1, prepend=torch.zeros_like(self.edges[row, :1]))
        gap = (spans[..., 1] - spans[..., 0]) / flows.clamp(min=1)
        gap = torch.where(flows < FEW, whole / (flows + 1), gap)  # that of no single flow is kept
        shift = torch.rand(spans.shape, generator=random, device=spans.device, dtype=spans.dtype)
        ends = torch.cat([torch.zeros_like(self.edges[row][:, :1]), self.edges[row]], dim=1)
        moved = spans + (shift - 0.5) * 2 * gap[..., None]
        moved = torch.minimum(torch.maximum(moved, ends[:, :-1, None]), ends[:, 1:, None])
        return moved.cummax(-1).values

    def under(
        self, plans: WindowPlans, allowed: Mapping[str, Tensor], random: torch.Generator
    ) -> tuple[WindowPlans, bool]:
        """Tell what conditions leave of plans, and whether they bind.

        A condition on services leaves their flows of each part, which then begin anywhere in it; a
        window without any takes the plan of the one learned from that has most. What is learned
        of plans says nothing of other columns, so under conditions on those plans do not bind.
        """
        if "service" in allowed:
            mask = allowed["service"][:, None]
            counts, edges, large = plans.counts * mask, plans.edges.clone(), plans.large.clone()
            usual = self.counts * mask
            best = int(usual.sum((1, 2, 3)).argmax())
            none = counts.sum((1, 2, 3)) <= 0
            counts[none], edges[none] = usual[best], self.edges[best]
            large[none] = self.large_counts[best]
            spans = _anywhere(counts.sum((2, 3)).double(), edges, random)
            plans = WindowPlans(counts=counts, edges=edges, spans=spans, large=large)
        some = bool((plans.counts.sum((1, 2, 3)) > 0).all())
        return plans, not set(allowed) - {"service"} and some

    def features(self, services: Tensor, outcomes: Tensor, share_left: Tensor) -> Tensor:
        """Describe what is left of a part.

        Args:
            services: Flows left by service, float32 [..., services].
            outcomes: Flows left by outcome, float32 [..., outcomes].
            share_left: Share of the window's time until the part ends, float32 [...].

        Returns:
            float32 [..., width]: logs of what is left, and of the time there is for each flow.
        """
        total = services.sum(-1)
        pace = torch.log(share_left.clamp(min=1e-7) / (total + 1)) / 8
        both = torch.cat([services, outcomes, total[..., None]], dim=-1)
        return torch.cat([torch.log1p(both.clamp(min=0)) / 4, pace[..., None]], dim=-1)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take as many plans and parts as the model file has."""
        for name in ("counts", "edges", "spans", "large", "large_counts"):
            if prefix + name in state_dict:
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def _anywhere(flows: Tensor, edges: Tensor, random: torch.Generator) -> Tensor:
    """Where the first and the last of flows [W, P] begin that lie anywhere in their parts.

    Args:
        flows: float64 [W, P].
        edges: float64 [W, P], share of the window at which each part ends.
        random: Source of randomness.

    Returns:
        float64 [W, P, 2], the least and the largest of as many even draws.
    """
    begin = torch.cat([torch.zeros_like(edges[:, :1]), edges[:, :-1]], dim=1)
    shape = (2, *flows.shape)
    uniform = torch.rand(shape, generator=random, device=flows.device, dtype=flows.dtype)
    first = 1 - uniform[0] ** (1 / flows.clamp(min=1))
    last = first + (1 - first) * uniform[1] ** (1 / (flows - 1).clamp(min=1))
    last = torch.where(flows > 1, last, first)
    place = torch.stack([first, last], dim=-1)
    return begin[..., None] + (edges - begin)[..., None] * place


def part_edges(start: Tensor, *, windows: int) -> Tensor:
    """Cut a window into parts of equal time, those with FEW flows joined to the next.

    Args:
        start: float64 [F], share of the window at which each flow begins, ascending.
        windows: Windows that are learned from; many have fewer parts each.

    Returns:
        float64 [P], share of the window at which each part ends; the last is 1.
    """
    most = max(min(PARTS, ALL_PARTS // min(windows, PLANS)), 1)
    grid = torch.arange(1, most + 1, dtype=torch.float64, device=start.device) / most
    until = torch.searchsorted(start, grid).tolist()
    edges: list[float] = []
    before = 0
    for edge, count in zip(grid.tolist(), until, strict=True):
        if count - before >= FEW:
            edges.append(edge)
            before = count
    if start.numel() - before < FEW or not edges:  # the rest goes to the last part
        edges = edges[:-1]
    if not edges or edges[-1] < 1:
        edges.append(1.0)
    return torch.tensor(edges, dtype=torch.float64, device=start.device)


def parts_of(start: Tensor, edges: Tensor) -> Tensor:
    """Part in which each flow begins [F], from its start and the parts' ends [P]: int64 [F]."""
    return torch.searchsorted(edges, start, right=True).clamp(max=edges.numel() - 1)
