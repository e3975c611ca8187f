"""Find the records of a buffer without a compiler: the part of `decode_numpy` that must loop.

It must agree with the record walk of `decode_numba.decode`, check by check.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from netsynth.capture.records import (
    BAD_BLOCK,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_LINK,
    BAD_TIME,
    BAD_WIRE,
    BLOCK,
    END,
    FORMAT,
    FULL,
    HEADER_SIZE,
    INTERFACE_COUNT,
    LAST_NS,
    LINK,
    MAX_BLOCK,
    MAX_CAPTURED,
    MAX_TIME_STEP_NS,
    MAX_WIRE,
    MORE,
    PCAP,
    POS,
    REFERENCE_NS,
    REFUSED,
    SKIP,
    SNAP,
    SWAP,
    TIME_DIV,
    TIME_MAX_UNITS,
    TIME_MUL,
    TIME_OFFSET_NS,
    TIME_SHIFT,
)
from netsynth.numbers import Array, IntArray

SECTION, INTERFACE, OLD_PACKET, SIMPLE_PACKET, PACKET = 0x0A0D0D0A, 1, 2, 3, 6


@dataclass(kw_only=True, slots=True)
class Records:
    """Records found one after another, each an int64 array [R].

    Attributes:
        start: First byte of the frame.
        captured: Bytes of the frame that are there.
        wire: Bytes that it had, at least `captured`.
        time_ns: When it was seen.
        link: How it begins (`records`).
        untimed: bool, True where the record has no time of its own.
    """

    start: IntArray
    captured: IntArray
    wire: IntArray
    time_ns: IntArray
    link: IntArray
    untimed: Array

    def take(self, rows: Array) -> Records:
        """Return some of them."""
        return Records(
            start=self.start[rows],
            captured=self.captured[rows],
            wire=self.wire[rows],
            time_ns=self.time_ns[rows],
            link=self.link[rows],
            untimed=self.untimed[rows],
        )


def walk(data: Array, state: IntArray, interfaces: IntArray, most: int) -> tuple[Records, int, int]:
    """Find up to `most` records from `state[POS]` on.

    Args:
        data: uint8, the buffer.
        state: See `records`; only read.
        interfaces: int64 [I, INTERFACE_COLUMNS].
        most: Records wanted, at least 1.

    Returns:
        The records; why no more were found, FULL if there were `most`; and where.
    """
    if state[FORMAT] == PCAP:
        table, status, pos = _walk_pcap(data, state, most)
    else:
        raw, status, pos = _walk_pcapng(data, state, interfaces, most)
        table = np.array(raw, dtype=np.int64).reshape(-1, 7)
    at, start, captured, wire, high, low, interface = table.T
    untimed = high < 0
    times_ns, overflow = _times(state, interfaces, high, low, interface)
    link = interfaces[interface, LINK]
    reference = int(state[REFERENCE_NS])
    timed = np.flatnonzero(~untimed)
    negative = times_ns < 0
    if reference < 0 and timed.size:
        reference = int(times_ns[timed[0]])
    step = np.abs(times_ns - reference) > MAX_TIME_STEP_NS
    bad = overflow | (link == REFUSED) | (~untimed & (negative | step))
    count = len(table)
    if bad.any():
        count = int(np.argmax(bad))
        refused = link[count] == REFUSED and not overflow[count]
        status = BAD_LINK if refused else BAD_TIME
        pos = int(at[count])
    keep = slice(count)
    times_ns = _fill_untimed(times_ns[keep], untimed[keep], int(state[LAST_NS]))
    return (
        Records(
            start=start[keep],
            captured=captured[keep],
            wire=np.maximum(wire, captured)[keep],
            time_ns=times_ns,
            link=link[keep],
            untimed=untimed[keep],
        ),
        status,
        pos,
    )


def _walk_pcap(data: Array, state: IntArray, most: int) -> tuple[IntArray, int, int]:
    pos, end, header = int(state[POS]), int(state[END]), int(state[HEADER_SIZE])
    order = ">" if state[SWAP] else "<"
    captured_at = struct.Struct(order + "8xI").unpack_from
    view = data.data
    places: list[int] = []
    note = places.append
    last = end - header
    for _ in range(most):  # what is odd about a record is found below, for all of them at once
        if pos > last:
            break
        note(pos)
        pos += header + captured_at(view, pos)[0]
    at = np.array(places, dtype=np.int64)  # [R]
    fields = np.ndarray((data.size - 15,), f"(4,){order}u4", data, strides=(1,))
    seconds, fraction, lengths, wire = fields[at].astype(np.int64).T
    status = FULL if at.size == most else MORE
    keep = slice(None)
    bad = np.flatnonzero((lengths > MAX_CAPTURED) | (wire > MAX_WIRE))
    if bad.size or pos > end:  # the last record may not be whole
        count = int(bad[0]) if bad.size else at.size - 1
        status, pos, keep = MORE, places[count], slice(count)
        if bad.size:
            status = BAD_CAPTURED if lengths[count] > MAX_CAPTURED else BAD_WIRE
    raw = np.stack((at, at + header, lengths, wire, seconds, fraction, np.zeros_like(at)), axis=1)
    return raw[keep], status, pos


def _walk_pcapng(
    data: Array, state: IntArray, interfaces: IntArray, most: int
) -> tuple[list[int], int, int]:
    pos, end = int(state[POS]), int(state[END])
    count, order = int(state[INTERFACE_COUNT]), ">" if state[SWAP] else "<"
    view = data.data
    raw: list[int] = []
    while most:
        if pos + 12 > end:
            return raw, MORE, pos
        kind, length = struct.unpack_from(order + "II", view, pos)
        if kind in (SECTION, INTERFACE):
            return raw, BLOCK, pos
        is_packet = kind in (OLD_PACKET, SIMPLE_PACKET, PACKET)
        if length < 12 or length & 3 or length > MAX_WIRE:
            return raw, BAD_BLOCK, pos
        if is_packet and (length > MAX_BLOCK or length < (16 if kind == SIMPLE_PACKET else 32)):
            return raw, BAD_BLOCK, pos
        after = pos + length
        if after > end:
            return raw, (MORE if is_packet else SKIP), pos
        if struct.unpack_from(order + "I", view, after - 4)[0] != length:
            return raw, BAD_BLOCK, pos
        if not is_packet:
            pos = after
            continue
        if kind == SIMPLE_PACKET:
            interface, high, low, start = 0, -1, 0, pos + 12
            wire = struct.unpack_from(order + "I", view, pos + 8)[0]
            captured = min(wire, length - 16)
            if count and interfaces[0, SNAP] > 0:
                captured = min(captured, int(interfaces[0, SNAP]))
        else:
            layout = "IIIII" if kind == PACKET else "HxxIIII"
            interface, high, low, captured, wire = struct.unpack_from(order + layout, view, pos + 8)
            start = pos + 28
            if captured > length - 32:
                return raw, BAD_CAPTURED, pos
        if captured > MAX_CAPTURED:
            return raw, BAD_CAPTURED, pos
        if wire > MAX_WIRE:
            return raw, BAD_WIRE, pos
        if interface >= count:
            return raw, BAD_INTERFACE, pos
        raw += (pos, start, captured, wire, high, low, interface)
        pos = after
        most -= 1
    return raw, FULL, pos


def _times(
    state: IntArray, interfaces: IntArray, high: IntArray, low: IntArray, interface: IntArray
) -> tuple[IntArray, Array]:
    """Turn the two time words of records into ns; say where 64 bits do not suffice."""
    if state[FORMAT] == PCAP:
        times_ns = high * 1_000_000_000 + low * interfaces[0, TIME_MUL]
        return times_ns, np.zeros(times_ns.size, dtype=bool)
    columns = interfaces[interface]
    units = (np.maximum(high, 0).astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    overflow = units > columns[:, TIME_MAX_UNITS].astype(np.uint64)
    units[overflow] = 0
    multiplier, divisor = columns[:, TIME_MUL], columns[:, TIME_DIV]
    times_ns = units.astype(np.int64) * multiplier
    divided = divisor > 0
    times_ns[divided] = units[divided].astype(np.int64) // divisor[divided]
    binary = (multiplier == 0) & ~divided
    if binary.any():
        shift = columns[binary, TIME_SHIFT].astype(np.uint64)
        part = units[binary]
        rest = part & ((np.uint64(1) << shift) - np.uint64(1))
        fine = np.minimum(shift, np.uint64(34))
        rest = ((rest >> (shift - fine)) * np.uint64(1_000_000_000)) >> fine
        seconds = (part >> shift).astype(np.int64)
        times_ns[binary] = seconds * 1_000_000_000 + rest.astype(np.int64)
    return times_ns + columns[:, TIME_OFFSET_NS], overflow


def _fill_untimed(times_ns: IntArray, untimed: Array, last_ns: int) -> IntArray:
    """Give records without a time the latest time before them, or 0."""
    if not untimed.any():
        return times_ns
    known = np.where(untimed, -1, times_ns)
    latest = np.maximum.accumulate(np.concatenate(([max(last_ns, 0)], known)))[:-1]
    return np.where(untimed, latest, times_ns)
