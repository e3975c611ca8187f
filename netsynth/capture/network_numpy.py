"""IP headers of many packets at once with numpy."""

from __future__ import annotations

import numpy as np

from netsynth.capture.layers_numpy import IPV4, Frames, require
from netsynth.capture.records import BAD_IPV4, BAD_IPV6, MAX_EXTENSIONS
from netsynth.numbers import IntArray

EXTENSIONS = (0, 43, 51, 60, 135)
MAPPED, HALF = np.uint64(0xFFFF0000), np.uint64(32)  # ::ffff:0:0/96, as `decode_numba` has it


def read_ip(frames: Frames, rows: IntArray) -> IntArray:
    """Read the IP headers of `rows`; return those that have a valid one."""
    is_v4 = frames["ethertype"][rows] == IPV4
    fours = _read_ipv4(frames, rows[is_v4])
    sixes = _read_ipv6(frames, rows[~is_v4])
    frames.accepted[fours] = True
    frames.accepted[sixes] = True
    if not sixes.size:
        return fours
    return np.sort(np.concatenate((fours, sixes))) if fours.size else sixes


def _read_ipv4(frames: Frames, rows: IntArray) -> IntArray:
    rows = require(frames, rows, 20)
    at = frames["at"][rows]
    first = frames.u8(at)
    header = (first & 15) * 4
    length = frames.u16(at + 2)
    unsaid = frames.records.wire[rows] - (at - frames.records.start[rows])
    total = np.where(length == 0, unsaid, length)
    good = (first >> 4 == 4) & (header >= 20) & (total >= header)
    frames["reason"][rows[~good]] = BAD_IPV4
    rows, at, header, total = rows[good], at[good], header[good], total[good]
    fragment = frames.u16(at + 6)
    later = np.where(fragment & 0x1FFF != 0, 4, 0)
    for name, values in (
        ("total", total),
        ("l4", at + header),
        ("stop", at + total),
        ("tos", frames.u8(at + 1)),
        ("ip_id", frames.u16(at + 4)),
        ("flags", ((fragment >> 13) & 3) | later),
        ("ttl", frames.u8(at + 8)),
        ("protocol", frames.u8(at + 9)),
        ("addresses_at", at + 12),
        ("addresses_stop", at + 20),
    ):
        frames[name][rows] = values
    frames["version"][rows] = 4
    frames.rerouted[rows] = False
    addresses = frames.u64_le(at + 12)  # both
    frames.keys[rows, :, 0] = 0
    frames.keys[rows, 0, 1] = MAPPED | (addresses << HALF)
    frames.keys[rows, 1, 1] = MAPPED | (addresses >> HALF << HALF)
    frames["check"][rows] = _check_ipv4(frames, at, header, frames["limit"][rows])
    return rows


def _check_ipv4(frames: Frames, at: IntArray, header: IntArray, limit: IntArray) -> IntArray:
    total = np.zeros(at.size, dtype=np.int64)
    left = np.flatnonzero(at + header <= limit)
    begin = at[left]
    total[left] = sum(frames.u32(begin + offset) for offset in range(0, 20, 4))
    for offset in range(20, 60, 4):
        left = left[header[left] > offset]
        if not left.size:
            break
        total[left] += frames.u32(at[left] + offset)
    return np.where(total % 65535 != 0, 1, 0)


def _read_ipv6(frames: Frames, rows: IntArray) -> IntArray:
    rows = require(frames, rows, 40)
    at = frames["at"][rows]
    good = frames.u8(at) >> 4 == 6
    frames["reason"][rows[~good]] = BAD_IPV6
    rows, at = rows[good], at[good]
    total = frames.u16(at + 4) + 40
    protocol = frames.u8(at + 6)
    unsaid = frames.records.wire[rows] - (at - frames.records.start[rows])
    total = np.where((total == 40) & (protocol != 59), np.maximum(unsaid, 40), total)
    for name, values in (
        ("total", total),
        ("l4", at + 40),
        ("stop", at + total),
        ("tos", (frames.u16(at) >> 4) & 0xFF),
        ("ttl", frames.u8(at + 7)),
        ("protocol", protocol),
        ("addresses_at", at + 8),
        ("addresses_stop", at + 40),
    ):
        frames[name][rows] = values
    frames["version"][rows] = 6
    for name in ("ip_id", "flags", "check"):
        frames[name][rows] = 0
    frames.rerouted[rows] = False
    for index in range(4):
        frames.keys[rows, index >> 1, index & 1] = frames.u64_le(at + 8 + 8 * index)
    _read_extensions(frames, rows)
    return rows


def _read_extensions(frames: Frames, rows: IntArray) -> None:
    """Follow the chain of extension headers, at most MAX_EXTENSIONS of them."""
    protocol, l4 = frames["protocol"], frames["l4"]
    inside = np.minimum(frames["limit"], frames["stop"])
    left = rows
    for _ in range(MAX_EXTENSIONS):
        kind = protocol[left]
        left = left[(kind == 44) | np.isin(kind, EXTENSIONS)]
        left = left[l4[left] + 8 <= inside[left]]
        if not left.size:
            break
        kind, at = protocol[left], l4[left]
        split = kind == 44
        fragment = frames.u16(at + 2)
        flags = (fragment & 1) | np.where(fragment & 0xFFF8 != 0, 4, 0)
        frames["flags"][left[split]] = flags[split]
        frames.rerouted[left[kind == 43]] = True
        units = frames.u8(at + 1)
        step = np.where(kind == 51, (units + 2) * 4, (units + 1) * 8)
        protocol[left] = frames.u8(at)
        l4[left] = at + np.where(split, 8, step)
        left = left[~(split & (flags & 4 != 0))]
