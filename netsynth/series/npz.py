"""DoppelGANger's own files: data_feature, data_attribute and data_gen_flag in one .npz.

Measurements lie in 0..1 (`data_feature_min` and `data_feature_max`, where they are there, say
what of), categories are one-hot, and the flags are 1 as long as a series lasts. The description
of the columns is pickled beside the file there, which is not read: a schema file says it, or it
is guessed, or it is in `schema` where netsynth wrote the file.

References:
    Lin et al., IMC 2020, and the layout of the data sets published with it.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.errors import ModelError, TableError
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.series.schema_file import ColumnPlan, SchemaPlan

NAMES = ("data_feature", "data_attribute", "data_gen_flag")


def read_npz(path: Path, plan: SchemaPlan | None = None) -> SeriesDataset:
    """Read a dataset in DoppelGANger's layout.

    Args:
        path: The file.
        plan: What the columns are; None guesses: columns of the metadata that add up to one in
            every sample are a category, all others and the measurements are numbers.

    Raises:
        TableError: If arrays are missing, differ in size, hold what is no number, or the columns
            do not fit the plan; names the sample.
    """
    arrays = _load(path)
    feature = arrays["data_feature"].astype(np.float64)  # [F, T, D]
    attribute = arrays["data_attribute"].astype(np.float64)  # [F, A]
    lengths = _lengths(path, arrays["data_gen_flag"], feature)
    low, high = _ranges(path, arrays, feature.shape[2])
    schema = _written_schema(path, arrays)
    is_foreign = schema is None
    if schema is None:
        plan = plan or _guess(attribute, feature.shape[2])
        schema = _plan_schema(path, plan, attribute, low, high, feature.shape[1])
    active = np.arange(feature.shape[1]) < lengths[:, None]  # [F, T]
    records = feature[active]  # [N, D]
    bad = np.argwhere(~np.isfinite(records))
    if bad.size:
        row = int(np.repeat(np.arange(len(lengths)), lengths)[bad[0, 0]])
        raise TableError(f"{path}: data_feature of sample {row} holds what is no number")
    of_metadata = None if is_foreign else _limits(schema.metadata)
    return SeriesDataset(
        schema=schema,
        metadata=_decode(path, "data_attribute", attribute, schema.metadata, of_metadata),
        values=_decode(path, "data_feature", records, schema.measurements, (low, high)),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )


def write_npz(path: Path, dataset: SeriesDataset) -> None:
    """Write a dataset in DoppelGANger's layout, with its schema beside.

    Raises:
        TableError: If the file cannot be written.
    """
    schema = dataset.schema
    encoded = _encode(dataset.values, schema.measurements)
    feature = np.zeros((len(dataset), schema.max_length, encoded.shape[1]))
    feature[dataset.sample_of_record, dataset.step_of_record] = encoded
    flags = np.arange(schema.max_length) < dataset.lengths[:, None]
    low, high = _limits(schema.measurements)
    try:
        np.savez_compressed(
            path,
            data_feature=feature,
            data_attribute=_encode(dataset.metadata, schema.metadata),
            data_gen_flag=flags.astype(np.float32),
            data_feature_min=low,
            data_feature_max=high,
            schema=np.array(json.dumps(schema.to_dict())),
        )
    except OSError as error:
        raise TableError(f"{path}: cannot write it: {error.strerror or error}") from error


def _limits(columns: tuple[Column, ...]) -> tuple[FloatArray, FloatArray]:
    """What 0 and 1 stand for in each column once categories are one-hot."""
    low = [0.0 if c.is_categorical else c.low for c in columns for _ in range(c.width)]
    high = [1.0 if c.is_categorical else c.high for c in columns for _ in range(c.width)]
    return np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)


def _load(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except OSError as error:
        raise TableError(f"{path}: cannot read it: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise TableError(f"{path}: not a .npz file of plain arrays ({error})") from error
    for name, dimensions in zip(NAMES, (3, 2, 2), strict=True):
        if name not in arrays:
            raise TableError(f"{path}: there is no array {name}; there are {', '.join(arrays)}")
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind not in "buif":
            raise TableError(f"{path}: {name} must be numbers in {dimensions} dimensions")
    feature, attribute, flag = (arrays[name] for name in NAMES)
    if not feature.shape[0] == attribute.shape[0] == flag.shape[0]:
        counts = ", ".join(f"{name} {arrays[name].shape[0]}" for name in NAMES)
        raise TableError(f"{path}: the arrays differ in their samples: {counts}")
    if feature.shape[0] == 0 or feature.shape[2] == 0:
        raise TableError(f"{path}: holds no samples, or no measurement")
    if flag.shape[1] != feature.shape[1]:
        raise TableError(
            f"{path}: data_gen_flag has {flag.shape[1]} steps, data_feature {feature.shape[1]}"
        )
    bad = np.argwhere(~np.isfinite(attribute))
    if bad.size:
        raise TableError(f"{path}: data_attribute of sample {bad[0, 0]} holds what is no number")
    return arrays


def _lengths(path: Path, flags: Array, feature: FloatArray) -> IntArray:
    """Records of each series; flags must be ones, then zeros."""
    lengths: IntArray = (flags > 0.5).sum(axis=1).astype(np.int64)
    expected = np.arange(flags.shape[1]) < lengths[:, None]
    wrong = ((flags > 0.5) != expected).any(axis=1) | (lengths == 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise TableError(f"{path}: data_gen_flag of sample {row} is not ones, then zeros")
    return lengths


def _ranges(path: Path, arrays: dict[str, Array], width: int) -> tuple[FloatArray, FloatArray]:
    """What 0 and 1 stand for in each column of data_feature."""
    sides = []
    for name, default in (("data_feature_min", 0.0), ("data_feature_max", 1.0)):
        side = arrays.get(name, np.full(width, default)).astype(np.float64)
        if side.shape != (width,) or not np.isfinite(side).all():
            raise TableError(f"{path}: {name} must be {width} numbers")
        sides.append(side)
    return sides[0], sides[1]


def _written_schema(path: Path, arrays: dict[str, Array]) -> SeriesSchema | None:
    if "schema" not in arrays:
        return None
    try:
        return SeriesSchema.from_dict(json.loads(str(arrays["schema"])))
    except (ValueError, ModelError) as error:
        raise TableError(f"{path}: its schema is damaged ({error})") from error


def _guess(attribute: FloatArray, measurement_count: int) -> SchemaPlan:
    """Take each shortest run of columns that adds up to one in all samples as a category."""
    plans: list[ColumnPlan] = []
    start, width = 0, attribute.shape[1]
    is_binary = np.asarray(np.isin(attribute, (0.0, 1.0)).all(axis=0))  # [A]
    while start < width:
        end = start
        total = np.zeros(attribute.shape[0])
        while end < width and is_binary[end] and not (total == 1).all() and (total <= 1).all():
            total = total + attribute[:, end]
            end += 1
        name = f"metadata_{len(plans)}"
        if (total == 1).all() and end > start:
            if not attribute[:, end:].any():  # columns never used at the end belong to the last
                end = width
            values = tuple(str(value) for value in range(end - start))
            plans.append(ColumnPlan(name=name, kind=CATEGORICAL, values=values))
            start = end
        else:
            plans.append(ColumnPlan(name=name, kind=NUMERIC))
            start += 1
    measurements = tuple(
        ColumnPlan(name=f"measurement_{place}", kind=NUMERIC) for place in range(measurement_count)
    )
    return SchemaPlan(metadata=tuple(plans), measurements=measurements)


def _plan_schema(
    path: Path,
    plan: SchemaPlan,
    attribute: FloatArray,
    low: FloatArray,
    high: FloatArray,
    max_length: int,
) -> SeriesSchema:
    """Fit a plan to the arrays; ranges of measurements are those of the file."""
    for what, columns, width in (
        ("data_attribute", plan.metadata, attribute.shape[1]),
        ("data_feature", plan.measurements, low.size),
    ):
        planned = sum(_plan_width(column) for column in columns)
        if planned != width:
            raise TableError(
                f"{path}: {what} has {width} columns, but those of the schema take {planned}"
            )
    metadata, at = [], 0
    for column in plan.metadata:
        cells = attribute[:, at]
        metadata.append(_plan_column(column, float(cells.min()), float(cells.max())))
        at += _plan_width(column)
    measurements, at = [], 0
    for column in plan.measurements:
        measurements.append(_plan_column(column, float(low[at]), float(high[at])))
        at += _plan_width(column)
    return SeriesSchema(
        metadata=tuple(metadata),
        measurements=tuple(measurements),
        max_length=max_length,
        label=plan.label,
    )


def _plan_width(plan: ColumnPlan) -> int:
    return len(plan.values or ("",)) if plan.kind == CATEGORICAL else 1


def _plan_column(plan: ColumnPlan, low: float, high: float) -> Column:
    if plan.kind == CATEGORICAL:
        return Column(name=plan.name, kind=CATEGORICAL, values=plan.values or ("",))
    return Column(name=plan.name, kind=plan.kind, low=low, high=high)


def _decode(
    path: Path,
    what: str,
    encoded: FloatArray,
    columns: tuple[Column, ...],
    limits: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """One-hot columns to rows of values; numbers from 0..1 to `limits`, or left as they are."""
    cells, at = np.zeros((encoded.shape[0], len(columns))), 0
    if encoded.shape[1] != sum(column.width for column in columns):
        raise TableError(f"{path}: {what} has {encoded.shape[1]} columns, its schema another count")
    for place, column in enumerate(columns):
        part = encoded[:, at : at + column.width]
        if column.is_categorical:
            wrong = ~(np.isin(part, (0.0, 1.0)).all(axis=1) & (part.sum(axis=1) == 1))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise TableError(
                    f"{path}: {what} row {row}: {column.name} is not one of its values"
                )
            cells[:, place] = part.argmax(axis=1)
        else:
            number = part[:, 0]
            if limits is not None:
                number = number * (limits[1][at] - limits[0][at]) + limits[0][at]
            cells[:, place] = np.round(number) if column.kind == COUNT else number
        at += column.width
    return cells


def _encode(cells: FloatArray, columns: tuple[Column, ...]) -> FloatArray:
    """Inverse of `_decode`: one-hot, and measurements in 0..1."""
    parts = [np.zeros((cells.shape[0], 0))]
    for place, column in enumerate(columns):
        cell = cells[:, place]
        if column.is_categorical:
            parts.append(np.eye(len(column.values))[cell.astype(np.int64)])
        else:
            parts.append(((cell - column.low) / ((column.high - column.low) or 1.0))[:, None])
    return np.concatenate(parts, axis=1)
