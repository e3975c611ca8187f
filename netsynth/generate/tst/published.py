"""TST as published: an encoder under a causal mask that predicts the next record.

References:
    "Generative Modeling of Networked Time-Series via Transformer Architectures",
    arXiv 2506.07312, section 4; Vaswani et al., "Attention Is All You Need", 2017.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.errors import ConfigError, ModelError
from netsynth.generate.doppelganger.encoding import EncodedSeries
from netsynth.generate.transformer.attention import sinusoids
from netsynth.generate.tst.config import PublishedConfig
from netsynth.numbers import IntArray

SEED_STEPS = 2  # real records that a series is begun with


class PublishedNetwork(nn.Module):
    """Post-norm encoder blocks without a last norm, between two Linear layers."""

    def __init__(self, *, inputs: int, config: PublishedConfig) -> None:
        super().__init__()
        width = config.width
        self.is_centred = config.output == "tanh"
        self.enter = nn.Linear(inputs, width)
        self.dropout = nn.Dropout(config.dropout)
        block = nn.TransformerEncoderLayer(
            width,
            config.heads,
            dim_feedforward=width,
            dropout=config.dropout,
            batch_first=True,
            norm_first=False,
        )
        self.blocks = nn.TransformerEncoder(block, config.layers, enable_nested_tensor=False)
        self.leave = nn.Linear(width, inputs)

    def forward(self, records: Tensor, lengths: Tensor) -> Tensor:
        """Predict each record's successor.

        Args:
            records: float [B, T, W + 2], with flags.
            lengths: int64 [B]; what lies behind is not seen.

        Returns:
            float [B, T, W + 2].
        """
        steps = records.shape[1]
        place = torch.arange(steps, device=records.device)
        x = self.enter(records)
        x = self.dropout(x + sinusoids(place, x.shape[2]).to(x.dtype))
        ahead = place[None, :] > place[:, None]  # [T, T], True: not seen
        padded = place >= lengths[:, None]  # [B, T]
        out: Tensor = self.leave(self.blocks(x, mask=ahead, src_key_padding_mask=padded))
        return out.tanh() if self.is_centred else out.sigmoid()


def masked_error(network: PublishedNetwork, records: Tensor, lengths: Tensor) -> Tensor:
    """Mean squared error of the next record, over records that have one and lie in the series."""
    made = network(records[:, :-1], lengths.clamp(max=records.shape[1] - 1))  # [B, T-1, W + 2]
    place = torch.arange(1, records.shape[1], device=records.device)
    real = (place < lengths[:, None])[..., None]
    error = (made - records[:, 1:]).square() * real
    mean: Tensor = error.sum() / (real.sum() * records.shape[2]).clamp(min=1)
    return mean


def fit_published(
    network: PublishedNetwork,
    encoded: EncodedSeries,
    *,
    config: PublishedConfig,
    seed: int,
    device: torch.device,
    report: Callable[[float, str], None],
    stop: Callable[[], bool],
    minutes: float | None,
) -> dict[str, float]:
    """Train with Adam on the masked error until max_epochs, `minutes` or `stop`.

    Raises:
        ConfigError: If a step would not fit in memory.
        ModelError: If the loss is not a number.
    """
    lengths = np.minimum(np.diff(encoded.offsets), config.window)
    width = int(lengths.max())
    count = lengths.size
    guard_memory(network, batch=min(config.batch, count), steps=width, config=config)
    random, began = np.random.default_rng(seed), time.monotonic()
    optimiser = torch.optim.Adam(network.parameters(), lr=config.learning_rate)
    per_epoch = -(-count // config.batch)
    goal, step, value, is_done = config.max_epochs * per_epoch, 0, 0.0, False
    network.train()
    while not is_done:
        order = random.permutation(count)
        for at in range(0, count, config.batch):
            rows = order[at : at + config.batch]
            batch = _window(encoded, rows, lengths)
            loss = masked_error(
                network, batch.to(device), torch.as_tensor(lengths[rows]).to(device)
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            step, value = step + 1, float(loss.detach())
            if not np.isfinite(value):
                raise ModelError("the error is no number; lower tst.published.learning_rate")
            share = step / goal
            if minutes is not None:
                share = max(share, (time.monotonic() - began) / (60 * minutes))
            report(min(share, 0.99), f"error {value:.5f}")
            is_done = share >= 1 or stop()
            if is_done:
                break
    network.eval()
    return {"steps": step, "epochs": step / per_epoch, "error": value}


def _window(encoded: EncodedSeries, rows: IntArray, lengths: IntArray) -> Tensor:
    """Series with flags, the first `window` records of each: float [B, T, W + 2]."""
    width = int(lengths[rows].max())
    longest = int(np.diff(encoded.offsets)[rows].max())
    return torch.as_tensor(encoded.batch(rows, longest)[:, :width])


@torch.no_grad()
def draw_published(
    network: PublishedNetwork, seeds: Tensor, lengths: Tensor, *, window: int
) -> tuple[Tensor, Tensor]:
    """Go on from real first records, each prediction being the next input.

    Args:
        network: The fitted network.
        seeds: float [B, 2, W + 2], the first records.
        lengths: int64 [B], how many of them are real: 1 or 2.
        window: Records of a series, at most.

    Returns:
        float [B, T, W + 2] and lengths int64 [B]; a series ends where flag 2 exceeds flag 1.
    """
    made, ended = seeds, lengths < SEED_STEPS
    ended = ended | (seeds[:, -1, -1] > seeds[:, -1, -2])
    lengths = lengths.clone()
    while made.shape[1] < window and not bool(ended.all()):
        whole = torch.full_like(lengths, made.shape[1])
        following = network(made, whole)[:, -1:]
        made = torch.cat([made, following], dim=1)
        lengths = lengths + (~ended).long()
        ended = ended | (following[:, 0, -1] > following[:, 0, -2])
    return made, lengths


def guard_memory(
    network: PublishedNetwork, *, batch: int, steps: int, config: PublishedConfig
) -> None:
    """Refuse a step of training that would not fit in the machine's memory.

    Raises:
        ConfigError: If so; says how much it takes and what to lower.
    """
    needed = needed_bytes(network, batch=batch, steps=steps, config=config)
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return  # nobody knows
    if needed > config.memory_share * free and next(network.parameters()).device.type == "cpu":
        raise ConfigError(
            f"a step of {batch} series of {steps} records takes about {needed / 1e9:.1f} GB, but "
            f"may take {config.memory_share:.0%} of the {free / 1e9:.1f} GB that are free; "
            "lower published.batch or published.window, or set "
            "published.preset=small"
        )


def needed_bytes(
    network: PublishedNetwork, *, batch: int, steps: int, config: PublishedConfig
) -> int:
    """Estimate the memory of a step: weights with Adam, and what backward needs of each block."""
    weights = 16 * sum(parameter.numel() for parameter in network.parameters())
    records = batch * steps * config.width * 14  # inputs, projections, norms and dropout masks
    scores = 3 * batch * config.heads * steps * steps  # and attention, before and after dropout
    return weights + 4 * config.layers * (records + scores)
