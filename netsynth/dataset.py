"""Samples of metadata and a series each: what packet flows are one instance of.

A dataset holds F samples; each has m metadata columns and a series of 1 to T records of K
measurements. Letters: F samples, N records in all, m metadata columns, K measurements, T steps.

References:
    Lin et al., "Using GANs for Sharing Networked Time Series Data", IMC 2020, section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.columns import (
    CATEGORICAL,
    COUNT,
    KINDS,
    NUMERIC,
    TIME_UNITS,
    Column,
    SeriesSchema,
    TimeAxis,
)
from netsynth.errors import TableError
from netsynth.numbers import FloatArray, IntArray

__all__ = [
    "CATEGORICAL", "COUNT", "KINDS", "NUMERIC", "TIME_UNITS", "Column", "SeriesDataset",
    "SeriesSchema", "TimeAxis", "join_datasets",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesDataset:
    """Samples with metadata and a series each, as flat arrays.

    Attributes:
        schema: What the columns are.
        metadata: float64 [F, m]; categorical cells are rows of the column's values.
        values: float64 [N, K], all series one after the other; categorical cells likewise.
        offsets: int64 [F+1]; the records of sample f are offsets[f]:offsets[f+1].
    """

    schema: SeriesSchema
    metadata: FloatArray
    values: FloatArray
    offsets: IntArray

    def __post_init__(self) -> None:
        count = self.offsets.size - 1
        if self.metadata.shape != (count, len(self.schema.metadata)):
            raise TableError(
                f"metadata has shape {self.metadata.shape}, "
                f"but must be ({count}, {len(self.schema.metadata)})"
            )
        if self.values.ndim != 2 or self.values.shape[1] != len(self.schema.measurements):
            raise TableError(
                f"values has shape {self.values.shape}, "
                f"but must be [N, {len(self.schema.measurements)}]"
            )
        if self.offsets[0] != 0 or self.offsets[-1] != self.values.shape[0]:
            raise TableError(f"offsets must run from 0 to {self.values.shape[0]}")
        lengths = np.diff(self.offsets)
        if count and (lengths.min() < 1 or lengths.max() > self.schema.max_length):
            row = int(np.argmax((lengths < 1) | (lengths > self.schema.max_length)))
            raise TableError(
                f"sample {row} has {lengths[row]} records, "
                f"but must have 1 to {self.schema.max_length}"
            )
        for cells, columns, what in (
            (self.metadata, self.schema.metadata, "sample"),
            (self.values, self.schema.measurements, "record"),
        ):
            _check_cells(cells, columns, what)

    def __len__(self) -> int:
        return int(self.offsets.size - 1)

    @property
    def lengths(self) -> IntArray:
        """Records of each series, int64 [F]."""
        return np.diff(self.offsets)

    @property
    def sample_of_record(self) -> IntArray:
        """Sample that each record belongs to, int64 [N]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    @property
    def step_of_record(self) -> IntArray:
        """Place of each record in its series, int64 [N], from 0."""
        return np.arange(self.values.shape[0]) - np.repeat(self.offsets[:-1], self.lengths)

    def take(self, rows: IntArray | NDArray[np.bool_]) -> SeriesDataset:
        """Return the samples at `rows` (places or a mask)."""
        rows = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows
        lengths = self.lengths[rows]
        offsets = np.concatenate(([0], np.cumsum(lengths)))
        inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        at = np.repeat(self.offsets[:-1][rows], lengths) + inside
        return SeriesDataset(
            schema=self.schema,
            metadata=self.metadata[rows],
            values=self.values[at],
            offsets=offsets,
        )

    def dense(self) -> FloatArray:
        """Return the series as float64 [F, T, K] with zeros behind their ends; T is the longest."""
        width = int(self.lengths.max(initial=0))
        table = np.zeros((len(self), width, self.values.shape[1]))
        table[self.sample_of_record, self.step_of_record] = self.values
        return table

    def totals(self, measurement: int) -> FloatArray:
        """Return the sum of one measurement over each series, float64 [F]."""
        return np.add.reduceat(self.values[:, measurement], self.offsets[:-1])

    def times_ns(self) -> IntArray:
        """Return the time of each record, int64 [N], ns since the epoch.

        Raises:
            TableError: If the schema knows no times.
        """
        axis = self.schema.time
        if axis is None:
            raise TableError("these series have no times")
        start = np.full(len(self), axis.origin_ns, dtype=np.int64)
        names = [column.name for column in self.schema.metadata]
        if axis.start in names:
            seconds = self.metadata[:, names.index(axis.start)]
            start += np.round(seconds * 1e9).astype(np.int64)
        if axis.step_ns:
            passed = self.step_of_record * axis.step_ns
        else:
            place = [column.name for column in self.schema.measurements].index(axis.gap)
            gaps = np.round(self.values[:, place] * 1e9).astype(np.int64)
            gaps[self.offsets[:-1]] = 0
            whole = np.cumsum(gaps)
            passed = whole - np.repeat(whole[self.offsets[:-1]], self.lengths)
        times = np.repeat(start, self.lengths) + passed
        grain = axis.grain_ns
        return times if grain == 1 else (times + grain // 2) // grain * grain


def join_datasets(parts: list[SeriesDataset]) -> SeriesDataset:
    """Put the samples of datasets of one schema after each other."""
    lengths = np.concatenate([part.lengths for part in parts])
    return SeriesDataset(
        schema=parts[0].schema,
        metadata=np.concatenate([part.metadata for part in parts]),
        values=np.concatenate([part.values for part in parts]),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )


def _check_cells(cells: FloatArray, columns: tuple[Column, ...], what: str) -> None:
    """Refuse cells that are no numbers, and categories that do not exist."""
    bad = ~np.isfinite(cells)
    for place, column in enumerate(columns):
        cell = cells[:, place]
        if column.is_categorical:
            bad[:, place] |= (cell < 0) | (cell >= len(column.values)) | (cell != np.floor(cell))
    if bad.any():
        row, place = (int(index) for index in np.argwhere(bad)[0])
        raise TableError(f"{what} {row} holds {cells[row, place]} in column {columns[place].name}")
