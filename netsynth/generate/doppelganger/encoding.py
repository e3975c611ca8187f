"""Datasets as the numbers DoppelGANger works on, and back.

Categories are one-hot. Numbers are scaled to 0..1 (or -1..1) by the range of their column; with
auto-normalisation a series is scaled again by its own smallest and largest value, kept as
(max + min) / 2 and (max - min) / 2. Two flags end each record: [1, 0] goes on, [0, 1] is the last
record of a series, [0, 0] stands behind it.

References:
    Lin et al., IMC 2020, sections 4.1.1 and 4.1.3. Only the active records of a series make its
    range here, not the padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.dataset import COUNT, Column, SeriesDataset, SeriesSchema
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.numbers import FloatArray, IntArray

FLAGS = 2
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Scaling:
    """Numbers of one column <-> 0..1 or -1..1.

    Attributes:
        low: What becomes the smallest number, after the logarithm where there is one.
        high: What becomes 1.
        is_log: log(1 + x) comes first.
        is_centred: -1..1 instead of 0..1.
    """

    low: float
    high: float
    is_log: bool
    is_centred: bool

    @staticmethod
    def of(column: Column, config: DoppelgangerConfig) -> Scaling:
        """Scale a column by its range."""
        is_log = config.log_counts and column.kind == COUNT
        low, high = (np.log1p(v) if is_log else v for v in (column.low, column.high))
        centred = config.output == "tanh"
        return Scaling(low=float(low), high=float(high), is_log=is_log, is_centred=centred)

    def encode(self, numbers: FloatArray) -> FloatArray:
        """Scale numbers of any shape."""
        inner = np.log1p(np.maximum(numbers, 0)) if self.is_log else numbers
        scaled = (inner - self.low) / ((self.high - self.low) or 1.0)
        return scaled * 2 - 1 if self.is_centred else scaled

    def decode(self, scaled: FloatArray, column: Column) -> FloatArray:
        """Inverse of `encode`, kept within the column's range, whole where it counts."""
        share = (scaled + 1) / 2 if self.is_centred else scaled
        inner = self.low + np.clip(share, 0, 1) * (self.high - self.low)
        numbers = np.expm1(inner) if self.is_log else inner
        numbers = np.round(numbers) if column.kind == COUNT else numbers
        return np.clip(numbers, column.low, column.high)


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedSeries:
    """A dataset as DoppelGANger sees it; W counts the numbers of a record without flags.

    Attributes:
        metadata: float32 [F, A].
        ranges: float32 [F, R], (max + min) / 2 and (max - min) / 2 of each number in turn.
        records: float32 [N, W].
        offsets: int64 [F+1].
    """

    metadata: Floats
    ranges: Floats
    records: Floats
    offsets: IntArray

    def batch(self, rows: IntArray, width: int) -> Floats:
        """Series and flags of some samples with zeros behind, float32 [B, width, W + 2]."""
        lengths = np.diff(self.offsets)[rows]
        starts = np.cumsum(lengths) - lengths
        step = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
        place = np.repeat(np.arange(rows.size), lengths)
        made = np.zeros((rows.size, width, self.records.shape[1] + FLAGS), dtype=np.float32)
        made[place, step, :-FLAGS] = self.records[np.repeat(self.offsets[rows], lengths) + step]
        made[place, step, -FLAGS] = 1
        last = (np.arange(rows.size), lengths - 1)
        made[(*last, -FLAGS)] = 0
        made[(*last, -FLAGS + 1)] = 1
        return made


