"""Three levels, coarse to fine: flows, their series, their records; each trained by likelihood."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from netsynth.generate.transformer.config import TransformerConfig

if TYPE_CHECKING:
    from netsynth.generate.transformer.generator import TransformerGenerator

__all__ = ["Config", "TransformerConfig", "TransformerGenerator"]

Config = TransformerConfig


def __getattr__(name: str) -> Any:
    """Import the generator, and torch with it, on use: its settings are known without."""
    if name != "TransformerGenerator":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from netsynth.generate.transformer.generator import TransformerGenerator

    return TransformerGenerator
