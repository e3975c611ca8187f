"""Where source ports begin and jump to: places drawn as learned, each once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.port_paths import BLOCK
from netsynth.encode.source_ports import (
    codes,
)
from netsynth.encode.vocabulary import Vocabulary
from netsynth.numbers import IntArray

COARSER = ((0, 1, 2), (0, 1), (0,), (1,), ())  # columns of keys whose places are shared


def ports_of(
    wanted: NDArray[np.bool_],
    keys: IntArray,
    own: Vocabulary,
    others: Vocabulary,
    rng: np.random.Generator,
    *,
    columns: tuple[tuple[int, ...], ...] = COARSER,
) -> IntArray:
    """Draw ports of the flows `wanted` [F]: int64 [F].

    Flows share out the places that `own` has of their key, each once; what is left is drawn from
    those of `others` whose keys agree in `columns`, one tuple after the other. 0 where none does.
    """
    rows = np.flatnonzero(wanted)
    result = np.zeros(wanted.size, dtype=np.int64)
    if rows.size == 0 or own.rows.shape[0] == 0:
        return result
    place = share_out(keys[rows], own, rng)
    for some in columns if others.rows.shape[0] else ():
        place = _draw_like(place, keys[rows], others, some, rng)
    result[rows] = np.where(place < 0, 0, draw_ports(place, rng))
    return result


def draw_ports(places: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw a port of each place, see `SourcePortCodec`: int64 of the same shape."""
    inside = 2 * rng.integers(BLOCK // 2, size=places.shape) + places % 2
    return np.maximum(places // 2 * BLOCK + inside, 1)


def share_out(keys: IntArray, places: Vocabulary, rng: np.random.Generator) -> IntArray:
    """Give each row of keys [M, 3] a place of the same key, none twice; -1 where none is left."""
    count = places.counts.size
    rows = np.repeat(np.arange(count), places.counts)
    rows = rows[rng.permutation(rows.size)]
    code = codes(np.concatenate([places.rows[:, :3], keys])) << 32
    known, wanted = (part + rank(part) for part in (code[:count][rows], code[count:]))
    order = np.argsort(known)
    found = order[np.minimum(np.searchsorted(known[order], wanted), known.size - 1)]
    return np.where(known[found] == wanted, places.rows[rows[found], 3], -1)


def rank(code: IntArray) -> IntArray:
    """How many entries before each are equal to it, int64 [M]."""
    order = np.argsort(code, kind="stable")
    sorted_code = code[order]
    begins = np.ones(code.size, dtype=np.bool_)
    begins[1:] = sorted_code[1:] != sorted_code[:-1]
    first = np.maximum.accumulate(np.where(begins, np.arange(code.size), 0))
    rank = np.empty(code.size, dtype=np.int64)
    rank[order] = np.arange(code.size) - first
    return rank


def _draw_like(
    result: IntArray,
    keys: IntArray,
    starts: Vocabulary,
    columns: tuple[int, ...],
    rng: np.random.Generator,
) -> IntArray:
    """Fill entries of `result` that are -1 from start rows that agree in `columns`."""
    lost = np.flatnonzero(result < 0)
    if lost.size == 0:
        return result
    scale = np.array([1 << 40, 1 << 20, 1], dtype=np.int64)
    code = (
        starts.rows[:, list(columns)] @ scale[list(columns)] if columns else starts.rows[:, 0] * 0
    )
    wanted = keys[lost][:, list(columns)] @ scale[list(columns)] if columns else lost * 0
    order = np.argsort(code, kind="stable")
    weight = np.cumsum(starts.counts[order])
    first = np.searchsorted(code[order], wanted, side="left")
    last = np.searchsorted(code[order], wanted, side="right")
    found = last > first
    low = np.where(first > 0, weight[np.maximum(first - 1, 0)], 0)
    high = weight[np.maximum(last - 1, 0)]
    place = low + rng.random(lost.size) * (high - low)
    row = order[np.minimum(np.searchsorted(weight, place, side="right"), order.size - 1)]
    result[lost[found]] = starts.rows[row[found], 3]
    return result
