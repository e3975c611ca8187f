"""What only a look ahead in the flow can tell: how far acknowledgements go, how long holes are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

_FILL_LIMIT = 64  # retransmissions looked at for a hole
_FILL_LIMIT_NS = 3_000_000_000  # a hole that stays open longer was never one
_NEVER_NS = 1 << 62


@compiled
def plan_acknowledgements(
    offsets: IntArray,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    delay_ns: IntArray,
    sent: NDArray[np.int32],
    goal: NDArray[np.int32],
    share: NDArray[np.int32],
) -> None:
    """Spread the segments that the peer sends over the acknowledgements up to the next ACK_ALL.

    Args:
        offsets: int64 [F+1]; the columns [N] are sorted by flow, then time.
        delay_ns: Filled with the shortest wait of each flow and side from the peer's data to an
            ACK_ALL, int64 [F, 2].
        sent: Filled with the number of new segments that the peer sent before, int32 [N].
        goal: Filled, for ACK_PART, with `sent` at the next ACK_ALL of the side, int32 [N].
        share: Filled, for ACK_PART, with the acknowledgements left to get there, int32 [N].
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        count = np.zeros(2, dtype=np.int32)
        unread_ns = np.full(2, -1, dtype=np.int64)
        delay_ns[f, :] = _NEVER_NS
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            sent[i] = count[1 - side]
            if ack_class[i] == 1 and unread_ns[side] >= 0:
                delay_ns[f, side] = min(delay_ns[f, side], time_ns[i] - unread_ns[side])
                unread_ns[side] = -1
            if payload_length[i] > 0 or tcp_flags[i] & 3 != 0:
                unread_ns[1 - side] = time_ns[i]
                if segment[i] % 3 == 0:
                    count[side] += 1
        target = np.full(2, -1, dtype=np.int32)
        left = np.zeros(2, dtype=np.int32)
        for i in range(end - 1, first - 1, -1):
            side = 1 if reverse[i] else 0
            if ack_class[i] == 1:
                target[side] = sent[i]
                left[side] = 1
            elif ack_class[i] == 3:
                if target[side] < 0:
                    target[side] = sent[i]
                left[side] += 1
                goal[i] = target[side]
                share[i] = left[side]


@compiled
def plan_holes(
    offsets: IntArray,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    hole: NDArray[np.int64],
) -> None:
    """Give each segment ahead a hole that the retransmissions after it will fill, in `hole` [N].

    The first segment ahead of a burst takes the bytes of all retransmissions within 3 s but the
    last ones, of which each later segment ahead takes one. An acknowledgement of less than all
    that is in order ends the search. Without retransmission the hole is 0.
    """
    sizes = np.zeros(_FILL_LIMIT, dtype=np.int64)
    for f in range(offsets.size - 1):
        if protocol[offsets[f]] != 6:
            continue
        is_burst = np.zeros(2, dtype=np.bool_)
        for i in range(offsets[f], offsets[f + 1]):
            side = 1 if reverse[i] else 0
            if segment[i] == 1:
                is_burst[side] = False
            if segment[i] != 3:
                continue
            count, later = 0, 0
            for j in range(i + 1, offsets[f + 1]):
                is_over = time_ns[j] - time_ns[i] > _FILL_LIMIT_NS or count == _FILL_LIMIT
                if is_over or (later > 0 and count > later and segment[j] == 3):
                    break
                if reverse[j] != reverse[i]:
                    if count > 0 and ack_class[j] > 1:  # the hole is closed: more is in order
                        break
                    continue
                if segment[j] == 3:
                    if count > 0:
                        break
                    later += 1
                elif segment[j] == 1 and tcp_flags[j] & 2 == 0:
                    sizes[count] = np.int64(payload_length[j]) + (tcp_flags[j] & 1)
                    count += 1
            if count > 0:
                last = max(count - 1 - later, 0)
                start = last if is_burst[side] else 0
                for k in range(start, last + 1):
                    hole[i] += sizes[k]
            is_burst[side] = True


@compiled
def plan_resets(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    answered: IntArray,
) -> None:
    """Find the segment that each reset without ACK answers: its row in `answered` [N], or -1.

    A run of resets answers the peer's last segments with ACK one by one, the last the last.

    References:
        RFC 9293 section 3.10.7.1: such a reset takes its number from the acknowledgement.
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        run = 0
        for i in range(end - 1, first - 1, -1):
            answered[i] = -1
            if tcp_flags[i] & 20 != 4:
                run = 0
                continue
            if i + 1 < end and reverse[i + 1] != reverse[i]:
                run = 0
            passed = 0
            for j in range(i - 1, max(first, i - 64) - 1, -1):
                if reverse[j] != reverse[i]:
                    if tcp_flags[j] & 16 != 0:
                        answered[i] = j
                        passed += 1
                        if passed > run:
                            break
                elif tcp_flags[j] & 20 != 4 and answered[i] >= 0:
                    break
            run += 1
