"""A room of its own: series that are not packets, from files and back, and how close they are."""

from netsynth.series.compare import SeriesFigure, SeriesReport, compare_series
from netsynth.series.files import (
    hash_file,
    is_series_file,
    read_metadata,
    read_series,
    write_series,
)
from netsynth.series.schema_file import (
    SchemaPlan,
    format_schema,
    plan_of_schema,
    read_schema_file,
)

__all__ = [
    "SchemaPlan",
    "SeriesFigure",
    "SeriesReport",
    "compare_series",
    "format_schema",
    "hash_file",
    "is_series_file",
    "plan_of_schema",
    "read_metadata",
    "read_schema_file",
    "read_series",
    "write_series",
]
