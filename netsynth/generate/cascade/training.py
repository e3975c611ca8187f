"""The two phases: each pair alone on real inputs, then all together; stopped on evidence."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from netsynth.errors import ModelError
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.critic_step import critic_gradients
from netsynth.generate.cascade.pairs import Batches, sliced_distance
from netsynth.generate.cascade.precision import autocast, forked_random
from netsynth.generate.cascade.wgan import critic_loss
from netsynth.generate.transformer.training import FitControl

log = logging.getLogger(__name__)

EVALUATE_STEPS = 60  # generator steps between two looks at held-out data
JUDGED = 4096  # rows that are compared at most
AVERAGE = 0.995  # of the generator's weights that are judged and kept
SLOWER = 0.5  # learning rate of generators over that of critics
BETAS = (0.5, 0.9)  # Gulrajani et al. 2017, algorithm 1
SMALLEST_BATCH = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class PhaseOutcome:
    """What a phase gave.

    Attributes:
        name: A pair, or "joint".
        steps: Of the generator.
        seconds: Wall time.
        first_distance: Of samples from held-out data, before.
        best_distance: The same, of the weights that were kept.
    """

    name: str
    steps: int
    seconds: float
    first_distance: float
    best_distance: float

    def to_header(self) -> dict[str, float | int | str]:
        """Return the outcome in plain values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class Savings:
    """What a step leaves out; switched off to measure what each gives.

    The three change the order of sums and of random numbers at most.
    """

    detached: bool = True  # critic steps do not go through the generator
    one_pass: bool = True  # what the critic steps of an iteration see is made in one pass
    by_hand: bool = True  # critics' gradients are written out; needs `detached`


class Phase:
    """Steps of the critics and generators of some pairs, and their judgement."""

    def __init__(
        self,
        batches: Batches,
        names: tuple[str, ...],
        *,
        alone: bool,
        config: CascadeConfig,
        savings: Savings | None = None,
    ) -> None:
        """Prepare to train the pairs `names`; all `savings` are made if None are given."""
        self.savings = savings or Savings()
        self.batches, self.names, self.alone, self.config = batches, names, alone, config
        cascade = batches.cascade
        self.rows = {name: batches.rows(name, held_out=False) for name in names}
        self.critic_of = {
            name: torch.optim.Adam(
                cascade.critic(name).parameters(), lr=config.learning_rate, betas=BETAS, fused=True
            )
            for name in names
        }
        self.weights = [p for n in names for p in cascade.generator(n).parameters()]
        self.maker = torch.optim.Adam(
            self.weights, lr=SLOWER * config.learning_rate, betas=BETAS, fused=True
        )
        self.share = {"tuples": config.alpha, "series": config.beta, "records": 1.0}
        self.critic_steps = 0

    def autocast(self) -> AbstractContextManager[None]:
        """Context of the nets' forward passes."""
        return autocast(self.weights[0].device, self.config.precision)

    def set_rate(self, rate: float) -> None:
        """Set the critics' learning rate, and the generators' in proportion."""
        for critic in self.critic_of.values():
            critic.param_groups[0]["lr"] = rate
        self.maker.param_groups[0]["lr"] = SLOWER * rate

    def draw(self, name: str, *, batches: int = 1) -> Tensor:
        """Draw rows of some batches, one after the other."""
        rows = self.rows[name]
        size = batches * min(self.config.batch, max(rows.numel(), SMALLEST_BATCH))
        return rows[torch.randint(rows.numel(), (size,), device=rows.device)]

    def step_critics(self) -> None:
        """Train each critic `critic_steps` times; what is made has no graph.

        Generators do not change meanwhile, so that the pairs of all steps are made in one pass.
        """
        steps = self.config.critic_steps
        if not self.savings.one_pass:
            for _ in range(steps):
                self._step_critics_on(1)
        else:
            self._step_critics_on(steps)

    def _step_critics_on(self, steps: int) -> None:
        """Make the pairs of some critic steps, then train on them."""
        for name in self.names:
            rows = self.draw(name, batches=steps)  # the same for real and made
            with torch.set_grad_enabled(not self.savings.detached), self.autocast():
                real, made, common = self.batches.both(name, rows, alone=self.alone)
            size = rows.numel() // steps
            for step in range(steps):
                part = slice(step * size, (step + 1) * size)
                due = (self.critic_steps + step) % self.config.penalty_every == 0
                self._step_critic(name, real[part], made[part], common=common, penalised=due)
        self.critic_steps += steps

    def _step_critic(
        self, name: str, real: Tensor, made: Tensor, *, common: int, penalised: bool
    ) -> None:
        """Train a critic once on pairs [B, D]."""
        config, critic, optimiser = self.config, self.batches.cascade.critic(name), self.critic_of
        weight = config.penalty * config.penalty_every
        mixed = min(config.penalty_rows, real.shape[0]) if penalised else 0
        share = torch.rand(mixed, 1, device=real.device)
        with self.autocast():
            if self.savings.by_hand:
                loss, _ = critic_gradients(
                    critic.layers, real, made, share, common=common, penalty=weight
                )
            else:
                loss, _ = critic_loss(critic, real, made, share, penalty=weight)
        if not torch.isfinite(loss):
            raise ModelError(f"{name}: the critic's loss is {loss.item()}; lower learning_rate")
        if not self.savings.by_hand:
            optimiser[name].zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        optimiser[name].step()

    def step_generators(self) -> None:
        """Train the generators once: L = alpha L1 + beta L2 + L3."""
        cascade = self.batches.cascade
        critics = [cascade.critic(name) for name in self.names]
        for critic in critics:
            critic.requires_grad_(False)
        total = torch.zeros((), device=self.weights[0].device)
        for name in self.names:
            rows = self.draw(name)
            with self.autocast():
                made, loss = self.batches.made_with_loss(name, rows, alone=self.alone)
                score = cascade.critic(name)(made).float().mean()
            share = 1.0 if self.alone else self.share[name]
            total = total + loss - share * score
        self.maker.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.weights, 10.0)
        self.maker.step()
        for critic in critics:
            critic.requires_grad_(True)

    @torch.no_grad()
    def judge(self) -> float:
        """Sum of the levels' distances of samples from held-out data."""
        total = 0.0
        for name in self.names:
            rows = self.batches.rows(name, held_out=True)
            if rows.numel() < 2:
                rows = self.rows[name]
            rows = rows[torch.linspace(0, rows.numel() - 1, min(JUDGED, rows.numel())).long()]
            with forked_random(rows.device):
                torch.manual_seed(0)
                made = self.batches.made(name, rows, alone=self.alone)
            total += sliced_distance(self.batches.real(name, rows), made)
        return total


