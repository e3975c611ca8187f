"""Room 4: learns windows of encoded traces, and draws new ones."""

from netsynth.generate.contract import Generator, TraceLayout
from netsynth.generate.model_file import read_header, read_model, write_model
from netsynth.generate.registry import (
    GENERATORS,
    SERIES_GENERATORS,
    STATIC_VIEW,
    WEIGHTED,
    choose_device,
    find_config,
    find_generator,
    find_series_generator,
)
from netsynth.generate.series_contract import SeriesGenerator

__all__ = [
    "GENERATORS",
    "SERIES_GENERATORS",
    "STATIC_VIEW",
    "WEIGHTED",
    "Generator",
    "SeriesGenerator",
    "TraceLayout",
    "choose_device",
    "find_config",
    "find_generator",
    "find_series_generator",
    "read_header",
    "read_model",
    "write_model",
]
