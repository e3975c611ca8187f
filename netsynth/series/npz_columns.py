"""What the columns of DoppelGANger's .npz files are: as written, as a plan says, or guessed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from netsynth.dataset import CATEGORICAL, NUMERIC, Column, SeriesSchema
from netsynth.errors import ModelError, TableError
from netsynth.numbers import Array, FloatArray
from netsynth.series.schema_file import ColumnPlan, SchemaPlan


def written_schema(path: Path, arrays: dict[str, Array]) -> SeriesSchema | None:
    """Return the schema that netsynth wrote into the file, or None.

    Raises:
        TableError: If it is none.
    """
    if "schema" not in arrays:
        return None
    try:
        return SeriesSchema.from_dict(json.loads(str(arrays["schema"])))
    except (ValueError, ModelError) as error:
        raise TableError(f"{path}: its schema is damaged ({error})") from error


def guess_plan(attribute: FloatArray, measurement_count: int) -> SchemaPlan:
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


def schema_of_plan(
    path: Path,
    plan: SchemaPlan,
    attribute: FloatArray,
    low: FloatArray,
    high: FloatArray,
    max_length: int,
) -> SeriesSchema:
    """Fit a plan to the arrays; ranges of measurements are those of the file.

    Args:
        path: The file, for errors.
        plan: What the columns are.
        attribute: float [F, A].
        low: Smallest number of each column of data_feature, float64 [D].
        high: Largest.
        max_length: T.

    Raises:
        TableError: If the plan's columns are more or fewer than the file's.
    """
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
