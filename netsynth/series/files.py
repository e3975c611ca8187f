"""Files of series by their ending: .npz, .csv and .parquet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from netsynth.dataset import SeriesDataset, SeriesSchema, join_datasets
from netsynth.errors import ConfigError, TableError
from netsynth.numbers import FloatArray
from netsynth.series.guessing import infer_plan
from netsynth.series.long_form import dataset_of_table, table_of_dataset
from netsynth.series.long_table import read_long_table, write_long_table
from netsynth.series.npz import read_npz, write_npz
from netsynth.series.schema_file import SchemaPlan, read_schema_file

SUFFIXES = (".npz", ".csv", ".parquet")


def is_series_file(path: Path | str) -> bool:
    """Whether a file holds series, going by its ending."""
    return Path(path).suffix.lower() in SUFFIXES


def read_series(
    path: Path | str, *, schema: Path | str | SchemaPlan | None = None, salvage: bool = False
) -> SeriesDataset:
    """Read a dataset: CSV or Parquet in long form, or DoppelGANger's .npz.

    Args:
        path: The file; its ending says what it is.
        schema: Schema file, or what one says; None guesses.
        salvage: Leave out series with bad rows (and log how many), instead of raising.

    Raises:
        TableError: If it cannot be read or rows are bad; names their lines.
        ConfigError: If the schema is bad, or the ending is another.
    """
    target = Path(path)
    plan = schema if isinstance(schema, SchemaPlan | None) else read_schema_file(schema)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: series are in files ending in {', '.join(SUFFIXES)}")
    if suffix == ".npz":
        return read_npz(target, plan, salvage=salvage)
    table = read_long_table(target)
    dataset, _ = dataset_of_table(table, plan or infer_plan(table), salvage=salvage)
    return dataset


def write_series(path: Path | str, parts: Iterable[SeriesDataset]) -> int:
    """Write datasets of one schema after each other as one file, by its ending.

    Returns:
        Samples written.

    Raises:
        TableError: If the file cannot be written.
        ConfigError: If the ending is another.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigError(f"{path}: series are written to files ending in {', '.join(SUFFIXES)}")
    count = 0
    if suffix == ".npz":
        whole = join_datasets(list(parts))
        write_npz(target, whole)
        return len(whole)

    def tables() -> Iterable[object]:
        nonlocal count
        for part in parts:
            yield table_of_dataset(part, first_id=count)
            count += len(part)

    write_long_table(target, iter(tables()))
    return count


def read_metadata(path: Path | str, schema: SeriesSchema) -> FloatArray:
    """Read wanted metadata: CSV or Parquet with the schema's metadata columns, one row a sample.

    A column named `weight` (whole numbers from 0) repeats its row so often.

    Returns:
        Cells as in SeriesDataset.metadata, float64 [R, m].

    Raises:
        TableError: If columns are missing, or cells are none of their column's values.
    """
    table = read_long_table(Path(path))
    cells = np.zeros((table.row_count, len(schema.metadata)))
    for place, column in enumerate(schema.metadata):
        if column.name not in table.columns:
            raise TableError(
                f"{path}: there is no column {column.name}; "
                f"there must be {', '.join(c.name for c in schema.metadata)}"
            )
        if column.is_categorical:
            codes, words = table.texts(column.name)
            known = {value: index for index, value in enumerate(column.values)}
            mapped = np.array([known.get(word, -1) for word in words] + [-1], dtype=np.float64)
            cells[:, place] = mapped[codes]
            bad = cells[:, place] < 0
            what = f"none of {', '.join(column.values[:10])}"
        else:
            cells[:, place] = table.numbers(column.name)
            bad = ~((cells[:, place] >= column.low) & (cells[:, place] <= column.high))
            what = f"no number in {column.low:g} .. {column.high:g}"
        if bad.any():
            row = int(np.argmax(bad))
            raise TableError(f"{path}: {table.place(row)}: {column.name} is {what}")
    if "weight" not in table.columns:
        return cells
    weight = table.numbers("weight")
    bad = ~((weight >= 0) & (weight == np.floor(weight)))
    if bad.any():
        row = int(np.argmax(bad))
        raise TableError(f"{path}: {table.place(row)}: weight is no whole number from 0")
    if not weight.any():
        raise TableError(f"{path}: every weight is 0")
    return np.repeat(cells, weight.astype(np.int64), axis=0)


def hash_file(path: Path | str) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
