"""CascadeGAN: conditions by likelihood, then three WGAN-GP pairs: tuples, series, records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsynth.generate.cascade.config import CascadeConfig

if TYPE_CHECKING:
    from netsynth.generate.cascade.generator import CascadeGenerator

__all__ = ["CascadeConfig", "CascadeGenerator", "Config"]

Config = CascadeConfig


def __getattr__(name: str) -> Any:
    """Import the generator, and torch with it, on use: its settings are known without."""
    if name != "CascadeGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsynth.generate.cascade.generator import CascadeGenerator

    return CascadeGenerator
