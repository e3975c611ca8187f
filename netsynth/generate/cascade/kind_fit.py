"""The kinds of records by likelihood, before G3 and D3 meet.

Cross entropy learns in seconds which flags follow which; a critic's gradient through softened
choices takes hours. What it is told costs a tenth of an adversarial step: there is no critic, and
no penalty.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.pairs import Batches
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.training import FitControl, FitOutcome, fit_level

LEARNING_RATE = 2e-3
PATIENCE = 2  # looks at held-out records without a gain
EVALUATE_STEPS = 60
JUDGED = 8192  # held-out records that are looked at
SHARE_OF_TIME = 0.3  # of the phase, where that is bounded


def fit_kinds(batches: Batches, *, config: CascadeConfig, control: FitControl) -> FitOutcome:
    """Train G3 on the likelihood of kinds, on real inputs, until held-out records say stop.

    Args:
        batches: The pairs and their data; G3 is left at its best weights.
        config: `batch` and `kind_likelihood`; where that is 0, nothing is done.
        control: How the fit is watched and ended; it takes a part of the time to the deadline.
    """
    rows, held_out = (batches.rows("records", held_out=h) for h in (False, True))
    if config.kind_likelihood == 0 or rows.numel() == 0:
        return FitOutcome.nothing("kinds")
    held_out = held_out if held_out.numel() else rows
    judged = held_out[torch.linspace(0, held_out.numel() - 1, min(JUDGED, held_out.numel())).long()]

    def steps() -> Iterator[Callable[[], Tensor]]:
        order = rows[torch.randperm(rows.numel(), device=rows.device)]
        for at in range(0, rows.numel(), config.batch):
            yield lambda some=order[at : at + config.batch]: kind_loss(batches, some)  # type: ignore[misc]

    if control.deadline is not None:
        now = time.monotonic()
        end = now + SHARE_OF_TIME * max(control.deadline - now, 0)
        control = dataclasses.replace(control, deadline=end)
    return fit_level(
        batches.cascade.g3,
        name="kinds",
        batches=steps,
        evaluate=lambda: float(kind_loss(batches, judged)),
        config=TransformerConfig(
            learning_rate=LEARNING_RATE, patience=PATIENCE, max_epochs=config.max_epochs
        ),
        evaluate_steps=EVALUATE_STEPS,
        control=control,
    )


def kind_loss(batches: Batches, rows: Tensor) -> Tensor:
    """Mean cross entropy of the kinds of records `rows` [B], in nats, all inputs real."""
    data, cascade = batches.data, batches.cascade
    flow = data.flow[rows]
    window = batches.windows.of(data.row[rows])
    _, logits = cascade.read_records(
        data.conditions[flow], data.tuples[flow], window, data.place.take(rows)
    )
    return nn.functional.cross_entropy(logits, data.kind[rows])
