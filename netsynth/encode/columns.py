"""What a flow record shows, one array a column, computed from the packets of each flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray
from netsynth.tables import (
    ACK,
    FIN,
    ICMP,
    ICMPV6,
    IP_DF,
    NO_WINDOW_SCALE,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    PADDING_BITS,
    RST,
    SYN,
    TCP,
    FlowTable,
    PacketTable,
    option_lengths,
)

# Bits of FlowColumns.state: what the flags of a TCP flow have shown.
STATE_SYN, STATE_SYN_ACK, STATE_FIN_FORWARD, STATE_FIN_REVERSE = 1, 2, 4, 8
STATE_RST_FORWARD, STATE_RST_REVERSE = 16, 32
NO_ANSWER = -1
_MOST_PADDING = 2  # words: more is IP options, or TCP options that no column tells


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowColumns:
    """Columns of F flows.

    Attributes:
        totals: int64 [F, 4], packets forward and reverse, payload bytes forward and reverse.
        start_ns: int64 [F].
        duration_ns: int64 [F].
        state: int64 [F], STATE_* bits; 0 outside TCP.
        answer_ns: int64 [F], from the first packet to the first one in the other direction,
            NO_ANSWER where there is none.
        reply_ns: int64 [F], from that answer to the next packet in the first direction, NO_ANSWER
            where there is none. A capture between two hosts sees the delay of either side: the
            answer comes after the responder's, the reply after the initiator's.
        meta: int64 [F, 4, 4], TTL, TOS, DF and VLAN of the first packet forward and reverse, then
            of the first one forward and reverse that differs from it; -1 where there is none.
        other_meta: bool [N], packets whose header values differ from those of the first one in
            their direction (a SYN-ACK without DF, a reset by another stack, a TOS set later).
        opening: int64 [F, 2, 3], option bits, MSS and window scale of the first packet of either
            direction; -1 where there is none. A SYN's words of padding stand above the bits.
        bare: bool [N], segments without the timestamps that both sides of their flow offered (a
            reset that answers what belongs to no connection).
        service_port: int64 [F], responder port, or ICMP type << 8 | code.
    """

    totals: IntArray
    start_ns: IntArray
    duration_ns: IntArray
    state: IntArray
    answer_ns: IntArray
    reply_ns: IntArray
    meta: IntArray
    other_meta: NDArray[np.bool_]
    opening: IntArray
    bare: NDArray[np.bool_]
    service_port: IntArray


def flow_columns(flows: FlowTable) -> FlowColumns:
    """Compute `FlowColumns` of `flows`."""
    packets, starts = flows.packets, flows.offsets[:-1]
    reverse = flows.reverse
    count = np.diff(flows.offsets)
    payload = packets.payload_length.astype(np.int64)
    packets_reverse = sum_by_flow(reverse.astype(np.int64), flows.offsets)
    bytes_reverse = sum_by_flow(np.where(reverse, payload, 0), flows.offsets)
    totals = np.stack(
        [
            count - packets_reverse,
            packets_reverse,
            sum_by_flow(payload, flows.offsets) - bytes_reverse,
            bytes_reverse,
        ],
        axis=1,
    )
    rows = np.arange(len(packets), dtype=np.int64)
    first = first_rows(flows, rows)  # [F, 2]
    present = first >= 0
    start_ns = packets.time_ns[starts]
    opposite = np.where(reverse[starts], first[:, 0], first[:, 1])
    answered = opposite >= 0
    answer_ns = np.where(answered, packets.time_ns[np.maximum(opposite, 0)] - start_ns, NO_ANSWER)
    begins = np.repeat(reverse[starts], count)
    behind = rows > np.repeat(np.where(answered, opposite, len(packets)), count)
    back = (
        np.minimum.reduceat(np.where(behind & (reverse == begins), rows, len(packets)), starts)
        if len(flows)
        else opposite
    )
    replied = back < len(packets)
    reply_ns = (
        packets.time_ns[np.where(replied, back, 0)] - packets.time_ns[np.maximum(opposite, 0)]
    )
    reply_ns = np.where(replied, reply_ns, NO_ANSWER)
    rows = np.maximum(first, 0)
    meta, other_meta = _meta(flows, first)
    bits = packets.option_bits[rows].astype(np.int64) & ~OPTION_SACK
    is_syn = (packets.tcp_flags[rows] & SYN) > 0
    opening = np.stack(
        [
            np.where(
                is_syn, bits | _padding(packets, rows) << PADDING_BITS, bits & OPTION_TIMESTAMPS
            ),
            np.where(is_syn, packets.mss[rows], 0),
            np.where(is_syn, packets.window_scale[rows], NO_WINDOW_SCALE),
        ],
        axis=-1,
    ).astype(np.int64)
    opening[~present] = -1
    offers = (np.maximum(opening[:, :, 0], 0) & OPTION_TIMESTAMPS) > 0  # [F, 2]
    stamped = (packets.option_bits & OPTION_TIMESTAMPS) > 0
    later = (packets.protocol == TCP) & ((packets.tcp_flags & SYN) == 0)
    is_icmp = np.isin(flows.protocol, (ICMP, ICMPV6))
    service_port = np.where(is_icmp, packets.icmp[starts], flows.responder_port).astype(np.int64)
    return FlowColumns(
        totals=totals,
        start_ns=start_ns,
        duration_ns=flows.end_ns - start_ns,
        state=_state(flows),
        answer_ns=answer_ns,
        reply_ns=reply_ns,
        meta=meta,
        other_meta=other_meta,
        opening=opening,
        bare=later & ~stamped & (offers[:, 0] & offers[:, 1])[flows.flow_of_packet],
        service_port=service_port,
    )


def _padding(packets: PacketTable, rows: IntArray) -> IntArray:
    """Words of padding behind the options of packets, int64 of the shape of `rows`; 0 where there
    are too many to be padding."""
    header = packets.ip_length[rows].astype(np.int64) - packets.payload_length[rows]
    header -= np.where(packets.ip_version[rows] == 4, 40, 60)
    words = (header - option_lengths()[packets.option_bits[rows]]) // 4
    return np.where((words > 0) & (words <= _MOST_PADDING), words, 0)


def sum_by_flow(values: Array, offsets: IntArray) -> IntArray:
    """Sum `values` [N] over the packets of each flow: int64 [F]; no flow may be empty."""
    if offsets.size == 1:
        return np.zeros(0, dtype=np.int64)
    return np.add.reduceat(values.astype(np.int64), offsets[:-1])


def first_rows(flows: FlowTable, rows: IntArray) -> IntArray:
    """Smallest of `rows` [N] (all below N) in each flow and direction, -1 where none: [F, 2].

    Give the rows that do not count a value of N.
    """
    count = len(flows.packets)
    first = np.empty((len(flows), 2), dtype=np.int64)
    for direction in (0, 1):
        here = np.where(flows.reverse == bool(direction), rows, count)
        least = np.minimum.reduceat(here, flows.offsets[:-1]) if len(flows) else here[:0]
        first[:, direction] = np.where(least == count, -1, least)
    return first


def _meta(flows: FlowTable, first: IntArray) -> tuple[IntArray, NDArray[np.bool_]]:
    """Header values per flow [F, 4, 4], and the packets [N] that differ from their first."""
    packets = flows.packets
    count = len(packets)
    every = np.stack(
        [packets.ttl, packets.tos, packets.ip_flags & IP_DF, packets.vlan], axis=1
    ).astype(np.int64)
    own_first = first[flows.flow_of_packet, flows.reverse.astype(np.int64)]
    differs = (every != every[own_first]).any(axis=1)
    other = first_rows(flows, np.where(differs, np.arange(count), count))
    rows = np.concatenate([first, other], axis=1)  # [F, 4]
    meta = every[np.maximum(rows, 0)]
    meta[rows < 0] = -1
    return meta, differs


def state_bits(protocol: Array, reverse: Array, flags: Array) -> IntArray:
    """STATE_* bits that packets show: int64 of their shape; 0 outside TCP."""
    tcp, backward = np.asarray(protocol) == TCP, np.asarray(reverse).astype(np.bool_)
    flags = np.asarray(flags).astype(np.int64)
    marks: list[tuple[int, Array]] = [
        (STATE_SYN, ~backward & ((flags & (SYN | ACK)) == SYN)),
        (STATE_SYN_ACK, backward & ((flags & (SYN | ACK)) == SYN | ACK)),
        (STATE_FIN_FORWARD, ~backward & ((flags & FIN) > 0)),
        (STATE_FIN_REVERSE, backward & ((flags & FIN) > 0)),
        (STATE_RST_FORWARD, ~backward & ((flags & RST) > 0)),
        (STATE_RST_REVERSE, backward & ((flags & RST) > 0)),
    ]
    bits = np.zeros(flags.shape, dtype=np.int64)
    for bit, seen in marks:
        bits += bit * (seen & tcp)
    return bits


def are_over(state: IntArray) -> NDArray[np.bool_]:
    """Whether connections of STATE_* bits [F] ended: by FINs both ways, or a reset without any.

    A reset after one FIN may miss the number that the closing side expects, and is not heard then.

    References:
        RFC 9293 sections 3.6 and 3.10.7.4.
    """
    closes = state & (STATE_FIN_FORWARD | STATE_FIN_REVERSE)
    has_reset = (state & (STATE_RST_FORWARD | STATE_RST_REVERSE)) > 0
    is_closed = closes == STATE_FIN_FORWARD | STATE_FIN_REVERSE
    return np.asarray(is_closed | (has_reset & (closes == 0)))


def _state(flows: FlowTable) -> IntArray:
    protocol = np.repeat(flows.protocol, np.diff(flows.offsets))
    bits = state_bits(protocol, flows.reverse, flows.packets.tcp_flags)
    if len(flows) == 0:
        return bits
    return np.asarray(np.bitwise_or.reduceat(bits, flows.offsets[:-1]), dtype=np.int64)
