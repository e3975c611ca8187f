"""Find the next record after a damaged place.

A place is taken for a record if its header is plausible and leads to another plausible header, or
to the file's end. No marker separates the records of a pcap file, so this is a guess; what is
asked of two headers in a row makes a false one unlikely.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

from netsynth.capture.formats import BYTE_ORDER_MAGIC, INTERFACE_BLOCK, SECTION_BLOCK, FileHeader
from netsynth.capture.records import MAX_BLOCK, MAX_CAPTURED, MAX_TIME_STEP_NS, MAX_WIRE, PCAP
from netsynth.numbers import Array, IntArray

LOOK_AHEAD = MAX_BLOCK + (1 << 12)  # bytes that must follow a place to judge it
SLICE = 1 << 14  # places judged at once
NEAR_S = MAX_TIME_STEP_NS // 1_000_000_000
BLOCK_KINDS = (SECTION_BLOCK, INTERFACE_BLOCK, 2, 3, 4, 5, 6)


@dataclass(kw_only=True, slots=True)
class Damage:
    """What salvage skipped."""

    places: int = 0
    bytes: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, reason: str, size: int) -> None:
        """Count a damaged place of `size` bytes; the first hundred reasons are kept."""
        self.places += 1
        self.bytes += size
        if len(self.reasons) < 100:
            self.reasons.append(reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """What a record of this file looks like.

    Attributes:
        header: The file's header.
        near_s: Time of a good record, s, or -1.
        is_last: Whether the buffer holds the file's end.
    """

    header: FileHeader
    near_s: int
    is_last: bool


def find_record(data: Array, search: Search) -> tuple[int, bool]:
    """Find the first place in `data` that looks like a record.

    Args:
        data: uint8 [B], bytes after the damaged place.
        search: What to look for.

    Returns:
        The place and True; or, if there is none, how many places were judged and False.
    """
    last = data.size if search.is_last else max(data.size - LOOK_AHEAD, 1)
    find = _plausible_records if search.header.format == PCAP else _plausible_blocks
    leads_on = _record_leads_on if search.header.format == PCAP else _block_leads_on
    begin = 0
    size = 256  # most damage is short
    while begin < last:
        end = min(begin + size, last)
        for place in find(data, begin, end, search).tolist():
            if leads_on(data, place, search):
                return place, True
        begin, size = end, min(size * 4, SLICE)
    return last, False


def _fields(data: Array, begin: int, end: int, count: int, order: str) -> IntArray:
    """Return `count` 32-bit words at each place begin:end, int64 [P, count]."""
    end = min(end, data.size - 4 * count + 1)
    if end <= begin:
        return np.zeros((0, count), dtype=np.int64)
    shape = (data.size - 4 * count + 1,)
    words: Array = np.ndarray(shape, f"({count},){order}u4", data, strides=(1,))
    return words[begin:end].astype(np.int64)


def _plausible_records(data: Array, begin: int, end: int, search: Search) -> IntArray:
    order = ">" if search.header.swap else "<"
    seconds, fraction, captured, wire = _fields(data, begin, end, 4, order).T
    ticks = search.header.interfaces[0].ticks
    good = (fraction < ticks) & (captured <= MAX_CAPTURED) & (captured <= wire) & (wire <= MAX_WIRE)
    good &= captured > 0
    if search.near_s >= 0:
        good &= np.abs(seconds - search.near_s) <= NEAR_S
    return begin + np.flatnonzero(good)


def _record_leads_on(data: Array, place: int, search: Search) -> bool:
    order = ">" if search.header.swap else "<"
    captured = struct.unpack_from(order + "I", data.data, place + 8)[0]
    after = place + search.header.header_size + captured
    if after + 16 > data.size:
        return bool(search.is_last and after == data.size)
    return _plausible_records(data, after, after + 1, search).size > 0


def _plausible_blocks(data: Array, begin: int, end: int, search: Search) -> IntArray:
    order = ">" if search.header.swap else "<"
    kind, length = _fields(data, begin, end, 2, order).T
    good = np.isin(kind, BLOCK_KINDS) & (length >= 12) & (length % 4 == 0) & (length <= MAX_BLOCK)
    return begin + np.flatnonzero(good | (kind == SECTION_BLOCK))


def _block_leads_on(data: Array, place: int, search: Search) -> bool:
    order = ">" if search.header.swap else "<"
    kind, length = struct.unpack_from(order + "II", data.data, place)
    if kind == SECTION_BLOCK:
        if place + 12 > data.size:
            return False
        magic = struct.unpack_from("<I", data.data, place + 8)[0]
        order = "<" if magic == BYTE_ORDER_MAGIC else ">"
        if struct.unpack_from(order + "I", data.data, place + 8)[0] != BYTE_ORDER_MAGIC:
            return False
        length = struct.unpack_from(order + "I", data.data, place + 4)[0]
    if length < 12 or place + length > data.size:
        return False
    return bool(struct.unpack_from(order + "I", data.data, place + length - 4)[0] == length)


def typical_second(data: Array, header: FileHeader) -> int:
    """Return the median second of the first records of a pcap file, -1 where there is none.

    The first record's own time may be the one that is damaged.

    Args:
        data: Bytes from the first record on.
        header: The file's header.
    """
    layout = struct.Struct((">" if header.swap else "<") + "I4xII")
    at = 0
    seconds: list[int] = []
    while len(seconds) < 15 and at + header.header_size <= data.size:
        second, captured, _ = layout.unpack_from(data.data, at)
        if captured > MAX_CAPTURED:
            break
        seconds.append(second)
        at += header.header_size + captured
    return sorted(seconds)[len(seconds) // 2] if seconds else -1
