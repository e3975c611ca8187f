"""Settings of DoppelGANger."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from netsynth.errors import ConfigError

STEPS_PER_SERIES = 50  # of the LSTM, about: IMC 2020, section 4.1.2


@dataclass(frozen=True, kw_only=True, slots=True)
class DoppelgangerConfig:
    """Sizes, and how long to train; the defaults are the paper's.

    References:
        Lin et al., IMC 2020, section 4 and appendix B.
    """

    auto_normalise: bool = True  # each series by its own range, which is generated as metadata
    log_counts: bool = False  # counts as log(1 + count)
    output: Literal["sigmoid", "tanh"] = "sigmoid"  # of numbers: 0..1, or -1..1
    patch: int = 0  # S, records a step of the LSTM makes; 0: so many that it takes about 50
    noise: int = 5  # numbers of each noise vector
    hidden: int = 100  # of the metadata and range networks
    lstm_hidden: int = 100  # of the LSTM
    critic_hidden: int = 200  # of both critics, four layers each
    penalty: float = 10.0  # weight of the gradient penalty
    alpha: float = 1.0  # weight of the auxiliary critic in the generator's loss; 0: there is none
    learning_rate: float = 1e-3  # of Adam, betas 0.5 and 0.999
    batch: int = 100  # samples a step
    max_epochs: int = 400  # passes over the samples
    average: float = 0.0  # decay of the averaged weights that are sampled from; 0: the last ones
    retrain_steps: int = 1000  # of the metadata network alone, towards wanted metadata
    capture_steps: int = 3000  # most steps on the flows of a capture
    record_width: int = 256  # of the level that makes a capture's packets

    def __post_init__(self) -> None:
        for name in (
            "noise", "hidden", "lstm_hidden", "critic_hidden", "max_epochs", "retrain_steps",
            "capture_steps", "record_width",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        if self.batch < 2:
            raise ConfigError(f"batch is {self.batch}, but must be at least 2")
        if self.patch < 0:
            raise ConfigError(f"patch is {self.patch}, but must be at least 0")
        if self.output not in ("sigmoid", "tanh"):
            raise ConfigError(f"output is {self.output!r}, but must be sigmoid or tanh")
        for name in ("penalty", "alpha"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 0")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, but must be positive")
        if not 0 <= self.average < 1:
            raise ConfigError(f"average is {self.average}, but must be in 0 .. 1")

    def patch_of(self, max_length: int) -> int:
        """Records that a step of the LSTM makes for series of up to `max_length`."""
        return min(max_length, self.patch or max(1, round(max_length / STEPS_PER_SERIES)))
