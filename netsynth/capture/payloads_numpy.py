"""Payloads of many packets at once: where their bytes come from, their sums, copies of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.frames import FILL_MASK, SPARE
from netsynth.capture.layout_numpy import Canvas, Layout, Sources, swap
from netsynth.capture.sums import PrefixSums
from netsynth.numbers import IntArray

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
HALF = np.uint64(32)
Keys = NDArray[np.uint64]


def filler_places(
    layout: Layout, mixed: tuple[Keys, Keys], taken: IntArray, settings: IntArray
) -> IntArray:
    """Say where in the pool each payload's filler begins, int64 [R]."""
    column = layout.columns
    protocol, seq = column["protocol"], column["seq"]
    ports = (column["src_port"] << 16) | column["dst_port"]
    place = (mixed[0] * HASH_A + mixed[1]) ^ (ports.astype(np.uint64) * HASH_B)
    is_tcp = protocol == 6
    place += np.where(is_tcp, np.uint64(0), column["time_ns"].astype(np.uint64) * HASH_A)
    echo = mixed[0] + mixed[1] + seq.astype(np.uint64) * HASH_A
    place = np.where((protocol == 1) | (protocol == 58), echo, place)
    place ^= place >> HALF
    offset = (place & np.uint64(0xFFFF)).astype(np.int64)
    shifted: IntArray = (offset + np.where(is_tcp, seq, 0) + taken) & int(settings[FILL_MASK])
    return shifted


def sum_payloads(layout: Layout, sources: Sources) -> IntArray:
    """Sum payloads as big-endian 16-bit words, modulo 65535, at least 1, int64 [R]."""
    prefix, pool = sources.prefix, sources.pool
    start, taken, offset = sources.start, sources.taken, sources.offset
    padded = np.concatenate((prefix, np.zeros(8 + -prefix.size % 8, dtype=np.uint8)))
    before = PrefixSums(padded, 0, prefix.size).between(start, start + taken) % 65535
    rest = layout.payload - taken
    filler = PrefixSums(pool, 0, pool.size - SPARE).between(offset, offset + rest) % 65535
    total = np.where(start & 1, before, swap(before))
    odd = (offset ^ taken) & 1 != 0
    return total + np.where(odd, filler, swap(filler)) + 65535


def mend_zeros(canvas: Canvas, layout: Layout, sources: Sources) -> None:
    """Give ICMP messages of zeros alone their checksum, which is not 0 (RFC 1071 section 1)."""
    column = layout.columns
    doubtful = (column["protocol"] == 1) & (layout.head > 0) & (column["icmp"] == 0)
    for row in np.flatnonzero(doubtful & (column["seq"] == 0)).tolist():
        taken, rest = int(sources.taken[row]), int(layout.payload[row] - sources.taken[row])
        start, offset = int(sources.start[row]), int(sources.offset[row])
        first, then = sources.prefix[start : start + taken], sources.pool[offset : offset + rest]
        if not first.any() and not then.any():
            canvas.put(">u2", layout.l4[row : row + 1] + 2, 0xFFFF)


def put_payloads(canvas: Canvas, layout: Layout, sources: Sources) -> None:
    """Copy payloads, one by one: a copy costs less than an index for each of its bytes."""
    data, filler, first = canvas.data.data, sources.pool.data, sources.prefix.data
    keep = layout.frame + layout.captured
    begin = layout.l4 + layout.head
    middle = np.minimum(begin + sources.taken, keep)
    for at, to, place in _copies(begin, middle, sources.start):
        data[at:to] = first[place : place + to - at]
    for at, to, place in _copies(begin + sources.taken, keep, sources.offset):
        data[at:to] = filler[place : place + to - at]


def _copies(at: IntArray, to: IntArray, place: IntArray) -> list[list[int]]:
    some = to > at
    copies: list[list[int]] = np.stack((at[some], to[some], place[some]), axis=1).tolist()
    return copies


def put_sctp(canvas: Canvas, layout: Layout, crc_table: NDArray[np.uint32]) -> None:
    whole = (layout.columns["protocol"] == 132) & ~layout.later
    whole &= (layout.payload >= 12) & (layout.captured == layout.wire)
    rows = np.flatnonzero(whole)
    at = layout.l4[rows]
    canvas.put(">u2", at, layout.columns["src_port"][rows])
    canvas.put(">u2", at + 2, layout.columns["dst_port"][rows])
    canvas.put("<u4", at + 8, 0)
    table = crc_table.tolist()
    for begin, size in zip(at.tolist(), layout.payload[rows].tolist(), strict=True):
        crc = 0xFFFFFFFF
        for byte in canvas.data[begin : begin + size].tolist():
            crc = table[(crc ^ byte) & 255] ^ (crc >> 8)
        canvas.put("<u4", np.array([begin + 8]), crc ^ 0xFFFFFFFF)
