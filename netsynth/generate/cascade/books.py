"""Counts of rows under given columns, drawn from the finest that were seen: headers and habits.

What belongs to a host or a path (TTL, options, how it chooses ports) is the same in all its
packets. It is counted by host and service, not drawn packet by packet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray, IntArray


@dataclass(frozen=True, kw_only=True, slots=True)
class CountBook:
    """How often rows occurred under given columns.

    Attributes:
        given: int64 [M, G].
        rows: int64 [M, A].
        counts: int64 [M].
    """

    given: IntArray
    rows: IntArray
    counts: IntArray

    def draw(
        self, given: IntArray, *, chain: tuple[tuple[int, ...], ...], rng: np.random.Generator
    ) -> IntArray:
        """Draw a row for each row of `given` [N, G]: int64 [N, A].

        Draws under the same columns are spread evenly over what was counted there: as many as were
        counted come out as they were, in another order.

        Args:
            given: What is known.
            chain: Which columns must agree, from fine to coarse; the first set that was seen
                decides. Where none was, any row may come.
            rng: Source of randomness.
        """
        chosen = np.full(given.shape[0], -1, dtype=np.int64)
        for columns in (*chain, ()):
            lost = np.flatnonzero(chosen < 0)
            if lost.size == 0:
                break
            known, wanted = self._codes(given[lost], columns)
            order = np.argsort(known, kind="stable")
            weight = np.cumsum(self.counts[order]).astype(np.float64)
            first = np.searchsorted(known[order], wanted, side="left")
            last = np.searchsorted(known[order], wanted, side="right")
            low = np.where(first > 0, weight[np.maximum(first - 1, 0)], 0.0)
            high = weight[np.maximum(last - 1, 0)]
            place = low + _spread(wanted, rng) * (high - low)
            row = np.minimum(np.searchsorted(weight, place, side="right"), np.maximum(last - 1, 0))
            found = last > first
            chosen[lost[found]] = order[row[found]]
        return self.rows[np.maximum(chosen, 0)]

    def knows(self, given: IntArray, columns: tuple[int, ...]) -> NDArray[np.bool_]:
        """Tell which rows of `given` [N, G] were seen, by some columns: bool [N]."""
        known, wanted = self._codes(given, columns)
        return np.isin(wanted, known)

    def _codes(self, given: IntArray, columns: tuple[int, ...]) -> tuple[IntArray, IntArray]:
        """One number a tuple of the columns, of what was counted and of what is wanted."""
        known = np.zeros(self.counts.size, dtype=np.int64)
        wanted = np.zeros(given.shape[0], dtype=np.int64)
        for column in columns:
            size = 2 + max(
                int(self.given[:, column].max(initial=0)), int(given[:, column].max(initial=0))
            )
            known = known * size + self.given[:, column]
            wanted = wanted * size + given[:, column]
        return known, wanted

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the book as named arrays, for a model file."""
        return {
            f"{name}.given": self.given,
            f"{name}.rows": self.rows,
            f"{name}.counts": self.counts,
        }

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> CountBook:
        """Inverse of `to_arrays`."""
        return CountBook(
            given=arrays[f"{name}.given"],
            rows=arrays[f"{name}.rows"],
            counts=arrays[f"{name}.counts"],
        )


def _spread(keys: IntArray, rng: np.random.Generator) -> FloatArray:
    """Numbers in 0..1, for equal keys one in each of as many equal parts: float64 [N]."""
    order = np.lexsort((rng.random(keys.size), keys))
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered, side="left")
    count = np.searchsorted(ordered, ordered, side="right") - first
    place = np.empty(keys.size)
    place[order] = (np.arange(keys.size) - first + rng.random(keys.size)) / count
    return place


def fit_count_book(given: Array, rows: Array) -> CountBook:
    """Count `rows` [N, A] under `given` [N, G]; N is at least 1."""
    width = given.shape[1]
    both = np.concatenate([given, rows], axis=1).astype(np.int64)
    unique, counts = np.unique(both, axis=0, return_counts=True)
    return CountBook(
        given=np.ascontiguousarray(unique[:, :width]),
        rows=np.ascontiguousarray(unique[:, width:]),
        counts=counts.astype(np.int64),
    )


CLASS = 4  # columns of `flow_classes`
LARGEST = np.array([15, 15, 11])  # of its last three
SHORTEST_NS = 1e5  # below this, durations are of one class


