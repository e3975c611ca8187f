"""Which flow each packet belongs to: one pass of an open-addressing hash, then a counting sort."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import Array, IntArray
from netsynth.tables import PacketTable

NEVER_NS = np.iinfo(np.int64).max

_LOW_31 = 0x7FFFFFFF
_LOW_KEY, _HIGH_KEY, _FLOW, _FIRST_NS, _LAST_NS, _STATE, _SYN_NUMBER = range(7)
_SYN_SEEN, _MORE_SEEN = 1, 2  # bits of _STATE


@compiled
def number_flows(
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
    first_row: int,
    idle_ns: int,
    active_ns: int,
    slots: NDArray[np.int32],
    entries: IntArray,
    counts: IntArray,
    flow_of_packet: NDArray[np.int32],
) -> int:
    """Say which flow each packet from `first_row` on is part of; see `FlowNumbers`.

    Args:
        time_ns: int64 [N], ns, ascending; the other columns likewise [N] (PACKET_COLUMNS).
        first_row: Packet to begin with.
        idle_ns: A packet this long after the flow's last one, or longer, opens a new flow.
        active_ns: A packet this long after the flow's first one, or longer, opens a new flow.
        slots: int32 [2^k], hash table of rows of `entries`, -1 where free.
        entries: int64 [E, 8], a cache line for each key seen, see _LOW_KEY and so on.
        counts: int64 [2], entries and flows so far; updated.
        flow_of_packet: int32 [N], filled.

    Returns:
        N, or the packet at which there was no free entry.
    """
    packet_count = time_ns.size
    slot_mask = slots.size - 1
    entry_count = counts[0]
    flow_count = counts[1]
    i = first_row
    while i < packet_count:
        k = np.uint64(i)
        is_fragment = ip_flags[k] & 4 != 0
        number = protocol[k]
        kind = 1 if is_fragment else 0
        if ip_version[k] == 6:
            kind |= 2
        source_end = np.int64(src_port[k])
        destination_end = np.int64(dst_port[k])
        if is_fragment:
            source_end = np.int64(0)
            destination_end = np.int64(0)
        elif number == 1 or number == 58:
            message = icmp[k] >> 8
            if message in ((0, 8) if number == 1 else (128, 129)):
                kind |= 4
                source_end = np.int64(seq[k]) >> 16  # echo identifier, RFC 792 and RFC 4443
            else:
                source_end = np.int64(message)
            destination_end = source_end
        low = (np.int64(src[k]) << 16) | source_end
        high = (np.int64(dst[k]) << 16) | destination_end
        if low > high:
            low, high = high, low
        high = (high << 16) | (np.int64(number) << 8) | kind
        # products of 31-bit numbers stay inside int64
        mixed = ((low & _LOW_31) * 0x5BD1E995) ^ ((low >> 31) * 0x27D4EB2F)
        mixed ^= ((high & _LOW_31) * 0x45D9F3B5) ^ ((high >> 31) * 0x3C6EF372)
        slot = (mixed ^ (mixed >> 29)) & slot_mask
        entry = slots[np.uint64(slot)]
        at = np.uint64(max(entry, 0))
        while entry >= 0 and (entries[at, _LOW_KEY] != low or entries[at, _HIGH_KEY] != high):
            slot = (slot + 1) & slot_mask
            entry = slots[np.uint64(slot)]
            at = np.uint64(max(entry, 0))
        now = time_ns[k]
        is_tcp = number == 6 and not is_fragment
        flags = tcp_flags[k]
        is_new = False
        if entry < 0:
            if entry_count == len(entries):
                break
            at = np.uint64(entry_count)
            slots[slot] = entry_count
            entries[at, _LOW_KEY] = low
            entries[at, _HIGH_KEY] = high
            entry_count += 1
            is_new = True
        else:
            idle = now - entries[at, _LAST_NS] >= idle_ns
            active = now - entries[at, _FIRST_NS] >= active_ns
            is_new = idle or active
            if is_tcp and flags & 18 == 2:  # SYN without ACK: does it open another connection?
                state = entries[at, _STATE]
                is_repeat = state & _SYN_SEEN != 0 and entries[at, _SYN_NUMBER] == np.int64(seq[k])
                is_new |= state & _MORE_SEEN != 0 and not is_repeat
        if is_new:
            entries[at, _FLOW] = flow_count
            entries[at, _FIRST_NS] = now
            entries[at, _STATE] = 0
            flow_count += 1
        entries[at, _LAST_NS] = now
        if is_tcp:
            state = entries[at, _STATE]
            if flags & 2 == 0:
                entries[at, _STATE] = state | _MORE_SEEN
            elif flags & 16 == 0 and state & _SYN_SEEN == 0:
                entries[at, _STATE] = state | _SYN_SEEN
                entries[at, _SYN_NUMBER] = np.int64(seq[k])
        flow_of_packet[k] = entries[at, _FLOW]
        i += 1
    counts[0] = entry_count
    counts[1] = flow_count
    return i


@compiled
def enter_keys(slots: NDArray[np.int32], entries: IntArray, entry_count: int) -> None:
    """Enter the keys of the first `entry_count` entries into `slots`, which is all -1."""
    slot_mask = slots.size - 1
    for j in range(entry_count):
        low = entries[j, _LOW_KEY]
        high = entries[j, _HIGH_KEY]
        mixed = ((low & _LOW_31) * 0x5BD1E995) ^ ((low >> 31) * 0x27D4EB2F)
        mixed ^= ((high & _LOW_31) * 0x45D9F3B5) ^ ((high >> 31) * 0x3C6EF372)
        slot = (mixed ^ (mixed >> 29)) & slot_mask
        while slots[slot] >= 0:
            slot = (slot + 1) & slot_mask
        slots[slot] = j


class FlowNumbers:
    """Numbers flows in order of their first packet, while packets come in chunks.

    Both directions share a key: the two endpoints in ascending order, protocol, IP version. An
    ICMP echo has its identifier in place of ports, other ICMP its type, a later fragment zeros.
    A SYN of another number than the flow's own opens a new flow once the old one has gone past
    its handshake: who sends it has no such connection any more.

    Args:
        idle_ns: A packet this long after the flow's last one, or longer, opens a new flow.
        active_ns: A packet this long after the flow's first one, or longer, opens a new flow.
    """

    def __init__(self, *, idle_ns: int = NEVER_NS, active_ns: int = NEVER_NS) -> None:
        self._timeouts = (idle_ns, active_ns)
        self._entries: IntArray = np.empty((2048, 8), dtype=np.int64)
        self._slots: NDArray[np.int32] = np.full(4096, -1, dtype=np.int32)
        self._counts: IntArray = np.zeros(2, dtype=np.int64)

    @property
    def count(self) -> int:
        """Flows so far."""
        return int(self._counts[1])

    def number(self, packets: PacketTable, flow_of_packet: NDArray[np.int32]) -> None:
        """Fill `flow_of_packet`, int32 [N], with the flow of each packet.

        Args:
            packets: N packets in order of time, none before those that came earlier; rows of
                `addresses` mean the same from call to call.
            flow_of_packet: To be filled.
        """
        row = 0
        while True:
            row = number_flows(
                packets.time_ns,
                packets.src,
                packets.dst,
                packets.src_port,
                packets.dst_port,
                packets.protocol,
                packets.ip_version,
                packets.ip_flags,
                packets.icmp,
                packets.seq,
                packets.tcp_flags,
                row,
                *self._timeouts,
                self._slots,
                self._entries,
                self._counts,
                flow_of_packet,
            )
            if row == len(packets):
                return
            self._entries = np.concatenate((self._entries, np.empty_like(self._entries)))
            self._slots = np.full(2 * len(self._entries), -1, dtype=np.int32)
            enter_keys(self._slots, self._entries, int(self._counts[0]))


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
        flow = np.uint64(flow_of_packet[i])
        order[np.uint64(place[flow])] = i
        place[flow] += 1
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
        for i in range(np.uint64(first), np.uint64(offsets[f + 1])):
            is_same_way = src[i] == address and src_port[i] == port
            reverse[i] = is_same_way != forward
    return is_forward


@compiled
def take_rows(column: Array, rows: Array, taken: Array) -> None:
    """Fill `taken` with column[rows] for rows known to be in range."""
    for i in range(np.uint64(rows.size)):  # unsigned: no check for rows counted from the end
        taken[i] = column[np.uint64(rows[i])]


@compiled
def is_sorted(time_ns: IntArray) -> bool:
    """Say if no time is before the one before it."""
    for i in range(1, time_ns.size):  # noqa: SIM110 (numba knows no generators)
        if time_ns[i] < time_ns[i - 1]:
            return False
    return True
