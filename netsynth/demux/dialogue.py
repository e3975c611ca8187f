"""Make the flags of each TCP flow a legal dialogue, changing as little as possible.

A generator learns dialogues and mostly gets them right; what it gets wrong is mended here, packet
by packet, and counted. Times, directions and the number of packets never change.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.jit import compiled
from netsynth.numbers import IntArray

REPAIRS = (
    "syn_with_fin_or_rst",  # FIN and RST dropped from a segment with SYN
    "late_syn",  # SYN dropped: the side has gone past its handshake
    "late_syn_ack",  # SYN dropped from a SYN-ACK: no SYN to answer, or it is long answered
    "syn_ack_added",  # the first answer to a SYN became a SYN-ACK
    "early_data",  # what came between SYN and SYN-ACK became a repeated SYN
    "ack_added",  # ACK set on a segment of an open connection
    "early_reset",  # RST dropped from a segment after which its side sent data
    "after_reset",  # a segment after the side's own RST became an RST
    "after_fin",  # new data or a second FIN after FIN became a retransmission
    "options_dropped",  # options that the SYNs did not agree on, or that only a SYN may carry
    "options_added",  # timestamps that the SYNs did agree on
    "window_raised",  # a window was raised so that the peer's data fits
    "window_blocked",  # data that no window could hold became a retransmission, or were cut
    "nothing_to_repeat",  # a retransmission or keep-alive before anything was sent, now in order
    "fragment_joined",  # fragment flags dropped
)
_SYN_MIXED, _LATE_SYN, _LATE_SYN_ACK, _SYN_ACK_ADDED, _EARLY, _ACK_ADDED = 0, 1, 2, 3, 4, 5
_EARLY_RESET, _AFTER_RESET, _AFTER_FIN, _OPTIONS_DROPPED, _OPTIONS_ADDED = 6, 7, 8, 9, 10


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
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            if tcp_flags[i] & 2 != 0:
                last_syn[side] = i
                if tcp_flags[i] & 5 != 0:
                    tcp_flags[i] &= 0xFA
                    repairs[_SYN_MIXED] += 1
            elif payload_length[i] > 0 and tcp_flags[i] & 4 == 0:
                last_data[side] = i
        answer: Any = np.int64(-1)  # the SYN-ACK of a flow that begins with a SYN
        if tcp_flags[first] & 22 == 2:
            bare: Any = np.int64(-1)  # the first other answer, where it could have been one
            for i in range(first + 1, end):
                flags = np.int64(tcp_flags[i])
                if reverse[i] == reverse[first] or flags & 4 != 0:
                    continue
                if flags & 18 == 18:
                    answer = i
                    break
                if payload_length[i] > 0 or flags & 1 != 0:
                    break
                if bare < 0:
                    bare = i
            if answer < 0 and bare >= 0:
                answer = bare
                tcp_flags[bare] = 18
                segment[bare] = 0
                repairs[_SYN_ACK_ADDED] += 1
        state = np.zeros(2, dtype=np.int64)  # 1 SYN, 2 SYN-ACK, 4 data, 8 FIN, 16 RST, 32 others
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            peer = 1 - side
            flags = np.int64(tcp_flags[i])
            is_early = first < i < answer and reverse[i] == reverse[first]
            if is_early and flags & 4 == 0 and flags & 18 != 2:
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
                is_data = payload_length[i] > 0 or flags & 1 != 0
                if flags & 4 != 0:
                    state[side] |= 16
                else:
                    state[side] |= 4 if is_data else 32
                is_repeat = segment[i] == 1 or (
                    segment[i] == 2 and payload_length[i] <= 1 and flags & 1 == 0
                )
                if state[side] & 8 != 0 and is_data and not is_repeat:
                    segment[i] = 1
                    repairs[_AFTER_FIN] += 1
                if flags & 1 != 0:
                    state[side] |= 8
            elif flags & 16 != 0:
                segment[i] = 1 if state[side] & 2 != 0 else 0
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
            tcp_flags[i] = flags


@compiled
def negotiate_options(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    ip_version: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    option_bits: NDArray[np.uint8],
    mss: NDArray[np.uint16],
    window_scale: NDArray[np.uint8],
    repairs: IntArray,
) -> None:
    """Let each TCP flow keep to the options its SYNs agreed on, in place.

    A SYN-ACK offers window scale, SACK and timestamps only where the SYN did; a repeated SYN
    repeats the offer. After that timestamps are on every segment or on none (a reset may go
    without), and only SYNs carry the other three. A flow without both SYNs follows its first
    segment. SACK blocks are dropped: what they would name is not generated.

    References:
        RFC 7323 sections 2.2 and 3.2; RFC 2018 section 2; RFC 9293 section 3.7.1.
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        offer: Any = np.int64(-1)
        answer: Any = np.int64(-1)
        later: Any = np.int64(-1)  # first segment that is neither SYN nor RST
        for i in range(first, end):
            flags = np.int64(tcp_flags[i])
            before = np.int64(option_bits[i])
            bits: Any = before & 15
            if flags & 2 == 0:
                if later < 0 and flags & 4 == 0:
                    later = i
                has_stamps = False
                if answer >= 0:
                    has_stamps = option_bits[answer] & 8 != 0
                elif later >= 0:
                    has_stamps = option_bits[later] & 8 != 0
                    if offer >= 0 and option_bits[offer] & 8 == 0:
                        has_stamps = False
                if flags & 4 != 0:
                    has_stamps = has_stamps and bits & 8 != 0
                bits = 8 if has_stamps else 0
            else:
                original = answer if flags & 16 != 0 else offer
                if original >= 0:
                    bits = np.int64(option_bits[original])
                    mss[i] = mss[original]
                    window_scale[i] = window_scale[original]
                elif flags & 16 != 0:
                    if offer >= 0:
                        bits &= np.int64(option_bits[offer]) | 1
                    answer = i
                else:
                    offer = i
                if window_scale[i] == 255:
                    bits &= ~2
                if bits & 1 != 0 and mss[i] == 0:
                    mss[i] = 1460 if ip_version[i] == 4 else 1440
            if bits & 1 == 0:
                mss[i] = 0
            if bits & 2 == 0:
                window_scale[i] = 255
            else:
                window_scale[i] = min(window_scale[i], 14)
            if before & ~bits & 15 != 0:
                repairs[_OPTIONS_DROPPED] += 1
            elif bits & ~before != 0:
                repairs[_OPTIONS_ADDED] += 1
            option_bits[i] = bits
