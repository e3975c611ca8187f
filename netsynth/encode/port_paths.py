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
ROOM = BLOCK // 2  # ports of one parity in it
BEYOND = 0.25  # of the places learned that ports may lie beyond them
PLACES = 32768  # kept at most
NO_PATHS = Vocabulary(rows=np.zeros((0, 4), np.int64), counts=np.zeros(0, np.int64))


def place_of(port: IntArray) -> IntArray:
    """Return the places of ports: twice the block, plus 1 for odd ports.

    Linux connects from ports of one parity alone.
    """
    return port // BLOCK * 2 + port % 2


def fit_paths(keys: IntArray, port: IntArray) -> Vocabulary:
    """Count the different ports of busy pairs by place.

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
    ports = np.unique(np.concatenate([keys, port[:, None]], axis=1)[busy], axis=0)
    rows = np.concatenate([ports[:, :3], place_of(ports[:, 3])[:, None]], axis=1)
    return fit_vocabulary(rows, limit=PLACES)


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
    """Draw `count` different ports, ascending, as `counts` share them out among `places`; what has
    no room in its place goes to the nearest, or next behind all. None where that is not enough."""
    order = np.argsort(places, kind="stable")
    until = np.cumsum(counts[order]) / counts.sum()
    share = (np.arange(count) + rng.random()) / count
    place = places[order][np.minimum(np.searchsorted(until, share, side="right"), order.size - 1)]
    chosen, sizes = np.unique(place, return_counts=True)
    if sizes.max() > ROOM:
        known = np.unique(places)
        missing = -(-count // ROOM) - known.size
        if missing > BEYOND * known.size:
            return None
        further = known[-1] + 2 * np.arange(1, missing + 2)  # a counter would go on
        known = np.concatenate([known, further[further < 65536 // BLOCK * 2]])
        chosen, sizes = _with_room(known, chosen, sizes)
        if sizes.sum() < count:
            return None
    inside = [
        rng.choice(ROOM, size, replace=False) * 2 + p // 2 * BLOCK + p % 2
        for p, size in zip(chosen.tolist(), sizes.tolist(), strict=True)
    ]
    return np.asarray(np.maximum(np.sort(np.concatenate(inside)), 1))


def _with_room(places: IntArray, chosen: IntArray, sizes: IntArray) -> tuple[IntArray, IntArray]:
    """Let places take ROOM ports at most, the nearest of `places` what is left over.

    Args:
        places: int64 [P], ascending.
        chosen: int64 [C], ascending, some of them.
        sizes: int64 [C], ports wanted in each.

    Returns:
        Places and their ports; fewer in all where there is no room for all.
    """
    wanted = np.zeros(places.size, dtype=np.int64)
    wanted[np.searchsorted(places, chosen)] = sizes
    for at in np.flatnonzero(wanted > ROOM).tolist():
        for to in np.argsort(np.abs(places - places[at]), kind="stable").tolist():
            more = min(wanted[at] - ROOM, max(ROOM - wanted[to], 0))
            wanted[to] += more
            wanted[at] -= more
            if wanted[at] <= ROOM:
                break
    wanted = np.minimum(wanted, ROOM)
    used = wanted > 0
    return places[used], wanted[used]
