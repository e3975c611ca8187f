# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Rows of header words and payloads to records, compiled.

The filler of a payload lies in a fixed pool whose prefix sums are known, so that its checksum
costs the same whatever its length. Headers are stored as whole rows, fillers in pieces of 64
bytes: what is too long lies where the payload, or the next record, is stored afterwards.

References:
    RFC 1071 (checksum), 8200 (IPv6 and its fragment header), 4960 (SCTP and its CRC32c).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.batch_numba import seldom
from netsynth.capture.encode_sheet_numba import (
    BATCH,
    CAPTURED,
    FRONT,
    GROUP,
    HEADS,
    LABELS,
    NETWORKS,
    OFFSETS,
    PAYLOADS,
    PLACES,
    ROW,
    SOURCE_A,
    SUMS,
    TAKEN,
    WIRE,
    column,
    turn_to_rows,
)
from netsynth.capture.frames import FRAGMENT_UNITS, PCAPNG_OUT, RESOLUTION
from netsynth.capture.places_numba import get64_le, put8, put16, put32, put32_le, put64_le
from netsynth.capture.stores_numba import copy, copy_loosely, move_16, move_32, move_64

HALF, ONE, LOW_32 = np.uint64(32), np.uint64(1), np.uint64(0xFFFFFFFF)
SEVEN, THREE, WORD = np.uint64(7), np.uint64(3), np.uint64(0xFFFF)


@njit(cache=True)
def _fold(value: Any) -> Any:
    """Reduce a sum of 16-bit words below 2^40 to 16 bits, carries added back (RFC 1071), uint64."""
    value = (value & WORD) + (value >> np.uint64(16))
    value = (value & WORD) + (value >> np.uint64(16))
    return (value & WORD) + (value >> np.uint64(16))


@njit(cache=True)
def sum_payloads(
    sheet: Any, pool: Any, pool_sums: Any, prefix: Any, starts: Any, row: int, count: int
) -> None:
    """Sum payloads as big-endian 16-bit words, modulo 65535; SUMS is set.

    Args:
        sheet: uint32, see `encode_sheet_numba`.
        pool: uint8, see `frames.Pool`.
        pool_sums: uint32, see `frames.Pool`.
        prefix: uint8, beginnings of payloads.
        starts: int64 [N] or [0], where each begins.
        row: First packet.
        count: Packets.
    """
    payloads, taken, offsets = column(sheet, PAYLOADS), column(sheet, TAKEN), column(sheet, OFFSETS)
    sums = column(sheet, SUMS)
    for k in range(np.uint64(count)):
        offset = np.uint64(offsets[k])
        stop = offset + np.uint64(payloads[k] - taken[k])
        low, high = offset >> THREE, stop >> THREE
        word = get64_le(pool, high << THREE) & ((ONE << ((stop & SEVEN) << THREE)) - ONE)
        total = (word & LOW_32) + (word >> HALF) + np.uint64(pool_sums[high])
        word = get64_le(pool, low << THREE) & ((ONE << ((offset & SEVEN) << THREE)) - ONE)
        less = (word & LOW_32) + (word >> HALF) + np.uint64(pool_sums[low])
        total = _fold(total + np.uint64(65535 << 20) - less)  # which is more than `less` can be
        swapped = ((total & np.uint64(255)) << np.uint64(8)) | (total >> np.uint64(8))
        sums[k] = total if (offsets[k] ^ taken[k]) & np.uint32(1) else swapped
    if starts.size:
        for k in range(np.uint64(count)):
            start = np.uint64(starts[row + k])
            total = np.int64(0)
            for n in range(np.uint64(taken[k])):
                total += np.int64(prefix[start + n]) << (0 if n & ONE else 8)
            sums[k] = np.uint64(sums[k]) + np.uint64(total)


@njit(cache=True)
def put_records(
    columns: Any,
    settings: Any,
    sheet: Any,
    wide: Any,
    rows: Any,
    out: Any,
    pool: Any,
    prefix: Any,
    starts: Any,
    crc_table: Any,
    row: int,
    count: int,
) -> int:
    """Store the records of `count` packets, at least one, from `row` on.

    Args:
        columns: The arrays of `PACKET_COLUMNS`, in order.
        settings: int64, see `frames`.
        sheet: uint32, see `encode_sheet_numba`.
        wide: uint64, see `encode_sheet_numba`.
        rows: uint8 [4 * GROUP * ROW], overwritten.
        out: uint8, the buffer.
        pool: uint8, see `frames.Pool`.
        prefix: uint8, beginnings of payloads.
        starts: int64 [N] or [0], where each begins.
        crc_table: uint32 [256], CRC32c.
        row: First packet.
        count: Packets.

    Returns:
        Where the last record ends.
    """
    protocols, versions, vlans = columns[5], columns[6], columns[24]
    next_generation = settings[PCAPNG_OUT] != 0
    words = rows.view(np.uint32)
    keep = 0
    here = np.uint64(row)
    for k in range(np.uint64(count)):
        place = np.int64(k) & (GROUP - 1)
        if place == 0:
            turn_to_rows(sheet, np.int64(k), words)
        place *= 4 * ROW
        at = np.int64(sheet[np.uint64(PLACES * BATCH) + k])
        network = np.int64(sheet[np.uint64(NETWORKS * BATCH) + k])
        frame = at + 16
        if next_generation:
            frame = at + 28
            _put_block_head(columns, settings, sheet, out, at, k, here)
            move_16(out, frame, rows, place + 16)
        else:
            move_32(out, at, rows, place)
        l4 = frame + 14 + network
        if seldom(vlans[here] != 0):
            l4 += 4
            put32(out, frame + 12, 0x81000000 | (np.int64(vlans[here]) & 0xFFF))
            put16(out, frame + 16, 0x0800 if versions[here] == 4 else 0x86DD)
        move_64(out, l4 - 20, rows, place + 4 * FRONT)
        if versions[here] != 4:
            _put_six(columns, sheet, wide, out, l4 - network, k, here)
        begin = l4 + np.int64(sheet[np.uint64(HEADS * BATCH) + k])
        keep = frame + np.int64(sheet[np.uint64(CAPTURED * BATCH) + k])
        taken = np.int64(sheet[np.uint64(TAKEN * BATCH) + k])
        offset = np.int64(sheet[np.uint64(OFFSETS * BATCH) + k])
        if taken:
            copy(out, begin, prefix, starts[here], min(taken, keep - begin))
            begin += taken
        copy_loosely(out, begin, pool, offset, keep - begin)
        protocol = protocols[here]
        if seldom((protocol == 132) | (protocol == 1)):
            if protocol == 132:
                _put_sctp(columns, sheet, out, crc_table, l4, keep, k, here)
            else:
                _mend_zeros(columns, sheet, out, pool, prefix, starts, l4, k, here)
        if next_generation:
            keep = _put_block_tail(out, at, keep, np.int64(sheet[np.uint64(CAPTURED * BATCH) + k]))
        here += ONE
    return keep


