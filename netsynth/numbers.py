"""Numbers as tokens: frequent values exactly, the rest in bins that keep the tails."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import ConfigError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
Array = NDArray[Any]

KNOTS = 9  # points of the inverse distribution kept inside a bin


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberCodec:
    """Turn numbers >= 0 into tokens and back.

    Tokens 0..A-1 are atoms, values so frequent that they are kept exactly; tokens A..A+B-1 are
    bins of the others. A value drawn from a bin follows the distribution seen inside it.

    Attributes:
        atoms: float64 [A], ascending.
        edges: float64 [B+1], ascending; bin b holds edges[b] <= value < edges[b+1].
        knots: float64 [B, KNOTS], inverse distribution function of the values in each bin.
    """

    atoms: FloatArray
    edges: FloatArray
    knots: FloatArray

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self.atoms.size + self.knots.shape[0])

    @property
    def low(self) -> FloatArray:
        """Smallest value of each token, float64 [size]."""
        return np.concatenate([self.atoms, self.knots[:, 0]])

    @property
    def high(self) -> FloatArray:
        """Largest value of each token, float64 [size]."""
        return np.concatenate([self.atoms, self.knots[:, -1]])

    def encode(self, values: Array) -> IntArray:
        """Return the token of each value, int64 of the same shape."""
        values = np.asarray(values, dtype=np.float64)
        bins = np.searchsorted(self.edges, values, side="right") - 1
        tokens = np.clip(bins, 0, max(self.knots.shape[0] - 1, 0)) + self.atoms.size
        if self.atoms.size:
            near = np.minimum(np.searchsorted(self.atoms, values), self.atoms.size - 1)
            exact = self.atoms[near] == values
            if self.knots.shape[0] == 0:  # atoms alone: the nearest one
                below = np.maximum(near - 1, 0)
                closer = np.abs(self.atoms[below] - values) < np.abs(self.atoms[near] - values)
                return np.where(closer, below, near).astype(np.int64)
            tokens = np.where(exact, near, tokens)
        return tokens.astype(np.int64)

    def decode(self, tokens: Array, uniform: FloatArray) -> FloatArray:
        """Return a value for each token, drawn with `uniform` in [0, 1), float64."""
        tokens = np.asarray(tokens, dtype=np.int64)
        values = np.empty(tokens.shape, dtype=np.float64)
        atomic = tokens < self.atoms.size
        if self.atoms.size:
            values[atomic] = self.atoms[tokens[atomic]]
        binned = ~atomic
        if binned.any():
            rows = self.knots[tokens[binned] - self.atoms.size]  # [M, KNOTS]
            place = uniform[binned] * (KNOTS - 1)
            left = np.minimum(place.astype(np.int64), KNOTS - 2)
            index = np.arange(rows.shape[0])
            low, high = rows[index, left], rows[index, left + 1]
            values[binned] = low + (high - low) * (place - left)
        return values

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the codec as named arrays, for a model file."""
        return {
            f"{name}.atoms": self.atoms,
            f"{name}.edges": self.edges,
            f"{name}.knots": self.knots,
        }

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> NumberCodec:
        """Inverse of `to_arrays`."""
        return NumberCodec(
            atoms=arrays[f"{name}.atoms"].astype(np.float64),
            edges=arrays[f"{name}.edges"].astype(np.float64),
            knots=arrays[f"{name}.knots"].astype(np.float64).reshape(-1, KNOTS),
        )


