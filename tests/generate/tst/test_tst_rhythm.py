"""Periods found in series made of them, and phases that come back after a period."""

import numpy as np
import pytest
import torch

from netsynth.dataset import NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.generate.tst.rhythm import Rhythm, find_periods


def dataset(values: np.ndarray) -> SeriesDataset:
    count, length = values.shape
    schema = SeriesSchema(
        metadata=(), measurements=(Column(name="x", kind=NUMERIC, low=0, high=1e9),),
        max_length=length,
    )  # fmt: skip
    return SeriesDataset(
        schema=schema, metadata=np.zeros((count, 0)), values=values.reshape(-1, 1),
        offsets=np.arange(count + 1) * length,
    )  # fmt: skip


def test_a_week_and_a_month_are_found_at_any_phase_and_scale() -> None:
    random = np.random.default_rng(0)
    day = np.arange(200)
    phase, scale = random.random((2, 60, 1)) * 2 * np.pi
    log = 5 + scale + np.sin(2 * np.pi * day / 7 + phase) + 0.5 * np.sin(2 * np.pi * day / 30)
    periods = find_periods(dataset(np.exp(log + random.normal(0, 0.3, log.shape))))
    assert periods[0] == pytest.approx(7, rel=0.01)
    assert periods[1] == pytest.approx(30, rel=0.03)


def test_noise_constants_and_short_series_have_no_period() -> None:
    random = np.random.default_rng(0)
    assert find_periods(dataset(random.random((300, 100)))) == []
    assert find_periods(dataset(np.ones((5, 100)))) == []
    assert find_periods(dataset(random.random((50, 10)))) == []


def test_what_a_rhythm_adds_comes_back_after_its_period() -> None:
    torch.manual_seed(0)
    rhythm = Rhythm((7.0,), steps=30, width=6)
    kind = torch.randn(1, 6)
    with torch.no_grad():
        made = [rhythm(torch.tensor([step]), kind) for step in (3, 10, 24, 5)]
    assert torch.allclose(made[0], made[1], atol=1e-5)
    assert torch.allclose(made[0], made[2], atol=1e-5)
    assert not torch.allclose(made[0], made[3], atol=1e-3)
