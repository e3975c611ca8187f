"""Attention with a cache that grows, and the mixture that numbers are drawn from."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.tst.config import TstConfig
from netsynth.generate.tst.values import ValueCodec

SMALLEST_SCALE = -4.0  # of a logistic distribution, log of standard deviations


class Cache:
    """Keys and values of all positions so far, of every layer: [T, B, nh, hs].

    Time comes first, so that what is kept is one piece of memory however long it grows.
    """

    def __init__(self, *, layers: int, batch: int, heads: int, room: int, like: Tensor) -> None:
        shape = (room, batch, heads, like.shape[-1] // heads)
        self.keys = [like.new_zeros(shape) for _ in range(layers)]
        self.values = [like.new_zeros(shape) for _ in range(layers)]
        self.length = 0

    def store(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Store keys and values of the newest positions, [t, B, nh, hs]; move `length` later."""
        end = self.length + len(key)
        self.keys[layer][self.length : end] = key
        self.values[layer][self.length : end] = value

    def attend(self, layer: int, query: Tensor) -> Tensor:
        """Mix the values of all positions, the one just stored among them, by query [B, nh, hs]."""
        end = self.length + 1
        score = (self.keys[layer][:end] * query).sum(dim=3) * query.shape[2] ** -0.5  # [T, B, nh]
        share = score.softmax(dim=0)[..., None]
        mixed: Tensor = (share * self.values[layer][:end]).sum(dim=0)
        return mixed

    def keep(self, rows: Tensor) -> None:
        """Keep the sequences `rows` of the batch alone."""
        self.keys = [part[:, rows] for part in self.keys]
        self.values = [part[:, rows] for part in self.values]


class Block(nn.Module):
    """Pre-norm causal attention and a GELU layer, each added to its input."""

    def __init__(self, *, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, *, cache: Cache | None = None, layer: int = 0) -> Tensor:
        """Map x [B, T, H] to [B, T, H]; after a cache's positions, T is 1."""
        batch, steps, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).view(batch, steps, 3, self.heads, -1)
        drop = self.dropout if self.training else 0.0
        if cache is not None:
            _, key, value = qkv.permute(2, 1, 0, 3, 4)  # three [T, B, nh, hs]
            cache.store(layer, key, value)
        if cache is not None and cache.length:
            mixed = cache.attend(layer, qkv[:, 0, 0]).reshape(batch, 1, width)
        else:
            query, key, value = qkv.permute(2, 0, 3, 1, 4)  # three [B, nh, T, hs]
            mixed = functional.scaled_dot_product_attention(
                query, key, value, dropout_p=drop, is_causal=True
            )
            mixed = mixed.transpose(1, 2).reshape(batch, steps, width)
        x = x + functional.dropout(self.project(mixed), drop, self.training)
        hidden = functional.gelu(self.expand(self.norm_forward(x)))
        return x + functional.dropout(self.contract(hidden), drop, self.training)


class NumberHead(nn.Module):
    """Zero or not, and a mixture of logistic distributions of what is not zero.

    References:
        Salimans et al., "PixelCNN++", 2017, section 2.1.
    """

    def __init__(
        self,
        *,
        inputs: int,
        mixtures: int,
        low: float = -math.inf,
        high: float = math.inf,
        has_zeros: bool = True,
    ) -> None:
        super().__init__()
        self.mixtures = mixtures
        self.low, self.high, self.has_zeros = low, high, has_zeros
        self.project = nn.Linear(inputs, 2 + 3 * mixtures)
        with torch.no_grad():
            self.project.weight.mul_(0.1)
            self.project.bias[2 + mixtures : 2 + 2 * mixtures] = torch.linspace(-1.5, 1.5, mixtures)
            self.project.bias[2 + 2 * mixtures :] = -1.0

    def _parts(self, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Map hidden [M, inputs] to gate logits [M, 2], log shares, means and log scales [M, C]."""
        out = self.project(hidden).float()
        gate, share, mean, scale = out.split([2] + 3 * [self.mixtures], dim=1)
        return gate, share.log_softmax(1), mean, scale.clamp(min=SMALLEST_SCALE)

    def loss(self, hidden: Tensor, token: Tensor, number: Tensor) -> Tensor:
        """Negative log-likelihood [M] in nats of tokens [M] (0: zero) and numbers [M]."""
        gate, share, mean, scale = self._parts(hidden)
        away = (number[:, None] - mean) * (-scale).exp()
        density = share - away - scale - 2 * functional.softplus(-away)
        of_number = -density.logsumexp(1)
        if not self.has_zeros:
            return of_number
        return functional.cross_entropy(gate, token, reduction="none") + of_number * (token > 0)

    def sample(self, hidden: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw tokens [M] and numbers [M], between `low` and `high`.

        Distributions are cut off there: values set to the bounds would show, where a series
        holds the same one twice.
        """
        gate, share, mean, scale = self._parts(hidden)
        token, which = draw(gate, random), draw(share, random)[:, None]
        token = token if self.has_zeros else torch.ones_like(token)
        middle, width = mean.gather(1, which), scale.gather(1, which).exp()
        below, above = (((side - middle) / width).sigmoid() for side in (self.low, self.high))
        uniform = torch.rand(which.shape, generator=random, device=hidden.device)
        uniform = (below + (above - below) * uniform).clamp(1e-6, 1 - 1e-6)
        number = (middle + width * torch.logit(uniform)).clamp(self.low, self.high)
        return token, number[:, 0] * (token > 0)


def number_head(value: ValueCodec, config: TstConfig) -> NumberHead:
    """Make the head of a measurement that is told as numbers."""
    return NumberHead(
        inputs=config.hidden,
        mixtures=config.mixtures,
        low=value.low,
        high=value.high,
        has_zeros=value.has_zeros,
    )


def draw(logits: Tensor, random: torch.Generator) -> Tensor:
    """Draw a token of each row of logits [M, V]: int64 [M]."""
    noise = torch.rand(logits.shape, generator=random, device=logits.device)
    return (logits - torch.log(-torch.log(noise.clamp(1e-20, 1 - 1e-7)))).argmax(dim=1)
