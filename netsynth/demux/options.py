"""Let each TCP flow keep to the options that its SYNs agree on."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray
from netsynth.tables import OPTION_SACK, PADDING_BITS, SYN, TCP, PacketTable

_OPTIONS_DROPPED, _OPTIONS_ADDED = 10, 11  # rows of dialogue.REPAIRS


class LastOptions(NamedTuple):
    """What stands behind the options that a packet's columns tell: SACK blocks, or padding.

    Attributes:
        rows: int64 [K], packets without payload.
        lengths: int64 [K], bytes of each, whole words.
        data: uint8 [lengths.sum()], the bytes, joined.
    """

    rows: IntArray
    lengths: IntArray
    data: NDArray[np.uint8]


def find_padding(packets: PacketTable) -> LastOptions:
    """Take the words of padding out of the options of SYNs, and mark them with OPTION_SACK.

    References:
        RFC 9293 section 3.1: the end of the option list, and zeros up to the header's end.
    """
    padded = (packets.option_bits >> PADDING_BITS > 0) & (packets.protocol == TCP)
    padded &= packets.tcp_flags & SYN > 0
    rows: IntArray = np.flatnonzero(padded)
    lengths: IntArray = 4 * (packets.option_bits[rows] >> PADDING_BITS).astype(np.int64)
    packets.option_bits[:] &= np.uint8((1 << PADDING_BITS) - 1)
    packets.option_bits[rows] |= OPTION_SACK
    return LastOptions(rows, lengths, np.zeros(lengths.sum(), dtype=np.uint8))


@compiled
def _agree_on_stamps(
    first: int,
    end: int,
    is_completed: bool,
    tcp_flags: NDArray[np.uint8],
    option_bits: NDArray[np.uint8],
    mss: NDArray[np.uint16],
    window_scale: NDArray[np.uint8],
    repairs: IntArray,
) -> tuple[bool, int, int]:
    """Say if a flow has timestamps, and the rows of its SYN and SYN-ACK, -1 where absent.

    Where its SYNs and most of its later segments disagree, the SYNs follow: one that offers less
    than the other takes the other's options.
    """
    offer, answer = -1, -1
    stamped, plain = 0, 0
    for i in range(first, end):
        if tcp_flags[i] & 2 == 0:
            if tcp_flags[i] & 4 == 0:
                if option_bits[i] & 8 != 0:
                    stamped += 1
                else:
                    plain += 1
        elif tcp_flags[i] & 16 == 0:
            offer = i if offer < 0 else offer
        else:
            answer = i if answer < 0 else answer
    if offer < 0 and answer < 0:
        return stamped > plain, offer, answer
    has_stamps = True
    for i in (offer, answer):
        has_stamps = has_stamps and (i < 0 or option_bits[i] & 8 != 0)
    if has_stamps == (stamped > plain) or stamped == plain or is_completed:
        return has_stamps, offer, answer
    for i in (offer, answer):
        other = answer if i == offer else offer
        if i < 0:
            continue
        if not stamped > plain:
            option_bits[i] &= 7
            repairs[_OPTIONS_DROPPED] += 1
        elif option_bits[i] & 8 == 0:
            option_bits[i] = option_bits[i] & 15 | 8
            if other >= 0:
                option_bits[i] |= option_bits[other] & 15
                mss[i] = mss[other] if mss[i] == 0 else mss[i]
                window_scale[i] = window_scale[other] if window_scale[i] == 255 else window_scale[i]
            repairs[_OPTIONS_ADDED] += 1
    return stamped > plain, offer, answer


@compiled
def _agree_on_scale(
    first: int,
    end: int,
    offer: int,
    answer: int,
    reverse: NDArray[np.bool_],
    tcp_flags: NDArray[np.uint8],
    window: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    window_scale: NDArray[np.uint8],
) -> int:
    """Let the SYN that offers no window scale take the other's, if the windows after are scaled.

    They are where most are below a sixteenth of the one in their side's SYN.

    Returns:
        1 if a SYN was changed, else 0.
    """
    if (option_bits[offer] & 2 != 0) == (option_bits[answer] & 2 != 0):
        return 0
    scaled = 0
    for i in range(first, end):
        if tcp_flags[i] & 6 == 0:
            syn = offer if reverse[i] == reverse[offer] else answer
            scaled += 1 if np.int64(window[i]) * 16 < np.int64(window[syn]) else -1
    if scaled <= 0:
        return 0
    source, target = (offer, answer) if option_bits[offer] & 2 != 0 else (answer, offer)
    option_bits[target] = option_bits[target] & 15 | 2
    window_scale[target] = window_scale[source]
    return 1


@compiled
def negotiate_options(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    ip_version: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    window: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    mss: NDArray[np.uint16],
    window_scale: NDArray[np.uint8],
    completed: NDArray[np.bool_],
    repairs: IntArray,
) -> None:
    """Let each TCP flow keep to the options its SYNs agreed on, in place.

    A SYN-ACK offers window scale, SACK and timestamps only where the SYN did; a repeated SYN
    repeats the offer. After that timestamps are on every segment or on none (a reset may go
    without), and only SYNs carry the other three; most segments decide. SACK blocks stay a
    wish until `sack` says who has which. A SYN whose options stay what they were keeps its
    padding.

    Args:
        completed: Flows whose SYNs were completed, bool [F]: these decide on timestamps.

    References:
        RFC 7323 sections 2.2 and 3.2; RFC 2018 section 2; RFC 9293 section 3.7.1.
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        has_stamps, offer, answer = _agree_on_stamps(
            first, end, completed[f], tcp_flags, option_bits, mss, window_scale, repairs
        )
        if offer >= 0 and answer >= 0:
            repairs[_OPTIONS_ADDED] += _agree_on_scale(
                first, end, offer, answer, reverse, tcp_flags, window, option_bits, window_scale
            )
        for i in range(first, end):
            flags = np.int64(tcp_flags[i])
            before = np.int64(option_bits[i])
            bits: Any = before & 15
            padding: Any = np.int64(0)
            if flags & 2 == 0:
                bits = 8 if has_stamps and (flags & 4 == 0 or bits & 8 != 0) else 0
                padding = before & 16
            else:
                original = answer if flags & 16 != 0 else offer
                offered = np.int64(option_bits[original])
                bits = offered & 15
                mss[i] = mss[original]
                window_scale[i] = window_scale[original]
                window[i] = window[original]
                if flags & 16 != 0 and offer >= 0:
                    bits &= np.int64(option_bits[offer]) | 1
                if window_scale[i] == 255:
                    bits &= ~2
                if bits & 1 != 0 and mss[i] == 0:
                    mss[i] = 1460 if ip_version[i] == 4 else 1440
                if bits == offered & 15 and payload_length[i] == 0:
                    padding = offered & 0xE0
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
            option_bits[i] = bits | padding
