"""DoppelGANger: metadata, then the range of a series, then the series, by WGAN-GP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsynth.generate.doppelganger.config import DoppelgangerConfig

if TYPE_CHECKING:
    from netsynth.generate.doppelganger.generator import DoppelgangerGenerator

__all__ = ["Config", "DoppelgangerConfig", "DoppelgangerGenerator"]

Config = DoppelgangerConfig


def __getattr__(name: str) -> Any:
    """Import the generator, and torch with it, on use: its settings are known without."""
    if name != "DoppelgangerGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsynth.generate.doppelganger.generator import DoppelgangerGenerator

    return DoppelgangerGenerator
