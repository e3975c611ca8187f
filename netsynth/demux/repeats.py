"""Which earlier segment a retransmission repeats: hosts send whole ones again, never a part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

SEARCH_LIMIT = 256  # packets to look back for the segment that a retransmission repeats
TIMEOUT_NS = (
    200_000_000  # silence after which a host repeats what is not acknowledged; Linux's least
)
REORDER_NS = 3_000_000  # round trip of a flow without handshake


@compiled
def find_round_trip(
    first: int,
    end: int,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    tcp_flags: NDArray[np.uint8],
) -> int:
    """Time from the SYN of a flow to its sender's next segment, ns; 3 ms without a handshake."""
    opened: Any = -1
    is_answered = False
    for i in range(first, end):
        if tcp_flags[i] & 2 != 0:
            if opened < 0 and tcp_flags[i] & 16 == 0:
                opened = i
            elif opened >= 0 and reverse[i] != reverse[opened]:
                is_answered = True
        elif opened >= 0 and is_answered and reverse[i] == reverse[opened]:
            return time_ns[i] - time_ns[opened]  # type: ignore[no-any-return]
    return REORDER_NS


@compiled
def find_repeated(
    i: int,
    first: int,
    wanted: int,
    last: int,
    tail: int,
    round_trip_ns: int,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    position: IntArray,
) -> int:
    """Return the row of the segment that the retransmission in row `i` repeats, or -1.

    It is the one at the peer's acknowledgement, if it is as long as drawn. Else one as long after
    it; but sooner than a round trip after the latest new data, only the latest can be meant: by a
    network that copies, or a host that probes for a lost tail. Where none is as long, the latest
    is repeated, too, or after a timeout the one at the acknowledgement.

    Args:
        i: Row of the retransmission.
        first: Row where its flow begins.
        wanted: Position that the peer acknowledged, or that the last retransmission ended at.
        last: Position after the last byte sent.
        tail: Row of the segment that ends there, or -1.
        round_trip_ns: See `find_round_trip`.
        position: Position of each packet before row i, int64 [N].

    References:
        RFC 6298 section 5.4, RFC 8985 sections 6.2 and 7.3.
    """
    at_ack: Any = -1
    nearest: Any = -1
    start_of_nearest = np.int64(0)
    for j in range(i - 1, max(first, i - SEARCH_LIMIT) - 1, -1):
        if reverse[j] != reverse[i] or payload_length[j] == 0 or tcp_flags[j] & 4 != 0:
            continue
        start = position[j] + ((tcp_flags[j] >> 1) & 1)
        if start < wanted or start + payload_length[j] > last:
            continue
        is_as_long = payload_length[j] == payload_length[i]
        if start == wanted:
            if is_as_long:
                return j
            at_ack = j if at_ack < 0 else at_ack
        elif is_as_long and (nearest < 0 or start < start_of_nearest):
            nearest = j
            start_of_nearest = start
    if tail < 0:
        return -1
    silence_ns = time_ns[i] - time_ns[tail]
    if silence_ns < round_trip_ns:
        return tail
    if payload_length[tail] == payload_length[i]:
        return nearest if nearest >= 0 else tail
    if nearest >= 0:
        return nearest  # type: ignore[no-any-return]
    if silence_ns >= TIMEOUT_NS and at_ack >= 0:
        return at_ack  # type: ignore[no-any-return]
    return tail
