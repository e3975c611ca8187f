# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""IP headers, compiled.

References:
    RFC 791, RFC 8200 (with sections 4.2 to 4.6, extension headers), RFC 2675 (jumbograms).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.loads_numba import (
    ALL_ONES,
    AT,
    CHECK,
    HALF,
    IP_FLAGS,
    IP_ID,
    LIMIT,
    NEXT_PROTOCOL,
    PSEUDO,
    PSEUDO_STOP,
    REROUTED,
    SEGMENT,
    SOURCE_A,
    SOURCE_B,
    START,
    STOP,
    TARGET_A,
    TARGET_B,
    TOS,
    TOTAL,
    TTL,
    VERSION,
    WIRE,
    ZERO,
    be16,
    le32,
    le64,
    u8,
)
from netsynth.capture.records import BAD_IPV4, BAD_IPV6, CUT_SHORT, MAX_EXTENSIONS

MAPPED = np.uint64(0xFFFF0000)  # ::ffff:0:0/96 as the eight last bytes, little-endian


@njit(cache=True)
def read_ip4(data: Any, fields: Any) -> int:
    """Read an IPv4 header.

    Args:
        data: uint8, the buffer.
        fields: int64 [FIELD_COUNT]; START, WIRE, AT and LIMIT are read, what IP says is set:
            VERSION, TOTAL, SEGMENT and STOP (where its payload lies), and so on.

    Returns:
        -1, or the kind of a frame without IP (`records`).
    """
    at = fields[AT]
    limit = fields[LIMIT]
    if at + 20 > limit:
        return CUT_SHORT
    header = (u8(data, at) & 15) * 4
    total = be16(data, at + 2)
    if total == 0:  # segmentation offload: more than the field can say
        total = fields[WIRE] - (at - fields[START])
    if u8(data, at) >> 4 != 4 or header < 20 or total < header:
        return BAD_IPV4
    fragment = be16(data, at + 6)
    source = le32(data, at + 12)
    target = le32(data, at + 16)
    fields[VERSION] = 4
    fields[TOTAL] = total
    fields[TOS] = u8(data, at + 1)
    fields[IP_ID] = be16(data, at + 4)
    fields[IP_FLAGS] = ((fragment >> 13) & 3) | (4 if fragment & 0x1FFF != 0 else 0)
    fields[TTL] = u8(data, at + 8)
    fields[NEXT_PROTOCOL] = u8(data, at + 9)
    fields[SOURCE_A] = fields[TARGET_A] = 0
    fields[SOURCE_B] = np.int64(MAPPED | (np.uint64(source) << HALF))
    fields[TARGET_B] = np.int64(MAPPED | (np.uint64(target) << HALF))
    fields[PSEUDO] = at + 12
    fields[PSEUDO_STOP] = at + 20
    fields[REROUTED] = 0
    fields[SEGMENT] = at + header
    fields[STOP] = at + total
    check = 0
    if at + header <= limit:
        header_sum = le32(data, at) + le32(data, at + 4) + le32(data, at + 8) + source + target
        for k in range(at + 20, at + header, 4):
            header_sum += le32(data, k)
        if np.uint64(header_sum) % ALL_ONES != ZERO:
            check = 1
    fields[CHECK] = check
    return -1


@njit(cache=True)
def read_ip6(data: Any, fields: Any) -> int:
    """Read an IPv6 header and its extension headers; as `read_ip4`."""
    at = fields[AT]
    limit = fields[LIMIT]
    if at + 40 > limit:
        return CUT_SHORT
    if u8(data, at) >> 4 != 6:
        return BAD_IPV6
    total = be16(data, at + 4) + 40
    protocol = u8(data, at + 6)
    if total == 40 and protocol != 59:  # jumbogram
        total = max(fields[WIRE] - (at - fields[START]), 40)
    fields[VERSION] = 6
    fields[TOTAL] = total
    fields[TOS] = (be16(data, at) >> 4) & 0xFF
    fields[IP_ID] = 0
    fields[TTL] = u8(data, at + 7)
    fields[SOURCE_A] = np.int64(le64(data, at + 8))
    fields[SOURCE_B] = np.int64(le64(data, at + 16))
    fields[TARGET_A] = np.int64(le64(data, at + 24))
    fields[TARGET_B] = np.int64(le64(data, at + 32))
    fields[PSEUDO] = at + 8
    fields[PSEUDO_STOP] = at + 40
    fields[CHECK] = 0
    fields[STOP] = at + total
    segment = at + 40
    inside = min(limit, at + total)
    flags = 0
    rerouted = 0
    for _ in range(MAX_EXTENSIONS):
        if protocol == 44:
            if segment + 8 > inside:
                break
            fragment = be16(data, segment + 2)
            flags = (fragment & 1) | (4 if fragment & 0xFFF8 != 0 else 0)
            protocol = u8(data, segment)
            segment += 8
            if flags & 4:
                break
        elif protocol == 0 or protocol == 60 or protocol == 43 or protocol == 135 or protocol == 51:
            if segment + 8 > inside:
                break
            if protocol == 43:
                rerouted = 1
            if protocol == 51:
                step = (u8(data, segment + 1) + 2) * 4
            else:
                step = (u8(data, segment + 1) + 1) * 8
            protocol = u8(data, segment)
            segment += step
        else:
            break
    fields[IP_FLAGS] = flags
    fields[NEXT_PROTOCOL] = protocol
    fields[REROUTED] = rerouted
    fields[SEGMENT] = segment
    return -1
