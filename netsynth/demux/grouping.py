"""Which flow each packet belongs to: one pass of an open-addressing hash, then a counting sort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.jit import compiled
from netsynth.numbers import Array, IntArray

NEVER_NS = np.iinfo(np.int64).max

_LOW_31 = 0x7FFFFFFF
_LOW_KEY, _HIGH_KEY, _FLOW, _FIRST_NS, _LAST_NS, _STATE, _SYN_NUMBER = range(7)
_SYN_SEEN, _MORE_SEEN = 1, 2  # bits of _STATE


@compiled
def group_packets(
    time_ns: IntArray,
    src: NDArray[np.int32],
    dst: NDArray[np.int32],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    protocol: NDArray[np.uint8],
    ip_version: NDArray[np.uint8],
    ip_flags: NDArray[np.uint8],
    icmp: NDArray[np.uint16],
    seq: NDArray[np.uint32],
    tcp_flags: NDArray[np.uint8],
    idle_ns: int,
    active_ns: int,
) -> tuple[NDArray[np.int32], int]:
    """Number the flows by their first packet and say which one each packet is part of.

    Both directions share a key: the two endpoints in ascending order, protocol, IP version. An
    ICMP echo has its identifier in place of ports, other ICMP its type, a later fragment zeros.
    A SYN of another number than the flow's own opens a new flow once the old one has gone past
    its handshake: who sends it has no such connection any more.

    Args:
        time_ns: int64 [N], ns, ascending; the other columns likewise [N] (PACKET_COLUMNS).
        idle_ns: A packet this long after the flow's last one, or longer, opens a new flow.
        active_ns: A packet this long after the flow's first one, or longer, opens a new flow.

    Returns:
        Flow of each packet, int32 [N], and the number of flows.
    """
    packet_count = time_ns.size
    flow_of_packet = np.empty(packet_count, dtype=np.int32)
    slot_mask = 4095
    slots = np.full(slot_mask + 1, -1, dtype=np.int32)  # a row of entries, or -1
    entries = np.empty((2048, 8), dtype=np.int64)  # a cache line each, see _LOW_KEY and so on
    entry_count = 0
    flow_count = 0
    for i in range(packet_count):
        is_fragment = ip_flags[i] & 4 != 0
        number = protocol[i]
        kind = 1 if is_fragment else 0
        if ip_version[i] == 6:
            kind |= 2
        source_end = np.int64(src_port[i])
        destination_end = np.int64(dst_port[i])
        if is_fragment:
            source_end = np.int64(0)
            destination_end = np.int64(0)
        elif number == 1 or number == 58:
            message = icmp[i] >> 8
            if message in ((0, 8) if number == 1 else (128, 129)):
                kind |= 4
                source_end = np.int64(seq[i]) >> 16  # echo identifier, RFC 792 and RFC 4443
            else:
                source_end = np.int64(message)
            destination_end = source_end
        low = (np.int64(src[i]) << 16) | source_end
        high = (np.int64(dst[i]) << 16) | destination_end
        if low > high:
            low, high = high, low
        high = (high << 16) | (np.int64(number) << 8) | kind
        # products of 31-bit numbers stay inside int64
        mixed = ((low & _LOW_31) * 0x5BD1E995) ^ ((low >> 31) * 0x27D4EB2F)
        mixed ^= ((high & _LOW_31) * 0x45D9F3B5) ^ ((high >> 31) * 0x3C6EF372)
        slot = (mixed ^ (mixed >> 29)) & slot_mask
        entry = slots[slot]
        while entry >= 0 and (entries[entry, _LOW_KEY] != low or entries[entry, _HIGH_KEY] != high):
            slot = (slot + 1) & slot_mask
            entry = slots[slot]
        now = time_ns[i]
        is_tcp = number == 6 and not is_fragment
        flags = tcp_flags[i]
        is_new = False
        if entry < 0:
            if entry_count == len(entries):
                entries = np.concatenate((entries, np.empty_like(entries)))
                slot_mask = 2 * len(entries) - 1
                slots = np.full(slot_mask + 1, -1, dtype=np.int32)
                for j in range(entry_count + 1):  # the new entry last
                    old_low = low if j == entry_count else entries[j, _LOW_KEY]
                    old_high = high if j == entry_count else entries[j, _HIGH_KEY]
                    mixed = ((old_low & _LOW_31) * 0x5BD1E995) ^ ((old_low >> 31) * 0x27D4EB2F)
                    mixed ^= ((old_high & _LOW_31) * 0x45D9F3B5) ^ ((old_high >> 31) * 0x3C6EF372)
                    slot = (mixed ^ (mixed >> 29)) & slot_mask
                    while slots[slot] >= 0:
                        slot = (slot + 1) & slot_mask
                    slots[slot] = j
            entry = entry_count
            slots[slot] = entry
            entries[entry, _LOW_KEY] = low
            entries[entry, _HIGH_KEY] = high
            entry_count += 1
            is_new = True
        else:
            idle = now - entries[entry, _LAST_NS] >= idle_ns
            active = now - entries[entry, _FIRST_NS] >= active_ns
            is_new = idle or active
            if is_tcp and flags & 18 == 2:  # SYN without ACK: does it open another connection?
                state = entries[entry, _STATE]
                is_repeat = state & _SYN_SEEN != 0 and entries[entry, _SYN_NUMBER] == np.int64(
                    seq[i]
                )
                is_new |= state & _MORE_SEEN != 0 and not is_repeat
        if is_new:
            entries[entry, _FLOW] = flow_count
            entries[entry, _FIRST_NS] = now
            entries[entry, _STATE] = 0
            flow_count += 1
        entries[entry, _LAST_NS] = now
        if is_tcp:
            state = entries[entry, _STATE]
            if flags & 2 == 0:
                entries[entry, _STATE] = state | _MORE_SEEN
            elif flags & 16 == 0 and state & _SYN_SEEN == 0:
                entries[entry, _STATE] = state | _SYN_SEEN
                entries[entry, _SYN_NUMBER] = np.int64(seq[i])
        flow_of_packet[i] = entries[entry, _FLOW]
    return flow_of_packet, flow_count


@compiled
def counting_sort(flow_of_packet: NDArray[np.int32], flow_count: int, order: Array) -> IntArray:
    """Sort packets by flow, keeping their order inside it.

    Args:
        order: Filled with the sorted packets' rows, int32 or int64 [N].

    Returns:
        Offsets of the flows, int64 [F+1].
    """
    offsets = np.zeros(flow_count + 1, dtype=np.int64)
    for i in range(flow_of_packet.size):
        offsets[flow_of_packet[i] + 1] += 1
    for f in range(flow_count):
        offsets[f + 1] += offsets[f]
    place = offsets[:-1].copy()
    for i in range(flow_of_packet.size):
        f = flow_of_packet[i]
        order[place[f]] = i
        place[f] += 1
    return offsets


@compiled
def find_initiators(
    offsets: IntArray,
    src: NDArray[np.int32],
    dst: NDArray[np.int32],
    src_port: NDArray[np.uint16],
    dst_port: NDArray[np.uint16],
    protocol: NDArray[np.uint8],
    icmp: NDArray[np.uint16],
    tcp_flags: NDArray[np.uint8],
    is_group: NDArray[np.bool_],
    reverse: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Decide for each flow if its first packet's sender opened it, and fill `reverse` [N].

    In this order: a multicast or broadcast address never opens; the sender of a SYN without ACK,
    or the receiver of a SYN with it; the sender of an echo request; the peer of a port below
    1024 where just one is; the first packet's sender.

    Args:
        offsets: int64 [F+1]; the columns are sorted by flow.
        is_group: bool [A]; True for multicast and broadcast addresses.

    Returns:
        bool [F]; True where the first packet runs from initiator to responder.
    """
    flow_count = offsets.size - 1
    is_forward = np.ones(flow_count, dtype=np.bool_)
    for f in range(flow_count):
        first = offsets[f]
        number = protocol[first]
        address, port = src[first], src_port[first]
        forward = True
        is_decided = False
        if is_group[src[first]] != is_group[dst[first]]:
            forward = is_group[dst[first]]
            is_decided = True
        elif number == 6 or number == 1 or number == 58:
            for i in range(first, offsets[f + 1]):
                is_same_way = src[i] == address and src_port[i] == port
                if number == 6:
                    if tcp_flags[i] & 2 != 0:
                        forward = is_same_way == (tcp_flags[i] & 16 == 0)
                        is_decided = True
                        break
                else:
                    message = icmp[i] >> 8
                    request = 8 if number == 1 else 128
                    reply = 0 if number == 1 else 129
                    if message in (request, reply):
                        forward = is_same_way == (message == request)
                        is_decided = True
                    break
        if not is_decided and (src_port[first] < 1024) != (dst_port[first] < 1024):
            forward = dst_port[first] < 1024
        is_forward[f] = forward
        for i in range(first, offsets[f + 1]):
            is_same_way = src[i] == address and src_port[i] == port
            reverse[i] = is_same_way != forward
    return is_forward


@compiled
def take_rows(column: Array, rows: Array) -> Array:
    """Return column[rows] for rows known to be in range."""
    taken = np.empty(rows.size, dtype=column.dtype)
    for i in range(rows.size):
        taken[i] = column[rows[i]]
    return taken
