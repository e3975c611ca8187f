# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Transport headers, compiled.

References:
    RFC 9293, 768, 792, 4443, 9260 (headers), 1071 (checksum), 7323, 2018 (TCP options), 8200
    section 8.1 (checksums over IPv6).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.loads_numba import (
    ACK_NUMBER,
    ALL_ONES,
    CHECK,
    COVERED,
    ICMP_KIND,
    IP_FLAGS,
    LIMIT,
    MSS,
    NEXT_PROTOCOL,
    OPTIONS,
    PAYLOAD,
    PSEUDO,
    PSEUDO_STOP,
    REROUTED,
    SCALE,
    SEGMENT,
    SEQ,
    SOURCE_PORT,
    STOP,
    TARGET_PORT,
    TCP_FLAGS,
    TS_ECR,
    TS_VAL,
    UNCHECKED,
    VERSION,
    WINDOW,
    ZERO,
    be16,
    be32,
    le32,
    sum_bytes,
    u8,
)


@njit(cache=True)
def read_transport(data: Any, words: Any, fields: Any) -> None:
    """Read the header behind IP, as much as is there, and check its checksum.

    Args:
        data: uint8, the buffer.
        words: The same memory, uint64.
        fields: int64 [FIELD_COUNT]; what IP says is read, SOURCE_PORT and so on are set.
    """
    claimed = max(fields[STOP] - fields[SEGMENT], 0)
    present = max(min(fields[LIMIT], fields[STOP]) - fields[SEGMENT], 0)
    protocol = fields[NEXT_PROTOCOL]
    fields[SOURCE_PORT : ICMP_KIND + 1] = 0
    fields[SCALE] = 255
    fields[PAYLOAD] = claimed
    fields[COVERED] = 0
    fields[UNCHECKED] = 1
    at = fields[SEGMENT]
    if fields[IP_FLAGS] & 4 == 0:
        if protocol == 6 or protocol == 17 or protocol == 132:
            if present >= 4:
                fields[SOURCE_PORT] = be16(data, at)
                fields[TARGET_PORT] = be16(data, at + 2)
            if protocol == 6:
                _read_tcp(data, fields, claimed, present)
            elif protocol == 17:
                _read_udp(data, fields, claimed, present)
        elif protocol == 1 or protocol == 58:
            fields[PAYLOAD] = max(claimed - 8, 0)
            if present >= 2:
                fields[ICMP_KIND] = be16(data, at)
            if present >= 8:
                fields[SEQ] = be32(data, at + 4)
            if claimed >= 8:
                fields[COVERED] = claimed
    covered = fields[COVERED]
    is_whole = fields[STOP] <= fields[LIMIT] and fields[IP_FLAGS] & 5 == 0
    if 0 < covered <= 65535 and is_whole and fields[REROUTED] == 0:
        if _sum_segment(words, data, fields) % ALL_ONES != ZERO:
            fields[CHECK] |= 2
    elif fields[UNCHECKED]:
        fields[CHECK] |= 4
    fields[PAYLOAD] = min(fields[PAYLOAD], 65535)


@njit(cache=True)
def _read_tcp(data: Any, fields: Any, claimed: int, present: int) -> None:
    at = fields[SEGMENT]
    header = 20
    if present >= 8:
        fields[SEQ] = be32(data, at + 4)
    if present >= 12:
        fields[ACK_NUMBER] = be32(data, at + 8)
    if present >= 14:
        header = max((u8(data, at + 12) >> 4) * 4, 20)
        fields[TCP_FLAGS] = u8(data, at + 13)
    if present >= 16:
        fields[WINDOW] = be16(data, at + 14)
    fields[PAYLOAD] = max(claimed - header, 0)
    if claimed >= 20:
        fields[COVERED] = claimed
    read_options(data, fields, at + 20, min(at + header, at + present))


@njit(cache=True)
def read_options(data: Any, fields: Any, k: int, end: int) -> None:
    """Read the TCP options from byte `k` to `end`, into OPTIONS, MSS, SCALE, TS_VAL and TS_ECR."""
    fields[OPTIONS] = fields[MSS] = fields[TS_VAL] = fields[TS_ECR] = 0
    fields[SCALE] = 255
    while k < end:
        kind = u8(data, k)
        if kind == 1:
            k += 1
            continue
        if kind == 0 or k + 1 >= end:
            break
        size = u8(data, k + 1)
        if size < 2 or k + size > end:
            break
        if kind == 8 and size == 10:
            fields[OPTIONS] |= 8
            fields[TS_VAL] = be32(data, k + 2)
            fields[TS_ECR] = be32(data, k + 6)
        elif kind == 2 and size == 4:
            fields[OPTIONS] |= 1
            fields[MSS] = be16(data, k + 2)
        elif kind == 3 and size == 3:
            fields[OPTIONS] |= 2
            fields[SCALE] = u8(data, k + 2)
        elif kind == 4 and size == 2:
            fields[OPTIONS] |= 4
        elif kind == 5:
            fields[OPTIONS] |= 16
        k += size


@njit(cache=True)
def _read_udp(data: Any, fields: Any, claimed: int, present: int) -> None:
    at = fields[SEGMENT]
    fields[PAYLOAD] = max(claimed - 8, 0)
    if present < 8:
        return
    size = be16(data, at + 4)
    if size < 8 or size > claimed:
        return
    fields[PAYLOAD] = size - 8
    if be16(data, at + 6) != 0:
        fields[COVERED] = size
        return
    fields[UNCHECKED] = 0  # sent without one
    if fields[VERSION] == 6:  # RFC 8200 section 8.1 demands one
        fields[CHECK] |= 2


@njit(cache=True)
def _sum_segment(words: Any, data: Any, fields: Any) -> Any:
    """Sum COVERED bytes of the segment and its pseudo-header, up to multiples of 65535."""
    at = fields[SEGMENT]
    covered = fields[COVERED]
    protocol = fields[NEXT_PROTOCOL]
    stop = at + covered
    if protocol == 1:  # no pseudo-header
        return sum_bytes(words, at, stop)
    if at & 1:
        total = np.uint64(covered + protocol)
    else:
        total = np.uint64((covered >> 8) + ((covered & 255) << 8) + (protocol << 8))
    if fields[PSEUDO_STOP] == at:
        return total + sum_bytes(words, fields[PSEUDO], stop)
    for k in range(fields[PSEUDO], fields[PSEUDO_STOP], 4):  # options or headers lie between
        total += np.uint64(le32(data, k)) << np.uint64((k & 1) * 8)
    return total + sum_bytes(words, at, stop)
