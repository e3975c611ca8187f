"""What flows have beside kind and numbers (ports, headers, times to answer), column by column.

Each column is drawn by counts under the columns that tell of it, the kind's and those before it.
Which these are, and how far counts under many columns are to be trusted, is what serves flows best
that are left out in turn: TTLs that a scanner draws for each probe are then drawn anew, and not
dealt out again to the ports that they were seen at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from netsynth.generate.flow_series.ranks import spread
from netsynth.numbers import Array, FloatArray, IntArray

STRENGTHS = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)  # of smoothing, for each token seen in a cell
SMALLEST_GAIN = 0.001  # nats a flow that a column must save to be told by
MOST_PARENTS = 4
JUDGED = 20_000  # flows by which columns are chosen, at most
LEAST_SHARE = 1e-9  # of what no other flow has


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnCounts:
    """Counts of a column's tokens under other columns, smoothed from fine to coarse.

    Attributes:
        parents: Those columns, from coarse to fine; flows always agree in the first.
        strengths: float64 [P]; a cell of n flows with d different tokens is drawn from with
            probability n / (n + strength d), else the next coarser one decides.
        cells: int64 [E, P + 2], values of the parents, token, and how often they met.
    """

    parents: tuple[int, ...]
    strengths: FloatArray
    cells: IntArray

    def draw(self, known: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw tokens [F] of flows whose columns so far are `known` [F, W]."""
        given = known[:, list(self.parents)]
        chosen = np.full(known.shape[0], -1, dtype=np.int64)
        for depth in range(len(self.parents), 0, -1):
            lost = np.flatnonzero(chosen < 0)
            if lost.size == 0:
                break
            keys, wanted = _codes(self.cells[:, :depth], given[lost, :depth])
            group, table = _summed(keys, self.cells)
            first = np.searchsorted(group, np.arange(int(keys.max()) + 2))
            flows = np.add.reduceat(table[:, 1], first[:-1])
            here = np.append(flows / (flows + self.strengths[depth - 1] * np.diff(first)), 0.0)
            certain = depth == 1  # nothing is coarser
            goes = (rng.random(lost.size) < here[wanted]) | (certain & (here[wanted] > 0))
            rows, cell = lost[goes], wanted[goes]
            total = np.cumsum(table[:, 1])
            before = total[first[cell]] - table[first[cell], 1]
            rank = spread(cell, rng.random(cell.size), rng.random(cell.size))
            place = before + np.floor(rank * flows[cell]).astype(np.int64)
            chosen[rows] = table[np.searchsorted(total, place, side="right"), 0]
        return np.where(chosen < 0, self.cells[0, -2], chosen)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttributeBook:
    """A ColumnCounts for each attribute, in the order in which they are drawn."""

    columns: tuple[ColumnCounts, ...]

    def draw(self, kinds: IntArray, rng: np.random.Generator) -> IntArray:
        """Draw the attributes [F, A] of flows of `kinds` [F, K]."""
        known = kinds
        for column in self.columns:
            known = np.concatenate([known, column.draw(known, rng)[:, None]], axis=1)
        return known[:, kinds.shape[1] :]

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the book as named arrays, for a model file."""
        arrays: dict[str, Array] = {f"{name}.count": np.array([len(self.columns)])}
        for place, column in enumerate(self.columns):
            arrays[f"{name}.{place}.parents"] = np.array(column.parents, dtype=np.int64)
            arrays[f"{name}.{place}.strengths"] = column.strengths
            arrays[f"{name}.{place}.cells"] = column.cells
        return arrays

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> AttributeBook:
        """Inverse of `to_arrays`."""
        return AttributeBook(
            columns=tuple(
                ColumnCounts(
                    parents=tuple(arrays[f"{name}.{place}.parents"].tolist()),
                    strengths=arrays[f"{name}.{place}.strengths"],
                    cells=arrays[f"{name}.{place}.cells"],
                )
                for place in range(int(arrays[f"{name}.count"][0]))
            )
        )


def fit_attribute_book(kinds: IntArray, attributes: IntArray, *, always: int) -> AttributeBook:
    """Count attributes [F, A] of flows of `kinds` [F, K]; all go by column `always` of the kind."""
    known = np.concatenate([kinds, attributes], axis=1)
    some = known[:: -(-known.shape[0] // JUDGED)]
    columns = []
    for place in range(kinds.shape[1], known.shape[1]):
        parents, strengths = choose_columns(some[:, :place], some[:, place], always=always)
        both = known[:, [*parents, place]]
        cells, counts = np.unique(both, axis=0, return_counts=True)
        columns.append(
            ColumnCounts(
                parents=parents,
                strengths=np.array(strengths),
                cells=np.concatenate([cells, counts[:, None]], axis=1).astype(np.int64),
            )
        )
    return AttributeBook(columns=tuple(columns))


def choose_columns(
    known: IntArray, target: IntArray, *, always: int
) -> tuple[tuple[int, ...], list[float]]:
    """Choose the columns that tell most of a column, and how much their counts are smoothed.

    Args:
        known: int64 [F, W], columns to choose from.
        target: int64 [F].
        always: The first one chosen; flows that differ in it have nothing to do with each other.

    Returns:
        Columns from coarse to fine, and the strength of each level.
    """
    size = np.unique(target).size
    base = np.full(target.size, 1.0 / max(size, 1))
    code = np.unique(known[:, always], return_inverse=True)[1]
    strength, share = _best(code, target, base)
    parents, strengths = [always], [strength]
    while size > 1 and len(parents) < MOST_PARENTS:
        found = [
            (column, *_best(_finer(code, known[:, column]), target, share))
            for column in range(known.shape[1])
            if column not in parents and np.ptp(known[:, column]) > 0
        ]
        best = min(found, key=lambda one: _nats(one[2]), default=None)
        if best is None or _nats(best[2]) > _nats(share) - SMALLEST_GAIN:
            break
        parents.append(best[0])
        strengths.append(best[1])
        code, share = _finer(code, known[:, best[0]]), best[2]
    return tuple(parents), strengths


def _best(code: IntArray, target: IntArray, coarser: FloatArray) -> tuple[float, FloatArray]:
    """The strength that serves best, and the share [F] it gives each flow's own token."""
    found = list(left_out_shares(code, target, coarser))
    place = min(range(len(found)), key=lambda index: _nats(found[index]))
    return STRENGTHS[place], found[place]


