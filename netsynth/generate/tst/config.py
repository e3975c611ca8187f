"""Settings of TST."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from netsynth.errors import ConfigError

POSITIONS, MOST_POSITIONS = 20, 512  # patches of a series: aimed at, and at most


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedConfig:
    """The paper's network and training, for tst.mode=published.

    References:
        "Generative Modeling of Networked Time-Series via Transformer Architectures",
        arXiv 2506.07312, section 4.
    """

    preset: Literal["published", "small"] = "published"  # small: 2 layers of 64, for CPUs
    dropout: float = 0.1  # share of hidden values dropped while training
    learning_rate: float = 1e-4  # of Adam
    batch: int = 64  # samples a step
    window: int = 400  # records of a series that are learned, and made, at most
    output: Literal["sigmoid", "tanh"] = "sigmoid"  # of numbers: 0..1, or -1..1
    max_epochs: int = 100  # passes over the samples
    memory_share: float = 0.8  # of the free memory that a step may take

    @property
    def width(self) -> int:
        """Width of the network, and of its feed-forward layers."""
        return 512 if self.preset == "published" else 64

    @property
    def layers(self) -> int:
        """Encoder blocks."""
        return 8 if self.preset == "published" else 2

    @property
    def heads(self) -> int:
        """Heads of attention."""
        return 8 if self.preset == "published" else 4

    def __post_init__(self) -> None:
        if self.window < 3:
            raise ConfigError(f"window is {self.window}, but must be at least 3")
        _check_positive(self, ("batch", "max_epochs"))
        _check_shares(self, ("dropout",))
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, but must be positive")
        if not 0 < self.memory_share <= 1:
            raise ConfigError(f"memory_share is {self.memory_share}, but must be in 0 .. 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class TstConfig:
    """Widths, and how long to train, of the likelihood model; `published` is of the other."""

    mode: Literal["likelihood", "published"] = (
        "likelihood"  # published: the paper's, for comparison
    )
    width: int = 64  # H
    hidden: int = 128  # of the decoders of values
    layers: int = 2  # of attention
    heads: int = 4  # of attention
    mixtures: int = 6  # logistic distributions a number is drawn from
    patch: int = 0  # records a position of the transformer holds; 0: so many that 20 hold most
    exact_counts: int = 17  # counts below it are tokens of their own
    bins: int = 0  # buckets of a total; 0: one for each twenty samples, 8 to 64
    match_totals: bool = True  # scale a series so that its totals lie in the bucket drawn first
    dropout: float = 0.1  # share of hidden values dropped while training
    learning_rate: float = 3e-3  # of AdamW; halved where held-out data brings no gain
    batch: int = 64  # samples a step
    held_out: float = 0.1  # share of samples that decide when to stop
    patience: int = 4  # evaluations without a gain before training stops
    max_epochs: int = 300  # passes over the samples at most
    record_width: int = 256  # of the level that makes a capture's packets
    published: PublishedConfig = dataclasses.field(default_factory=PublishedConfig)

    def __post_init__(self) -> None:
        if self.mode not in ("likelihood", "published"):
            raise ConfigError(f"mode is {self.mode!r}, but must be likelihood or published")
        names = (
            "width",
            "hidden",
            "layers",
            "heads",
            "mixtures",
            "exact_counts",
            "batch",
            "record_width",
        )
        _check_positive(self, (*names, "patience", "max_epochs"))
        _check_shares(self, ("dropout",))
        if self.width % (2 * self.heads):
            raise ConfigError(f"width {self.width} must be a multiple of 2 x heads {self.heads}")
        for name in ("patch", "bins"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 0")
        if not 0 < self.held_out < 0.9:
            raise ConfigError(f"held_out is {self.held_out}, but must be in 0 .. 0.9")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, but must be positive")

    def patch_of(self, usual_length: int, max_length: int) -> int:
        """Records a position holds: 20 positions for usual series, 512 for the longest."""
        chosen = self.patch or max(-(-usual_length // POSITIONS), -(-max_length // MOST_POSITIONS))
        return min(chosen, max_length)


def _check_positive(config: object, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, but must be at least 1")


def _check_shares(config: object, names: tuple[str, ...]) -> None:
    for name in names:
        if not 0 <= getattr(config, name) < 1:
            raise ConfigError(f"{name} is {getattr(config, name)}, but must be in 0 .. 1")
