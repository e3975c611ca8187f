"""Make the flags of each TCP flow a legal dialogue, changing as little as possible.

A generator learns dialogues and mostly gets them right; what it gets wrong is mended here, packet
by packet, and counted. Times, directions and the number of packets never change here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

REPAIRS = (
    "syn_with_fin_or_rst",  # FIN and RST dropped from a segment with SYN
    "late_syn",  # SYN dropped: the side has gone past its handshake
    "late_syn_ack",  # SYN dropped from a SYN-ACK: no SYN to answer, or it is long answered
    "syn_ack_added",  # the first answer to a SYN became a SYN-ACK, without its data
    "early_data",  # what came between SYN and SYN-ACK became a repeated SYN
    "ack_added",  # ACK set on a segment of an open connection
    "early_fin",  # FIN put off to the last new data of its side, or until after the peer's
    "early_reset",  # RST dropped from a segment after which its side sent data
    "after_reset",  # a segment after the side's own RST became an RST
    "after_fin",  # new data after FIN became a retransmission; a second FIN, too, or was dropped
    "options_dropped",  # options that the SYNs did not agree on, or that only a SYN may carry
    "options_added",  # timestamps that the SYNs did agree on
    "window_raised",  # a window was raised so that the peer's data fits
    "window_blocked",  # data that no window could hold became a retransmission, or were cut
    "nothing_to_repeat",  # a retransmission or keep-alive before anything was sent, now in order
    "fragment_joined",  # fragment flags dropped
    "opening_completed",  # SYNs took options that their hosts offer elsewhere, see openings.py
    "fin_moved",  # the last FIN came earlier, so that the peer acknowledges it, see closings.py
    "message_filled",  # a datagram or ICMP message too short for what it is was filled up
    "early_moved",  # what a client sent before its SYN-ACK came after it, see handshakes.py
    "syn_ack_inserted",  # a packet more: the SYN-ACK of a client that got data, see additions.py
    "ack_inserted",  # a packet more: the acknowledgement of the last FIN, see additions.py
    "early_keep_alive",  # a keep-alive of a connection that was not idle became an acknowledgement
    "repeat_resized",  # a retransmission took the size of the segment that it repeats
)
_SYN_MIXED, _LATE_SYN, _LATE_SYN_ACK, _SYN_ACK_ADDED, _EARLY, _ACK_ADDED = 0, 1, 2, 3, 4, 5
_LONGEST_ANSWER = 2  # segments that follow the peer's FIN where hosts half-close, as few do
_EARLY_FIN, _EARLY_RESET, _AFTER_RESET, _AFTER_FIN = 6, 7, 8, 9


@compiled
def _find_answer(
    first: int,
    end: int,
    reverse: NDArray[np.bool_],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    repairs: IntArray,
) -> int:
    """Return the row of the SYN-ACK of a flow that begins with a SYN, or -1.

    Where none is, or not the first, the peer's first segment becomes it, if it carries no data, or
    if nothing but SYNs went before it. Otherwise the SYN-ACK counts as missed by the capture.
    """
    if tcp_flags[first] & 22 != 2:
        return -1
    bare = -1
    has_gone_on = False
    for i in range(first + 1, end):
        flags = np.int64(tcp_flags[i])
        if reverse[i] == reverse[first]:
            has_gone_on = has_gone_on or flags & 6 == 0
            if flags & 4 != 0:  # it refuses an acknowledgement of a connection before
                bare = -1
            continue
        if flags & 4 != 0:
            continue
        if flags & 18 == 18:
            if bare < 0:
                return i
            break
        is_data = payload_length[i] > 0 or flags & 1 != 0
        if bare < 0 and (not is_data or not has_gone_on):
            bare = i
        if is_data:
            break
    if bare >= 0:
        tcp_flags[bare] = 18
        payload_length[bare] = 0
        segment[bare] = 0
        ack_class[bare] = 1
        repairs[_SYN_ACK_ADDED] += 1
    return bare


@compiled
def repair_flags(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    repairs: IntArray,
) -> None:
    """Repair flags, payloads and classes of the TCP flows in place; count in `repairs` (REPAIRS).

    A SYN is legal while its side has sent nothing but SYNs (and resets) and the peer nothing but
    an answer; a SYN-ACK while its side has sent nothing else, and the peer has sent a SYN or
    nothing at all, as in a flow whose SYN the capture missed. Flows without SYN, and those of
    which one side only was seen, keep the flags they have.

    Args:
        offsets: int64 [F+1]; the columns [N] are sorted by flow, then time.
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        syn_data = np.zeros(2, dtype=np.uint16)
        last_syn = np.full(2, -1, dtype=np.int64)
        last_data = np.full(2, -1, dtype=np.int64)
        last_new = np.full(2, -1, dtype=np.int64)  # data that repeat nothing
        first_fin = np.full(2, -1, dtype=np.int64)
        last_fin = np.full(2, -1, dtype=np.int64)
        last = np.full(2, -1, dtype=np.int64)
        last_reset = np.full(2, -1, dtype=np.int64)
        answers = np.zeros(2, dtype=np.int64)  # segments of new data after the peer's FIN
        is_fin_acked = np.zeros(2, dtype=np.bool_)
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            if tcp_flags[i] & 2 != 0:
                if last[side] < 0:  # not a late one
                    last_syn[side] = i
                if tcp_flags[i] & 5 != 0:
                    tcp_flags[i] &= 0xFA
                    repairs[_SYN_MIXED] += 1
            elif tcp_flags[i] & 4 == 0:
                if payload_length[i] > 0:
                    last_data[side] = i
                    if segment[i] % 3 == 0:
                        last_new[side] = i
                        if first_fin[1 - side] >= 0:
                            answers[side] += 1
                if tcp_flags[i] & 1 != 0:
                    last_fin[side] = i
                    if first_fin[side] < 0:
                        first_fin[side] = i
                last[side] = i
            else:
                last_reset[side] = i
        for side in range(2):  # close with the last data, not before them
            i, late = last_fin[side], last_new[side]
            if last_syn[side] < i < late and last_reset[side] < 0:
                tcp_flags[late] |= 1
                last_fin[side] = late
                if first_fin[side] == i:
                    tcp_flags[i] &= 0xFE
                    first_fin[side] = late
                    repairs[_EARLY_FIN] += 1
        for side in range(2):  # close after a long answer, not before it
            i, late = first_fin[side], last[side]
            is_early = answers[1 - side] > _LONGEST_ANSWER and late > i > last_syn[side]
            if is_early and last_reset[side] < 0:
                for k in range(i, late):
                    if tcp_flags[k] & 1 != 0 and (1 if reverse[k] else 0) == side:
                        tcp_flags[k] &= 0xFE
                tcp_flags[late] |= 1
                last_fin[side] = late
                repairs[_EARLY_FIN] += 1
        answer = _find_answer(
            first, end, reverse, tcp_flags, payload_length, segment, ack_class, repairs
        )
        state = np.zeros(2, dtype=np.int64)  # 1 SYN, 2 SYN-ACK, 4 data, 8 FIN, 16 RST, 32 others
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            peer = 1 - side
            flags = np.int64(tcp_flags[i])
            is_early = first < i < answer and reverse[i] == reverse[first]
            if is_early and flags & 18 != 2 and (flags & 4 == 0 or last_data[side] > i):
                flags = np.int64(2)
                payload_length[i] = 0
                repairs[_EARLY] += 1
            is_fresh = state[side] & 46 == 0 and (state[side] & 1 != 0 or state[peer] & 47 == 0)
            if flags & 18 == 2 and not is_fresh:
                flags = (flags & ~2) | 16
                segment[i] = 0
                repairs[_LATE_SYN] += 1
            elif flags & 18 == 18:
                is_answer = state[peer] & 1 != 0 and state[side] & 13 == 0
                is_answer &= state[side] & 32 == 0 or state[peer] & 44 == 0
                is_first = state[peer] == 0 and state[side] & 45 == 0
                if not is_answer and not is_first:
                    flags &= ~2
                    segment[i] = 0
                    repairs[_LATE_SYN_ACK] += 1
            if flags & 2 == 0:
                if flags & 4 != 0 and last_data[side] > i and last_syn[side] < i:
                    flags = (flags & ~4) | 16
                    repairs[_EARLY_RESET] += 1
                is_open = (state[0] | state[1]) & 3 == 3
                if is_open and flags & 20 == 0:
                    flags |= 16
                    repairs[_ACK_ADDED] += 1
                if state[side] & 16 != 0 and flags & 4 == 0:
                    flags = (flags & ~9) | 4
                    segment[i] = 0
                    repairs[_AFTER_RESET] += 1
                is_fin_early = last_new[side] > i or last_fin[side] > last_new[peer] > i
                if flags & 5 == 1 and is_fin_early and last_syn[side] < i:
                    flags &= ~1
                    repairs[_EARLY_FIN] += 1
                is_data = payload_length[i] > 0 or flags & 1 != 0
                if flags & 4 != 0:
                    state[side] |= 16
                else:
                    state[side] |= 4 if is_data else 32
                is_repeat = segment[i] == 1 or (
                    segment[i] == 2 and payload_length[i] <= 1 and flags & 1 == 0
                )
                if state[side] & 8 != 0 and is_data and not is_repeat:
                    if is_fin_acked[side] and payload_length[i] == 0:
                        flags &= ~1
                        segment[i] = 0
                    else:
                        segment[i] = 1
                    repairs[_AFTER_FIN] += 1
                if flags & 1 != 0:
                    state[side] |= 8
            elif flags & 16 != 0:
                segment[i] = 1 if state[side] & 2 != 0 else 0
                ack_class[i] = 2 if state[side] & 2 != 0 else 1  # repeats what it said
                state[side] = (state[side] & ~16) | 2
            else:
                segment[i] = 1 if state[side] & 1 != 0 else 0
                state[side] = 1  # after a reset, a new start
            if flags & 2 != 0:  # a repeated SYN has no more data than the first
                if segment[i] == 0:
                    syn_data[side] = payload_length[i]
                payload_length[i] = min(payload_length[i], syn_data[side])
            if flags & 16 == 0:
                ack_class[i] = 0
            elif ack_class[i] == 0:
                ack_class[i] = 1
            is_fin_acked[peer] |= state[peer] & 8 != 0 and ack_class[i] == 1
            tcp_flags[i] = flags
