"""DoppelGANger's networks: three generators in a row, and critics with their own penalty.

References:
    Lin et al., IMC 2020, figure 7 and appendix B; Gulrajani et al., "Improved Training of
    Wasserstein GANs", 2017.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.doppelganger.config import DoppelgangerConfig

Widths = list[tuple[str, int]]  # output unit and width of each part
CRITIC_LAYERS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """What the generator makes for B samples.

    Attributes:
        metadata: float [B, A], soft.
        ranges: float [B, R].
        series: float [B, T, W + 2] with flags, zero behind the end.
        fixed: float [B, A], metadata as the later networks saw them: categories one-hot.
        goes_on: bool [B, T], whether the flags of each record say that the series goes on.
    """

    metadata: Tensor
    ranges: Tensor
    series: Tensor
    fixed: Tensor
    goes_on: Tensor


class Perceptron(nn.Module):
    """Two layers of Linear, ReLU and BatchNorm, then one unit a part."""

    def __init__(self, *, inputs: int, widths: Widths, hidden: int) -> None:
        super().__init__()
        self.widths = widths
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden), nn.ReLU(), nn.BatchNorm1d(hidden, eps=1e-5, momentum=0.1),
            nn.Linear(hidden, hidden), nn.ReLU(), nn.BatchNorm1d(hidden, eps=1e-5, momentum=0.1),
            nn.Linear(hidden, sum(width for _, width in widths)),
        )  # fmt: skip
        self.apply(glorot)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B, inputs] to [B, sum of widths]."""
        return activate(self.layers(x), self.widths)


