"""FieldDecoder and FieldEmbedding as flat arrays, for the kernels that sample on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.generate.transformer.counts import CountPrior
from netsynth.generate.transformer.fields import FieldDecoder, FieldEmbedding, token_order
from netsynth.numbers import Array

# columns of FieldArrays.fields
SIZE, HIDDEN, HIDDEN_BIAS, HEAD, HEAD_BIAS, EMBED, BASE = 0, 1, 2, 3, 4, 5, 6
LEVEL, LEVELS, PAIR, PAIRS, CATEGORY, SHARP = 7, 8, 9, 10, 11, 12
# columns of FieldArrays.levels
PARENT, PARENTS, KEY, KEYS = 0, 1, 2, 3


class FieldArrays(NamedTuple):
    """A FieldDecoder of K columns as flat arrays.

    Counts are sparse: a key is a tuple of parents, its row lists the tokens that occurred.
    """

    weights: Array  # float32, matrices [in, out], biases and embeddings, one behind the other
    fields: Array  # int64 [K, 13], size, places of its parts, and kind of each column; see SIZE
    levels: Array  # int64 [L, 4], levels of the columns' counts; see PARENT
    pseudo: Array  # float32 [R], counts that smoothing adds to each row
    parents: Array  # int64 [P, 3], column, place in `classes` or -1, number of classes
    classes: Array  # int64, class of each token of a parent
    keys: Array  # int64 [R], ascending within a level
    row_start: Array  # int64 [R + 1], into `token` and `times`
    row_total: Array  # float32 [R]
    token: Array  # int32
    times: Array  # float32, how often
    base: Array  # float32, share of each token without parents
    order: Array  # int64, laid out as `base`, the tokens of each column by what they stand for
    pairs: Array  # int64 [Q, 2], earlier column, place in `masks`
    masks: Array  # uint8 [size_earlier, size] each, 1: may occur together
    hidden_width: int


class Packer:
    """Lays matrices and vectors one behind the other in one float32 array."""

    def __init__(self) -> None:
        self._parts: list[Array] = [np.zeros(0, dtype=np.float32)]
        self._size = 0

    def add(self, values: Tensor) -> int:
        """Append `values` and return where they begin."""
        part = values.detach().to("cpu", torch.float32).contiguous().reshape(-1).numpy()
        self._parts.append(part)
        self._size += part.size
        return self._size - part.size

    def add_linear(self, layer: nn.Module, norm: nn.Module | None = None) -> tuple[int, int]:
        """Append weight [in, out] and bias of a Linear, a LayerNorm's affine map before it in them.

        Returns:
            Where weight and bias begin.
        """
        assert isinstance(layer, nn.Linear)
        weight, bias = layer.weight.detach().double(), layer.bias.detach().double()
        if norm is not None:
            assert isinstance(norm, nn.LayerNorm)
            bias = bias + weight @ norm.bias.detach().double()
            weight = weight * norm.weight.detach().double()
        return self.add(weight.T), self.add(bias)

    def array(self) -> Array:
        """Return everything, float32."""
        return np.concatenate(self._parts)


def embedding_table(embedding: FieldEmbedding) -> tuple[Array, Array]:
    """Table float32 [sum of sizes, H], and the row at which each column starts, int64 [K]."""
    return as_float32(embedding.table.weight), embedding.starts.cpu().numpy().astype(np.int64)


def weight_of(table: nn.Module) -> Tensor:
    """Return the rows of an embedding, mixed where near ones are (see `neighbours`)."""
    assert isinstance(table, nn.Embedding)
    return table.weight


def as_float32(values: Tensor) -> Array:
    """Return a float32 array of the same shape."""
    return np.ascontiguousarray(values.detach().to("cpu", torch.float32).numpy())


class _Counts:
    """Collects the counts of all levels of all columns."""

    def __init__(self) -> None:
        self.levels: list[tuple[int, int, int, int]] = []
        self.pseudo: list[Array] = [np.zeros(0, dtype=np.float32)]
        self.parents: list[tuple[int, int, int]] = []
        self.classes: list[Array] = [np.zeros(0, dtype=np.int64)]
        self.keys: list[Array] = [np.zeros(0, dtype=np.int64)]
        self.lengths: list[Array] = [np.zeros(1, dtype=np.int64)]
        self.totals: list[Array] = [np.zeros(0, dtype=np.float32)]
        self.tokens: list[Array] = [np.zeros(0, dtype=np.int32)]
        self.counts: list[Array] = [np.zeros(0, dtype=np.float32)]

    def add(self, decoder: FieldDecoder, place: int) -> None:
        """Append the levels of column `place`."""
        prior = decoder.priors[place]
        assert isinstance(prior, CountPrior)
        for level, chain in enumerate(decoder.parents[place]):
            keys = getattr(prior, f"keys_{level}").cpu().numpy().astype(np.int64)
            rows = getattr(prior, f"rows_{level}").cpu()[: keys.size]
            row, token = torch.nonzero(rows, as_tuple=True)
            start = sum(part.size for part in self.keys)
            self.levels.append((len(self.parents), len(chain), start, keys.size))
            distinct = (rows > 0).sum(1).clamp(min=1) if not prior.blurred[level] else 1
            pseudo = prior.strength[level].cpu() * torch.ones(keys.size) * distinct
            self.pseudo.append(pseudo.numpy())
            for (column, buffer), width in zip(chain, prior.sizes[level], strict=True):
                at = -1
                if buffer is not None:
                    at = sum(part.size for part in self.classes)
                    self.classes.append(getattr(decoder, buffer).cpu().numpy().astype(np.int64))
                self.parents.append((column, at, width))
            self.keys.append(keys)
            self.lengths.append(np.bincount(row.numpy(), minlength=keys.size).astype(np.int64))
            self.totals.append(rows.sum(1).numpy())
            self.tokens.append(token.numpy().astype(np.int32))
            self.counts.append(rows[row, token].numpy())


def pack_fields(decoder: FieldDecoder) -> FieldArrays:
    """Copy what `decoder` learned to arrays."""
    packer, counts = Packer(), _Counts()
    fields = np.zeros((len(decoder.fields), 13), dtype=np.int64)
    base, masks = [np.zeros(0, dtype=np.float32)], [np.zeros(0, dtype=np.uint8)]
    order = [np.zeros(0, dtype=np.int64)]
    pairs: list[tuple[int, int]] = []
    for place, item in enumerate(decoder.fields):
        prior, embed = decoder.priors[place], decoder.embed[place]
        assert isinstance(prior, CountPrior)
        assert isinstance(embed, nn.Embedding)
        base_at = sum(part.size for part in base)
        base.append(as_float32(prior.base_share()))
        order.append(token_order(item).numpy().astype(np.int64))
        level, pair = len(counts.levels), len(pairs)
        counts.add(decoder, place)
        for earlier, name in decoder.masks[place]:
            pairs.append((earlier, sum(part.size for part in masks)))
            masks.append(getattr(decoder, name).cpu().numpy().astype(np.uint8).ravel())
        fields[place] = (
            item.size,
            *packer.add_linear(decoder.hidden[place], decoder.norm),
            *packer.add_linear(decoder.heads[place]),
            packer.add(embed.weight),
            base_at,
            level,
            len(counts.levels) - level,
            pair,
            len(pairs) - pair,
            item.name in decoder.categories,
            item.name in decoder.sharp,
        )
    first = decoder.hidden[0]
    assert isinstance(first, nn.Linear)
    return FieldArrays(
        weights=packer.array(),
        fields=fields,
        levels=np.array(counts.levels, dtype=np.int64).reshape(-1, 4),
        pseudo=np.concatenate(counts.pseudo).astype(np.float32),
        parents=np.array(counts.parents, dtype=np.int64).reshape(-1, 3),
        classes=np.concatenate(counts.classes),
        keys=np.concatenate(counts.keys),
        row_start=np.cumsum(np.concatenate(counts.lengths)),
        row_total=np.concatenate(counts.totals).astype(np.float32),
        token=np.concatenate(counts.tokens),
        times=np.concatenate(counts.counts).astype(np.float32),
        base=np.concatenate(base),
        order=np.concatenate(order),
        pairs=np.array(pairs, dtype=np.int64).reshape(-1, 2),
        masks=np.concatenate(masks),
        hidden_width=first.out_features,
    )


def pack_allowed(fields: FieldArrays, names: list[str], allowed: dict[str, Array]) -> Array:
    """Lay the masks of `allowed`, bool [size] by column, in the order of `base`; 1: allowed."""
    flat = np.ones(fields.base.size, dtype=np.uint8)
    for place, name in enumerate(names):
        if name in allowed:
            at, size = fields.fields[place, BASE], fields.fields[place, SIZE]
            flat[at : at + size] = allowed[name]
    return flat
