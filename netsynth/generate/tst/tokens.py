"""A dataset as tokens: a prefix that says what a series is, and values record by record.

The prefix of a sample is its metadata, the bucket of its length and those of its totals. A count
is a token: small ones exactly, larger ones in bins. Any other number is zero, or a standardised
value (of its logarithm, where it spans more than a decade).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.dataset import COUNT, SeriesDataset, SeriesSchema
from netsynth.errors import ModelError
from netsynth.generate.tst.config import TstConfig
from netsynth.generate.tst.rhythm import find_periods
from netsynth.generate.tst.totals import TotalCodec, fit_total_codec
from netsynth.generate.tst.values import ValueCodec, fit_value_codec, series_means
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec, fit_number_codec
from netsynth.tables import TokenField

LENGTH = "records"  # of the prefix; columns have a sign before their name, so cannot be it


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesTokens:
    """Turns datasets into prefixes and values, and back; learned by `fit_series_tokens`.

    Attributes:
        schema: Columns of the datasets.
        prefix_codecs: Of the first columns of the prefix: metadata (None for categories), length.
        totals: Of its last columns: the total of each measurement that is a number.
        values: Of each measurement.
        patch: Records that a position of the transformer holds.
        periods: Of rhythms that the series share, in records.
    """

    schema: SeriesSchema
    prefix_codecs: tuple[NumberCodec | None, ...]
    totals: tuple[TotalCodec, ...]
    values: tuple[ValueCodec, ...]
    patch: int
    periods: tuple[float, ...] = ()

    @property
    def totalled(self) -> list[int]:
        """Measurements whose totals stand in the prefix."""
        return [i for i, c in enumerate(self.schema.measurements) if not c.is_categorical]

    @property
    def length_place(self) -> int:
        """Column of the prefix that holds the length."""
        return len(self.schema.metadata)

    @property
    def prefix_fields(self) -> tuple[TokenField, ...]:
        """Columns of the prefix, in order."""
        names = [f"metadata {c.name}" for c in self.schema.metadata] + [LENGTH]
        sizes = [len(c.values) for c in self.schema.metadata]
        fields = [
            TokenField(name=name, size=sizes[place] if codec is None else codec.size, number=codec)
            for place, (name, codec) in enumerate(zip(names, self.prefix_codecs, strict=True))
        ]
        for place, total in zip(self.totalled, self.totals, strict=True):
            name = f"total {self.schema.measurements[place].name}"
            fields.append(TokenField(name=name, size=total.size))
        return tuple(fields)

    def encode_prefix(self, dataset: SeriesDataset) -> IntArray:
        """Return int64 [F, P]."""
        columns = [
            self.encode_metadata(place, dataset.metadata[:, place])
            for place in range(len(self.schema.metadata))
        ]
        columns.append(self._codec(self.length_place).encode(dataset.lengths))
        for measurement, codec in zip(self.totalled, self.totals, strict=True):
            totals = dataset.totals(measurement)
            totals = totals / dataset.lengths if codec.is_mean else totals
            columns.append(codec.encode(totals, dataset.metadata))
        return np.stack(columns, axis=1)

    def encode_metadata(self, place: int, cells: FloatArray) -> IntArray:
        """Return the tokens [F] of a metadata column."""
        codec = self.prefix_codecs[place]
        if codec is None:
            return cells.astype(np.int64)
        return codec.encode(cells - self.schema.metadata[place].low)

    def decode_metadata(self, prefix: IntArray, uniform: FloatArray) -> FloatArray:
        """Return metadata [F, m] of prefixes [F, P]; `uniform` [F, m] places numbers in bins."""
        cells = np.zeros((prefix.shape[0], len(self.schema.metadata)))
        for place, column in enumerate(self.schema.metadata):
            codec = self.prefix_codecs[place]
            if codec is None:
                cells[:, place] = prefix[:, place]
                continue
            made = codec.decode(prefix[:, place], uniform[:, place]) + column.low
            made = np.round(made) if column.kind == COUNT else made
            cells[:, place] = np.clip(made, column.low, column.high)
        return cells

    def lengths_within(self, prefix: IntArray) -> tuple[IntArray, IntArray]:
        """Return the fewest and most records, int64 [F] each, that prefixes [F, P] stand for."""
        codec, tokens = self._codec(self.length_place), prefix[:, self.length_place]
        low = np.ceil(codec.low[tokens] - 1e-9)
        high = np.maximum(np.floor(codec.high[tokens] + 1e-9), low)
        limit = self.schema.max_length
        return np.clip(low, 1, limit).astype(np.int64), np.clip(high, 1, limit).astype(np.int64)

    def draw_totals(
        self, prefix: IntArray, metadata: FloatArray, lengths: Array, uniform: FloatArray
    ) -> FloatArray:
        """Return totals [F, M] of prefixes of metadata [F, m] and series of `lengths` [F].

        `uniform` [F, M] places them in their buckets.
        """
        made = np.zeros((prefix.shape[0], len(self.totals)))
        for index, codec in enumerate(self.totals):
            tokens = prefix[:, self.length_place + 1 + index]
            made[:, index] = codec.decode(tokens, metadata, uniform[:, index])
            if codec.is_mean:
                made[:, index] *= lengths
        return made

    def expectations(self, prefix: IntArray, metadata: FloatArray) -> FloatArray:
        """Return the middle of each prefix's length and totals, float64 [F, 1 + M]."""
        codec, tokens = self._codec(self.length_place), prefix[:, self.length_place]
        length = (codec.low[tokens] + codec.high[tokens]) / 2
        middle = np.full((prefix.shape[0], len(self.totals)), 0.5)
        return np.column_stack([length, self.draw_totals(prefix, metadata, length, middle)])

    def _codec(self, place: int) -> NumberCodec:
        codec = self.prefix_codecs[place]
        assert codec is not None
        return codec

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the codecs as JSON-able facts and named arrays."""
        arrays: dict[str, Array] = {}
        for place, codec in enumerate(self.prefix_codecs):
            if codec is not None:
                arrays |= codec.to_arrays(f"prefix_{place}")
        for place, total in enumerate(self.totals):
            arrays |= total.to_arrays(f"total_{place}")
        numbers = []
        for place, value in enumerate(self.values):
            if value.counts is not None:
                arrays |= value.counts.to_arrays(f"value_{place}")
            numbers.append(value.to_row())
        return {"patch": self.patch, "periods": list(self.periods), "numbers": numbers}, arrays

    @staticmethod
    def from_parts(
        header: dict[str, Any], arrays: dict[str, Array], *, schema: SeriesSchema
    ) -> SeriesTokens:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If a part is missing.
        """
        total = sum(not c.is_categorical for c in schema.measurements)

        def codec(name: str) -> NumberCodec | None:
            known = f"{name}.atoms" in arrays
            return NumberCodec.from_arrays(name, arrays) if known else None

        try:
            values = tuple(
                ValueCodec.from_row(numbers, column=column, counts=codec(f"value_{place}"))
                for place, (column, numbers) in enumerate(
                    zip(schema.measurements, header["numbers"], strict=True)
                )
            )
            return SeriesTokens(
                schema=schema,
                prefix_codecs=tuple(
                    codec(f"prefix_{place}") for place in range(len(schema.metadata) + 1)
                ),
                totals=tuple(
                    TotalCodec.from_arrays(f"total_{place}", arrays) for place in range(total)
                ),
                values=values,
                patch=int(header["patch"]),
                periods=tuple(float(period) for period in header["periods"]),
            )
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise ModelError(f"the tokens of the series are malformed ({error})") from error


