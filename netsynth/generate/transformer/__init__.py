"""Three levels, coarse to fine: flows, their series, their records; each trained by likelihood."""

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.generator import TransformerGenerator

__all__ = ["TransformerConfig", "TransformerGenerator"]
