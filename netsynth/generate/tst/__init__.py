"""TST: a causal transformer over series, as published or trained by likelihood (the default)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsynth.generate.tst.config import PublishedConfig, TstConfig

if TYPE_CHECKING:
    from netsynth.generate.tst.generator import TstGenerator

__all__ = ["Config", "PublishedConfig", "TstConfig", "TstGenerator"]

Config = TstConfig


def __getattr__(name: str) -> Any:
    """Import the generator, and torch with it, on use: its settings are known without."""
    if name != "TstGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsynth.generate.tst.generator import TstGenerator

    return TstGenerator
