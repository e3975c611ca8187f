"""Periods that series of a dataset share, and how their states are told the phase.

Series that begin together have their weeks and years in common, and what kind of series it is
(a site, a plan) says how strong each is and when it peaks: a product of the two, which attention
over the records before approximates slowly.

References:
    Bloomfield, "Fourier Analysis of Time Series", 2nd ed., 2000, chapter 6 (the periodogram).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.dataset import SeriesDataset
from netsynth.numbers import FloatArray

MOST_PERIODS = 4
FINER = 8  # frequencies looked at for each that the length tells apart
STANDS_OUT = 8.0  # times the median power, from which a peak is a rhythm
MOST_SERIES = 2000
SHORTEST = 20  # records of series in which rhythms are looked for


def find_periods(dataset: SeriesDataset) -> list[float]:
    """Find periods, in records, of the strongest rhythms of the numbers of a dataset.

    The power of each frequency is averaged over series, of log(1 + |x|) about its mean; lengths
    below half of the longest do not count.
    """
    length = int(dataset.lengths.max(initial=0))
    rows = np.flatnonzero(dataset.lengths * 2 >= length)[:MOST_SERIES]
    if length < SHORTEST or rows.size == 0:
        return []
    some = dataset.take(rows)
    power = np.zeros(FINER * length // 2 + 1)
    for place, column in enumerate(dataset.schema.measurements):
        if column.is_categorical:
            continue
        series = np.log1p(np.abs(some.dense()[:, :, place]))
        active = np.arange(length) < some.lengths[:, None]
        mean = (series * active).sum(axis=1) / some.lengths
        centred = (series - mean[:, None]) * active
        spread = np.sqrt((centred**2).sum(axis=1))
        centred = centred[spread > 1e-9] / spread[spread > 1e-9, None]
        if centred.size:
            power += (np.abs(np.fft.rfft(centred, n=FINER * length, axis=1)) ** 2).mean(axis=0)
    return _peaks(power, length)


def _peaks(power: FloatArray, length: int) -> list[float]:
    """Periods of the highest peaks, each the highest within what the length can tell apart."""
    power = power.copy()
    power[: FINER // 2] = 0  # longer than two series
    floor = STANDS_OUT * float(np.median(power))
    found = []
    for _ in range(MOST_PERIODS):
        top = int(np.argmax(power))
        if power[top] <= floor or power[top] == 0:
            break
        found.append(FINER * length / top)
        power[max(top - FINER, 0) : top + FINER + 1] = 0
    return found


class Rhythm(nn.Module):
    """What the phase of each period adds to the state of a record, by kind of series."""

    def __init__(self, periods: tuple[float, ...], *, steps: int, width: int) -> None:
        super().__init__()
        step = torch.arange(steps, dtype=torch.float64)[:, None]
        angle = 2 * torch.pi * step / torch.tensor(periods, dtype=torch.float64)
        phase = torch.cat([angle.sin(), angle.cos()], dim=1).float()  # [T, 2 periods]
        self.register_buffer("phase", phase, persistent=False)
        self.phase: Tensor
        self.shared = nn.Linear(phase.shape[1], width, bias=False)
        self.own = nn.Linear(phase.shape[1], width, bias=False)
        self.kind = nn.Linear(width, width)

    def forward(self, step: Tensor, kind: Tensor) -> Tensor:
        """Map steps [M] and what `kind_of` gave of their series [M, H] to [M, H]."""
        phase = self.phase[step]
        added: Tensor = self.shared(phase) + self.own(phase) * kind
        return added

    def kind_of(self, prefix: Tensor) -> Tensor:
        """Map embedded prefixes [B, P, H] to what a rhythm is multiplied by, [B, H]."""
        kind: Tensor = self.kind(prefix.sum(dim=1))
        return kind
