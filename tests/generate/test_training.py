"""fit_level stops where held-out data says so, and keeps the best weights."""

import math
import time
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from netsynth.errors import ModelError
from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.training import FitControl, FitOutcome, fit_level


class Point(nn.Module):
    """One weight, starting at 0."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.zeros(1))


def fit(
    point: Point,
    *,
    train_at: float = 3.0,
    held_out_at: float = 1.0,
    stop: Callable[[], bool] = lambda: False,
    deadline: float | None = None,
    max_epochs: int = 400,
    steps: int = 10,
    reports: list[float] | None = None,
) -> FitOutcome:
    """Pull the weight to `train_at`; held-out data would have it at `held_out_at`."""

    def batches() -> Iterator[Callable[[], Tensor]]:
        for _ in range(steps):
            yield lambda: ((point.place - train_at) ** 2).sum()

    return fit_level(
        point,
        name="point",
        batches=batches,
        evaluate=lambda: abs(float(point.place.detach()) - held_out_at),
        config=TransformerConfig(learning_rate=0.02, patience=3, max_epochs=max_epochs),
        evaluate_steps=5,
        control=FitControl(
            report=lambda share, _: reports.append(share) if reports is not None else None,
            stop=stop,
            deadline=deadline,
        ),
    )


def test_a_fit_stops_early_and_keeps_the_best_weights() -> None:
    """On its way to 3 the weight passes 1; the misses behind it end the fit, and 1 is kept."""
    point = Point()
    reports: list[float] = []
    outcome = fit(point, reports=reports)
    assert point.place.item() == pytest.approx(1.0, abs=0.1)
    assert outcome.held_out_nats == pytest.approx(abs(point.place.item() - 1.0), abs=1e-6)
    assert outcome.epochs < 50
    assert outcome.steps % 5 == 0
    assert all(0 <= share <= 1 for share in reports)
    assert not point.training


def test_a_fit_goes_on_while_held_out_data_gains() -> None:
    point = Point()
    outcome = fit(point, held_out_at=3.0)
    assert point.place.item() == pytest.approx(3.0, abs=0.05)
    assert outcome.held_out_nats < 0.05


def test_max_epochs_ends_a_fit_and_keeps_what_it_learned() -> None:
    """Three steps and no evaluation before the end: the weight has moved, and stays there."""
    point = Point()
    outcome = fit(point, max_epochs=1, steps=3)
    assert (outcome.epochs, outcome.steps) == (1, 3)
    assert point.place.item() > 0
    assert outcome.held_out_nats == pytest.approx(1 - point.place.item(), abs=1e-6)


def test_a_fit_that_is_stopped_keeps_the_best_so_far() -> None:
    point = Point()
    asked = iter([False] * 7 + [True] * 100)
    outcome = fit(point, stop=lambda: next(asked))
    assert outcome.steps == 8
    assert point.place.item() > 0
    assert math.isfinite(outcome.held_out_nats)


def test_a_deadline_ends_a_fit() -> None:
    outcome = fit(Point(), deadline=time.monotonic() - 1)
    assert outcome.steps == 1
    assert outcome.seconds < 5


def test_a_loss_that_is_no_number_is_told() -> None:
    with pytest.raises(ModelError, match="point: the loss is nan; lower learning_rate"):
        fit(Point(), train_at=math.nan)
