"""Choosing tokens from logits."""

from __future__ import annotations

import math

import torch
from torch import Tensor

UNLIKELY = 0.002  # of the likeliest token; those below are noise that a flow would not survive


def likely(logits: Tensor) -> Tensor:
    """Rule out the tokens of logits [M, V] that are far less likely than the likeliest."""
    least = logits.max(dim=1, keepdim=True).values + math.log(UNLIKELY)
    return logits.masked_fill(logits < least, -1e9)


def at_quantile(logits: Tensor, quantile: Tensor) -> Tensor:
    """Return the token of each row of logits [M, V] at a quantile [M] in 0..1: int64 [M]."""
    share = torch.softmax(logits.double(), dim=1).cumsum(1)
    token = torch.searchsorted(share, (quantile * share[:, -1])[:, None], right=True)[:, 0]
    possible = logits > logits.max(dim=1, keepdim=True).values - 1e7
    last = possible.long() * torch.arange(logits.shape[1], device=logits.device)
    return torch.minimum(token, last.max(dim=1).values)


def draw(logits: Tensor, random: torch.Generator) -> Tensor:
    """Draw a token of each row of logits [M, V] by the Gumbel trick: int64 [M]."""
    noise = torch.rand(logits.shape, generator=random, device=logits.device)
    return (logits.float() - torch.log(-torch.log(noise.clamp_(1e-20, 1 - 1e-7)))).argmax(dim=1)
