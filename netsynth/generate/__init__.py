"""Room 4: learns windows of encoded traces, and draws new ones."""

from netsynth.generate.contract import Generator, TraceLayout
from netsynth.generate.model_file import read_header, read_model, write_model
from netsynth.generate.registry import GENERATORS, choose_device, find_config, find_generator

__all__ = [
    "GENERATORS",
    "Generator",
    "TraceLayout",
    "choose_device",
    "find_config",
    "find_generator",
    "read_header",
    "read_model",
    "write_model",
]
