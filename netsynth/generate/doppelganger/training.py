"""Training DoppelGANger: one step each of the critic, the auxiliary critic and the generators."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from netsynth.errors import ModelError
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.generate.doppelganger.encoding import EncodedSeries
from netsynth.generate.doppelganger.networks import Critic, Perceptron, SeriesGenerators
from netsynth.numbers import Array, IntArray

BETAS = (0.5, 0.999)
CHECKPOINT_S = 120.0


class Trainer:
    """The networks, their optimisers, and a step of training."""

    def __init__(
        self,
        generators: SeriesGenerators,
        critic: Critic,
        auxiliary: Critic,
        *,
        config: DoppelgangerConfig,
        random: torch.Generator,
    ) -> None:
        self.generators, self.critic, self.auxiliary = generators, critic, auxiliary
        self.config = config
        self.random = random
        self.optimisers = [
            torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=BETAS, fused=True)
            for net in (generators, critic, auxiliary)
        ]
        self.average = [weight.detach().clone() for weight in generators.state_dict().values()]
        self.steps = 0  # taken so far

    def step(self, metadata: Tensor, ranges: Tensor, series: Tensor) -> tuple[float, float]:
        """Take a step on real samples.

        The fakes are made once: detached for the critics, then with their gradient for the
        generators, which face the critics as just improved.

        Args:
            metadata: float [B, A].
            ranges: float [B, R].
            series: float [B, T, W + 2].

        Returns:
            Distance that the critic sees, and its penalty.
        """
        of_generators, of_critic, of_auxiliary = self.optimisers
        made = self.generators(len(series), self.random)
        head = torch.cat([metadata, ranges], dim=1)  # [B, A + R]
        fake_head = torch.cat([made.metadata, made.ranges], dim=1)
        real = torch.cat([series.flatten(1), head], dim=1)
        fake = torch.cat([made.series.flatten(1), fake_head], dim=1)
        found = critic_step(self.critic, of_critic, real, fake.detach(), self.config, self.random)
        has_auxiliary = self.config.alpha > 0 and head.shape[1] > 0
        if has_auxiliary:
            critic_step(
                self.auxiliary, of_auxiliary, head, fake_head.detach(), self.config, self.random
            )
        _freeze(self.critic, self.auxiliary, frozen=True)
        loss = -self.critic(fake).mean()
        if has_auxiliary:
            loss = loss - self.config.alpha * self.auxiliary(fake_head).mean()
        of_generators.zero_grad(set_to_none=True)
        loss.backward()
        of_generators.step()
        _freeze(self.critic, self.auxiliary, frozen=False)
        return found

    def update_average(self) -> None:
        """Let the averaged weights follow."""
        with torch.no_grad():
            for kept, new in zip(self.average, self.generators.state_dict().values(), strict=True):
                if kept.dtype.is_floating_point:
                    kept.lerp_(new, 1 - self.config.average)
                else:
                    kept.copy_(new)

    def to_arrays(self) -> dict[str, Array]:
        """Return what a later trainer needs to go on: moments of Adam, averages, steps."""
        arrays: dict[str, Array] = {"steps": np.array([self.steps])}
        for index, optimiser in enumerate(self.optimisers):
            for place, state in optimiser.state_dict()["state"].items():
                for name, value in state.items():
                    arrays[f"adam.{index}.{place}.{name}"] = value.detach().cpu().numpy()
        for place, kept in enumerate(self.average):
            arrays[f"average.{place}"] = kept.cpu().numpy()
        return arrays

    def take_arrays(self, arrays: dict[str, Array]) -> None:
        """Go on where the trainer left off whose `to_arrays` these are; networks are not in it."""
        self.steps = int(arrays["steps"][0])
        for index, optimiser in enumerate(self.optimisers):
            content = optimiser.state_dict()
            for name, array in arrays.items():
                kind, _, rest = name.partition(".")
                if kind == "adam" and rest.startswith(f"{index}."):
                    place, _, part = rest.partition(".")[2].partition(".")
                    own = content["state"].setdefault(int(place), {})
                    own[part] = torch.as_tensor(array)
            optimiser.load_state_dict(content)
        for number, kept in enumerate(self.average):
            kept.copy_(torch.as_tensor(arrays[f"average.{number}"]))

    def take_average(self) -> None:
        """Replace the generators' weights by their average."""
        names = self.generators.state_dict().keys()
        self.generators.load_state_dict(dict(zip(names, self.average, strict=True)))


