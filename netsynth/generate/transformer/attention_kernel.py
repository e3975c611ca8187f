"""CausalTransformer on a CPU, one position at a time for a few sequences, compiled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.attention import Block, CausalTransformer
from netsynth.generate.transformer.field_arrays import Packer, as_float32
from netsynth.generate.transformer.field_kernel import matrix
from netsynth.generate.transformer.kernels import (
    LANES,
    add_to,
    attend,
    compiled,
    gelu,
    linear,
    normalise,
)
from netsynth.numbers import Array


class AttentionArrays(NamedTuple):
    """A CausalTransformer as flat arrays."""

    weights: Array  # float32, matrices [in, out] and biases, one behind the other
    layers: Array  # int64 [L, 8], weight and bias of qkv, project, expand, contract
    scale: Array  # float32 [H], of the last norm
    shift: Array  # float32 [H]
    rates: Array  # float32 [H / 2], of the sinusoids
    heads: int
    context: int


class AttentionCache(NamedTuple):
    """Keys and values of sequences, of the last `context` positions."""

    keys: Array  # float32 [L, B, nh, hs, context]
    values: Array  # float32 [L, B, nh, context, hs]


def pack_attention(transformer: CausalTransformer) -> AttentionArrays:
    """Copy what `transformer` learned to arrays."""
    packer, layers, heads = Packer(), [], 1
    for block in transformer.blocks:
        assert isinstance(block, Block)
        heads = block.heads
        layers.append(
            (
                *packer.add_linear(block.qkv, block.norm_attention),
                *packer.add_linear(block.project),
                *packer.add_linear(block.expand, block.norm_forward),
                *packer.add_linear(block.contract),
            )
        )
    return AttentionArrays(
        weights=packer.array(),
        layers=np.array(layers, dtype=np.int64).reshape(-1, 8),
        scale=as_float32(transformer.norm.weight),
        shift=as_float32(transformer.norm.bias),
        rates=_rates(transformer.norm.weight),
        heads=heads,
        context=transformer.context,
    )


def _rates(like: Tensor) -> Array:
    """Rates of `sinusoids`, float32 [H / 2]."""
    width = like.shape[0]
    return torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width)).numpy()


def make_cache(a: AttentionArrays, sequences: int, *, longest: int) -> AttentionCache:
    """Return a cache for `sequences`, none longer than `longest` positions."""
    layers, width = a.layers.shape[0], a.scale.size // a.heads
    context = min(a.context, max(longest, 1))
    return AttentionCache(
        keys=np.zeros((layers, sequences, a.heads, width, context), dtype=np.float32),
        values=np.zeros((layers, sequences, a.heads, context, width), dtype=np.float32),
    )


@compiled
def attention_step(
    a: AttentionArrays,
    cache: AttentionCache,
    x: Array,
    rows: int,
    sequence: Array,
    position: Array,
    state: Array,
) -> None:
    """Map the newest position of a few sequences, seeing what the cache keeps.

    Args:
        a: The transformer.
        cache: Takes the new keys and values.
        x: float32 [M, H], M at least `rows` rounded up to LANES; overwritten.
        rows: Sequences.
        sequence: int64 [M], place of each row's sequence in the cache.
        position: int64 [M], place of the newest position in its sequence.
        state: float32 [M, H], is set.
    """
    height, width = x.shape
    normed = np.zeros((height, width), dtype=np.float32)
    wide = np.zeros((height, 4 * width), dtype=np.float32)
    mixed = np.zeros((height, width), dtype=np.float32)
    context = cache.keys.shape[4]
    for row in range(rows):
        _add_sinusoids(x[row], a.rates, position[row])
    for layer in range(a.layers.shape[0]):
        at = a.layers[layer]
        normalise(x, rows, width, normed)
        qkv = matrix(a.weights, at[0], width, 3 * width)
        linear(normed, rows, qkv, a.weights[at[1] : at[1] + 3 * width], wide)
        for row in range(rows):
            attend(
                wide,
                row,
                cache.keys[layer, sequence[row]],
                cache.values[layer, sequence[row]],
                position[row] % context,
                min(position[row] + 1, context),
                mixed,
            )
        project = matrix(a.weights, at[2], width, width)
        linear(mixed, rows, project, a.weights[at[3] : at[3] + width], normed)
        for row in range(rows):
            add_to(x[row], normed[row])
        normalise(x, rows, width, normed)
        expand = matrix(a.weights, at[4], width, 4 * width)
        linear(normed, rows, expand, a.weights[at[5] : at[5] + 4 * width], wide)
        gelu(wide, rows, 4 * width)
        contract = matrix(a.weights, at[6], 4 * width, width)
        linear(wide, rows, contract, a.weights[at[7] : at[7] + width], normed)
        for row in range(rows):
            add_to(x[row], normed[row])
    normalise(x, rows, width, state)
    for row in range(rows):
        for i in range(width):
            state[row, i] = state[row, i] * a.scale[i] + a.shift[i]


@compiled
def _add_sinusoids(x: Array, rates: Array, position: int) -> None:
    """Add `layers.sinusoids` of `position` to x [H]."""
    for i in range(rates.size):
        angle = np.float32(position) * rates[i]
        x[2 * i] = x[2 * i] + np.float32(math.sin(angle))
        x[2 * i + 1] = x[2 * i + 1] + np.float32(math.cos(angle))


def padded(rows: int) -> int:
    """Rows that a buffer for `rows` rows needs."""
    return -(-rows // LANES) * LANES
