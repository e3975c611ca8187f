"""Columns to frames without a compiler: the same bytes as `encode_numba`.

Each field is written for all packets at once, into views of the buffer that begin a word at every
byte. Frames are laid out with all of their headers first, and cut afterwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.frames import (
    CARD_BYTE,
    FRAGMENT_UNITS,
    MAC_KEY,
    PCAPNG_OUT,
    RESOLUTION,
)
from netsynth.capture.layout_numpy import Canvas, Layout, Sources, cut_frames, fold, lay_out, swap
from netsynth.capture.payloads_numpy import (
    HALF,
    HASH_A,
    HASH_B,
    Keys,
    filler_places,
    mend_zeros,
    put_payloads,
    put_sctp,
    sum_payloads,
)
from netsynth.numbers import Array, IntArray


def encode(
    columns: tuple[Array, ...],
    keys: Keys,
    first_row: int,
    out: NDArray[np.uint8],
    settings: IntArray,
    pool: NDArray[np.uint8],
    pool_sums: NDArray[np.uint32],
    prefix: NDArray[np.uint8],
    prefix_start: IntArray,
    prefix_length: IntArray,
    crc_table: NDArray[np.uint32],
) -> tuple[int, int]:
    """Write records from `first_row` on until packets or room end; see `encode_numba.encode`."""
    layout = lay_out(columns, first_row, settings, prefix_length)
    count = layout.size.size
    rows = slice(first_row, first_row + count)
    source, target = keys[columns[1][rows]], keys[columns[2][rows]]  # [R, 2]
    mixed = _mix(source, settings), _mix(target, settings)
    canvas = Canvas(int(layout.record[-1] + layout.wide[-1]))
    _put_record_heads(canvas, layout, settings)
    _put_ethernet(canvas, layout, source, target, mixed)
    pseudo = _put_ip(canvas, layout, source, target, mixed)
    taken = np.zeros(count, dtype=np.int64)
    start = taken
    if prefix_length.size:
        taken = np.minimum(prefix_length[rows], layout.payload)
        start = prefix_start[rows]
    offset = filler_places(layout, mixed, taken, settings)
    sources = Sources(prefix=prefix, pool=pool, start=start, taken=taken, offset=offset)
    _put_transport(canvas, layout, pseudo, sum_payloads(layout, sources))
    mend_zeros(canvas, layout, sources)
    put_payloads(canvas, layout, sources)
    put_sctp(canvas, layout, crc_table)
    used = cut_frames(canvas, layout, out, settings)
    return first_row + count, used


def _mix(keys: Keys, settings: IntArray) -> Keys:
    key = settings[MAC_KEY : MAC_KEY + 1].view(np.uint64)
    mixed: Keys = (keys[:, 1] ^ (keys[:, 0] * HASH_B) ^ key) * HASH_A
    mixed ^= mixed >> HALF
    mixed *= HASH_B
    return mixed ^ (mixed >> np.uint64(29))


def _put_record_heads(canvas: Canvas, layout: Layout, settings: IntArray) -> None:
    at, time_ns = layout.record, layout.columns["time_ns"]
    resolution = int(settings[RESOLUTION])
    if settings[PCAPNG_OUT]:
        ticks = time_ns // resolution
        padded = layout.captured + (-layout.captured & 3)
        words: list[IntArray | int] = [
            6,
            32 + padded,
            0,
            ticks >> 32,
            ticks & 0xFFFFFFFF,
            layout.captured,
            layout.wire,
        ]
        canvas.put("<u4", at + layout.wide - 4, 32 + padded)
    else:
        seconds = time_ns // 1_000_000_000
        fraction = (time_ns - seconds * 1_000_000_000) // resolution
        words = [seconds, fraction, layout.captured, layout.wire]
    for index, word in enumerate(words):
        canvas.put("<u4", at + 4 * index, word)


def _put_ethernet(
    canvas: Canvas, layout: Layout, source: Keys, target: Keys, mixed: tuple[Keys, Keys]
) -> None:
    _put_macs(canvas, layout.frame, target, mixed[1])
    _put_groups(canvas, layout.frame, target)
    _put_macs(canvas, layout.frame + 6, source, mixed[0])
    at = layout.frame + 12
    tagged = layout.columns["vlan"] != 0
    canvas.put(">u2", at[tagged], 0x8100)
    canvas.put(">u2", at[tagged] + 2, layout.columns["vlan"][tagged] & 0xFFF)
    is_v4 = layout.columns["ip_version"] == 4
    canvas.put(">u2", at + np.where(tagged, 4, 0), np.where(is_v4, 0x0800, 0x86DD))


def _put_macs(canvas: Canvas, at: IntArray, keys: Keys, mixed: Keys) -> None:
    canvas.put("u1", at, CARD_BYTE)
    canvas.put("u1", at + 1, (mixed >> HALF) & np.uint64(255))
    canvas.put("<u4", at + 2, mixed & np.uint64(0xFFFFFFFF))


def _put_groups(canvas: Canvas, at: IntArray, keys: Keys) -> None:
    """Overwrite the MAC addresses of broadcast and multicast targets."""
    last = (keys[:, 1] >> HALF).astype(np.int64)
    is_v4 = (keys[:, 0] == 0) & (keys[:, 1] & np.uint64(0xFFFFFFFF) == np.uint64(0xFFFF0000))
    everyone = is_v4 & (last == 0xFFFFFFFF)
    canvas.put(">u2", at[everyone], 0xFFFF)
    canvas.put(">u4", at[everyone] + 2, 0xFFFFFFFF)
    group = is_v4 & ~everyone & (last & 0xF0 == 0xE0)
    canvas.put(">u2", at[group], 0x0100)
    canvas.put("<u4", at[group] + 2, 0x5E | (last[group] & 0xFFFF7F00))
    group = ~is_v4 & (keys[:, 0] & np.uint64(255) == np.uint64(255))
    canvas.put(">u2", at[group], 0x3333)
    canvas.put("<u4", at[group] + 2, last[group])


def _put_ip(
    canvas: Canvas, layout: Layout, source: Keys, target: Keys, mixed: tuple[Keys, Keys]
) -> IntArray:
    """Write IP headers; return the sums of their addresses as 16-bit words, int64 [R]."""
    words = np.concatenate((source, target), axis=1)  # [R, 4]
    is_v4 = layout.columns["ip_version"] == 4
    words[is_v4] &= np.array([0, 0xFFFFFFFF << 32] * 2, dtype=np.uint64)
    halves = (words & np.uint64(0xFFFFFFFF)) + (words >> HALF)
    pseudo = swap(fold(halves.astype(np.int64).sum(axis=1)))
    _put_ipv4(canvas, layout, np.flatnonzero(is_v4), source, target, pseudo)
    _put_ipv6(canvas, layout, np.flatnonzero(~is_v4), source, target, mixed)
    return pseudo


def _put_ipv4(
    canvas: Canvas, layout: Layout, rows: IntArray, source: Keys, target: Keys, pseudo: IntArray
) -> None:
    column = {name: values[rows] for name, values in layout.columns.items()}
    length = (layout.head + layout.payload)[rows]
    fragment = (column["ip_flags"] & 3) << 13
    fragment &= np.where(length & 7, 0xDFFF, 0xFFFF)
    fragment |= np.where(layout.later[rows], FRAGMENT_UNITS, 0)
    words = [
        0x4500 | column["tos"],
        20 + length,
        column["ip_id"],
        fragment,
        (column["ttl"] << 8) | column["protocol"],
    ]
    total = pseudo[rows] + sum(words)
    at = layout.ip[rows]
    for index, word in enumerate([*words, fold(total) ^ 0xFFFF]):
        canvas.put(">u2", at + 2 * index, word)
    canvas.put("<u4", at + 12, source[rows, 1] >> HALF)
    canvas.put("<u4", at + 16, target[rows, 1] >> HALF)


def _flow_labels(column: dict[str, IntArray], mixed: tuple[Keys, Keys], rows: IntArray) -> IntArray:
    """Derive the flow label of whole TCP and UDP packets from their ends, int64 [R]; 0 for others.

    References:
        RFC 6437 section 3.
    """
    ports = (column["src_port"] << 16) | column["dst_port"]
    word = (mixed[0][rows] * HASH_B) ^ mixed[1][rows] ^ ports.astype(np.uint64)
    label = ((word * HASH_A) >> np.uint64(44)).astype(np.int64)
    has_label = np.isin(column["protocol"], (6, 17)) & (column["ip_flags"] & 5 == 0)
    labels: IntArray = np.where(has_label, label, 0)
    return labels


def _put_ipv6(
    canvas: Canvas,
    layout: Layout,
    rows: IntArray,
    source: Keys,
    target: Keys,
    mixed: tuple[Keys, Keys],
) -> None:
    column = {name: values[rows] for name, values in layout.columns.items()}
    length = (layout.head + layout.payload)[rows]
    at, flags = layout.ip[rows], column["ip_flags"]
    split = flags & 5 != 0
    canvas.put(">u4", at, 0x60000000 | (column["tos"] << 20) | _flow_labels(column, mixed, rows))
    canvas.put(">u2", at + 4, layout.ip_head[rows] - 40 + length)
    canvas.put("u1", at + 6, np.where(split, 44, column["protocol"]))
    canvas.put("u1", at + 7, column["ttl"])
    for index, keys in enumerate((source, target)):
        canvas.put("<u8", at + 8 + 16 * index, keys[rows, 0])
        canvas.put("<u8", at + 16 + 16 * index, keys[rows, 1])
    fragment = np.where(layout.later[rows], FRAGMENT_UNITS << 3, 0)
    fragment |= np.where((flags & 1 != 0) & (length & 7 == 0), 1, 0)
    begin = at[split] + 40
    canvas.put(">u2", begin, column["protocol"][split] << 8)
    canvas.put(">u2", begin + 2, fragment[split])
    canvas.put(">u4", begin + 4, column["ip_id"][split])


def _put_transport(canvas: Canvas, layout: Layout, pseudo: IntArray, sums: IntArray) -> None:
    protocol = np.where(layout.head == 0, -1, layout.columns["protocol"])
    length = layout.head + layout.payload
    _put_tcp(canvas, layout, np.flatnonzero(protocol == 6), pseudo + length + 6 + sums)
    rows = np.flatnonzero(protocol == 17)
    column = {name: values[rows] for name, values in layout.columns.items()}
    words = [column["src_port"], column["dst_port"], length[rows]]
    check = fold((pseudo + 17 + length + sums)[rows] + sum(words)) ^ 0xFFFF
    for index, word in enumerate([*words, np.where(check, check, 0xFFFF)]):
        canvas.put(">u2", layout.l4[rows] + 2 * index, word)
    rows = np.flatnonzero((protocol == 1) | (protocol == 58))
    kind, seq = layout.columns["icmp"][rows], layout.columns["seq"][rows]
    check = kind + (seq >> 16) + (seq & 0xFFFF) + sums[rows]
    check += np.where(protocol[rows] == 58, (pseudo + 58 + length)[rows], 0)
    at = layout.l4[rows]
    canvas.put(">u2", at, kind)
    canvas.put(">u2", at + 2, fold(check) ^ 0xFFFF)
    canvas.put(">u4", at + 4, seq)


def _put_tcp(canvas: Canvas, layout: Layout, rows: IntArray, check: IntArray) -> None:
    column = {name: values[rows] for name, values in layout.columns.items()}
    at, bits = layout.l4[rows], column["option_bits"] & 15
    blocks = layout.blocks[rows]
    control = (((layout.head[rows] + blocks) >> 2) << 12) | column["tcp_flags"]
    seq, ack = column["seq"], column["ack"]
    words = [
        *(column["src_port"], column["dst_port"]),
        *(seq >> 16, seq & 0xFFFF, ack >> 16, ack & 0xFFFF),
        *(control, column["window"], np.zeros_like(seq)),
        np.where(control & 32, layout.payload[rows] - blocks, 0),
    ]
    for index, word in enumerate(words):
        canvas.put(">u2", at + 2 * index, word)
    total = check[rows] + sum(words)
    value, echo = column["ts_val"], column["ts_ecr"]
    both = (bits & 12) == 12
    stamps: list[IntArray | int] = [0x080A, value >> 16, value & 0xFFFF, echo >> 16, echo & 0xFFFF]
    groups: list[tuple[Array, list[IntArray | int]]] = [
        (bits & 1 != 0, [0x0204, column["mss"]]),
        (bits & 12 != 0, [np.where(both, 0x0402, 0x0101)]),
        (bits & 8 != 0, [*stamps]),
        ((bits & 12) == 4, [0x0402]),
        (bits & 2 != 0, [0x0103, 0x0300 | np.minimum(column["window_scale"], 14)]),
    ]
    option = at + 20
    for present, fields in groups:
        for field in fields:
            values = np.broadcast_to(np.asarray(field, dtype=np.int64), at.shape)
            canvas.put(">u2", option[present], values[present])
            total += np.where(present, values, 0)
            option = option + np.where(present, 2, 0)
    canvas.put(">u2", at + 16, fold(total) ^ 0xFFFF)
