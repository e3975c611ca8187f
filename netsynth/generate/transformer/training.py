"""Fitting a level by likelihood: stop where held-out data says so, keep the best weights."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from netsynth.errors import ModelError
from netsynth.generate.transformer.config import TransformerConfig

log = logging.getLogger(__name__)

AVERAGE = 0.98  # of the weights that are evaluated and kept, per step
EPSILON = 1e-4  # of AdamW, for levels of flows and packets: rows of few examples move less


@dataclass(frozen=True, kw_only=True, slots=True)
class FitOutcome:
    """What fitting a level gave."""

    name: str
    epochs: int
    steps: int
    seconds: float
    train_nats: float
    held_out_nats: float

    @staticmethod
    def nothing(name: str) -> FitOutcome:
        """Outcome of a level that had nothing to learn."""
        return FitOutcome(
            name=name, epochs=0, steps=0, seconds=0.0, train_nats=0.0, held_out_nats=0.0
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class FitControl:
    """How a fit is watched and ended from outside.

    Attributes:
        report: Called with the share done (0..1) and a text.
        stop: Asked after each step; True ends training at the best weights so far.
        deadline: time.monotonic() at which to stop, or None.
    """

    report: Callable[[float, str], None]
    stop: Callable[[], bool]
    deadline: float | None = None


def fit_level(
    module: nn.Module,
    *,
    name: str,
    batches: Callable[[], Iterator[Callable[[], Tensor]]],
    evaluate: Callable[[], float],
    config: TransformerConfig,
    evaluate_steps: int,
    control: FitControl,
    epsilon: float = 1e-8,
) -> FitOutcome:
    """Train `module` until `evaluate` stops falling.

    Args:
        module: Its weights are left at the best averaged ones.
        name: For messages.
        batches: Makes the steps of an epoch; each is called for its mean loss.
        evaluate: Mean held-out loss in nats, lower is better.
        config: learning_rate is AdamW's, halved whenever an evaluation brings no gain; after
            `patience` of those, or max_epochs, the level is done.
        evaluate_steps: Steps between two evaluations.
        control: How the fit is watched and ended from outside.
        epsilon: AdamW's; the larger, the less far are weights moved that little speaks for.

    Raises:
        ModelError: If the loss is not a number.
    """
    began = time.monotonic()
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=config.learning_rate,
        betas=(0.9, 0.98),
        eps=epsilon,
        weight_decay=0.01,
    )
    average = [p.detach().clone() for p in module.parameters()]
    best = [p.clone() for p in average]
    module.eval()
    with torch.no_grad():
        best_loss = evaluate()  # what counting alone tells: a network that hurts is not taken
    misses, step, train_loss = 0, 0, math.nan
    log.debug("%s before training: held out %.4f", name, best_loss)
    running, epoch, text = True, 0, ""
    while running and epoch < config.max_epochs:
        epoch += 1
        for batch in batches():
            module.train()
            loss = batch()
            if not torch.isfinite(loss):
                raise ModelError(f"{name}: the loss is {loss.item()}; lower learning_rate")
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            warm = min(1.0, (step + 1) / 30)
            for group in optimiser.param_groups:
                group["lr"] = config.learning_rate * warm * 0.5 ** max(misses - 1, 0)
            optimiser.step()
            step += 1
            value = float(loss.detach())
            train_loss = value if math.isnan(train_loss) else 0.95 * train_loss + 0.05 * value
            blend = min(AVERAGE, step / (step + 10))
            with torch.no_grad():
                torch._foreach_lerp_(average, [p.detach() for p in module.parameters()], 1 - blend)
            late = control.deadline is not None and time.monotonic() > control.deadline
            last = control.stop() or late
            if step % evaluate_steps == 0 or last:
                held_out = _evaluate_with(module, average, evaluate)
                if held_out < best_loss - 1e-4:
                    best_loss, misses = held_out, 0
                    for kept, new in zip(best, average, strict=True):
                        kept.copy_(new)
                else:
                    misses += 1
                more_s = (time.monotonic() - began) / step * evaluate_steps
                more_s *= config.patience - misses  # if no evaluation brings a gain any more
                if control.deadline is not None:
                    more_s = min(more_s, max(control.deadline - time.monotonic(), 0))
                text = f"held out {held_out:.3f} nats, at least {more_s:.0f} s more"
                log.debug("%s step %d train %.4f held out %.4f", name, step, train_loss, held_out)
            share = max((epoch - 1) / config.max_epochs, misses / (config.patience + 1))
            control.report(min(0.99, share), text)
            if last or misses >= config.patience:
                running = False
                break
    if running:  # max_epochs ended it, perhaps before any evaluation
        held_out = _evaluate_with(module, average, evaluate)
        if held_out < best_loss:
            best_loss, best = held_out, average
    with torch.no_grad():
        for parameter, kept in zip(module.parameters(), best, strict=True):
            parameter.copy_(kept)
    module.eval()
    control.report(1.0, f"held out {best_loss:.3f} nats")
    return FitOutcome(
        name=name,
        epochs=epoch,
        steps=step,
        seconds=time.monotonic() - began,
        train_nats=train_loss,
        held_out_nats=best_loss,
    )


def _evaluate_with(
    module: nn.Module, weights: list[Tensor], evaluate: Callable[[], float]
) -> float:
    """Evaluate `module` with other weights in place, then put its own back."""
    own = [p.detach().clone() for p in module.parameters()]
    module.eval()
    with torch.no_grad():
        for parameter, weight in zip(module.parameters(), weights, strict=True):
            parameter.copy_(weight)
        result = evaluate()
        for parameter, weight in zip(module.parameters(), own, strict=True):
            parameter.copy_(weight)
    return result
