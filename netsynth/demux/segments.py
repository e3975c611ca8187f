"""What each TCP segment does to its direction's sequence space, and what its ack covers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

_HOLE_LIMIT = 16  # holes kept a direction; later ones are forgotten


@compiled
def classify_segments(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    ip_flags: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    seq: NDArray[np.uint32],
    ack: NDArray[np.uint32],
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Classify segments and acknowledgements, as `FlowTable.segment` and `.ack_class` name them.

    Numbers are followed as int64 positions, so that wrapping past 2**32 is no event. The first
    packet of a direction defines its start. Data beyond the expected position leaves a hole;
    "in order so far" ends at the first hole, until a retransmission fills it or the peer
    acknowledges past it (the capture missed it). A SYN of another number starts afresh.

    Args:
        offsets: int64 [F+1]; the packet columns [N] are sorted by flow, then time.
        reverse: bool [N]; True where the packet runs from responder to initiator.
        protocol: The packets' own, like the columns that follow (PACKET_COLUMNS).

    Returns:
        segment and ack_class, uint8 [N] each.

    References:
        RFC 9293 sections 3.4 and 3.10.7.4; RFC 1122 section 4.2.3.6 (keep-alives).
    """
    segment = np.zeros(seq.size, dtype=np.uint8)
    ack_class = np.zeros(seq.size, dtype=np.uint8)
    started = np.zeros(2, dtype=np.bool_)
    has_acked = np.zeros(2, dtype=np.bool_)
    next_at = np.zeros(2, dtype=np.int64)  # position after the furthest byte sent
    acked = np.zeros(2, dtype=np.int64)  # highest ack of the direction, modulo 2**32
    hole_count = np.zeros(2, dtype=np.int64)
    hole_start = np.zeros((2, _HOLE_LIMIT), dtype=np.int64)
    hole_end = np.zeros((2, _HOLE_LIMIT), dtype=np.int64)
    for f in range(offsets.size - 1):
        if protocol[offsets[f]] != 6:
            continue
        started[:] = False
        has_acked[:] = False
        hole_count[:] = 0
        for i in range(np.uint64(offsets[f]), np.uint64(offsets[f + 1])):
            if ip_flags[i] & 4 != 0:
                continue
            side = np.uint64(reverse[i])
            peer = np.uint64(1) - side
            flags = np.int64(tcp_flags[i])
            payload = np.int64(payload_length[i])
            number = np.int64(seq[i])
            length = payload + (flags & 1) + ((flags >> 1) & 1)
            if not started[side]:
                started[side] = True
                next_at[side] = number + (np.int64(1) << 32)
            ahead = (number - next_at[side]) & 0xFFFFFFFF
            if ahead >= 0x80000000:
                ahead -= 0x100000000
            if flags & 2 != 0 and ahead != 0 and ahead != -length:
                next_at[side] += ahead  # a SYN that repeats nothing
                hole_count[side] = 0
                ahead = np.int64(0)
            at = next_at[side] + ahead
            if ahead > 0:
                segment[i] = 3
                if flags & 4 == 0:
                    if hole_count[side] < _HOLE_LIMIT:
                        hole_start[side, hole_count[side]] = next_at[side]
                        hole_end[side, hole_count[side]] = at
                        hole_count[side] += 1
                    next_at[side] = at + length
            elif ahead == 0:
                next_at[side] += length
            elif ahead == -1 and payload <= 1 and flags & 7 == 0:
                segment[i] = 2
            elif length > 0:
                segment[i] = 1
                next_at[side] = max(next_at[side], at + length)
                kept = 0
                for h in range(hole_count[side]):  # what is left of each hole
                    low, high = hole_start[side, h], hole_end[side, h]
                    if at <= low:
                        low = max(low, min(at + length, high))
                    elif at < high <= at + length:
                        high = at
                    if low < high:
                        hole_start[side, kept] = low
                        hole_end[side, kept] = high
                        kept += 1
                hole_count[side] = kept
            if flags & 16 == 0:
                continue
            number = np.int64(ack[i])
            kind = 1
            if started[peer]:
                ahead = (number - next_at[peer]) & 0xFFFFFFFF
                if ahead >= 0x80000000:
                    ahead -= 0x100000000
                at = next_at[peer] + ahead
                in_order = hole_start[peer, 0] if hole_count[peer] > 0 else next_at[peer]
                if at >= in_order:
                    kept = 0
                    for h in range(hole_count[peer]):  # acknowledged past: no hole any more
                        if hole_end[peer, h] > at:
                            hole_start[peer, kept] = max(hole_start[peer, h], at)
                            hole_end[peer, kept] = hole_end[peer, h]
                            kept += 1
                    hole_count[peer] = kept
                else:
                    kind = 3
                    if has_acked[side]:
                        ahead = (number - acked[side]) & 0xFFFFFFFF
                        if ahead == 0 or ahead >= 0x80000000:
                            kind = 2
            ack_class[i] = kind
            if not has_acked[side] or 0 < (number - acked[side]) & 0xFFFFFFFF < 0x80000000:
                acked[side] = number
            has_acked[side] = True
    return segment, ack_class
