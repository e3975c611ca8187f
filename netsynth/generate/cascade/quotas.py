"""Each flow's combination of endpoints: what G1 makes decides which flow, counts decide how many.

Hosts and services come back as often as they did, to the flow: G1 alone would need hours to be as
sure. And a scan that tries each of a thousand ports once must not try some of them five times.
"""

from __future__ import annotations

import numpy as np

from netsynth.generate.cascade.books import nearest_rows
from netsynth.numbers import Array, IntArray

ROUNDS = 64  # of proposals to what is left, before flows take what they are given


def quotas(counts: IntArray, flow_count: int, rng: np.random.Generator) -> IntArray:
    """Share `flow_count` flows out by `counts` [M]: int64 [M], which sum to `flow_count`.

    Each differs from its exact share by less than 1, up or down by a lottery.
    """
    exact = np.cumsum(counts) / counts.sum() * flow_count
    exact[-1] = flow_count
    shifted = np.floor(exact + rng.random())
    shifted[-1] = flow_count
    shared: IntArray = np.diff(np.minimum(shifted, flow_count), prepend=0).astype(np.int64)
    return shared


def assign(
    made: Array, proposals: IntArray, targets: Array, room: IntArray, rng: np.random.Generator
) -> IntArray:
    """Give each flow a row whose room is not used up, near to what was made for it.

    Args:
        made: float32 [F, X, D], tuples made for each flow.
        proposals: int64 [F, X], rows nearest to each.
        targets: float32 [M, D].
        room: int64 [M], how many flows each row takes; they sum to F.
        rng: Chooses among flows that want the same.

    Returns:
        Row of each flow, int64 [F].
    """
    count, tries = proposals.shape
    room = room.copy()
    row = np.full(count, -1, dtype=np.int64)
    for turn in range(tries):
        _accept(row, np.flatnonzero(row < 0), proposals[:, turn], room, rng)
    for _ in range(ROUNDS):
        lost = np.flatnonzero(row < 0)
        if lost.size == 0:
            return row
        spare = np.flatnonzero(room > 0)
        wanted = np.zeros(count, dtype=np.int64)
        wanted[lost] = spare[nearest_rows(made[lost, 0], targets[spare])]
        _accept(row, lost, wanted, room, rng)
    lost = np.flatnonzero(row < 0)
    row[lost] = rng.permutation(np.repeat(np.arange(room.size), room))[: lost.size]
    return row


def _accept(
    row: IntArray, flows: IntArray, wanted: IntArray, room: IntArray, rng: np.random.Generator
) -> None:
    """Let `flows` have the rows they want, as far as there is room, in random order."""
    flows = rng.permutation(flows)
    order = np.argsort(wanted[flows], kind="stable")
    flows = flows[order]
    asked = wanted[flows]
    rank = np.arange(flows.size) - np.searchsorted(asked, asked, side="left")
    served = rank < room[asked]
    row[flows[served]] = asked[served]
    room -= np.bincount(asked[served], minlength=room.size)
