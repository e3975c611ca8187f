# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Numbers out of bytes, and sums of bytes, compiled; and where the decoder keeps a packet's fields.

Offsets are taken as unsigned, which spares the compiled code a check for negative ones. Reads may
pass the end of a frame; buffers have room for that (`buffer.PADDING`).

numba looks for changes in the file of the function that is called from Python alone: whoever
edits one of the `*_numba.py` here removes `__pycache__`, or the old code runs on.

References:
    RFC 1071 (checksum).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

# What is known of a packet, places in `fields`, int64.
(
    LINK_KIND,
    START,
    CAPTURED,
    WIRE,
    AT,
    LIMIT,
    ETHERTYPE,
    MAC_AT,
    VLAN,
    VERSION,
    TOTAL,
    TOS,
    IP_ID,
    IP_FLAGS,
    TTL,
    NEXT_PROTOCOL,
    SOURCE_A,
    SOURCE_B,
    TARGET_A,
    TARGET_B,
    PSEUDO,
    PSEUDO_STOP,
    REROUTED,
    SEGMENT,
    STOP,
    SOURCE_PORT,
    TARGET_PORT,
    PAYLOAD,
    TCP_FLAGS,
    SEQ,
    ACK_NUMBER,
    WINDOW,
    OPTIONS,
    MSS,
    SCALE,
    TS_VAL,
    TS_ECR,
    ICMP_KIND,
    CHECK,
    COVERED,
    UNCHECKED,
    TIME,
    AFTER,
    INTERFACE,
) = range(44)
FIELD_COUNT = 48

LOW_32, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ALL_ONES = np.uint64(0xFFFF)  # sums are right if they are this or a multiple (RFC 1071)
ZERO, ONE, TWO, THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)


@njit(cache=True)
def u8(data: Any, at: int) -> int:
    """Return the byte at `at`."""
    return np.int64(data[np.uint64(at)])


@njit(cache=True)
def be16(data: Any, at: int) -> int:
    """Return a big-endian number of 16 bits."""
    k = np.uint64(at)
    return np.int64((np.uint16(data[k]) << np.uint16(8)) | np.uint16(data[k + ONE]))


@njit(cache=True)
def le32(data: Any, at: int) -> int:
    """Return a little-endian number of 32 bits."""
    k = np.uint64(at)
    return np.int64(
        np.uint32(data[k])
        | (np.uint32(data[k + ONE]) << np.uint32(8))
        | (np.uint32(data[k + TWO]) << np.uint32(16))
        | (np.uint32(data[k + THREE]) << np.uint32(24))
    )


@njit(cache=True)
def be32(data: Any, at: int) -> int:
    """Return a big-endian number of 32 bits."""
    k = np.uint64(at)
    return np.int64(
        np.uint32(data[k + THREE])
        | (np.uint32(data[k + TWO]) << np.uint32(8))
        | (np.uint32(data[k + ONE]) << np.uint32(16))
        | (np.uint32(data[k]) << np.uint32(24))
    )


@njit(cache=True)
def le64(data: Any, at: int) -> Any:
    """Return a little-endian number of 64 bits, unsigned."""
    return np.uint64(le32(data, at)) | (np.uint64(le32(data, at + 4)) << HALF)


@njit(cache=True)
def sum_bytes(words: Any, begin: int, stop: int) -> Any:
    """Sum the bytes begin:stop as 16-bit little-endian words aligned to the buffer.

    Args:
        words: uint64, the buffer.
        begin: First byte.
        stop: Byte after the last one.

    Returns:
        uint64, the sum up to multiples of 65535.
    """
    first = np.uint64(begin) >> THREE
    last = np.uint64(stop) >> THREE
    total = ZERO
    for at in range(first, last):
        word = words[at]
        total += (word & LOW_32) + (word >> HALF)
    word = words[last] & ((ONE << np.uint64((stop & 7) * 8)) - ONE)
    total += (word & LOW_32) + (word >> HALF)
    word = words[first] & ((ONE << np.uint64((begin & 7) * 8)) - ONE)
    return total - ((word & LOW_32) + (word >> HALF))
