"""Which segments analysers take for new when they come again.

An analyser tells a retransmission by its time and by what is acknowledged. One that comes within
a round trip of new data counts as overtaken on its way, one that duplicate acknowledgements call
for as fast, a byte alone as a keep-alive; and all of these it adds to the message that the bytes
belong to, which fails where that is complete. A segment that is a message of its own can come
again in any way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.repeats import find_round_trip
from netsynth.jit import compiled
from netsynth.numbers import IntArray

_FAST_COUNT = 2  # duplicate acknowledgements that call for a segment, to Wireshark


@compiled
def find_mistaken(
    offsets: IntArray,
    wanted: NDArray[np.bool_],
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    seq: NDArray[np.uint32],
    ack: NDArray[np.uint32],
    data_at: IntArray,
    ends: IntArray,
    mistaken: NDArray[np.bool_],
) -> None:
    """Mark the segments that come again, are taken for new, and belong to what was complete.

    Args:
        offsets: int64 [F+1]; the columns [N] are sorted by flow, then time.
        wanted: Flows to look at, bool [F].
        data_at: Position of each payload in its direction's stream, int64 [N].
        ends: Where in it the message of each packet ends, int64 [N]; what is repeated sooner
            than this has been sent is left alone.
        mistaken: Set where a segment is one, bool [N].

    References:
        RFC 5681 section 3.2 (fast retransmission); RFC 9293 section 3.8.4 (keep-alives).
    """
    before = np.zeros(seq.size, dtype=np.int64)  # the side's segment of new data before
    sent_to, last, next_at, last_ack = np.zeros((4, 2), dtype=np.int64)
    advanced_ns, duplicates = np.zeros((2, 2), dtype=np.int64)
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6 or not wanted[f]:
            continue
        sent_to[:], last[:], last_ack[:], duplicates[:] = 0, -1, -1, 0
        next_at[:] = -1
        round_trip_ns: Any = find_round_trip(first, end, time_ns, reverse, tcp_flags)
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            flags = np.int64(tcp_flags[i])
            payload = np.int64(payload_length[i])
            length = payload + (flags & 1) + ((flags >> 1) & 1)
            start: Any = np.int64(seq[i])
            ahead = _distance(next_at[side], start) if next_at[side] >= 0 else np.int64(0)
            if payload > 0 and data_at[i] >= sent_to[side]:  # new
                before[i] = last[side]
                last[side] = i
                sent_to[side] = data_at[i] + payload
            elif payload > 0 and data_at[i] >= 0:
                is_last = ahead + length == 0
                is_known = (
                    (is_last or time_ns[i] - advanced_ns[side] >= round_trip_ns)
                    and not (payload == 1 and is_last)
                    and not (duplicates[1 - side] >= _FAST_COUNT and last_ack[1 - side] == start)
                )
                k = last[side]
                while k >= 0 and data_at[k] > data_at[i]:
                    k = before[k]
                if not is_known and k >= 0 and sent_to[side] >= ends[k]:
                    mistaken[k] |= data_at[i] < data_at[k] + payload_length[k]
            if flags & 4 == 0 and (next_at[side] < 0 or ahead + length > 0):
                next_at[side] = (start + length) & 0xFFFFFFFF
                advanced_ns[side] = time_ns[i]
            if flags & 16 != 0:
                is_same = last_ack[side] == np.int64(ack[i])
                duplicates[side] = duplicates[side] + (length == 0) if is_same else 0
                last_ack[side] = np.int64(ack[i])


@compiled
def _distance(start: int, stop: int) -> int:
    """Return how far sequence number `stop` lies past `start`, below 0 where it lies before it."""
    return ((stop - start + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
