"""The schema of a long-form table, guessed from its columns and cells."""

from __future__ import annotations

import re

import numpy as np

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC
from netsynth.errors import TableError
from netsynth.numbers import Array, IntArray
from netsynth.series.long_table import LongTable
from netsynth.series.schema_file import ColumnPlan, SchemaPlan

ID_NAMES = ("id", "series_id", "sample_id", "series", "sample")
TIME_NAMES = ("time", "timestamp", "datetime", "date")
STEP_NAMES = ("step", "t")
DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?$")
SURE = 16  # pairs of neighbouring records, from which a column that counts up tells the order


def infer_plan(table: LongTable) -> SchemaPlan:
    """Guess what the columns of a table are.

    The column named id (or series, sample), else the first, tells series apart; time, timestamp or
    date are times; step or t the order, else a column that counts up by one in all series. Of the
    others, those that never change within a series are metadata. Text is categorical, whole numbers
    from 0 on are counts. Where no column is named like times, one of dates that change within
    series is taken.

    Raises:
        TableError: If no column tells series apart, or no series has two records, so that
            nothing tells metadata by.
    """
    by_lower = {name.lower(): name for name in table.columns}
    id_column = next((by_lower[n] for n in ID_NAMES if n in by_lower), None) or _first(table)
    time = next((by_lower[n] for n in TIME_NAMES if n in by_lower), None)
    sample, _ = table.texts(id_column)
    order = np.argsort(sample, kind="stable")
    same = sample[order][1:] == sample[order][:-1]
    if not same.any():
        raise TableError(
            f"{table.path}: every series has one record alone, so what is metadata cannot be "
            "guessed; say it in a schema file (--schema)"
        )
    if time is None:
        names = (name for name in table.columns if name != id_column)
        time = next((name for name in names if _holds_dates(table, name, order, same)), None)
    rest = [name for name in table.columns if name not in (id_column, time)]
    step = next((by_lower[n] for n in STEP_NAMES if by_lower.get(n) in rest), None)
    if step is None:
        step = next((name for name in rest if _counts_up(table, name, order, same)), None)
    metadata: list[ColumnPlan] = []
    measurements: list[ColumnPlan] = []
    for name in rest:
        if name == step:
            continue
        codes, words = table.texts(name)
        is_fixed = not (np.diff(codes[order])[same] != 0).any()
        kind = _infer_kind(table, name, words)
        (metadata if is_fixed else measurements).append(ColumnPlan(name=name, kind=kind))
    return SchemaPlan(
        id_column=id_column,
        step=step,
        time=time,
        time_unit=_infer_unit(table, time),
        metadata=tuple(metadata),
        measurements=tuple(measurements),
    )


def _first(table: LongTable) -> str:
    """The first column, where it can tell series apart: text, or whole numbers."""
    name = next(iter(table.columns))
    number = table.numbers(name)
    known = number[np.isfinite(number)]
    if (known != np.floor(known)).any():
        raise TableError(
            f"{table.path}: no column is named {', '.join(ID_NAMES)}, and the first, {name}, holds "
            "fractions; say in a schema file (--schema) which column tells series apart"
        )
    return name


def _holds_dates(table: LongTable, name: str, order: IntArray, same: Array) -> bool:
    """Whether a column is one of dates (2024-03-01, 2024-03-01 12:30), other in other records."""
    codes, words = table.texts(name)
    dates = sum(DATE.match(word) is not None for word in words)
    return dates > len(words) / 2 and bool((np.diff(codes[order])[same] != 0).all())


def _counts_up(table: LongTable, name: str, order: IntArray, same: Array) -> bool:
    """Whether a column grows by one from each record of a series to the next, in all of them."""
    if np.count_nonzero(same) < SURE:
        return False
    return bool((np.diff(table.numbers(name)[order])[same] == 1).all())


def _infer_kind(table: LongTable, name: str, words: list[str]) -> str:
    if set(words) <= {"true", "false", "True", "False"}:
        return CATEGORICAL
    number = table.numbers(name)
    known = np.isfinite(number)
    if known.mean() < 0.5:  # a few bad cells do not make text of a column of numbers
        return CATEGORICAL
    whole = number[known]
    return COUNT if ((whole >= 0) & (whole == np.floor(whole))).all() else NUMERIC


def _infer_unit(table: LongTable, time: str | None) -> str:
    """Guess the unit of times: dates (in words, or Parquet's) are "iso", numbers seconds."""
    import pyarrow as pa

    if time is None:
        return "s"
    if pa.types.is_temporal(table.columns[time].type):
        return "iso"
    return "s" if np.isfinite(table.numbers(time)[:1]).all() else "iso"
