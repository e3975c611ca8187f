"""Settings of the transformer."""

from __future__ import annotations

from dataclasses import dataclass

from netsynth.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Widths, and how long to train."""

    width: int = 128  # H, of the flow and series levels
    hidden: int = 192  # of the decoders of fields
    layers: int = 2  # of attention, in the flow level
    heads: int = 4  # of attention
    flow_context: int = 96  # flows a flow sees before it
    record_width: int = 256  # of the record level
    record_history: int = 6  # records a record sees before it
    dropout: float = 0.1  # share of hidden values dropped while training
    learning_rate: float = 2e-3  # of AdamW; halved where held-out data brings no gain
    batch_flows: int = 2048  # flows a step of the flow level
    batch_records: int = 4096  # records a step of the record level
    held_out: float = 0.1  # share of flows that decide when to stop
    patience: int = 4  # evaluations without a gain before a level stops
    max_epochs: int = 200  # passes over the data at most
    sample_flows: int = 16384  # flows whose records are drawn together

    def __post_init__(self) -> None:
        for name in (
            "width",
            "hidden",
            "layers",
            "heads",
            "flow_context",
            "record_width",
            "record_history",
            "batch_flows",
            "batch_records",
            "patience",
            "max_epochs",
            "sample_flows",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.width % (2 * self.heads):
            raise ConfigError(f"width {self.width} must be a multiple of 2 x heads {self.heads}")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"dropout is {self.dropout}, but must be in 0 .. 1")
        if not 0 < self.held_out < 0.9:
            raise ConfigError(f"held_out is {self.held_out}, but must be in 0 .. 0.9")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, but must be positive")
