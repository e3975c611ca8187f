"""Numbers of what has no connection: ICMP echoes, other ICMP, and IP identification."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

_ANSWER_LIMIT_NS = 1_000_000_000  # an older request counts as lost
_PENDING_LIMIT = 64  # requests waiting for an answer


@compiled
def number_echoes(
    offsets: IntArray,
    time_ns: IntArray,
    protocol: NDArray[np.uint8],
    ip_flags: NDArray[np.uint8],
    icmp: NDArray[np.uint16],
    payload_length: NDArray[np.uint16],
    first_identifier: int,
    seq: NDArray[np.uint32],
) -> None:
    """Fill `seq` of ICMP and ICMPv6: identifier and sequence number of echoes, 0 of the rest.

    The identifier is the flow's own. Requests count from 1. A reply answers the oldest request
    of its length that is unanswered and at most a second old, else the last request.

    References:
        RFC 792 pages 14-15; RFC 4443 sections 3.2 (MTU), 4.1 and 4.2; RFC 4861 section 4.4.
    """
    pending = np.zeros(_PENDING_LIMIT, dtype=np.int64)  # rows of unanswered requests
    for f in range(offsets.size - 1):
        first = offsets[f]
        number = protocol[first]
        if (number != 1 and number != 58) or ip_flags[first] & 4 != 0:
            continue
        request = 8 if number == 1 else 128
        identifier = ((first_identifier + f) & 0xFFFF) << 16
        pending_count = 0
        sent = np.int64(0)
        for i in range(first, offsets[f + 1]):
            message = icmp[i] >> 8
            if message == request:
                sent += 1
                seq[i] = identifier | (sent & 0xFFFF)
                if pending_count == _PENDING_LIMIT:
                    pending[:-1] = pending[1:].copy()
                    pending_count -= 1
                pending[pending_count] = i
                pending_count += 1
            elif message == (0 if number == 1 else 129):
                seq[i] = identifier | (sent & 0xFFFF)
                for k in range(pending_count):
                    j = pending[k]
                    is_recent = time_ns[i] - time_ns[j] <= _ANSWER_LIMIT_NS
                    if is_recent and payload_length[j] == payload_length[i]:
                        seq[i] = seq[j]
                        pending_count -= 1
                        for m in range(k, pending_count):
                            pending[m] = pending[m + 1]
                        break
            elif number == 58 and message == 2:
                seq[i] = 1280  # MTU of a packet too big
            elif number == 58 and message == 136:
                seq[i] = 0x60000000  # neighbour advertisement: solicited, override
            elif number == 58 and message == 134:
                seq[i] = 0x40000708  # router advertisement: hop limit 64, lifetime 1,800 s
            elif number == 58 and message == 143:
                seq[i] = payload_length[i] // 20  # records of a multicast listener report


@compiled
def number_packets(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    ip_version: NDArray[np.uint8],
    ip_flags: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    initial: NDArray[np.uint16],
    ip_id: NDArray[np.uint16],
) -> None:
    """Fill the IPv4 identification: a counter for each side of each flow, from a random start.

    SYN-ACKs and resets that must not be fragmented have 0, as Linux sends what belongs to no
    socket yet; IPv6 has none.

    Args:
        initial: First identification of each flow and side, uint16 [F, 2 or more].

    References:
        RFC 6864 section 4.1.
    """
    for f in range(offsets.size - 1):
        forward, backward = np.int64(initial[f, 0]), np.int64(initial[f, 1])
        for i in range(offsets[f], offsets[f + 1]):
            if ip_version[i] != 4:
                continue
            is_bare = tcp_flags[i] & 18 == 18 or tcp_flags[i] & 4 != 0
            if is_bare and ip_flags[i] & 2 != 0:
                continue
            if reverse[i]:
                ip_id[i] = backward & 0xFFFF
                backward += 1
            else:
                ip_id[i] = forward & 0xFFFF
                forward += 1