def fit_series_tokens(dataset: SeriesDataset, config: TstConfig) -> SeriesTokens:
    """Choose buckets and scales for a dataset."""
    schema, lengths = dataset.schema, dataset.lengths
    bins = config.bins or int(np.clip(len(dataset) // 20, 8, 64))
    prefix: list[NumberCodec | None] = [
        None
        if column.is_categorical
        else fit_number_codec(dataset.metadata[:, place] - column.low, bin_count=bins)
        for place, column in enumerate(schema.metadata)
    ]
    prefix.append(fit_number_codec(lengths, exact_below=65, bin_count=64))
    categories = [
        (place, len(column.values))
        for place, column in enumerate(schema.metadata)
        if column.is_categorical and len(column.values) > 1
    ]
    usual = int(np.quantile(lengths, 0.95))
    return SeriesTokens(
        schema=schema,
        prefix_codecs=tuple(prefix),
        totals=tuple(
            fit_total_codec(dataset.totals(place), lengths, dataset.metadata, categories, bins=bins)
            for place, column in enumerate(schema.measurements)
            if not column.is_categorical
        ),
        values=tuple(
            fit_value_codec(
                column,
                dataset.values[:, place],
                series_means(dataset, place),
                config,
                usual_length=float(np.median(lengths)),
            )
            for place, column in enumerate(schema.measurements)
        ),
        patch=config.patch_of(usual, schema.max_length),
        periods=tuple(find_periods(dataset)),
    )


def pad(cells: Array, offsets: IntArray, rows: IntArray, width: int) -> NDArray[Any]:
    """Lay cells [N, K] of samples `rows` side by side, [B, width, K] with zeros behind."""
    lengths = np.diff(offsets)[rows]
    starts = np.cumsum(lengths) - lengths
    step = np.arange(int(lengths.sum())) - np.repeat(starts, lengths)
    made = np.zeros((rows.size, width, cells.shape[1]), dtype=cells.dtype)
    made[np.repeat(np.arange(rows.size), lengths), step] = cells[
        np.repeat(offsets[rows], lengths) + step
    ]
    return made
