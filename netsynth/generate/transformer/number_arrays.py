"""Number codecs as flat arrays, for the kernels that sample on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.generate.transformer.kernels import borrowing
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import KNOTS, Array


class NumberArrays(NamedTuple):
    """A few NumberTables, one behind the other."""

    size: Array  # int64 [P]
    atoms: Array  # float64
    atom_start: Array  # int64 [P + 1]
    edges: Array  # float64
    edge_start: Array  # int64 [P + 1]
    rows: Array  # float64 [sum of sizes, KNOTS]
    row_start: Array  # int64 [P + 1]
    low: Array  # float64 [sum of sizes], smallest value of each token
    high: Array  # float64 [sum of sizes], its largest


def pack_numbers(tables: tuple[NumberTable, ...]) -> NumberArrays:
    """Copy `tables` to arrays."""
    atoms = [table.atoms.cpu().numpy() for table in tables]
    edges = [table.edges.cpu().numpy() for table in tables]
    rows = [table.rows.cpu().numpy() for table in tables]

    def starts(parts: list[Array]) -> Array:
        return np.cumsum([0, *(part.shape[0] for part in parts)]).astype(np.int64)

    flat = np.concatenate(rows).astype(np.float64)
    return NumberArrays(
        size=np.array([table.size for table in tables], dtype=np.int64),
        atoms=np.concatenate(atoms).astype(np.float64),
        atom_start=starts(atoms),
        edges=np.concatenate(edges).astype(np.float64),
        edge_start=starts(edges),
        rows=flat,
        row_start=starts(rows),
        low=flat[:, 0].copy(),
        high=flat[:, -1].copy(),
    )


@borrowing
def to_token(a: NumberArrays, part: int, value: float) -> int:
    """`NumberTable.bucket` of the table `part`."""
    atoms = a.atoms[a.atom_start[part] : a.atom_start[part + 1]]
    count, size = atoms.size, a.size[part]
    near = 0
    if count:
        near = min(_first_not_below(atoms, value), count - 1)
        if atoms[near] == value:
            return int(near)
        if size == count:
            below = max(near - 1, 0)
            return int(below if value - atoms[below] < atoms[near] - value else near)
    edges = a.edges[a.edge_start[part] : a.edge_start[part + 1]]
    inside = min(max(_first_above(edges, value) - 1, 0), max(size - count - 1, 0))
    return int(inside + count)


@borrowing
def _first_not_below(ascending: Array, value: float) -> int:
    """Index of the first of `ascending` that is at least `value`."""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low


@borrowing
def _first_above(ascending: Array, value: float) -> int:
    """Index of the first of `ascending` that is larger than `value`."""
    low, high = 0, ascending.size
    while low < high:
        middle = (low + high) // 2
        if ascending[middle] <= value:
            low = middle + 1
        else:
            high = middle
    return low


@borrowing
def from_knots(row: Array, uniform: float) -> float:
    """Value at `uniform` of an inverse distribution function [KNOTS]."""
    place = uniform * (KNOTS - 1)
    left = min(int(place), KNOTS - 2)
    return float(row[left] + (row[left + 1] - row[left]) * (place - left))


@borrowing
def from_token(a: NumberArrays, part: int, token: int, uniform: float) -> float:
    """`NumberTable.draw` of the table `part`."""
    return from_knots(a.rows[a.row_start[part] + token], uniform)


@borrowing
def lowest(a: NumberArrays, part: int, token: int) -> float:
    """Smallest value of a token."""
    return float(a.low[a.row_start[part] + token])


@borrowing
def highest(a: NumberArrays, part: int, token: int) -> float:
    """Largest value of a token."""
    return float(a.high[a.row_start[part] + token])