def flow_classes(totals: IntArray, duration_ns: IntArray, label: IntArray) -> IntArray:
    """Class of flows, by which endpoints are shared out: int64 [F, CLASS].

    Their label, the octave of their packets, the power of four of their duration, and that of the
    payload of a packet, apart for flows with an answer and without. What a flow is told of its size
    and time fits a few services alone; counts know that at once, where G1 is late to learn it.

    Args:
        totals: int64 [F, 4], packets and bytes, forward and reverse.
        duration_ns: int64 [F].
        label: int64 [F].
    """
    packets = np.maximum(totals[:, :2].sum(axis=1), 1)
    octave = np.log2(packets)
    length = 1 + np.log2(np.maximum(duration_ns / SHORTEST_NS, 0.5)) / 2
    payload = np.log2(1 + totals[:, 2:].sum(axis=1) / packets) / 2
    answered = totals[:, 1] > 0
    classes = np.stack([octave, length, 2 * np.floor(payload) + answered], axis=1)
    classes = np.clip(np.floor(classes), 0, LARGEST).astype(np.int64)
    return np.concatenate([label[:, None], classes], axis=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class TupleBook:
    """The combinations of endpoints, service and state that occurred, as G1 is to make them.

    Attributes:
        targets: float32 [M, D], what G1 was shown.
        tokens: int64 [M, E], the tokens of each.
        counts: int64 [M].
        cells: int64 [K, CLASS + 2], class of flows, row of the book, flows counted.
        new_share: Share of flows whose combination is new (Good-Turing: of those seen once).
    """

    targets: Array
    tokens: IntArray
    counts: IntArray
    cells: IntArray
    new_share: float

    def counts_of(self, flow_class: IntArray) -> IntArray:
        """Flows of a class [CLASS] by row, int64 [M]: of the nearest ones with its label, if any.

        Else of all flows.
        """
        cells = self.cells[self.cells[:, 0] == flow_class[0]]
        if cells.size == 0:
            return self.counts
        far = np.abs(cells[:, 1:CLASS] - flow_class[1:]).sum(axis=1)
        cells = cells[far == far.min()]
        return np.bincount(cells[:, CLASS], cells[:, CLASS + 1], self.counts.size).astype(np.int64)

    def nearest(self, made: Array) -> IntArray:
        """Row whose target is nearest to each of `made` [N, D]: int64 [N]."""
        return nearest_rows(made, self.targets)

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the book as named arrays, for a model file."""
        return {
            f"{name}.targets": self.targets,
            f"{name}.tokens": self.tokens,
            f"{name}.counts": self.counts,
            f"{name}.class_cells": self.cells,
            f"{name}.new_share": np.array([self.new_share]),
        }

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> TupleBook:
        """Inverse of `to_arrays`."""
        return TupleBook(
            targets=arrays[f"{name}.targets"],
            tokens=arrays[f"{name}.tokens"],
            counts=arrays[f"{name}.counts"],
            cells=arrays[f"{name}.class_cells"],
            new_share=float(arrays[f"{name}.new_share"][0]),
        )


def fit_tuple_book(targets: Array, tokens: IntArray, classes: IntArray) -> TupleBook:
    """List the distinct rows of `targets` [F, D] with their `tokens` [F, E].

    `classes` int64 [F, CLASS] are those of `flow_classes`.
    """
    both = np.concatenate([tokens.astype(np.float64), targets], axis=1)
    _, first, row, counts = np.unique(
        both, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    pairs = np.concatenate([classes, row.reshape(-1, 1)], axis=1)
    pairs, times_of = np.unique(pairs, axis=0, return_counts=True)
    _, times = np.unique(tokens, axis=0, return_counts=True)
    return TupleBook(
        targets=np.ascontiguousarray(targets[first], dtype=np.float32),
        tokens=np.ascontiguousarray(tokens[first]),
        counts=counts.astype(np.int64),
        cells=np.concatenate([pairs, times_of[:, None]], axis=1).astype(np.int64),
        new_share=float((times == 1).sum() / max(times.sum(), 1)),
    )


def nearest_rows(made: Array, known: Array) -> IntArray:
    """Row of `known` [M, D] nearest (Euclid) to each of `made` [N, D]: int64 [N]."""
    known = np.ascontiguousarray(known, dtype=np.float32)
    half = 0.5 * (known**2).sum(axis=1)  # |x - y|^2 = |x|^2 - 2 (x y - |y|^2 / 2)
    result = np.empty(made.shape[0], dtype=np.int64)
    for at in range(0, made.shape[0], 1024):
        score = made[at : at + 1024] @ known.T
        score -= half
        result[at : at + 1024] = np.argmax(score, axis=1)
    return result