def fit_number_codec(
    values: Array,
    *,
    bin_count: int = 64,
    atom_count: int = 64,
    atom_share: float = 0.002,
    exact_below: int = 0,
    largest_ratio: float = 1.6,
    walls: FloatArray | None = None,
) -> NumberCodec:
    """Choose atoms and bins for `values`.

    Args:
        values: Numbers >= 0, any shape.
        bin_count: Bins of about equal mass; more are added in the tails and where a bin is wide.
        atom_count: Most atoms to keep.
        atom_share: A value becomes an atom from this share of all values on (and 4 of them).
        exact_below: Whole numbers below this one are atoms whenever they occur.
        largest_ratio: A bin whose ends differ by more than this factor is split.
        walls: Numbers [W], ascending, that no bin reaches across.

    Raises:
        ConfigError: If there are no values.
    """
    values = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if values.size == 0:
        raise ConfigError("a number codec needs at least one value")
    unique, counts = np.unique(values, return_counts=True)
    frequent = counts >= max(4, atom_share * values.size)
    ranked = np.argsort(-counts, kind="stable")
    chosen = np.zeros(unique.size, dtype=bool)
    chosen[ranked[:atom_count]] = True
    atoms = unique[(frequent & chosen) | (unique < exact_below)]
    rest = values[~np.isin(values, atoms)]
    if rest.size == 0:
        return NumberCodec(atoms=atoms, edges=np.zeros(1), knots=np.zeros((0, KNOTS)))
    walls = np.zeros(0) if walls is None else walls
    cuts = _cut_rows(rest, bin_count=bin_count, largest_ratio=largest_ratio)
    cuts = np.unique(np.concatenate([cuts, np.searchsorted(rest, walls)]))
    inner = rest[cuts[1:-1]]
    before = rest[cuts[1:-1] - 1]
    edges = np.concatenate([[rest[0]], (inner + before) / 2, [np.nextafter(rest[-1], np.inf)]])
    edges[1:-1] = np.where(edges[1:-1] <= before, inner, edges[1:-1])
    below, above = (np.searchsorted(walls, v, side="right") for v in (before, inner))
    edges[1:-1] = np.where(below < above, np.append(walls, 0)[above - 1], edges[1:-1])
    fence = np.concatenate([[-np.inf], walls])
    under = np.append(np.nextafter(walls, -np.inf), np.inf)
    grid = np.linspace(0, 1, KNOTS)
    knots = np.stack(
        [
            _soft_quantiles(
                rest[a:b],
                max(edges[i], fence[np.searchsorted(walls, rest[a], side="right")]),
                min(edges[i + 1], under[np.searchsorted(walls, rest[b - 1], side="right")]),
                grid,
            )
            for i, (a, b) in enumerate(itertools.pairwise(cuts))
        ]
    )
    return NumberCodec(atoms=atoms, edges=edges, knots=knots)


def _soft_quantiles(values: FloatArray, low: float, high: float, grid: FloatArray) -> FloatArray:
    """Inverse distribution of `values`, the ends stretched to the bin's, so that nobody's exact
    value is kept where a bin holds few."""
    padded = np.concatenate([[low], values, [high]])
    return np.asarray(np.quantile(padded, grid), dtype=np.float64)


def _cut_rows(rest: FloatArray, *, bin_count: int, largest_ratio: float) -> IntArray:
    """Rows of the sorted `rest` at which bins start, and its length: int64 [B+1]."""
    count = rest.size
    per_bin = max(count // bin_count, 1)
    cuts = [*list(range(0, count, per_bin)), count]
    tail, row = max(per_bin // 2, 1), count - per_bin
    while tail >= 2 and row > 0:  # halve towards the largest values
        row = count - tail
        cuts.append(row)
        tail //= 2
    starts = np.unique(np.asarray(cuts, dtype=np.int64))
    starts = _align(rest, starts)
    extra: list[int] = []
    for a, b in itertools.pairwise(starts):
        low, high = max(rest[a], 1.0), max(rest[b - 1], 1.0)
        pieces = int(np.ceil(np.log(high / low) / np.log(largest_ratio)))
        if pieces > 1:
            bounds = np.geomspace(low, high, pieces + 1)[1:-1]
            extra.extend(int(a + r) for r in np.searchsorted(rest[a:b], bounds))
    return _align(rest, np.unique(np.concatenate([starts, np.asarray(extra, dtype=np.int64)])))


def _align(rest: FloatArray, starts: IntArray) -> IntArray:
    """Move each start to the first row of its value, so that equal values share a bin."""
    count = rest.size
    inner = starts[(starts > 0) & (starts < count)]
    inner = np.searchsorted(rest, rest[inner], side="left")
    aligned = np.unique(np.concatenate([[0], inner, [count]]))
    return aligned.astype(np.int64)
