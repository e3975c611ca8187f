"""Fitting level 0: blocks of flows held out, training stopped at their best likelihood."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.flow_data import CONDITIONS
from netsynth.generate.cascade.start_level import DETAILS, FLOWS_BEFORE, SKELETON, StartLevel
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.flow_level import clock_features
from netsynth.generate.transformer.training import EPSILON, FitControl, fit_level
from netsynth.numbers import FloatArray, IntArray, NumberCodec

BATCH = 2048  # flows a step
LEARNING_RATE = 4e-3


@dataclass(slots=True)
class StartData:
    """Flows of all windows, as level 0 sees them; see `StartLevel.loss`."""

    before: Tensor
    clock: Tensor
    own_clock: Tensor
    tokens: Tensor


def start_gaps(start_ns: IntArray) -> IntArray:
    """Gaps from start to start of the flows of a window, the first from the window's start."""
    return np.diff(start_ns, prepend=0)


def start_tokens(
    codecs: dict[str, NumberCodec], gaps_ns: IntArray, label: IntArray, numbers: FloatArray
) -> IntArray:
    """Tokens of flows in level 0: int64 [F, 11]."""
    column = {name: numbers[:, i] for i, name in enumerate(CONDITIONS)}
    column |= {"gap": gaps_ns.astype(np.float64)}
    tokens = [
        label if name == "label" else codecs[name].encode(column[name])
        for name in (*SKELETON, *DETAILS)
    ]
    return np.stack(tokens, axis=1)


def start_data(
    tokens: IntArray, start_ns: IntArray, *, window_ns: int, device: torch.device
) -> StartData:
    """Lay out the flows of one window, in order of start."""
    width = len(SKELETON)
    count = tokens.shape[0]
    before = np.zeros((count, FLOWS_BEFORE * width), dtype=np.int64)
    for lag in range(min(FLOWS_BEFORE, max(count - 1, 0))):
        rows = slice(lag * width, (lag + 1) * width)
        before[lag + 1 :, rows] = tokens[: count - lag - 1, :width] + 1
    start = torch.as_tensor(start_ns, device=device)
    earlier = torch.cat([start.new_zeros(min(1, count)), start[:-1]])
    return StartData(
        before=torch.as_tensor(before, device=device),
        clock=clock_features(earlier, window_ns),
        own_clock=clock_features(start, window_ns),
        tokens=torch.as_tensor(tokens, device=device),
    )


def join_data(parts: list[StartData]) -> StartData:
    """Put the flows of several windows together."""
    names = StartData.__slots__
    return StartData(*(torch.cat([getattr(p, n) for p in parts]) for n in names))


def fit_starts(
    level: StartLevel,
    data: StartData,
    held_out: Tensor,
    *,
    config: CascadeConfig,
    seed: int,
    control: FitControl,
) -> dict[str, float]:
    """Train level 0 on `data`, but for the flows `held_out` [F]; say how it went."""
    random = np.random.default_rng([seed, 3])
    train = torch.nonzero(~held_out)[:, 0]
    test = torch.nonzero(held_out)[:, 0] if held_out.any() else train
    level.set_counts(data.tokens[train], choose=True)

    def loss(rows: Tensor) -> Tensor:
        return level.loss(
            data.before[rows], data.clock[rows], data.own_clock[rows], data.tokens[rows]
        )

    size = int(min(BATCH, max(train.numel() // 6, 16)))

    def batches() -> Iterator[Callable[[], Tensor]]:
        order = torch.as_tensor(random.permutation(train.numel()), device=train.device)
        for at in range(0, train.numel(), size):
            rows = train[order[at : at + size]]
            yield lambda rows=rows: loss(rows).mean()  # type: ignore[misc]

    def evaluate() -> float:
        parts = [loss(test[at : at + 8192]).sum() for at in range(0, test.numel(), 8192)]
        return float(torch.stack(parts).sum()) / test.numel()

    outcome = fit_level(
        level,
        name="starts",
        batches=batches,
        evaluate=evaluate,
        config=TransformerConfig(
            learning_rate=LEARNING_RATE, patience=config.patience, max_epochs=config.max_epochs
        ),
        evaluate_steps=max(12, -(-train.numel() // size)),
        control=control,
        epsilon=EPSILON,
    )
    level.set_counts(data.tokens, choose=False)
    return {
        "steps": float(outcome.steps),
        "seconds": outcome.seconds,
        "held_out_nats": outcome.held_out_nats,
    }
