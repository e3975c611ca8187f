"""The table of generators, and how one is found and placed on a device."""

from __future__ import annotations

import importlib
from typing import Any

from netsynth.errors import ConfigError
from netsynth.generate.contract import Generator

# Name -> "module:Class", imported on use: importing torch costs seconds. The module also has
# `Config`, the settings, best without importing torch.
GENERATORS = {"transformer": "netsynth.generate.transformer:TransformerGenerator"}
DEVICES = ("auto", "cpu", "cuda")


def find_generator(name: str) -> type[Generator]:
    """Import the class of a generator.

    Raises:
        ConfigError: If there is none of that name.
    """
    module, attribute = _place(name)
    found: type[Generator] = getattr(importlib.import_module(module), attribute)
    return found


def find_config(name: str) -> type[Any]:
    """Import the settings of a generator, a frozen dataclass; its module calls it `Config`.

    Raises:
        ConfigError: If there is no generator of that name.
    """
    module, _ = _place(name)
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


def _place(name: str) -> tuple[str, str]:
    if name not in GENERATORS:
        raise ConfigError(f"there is no generator {name}; there are {', '.join(GENERATORS)}")
    module, _, attribute = GENERATORS[name].partition(":")
    return module, attribute
