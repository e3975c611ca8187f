"""Series in long form, one row a record: tables to datasets and back."""

from __future__ import annotations

import dataclasses
import logging
from typing import Any

import numpy as np

from netsynth.dataset import (
    CATEGORICAL,
    COUNT,
    NUMERIC,
    TIME_UNITS,
    Column,
    SeriesDataset,
    SeriesSchema,
    TimeAxis,
)
from netsynth.errors import TableError
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.series.long_table import BadRows, LongTable
from netsynth.series.schema_file import ColumnPlan, SchemaPlan

log = logging.getLogger(__name__)

DAY_NS = 86_400 * 10**9


def dataset_of_table(
    table: LongTable, plan: SchemaPlan, *, salvage: bool = False
) -> tuple[SeriesDataset, list[str]]:
    """Turn a table into a dataset, series in order of their first row.

    Args:
        table: What was read.
        plan: What its columns are.
        salvage: Leave out series with bad rows, instead of raising.

    Returns:
        The dataset and the names of its samples.

    Raises:
        TableError: If rows are bad (missing cells, no numbers, unknown categories, out of range,
            metadata that change within a series, times out of order); names their lines.
    """
    _require_columns(table, plan)
    bad = BadRows(table=table)
    sample, names = table.texts(plan.id_column)
    bad.add(sample < 0, f"{plan.id_column} is missing")
    order = _order(table, plan, sample, bad)
    columns = {p.name: _read_column(table, p, bad) for p in (*plan.metadata, *plan.measurements)}
    times = None
    if plan.time is not None:
        unit = TIME_UNITS[plan.time_unit]
        times, none = table.times_ns(plan.time, unit, is_iso=plan.time_unit == "iso")
        bad.add(none, f"{plan.time} is missing or no time")
        _check_times(plan, sample, order, times, none, bad)
    for metadata in plan.metadata:
        _check_fixed(table, metadata.name, sample, order, columns[metadata.name][0], bad)
    kept = bad.settle(sample, salvage=salvage)
    order = order[kept[order]]
    if order.size == 0:
        raise TableError(f"{table.path}: no series is left without a bad row")
    codes = sample[order]
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    offsets = np.append(starts, order.size).astype(np.int64)
    first = order[starts]
    schema = SeriesSchema(
        metadata=tuple(columns[p.name][1] for p in plan.metadata),
        measurements=tuple(columns[p.name][1] for p in plan.measurements),
        max_length=int(np.diff(offsets).max()),
        id_column=plan.id_column,
        label=plan.label,
        step=plan.step,
    )
    dataset = SeriesDataset(
        schema=schema,
        metadata=_stack([columns[p.name][0][first] for p in plan.metadata], first.size),
        values=_stack([columns[p.name][0][order] for p in plan.measurements], order.size),
        offsets=offsets,
    )
    if times is not None and plan.time is not None:
        dataset = _with_times(dataset, times[order], column=plan.time, unit=plan.time_unit)
    return dataset, [names[code] for code in codes[starts]]


