"""Add the two packets that no dialogue goes without: the SYN-ACK, and the last acknowledgement.

A generator may leave either out. What else of a flow's shape is wrong can be mended in the packets
there are; a client that gets data without a SYN-ACK, or a FIN at the very end, cannot.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.tables import (
    ACK,
    ACK_ALL,
    FIN,
    IN_ORDER,
    NO_WINDOW_SCALE,
    OPTION_TIMESTAMPS,
    RST,
    SYN,
    TCP,
    FlowTable,
)

_SYN_ACK_INSERTED, _ACK_INSERTED = 20, 21  # rows of dialogue.REPAIRS


def add_answers(flows: FlowTable, repairs: IntArray) -> FlowTable:
    """Add the SYN-ACK of connections whose client went on and got data without one.

    It comes just before the client's first segment that is no SYN, whose delay says how long the
    way is. Where the server's first segment has no data, or nothing but SYNs went before it, that
    segment becomes the SYN-ACK later on (`dialogue.repair_flags`).

    Args:
        flows: As drawn.
        repairs: Counted in, see `dialogue.REPAIRS`.

    Returns:
        The flows with the packets added; the table given where there is nothing to add.
    """
    p = flows.packets
    if not (flows.protocol == TCP).any():
        return flows
    first = flows.offsets[:-1]
    own = flows.reverse == np.repeat(flows.reverse[first], np.diff(flows.offsets))
    is_live = p.tcp_flags & RST == 0
    gone_on = _first_rows(flows, own & is_live & (p.tcp_flags & SYN == 0))
    answer = _first_rows(flows, ~own & is_live)
    is_opened = (flows.protocol == TCP) & (p.tcp_flags[first] & (SYN | ACK | RST) == SYN)
    rows = np.flatnonzero(is_opened & (gone_on >= 0) & (answer > gone_on))
    flags = p.tcp_flags[answer[rows]]
    is_data = (p.payload_length[answer[rows]] > 0) | (flags & FIN > 0)
    rows = rows[is_data & (flags & SYN == 0)]
    if rows.size == 0:
        return flows
    repairs[_SYN_ACK_INSERTED] += rows.size
    before = gone_on[rows]
    like, time_ns = answer[rows], p.time_ns[before]
    return _insert(flows, rows, before, like=like, time_ns=time_ns, tcp_flags=SYN | ACK)


def add_acknowledgements(flows: FlowTable, repairs: IntArray) -> FlowTable:
    """Add the acknowledgement of a connection's last FIN, where both sides sent one.

    It comes as soon after it as its side ever answered in the flow. The last segments of both sides
    acknowledge all. Connections that a reset ends are left alone.

    Args:
        flows: Flags are mended.
        repairs: Counted in, see `dialogue.REPAIRS`.

    Returns:
        The flows with the packets added.

    References:
        RFC 9293 section 3.6.
    """
    p = flows.packets
    if not (flows.protocol == TCP).any():
        return flows
    first, end = flows.offsets[:-1], flows.offsets[1:]
    fin = np.stack(
        [_first_rows(flows, (p.tcp_flags & FIN > 0) & (flows.reverse == side)) for side in (0, 1)]
    )  # [2, F]
    has_reset = _first_rows(flows, p.tcp_flags & RST > 0) >= 0
    is_closed = (fin >= 0).all(axis=0) & ~has_reset & (p.tcp_flags[first] & SYN > 0)
    rows = np.flatnonzero(is_closed & (flows.protocol == TCP))
    side = (fin[1, rows] > fin[0, rows]).astype(np.int64)  # who closes last
    stood = fin[side, rows]
    last = _last_rows(flows)
    heard = last[1 - side, rows]
    ack_class = flows.ack_class.copy()
    ack_class[last[:, rows]] = ACK_ALL
    flows = replace(flows, ack_class=ack_class)
    lacks = heard < stood
    rows, side, heard = rows[lacks], side[lacks], heard[lacks]
    if rows.size == 0:
        return flows
    repairs[_ACK_INSERTED] += rows.size
    delay_ns = _quickest_answers(flows)[1 - side, rows]
    time_ns = p.time_ns[end[rows] - 1] + delay_ns
    return _insert(flows, rows, end[rows], like=heard, time_ns=time_ns, tcp_flags=ACK)


def _first_rows(flows: FlowTable, wanted: NDArray[np.bool_]) -> IntArray:
    """First packet of each flow that is wanted, int64 [F]; -1 where none is."""
    count = len(flows.packets)
    row = np.where(wanted, np.arange(count), count)
    least = np.minimum.reduceat(row, flows.offsets[:-1])
    return np.where(least == count, -1, least)


def _last_rows(flows: FlowTable) -> IntArray:
    """Last packet of each side of each flow, int64 [2, F]; -1 where it sent none."""
    row = np.arange(len(flows.packets))
    return np.stack(
        [
            np.maximum.reduceat(np.where(flows.reverse == side, row, -1), flows.offsets[:-1])
            for side in (0, 1)
        ]
    )


def _quickest_answers(flows: FlowTable) -> IntArray:
    """Shortest time from a packet to the next one, of the other side: int64 [2, F] ns.

    By the side that answers; 0 where it never does.
    """
    gap_ns = np.diff(flows.packets.time_ns, prepend=0)
    turns = np.ones(gap_ns.size, dtype=np.bool_)
    turns[1:] = flows.reverse[1:] != flows.reverse[:-1]
    turns[flows.offsets[:-1]] = False
    never = np.iinfo(np.int64).max
    least = np.stack(
        [
            np.minimum.reduceat(
                np.where(turns & (flows.reverse == side), gap_ns, never), flows.offsets[:-1]
            )
            for side in (0, 1)
        ]
    )
    return np.where(least == never, 0, least)


def _insert(
    flows: FlowTable,
    flow: IntArray,
    before: IntArray,
    *,
    like: IntArray,
    time_ns: IntArray,
    tcp_flags: int,
) -> FlowTable:
    """Insert a bare segment that acknowledges all into each of K flows.

    Args:
        flow: int64 [K], rows of the flows, ascending.
        before: int64 [K], row of the packet before which it comes, or past the flow's last.
        like: int64 [K], packet of the same flow and side, whose addresses and headers it takes.
        time_ns: int64 [K].
        tcp_flags: Its flags; a SYN has no options yet.
    """
    rows = np.insert(np.arange(len(flows.packets), dtype=np.int64), before, like)
    places = before + np.arange(before.size)
    p = flows.packets.take(rows)
    p.time_ns[places] = time_ns
    p.payload_length[places] = 0
    p.tcp_flags[places] = tcp_flags
    p.option_bits[places] = 0 if tcp_flags & SYN else p.option_bits[places] & OPTION_TIMESTAMPS
    p.mss[places] = 0
    p.window_scale[places] = NO_WINDOW_SCALE
    segment, ack_class = flows.segment[rows], flows.ack_class[rows]
    segment[places], ack_class[places] = IN_ORDER, ACK_ALL
    return replace(
        flows,
        packets=p,
        offsets=flows.offsets + np.searchsorted(flow, np.arange(len(flows) + 1)),
        reverse=flows.reverse[rows],
        segment=segment,
        ack_class=ack_class,
    )
