"""Flows that follow one another are alike: a path that is slow stays so for a while.

The columns of a flow's details are drawn each from its own distribution. Which quantile of it comes
is not drawn anew for each flow, but from a Gaussian copula: normal scores that are sums of
Ornstein-Uhlenbeck processes, some of them shared by all flows, others by those of a service, a host
or a pair of hosts. What a column's distribution is stays as it was.

References:
    Sklar, "Fonctions de repartition a n dimensions et leurs marges", 1959; Uhlenbeck and Ornstein,
    "On the theory of the Brownian motion", Phys. Rev. 36, 1930.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.numbers import FloatArray, IntArray

# Flows that share a process: those with the same tokens in these columns.
GROUPS = (
    (),
    ("service",),
    ("initiator",),
    ("responder",),
    ("service", "responder"),
    ("service", "initiator", "responder"),
)
SCALES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 100.0)  # windows that likeness lasts
LAGS = (1, 2, 3, 5, 8, 13, 21, 34)  # flows of a group between two that are compared
PAIRS = 200_000  # that are compared
CERTAIN = 3.0  # standard errors below which likeness is taken for chance
MOST = 0.98  # of a score's variance that processes make up
LEAST = 0.01  # weight below which a process is left out


@dataclass(slots=True)
class FlowScores:
    """Flows of a window and where in their distributions they lie.

    Attributes:
        tokens: int64 [F, K], every column.
        start_ns: float64 [F].
        score: float64 [F, D], normal score of each detail: the mean over the token's quantiles.
        spread: float64 [F, D], mean square that the score has under the distribution.
    """

    tokens: Tensor
    start_ns: Tensor
    score: Tensor
    spread: Tensor


def normal_scores(logits: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
    """Tell where tokens lie in their distributions, in the order of the tokens.

    Args:
        logits: [M, size].
        token: int64 [M].

    Returns:
        Mean normal score over the quantiles of each token, and its mean square under the
        distribution, float64 [M] each.
    """
    share = torch.softmax(logits.double(), dim=1)
    high = share.cumsum(1).clamp(max=1.0)
    low = (high - share).clamp(min=0.0)
    density = [
        torch.exp(-torch.special.ndtri(edge).square() / 2) / math.sqrt(2 * math.pi)
        for edge in (low, high)
    ]
    middle = torch.special.ndtri(((low + high) / 2).clamp(1e-12, 1 - 1e-12))
    mean = torch.where(share > 1e-9, (density[0] - density[1]) / share.clamp(min=1e-9), middle)
    mean = mean.clamp(-7, 7)
    return mean.gather(1, token[:, None])[:, 0], (share * mean.square()).sum(1)


class Couplings(nn.Module):
    """Weights of the processes that the details of flows follow."""

    def __init__(self, names: tuple[str, ...], details: tuple[str, ...]) -> None:
        """Make couplings of nothing.

        Args:
            names: The columns of a flow's tokens.
            details: Those of them that may be coupled; their tokens are in order.
        """
        super().__init__()
        self.groups = [[names.index(name) for name in group] for group in GROUPS]
        self.details = details
        shape = (len(details), len(GROUPS), len(SCALES))
        self.register_buffer("weights", torch.zeros(shape, dtype=torch.float64))
        self.weights: Tensor  # [D, G, S], shares of the variance

    def learn(self, windows: list[FlowScores], *, window_ns: int) -> None:
        """Find how alike flows are that follow one another.

        Products of the scores of two flows have the covariance of their processes as their mean;
        its weights are those of least squares that are not negative, drawn to 0 by what chance
        explains (Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23; Tibshirani,
        "Regression Shrinkage and Selection via the Lasso", 1996).
        """
        count = len(GROUPS) * len(SCALES)
        width = len(self.details)
        square = np.zeros((width, count, count))
        product = np.zeros((width, count))
        total = sum(len(w.tokens) for w in windows)
        for window in windows:
            codes = [self._codes(window.tokens, g).cpu().numpy() for g in range(len(GROUPS))]
            time = window.start_ns.double().cpu().numpy()
            first, second = _pairs(codes, time, limit=PAIRS * len(time) // max(total, 1) + 1)
            apart = np.abs(time[first] - time[second]) / window_ns
            decay = np.exp(-apart[:, None] / np.array(SCALES))
            alike = np.concatenate(
                [(code[first] == code[second])[:, None] * decay for code in codes], axis=1
            )
            score, spread = window.score.cpu().numpy(), window.spread.cpu().numpy()
            for d in range(width):
                weight = spread[first, d] * spread[second, d]
                square[d] += (alike * weight[:, None]).T @ alike
                product[d] += alike.T @ (score[first, d] * score[second, d])
        weights = np.stack([_shrunk(square[d], product[d]) for d in range(width)])
        weights = weights.reshape(tuple(self.weights.shape))
        self.weights = torch.as_tensor(weights, device=self.weights.device)

    def draw(
        self,
        tokens: Tensor,
        window: Tensor,
        start_ns: Tensor,
        *,
        window_ns: int,
        normal: Callable[[int], Tensor],
    ) -> dict[str, Tensor]:
        """Draw the quantiles of the details of flows.

        Args:
            tokens: int64 [F, >= 6], the skeletons.
            window: int64 [F].
            start_ns: float64 [F].
            window_ns: Length of a window.
            normal: Called with 0, 1, 2 .., draws standard normal numbers, float64 [F].

        Returns:
            By name of a column float64 [F] in 0..1; columns without couplings are missing.
        """
        drawn = {}
        source = iter(range(1 << 30))
        for d, name in enumerate(self.details):
            weights = self.weights[d].cpu().numpy()
            if weights.sum() <= 0:
                continue
            score = normal(next(source)) * math.sqrt(1 - weights.sum())
            for g, s in np.argwhere(weights > 0):
                code = window * (1 << 32) + torch.unique(
                    self._codes(tokens, g), return_inverse=True
                )[1]
                order = torch.argsort(start_ns, stable=True)
                order = order[torch.argsort(code[order], stable=True)]
                apart = start_ns[order].diff() / (SCALES[s] * window_ns)
                keep = torch.exp(-apart).masked_fill(code[order].diff() != 0, 0.0)
                keep = torch.cat([keep.new_zeros(min(order.numel(), 1)), keep])
                noise = normal(next(source))[order] * (1 - keep.square()).clamp(min=0).sqrt()
                score[order] += math.sqrt(weights[g, s]) * decaying_sums(keep, noise)
            drawn[name] = torch.special.ndtr(score)
        return drawn

    def _codes(self, tokens: Tensor, group: int) -> Tensor:
        """One number a tuple of the tokens that make up a group: int64 [F]."""
        code = torch.zeros_like(tokens[:, 0])
        for column in self.groups[group]:
            code = code * 100_003 + tokens[:, column]
        return code


def decaying_sums(keep: Tensor, added: Tensor) -> Tensor:
    """Return x with x[i] = keep[i] * x[i - 1] + added[i], float64 [M] all; keep[0] is 0.

    References:
        Hillis, Steele, "Data parallel algorithms", CACM 29, 1986.
    """
    keep, total = keep.clone(), added.clone()
    step = 1
    while step < keep.numel() and bool((keep[step:] > 0).any()):
        total[step:] = total[step:] + keep[step:] * total[:-step]
        keep[step:] = keep[step:] * keep[:-step]
        step *= 2
    return total


def _pairs(codes: list[IntArray], time: FloatArray, *, limit: int) -> tuple[IntArray, IntArray]:
    """Pairs of flows, LAGS apart in one of the groups, `limit` at most: int64 [P] each."""
    count = time.size
    found = []
    for code in codes:
        order = np.lexsort((time, code))
        for lag in LAGS:
            first, second = order[:-lag], order[lag:]
            same = code[first] == code[second]
            low = np.minimum(first[same], second[same])
            found.append(low * count + np.maximum(first[same], second[same]))
    pairs = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    if pairs.size > limit:
        pairs = pairs[np.random.default_rng(0).permutation(pairs.size)[:limit]]
    return pairs // max(count, 1), pairs % max(count, 1)


def _shrunk(square: FloatArray, product: FloatArray) -> FloatArray:
    """Minimise w A w / 2 - (b - CERTAIN sqrt(diag A)) w over w >= 0 by coordinate descent: [C]."""
    diagonal = np.diag(square)
    pull = product - CERTAIN * np.sqrt(diagonal)
    weights = np.zeros_like(product)
    used = np.flatnonzero(diagonal > 0)
    for _ in range(300):
        before = weights.copy()
        for k in used:
            rest = pull[k] - square[k] @ weights + diagonal[k] * weights[k]
            weights[k] = max(rest / diagonal[k], 0.0)
        if np.abs(weights - before).max() < 1e-5:
            break
    weights[weights < LEAST] = 0.0
    return weights * min(1.0, MOST / max(weights.sum(), 1e-9))
