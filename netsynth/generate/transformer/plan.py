"""How many flows of each service and volume a window holds, and what is left of them.

Drawn one by one, flows drift: a scan that comes a little too seldom is missing by the thousand at
the end, and of the three flows that carry half of the bytes there may be one or six. So a window
begins with a plan, the number of its flows by service and volume, and each flow is drawn knowing
what is left of it, as the levels below know what is left of the flow and of the step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from netsynth.tables import TokenField

PLANS = 32  # windows whose plans are kept, at most
SPREAD = 0.03  # relative spread of a service's flows from window to window of the same plan


class Plans(nn.Module):
    """Plans of the windows learned from, and new ones like them.

    Args:
        fields: Columns of the flow level; the group "volume" of "shape" is the class of a flow's
            packets.
    """

    def __init__(self, fields: tuple[TokenField, ...]) -> None:
        super().__init__()
        names = [f.name for f in fields]
        self.places = names.index("service"), names.index("shape")
        service, shape = (fields[place] for place in self.places)
        volume = torch.as_tensor(shape.groups["volume"]).long()
        self.volume_count = int(volume.max()) + 1
        self.width = service.size + self.volume_count + 2
        self.register_buffer("volume", volume, persistent=False)
        self.register_buffer("counts", torch.zeros(PLANS, service.size, self.volume_count))
        self.register_buffer("ends", torch.ones(PLANS, dtype=torch.float64))
        self.register_buffer("known", torch.zeros((), dtype=torch.int64))
        self.volume: Tensor  # int64 [shapes], volume of each shape
        self.counts: Tensor  # float32 [PLANS, services, volumes]
        self.ends: Tensor  # float64 [PLANS], share of the window at which the last flow begins
        self.known: Tensor  # plans that are filled in

    def classes(self, tokens: Tensor) -> Tensor:
        """Service and volume of flows [F, K]: int64 [F, 2]."""
        service, shape = (tokens[:, place] for place in self.places)
        return torch.stack([service, self.volume[shape]], dim=1)

    def count(self, classes: Tensor) -> Tensor:
        """Return the plan that flows of `classes` [F, 2] fulfil: float32 [services, volumes]."""
        plan = torch.zeros_like(self.counts[0])
        ones = torch.ones(classes.shape[0], device=plan.device)
        return plan.index_put_((classes[:, 0], classes[:, 1]), ones, accumulate=True)

    def learn(self, plans: list[Tensor], ends: list[float]) -> None:
        """Keep the plans of windows and where their last flows begin, or an even choice of them."""
        step = max(len(plans) / PLANS, 1.0)
        rows = [int(i * step) for i in range(min(len(plans), PLANS))]
        self.counts[: len(rows)] = torch.stack([plans[i] for i in rows])
        self.ends[: len(rows)] = torch.tensor([ends[i] for i in rows], dtype=torch.float64)
        self.known.fill_(len(rows))

    def draw(self, window_count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw plans like those learned.

        Returns:
            Plans, float32 [W, services, volumes], whole numbers; share of the window at which the
            last flow begins, float64 [W].
        """
        device = self.counts.device
        known = max(int(self.known), 1)
        row = torch.randint(known, (window_count,), generator=random, device=device)
        plan = self.counts[row]
        noise = torch.randn(plan.shape[:2], generator=random, device=device)
        plan = plan * torch.exp(SPREAD * noise)[..., None]
        chance = torch.rand(plan.shape, generator=random, device=device)
        return (plan.floor() + (chance < plan % 1)).clamp(min=0), self.ends[row]

    def under(self, plans: Tensor, allowed: Mapping[str, Tensor]) -> tuple[Tensor, bool]:
        """Tell what conditions leave of plans [W, services, volumes], and whether they bind.

        A condition on services leaves their part, a flow of it at least. What is learned of plans
        says nothing of other columns, so under conditions on those plans do not bind.
        """
        if "service" in allowed:
            mask = allowed["service"][:, None]
            plans = plans * mask
            usual = (self.counts[: max(int(self.known), 1)].mean(0) * mask).ceil()
            plans = torch.where(plans.sum((1, 2), keepdim=True) > 0, plans, usual)
        binds = not set(allowed) - {"service"} and bool((plans.sum((1, 2)) > 0).all())
        return plans, binds

    def features(self, services: Tensor, volumes: Tensor, share_left: Tensor) -> Tensor:
        """Describe what is left.

        Args:
            services: Flows left by service, float32 [..., services].
            volumes: Flows left by volume, float32 [..., volumes].
            share_left: Share of the window's time that is left, float32 [...].

        Returns:
            float32 [..., width]: logs of what is left, and of the time there is for each flow.
        """
        total = services.sum(-1)
        pace = torch.log(share_left.clamp(min=1e-7) / (total + 1)) / 8
        both = torch.cat([services, volumes, total[..., None]], dim=-1)
        return torch.cat([torch.log1p(both.clamp(min=0)) / 4, pace[..., None]], dim=-1)


class Left:
    """What is left of the plans of W windows while their flows are drawn."""

    def __init__(self, plans: Plans, left: Tensor, *, strict: bool) -> None:
        """Begin with `left` [W, services, volumes]; `strict` rules out what is not in it."""
        self.plans = plans
        self.left = left
        self.strict = strict

    def take(self, classes: Tensor) -> None:
        """Count a flow of each window, its service and volume [W, 2]."""
        place = torch.arange(classes.shape[0], device=classes.device), *classes.unbind(1)
        self.left[place] = (self.left[place] - 1).clamp(min=0)

    def keep(self, rows: Tensor) -> None:
        """Keep the windows `rows` alone."""
        self.left = self.left[rows]

    def over(self) -> Tensor:
        """Tell which windows have no flow left: bool [W]."""
        if not self.strict:
            return torch.zeros_like(self.left[:, 0, 0], dtype=torch.bool)
        return self.left.sum((1, 2)) <= 0

    def features(self, share_left: Tensor) -> Tensor:
        """See `Plans.features`; [W, width]."""
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
            return self.left[rows, service][:, self.plans.volume] > 0
        return None


def left_after(before: Tensor, classes: Tensor) -> Tensor:
    """Count what is left after each flow, float32 [T, V].

    Args:
        before: float32 [V], what is left before the first of them.
        classes: int64 [T], class of each flow.
    """
    ones = nn.functional.one_hot(classes, before.numel()).to(before.dtype)
    return before - ones.cumsum(0)


def counts_before(classes: Tensor, size: int, *, every: int) -> Tensor:
    """Count each class before every `every`-th of F flows: float32 [C, size]."""
    blocks = -(-classes.numel() // every)
    place = torch.arange(classes.numel(), device=classes.device) // every * size + classes
    counts = torch.bincount(place, minlength=blocks * size).view(blocks, size)
    return (counts.cumsum(0) - counts).float()