@njit(cache=True)
def _put_block_head(
    columns: Any, settings: Any, sheet: Any, out: Any, at: int, k: Any, row: Any
) -> None:
    """Store the header of an enhanced packet block."""
    ticks = columns[0][row] // settings[RESOLUTION]
    captured = np.int64(sheet[np.uint64(CAPTURED * BATCH) + k])
    put32_le(out, at, 6)
    put32_le(out, at + 4, 32 + ((captured + 3) & -4))
    put32_le(out, at + 8, 0)
    put32_le(out, at + 12, ticks >> 32)
    put32_le(out, at + 16, ticks & 0xFFFFFFFF)
    put32_le(out, at + 20, captured)
    put32_le(out, at + 24, sheet[np.uint64(WIRE * BATCH) + k])


@njit(cache=True)
def _put_block_tail(out: Any, at: int, keep: int, captured: int) -> int:
    """Store padding and the second length of an enhanced packet block; return where it ends."""
    put32_le(out, keep, 0)
    stop = at + 28 + ((captured + 3) & -4)
    put32_le(out, stop, 32 + ((captured + 3) & -4))
    return stop + 4


@njit(cache=True)
def _put_six(columns: Any, sheet: Any, wide: Any, out: Any, at: int, k: Any, row: Any) -> None:
    """Store an IPv6 header, and its fragment header where there is one."""
    network = np.int64(sheet[np.uint64(NETWORKS * BATCH) + k])
    length = np.int64(sheet[np.uint64(HEADS * BATCH) + k])
    length += np.int64(sheet[np.uint64(PAYLOADS * BATCH) + k])
    label = np.int64(sheet[np.uint64(LABELS * BATCH) + k])
    protocol = np.int64(columns[5][row])
    put32(out, at, 0x60000000 | (np.int64(columns[8][row]) << 20) | label)
    put16(out, at + 4, network - 40 + length)
    put8(out, at + 6, protocol if network == 40 else 44)
    put8(out, at + 7, columns[7][row])
    for n in range(4):
        put64_le(out, at + 8 + 8 * n, wide[np.uint64((SOURCE_A + n) * BATCH) + k])
    if network == 48:
        flags = columns[9][row]
        fragment = (FRAGMENT_UNITS << 3) if flags & 4 else 0
        if flags & 1 and length & 7 == 0:
            fragment |= 1
        put16(out, at + 40, protocol << 8)
        put16(out, at + 42, fragment)
        put32(out, at + 44, np.int64(columns[10][row]))


@njit(cache=True)
def _put_sctp(
    columns: Any, sheet: Any, out: Any, crc_table: Any, at: int, keep: int, k: Any, row: Any
) -> None:
    """Store ports and CRC32c where the packet is whole."""
    payload = np.int64(sheet[np.uint64(PAYLOADS * BATCH) + k])
    if columns[9][row] & 4 or payload < 12 or keep != at + payload:
        return
    put16(out, at, np.int64(columns[3][row]))
    put16(out, at + 2, np.int64(columns[4][row]))
    put32(out, at + 8, 0)
    crc = np.uint32(0xFFFFFFFF)
    for place in range(at, keep):
        crc = crc_table[np.uint8(crc) ^ out[place]] ^ (crc >> np.uint32(8))
    put32_le(out, at + 8, np.int64(~crc) & 0xFFFFFFFF)


@njit(cache=True)
def _mend_zeros(
    columns: Any,
    sheet: Any,
    out: Any,
    pool: Any,
    prefix: Any,
    starts: Any,
    at: int,
    k: Any,
    row: Any,
) -> None:
    """Give an ICMP message of zeros alone its checksum, which is not 0 (RFC 1071 section 1)."""
    if columns[23][row] or columns[15][row] or sheet[np.uint64(HEADS * BATCH) + k] == 0:
        return
    taken = np.uint64(sheet[np.uint64(TAKEN * BATCH) + k])
    offset = np.uint64(sheet[np.uint64(OFFSETS * BATCH) + k])
    for n in range(taken):
        if prefix[np.uint64(starts[row]) + n]:
            return
    for n in range(np.uint64(sheet[np.uint64(PAYLOADS * BATCH) + k]) - taken):
        if pool[offset + n]:
            return
    put16(out, at + 2, 0xFFFF)
