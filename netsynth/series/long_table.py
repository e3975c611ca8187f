"""CSV and Parquet files as columns, with the line of each row; and their writing."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import TableError
from netsynth.numbers import Array, FloatArray, IntArray

log = logging.getLogger(__name__)

SHOWN = 5  # bad rows that an error names


@dataclass(frozen=True, kw_only=True, slots=True)
class LongTable:
    """One row a record, as read.

    Attributes:
        path: Where it was read.
        columns: pyarrow arrays by name; all text where the file is CSV.
        row_count: Rows.
        lines: Line that each row begins in, int64 [N], from 1; empty where rows have none, and
            then count from 1.
    """

    path: Path
    columns: dict[str, Any]
    row_count: int
    lines: IntArray

    def place(self, row: int) -> str:
        """Name a row for people: "line 17"."""
        return f"line {self.lines[row]}" if self.lines.size else f"row {row + 1}"

    def texts(self, name: str) -> tuple[IntArray, list[str]]:
        """Return a column as int64 [N] places in a list of texts, -1 where a cell is missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            column = pc.cast(column, pa.string())
        coded = pc.dictionary_encode(column.combine_chunks())
        if isinstance(coded, pa.ChunkedArray):
            coded = coded.combine_chunks()
        codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
        words = [str(word) for word in coded.dictionary.to_pylist()]
        return codes.astype(np.int64), words

    def numbers(self, name: str) -> FloatArray:
        """Return a column as float64 [N]; NaN where a cell is no number or missing."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        if pa.types.is_boolean(column.type):
            column = pc.cast(column, pa.int8())
        try:
            cast = pc.cast(column, pa.float64())
            return np.array(cast.to_numpy(), dtype=np.float64)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            series = pd.to_numeric(column.to_pandas(), errors="coerce")
            return np.array(series.to_numpy(dtype=np.float64, na_value=np.nan))

    def times_ns(self, name: str, unit_ns: int, *, is_iso: bool) -> tuple[IntArray, Array]:
        """Return a column of times as int64 [N] ns, and bool [N] where a cell is none."""
        import pandas as pd
        import pyarrow as pa
        import pyarrow.compute as pc

        column = self.columns[name]
        if is_iso or pa.types.is_timestamp(column.type):
            made = pd.to_datetime(column.to_pandas(), errors="coerce", utc=True, format="ISO8601")
            bad = made.isna().to_numpy()
            return made.dt.as_unit("ns").astype("int64").to_numpy().copy(), bad
        try:
            whole = pc.fill_null(pc.cast(column, pa.int64()), 0).to_numpy()
            missing = column.is_null().to_numpy()
            return whole.astype(np.int64) * unit_ns, missing
        except pa.ArrowInvalid:
            number = self.numbers(name)
            bad = ~np.isfinite(number)
            clean = np.where(bad, 0, number)
            whole = np.floor(clean)  # so that the seconds of an epoch keep their fraction
            rest = np.round((clean - whole) * unit_ns)
            return whole.astype(np.int64) * unit_ns + rest.astype(np.int64), bad


@dataclass(frozen=True, kw_only=True, slots=True)
class BadRows:
    """What is wrong with rows, collected to be told at once."""

    table: LongTable
    found: dict[int, str] = field(default_factory=dict)

    def add(self, mask: Array, reasons: Iterable[str] | str) -> None:
        """Note the rows of a mask, each with its reason (or all with one); the first stays."""
        rows = np.flatnonzero(mask).tolist()
        told = [reasons] * len(rows) if isinstance(reasons, str) else reasons
        for row, reason in zip(rows, told, strict=True):
            self.found.setdefault(row, reason)

    def settle(self, sample: IntArray, *, salvage: bool) -> NDArray[np.bool_]:
        """Return the rows to keep, bool [N]: all, or those of samples without a bad row.

        Raises:
            TableError: If a row is bad and `salvage` is False; names the first few.
        """
        kept = np.ones(self.table.row_count, dtype=np.bool_)
        if not self.found:
            return kept
        told = "; ".join(f"{self.table.place(r)}: {self.found[r]}" for r in self._first())
        count = len(self.found)
        more = f"; and {count - SHOWN} more rows" if count > SHOWN else ""
        if not salvage:
            raise TableError(
                f"{self.table.path}: {told}{more}; mend them, or leave their series out with "
                "--salvage"
            )
        rows = np.fromiter(self.found, dtype=np.int64)
        kept = ~np.isin(sample, sample[rows])
        left_out = np.unique(sample[rows]).size
        log.warning(
            "%s: left out %d series with bad rows (%s%s)", self.table.path, left_out, told, more
        )
        return kept

    def _first(self) -> list[int]:
        return sorted(self.found)[:SHOWN]


def read_long_table(path: Path) -> LongTable:
    """Read a CSV file with a header, or a Parquet file.

    Raises:
        TableError: If it cannot be read, a row has too few or too many cells, or it is empty.
    """
    is_csv = path.suffix.lower() != ".parquet"
    lines = np.zeros(0, dtype=np.int64)
    try:
        if is_csv:
            content, lines = _read_csv(path)
        else:
            content = _read_parquet(path)
    except OSError as error:
        raise TableError(f"{path}: cannot read it: {error.strerror or error}") from error
    names = content.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TableError(f"{path}: there are two columns named {twice[0]!r}; rename one")
    if is_csv:
        content = _without_last_blank_rows(content)
    if content.num_rows == 0:
        raise TableError(f"{path}: holds no rows")
    columns = {name: content.column(name) for name in names}
    return LongTable(path=path, columns=columns, row_count=content.num_rows, lines=lines)


def write_long_table(path: Path, tables: Iterator[Any]) -> None:
    """Write pyarrow tables of one schema after each other as CSV or Parquet, by ending.

    Raises:
        TableError: If the file cannot be written.
    """
    import pyarrow.csv as csv
    import pyarrow.parquet as parquet

    is_parquet = path.suffix.lower() == ".parquet"
    kind = parquet.ParquetWriter if is_parquet else csv.CSVWriter
    first = next(tables)
    try:
        with kind(path, first.schema) as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
    except OSError as error:
        raise TableError(f"{path}: cannot write it: {error.strerror or error}") from error


def _read_csv(path: Path) -> tuple[Any, IntArray]:
    """Read all cells as text, an empty cell as missing; also the line of each row."""
    import pyarrow as pa
    import pyarrow.csv as csv

    wrong: list[tuple[int, str]] = []

    def note(row: Any) -> str:
        wrong.append((row.number, f"{row.actual_columns} cells, not {row.expected_columns}"))
        return "skip"

    try:
        content = path.read_bytes()
        header = content.partition(b"\n")[0]
        if not header.strip():
            raise TableError(f"{path}: line 1 must name the columns")
        names = csv.read_csv(pa.py_buffer(header + b"\n")).column_names
        _refuse_other_separators(path, names)
        table = csv.read_csv(
            pa.py_buffer(content),
            read_options=csv.ReadOptions(use_threads=False),
            parse_options=csv.ParseOptions(
                invalid_row_handler=note, ignore_empty_lines=False, newlines_in_values=True
            ),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()),
                strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise TableError(f"{path}: not a CSV file in UTF-8 ({error})") from error
    lines = _lines(content, table.num_rows + len(wrong))
    if wrong:
        told = "; ".join(f"line {lines[number - 2]}: {what}" for number, what in wrong[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise TableError(f"{path}: {told}{more}")
    return table, lines


def _lines(content: bytes, row_count: int) -> IntArray:
    """Line that each row of a CSV file begins in, int64 [row_count], from 1; line 1 is the header.

    A cell in quotes may hold line ends: after an odd number of quotes, a line goes on.
    """
    if b'"' not in content:
        return np.arange(row_count, dtype=np.int64) + 2
    letters = np.frombuffer(content, dtype=np.uint8)
    ends = np.flatnonzero(letters == ord("\n"))
    quotes = np.searchsorted(np.flatnonzero(letters == ord('"')), ends)
    starts: IntArray = np.flatnonzero(quotes % 2 == 0) + 2
    return starts[:row_count]


def _refuse_other_separators(path: Path, names: list[str]) -> None:
    """Say so where the only column's name looks like several."""
    for letter, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(names) == 1 and letter in names[0]:
            raise TableError(
                f"{path}: cells seem to be separated by {word}; separate them by commas"
            )


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise TableError(f"{path}: there is no such file")
    try:
        return parquet.ParquetFile(path).read()
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: not a Parquet file ({error})") from error


def _without_last_blank_rows(content: Any) -> Any:
    """Leave out blank lines at the end of a file, which mean nothing."""
    end = content.num_rows
    places = range(content.num_columns)
    while end and all(content.column(place)[end - 1].as_py() is None for place in places):
        end -= 1
    return content.slice(0, end)