def table_of_dataset(dataset: SeriesDataset, *, first_id: int = 0) -> Any:
    """Return a dataset in long form, as a pyarrow table.

    Samples are numbered from `first_id`, and the records of each from 0 where the schema names a
    column for that.
    """
    import pyarrow as pa

    schema, axis = dataset.schema, dataset.schema.time
    sample = dataset.sample_of_record
    arrays: dict[str, Any] = {schema.id_column: pa.array(sample + first_id)}
    if schema.step is not None:
        arrays[schema.step] = pa.array(dataset.step_of_record)
    if axis is not None:
        times = dataset.times_ns()
        if axis.unit == "iso":
            arrays[axis.column] = _dates(times, axis.grain_ns)
        elif TIME_UNITS[axis.unit] == 1 or not (times % TIME_UNITS[axis.unit]).any():
            arrays[axis.column] = pa.array(times // TIME_UNITS[axis.unit])
        else:
            arrays[axis.column] = pa.array(times / TIME_UNITS[axis.unit])
    hidden = set() if axis is None else {axis.start, axis.gap}
    for place, column in enumerate(schema.metadata):
        if column.name not in hidden:
            arrays[column.name] = _to_arrow(column, dataset.metadata[:, place][sample])
    for place, column in enumerate(schema.measurements):
        if column.name not in hidden:
            arrays[column.name] = _to_arrow(column, dataset.values[:, place])
    return pa.table(arrays)


def _dates(times: IntArray, grain_ns: int) -> Any:
    """Times int64 [N] in ns as dates, or as timestamps no finer than what they are multiples of."""
    import pyarrow as pa

    if grain_ns % DAY_NS == 0:
        return pa.array((times // DAY_NS).astype(np.int32), type=pa.date32())
    units = (("s", 10**9), ("ms", 10**6), ("us", 10**3))
    unit, size = next(((u, n) for u, n in units if grain_ns % n == 0), ("ns", 1))
    return pa.array(times // size, type=pa.timestamp(unit, tz="UTC"))


def _to_arrow(column: Column, cells: FloatArray) -> Any:
    import pyarrow as pa

    if column.is_categorical:
        coded = pa.DictionaryArray.from_arrays(cells.astype(np.int32), list(column.values))
        return coded.cast(pa.string())
    if column.kind == COUNT:
        return pa.array(np.round(cells).astype(np.int64))
    return pa.array(cells)


def _require_columns(table: LongTable, plan: SchemaPlan) -> None:
    named = [plan.id_column, plan.step, plan.time]
    named += [column.name for column in (*plan.metadata, *plan.measurements)]
    missing = [name for name in named if name is not None and name not in table.columns]
    if missing:
        raise TableError(
            f"{table.path}: there is no column {missing[0]}; there are {', '.join(table.columns)}"
        )
    unread = [name for name in table.columns if name not in named]
    if unread:
        log.warning(
            "%s: left out, as the schema does not name it: %s", table.path, ", ".join(unread)
        )


def _order(table: LongTable, plan: SchemaPlan, sample: IntArray, bad: BadRows) -> IntArray:
    """Rows by sample (as they first appear), then by the step column or as they stand."""
    if plan.step is None:
        return np.argsort(sample, kind="stable")
    step = table.numbers(plan.step)
    bad.add(~np.isfinite(step), f"{plan.step} is missing or no number")
    order = np.lexsort((step, sample))
    same = (sample[order][1:] == sample[order][:-1]) & (step[order][1:] == step[order][:-1])
    mask = np.zeros(sample.size, dtype=np.bool_)
    mask[order[1:][same]] = True
    bad.add(mask, f"another record of the series has this {plan.step}")
    return order


def _read_column(table: LongTable, plan: ColumnPlan, bad: BadRows) -> tuple[FloatArray, Column]:
    """Read the cells of a column as numbers, and note those that cannot be."""
    codes, words = table.texts(plan.name)
    bad.add(codes < 0, f"{plan.name} is missing")
    if plan.kind == CATEGORICAL:
        return _read_categories(plan, codes, words, bad)
    cells = table.numbers(plan.name)
    nonsense = ~np.isfinite(cells)
    rows = np.flatnonzero(nonsense)
    bad.add(nonsense, [f"{plan.name} is {words[codes[r]]!r}, not a finite number" for r in rows])
    if plan.kind == COUNT:
        wrong = ~nonsense & ((cells < 0) | (cells != np.floor(cells)))
        rows = np.flatnonzero(wrong)
        bad.add(wrong, [f"{plan.name} is {cells[r]:g}, not a whole number from 0" for r in rows])
        nonsense |= wrong
    good = cells[~nonsense]
    low = plan.low if plan.low is not None else float(good.min(initial=np.inf))
    high = plan.high if plan.high is not None else float(good.max(initial=-np.inf))
    outside = ~nonsense & ((cells < low) | (cells > high))
    rows = np.flatnonzero(outside)
    bad.add(outside, [f"{plan.name} is {cells[r]:g}, outside {low:g} .. {high:g}" for r in rows])
    if good.size == 0:
        low, high = 0.0, 0.0
    return cells, Column(name=plan.name, kind=plan.kind, low=float(low), high=float(high))


def _read_categories(
    plan: ColumnPlan, codes: IntArray, words: list[str], bad: BadRows
) -> tuple[FloatArray, Column]:
    values = plan.values if plan.values is not None else tuple(sorted(words))
    place = {word: index for index, word in enumerate(values)}
    known = np.array([place.get(word, -1) for word in words] + [-1], dtype=np.int64)
    cells = known[codes]
    unknown = (cells < 0) & (codes >= 0)
    rows = np.flatnonzero(unknown)
    bad.add(unknown, [f"{plan.name} is {words[codes[r]]!r}, none of its values" for r in rows])
    column = Column(name=plan.name, kind=CATEGORICAL, values=values or ("",))
    return cells.astype(np.float64), column


def _check_fixed(
    table: LongTable, name: str, sample: IntArray, order: IntArray, cells: FloatArray, bad: BadRows
) -> None:
    """Note the rows where a metadata column changes within a series."""
    changed = (np.diff(sample[order]) == 0) & (np.diff(np.nan_to_num(cells[order], nan=-1)) != 0)
    rows, before = order[1:][changed], order[:-1][changed]
    for row, other in zip(rows.tolist(), before.tolist(), strict=True):
        mask = np.zeros(sample.size, dtype=np.bool_)
        mask[row] = True
        bad.add(mask, f"{name} is another than in {table.place(other)} of the same series")
        if len(bad.found) > 1000:
            return


def _check_times(
    plan: SchemaPlan, sample: IntArray, order: IntArray, times: IntArray, none: Array, bad: BadRows
) -> None:
    """Note the rows whose time lies before that of the row before; `none` marks rows without."""
    known = order[~none[order]]
    early = (np.diff(sample[known]) == 0) & (times[known][1:] < times[known][:-1])
    mask = np.zeros(sample.size, dtype=np.bool_)
    mask[known[1:][early]] = True
    bad.add(mask, f"{plan.time} is earlier than in the row before of the same series")


def _with_times(
    dataset: SeriesDataset, times: IntArray, *, column: str, unit: str
) -> SeriesDataset:
    """Add what times are made of: a step, or starts and gaps (see TimeAxis)."""
    schema = dataset.schema
    start = times[dataset.offsets[:-1]]
    gap = np.diff(times, prepend=times[0])
    gap[dataset.offsets[:-1]] = 0
    inner = np.delete(gap, dataset.offsets[:-1])
    is_even = bool(inner.size) and int(inner.min()) == int(inner.max()) > 0
    axis = TimeAxis(
        column=column,
        unit=unit,
        origin_ns=int(start.min()),
        step_ns=int(inner[0]) if is_even else 0,
        grain_ns=max(int(np.gcd.reduce(times)), 1),
    )
    metadata, values = dataset.metadata, dataset.values
    more_metadata, more_values = schema.metadata, schema.measurements
    if start.min() != start.max():
        seconds = (start - axis.origin_ns) / 1e9
        metadata = np.column_stack([metadata, seconds])
        more_metadata = (*more_metadata, _range(axis.start, seconds))
    if not is_even:
        values = np.column_stack([values, gap / 1e9])
        more_values = (*more_values, _range(axis.gap, gap / 1e9))
    new = dataclasses.replace(schema, metadata=more_metadata, measurements=more_values, time=axis)
    return SeriesDataset(schema=new, metadata=metadata, values=values, offsets=dataset.offsets)


def _range(name: str, cells: FloatArray) -> Column:
    return Column(name=name, kind=NUMERIC, low=float(cells.min()), high=float(cells.max()))


def _stack(columns: list[Array], count: int) -> FloatArray:
    if not columns:
        return np.zeros((count, 0))
    return np.stack(columns, axis=1).astype(np.float64)