def train_phase(
    batches: Batches,
    names: tuple[str, ...],
    *,
    config: CascadeConfig,
    control: FitControl,
    most_steps: int,
) -> PhaseOutcome:
    """Train pairs until the distance of their samples from held-out data stops falling.

    Args:
        batches: The pairs and what they learn from; the weights are left at the best.
        names: One pair: phase 1, on real inputs. All: phase 2, each on what the others make.
        config: Sizes and rates; the learning rate halves whenever a look brings no gain.
        control: How the fit is watched and ended from outside.
        most_steps: Generator steps at most.
    """
    name = names[0] if len(names) == 1 else "joint"
    phase = Phase(batches, names, alone=len(names) == 1, config=config)
    began = time.monotonic()
    if any(rows.numel() == 0 for rows in phase.rows.values()):
        return PhaseOutcome(name=name, steps=0, seconds=0.0, first_distance=0.0, best_distance=0.0)
    batches.cascade.train()
    average = [p.detach().clone() for p in phase.weights]
    best = [p.clone() for p in average]
    first = best_distance = phase.judge()
    misses, step, text, running = 0, 0, "", True
    while running and step < most_steps:
        phase.step_critics()
        phase.step_generators()
        step += 1
        blend = min(AVERAGE, step / (step + 4))
        with torch.no_grad():
            torch._foreach_lerp_(average, [p.detach() for p in phase.weights], 1 - blend)
        late = control.deadline is not None and time.monotonic() > control.deadline
        last = control.stop() or late or step == most_steps
        if step % EVALUATE_STEPS == 0 or last:
            distance = _judge_with(phase, average)
            if distance < best_distance * 0.995:
                misses = 0
            else:
                misses += 1
            if distance < best_distance:
                best_distance = distance
                best = [p.clone() for p in average]
            rate = config.learning_rate * 0.5 ** max(misses - 1, 0)
            phase.set_rate(rate)
            text = f"distance {distance:.3f}, best {best_distance:.3f}"
            log.debug("%s step %d %s, %.1f s", name, step, text, time.monotonic() - began)
        running = not last and misses < config.patience
        control.report(min(0.99, max(step / most_steps, misses / (config.patience + 1))), text)
    with torch.no_grad():
        for parameter, kept in zip(phase.weights, best, strict=True):
            parameter.copy_(kept)
    batches.cascade.eval()
    control.report(1.0, f"distance {best_distance:.3f}")
    return PhaseOutcome(
        name=name, steps=step, seconds=time.monotonic() - began, first_distance=first,
        best_distance=best_distance,
    )  # fmt: skip


def phase_steps(batches: Batches, names: tuple[str, ...], config: CascadeConfig) -> int:
    """Generator steps a phase takes at most: max_epochs passes over what the pairs learn from.

    Where flows are few, passes are short: least_steps then, if that is more. Never over most_steps.
    """
    rows = max(batches.rows(name, held_out=False).numel() for name in names)
    steps = max(config.max_epochs * rows / (config.batch * config.critic_steps), config.least_steps)
    steps = min(steps, config.most_steps or steps)
    return max(1, round(steps if len(names) == 1 else steps * config.joint_share))


def _judge_with(phase: Phase, weights: list[Tensor]) -> float:
    """Judge with other weights in place, then put the phase's own back."""
    own = [p.detach().clone() for p in phase.weights]
    with torch.no_grad():
        for parameter, weight in zip(phase.weights, weights, strict=True):
            parameter.copy_(weight)
        distance = phase.judge()
        for parameter, kept in zip(phase.weights, own, strict=True):
            parameter.copy_(kept)
    return distance
