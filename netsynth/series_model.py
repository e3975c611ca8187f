"""A fitted model of series that are no packets, in memory and as a file; samples from it."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from netsynth.dataset import SeriesDataset, SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.numbers import FloatArray
from netsynth.progress import Progress, Silence

if TYPE_CHECKING:
    from netsynth.generate import SeriesGenerator

KIND = "series"  # what the header of the model file says it holds


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesSummary:
    """What `SeriesModel.sample` wrote.

    Attributes:
        output: Path of the file.
        samples: Samples written.
        records: Records they have in all.
        seconds: How long it took.
    """

    output: str
    samples: int
    records: int
    seconds: float

    def to_json(self) -> str:
        """One JSON object, keys as the attributes."""
        return json.dumps(dataclasses.asdict(self), indent=2)

    def describe(self) -> str:
        """One line for people."""
        return (
            f"{self.output}: {self.samples:,} series of {self.records:,} records, "
            f"in {self.seconds:.1f} s"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesModel:
    """What was learned of a dataset; `load` and `save` it, and `sample` datasets from it.

    Attributes:
        schema: Columns of what was learned, and of what is made.
        generator: Learns and draws samples.
        facts: What the model says of itself, in plain values: netsynth's version, generator,
            file (name, SHA-256, samples, records), settings, seed, and how the fit went.
    """

    schema: SeriesSchema
    generator: SeriesGenerator
    facts: dict[str, Any]

    @staticmethod
    def load(path: Path | str, *, device: str = "auto") -> SeriesModel:
        """Read a model file.

        Raises:
            ModelError: If it is missing, no model of series, damaged, or of a newer schema.
            ConfigError: If there is no such device.
        """
        from netsynth.generate import choose_device, find_series_generator, read_model

        header, arrays = read_model(path)
        if header.get("kind") != KIND:
            raise ModelError(f"{path} is a model of captures, not of series")
        try:
            schema = SeriesSchema.from_dict(header["schema"])
            found = find_series_generator(header["facts"]["generator"])
            generator = found.from_parts(header["generator"], arrays, schema=schema)
            facts = dict(header["facts"])
        except KeyError as error:
            raise ModelError(f"{path}: the model lacks {error}; fit it again") from error
        except ModelError as error:
            raise ModelError(f"{path}: {error}") from error
        return SeriesModel(
            schema=schema, generator=generator.to(choose_device(device)), facts=facts
        )

    def save(self, path: Path | str) -> None:
        """Write the model as one file, whole or not at all.

        Raises:
            ModelError: If it cannot be written.
        """
        from netsynth.generate import write_model

        header, arrays = self.generator.to_parts()
        content = {
            "kind": KIND, "schema": self.schema.to_dict(), "generator": header, "facts": self.facts,
        }  # fmt: skip
        write_model(path, header=content, arrays=arrays)

    def to_json(self) -> str:
        """What the model says of itself, as one JSON object."""
        return json.dumps(self.facts, indent=2)

    def describe(self) -> str:
        """One line for people."""
        file = self.facts["file"]
        state = "" if self.facts["fit"]["finished"] else ", unfinished"
        return (
            f"{self.facts['generator']} of {file['name']}: {file['samples']:,} series of "
            f"{file['records']:,} records{state}"
        )

    def draw(
        self,
        count: int,
        *,
        seed: int = 0,
        metadata: FloatArray | None = None,
        where: Mapping[str, str] | None = None,
        length: int | None = None,
    ) -> Iterator[SeriesDataset]:
        """Draw samples in parts.

        Args:
            count: How many.
            seed: The same model, arguments and seed draw the same samples.
            metadata: Rows of metadata to keep to, [R, m], taken in turn until there are `count`.
            where: Values of metadata columns that every sample has.
            length: Records of every series; None leaves it to the model.

        Raises:
            ConfigError: If an argument is out of range.
        """
        if count < 1:
            raise ConfigError(f"count is {count}, but must be at least 1")
        if length is not None and not 1 <= length <= self.schema.max_length:
            raise ConfigError(
                f"length is {length}, but must be 1 to {self.schema.max_length}, as learned"
            )
        wanted = None
        if metadata is not None:
            wanted = metadata[np.arange(count) % metadata.shape[0]]
        if where:
            wanted = _clamp(self.schema, count, wanted, where)
        lengths = None if length is None else np.full(count, length, dtype=np.int64)
        yield from self.generator.sample(count, seed=seed, metadata=wanted, lengths=lengths)

    def sample(
        self,
        output: Path | str,
        *,
        count: int | None = None,
        seed: int = 0,
        metadata: Path | str | None = None,
        where: Mapping[str, str] | None = None,
        length: int | None = None,
        progress: Progress | None = None,
    ) -> SeriesSummary:
        """Write samples to a .csv, .parquet or .npz file.

        Args:
            output: File to write.
            count: How many; None: one for each row of `metadata`, or as many as were learned.
            seed: Of all that is random.
            metadata: File of wanted metadata, see `netsynth.series.read_metadata`.
            where: Values of metadata columns that every sample has.
            length: Records of every series; None leaves it to the model.
            progress: Told what is done.

        Raises:
            ConfigError: If an argument is out of range.
            TableError: If a file cannot be read or written.
            ModelError: If the model makes no samples like that.
        """
        from netsynth.series import read_metadata, write_series

        progress, began = progress or Silence(), time.monotonic()
        rows = None if metadata is None else read_metadata(metadata, self.schema)
        if count is None:
            count = int(self.facts["file"]["samples"]) if rows is None else rows.shape[0]
        progress.start("drawing series", total=count, unit="series")
        done = records = 0

        def watched() -> Iterator[SeriesDataset]:
            nonlocal done, records
            for part in self.draw(count, seed=seed, metadata=rows, where=where, length=length):
                done, records = done + len(part), records + part.values.shape[0]
                progress.update(done)
                yield part

        write_series(output, watched())
        progress.finish()
        seconds = time.monotonic() - began
        return SeriesSummary(output=str(output), samples=done, records=records, seconds=seconds)


def holds_series(path: Path | str) -> bool:
    """Whether a model file is of series.

    Raises:
        ModelError: If it is no model.
    """
    from netsynth.generate import read_header

    return read_header(path).get("kind") == KIND


def _clamp(
    schema: SeriesSchema, count: int, metadata: FloatArray | None, where: Mapping[str, str]
) -> FloatArray:
    """Set columns to wanted values; NaN elsewhere, where nothing else is given."""
    cells = np.full((count, len(schema.metadata)), np.nan) if metadata is None else metadata.copy()
    for name, text in where.items():
        place = schema.metadata_place(name)
        column = schema.metadata[place]
        if column.is_categorical:
            if text not in column.values:
                some = ", ".join(column.values[:10])
                raise ConfigError(f"{name} is never {text}; it may be {some}")
            cells[:, place] = column.values.index(text)
            continue
        try:
            cells[:, place] = float(text)
        except ValueError as error:
            raise ConfigError(f"{name} must be a number, not {text!r}") from error
        if not column.low <= cells[0, place] <= column.high:
            raise ConfigError(f"{name} must be in {column.low:g} .. {column.high:g}, as learned")
    return cells
