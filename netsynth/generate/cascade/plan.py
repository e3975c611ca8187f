"""How many flows of each size a window holds: drawn one by one, elephants come too often or never.

Of twelve flows one may carry all the packets; a window that draws each flow for itself has none of
that kind, or two, as often as one. So a window begins with a plan, its flows by octave of packets
either way, drawn like those of the windows learned from, and level 0 draws without replacement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netsynth.numbers import Array, FloatArray, IntArray

PLANS = 32  # windows whose plans are kept, at most
SPREAD = 0.03  # relative spread of an octave's flows from window to window of the same plan
NEVER = -1e9  # log weight of what a plan has no flow left of


@dataclass(frozen=True, kw_only=True, slots=True)
class SizePlans:
    """Plans of windows.

    Attributes:
        counts: float64 [P, A, B], flows of each window by octave of packets forward and reverse.
        ends: float64 [P], share of the window at which its last flow begins.
        forward: int64 [size], octave of each token of packets forward.
        reverse: int64 [size], octave of each token of packets reverse.
    """

    counts: FloatArray
    ends: FloatArray
    forward: IntArray
    reverse: IntArray

    def draw(
        self, window_count: int, rng: np.random.Generator, *, weight: FloatArray | None = None
    ) -> tuple[FloatArray, FloatArray]:
        """Draw plans like those learned.

        Args:
            window_count: How many.
            rng: Source of randomness.
            weight: float64 [A, B], how much likelier flows of each octave become; the flows of a
                plan stay as many.

        Returns:
            Plans, float64 [W, A, B], whole numbers, and their ends, float64 [W].
        """
        row = rng.integers(self.counts.shape[0], size=window_count)
        plan = self.counts[row]
        if weight is not None:
            flows = plan.sum(axis=(1, 2), keepdims=True)
            plan = plan * weight
            plan *= flows / np.maximum(plan.sum(axis=(1, 2), keepdims=True), 1e-12)
        plan = plan * np.exp(SPREAD * rng.standard_normal(plan.shape))
        return round_evenly(plan, rng), self.ends[row]

    def cell_weight(self, pairs: IntArray, counts: IntArray, weights: FloatArray) -> FloatArray:
        """Mean weight of each octave: float64 [A, B], 1 where no pair lies.

        Args:
            pairs: int64 [M, 2], tokens of packets forward and reverse.
            counts: int64 [M].
            weights: float64 [M].
        """
        place = self.forward[pairs[:, 0]], self.reverse[pairs[:, 1]]
        heavy, plain = np.zeros(self.counts.shape[1:]), np.zeros(self.counts.shape[1:])
        np.add.at(heavy, place, counts * weights)
        np.add.at(plain, place, counts)
        return np.where(plain > 0, heavy / np.maximum(plain, 1), 1.0)

    def to_arrays(self) -> dict[str, Array]:
        """Return the plans as named arrays, for a model file."""
        return {
            "plans.counts": self.counts,
            "plans.ends": self.ends,
            "plans.forward": self.forward,
            "plans.reverse": self.reverse,
        }

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> SizePlans:
        """Inverse of `to_arrays`."""
        return SizePlans(
            counts=arrays["plans.counts"],
            ends=arrays["plans.ends"],
            forward=arrays["plans.forward"],
            reverse=arrays["plans.reverse"],
        )


def fit_size_plans(
    windows: list[IntArray], ends: list[float], *, forward: IntArray, reverse: IntArray
) -> SizePlans:
    """Count the flows of windows, or of an even choice of them.

    Args:
        windows: Tokens of packets forward and reverse of the flows of each window, int64 [F, 2].
        ends: Share of each window at which its last flow begins.
        forward: int64 [size], octave of each token of packets forward.
        reverse: int64 [size], the same of packets reverse.
    """
    step = max(len(windows) / PLANS, 1.0)
    rows = [int(i * step) for i in range(min(len(windows), PLANS))]
    counts = np.zeros((len(rows), int(forward.max()) + 1, int(reverse.max()) + 1))
    for plan, row in zip(counts, rows, strict=True):
        np.add.at(plan, (forward[windows[row][:, 0]], reverse[windows[row][:, 1]]), 1.0)
    return SizePlans(
        counts=counts, ends=np.array([ends[row] for row in rows]), forward=forward, reverse=reverse
    )


def round_evenly(plan: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Round each plan [W, A, B] to whole numbers whose sums differ from its own by less than 1.

    Cells are rounded up with the chance of their fraction, by one lottery a plan: where octaves
    hold one flow or a part of one each, as many of them are drawn as there should be.
    """
    flat = plan.reshape(plan.shape[0], -1)
    before = np.cumsum(flat, axis=1) + rng.random((flat.shape[0], 1))
    whole = np.floor(before)
    return np.diff(whole, axis=1, prepend=0.0).clip(min=0).reshape(plan.shape)


class FlowsLeft:
    """What is left of the plans of W windows while level 0 draws their flows."""

    def __init__(self, plans: SizePlans, left: FloatArray, *, device: torch.device) -> None:
        """Begin with `left` [W, A, B]."""
        self.left = torch.as_tensor(left, dtype=torch.float32, device=device)
        share = plans.counts.sum(axis=0) / max(plans.counts.sum(), 1.0)
        self.share = torch.as_tensor(share, dtype=torch.float32, device=device).clamp_min(1e-9)
        self.forward = torch.as_tensor(plans.forward, device=device)
        self.reverse = torch.as_tensor(plans.reverse, device=device)

    def over(self) -> Tensor:
        """Tell which windows have no flow left: bool [W]."""
        return self.left.sum(dim=(1, 2)) < 0.5

    def keep(self, rows: Tensor) -> None:
        """Keep the windows `rows` alone."""
        self.left = self.left[rows]

    def weigh(self, name: str, seen: Tensor) -> Tensor | None:
        """Log weights of the tokens of column `name`, [W, size]; None for all alike.

        What is left of an octave over what a learned window would have left of it.

        Args:
            name: Column of level 0.
            seen: int64 [W, k], columns before it; the last is packets forward, for the reverse.
        """
        if name == "packets_forward":
            left, share = self.left.sum(dim=2), self.share.sum(dim=1)
            left = left / left.sum(dim=1, keepdim=True).clamp_min(1)
            return log_weight(left, share)[:, self.forward]
        if name == "packets_reverse":
            octave = self.forward[seen[:, -1]]
            left = self.left[torch.arange(octave.numel(), device=octave.device), octave]
            left = left / left.sum(dim=1, keepdim=True).clamp_min(1)
            share = self.share[octave]
            return log_weight(left, share / share.sum(dim=1, keepdim=True))[:, self.reverse]
        return None

    def take(self, forward: Tensor, reverse: Tensor) -> None:
        """Count a flow of each window, by its tokens of packets [W]."""
        rows = torch.arange(forward.numel(), device=forward.device)
        place = rows, self.forward[forward], self.reverse[reverse]
        self.left[place] = (self.left[place] - 1).clamp(min=0)


def log_weight(left: Tensor, share: Tensor) -> Tensor:
    """Log of left / share, NEVER where nothing is left."""
    return torch.where(left > 0, (left / share).clamp_min(1e-12).log(), NEVER)
