"""Pairs of hosts that a service joins once: two flows of one 5-tuple would be read as one.

Where ports do not tell flows apart (ICMP, NTP from port 123, a resolver asked from a fixed port),
a capture holds each pair of hosts once. Drawn one by one, some pairs come twice and others never;
the second flow of a pair takes one that is left. Rare hosts share a token, so
their pairs are left alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.hosts import SPECIAL
from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import IntArray

MOST_PAIRS = 65536
NO_PAIRS = Vocabulary(rows=np.zeros((0, 3), np.int64), counts=np.zeros(0, np.int64))


def fit_lone_pairs(rows: IntArray, fixed: NDArray[np.bool_]) -> Vocabulary:
    """Learn the pairs of each service.

    Args:
        rows: Service, initiator and responder token of flows, int64 [F, 3].
        fixed: bool [F], flows whose ports are not chosen afresh.
    """
    fixed = fixed & _are_known(rows)
    return fit_vocabulary(rows[fixed], limit=MOST_PAIRS) if fixed.any() else NO_PAIRS


def spread_pairs(
    rows: IntArray, fixed: NDArray[np.bool_], pairs: Vocabulary, rng: np.random.Generator
) -> IntArray:
    """Give flows that repeat a pair another one of their service that is not used yet.

    Args:
        rows: As in `fit_lone_pairs`, flows of one window.
        fixed: bool [F].
        pairs: What `fit_lone_pairs` learned.
        rng: Source of randomness.

    Returns:
        int64 [F, 3], `rows` with other hosts where a pair was left.
    """
    mine = np.flatnonzero(fixed & _are_known(rows))
    if mine.size == 0 or pairs.rows.shape[0] == 0:
        return rows
    _, first = np.unique(rows[mine], axis=0, return_index=True)
    again = np.ones(mine.size, dtype=np.bool_)
    again[first] = False
    both = np.concatenate([pairs.rows, rows[mine][first]])
    _, known = np.unique(both, axis=0, return_inverse=True)
    used = np.isin(known.ravel()[: pairs.rows.shape[0]], known.ravel()[pairs.rows.shape[0] :])
    spare = rng.permutation(np.flatnonzero(~used))
    result = rows.copy()
    for service in np.unique(rows[mine[again], 0]):
        wanting = mine[again & (rows[mine, 0] == service)]
        found = spare[pairs.rows[spare, 0] == service][: wanting.size]
        result[wanting[: found.size]] = pairs.rows[found]
    return result


def _are_known(rows: IntArray) -> NDArray[np.bool_]:
    """Tell which rows name both hosts: bool [F]."""
    return np.asarray((rows[:, 1:] >= SPECIAL).all(axis=1))