class SeriesEncoding:
    """Turns datasets of a schema into numbers and back."""

    def __init__(self, schema: SeriesSchema, config: DoppelgangerConfig) -> None:
        self.schema = schema
        self.is_centred = config.output == "tanh"
        self.auto_normalise = config.auto_normalise
        self.metadata_scales = [Scaling.of(column, config) for column in schema.metadata]
        self.scales = [Scaling.of(column, config) for column in schema.measurements]
        self.numeric = [i for i, c in enumerate(schema.measurements) if not c.is_categorical]

    @property
    def metadata_widths(self) -> list[tuple[str, int]]:
        """Output unit ("softmax" or the number's) and width of each metadata column."""
        return [self._unit(column) for column in self.schema.metadata]

    @property
    def range_widths(self) -> list[tuple[str, int]]:
        """Output unit and width of each half of each range."""
        unit = "tanh" if self.is_centred else "sigmoid"
        count = len(self.numeric) if self.auto_normalise else 0
        return [(unit, 1), ("sigmoid", 1)] * count

    @property
    def record_widths(self) -> list[tuple[str, int]]:
        """Output unit and width of each measurement, and of the flags."""
        return [self._unit(c) for c in self.schema.measurements] + [("softmax", FLAGS)]

    def encode(self, dataset: SeriesDataset) -> EncodedSeries:
        """Return a dataset as numbers."""
        columns = dataset.schema.measurements
        parts, ranges = [], []
        for place, column in enumerate(columns):
            cells = dataset.values[:, place]
            if column.is_categorical:
                parts.append(_one_hot(cells, column.width))
                continue
            scaled = self.scales[place].encode(cells)
            if self.auto_normalise:
                scaled, middle, half = normalise(scaled, dataset.offsets, self.is_centred)
                ranges += [middle, half]
            parts.append(scaled[:, None])
        range_table = np.stack(ranges, axis=1) if ranges else np.zeros((len(dataset), 0))
        return EncodedSeries(
            metadata=self.encode_metadata(dataset.metadata),
            ranges=range_table.astype(np.float32),
            records=np.concatenate(parts, axis=1).astype(np.float32),
            offsets=dataset.offsets,
        )

    def encode_metadata(self, metadata: FloatArray) -> Floats:
        """Return metadata [F, m] as numbers [F, A]."""
        parts = [np.zeros((metadata.shape[0], 0))]
        for place, column in enumerate(self.schema.metadata):
            cells = metadata[:, place]
            if column.is_categorical:
                parts.append(_one_hot(cells, column.width))
            else:
                parts.append(self.metadata_scales[place].encode(cells)[:, None])
        return np.concatenate(parts, axis=1).astype(np.float32)

    def decode_metadata(self, encoded: Floats) -> FloatArray:
        """Inverse of `encode_metadata`; the largest of a category's numbers is its value."""
        cells, at = np.zeros((encoded.shape[0], len(self.schema.metadata))), 0
        for place, column in enumerate(self.schema.metadata):
            part = encoded[:, at : at + column.width].astype(np.float64)
            if column.is_categorical:
                cells[:, place] = part.argmax(axis=1)
            else:
                cells[:, place] = self.metadata_scales[place].decode(part[:, 0], column)
            at += column.width
        return cells

    def decode(
        self, metadata: Floats, ranges: Floats, series: Floats, lengths: IntArray
    ) -> SeriesDataset:
        """Return what a generator made as a dataset.

        Args:
            metadata: float32 [B, A].
            ranges: float32 [B, R].
            series: float32 [B, T, W + 2].
            lengths: int64 [B], 1..T.
        """
        active = np.arange(series.shape[1]) < lengths[:, None]  # [B, T]
        records = series[active].astype(np.float64)  # [N, W + 2]
        sample = np.repeat(np.arange(lengths.size), lengths)
        cells, at, number = np.zeros((records.shape[0], len(self.schema.measurements))), 0, 0
        for place, column in enumerate(self.schema.measurements):
            part = records[:, at : at + column.width]
            at += column.width
            if column.is_categorical:
                cells[:, place] = part.argmax(axis=1)
                continue
            scaled = part[:, 0]
            if self.auto_normalise:
                middle, half = ranges[sample, 2 * number : 2 * number + 2].T.astype(np.float64)
                scaled = denormalise(scaled, middle, half, self.is_centred)
            cells[:, place] = self.scales[place].decode(scaled, column)
            number += 1
        return SeriesDataset(
            schema=self.schema,
            metadata=self.decode_metadata(metadata),
            values=cells,
            offsets=np.concatenate(([0], np.cumsum(lengths))),
        )

    def _unit(self, column: Column) -> tuple[str, int]:
        if column.is_categorical:
            return "softmax", column.width
        return ("tanh" if self.is_centred else "sigmoid"), 1


def normalise(
    scaled: FloatArray, offsets: IntArray, is_centred: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Scale each series by its own range.

    Args:
        scaled: float64 [N], all series one after the other.
        offsets: int64 [F+1].
        is_centred: To -1..1 instead of 0..1.

    Returns:
        The series [N], and (max + min) / 2 and (max - min) / 2 of each [F]. A series that never
        changes becomes 0.
    """
    high = np.maximum.reduceat(scaled, offsets[:-1])
    low = np.minimum.reduceat(scaled, offsets[:-1])
    lengths = np.diff(offsets)
    width = np.repeat(high - low, lengths)
    share = (scaled - np.repeat(low, lengths)) / np.where(width > 0, width, 1)
    if is_centred:
        share = np.where(width > 0, share * 2 - 1, 0)
    return share, (high + low) / 2, (high - low) / 2


def denormalise(
    share: FloatArray, middle: FloatArray, half: FloatArray, is_centred: bool
) -> FloatArray:
    """Inverse of `normalise`, all arguments [N]."""
    inner = share if is_centred else share * 2 - 1
    return middle + inner * np.maximum(half, 0)


def _one_hot(cells: FloatArray, width: int) -> FloatArray:
    return np.asarray(np.eye(width)[cells.astype(np.int64)])