class SeriesGenerators(nn.Module):
    """Metadata, then ranges, then the series."""

    def __init__(
        self,
        *,
        metadata: Widths,
        ranges: Widths,
        records: Widths,
        max_length: int,
        config: DoppelgangerConfig,
    ) -> None:
        super().__init__()
        self.noise = config.noise
        self.patch = config.patch_of(max_length)
        self.step_count = -(-max_length // self.patch)
        self.widths = metadata, ranges, records
        a, r, w = (sum(width for _, width in widths) for widths in self.widths)
        self.sizes = a, r, w
        hidden = config.hidden
        self.metadata = (
            Perceptron(inputs=config.noise, widths=metadata, hidden=hidden) if a else None
        )
        inputs = a + config.noise
        self.ranges = Perceptron(inputs=inputs, widths=ranges, hidden=hidden) if r else None
        self.lstm = nn.LSTM(a + r + config.noise, config.lstm_hidden, batch_first=True)
        self.record = nn.Linear(config.lstm_hidden, self.patch * w)
        self.record.apply(glorot)
        start_lstm(self.lstm)

    def forward(
        self,
        count: int,
        random: torch.Generator,
        *,
        given: Tensor | None = None,
        free: bool = False,
    ) -> Made:
        """Make `count` samples.

        Args:
            count: How many.
            random: Of the noise.
            given: Metadata to keep to, float [count, A], or None.
            free: Leave the records behind the end as they come, for lengths set from outside.
        """
        device = self.record.weight.device
        w = self.sizes[2]

        def draw(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random, device=device)

        metadata = draw(count, 0)
        if self.metadata is not None:
            metadata = self.metadata(draw(count, self.noise))
        fixed = harden(metadata, self.widths[0]) if given is None else given
        ranges = draw(count, 0)
        if self.ranges is not None:
            ranges = self.ranges(torch.cat([fixed, draw(count, self.noise)], dim=1))
        context = torch.cat([fixed, ranges.detach()], dim=1)  # [B, A + R]
        inputs = torch.cat(
            [
                context[:, None].expand(-1, self.step_count, -1),
                draw(count, self.step_count, self.noise),
            ],
            dim=2,
        )  # [B, T/S, A + R + noise]
        width = self.lstm.hidden_size
        hidden, _ = self.lstm(inputs, (draw(1, count, width), draw(1, count, width)))
        records = self.record(hidden).view(count, -1, w)  # [B, T, W + 2]
        series = activate(records, self.widths[2])
        flags = series[..., -2:].detach()
        goes_on = flags[..., 0] >= flags[..., 1]  # [B, T]
        if not free:
            ended = (~goes_on).cumsum(dim=1) - (~goes_on).long()  # ends before this record
            series = series * (ended == 0)[..., None]
        return Made(metadata=metadata, ranges=ranges, series=series, fixed=fixed, goes_on=goes_on)


class Critic(nn.Module):
    """Four layers of Linear and ReLU, then one number a sample."""

    def __init__(self, *, inputs: int, hidden: int) -> None:
        super().__init__()
        sizes = [inputs, *[hidden] * CRITIC_LAYERS, 1]
        linear = [nn.Linear(a, b) for a, b in itertools.pairwise(sizes)]
        self.first, self.inner, self.last = linear[0], nn.ModuleList(linear[1:-1]), linear[-1]
        self.apply(glorot)

    def forward(self, x: Tensor) -> Tensor:
        """Judge [B, inputs]: [B]."""
        return self._finish(self.first(x))

    def judge(self, real: Tensor, fake: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Judge pairs, and say how steep the critic is between them.

        The gradient by the input is written out: between the kinks of ReLU the critic is linear,
        so that its gradient is a product of weights and masks, and plain backward through that
        product gives the penalty's gradient, without differentiating twice.

        Args:
            real: float [B, inputs].
            fake: float [B, inputs].
            share: float [B, 1], where between fake (0) and real (1) to measure.

        Returns:
            What is thought of real [B] and of fake [B], and the norm [B] of each sample's gradient.
        """
        before = self.first(torch.cat([real, fake]))  # [2B, hidden]; linear, so it can be blended
        of_real, of_fake = self._finish(before).chunk(2)
        masks = self._masks(before.detach(), share)
        slope = self.last.weight * masks[-1]  # [B, hidden]
        for layer, mask in zip(reversed(self.inner), reversed(masks[:-1]), strict=True):
            assert isinstance(layer, nn.Linear)
            slope = (slope @ layer.weight) * mask
        return of_real, of_fake, (slope @ self.first.weight).norm(dim=1)

    def _finish(self, x: Tensor) -> Tensor:
        """Go on from the first layer's [B, hidden]: [B]."""
        for layer in self.inner:
            x = layer(functional.relu(x))
        judged: Tensor = self.last(functional.relu(x))
        return judged[:, 0]

    @torch.no_grad()
    def _masks(self, before: Tensor, share: Tensor) -> list[Tensor]:
        """Which units are active between real and fake, float [B, hidden] a layer."""
        real, fake = before.chunk(2)
        x = fake + share * (real - fake)
        masks = [(x > 0).to(x.dtype)]
        for layer in self.inner:
            x = layer(functional.relu(x))
            masks.append((x > 0).to(x.dtype))
        return masks


def activate(x: Tensor, widths: Widths) -> Tensor:
    """Apply each part's unit to its columns (the last axis)."""
    parts = []
    pieces = torch.split(x, [w for _, w in widths], dim=-1)
    for part, (unit, _) in zip(pieces, widths, strict=True):
        if unit == "softmax":
            parts.append(part.softmax(dim=-1))
        else:
            parts.append(part.sigmoid() if unit == "sigmoid" else part.tanh())
    return torch.cat(parts, dim=-1) if parts else x


def harden(soft: Tensor, widths: Widths) -> Tensor:
    """Make categories one-hot, and cut the gradient."""
    parts = []
    soft = soft.detach()
    pieces = torch.split(soft, [w for _, w in widths], dim=-1)
    for part, (unit, width) in zip(pieces, widths, strict=True):
        is_category = unit == "softmax"
        parts.append(
            functional.one_hot(part.argmax(dim=-1), width).to(part.dtype) if is_category else part
        )
    return torch.cat(parts, dim=-1) if parts else soft


def start_lstm(lstm: nn.LSTM) -> None:
    """Start an LSTM: one Glorot matrix from [input, state] to all gates, forget bias 1, else 0.

    References:
        The authors' cell: its kernel is one matrix [inputs + H, 4 H].
    """
    hidden = lstm.hidden_size
    bound = math.sqrt(6 / (lstm.input_size + hidden + 4 * hidden))
    with torch.no_grad():
        for name, weight in lstm.named_parameters():
            if weight.dim() == 2:
                weight.uniform_(-bound, bound)
                continue
            weight.zero_()
            if name.startswith("bias_ih"):
                weight[hidden : 2 * hidden] = 1  # gates are input, forget, cell, output


def glorot(module: nn.Module) -> None:
    """Start a Linear layer with Glorot weights and zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
