"""How many flows of each kind a window holds and when they start, as in windows learned from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import ConfigError
from netsynth.generate.flow_series.ranks import spread
from netsynth.numbers import Array, FloatArray, IntArray

WINDOWS = 32  # whose plans are kept, at most
SPREAD = 0.03  # relative spread of a kind's flows from window to window of the same plan
FLOWS_PER_KNOT = 8  # of the starts of a service
MOST_KNOTS = 512
SERVICE = 1  # column of a kind


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowPlans:
    """Windows learned from, by kind of flow and by when the flows of a service start.

    Attributes:
        kinds: int64 [M, 5], tokens of label, service, shape, responder and initiator that
            occurred together.
        counts: int64 [P, 3], window, kind and how many flows it has.
        knots: float64 [Q, 3], window, service, and a start as share of the window; those of one
            service ascend, at equal distances in rank.
        windows: Number of windows.
    """

    kinds: IntArray
    counts: IntArray
    knots: FloatArray
    windows: int

    def draw(
        self, window_count: int, *, allowed: NDArray[np.bool_], rng: np.random.Generator
    ) -> tuple[IntArray, IntArray, IntArray]:
        """Draw which flows windows hold.

        Args:
            window_count: How many windows.
            allowed: bool [M], kinds that may come.
            rng: Source of randomness.

        Returns:
            Plan that each window follows [W], and window [F] and kind [F] of each flow.

        Raises:
            ConfigError: If no kind is allowed.
        """
        if not allowed.any():
            raise ConfigError("the model has learned no flow that fulfils the conditions together")
        plan = rng.integers(self.windows, size=window_count)
        parts = []
        for window, row in enumerate(plan):
            mine = self.counts[self.counts[:, 0] == row]
            mine = mine[allowed[mine[:, 1]]]
            if mine.shape[0] == 0:  # of what is allowed, this window had nothing
                continue
            wanted = mine[:, 2] * np.exp(SPREAD * rng.normal(size=mine.shape[0]))
            number = np.floor(wanted).astype(np.int64)
            number += rng.random(mine.shape[0]) < wanted - number
            kind = np.repeat(mine[:, 1], number)
            parts.append(np.stack([np.full(kind.size, window), kind], axis=1))
        rows = np.concatenate([np.zeros((0, 2), dtype=np.int64), *parts])
        if rows.shape[0] == 0:
            kind = self.counts[allowed[self.counts[:, 1]], 1][:1]
            rows = np.stack([np.zeros(kind.size, dtype=np.int64), kind], axis=1)
        return plan, rows[:, 0], rows[:, 1]

    def start_shares(
        self, plan: IntArray, window: IntArray, service: IntArray, order: FloatArray,
        uniform: FloatArray,
    ) -> FloatArray:  # fmt: skip
        """When flows start, as shares of their window: float64 [F].

        Args:
            plan: int64 [W], see `draw`.
            window: int64 [F].
            service: int64 [F].
            order: float64 [F]; the flows of a service start in this order.
            uniform: float64 [F] in [0, 1).
        """
        size = int(service.max(initial=0)) + 1
        rank = spread(window * size + service, order, uniform)
        made = np.zeros(rank.size)
        for row in np.unique(plan[window]):
            mine = self.knots[self.knots[:, 0] == row]
            for one in np.unique(service[plan[window] == row]):
                flows = np.flatnonzero((plan[window] == row) & (service == one))
                knots = mine[mine[:, 1] == one, 2]
                made[flows] = np.interp(rank[flows], np.linspace(0, 1, knots.size), knots)
        return made

    def to_arrays(self) -> dict[str, Array]:
        """Return the plans as named arrays, for a model file."""
        return {
            "plans.kinds": self.kinds,
            "plans.counts": self.counts,
            "plans.knots": self.knots,
            "plans.windows": np.array([self.windows]),
        }

    @staticmethod
    def from_arrays(arrays: dict[str, Array]) -> WindowPlans:
        """Inverse of `to_arrays`."""
        return WindowPlans(
            kinds=arrays["plans.kinds"],
            counts=arrays["plans.counts"],
            knots=arrays["plans.knots"],
            windows=int(arrays["plans.windows"][0]),
        )


def fit_window_plans(kinds: list[IntArray], start_shares: list[FloatArray]) -> WindowPlans:
    """Learn plans of windows.

    Args:
        kinds: int64 [F, 5] of each window, see `WindowPlans.kinds`.
        start_shares: float64 [F] of each window, in 0..1.
    """
    every, code = np.unique(np.concatenate(kinds), axis=0, return_inverse=True)
    ends = np.cumsum([0] + [part.shape[0] for part in kinds])
    filled = [i for i, part in enumerate(kinds) if part.shape[0]]
    step = max(len(filled) / WINDOWS, 1.0)
    kept = [filled[int(i * step)] for i in range(min(len(filled), WINDOWS))]
    counts, knots = [], []
    for place, index in enumerate(kept):
        of_kind, number = np.unique(code.ravel()[ends[index] : ends[index + 1]], return_counts=True)
        counts.append(np.stack([np.full(of_kind.size, place), of_kind, number], axis=1))
        service = kinds[index][:, SERVICE]
        for one in np.unique(service):
            some = start_knots(np.sort(start_shares[index][service == one]))
            knots.append(np.stack([np.full(some.size, place), np.full(some.size, one), some], 1))
    return WindowPlans(
        kinds=every.astype(np.int64),
        counts=np.concatenate(counts).astype(np.int64),
        knots=np.concatenate(knots).astype(np.float64),
        windows=len(kept),
    )


def start_knots(starts: FloatArray) -> FloatArray:
    """Quantiles of ascending starts [F], one for each few, whose ends lie half a gap outside."""
    count = int(np.clip(starts.size // FLOWS_PER_KNOT, 1, MOST_KNOTS))
    knots = np.asarray(np.quantile(starts, np.linspace(0, 1, count + 1)), dtype=np.float64)
    half = 0.5 / starts.size if starts.size < 2 else (starts[-1] - starts[0]) / (2 * starts.size)
    knots[0] = max(knots[0] - half, 0.0)
    knots[-1] = min(knots[-1] + half, 1.0)
    return knots
