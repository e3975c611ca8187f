"""Cells of a measurement as a token and a number each, and back.

Counts that are mostly small, or few different ones, are tokens: small ones exactly, larger ones in
bins. Any other number is zero, or a standardised value: of its logarithm, where it spans more than
a decade, and then, in series of several records, of its logarithm over that of the series' mean.
What is large for one series is little for another, and a rhythm is the same at every scale.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from netsynth.dataset import CATEGORICAL, COUNT, Column, SeriesDataset
from netsynth.generate.tst.config import TstConfig
from netsynth.numbers import FloatArray, IntArray, NumberCodec, fit_number_codec

LOG_FROM = 10.0  # largest over smallest value from which a column is taken by its logarithm
LONG = 20  # records that usual series have at least where counts may be told as numbers
SEVERAL = 2  # records that they have at least where numbers are told over their mean
MOSTLY = 0.5  # share of cells


@dataclass(frozen=True, kw_only=True, slots=True)
class ValueCodec:
    """A measurement's cells <-> a token and a standardised number each.

    Attributes:
        column: What it is.
        counts: Tokens of counts; None for other kinds, and for counts that are told as numbers.
        is_log: Numbers are taken by their logarithm.
        is_relative: And over the mean of their series.
        mean: Of the numbers that are not 0 (of their logarithms).
        spread: Standard deviation of those.
        low: Smallest standardised number.
        high: Largest.
        has_zeros: Whether a number was ever 0; where none was, none is drawn.
    """

    column: Column
    counts: NumberCodec | None
    is_log: bool
    is_relative: bool
    mean: float
    spread: float
    low: float
    high: float
    has_zeros: bool = True

    @property
    def size(self) -> int:
        """Tokens: values of a category, of a count, or zero and not zero."""
        if self.column.is_categorical:
            return len(self.column.values)
        return 2 if self.counts is None else self.counts.size

    @property
    def has_number(self) -> bool:
        """Whether a number follows the token."""
        return not self.column.is_categorical and self.counts is None

    def encode(
        self, cells: FloatArray, means: FloatArray, uniform: FloatArray
    ) -> tuple[IntArray, FloatArray]:
        """Return tokens int64 [N] and standardised numbers float64 [N], 0 where there are none.

        Args:
            cells: float64 [N].
            means: float64 [N], mean of each cell's series.
            uniform: float64 [N] in [0, 1), spreads counts that are told as numbers.
        """
        nothing = np.zeros(cells.shape)
        if self.column.is_categorical:
            return cells.astype(np.int64), nothing
        if self.counts is not None:
            return self.counts.encode(cells), nothing
        inner = _inner(self.column, cells, means if self.is_relative else None, uniform)
        if not self.is_log:
            inner = cells
        number = np.where(cells != 0, (inner - self.mean) / self.spread, 0)
        return (cells != 0).astype(np.int64), number

    def decode(
        self, tokens: IntArray, numbers: FloatArray, means: FloatArray, uniform: FloatArray
    ) -> FloatArray:
        """Inverse of `encode`, cells [N]; `uniform` in [0, 1) places counts in their bins."""
        if self.column.is_categorical:
            return tokens.astype(np.float64)
        if self.counts is not None:
            made = np.round(self.counts.decode(tokens, uniform))
        else:
            inner = np.clip(numbers, self.low, self.high) * self.spread + self.mean
            if self.is_log:
                inner = np.exp(np.minimum(inner, 700)) * (means if self.is_relative else 1.0)
            if self.column.kind == COUNT:
                inner = np.maximum(np.round(inner), 1)
            made = np.where(tokens > 0, inner, 0.0) if self.has_zeros else inner
        return np.clip(made, self.column.low, self.column.high)

    def to_row(self) -> list[Any]:
        """What is no array, in plain values."""
        scale = [self.mean, self.spread, self.low, self.high]
        return [self.is_log, self.is_relative, *scale, self.has_zeros]

    @staticmethod
    def from_row(row: list[Any], *, column: Column, counts: NumberCodec | None) -> ValueCodec:
        """Inverse of `to_row`."""
        is_log, is_relative, mean, spread, low, high = row[:6]
        return ValueCodec(
            column=column,
            counts=counts,
            is_log=bool(is_log),
            is_relative=bool(is_relative),
            mean=float(mean),
            spread=float(spread),
            low=float(low),
            high=float(high),
            has_zeros=bool(row[6]) if len(row) > 6 else True,
        )


def fit_value_codec(
    column: Column,
    cells: FloatArray,
    means: FloatArray,
    config: TstConfig,
    *,
    usual_length: float,
) -> ValueCodec:
    """Choose how the cells [N] of a measurement become tokens and numbers.

    Args:
        column: The measurement.
        cells: float64 [N].
        means: float64 [N], mean of each cell's series.
        config: Settings.
        usual_length: Records of a usual series.
    """
    counts, is_log, is_relative = None, False, False
    mean, spread, low, high = 0.0, 1.0, 0.0, 0.0
    is_long = usual_length >= LONG
    if column.kind == COUNT:
        codec = fit_number_codec(cells, exact_below=config.exact_counts, atom_count=64)
        many = (cells >= config.exact_counts).mean() > MOSTLY
        exact = np.isin(cells, codec.atoms).mean() > MOSTLY
        counts = None if many and not exact and is_long else codec
    if column.kind != CATEGORICAL and counts is None and cells.any():
        rows = np.flatnonzero(cells != 0)
        some = cells[rows]
        is_log = column.kind == COUNT or bool(some.min() > 0 and some.max() / some.min() > LOG_FROM)
        is_relative = is_log and usual_length >= SEVERAL
        middle = np.full(rows.size, 0.5)
        inner = some
        if is_log:
            inner = _inner(column, some, means[rows] if is_relative else None, middle)
        mean, spread = float(inner.mean()), float(inner.std()) or 1.0
        low, high = float(inner.min() - mean) / spread, float(inner.max() - mean) / spread
    return ValueCodec(
        column=column, counts=counts, is_log=is_log, is_relative=is_relative, mean=mean,
        spread=spread, low=low, high=high, has_zeros=bool((cells == 0).any()),
    )  # fmt: skip


def series_means(dataset: SeriesDataset, measurement: int) -> FloatArray:
    """Mean of a measurement over the series of each record, float64 [N]; 1 where all are 0."""
    mean = dataset.totals(measurement) / dataset.lengths
    return np.repeat(np.where(mean > 0, mean, 1.0), dataset.lengths)


def _inner(
    column: Column, cells: FloatArray, means: FloatArray | None, uniform: FloatArray
) -> FloatArray:
    """Logarithms of cells [N], over those of `means`; counts are spread over the unit they fill."""
    spread = cells + uniform - 0.5 if column.kind == COUNT else cells
    log = np.log(np.where(cells > 0, spread, 1.0))
    return log if means is None else log - np.log(means)
