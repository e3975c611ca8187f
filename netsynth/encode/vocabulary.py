"""Rows of whole numbers as tokens: the combinations seen, most frequent first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.numbers import Array, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class Vocabulary:
    """Distinct rows, each a token; a row that is not among them becomes the nearest one.

    Attributes:
        rows: int64 [V, C], most frequent first.
        counts: int64 [V], how often each was seen.
    """

    rows: IntArray
    counts: IntArray

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self.rows.shape[0])

    def find(self, rows: Array) -> IntArray:
        """Return the token of each row of `rows` [M, C], -1 where it is unknown: int64 [M]."""
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        if rows.shape[0] == 0:
            return np.zeros(0, dtype=np.int64)
        known = _as_keys(self.rows)
        order = np.argsort(known, kind="stable")
        keys = _as_keys(rows)
        place = np.minimum(np.searchsorted(known[order], keys), known.size - 1)
        token = order[place]
        return np.where(known[token] == keys, token, -1).astype(np.int64)

    def encode(self, rows: Array) -> IntArray:
        """Like `find`, but unknown rows become the token that agrees in most columns.

        Columns count the more the further left they stand; among equals the most frequent wins.
        """
        rows = np.ascontiguousarray(rows, dtype=np.int64)
        tokens = self.find(rows)
        lost = np.flatnonzero(tokens < 0)
        if lost.size:
            unknown, inverse = np.unique(rows[lost], axis=0, return_inverse=True)
            weight = 2.0 ** -np.arange(rows.shape[1])
            nearest = np.array(
                [int(np.argmax((self.rows == row) @ weight)) for row in unknown], dtype=np.int64
            )
            tokens[lost] = nearest[inverse.ravel()]
        return tokens

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the vocabulary as named arrays, for a model file."""
        return {f"{name}.rows": self.rows, f"{name}.counts": self.counts}

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> Vocabulary:
        """Inverse of `to_arrays`."""
        return Vocabulary(rows=arrays[f"{name}.rows"], counts=arrays[f"{name}.counts"])


def fit_vocabulary(
    rows: Array, *, limit: int, smallest_count: int = 1, always: Array | None = None
) -> Vocabulary:
    """Collect the most frequent distinct rows of `rows` [M, C].

    Args:
        rows: Whole numbers, [M, C].
        limit: Most rows to keep.
        smallest_count: Rows seen less often are left out (one row is always kept).
        always: Rows [X, C] that come first whether they occur or not.
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    unique, counts = np.unique(rows, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")[:limit]
    order = order[counts[order] >= smallest_count] if counts.size else order
    if order.size == 0 and always is None:
        order = np.array([int(np.argmax(counts))])
    unique, counts = unique[order], counts[order].astype(np.int64)
    if always is not None and always.shape[0]:
        always = np.ascontiguousarray(always, dtype=np.int64)
        first = Vocabulary(rows=always, counts=np.zeros(always.shape[0], dtype=np.int64))
        token = first.find(unique)
        seen = first.counts.copy()
        seen[token[token >= 0]] = counts[token >= 0]
        unique = np.concatenate([always, unique[token < 0]])
        counts = np.concatenate([seen, counts[token < 0]])
    return Vocabulary(rows=unique, counts=counts)


def _as_keys(rows: IntArray) -> Array:
    """One opaque, comparable key a row."""
    rows = np.ascontiguousarray(rows, dtype=">i8")
    return rows.view(np.dtype((np.void, 8 * rows.shape[1]))).ravel()
