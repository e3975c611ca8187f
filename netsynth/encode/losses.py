"""Segments that a capture lost: a connection goes on ahead of data that nobody sends again.

To whoever reads a capture this is a gap, so connections have no more of it than was learned.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.tables import ACK, AHEAD, IN_ORDER, RETRANSMIT, SYN, TCP, FlowTable

LATEST_NS = 3_000_000_000  # a hole that stays open longer is never filled


def fit_losses(flow_tables: list[FlowTable]) -> float:
    """Share of the segments ahead, in connections seen from their SYNs on, that nothing fills."""
    ahead, lost = 0, 0
    for flows in flow_tables:
        rows = _ahead(flows)
        ahead += rows.size
        lost += int((~_is_filled(flows, rows)).sum())
    return lost / max(ahead, 1)


def mend_losses(flows: FlowTable, losses: float, rng: np.random.Generator) -> FlowTable:
    """Put data in order where nothing fills what they are ahead of, but for the share learned.

    Args:
        flows: Packets of a window.
        losses: See `fit_losses`.
        rng: Chooses those that stay.

    Returns:
        The flows, with other segments alone; the table given where all is filled.
    """
    rows = _ahead(flows)
    lost = rows[~_is_filled(flows, rows)]
    kept = min(int(losses * rows.size + rng.random()), lost.size) if lost.size else 0
    if kept == lost.size:
        return flows
    segment = flows.segment.copy()
    segment[rng.permutation(lost)[kept:]] = IN_ORDER
    return replace(flows, segment=segment)


def _ahead(flows: FlowTable) -> IntArray:
    """Segments ahead of what came before in connections with both SYNs: int64 [M], ascending."""
    rows = np.flatnonzero((flows.segment == AHEAD) & (flows.packets.protocol == TCP))
    if rows.size == 0:
        return rows
    flags = flows.packets.tcp_flags & (SYN | ACK)
    whole = np.ones(len(flows), dtype=np.bool_)
    for wanted in (SYN, SYN | ACK):
        whole &= np.logical_or.reduceat(flags == wanted, flows.offsets[:-1])
    return rows[whole[flows.flow_of_packet[rows]]]


def _is_filled(flows: FlowTable, rows: IntArray) -> NDArray[np.bool_]:
    """Tell which segments ahead are followed by a retransmission of their side: bool [M]."""
    packets, count = flows.packets, len(flows.packets)
    again = np.flatnonzero((flows.segment == RETRANSMIT) & (packets.tcp_flags & SYN == 0))
    side = 2 * flows.flow_of_packet.astype(np.int64) + flows.reverse
    keys = np.append(np.sort(side[again] * count + again), np.iinfo(np.int64).max)
    found = keys[np.searchsorted(keys, side[rows] * count + rows)]
    row = found % count
    same = found // count == side[rows]
    wait = packets.time_ns[np.where(same, row, rows)] - packets.time_ns[rows]
    return np.asarray(same & (wait <= LATEST_NS))