def left_out_shares(code: IntArray, target: IntArray, coarser: FloatArray) -> Iterator[FloatArray]:
    """Share of each flow's own token by the other flows of its cell, by each of STRENGTHS.

    Args:
        code: int64 [F], cells from 0 on.
        target: int64 [F], tokens.
        coarser: float64 [F], share of the own token where the cell does not decide.
    """
    _, pair, alike = np.unique(_finer(code, target), return_inverse=True, return_counts=True)
    others = alike[pair] - 1.0  # of the same cell and token
    size = np.bincount(code)[code] - 1.0
    first = np.zeros(alike.size, dtype=np.int64)
    first[pair] = code
    tokens = np.bincount(first)[code] - (others == 0)  # different ones among the others
    for strength in STRENGTHS:
        pseudo = strength * tokens
        total = size + pseudo
        mixed = np.divide(others + pseudo * coarser, total, out=coarser.copy(), where=total > 0)
        yield np.maximum(mixed, LEAST_SHARE)


def _nats(share: FloatArray) -> float:
    return float(-np.log(share).mean())


def _finer(code: IntArray, column: IntArray) -> IntArray:
    """Cells that agree in `column` [F], too, numbered from 0 on."""
    cells = np.unique(code * (int(column.max()) + 1) + column, return_inverse=True)[1]
    return np.asarray(cells, dtype=np.int64)


def _codes(known: IntArray, wanted: IntArray) -> tuple[IntArray, IntArray]:
    """Number the rows of `known` from 0 on, and those of `wanted` likewise; -1: not known."""
    rows, code = np.unique(np.concatenate([known, wanted]), axis=0, return_inverse=True)
    code = code.ravel()
    number = np.full(rows.shape[0], -1, dtype=np.int64)
    used = np.unique(code[: known.shape[0]])
    number[used] = np.arange(used.size)
    return number[code[: known.shape[0]]], number[code[known.shape[0] :]]


def _summed(group: IntArray, cells: IntArray) -> tuple[IntArray, IntArray]:
    """Groups [M] in order, and tokens and counts [M, 2] of each, of cells with these groups."""
    order = np.lexsort((cells[:, -2], group))
    rows = np.stack([group[order], cells[order, -2]], axis=1)
    fresh = np.ones(order.size, dtype=np.bool_)
    fresh[1:] = (np.diff(rows, axis=0) != 0).any(axis=1)
    counts = np.add.reduceat(cells[order, -1], np.flatnonzero(fresh))
    return rows[fresh, 0], np.stack([rows[fresh, 1], counts], axis=1)
