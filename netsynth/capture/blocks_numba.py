# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Blocks of pcapng files, compiled: where a packet is and when it was seen.

References:
    IETF draft-ietf-opsawg-pcapng, sections 4.3 (enhanced), 4.4 (simple), appendix A (obsolete).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.loads_numba import (
    AFTER,
    CAPTURED,
    HALF,
    INTERFACE,
    LINK_KIND,
    ONE,
    START,
    TIME,
    WIRE,
    be16,
    be32,
    le32,
)
from netsynth.capture.records import (
    BAD_BLOCK,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_TIME,
    BAD_WIRE,
    BLOCK,
    LINK,
    MAX_BLOCK,
    MAX_CAPTURED,
    MAX_WIRE,
    MORE,
    SKIP,
    SNAP,
    TIME_DIV,
    TIME_MAX_UNITS,
    TIME_MUL,
    TIME_OFFSET_NS,
    TIME_SHIFT,
)

PACKET, PASSED = 0, -1  # what a block is, if it is none of the statuses of `records`
SECTION, INTERFACE_BLOCK, OLD_PACKET, SIMPLE_PACKET, ENHANCED_PACKET = 0x0A0D0D0A, 1, 2, 3, 6


@njit(cache=True)
def read_block(
    data: Any,
    fields: Any,
    interfaces: Any,
    interface_count: int,
    pos: int,
    end: int,
    swap: bool,
    last_ns: int,
) -> int:
    """Read the block at `pos`, twelve bytes of which are there.

    Args:
        data: uint8, the buffer.
        fields: int64 [FIELD_COUNT]; AFTER is set, and of a packet START, CAPTURED, WIRE, TIME,
            LINK_KIND and INTERFACE (-1 where the block tells no time).
        interfaces: int64 [I, INTERFACE_COLUMNS].
        interface_count: Interfaces of the section.
        pos: First byte of the block.
        end: Byte after the last one there is.
        swap: Whether the section is big-endian.
        last_ns: Time of a packet that has none.

    Returns:
        PACKET, PASSED (no packet), or a status of `records`.
    """
    kind = be32(data, pos) if swap else le32(data, pos)
    if kind in (SECTION, INTERFACE_BLOCK):
        return BLOCK
    length = be32(data, pos + 4) if swap else le32(data, pos + 4)
    if length < 12 or length & 3 != 0 or length > MAX_WIRE:
        return BAD_BLOCK
    is_packet = kind in (ENHANCED_PACKET, SIMPLE_PACKET, OLD_PACKET)
    least = 16 if kind == SIMPLE_PACKET else 32
    if is_packet and (length > MAX_BLOCK or length < least):
        return BAD_BLOCK
    after = pos + length
    if after > end:
        return MORE if is_packet else SKIP
    if (be32(data, after - 4) if swap else le32(data, after - 4)) != length:
        return BAD_BLOCK
    fields[AFTER] = after
    if not is_packet:
        return PASSED
    interface = 0
    high = 0
    low = 0
    if kind == SIMPLE_PACKET:  # no time, first interface
        wire = be32(data, pos + 8) if swap else le32(data, pos + 8)
        captured = min(wire, length - 16)
        if interface_count > 0 and interfaces[0, SNAP] > 0:
            captured = min(captured, interfaces[0, SNAP])
        fields[START] = pos + 12
    else:
        if swap:
            interface = be32(data, pos + 8) if kind == ENHANCED_PACKET else be16(data, pos + 8)
            high = be32(data, pos + 12)
            low = be32(data, pos + 16)
            captured = be32(data, pos + 20)
            wire = be32(data, pos + 24)
        else:
            interface = le32(data, pos + 8)
            if kind == OLD_PACKET:
                interface &= 0xFFFF
            high = le32(data, pos + 12)
            low = le32(data, pos + 16)
            captured = le32(data, pos + 20)
            wire = le32(data, pos + 24)
        if captured > length - 32:
            return BAD_CAPTURED
        fields[START] = pos + 28
    if captured > MAX_CAPTURED:
        return BAD_CAPTURED
    if wire > MAX_WIRE:
        return BAD_WIRE
    if interface >= interface_count:
        return BAD_INTERFACE
    fields[CAPTURED] = captured
    fields[WIRE] = wire
    fields[LINK_KIND] = interfaces[interface, LINK]
    fields[INTERFACE] = interface
    if kind == SIMPLE_PACKET:
        fields[INTERFACE] = -1
        fields[TIME] = max(last_ns, 0)
        return PACKET
    units = (np.uint64(high) << HALF) | np.uint64(low)
    if units > np.uint64(interfaces[interface, TIME_MAX_UNITS]):
        return BAD_TIME
    if interfaces[interface, TIME_MUL] > 0:
        time = np.int64(units) * interfaces[interface, TIME_MUL]
    elif interfaces[interface, TIME_DIV] > 0:
        time = np.int64(units) // interfaces[interface, TIME_DIV]
    else:
        shift = np.uint64(interfaces[interface, TIME_SHIFT])
        rest = units & ((ONE << shift) - ONE)
        time = np.int64(units >> shift) * 1_000_000_000
        if shift > np.uint64(34):
            rest >>= shift - np.uint64(34)
            shift = np.uint64(34)
        time += np.int64((rest * np.uint64(1_000_000_000)) >> shift)
    fields[TIME] = time + interfaces[interface, TIME_OFFSET_NS]
    return PACKET
