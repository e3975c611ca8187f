"""Causal attention with a cache, for levels that walk in time.

References:
    TST, arXiv 2506.07312 (encoder-only, causal mask, linear input embedding, sinusoidal
    positions).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


class Cache:
    """Keys and values of the last `context` positions of every layer, a ring."""

    def __init__(self, *, layer_count: int, context: int) -> None:
        self.keys: list[Tensor | None] = [None] * layer_count
        self.values: list[Tensor | None] = [None] * layer_count
        self.context = context
        self.position = 0

    def extend(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store key and value [B, nh, 1, hs] of the newest position; return all that is kept."""
        kept_key, kept_value = self.keys[layer], self.values[layer]
        if kept_key is None or kept_value is None:
            shape = (*key.shape[:2], self.context, key.shape[3])
            kept_key = self.keys[layer] = key.new_zeros(shape)
            kept_value = self.values[layer] = value.new_zeros(shape)
        place = self.position % self.context
        kept_key[:, :, place] = key[:, :, 0]
        kept_value[:, :, place] = value[:, :, 0]
        count = min(self.position + 1, self.context)
        return kept_key[:, :, :count], kept_value[:, :, :count]

    def keep(self, rows: Tensor) -> None:
        """Keep the sequences `rows` of the batch alone."""
        self.keys = [None if k is None else k[rows] for k in self.keys]
        self.values = [None if v is None else v[rows] for v in self.values]


class Block(nn.Module):
    """Pre-norm attention and feed-forward, each added to its input."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.norm_forward = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor, *, mask: Tensor | None, cache: Cache | None, layer: int) -> Tensor:
        """Map x [B, T, H] to [B, T, H]; with a cache, T is 1 and all kept positions are seen."""
        batch, steps, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, steps, 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # three [B, nh, T, hs]
        if cache is not None:
            key, value = cache.extend(layer, key, value)
        drop = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=drop
        )
        mixed = mixed.transpose(1, 2).reshape(batch, steps, width)
        x = x + functional.dropout(self.project(mixed), drop, self.training)
        hidden = functional.gelu(self.expand(self.norm_forward(x)))
        return x + functional.dropout(self.contract(hidden), drop, self.training)


class CausalTransformer(nn.Module):
    """Encoder-only transformer; each position sees itself and the `context - 1` before it."""

    def __init__(
        self, *, width: int, heads: int, layer_count: int, context: int, dropout: float
    ) -> None:
        super().__init__()
        self.context = context
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, dropout=dropout) for _ in range(layer_count)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, *, first_position: Tensor) -> Tensor:
        """Map x [B, T, H] to [B, T, H]; first_position [B] places the sequences."""
        steps, width = x.shape[1], x.shape[2]
        index = torch.arange(steps, device=x.device)
        ahead = index[None, :] - index[:, None]
        mask = (ahead <= 0) & (ahead > -self.context)  # [T, T]
        x = x + sinusoids(first_position[:, None] + index, width).to(x.dtype)
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=mask, cache=None, layer=layer)
        return self.norm(x)  # type: ignore[no-any-return]

    def start(self) -> Cache:
        """Return an empty cache for `step`."""
        return Cache(layer_count=len(self.blocks), context=self.context)

    def step(self, x: Tensor, cache: Cache) -> Tensor:
        """Map the newest position x [B, H] to [B, H], seeing what the cache keeps."""
        place = torch.tensor([cache.position], device=x.device)
        x = (x + sinusoids(place, x.shape[1]).to(x.dtype))[:, None]  # [B, 1, H]
        for layer, block in enumerate(self.blocks):
            x = block(x, mask=None, cache=cache, layer=layer)
        cache.position += 1
        return self.norm(x)[:, 0]  # type: ignore[no-any-return]


def sinusoids(positions: Tensor, width: int) -> Tensor:
    """Sinusoidal positions [..., H] of positions [...] (Vaswani et al. 2017, section 3.5)."""
    rates = torch.exp(
        torch.arange(0, width, 2, device=positions.device) * (-math.log(10000.0) / width)
    )
    angles = positions[..., None].float() * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(-2)