def critic_step(
    critic: Critic,
    optimiser: torch.optim.Optimizer,
    real: Tensor,
    fake: Tensor,
    config: DoppelgangerConfig,
    random: torch.Generator,
) -> tuple[float, float]:
    """Improve a critic on samples [B, inputs] of both kinds; return the distance and penalty."""
    share = torch.rand(len(real), 1, generator=random, device=real.device)
    of_real, of_fake, norm = critic.judge(real, fake, share)
    distance = of_real.mean() - of_fake.mean()
    penalty = (norm - 1).square().mean()
    optimiser.zero_grad(set_to_none=True)
    (config.penalty * penalty - distance).backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return float(distance.detach()), float(penalty.detach())


def train(
    trainer: Trainer,
    encoded: EncodedSeries,
    *,
    seed: int,
    device: torch.device,
    report: Callable[[float, str], None],
    stop: Callable[[], bool],
    minutes: float | None,
    checkpoint: Callable[[], None],
) -> dict[str, float]:
    """Train until max_epochs, `minutes` or `stop`; a trainer that has steps behind it goes on.

    Returns:
        Steps, epochs, and the last distance that the critic saw.

    Raises:
        ModelError: If the loss is not a number.
    """
    config, began = trainer.config, time.monotonic()
    kept_s = began
    sample_count = encoded.offsets.size - 1
    width = trainer.generators.step_count * trainer.generators.patch
    size = min(config.batch, sample_count)
    per_epoch = max(1, sample_count // size)
    goal = config.max_epochs * per_epoch
    distance, before = 0.0, trainer.steps
    trainer.generators.train()
    for rows in _batches(sample_count, size, seed=[seed, before]):
        batch = [encoded.metadata[rows], encoded.ranges[rows], encoded.batch(rows, width)]
        distance, penalty = trainer.step(*(torch.as_tensor(part).to(device) for part in batch))
        if not (np.isfinite(distance) and np.isfinite(penalty)):
            raise ModelError("the critic's loss is no number; lower doppelganger.learning_rate")
        trainer.steps += 1
        if config.average:
            trainer.update_average()
        now = time.monotonic()
        share = trainer.steps / goal
        if minutes is not None:
            share = max(share, (now - began) / (60 * minutes))
        report(min(share, 0.99), f"critic's distance {distance:.2f}")
        if share >= 1 or stop():
            break
        if now - kept_s > CHECKPOINT_S:
            kept_s = now
            checkpoint()
    trainer.generators.eval()
    steps = trainer.steps
    return {"steps": steps, "epochs": steps / per_epoch, "distance": distance}


def train_metadata(
    network: Perceptron,
    wanted: Tensor,
    *,
    config: DoppelgangerConfig,
    seed: int,
    report: Callable[[float, str], None],
    stop: Callable[[], bool],
) -> None:
    """Train the metadata network alone towards rows [R, A], with a critic of its own.

    References:
        Lin et al., IMC 2020, section 6.1: other distributions of metadata by retraining the
        metadata network while the rest stays.
    """
    device = wanted.device
    random = torch.Generator(device=device).manual_seed(seed)
    critic = Critic(inputs=wanted.shape[1], hidden=config.critic_hidden).to(device)
    of_network, of_critic = (
        torch.optim.Adam(net.parameters(), lr=config.learning_rate, betas=BETAS, fused=True)
        for net in (network, critic)
    )
    network.train()
    for step in range(config.retrain_steps):
        rows = torch.randint(len(wanted), (config.batch,), generator=random, device=device)
        noise = torch.randn(config.batch, config.noise, generator=random, device=device)
        fake = network(noise)
        distance, _ = critic_step(critic, of_critic, wanted[rows], fake.detach(), config, random)
        loss = -critic(fake).mean()
        of_network.zero_grad(set_to_none=True)
        loss.backward()
        of_network.step()
        report(step / config.retrain_steps, f"critic's distance {distance:.2f}")
        if stop():
            break
    network.eval()


def _batches(sample_count: int, size: int, *, seed: list[int]) -> Iterator[IntArray]:
    """Yield rows of whole batches without end, every sample at most once an epoch."""
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(sample_count)
        for at in range(0, sample_count - size + 1, size):
            yield order[at : at + size]


def _freeze(*critics: Critic, frozen: bool) -> None:
    for critic in critics:
        critic.requires_grad_(not frozen)
