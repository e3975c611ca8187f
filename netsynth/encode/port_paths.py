"""How far counters of source ports come: where in the range a busy pair of hosts spent how much.

Steps are drawn one by one, and a thousand of them lead elsewhere than those learned did. So the
ports of a busy pair are moved, in order, to where its flows were in the range, to BLOCK ports.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import IntArray

BUSY = 32  # flows of a pair
BLOCK = 128  # ports that a place stands for: fewer would replay them
PLACES = 32768  # kept at most
NO_PATHS = Vocabulary(rows=np.zeros((0, 4), np.int64), counts=np.zeros(0, np.int64))


def place_of(port: IntArray) -> IntArray:
    """Return the places of ports: twice the block, plus 1 for odd ports.

    Linux connects from ports of one parity alone.
    """
    return port // BLOCK * 2 + port % 2


def fit_paths(keys: IntArray, port: IntArray) -> Vocabulary:
    """Count the places of busy pairs.

    Args:
        keys: Initiator, service and responder tokens, int64 [F, 3], of flows whose ports their
            hosts chose.
        port: int64 [F].

    Returns:
        Rows (initiator, service, responder, place).
    """
    if port.size == 0:
        return NO_PATHS
    _, code, count = np.unique(keys, axis=0, return_inverse=True, return_counts=True)
    busy = count[code.ravel()] >= BUSY
    if not busy.any():
        return NO_PATHS
    rows = np.concatenate([keys, place_of(port)[:, None]], axis=1)
    return fit_vocabulary(rows[busy], limit=PLACES)


def follow_paths(
    paths: Vocabulary,
    keys: IntArray,
    port: IntArray,
    movable: NDArray[np.bool_],
    rng: np.random.Generator,
) -> IntArray:
    """Move the ports of busy pairs to where such flows were, in the order that they have.

    Args:
        paths: See `fit_paths`.
        keys: int64 [F, 3].
        port: int64 [F].
        movable: bool [F], ports that hosts chose.
        rng: Source of randomness.

    Returns:
        int64 [F], ports of a pair that differed still differ. A pair whose flows find no room
        there keeps its own.
    """
    moved = port.copy()
    rows = np.flatnonzero(movable)
    if rows.size == 0 or paths.rows.shape[0] == 0:
        return moved
    both = np.concatenate([paths.rows[:, :3], keys[rows]])
    code = np.unique(both, axis=0, return_inverse=True)[1].ravel()
    known, wanted = code[: paths.counts.size], code[paths.counts.size :]
    for key in np.unique(known).tolist():
        flows = rows[wanted == key]
        if flows.size < BUSY:
            continue
        own, inverse = np.unique(port[flows], return_inverse=True)
        learned = np.flatnonzero(known == key)
        new = _spread(own.size, paths.rows[learned, 3], paths.counts[learned], rng)
        if new is not None:
            moved[flows] = new[inverse.ravel()]
    return moved


def _spread(
    count: int, places: IntArray, counts: IntArray, rng: np.random.Generator
) -> IntArray | None:
    """Draw `count` different ports, ascending, as `counts` share them out among `places`; None
    where a place has too few."""
    order = np.argsort(places, kind="stable")
    until = np.cumsum(counts[order]) / counts.sum()
    share = (np.arange(count) + rng.random()) / count
    place = places[order][np.minimum(np.searchsorted(until, share, side="right"), order.size - 1)]
    chosen, sizes = np.unique(place, return_counts=True)
    if sizes.max() > BLOCK // 2:
        return None
    inside = [
        rng.choice(BLOCK // 2, size, replace=False) * 2 + p // 2 * BLOCK + p % 2
        for p, size in zip(chosen.tolist(), sizes.tolist(), strict=True)
    ]
    return np.asarray(np.maximum(np.sort(np.concatenate(inside)), 1))
