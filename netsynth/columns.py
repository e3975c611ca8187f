"""What the columns of series are: names, kinds, ranges, and how times follow from them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsynth.errors import ModelError, TableError

CATEGORICAL, NUMERIC, COUNT = "categorical", "numeric", "count"
KINDS = (CATEGORICAL, NUMERIC, COUNT)
TIME_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1, "iso": 1}  # in ns


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """A metadata column or a measurement.

    Attributes:
        name: Its name, no other column's.
        kind: "categorical" (one of `values`), "numeric", or "count" (whole numbers from 0 on).
        values: What a categorical column may hold; its cells are rows of this.
        low: Smallest number of the others.
        high: Largest.
    """

    name: str
    kind: str
    values: tuple[str, ...] = ()
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TableError(
                f"column {self.name} is {self.kind!r}, but must be one of {', '.join(KINDS)}"
            )
        if self.kind == CATEGORICAL and not self.values:
            raise TableError(f"column {self.name} is categorical, but lists no values")
        if len(set(self.values)) != len(self.values):
            raise TableError(f"column {self.name} lists a value twice")
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low <= self.high):
            raise TableError(f"column {self.name} ranges from {self.low} to {self.high}")

    @property
    def is_categorical(self) -> bool:
        """Whether cells are rows of `values`."""
        return self.kind == CATEGORICAL

    @property
    def width(self) -> int:
        """Numbers that stand for a cell where categories are one-hot."""
        return len(self.values) if self.is_categorical else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeAxis:
    """How the times of records follow from the other columns.

    Even series step by `step_ns`; of others, a measurement named `gap` holds the seconds since
    the record before (0 for the first). Where series begin at different times, a metadata column
    named `start` holds the seconds since `origin_ns`.

    Attributes:
        column: Name of the column of times in the file.
        unit: How it is written: a key of TIME_UNITS.
        origin_ns: Earliest start, ns since the epoch.
        step_ns: Distance of records where it is always the same, ns; 0 elsewhere.
        grain_ns: What all times are multiples of, ns: a day, where they are dates.

    References:
        DoppelGANger (IMC 2020), section 4.1, on unequally spaced series.
    """

    column: str
    unit: str
    origin_ns: int
    step_ns: int
    grain_ns: int = 1

    @property
    def start(self) -> str:
        """Name of the metadata column of starts."""
        return f"{self.column}_start"

    @property
    def gap(self) -> str:
        """Name of the measurement of gaps."""
        return f"{self.column}_gap"


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesSchema:
    """Names and types of all columns.

    Attributes:
        metadata: Columns with one cell a sample.
        measurements: Columns with one cell a record; one at least.
        max_length: Records of the longest series, T.
        id_column: Name of the column that tells the samples of a long-form file apart.
        time: How times follow, or None where there are none.
        label: Metadata column that classifiers predict, or None.
        step: Name of the column that numbers the records of a series in a long-form file, or None.
    """

    metadata: tuple[Column, ...]
    measurements: tuple[Column, ...]
    max_length: int
    id_column: str = "id"
    time: TimeAxis | None = None
    label: str | None = None
    step: str | None = None

    def __post_init__(self) -> None:
        if not self.measurements:
            raise TableError("a series needs one measurement at least")
        if self.max_length < 1:
            raise TableError(f"max_length is {self.max_length}, but must be at least 1")
        names = [column.name for column in (*self.metadata, *self.measurements)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise TableError(f"there are two columns named {twice[0]}")
        if self.label is not None:
            self.metadata_place(self.label)

    def metadata_place(self, name: str) -> int:
        """Return the place of a metadata column.

        Raises:
            TableError: If there is none of that name; lists those there are.
        """
        names = [column.name for column in self.metadata]
        if name not in names:
            raise TableError(f"there is no metadata column {name}; there are {', '.join(names)}")
        return names.index(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a model file."""
        return dataclasses.asdict(self)

    @staticmethod
    def from_dict(content: dict[str, Any]) -> SeriesSchema:
        """Inverse of `to_dict`.

        Raises:
            ModelError: If something is missing or of the wrong type.
        """
        try:
            return SeriesSchema(
                metadata=tuple(_column(part) for part in content["metadata"]),
                measurements=tuple(_column(part) for part in content["measurements"]),
                max_length=int(content["max_length"]),
                id_column=str(content["id_column"]),
                time=None if content["time"] is None else TimeAxis(**content["time"]),
                label=content["label"],
                step=content.get("step"),
            )
        except (KeyError, TypeError, ValueError, TableError) as error:
            raise ModelError(f"the schema of the series is malformed ({error})") from error


def _column(part: dict[str, Any]) -> Column:
    return Column(**{**part, "values": tuple(str(value) for value in part["values"])})
