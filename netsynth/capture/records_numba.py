# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Where the records of a batch are and when they were seen, compiled.

References:
    IETF draft-ietf-opsawg-pcap (record header).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.blocks_numba import PACKET, PASSED, read_block
from netsynth.capture.loads_numba import (
    AFTER,
    CAPTURED,
    INTERFACE,
    LINK_KIND,
    START,
    TIME,
    WIRE,
)
from netsynth.capture.places_numba import get32, get32_le
from netsynth.capture.records import (
    BAD_CAPTURED,
    BAD_LINK,
    BAD_TIME,
    BAD_WIRE,
    END,
    FIRST_NS,
    FORMAT,
    FRAMES,
    FULL,
    HEADER_SIZE,
    INTERFACE_COUNT,
    LAST_NS,
    LINK,
    MAX_CAPTURED,
    MAX_TIME_STEP_NS,
    MAX_WIRE,
    MORE,
    OUT_OF_ORDER,
    PCAP,
    POS,
    RECORD,
    REFERENCE_NS,
    REFUSED,
    SWAP,
    TIME_MUL,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)


@njit(cache=True)
def find_records(
    data: Any,
    state: Any,
    interfaces: Any,
    fields: Any,
    starts: Any,
    limits: Any,
    links: Any,
    times_ns: Any,
    wires: Any,
    most: int,
) -> Any:
    """Find up to `most` records from `state[POS]` on, and count them in `state`.

    Args:
        data: uint8, the buffer.
        state: int64 [STATE_SIZE], see `records`; read and updated.
        interfaces: int64 [I, INTERFACE_COLUMNS].
        fields: int64 [FIELD_COUNT], overwritten.
        starts: uint32 [most], set: first byte of each frame.
        limits: uint32 [most], set: byte after the last one that is there.
        links: uint8 [most], set: how it begins (`records`).
        times_ns: int64 [most], set.
        wires: uint32 [most], set.
        most: Records wanted.

    Returns:
        How many there are, and FULL or why there are no more.
    """
    pos = state[POS]
    end = state[END]
    is_pcap = state[FORMAT] == PCAP
    swap = state[SWAP] != 0
    header_size = state[HEADER_SIZE]
    interface_count = state[INTERFACE_COUNT]
    reference = state[REFERENCE_NS]
    truncated = 0
    out_of_order = 0
    untimed = 0
    first_ns = state[FIRST_NS]
    last_ns = state[LAST_NS]
    wire_bytes = 0
    link = interfaces[0, LINK]
    time_mul = interfaces[0, TIME_MUL]
    status = FULL
    count = 0
    while count < most:
        if pos + header_size > end:
            status = MORE
            break
        timed = True
        if is_pcap:
            if swap:
                time = get32(data, pos) * 1_000_000_000 + get32(data, pos + 4) * time_mul
                captured = get32(data, pos + 8)
                wire = get32(data, pos + 12)
            else:
                time = get32_le(data, pos) * 1_000_000_000 + get32_le(data, pos + 4) * time_mul
                captured = get32_le(data, pos + 8)
                wire = get32_le(data, pos + 12)
            if captured > MAX_CAPTURED:
                status = BAD_CAPTURED
                break
            if wire > MAX_WIRE:
                status = BAD_WIRE
                break
            start = pos + header_size
            after = start + captured
            if after > end:
                status = MORE
                break
        else:
            found = read_block(data, fields, interfaces, interface_count, pos, end, swap, last_ns)
            if found == PASSED:
                pos = fields[AFTER]
                continue
            if found != PACKET:
                status = found
                break
            start = fields[START]
            captured = fields[CAPTURED]
            wire = fields[WIRE]
            time = fields[TIME]
            link = fields[LINK_KIND]
            after = fields[AFTER]
            timed = fields[INTERFACE] >= 0
        if link == REFUSED:
            status = BAD_LINK
            break
        if timed:
            if time < 0 or (reference >= 0 and abs(time - reference) > MAX_TIME_STEP_NS):
                status = BAD_TIME
                break
            if reference < 0:
                reference = time
        else:
            untimed += 1
        pos = after
        wire = max(wire, captured)
        wire_bytes += wire
        truncated += captured < wire
        out_of_order += time < last_ns
        last_ns = max(last_ns, time)
        first_ns = min(first_ns, time)
        k = np.uint64(count)
        starts[k] = start
        limits[k] = start + captured
        links[k] = link
        times_ns[k] = time
        wires[k] = wire
        count += 1
    state[REFERENCE_NS] = reference
    state[POS] = pos
    state[UNTIMED] += untimed
    state[TRUNCATED] += truncated
    state[OUT_OF_ORDER] += out_of_order
    state[FIRST_NS] = first_ns
    state[LAST_NS] = last_ns
    state[WIRE_BYTES] += wire_bytes
    state[RECORD] += count
    state[FRAMES] += count
    return count, status
