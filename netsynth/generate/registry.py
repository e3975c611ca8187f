"""The table of generators, and how one is found and placed on a device."""

from __future__ import annotations

import importlib
from typing import Any

from netsynth.errors import ConfigError
from netsynth.generate.contract import Generator
from netsynth.generate.series_contract import SeriesGenerator

# Name -> "module:Class", imported on use: importing torch costs seconds. The module also has
# `Config`, the settings, best without importing torch.
GENERATORS = {
    "cascade": "netsynth.generate.cascade:CascadeGenerator",
    "doppelganger": "netsynth.generate.flow_series:FlowSeriesGenerator",
    "transformer": "netsynth.generate.transformer:TransformerGenerator",
    "tst": "netsynth.generate.flow_series:FlowSeriesGenerator",
}
STATIC_VIEW = ("cascade",)  # generators that learn from EncodedTrace.static
WEIGHTED = ("cascade",)  # generators whose `sample` takes weights of classes of flows
# The same, of generators that learn series instead of captures.
SERIES_GENERATORS = {
    "doppelganger": "netsynth.generate.doppelganger:DoppelgangerGenerator",
    "tst": "netsynth.generate.tst:TstGenerator",
}
DEVICES = ("auto", "cpu", "cuda")


def find_generator(name: str) -> type[Generator]:
    """Import the class of a generator.

    Raises:
        ConfigError: If there is none of that name.
    """
    module, attribute = _place(name, GENERATORS)
    found: type[Generator] = getattr(importlib.import_module(module), attribute)
    return found


def find_series_generator(name: str) -> type[SeriesGenerator]:
    """Import the class of a generator of series.

    Raises:
        ConfigError: If there is none of that name.
    """
    module, attribute = _place(name, SERIES_GENERATORS)
    found: type[SeriesGenerator] = getattr(importlib.import_module(module), attribute)
    return found


def find_config(name: str) -> type[Any]:
    """Import the settings of a generator, a frozen dataclass; its module calls it `Config`.

    Raises:
        ConfigError: If there is no generator of that name.
    """
    module, _ = _place(name, SERIES_GENERATORS if name in SERIES_GENERATORS else GENERATORS)
    found: type[Any] = importlib.import_module(module).Config
    return found


def choose_device(name: str) -> str:
    """Turn "auto" into "cuda" where there is a CUDA GPU, else "cpu".

    Raises:
        ConfigError: If the device is unknown, or "cuda" and there is none.
    """
    if name not in DEVICES:
        raise ConfigError(f"device is {name!r}, but must be one of {', '.join(DEVICES)}")
    if name == "cpu":
        return name
    import torch

    if torch.cuda.is_available():
        return "cuda"
    if name == "cuda":
        raise ConfigError("there is no CUDA GPU that torch can use; try --device cpu")
    return "cpu"


def _place(name: str, table: dict[str, str]) -> tuple[str, str]:
    if name not in table:
        raise ConfigError(f"there is no generator {name}; there are {', '.join(table)}")
    module, _, attribute = table[name].partition(":")
    return module, attribute
