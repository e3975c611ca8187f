"""Settings of the cascade."""

from __future__ import annotations

from dataclasses import dataclass

from netsynth.errors import ConfigError

SERIES_BACKBONES = ("lstm", "gru", "mlp")
RECORD_BACKBONES = ("mlp", "lstm")
PRECISIONS = ("auto", "float32", "bfloat16")
SHORTEST_SERIES, LONGEST_SERIES = 20, 200  # steps, CascadeNet section 9


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeConfig:
    """Sizes, ablations, and how long to train; docs/generators.md says what the paper has."""

    zero_inflation: bool = True  # an activity channel; rates are read where it is on
    conditions: bool = True  # whether the three levels see the flow's conditions
    series_backbone: str = "lstm"  # of G2: lstm, gru or mlp
    record_backbone: str = "mlp"  # of G3: mlp or lstm (over the window of steps)
    series_steps: int = 0  # T, 20 .. 200; 0: chosen from the capture
    series_chunk: int = 8  # steps that G2 emits at once
    window_steps: int = 11  # steps of the series that G3 sees, odd
    record_history: int = 3  # records that G3 sees before the one it makes
    width: int = 256  # hidden width of generators and critics
    critic_layers: int = 4  # linear layers of a critic
    generator_layers: int = 3  # hidden layers of an MLP generator
    series_width: int = 96  # hidden width of G2's recurrent net
    noise: int = 64  # numbers of noise a generator gets
    condition_width: int = 96  # hidden width of level 0
    penalty: float = 10.0  # weight of the gradient penalty
    penalty_rows: int = 128  # pairs of a batch that the penalty is taken on, at most
    penalty_every: int = 1  # critic steps a penalty is for; it then weighs as much as they do
    critic_steps: int = 3  # for each step of a generator
    learning_rate: float = 4e-4  # of Adam in critics; generators take half
    batch: int = 512  # flows or records a step sees
    precision: str = "auto"  # of matrix products; auto: bfloat16 on CUDA, float32 on a CPU
    compiled: bool = True  # whether generators are compiled, on CUDA
    kind_likelihood: float = 1.0  # weight of the likelihood of kinds in G3's loss; 0: a GAN alone
    alpha: float = 1.0  # weight of L1 in the joint phase
    beta: float = 1.0  # weight of L2 in the joint phase
    joint_share: float = 0.05  # of the steps of the pairs, the joint phase takes at most
    held_out: float = 0.1  # share of flows that decide when to stop
    patience: int = 4  # evaluations without a gain before a phase stops
    max_epochs: int = 400  # passes over the data at most, in each phase
    least_steps: int = 1500  # of a generator that a phase may take, however few the flows are
    most_steps: int = 0  # of a generator that a pair alone takes at most; 0: no such bound

    def __post_init__(self) -> None:
        for name in (
            "series_chunk", "record_history", "width", "critic_layers", "generator_layers",
            "series_width", "noise", "condition_width", "penalty_rows", "penalty_every",
            "critic_steps", "batch", "patience", "max_epochs", "least_steps",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")
        for name in ("penalty", "alpha", "beta", "joint_share", "kind_likelihood", "most_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must not be negative")
        if self.learning_rate <= 0:
            raise ConfigError(f"learning_rate is {self.learning_rate}, but must be positive")
        if self.window_steps < 1 or self.window_steps % 2 == 0:
            raise ConfigError(f"window_steps is {self.window_steps}, but must be odd")
        if self.series_steps and not SHORTEST_SERIES <= self.series_steps <= LONGEST_SERIES:
            raise ConfigError(f"series_steps is {self.series_steps}, but must be 0 or 20 .. 200")
        if not 0 < self.held_out < 0.9:
            raise ConfigError(f"held_out is {self.held_out}, but must be in 0 .. 0.9")
        for name, choices in (
            ("series_backbone", SERIES_BACKBONES),
            ("record_backbone", RECORD_BACKBONES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"{name} is {getattr(self, name)!r}, but must be one of {', '.join(choices)}"
                )
