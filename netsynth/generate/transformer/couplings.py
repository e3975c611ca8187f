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
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netsynth.generate.transformer.within_flow import correlations, mixed, roots, shrunk_to_fit
from netsynth.numbers import Array, FloatArray, IntArray

# Flows that share a process: those with the same tokens in these columns. What flows of different
# services have in common is told by SHARED alone, what is left between those of one by OWN.
SHARED = ((), ("initiator",), ("responder",))
OWN = (
    ("service",),
    ("service", "initiator"),
    ("service", "responder"),
    ("service", "initiator", "responder"),
)
GROUPS = SHARED + OWN
SCALES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0, 100.0)  # windows that likeness lasts
LAGS = (1, 2, 3, 5, 8, 13, 21, 34)  # flows of a group between two that are compared
PAIRS = 300_000  # that are compared
ENOUGH = 100  # flows of a service that are told by themselves
CERTAIN = 4.0  # standard errors below which likeness is taken for chance
MOST = 0.98  # of a score's variance that processes make up
NOTHING = 1e-9  # what is kept of a score that it no longer moves
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
    """Tell where tokens lie in their distributions.

    Args:
        logits: [M, size], of tokens in the order of what they stand for.
        token: int64 [M], places in that order.

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

    def __init__(self, names: tuple[str, ...], details: tuple[str, ...], *, services: int) -> None:
        """Make couplings of nothing.

        Args:
            names: The columns of a flow's tokens.
            details: Those of them that may be coupled.
            services: Tokens of the column "service".
        """
        super().__init__()
        self.groups = [[names.index(name) for name in group] for group in GROUPS]
        self.service = names.index("service")
        self.details = details
        shape = (services, len(details), len(GROUPS), len(SCALES))
        self.register_buffer("weights", torch.zeros(shape))
        self.register_buffer("within", torch.eye(len(details)).repeat(services, 1, 1))
        self.weights: Tensor  # [services, D, G, S], shares of the variance
        self.within: Tensor  # [services, D, D], correlations of a flow's scores

    def learn(self, windows: list[FlowScores], *, window_ns: int) -> None:
        """Find how alike flows are that follow one another.

        Products of the scores of two flows have the covariance of their processes as their mean;
        its weights are those of least squares that are not negative, drawn to 0 by what chance
        explains (Lawson and Hanson, "Solving Least Squares Problems", 1974, chapter 23; Tibshirani,
        "Regression Shrinkage and Selection via the Lasso", 1996). Flows of different services tell
        of the processes that services share, then flows of one of what is left.
        """
        pairs = _compared(windows, self, window_ns=window_ns)
        service = torch.cat([w.tokens[:, self.service] for w in windows]).cpu().numpy()
        count = np.bincount(service, minlength=self.weights.shape[0])
        shared = len(SHARED) * len(SCALES)
        weights = np.zeros((*self.weights.shape[:2], len(GROUPS) * len(SCALES)))
        unlike = pairs.service[0] != pairs.service[1]
        rare = count < ENOUGH
        for d in range(len(self.details)):
            common = pairs.fit(d, unlike, pairs.alike[:, :shared])
            told = pairs.alike[:, :shared] @ common.astype(np.float32)
            features = np.column_stack([told, pairs.alike[:, shared:]])
            kinds: list[tuple[Any, Any]] = [(rare, ~unlike & rare[pairs.service[0]])]
            kinds += [
                (token, ~unlike & (pairs.service[0] == token)) for token in np.flatnonzero(~rare)
            ]
            for tokens, some in kinds:
                part = pairs.fit(d, some, features)
                weights[tokens, d, :shared] = common * min(part[0], 1.0)
                weights[tokens, d, shared:] = part[1:]
        total = weights.sum(axis=2, keepdims=True)
        weights *= np.minimum(1.0, MOST / np.maximum(total, 1e-9))
        self.weights = torch.as_tensor(
            weights.reshape(tuple(self.weights.shape)),
            dtype=torch.float32, device=self.weights.device,
        )  # fmt: skip
        self.within = _within(windows, self, np.flatnonzero(~rare))

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
        service = tokens[:, self.service]
        used = (self.weights > 0).any(dim=0)  # [D, G, S]
        rest = self._rest()
        coupled = used.any(dim=2).any(dim=1) | ((rest != 0).sum(2) > 1).any(dim=0)
        noises = {d: normal(d) for d in torch.nonzero(coupled)[:, 0].tolist()}
        root = roots(rest)
        score = {d: mixed(root, service, noises, d) for d in noises}
        source = len(self.details)
        for g in range(len(GROUPS)):
            if not used[:, g].any():
                continue
            group = torch.unique(
                torch.stack([window, self.codes(tokens, g)], dim=1), dim=0, return_inverse=True
            )[1]
            order = torch.argsort(start_ns, stable=True)
            order = order[torch.argsort(group[order], stable=True)]
            apart, follows = start_ns[order].diff() / window_ns, group[order].diff() == 0
            for s in torch.nonzero(used[:, g].any(dim=0))[:, 0].tolist():
                keep = torch.exp(-apart / SCALES[s]).where(follows, 0.0)
                keep = torch.cat([keep.new_zeros(1), keep])
                moves = (1 - keep.square()).clamp(min=0).sqrt()
                for d in torch.nonzero(used[:, g, s])[:, 0].tolist():
                    share = self.weights[service[order], d, g, s].double().sqrt()
                    score[d][order] += share * decaying_sums(keep, normal(source)[order] * moves)
                    source += 1
        return {self.details[d]: torch.special.ndtr(values) for d, values in score.items()}

    def _rest(self) -> Tensor:
        """Covariances of what no process tells of a flow: float64 [services, D, D]."""
        rest = self.within.double() - torch.diag_embed(self.weights.double().sum((2, 3)))
        variance = rest.diagonal(dim1=1, dim2=2)
        fitted = [
            shrunk_to_fit(matrix, own)
            for matrix, own in zip(rest.cpu().numpy(), variance.cpu().numpy(), strict=True)
        ]
        return torch.as_tensor(np.stack(fitted), device=rest.device)

    def codes(self, tokens: Tensor, group: int) -> Tensor:
        """One number a tuple of the tokens that make up a group: int64 [F]."""
        code = torch.zeros_like(tokens[:, 0])
        for column in self.groups[group]:
            code = code * 100_003 + tokens[:, column]
        return code


@dataclass(slots=True)
class _Pairs:
    """Pairs of flows that are compared.

    Attributes:
        service: int64 [2, P].
        alike: float32 [P, G * S], covariance that each process gives to the two.
        product: float64 [P, D], of their scores.
        weight: float64 [P, D], of their spreads.
    """

    service: IntArray
    alike: Array
    product: FloatArray
    weight: FloatArray

    def fit(self, d: int, some: NDArray[np.bool_], alike: Array) -> FloatArray:
        """Weights [C] by which `alike` [P, C] tells products of detail d, from `some` pairs."""
        own = alike[some].astype(np.float64)
        weight, product = self.weight[some, d], self.product[some, d]
        square = (own * weight[:, None]).T @ own
        noise = np.maximum(np.square(own).T @ np.square(product), np.diag(square))
        return _shrunk(square, own.T @ product - CERTAIN * np.sqrt(noise))


def decaying_sums(keep: Tensor, added: Tensor) -> Tensor:
    """Return x with x[i] = keep[i] * x[i - 1] + added[i], float64 [M] all; keep[0] is 0.

    References:
        Hillis, Steele, "Data parallel algorithms", CACM 29, 1986.
    """
    keep, total = keep.where(keep > NOTHING, 0.0), added.clone()
    step = 1
    while step < keep.numel() and bool((keep[step:] > 0).any()):
        total[step:] = total[step:] + keep[step:] * total[:-step]
        both = keep[step:] * keep[:-step]
        keep[step:] = both.where(both > NOTHING, 0.0)  # or what others draw beside would matter
        step *= 2
    return total


def _compared(windows: list[FlowScores], couplings: Couplings, *, window_ns: int) -> _Pairs:
    """Compare flows of each window."""
    total = sum(len(w.tokens) for w in windows)
    bias = _biases(windows, couplings)
    parts: list[tuple[Array, ...]] = []
    for window in windows:
        codes = [couplings.codes(window.tokens, g).cpu().numpy() for g in range(len(GROUPS))]
        service = window.tokens[:, couplings.service].cpu().numpy()
        time = window.start_ns.double().cpu().numpy()
        first, second = _pairs(codes, time, limit=PAIRS * len(time) // max(total, 1) + 1)
        apart = np.abs(time[first] - time[second]) / window_ns
        decay = np.exp(-apart[:, None] / np.array(SCALES)).astype(np.float32)
        alike = [(code[first] == code[second])[:, None] * decay for code in codes]
        score, spread = window.score.cpu().numpy() - bias[service], window.spread.cpu().numpy()
        parts.append(
            (
                np.stack([service[first], service[second]]).T,
                np.concatenate(alike, axis=1),
                score[first] * score[second],
                spread[first] * spread[second],
            )
        )
    service, *rest = (np.concatenate(part) for part in zip(*parts, strict=True))
    return _Pairs(service.T, *rest)


def _within(windows: list[FlowScores], couplings: Couplings, services: IntArray) -> Tensor:
    """Correlations of the scores of a flow of each of `services`: float32 [services, D, D]."""
    tokens = torch.cat([w.tokens[:, couplings.service] for w in windows]).cpu().numpy()
    score = torch.cat([w.score for w in windows]).cpu().numpy()
    score = score - _biases(windows, couplings)[tokens]
    spread = torch.cat([w.spread for w in windows]).cpu().numpy()
    found = torch.eye(score.shape[1]).repeat(couplings.within.shape[0], 1, 1)
    for token in services.tolist():
        rows = tokens == token
        found[token] = torch.as_tensor(correlations(score[rows], spread[rows])).float()
    return found.to(couplings.within.device)


def _biases(windows: list[FlowScores], couplings: Couplings) -> FloatArray:
    """Mean score of each service, by which the model is off: float64 [services, D]."""
    service = torch.cat([w.tokens[:, couplings.service] for w in windows]).cpu().numpy()
    score = torch.cat([w.score for w in windows]).cpu().numpy()
    size = couplings.weights.shape[0]
    count = np.maximum(np.bincount(service, minlength=size), 1)
    sums = [np.bincount(service, column, minlength=size) for column in score.T]
    return np.asarray(np.stack(sums, axis=1) / count[:, None])


def _pairs(codes: list[IntArray], time: FloatArray, *, limit: int) -> tuple[IntArray, IntArray]:
    """Pairs of flows, LAGS apart in one of the groups, `limit` at most: int64 [P] each."""
    count = time.size
    random = np.random.default_rng(0)
    most = 2 * limit // (len(codes) * len(LAGS)) + 1  # of a group and lag: many are the same
    found = []
    for code in codes:
        order = np.lexsort((time, code))
        for lag in LAGS:
            first, second = order[:-lag], order[lag:]
            same = np.flatnonzero(code[first] == code[second])
            if same.size > most:
                same = random.permutation(same)[:most]
            low = np.minimum(first[same], second[same])
            found.append(low * count + np.maximum(first[same], second[same]))
    pairs = np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int64)
    if pairs.size > limit:
        pairs = random.permutation(pairs)[:limit]
    return pairs // max(count, 1), pairs % max(count, 1)


def _shrunk(square: FloatArray, pull: FloatArray) -> FloatArray:
    """Minimise w A w / 2 - b w over w >= 0 by coordinate descent; A [C, C], b and w [C]."""
    diagonal = np.diag(square)
    weights = np.zeros_like(pull)
    used = np.flatnonzero(diagonal > 0)
    for _ in range(300):
        before = weights.copy()
        for k in used:
            rest = pull[k] - square[k] @ weights + diagonal[k] * weights[k]
            weights[k] = max(rest / diagonal[k], 0.0)
        if np.abs(weights - before).max(initial=0.0) < 1e-5:
            break
    weights[weights < LEAST] = 0.0
    return weights
