"""What the nets emit: numbers by the kind of their columns, choices softened by Gumbel noise."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SOFTNESS = 0.5  # temperature of choices: 0 is one of several, large is a mixture


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """Columns start:stop of what a net emits.

    `kind` is "bits" (0..1), "vector" or "number" (-1..1) or "choice" (a 1 among 0s).
    """

    name: str
    start: int
    stop: int
    kind: str


def lay_out(parts: list[tuple[str, int, str]]) -> tuple[Part, ...]:
    """Place (name, width, kind) one after the other."""
    placed, start = [], 0
    for name, width, kind in parts:
        placed.append(Part(name=name, start=start, stop=start + width, kind=kind))
        start += width
    return tuple(placed)


def gumbel(like: Tensor, random: torch.Generator | None = None) -> Tensor:
    """Gumbel noise of the shape of `like`."""
    even = torch.rand(like.shape, generator=random, device=like.device, dtype=like.dtype)
    return -(-even.clamp_min(1e-20).log()).clamp_min(1e-20).log()


def emit(raw: Tensor, parts: tuple[Part, ...], random: torch.Generator | None = None) -> Tensor:
    """Turn raw outputs [..., D] into what the columns of `parts` may hold, differentiably.

    A choice is drawn by its logits: their softmax with Gumbel noise, at temperature SOFTNESS.

    References:
        Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.
    """
    pieces = []
    for part in parts:
        piece = raw[..., part.start : part.stop].float()
        if part.kind == "bits":
            piece = torch.sigmoid(piece)
        elif part.kind == "choice":
            piece = torch.softmax((piece + gumbel(piece, random)) / SOFTNESS, dim=-1)
        else:
            piece = torch.tanh(piece)
        pieces.append(piece)
    return torch.cat(pieces, dim=-1)
