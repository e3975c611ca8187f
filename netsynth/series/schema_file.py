"""Schema files: TOML that names the columns of a file of series and their types.

id = "user"              # column that tells series apart (long form)
step = "hour"            # column that puts the records of a series in order, where there is one
time = "time"            # column of times, where there is one
time_unit = "s"          # s, ms, us, ns or iso
label = "technology"     # what the report's classifiers predict

[metadata.technology]
kind = "categorical"     # or "numeric", or "count": whole numbers from 0 on
values = ["DSL", "cable"]

[measurement.traffic]
kind = "numeric"
low = 0.0                # the range is taken from the file where it is left out
high = 6.1e9
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from netsynth.dataset import KINDS, TIME_UNITS, Column, SeriesSchema
from netsynth.errors import ConfigError

TOP = ("id", "step", "time", "time_unit", "label", "metadata", "measurement")
FIELDS = ("kind", "values", "low", "high")


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnPlan:
    """What a schema file says of a column; None where the data decides."""

    name: str
    kind: str
    values: tuple[str, ...] | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaPlan:
    """What a schema file says; see the top of this module.

    Attributes:
        id_column: Column that tells series apart.
        step: Column by which the records of a series are put in order, or None.
        time: Column of times, or None.
        time_unit: How they are written.
        label: Metadata column that classifiers predict, or None.
        metadata: Columns in order.
        measurements: Columns in order.
    """

    id_column: str = "id"
    step: str | None = None
    time: str | None = None
    time_unit: str = "s"
    label: str | None = None
    metadata: tuple[ColumnPlan, ...] = field(default=())
    measurements: tuple[ColumnPlan, ...] = field(default=())


def read_schema_file(path: Path | str) -> SchemaPlan:
    """Read a schema file.

    Raises:
        ConfigError: If it is missing, no TOML, or says something unknown.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot read the schema: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    _refuse_unknown(path, "the schema", content, TOP)
    unit = str(content.get("time_unit", "s"))
    if unit not in TIME_UNITS:
        raise ConfigError(f"{path}: time_unit is {unit!r}, but must be one of {list(TIME_UNITS)}")
    plan = SchemaPlan(
        id_column=str(content.get("id", "id")),
        step=content.get("step"),
        time=content.get("time"),
        time_unit=unit,
        label=content.get("label"),
        metadata=_columns(path, "metadata", content.get("metadata", {})),
        measurements=_columns(path, "measurement", content.get("measurement", {})),
    )
    if not plan.measurements:
        raise ConfigError(f"{path}: name one [measurement.NAME] at least")
    return plan


def plan_of_schema(schema: SeriesSchema) -> SchemaPlan:
    """Return the plan by which a file like those of `schema` is read; any range will do."""
    axis = schema.time
    hidden = set() if axis is None else {axis.start, axis.gap}

    def plans(columns: tuple[Column, ...]) -> tuple[ColumnPlan, ...]:
        return tuple(
            ColumnPlan(name=c.name, kind=c.kind, values=c.values if c.is_categorical else None)
            for c in columns
            if c.name not in hidden
        )

    return SchemaPlan(
        id_column=schema.id_column,
        step=schema.step,
        time=None if axis is None else axis.column,
        time_unit="s" if axis is None else axis.unit,
        label=schema.label,
        metadata=plans(schema.metadata),
        measurements=plans(schema.measurements),
    )


def format_schema(schema: SeriesSchema) -> str:
    """Write a schema as TOML that `read_schema_file` reads, for correction."""
    lines = [f"id = {json.dumps(schema.id_column, ensure_ascii=False)}"]
    hidden: set[str] = set()
    if schema.step is not None:
        lines += [f"step = {json.dumps(schema.step, ensure_ascii=False)}"]
    if schema.time is not None:
        lines += [f"time = {json.dumps(schema.time.column)}"]
        lines += [f"time_unit = {json.dumps(schema.time.unit)}"]
        hidden = {schema.time.start, schema.time.gap}
    if schema.label is not None:
        lines += [f"label = {json.dumps(schema.label, ensure_ascii=False)}"]
    parts = (("metadata", schema.metadata), ("measurement", schema.measurements))
    for section, columns in parts:
        for column in columns:
            if column.name not in hidden:
                lines += ["", *_format_column(section, column)]
    return "\n".join(lines) + "\n"


def _format_column(section: str, column: Column) -> list[str]:
    name = json.dumps(column.name, ensure_ascii=False)
    lines = [f"[{section}.{name}]", f'kind = "{column.kind}"']
    if column.is_categorical:
        lines.append(f"values = {json.dumps(list(column.values), ensure_ascii=False)}")
    else:
        lines += [f"low = {float(column.low)!r}", f"high = {float(column.high)!r}"]
    return lines


def _columns(path: Path | str, section: str, content: Any) -> tuple[ColumnPlan, ...]:
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: {section} must be tables, [{section}.NAME]")
    plans = []
    for name, fields in content.items():
        where = f"[{section}.{name}]"
        if not isinstance(fields, dict) or "kind" not in fields:
            raise ConfigError(f"{path}: {where} must say its kind: one of {', '.join(KINDS)}")
        _refuse_unknown(path, where, fields, FIELDS)
        if fields["kind"] not in KINDS:
            raise ConfigError(
                f"{path}: {where} is {fields['kind']!r}, but must be one of {', '.join(KINDS)}"
            )
        values = fields.get("values")
        for side in ("low", "high"):
            if not isinstance(fields.get(side, 0), (int, float)):
                raise ConfigError(f"{path}: {where} {side} must be a number")
        plans.append(
            ColumnPlan(
                name=name,
                kind=fields["kind"],
                values=None if values is None else tuple(str(value) for value in values),
                low=fields.get("low"),
                high=fields.get("high"),
            )
        )
    return tuple(plans)


def _refuse_unknown(
    path: Path | str, where: str, content: dict[str, Any], known: tuple[str, ...]
) -> None:
    unknown = [key for key in content if key not in known]
    if unknown:
        raise ConfigError(f"{path}: {where} knows no {unknown[0]}; it has {', '.join(known)}")
