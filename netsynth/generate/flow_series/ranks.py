"""Tokens as ranks among flows alike, and back: uniform whatever the tokens' distribution is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.numbers import Array, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class RankBook:
    """The distribution of a column's tokens in each group of flows.

    Attributes:
        keys: int64 [G, W], groups, rows in lexicographic order.
        offsets: int64 [G+1], entries of each group.
        tokens: int64 [E], ascending in each group.
        upper: float64 [E], share of the group's flows up to and with the token.
    """

    keys: IntArray
    offsets: IntArray
    tokens: IntArray
    upper: FloatArray

    def encode(self, keys: IntArray, tokens: IntArray, uniform: FloatArray) -> FloatArray:
        """Return ranks in 0..1 of the learned `tokens` [F] in groups `keys` [F, W].

        `uniform` [F] in [0, 1) spreads equal tokens over the ranks they share. In a group whose
        tokens are all equal there is nothing to tell: 0.5.
        """
        group = self._find(keys)
        order = self._entry_keys()
        entry = np.searchsorted(order, group * self._base + tokens)
        low = np.where(entry == self.offsets[group], 0.0, self.upper[np.maximum(entry - 1, 0)])
        rank = low + (self.upper[entry] - low) * uniform
        alone = self.offsets[group + 1] - self.offsets[group] == 1
        return np.where(alone, 0.5, rank)

    def decode(self, keys: IntArray, order: FloatArray, uniform: FloatArray) -> IntArray:
        """Return tokens [F] of flows of groups `keys` [F, W].

        Only the order of `order` [F] within a group counts: the flows of a group share out its
        distribution, whatever the numbers are. `uniform` [F] breaks the steps between them.
        """
        group = self._find(keys)
        rank = spread(group, order, uniform)
        place = np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets)) + self.upper
        entry = np.searchsorted(place, group + rank, side="right")
        return self.tokens[np.clip(entry, self.offsets[group], self.offsets[group + 1] - 1)]

    def _find(self, keys: IntArray) -> IntArray:
        """Row of each of `keys` [F, W], which were all learned: int64 [F]."""
        _, code = np.unique(np.concatenate([self.keys, keys]), axis=0, return_inverse=True)
        return np.asarray(code.ravel()[self.keys.shape[0] :], dtype=np.int64)

    @property
    def _base(self) -> int:
        return int(self.tokens.max(initial=0)) + 1

    def _entry_keys(self) -> IntArray:
        group = np.repeat(np.arange(self.offsets.size - 1), np.diff(self.offsets))
        return group * self._base + self.tokens

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the book as named arrays, for a model file."""
        return {f"{name}.{part}": getattr(self, part) for part in self.__slots__}

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> RankBook:
        """Inverse of `to_arrays`."""
        parts = ("keys", "offsets", "tokens", "upper")
        return RankBook(**{part: arrays[f"{name}.{part}"] for part in parts})


def fit_rank_book(keys: IntArray, tokens: IntArray) -> RankBook:
    """Count `tokens` [F] in groups `keys` [F, W]."""
    groups, code = np.unique(keys, axis=0, return_inverse=True)
    pairs, counts = np.unique(np.stack([code.ravel(), tokens], 1), axis=0, return_counts=True)
    offsets = np.searchsorted(pairs[:, 0], np.arange(groups.shape[0] + 1)).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(counts)]).astype(np.float64)
    first = total[offsets[pairs[:, 0]]]
    size = total[offsets[pairs[:, 0] + 1]] - first
    return RankBook(
        keys=groups.astype(np.int64),
        offsets=offsets,
        tokens=pairs[:, 1].astype(np.int64),
        upper=(total[1:] - first) / size,
    )


def spread(group: IntArray, order: FloatArray, uniform: FloatArray) -> FloatArray:
    """Ranks in [0, 1) of the numbers `order` [F] within their `group` [F], evenly spread.

    Flow i of n, in order, gets (i + uniform) / n.
    """
    rows = np.lexsort((order, group))
    count = np.bincount(group)
    first = np.concatenate([[0], np.cumsum(count)])[:-1]
    rank = np.empty(group.size)
    rank[rows] = np.arange(group.size) - first[group[rows]]
    return (rank + uniform) / count[group]
