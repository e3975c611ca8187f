"""Where records and their parts lie, for many packets at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.frames import CUT, MAX_FRAME, OUT_SIZE, PCAPNG_OUT
from netsynth.numbers import Array, IntArray
from netsynth.tables import PACKET_COLUMNS

MOST_ROWS = 1 << 14


@dataclass(kw_only=True, slots=True)
class Layout:
    """Sizes and places of R records; int64 [R] each.

    Attributes:
        columns: The packets' columns, int64 [R], by name.
        later: bool [R], a fragment but the first.
        head: Bytes of the transport header that are built.
        ip_head: Bytes of the IP header, with a fragment header.
        payload: Bytes of payload, shortened where IP cannot hold them, or of SACK blocks.
        blocks: Bytes of SACK blocks, which stand where a payload would.
        wire, captured: Bytes of the frame, and of these kept.
        record: Where the record begins, while headers are whole.
        frame: Where the frame begins.
        ip: Where IP begins.
        l4: Where the transport header begins.
        size: Bytes of the record in the file.
        wide: Bytes of the record while headers are whole.
    """

    columns: dict[str, IntArray]
    later: Array
    head: IntArray
    ip_head: IntArray
    payload: IntArray
    blocks: IntArray
    wire: IntArray
    captured: IntArray
    record: IntArray
    frame: IntArray
    ip: IntArray
    l4: IntArray
    size: IntArray
    wide: IntArray


@dataclass(kw_only=True, slots=True)
class Sources:
    """Where the bytes of R payloads come from.

    Attributes:
        prefix: uint8, beginnings of payloads.
        pool: uint8, filler.
        start: int64 [R], where in `prefix` each payload begins.
        taken: int64 [R], bytes of it that come from there.
        offset: int64 [R], where in `pool` the rest of it begins.
    """

    prefix: NDArray[np.uint8]
    pool: NDArray[np.uint8]
    start: IntArray
    taken: IntArray
    offset: IntArray


class Canvas:
    """Bytes to be filled, seen as words at every byte."""

    def __init__(self, size: int) -> None:
        self.data: NDArray[np.uint8] = np.zeros(size + 8, dtype=np.uint8)
        self._views = {
            kind: np.ndarray((size + 9 - width,), kind, self.data, strides=(1,))
            for kind, width in (("u1", 1), (">u2", 2), (">u4", 4), ("<u4", 4), ("<u8", 8))
        }

    def put(self, kind: str, at: IntArray, values: Array | int) -> None:
        """Write words of a kind at the places `at`."""
        self._views[kind][at] = values


def lay_out(
    columns: tuple[Array, ...], first_row: int, settings: IntArray, prefix_length: IntArray
) -> Layout:
    """Place records from `first_row` on, as many as the buffer of `encode` has room for."""
    named = {
        name: column[first_row : first_row + MOST_ROWS].astype(np.int64)
        for name, column in zip(PACKET_COLUMNS, columns, strict=True)
    }
    protocol, flags = named["protocol"], named["ip_flags"]
    is_v4 = named["ip_version"] == 4
    later = flags & 4 != 0
    bits = named["option_bits"]
    options = np.where(bits & 1, 4, 0) + np.where(bits & 2, 4, 0)
    options += np.where(bits & 8, 12, np.where(bits & 4, 4, 0))
    short = np.isin(protocol, (17, 1, 58))
    head = np.where(later, 0, np.where(protocol == 6, 20 + options, np.where(short, 8, 0)))
    ip_head = np.where(is_v4, 20, np.where(flags & 5, 48, 40))
    counted = np.where(is_v4, ip_head, ip_head - 40)
    payload = np.minimum(named["payload_length"], 65535 - counted - head)
    blocks = np.zeros_like(payload)
    if prefix_length.size:
        tells = (bits & 16 != 0) & (payload == 0) & (protocol == 6) & ~later
        blocks = np.where(tells, prefix_length[first_row : first_row + MOST_ROWS], 0)
    payload += blocks
    link_head = np.where(named["vlan"] & 0xFFFF, 18, 14)
    wire = link_head + ip_head + head + payload
    captured = np.minimum(wire, settings[CUT])
    record_head = 28 if settings[PCAPNG_OUT] else 16
    padding = (-captured & 3) + 4 if settings[PCAPNG_OUT] else 0
    size = record_head + captured + padding
    wide = record_head + np.maximum(captured, link_head + ip_head + head) + padding
    begin = np.cumsum(size) - size
    count = int(np.count_nonzero(begin <= settings[OUT_SIZE] - MAX_FRAME))
    kept = slice(count)
    record = (np.cumsum(wide) - wide)[kept]
    frame = record + record_head
    ip = frame + link_head[kept]
    return Layout(
        columns={name: column[kept] for name, column in named.items()},
        later=later[kept],
        head=head[kept],
        ip_head=ip_head[kept],
        payload=payload[kept],
        blocks=blocks[kept],
        wire=wire[kept],
        captured=captured[kept],
        record=record,
        frame=frame,
        ip=ip,
        l4=ip + ip_head[kept],
        size=size[kept],
        wide=wide[kept],
    )


def cut_frames(canvas: Canvas, layout: Layout, out: NDArray[np.uint8], settings: IntArray) -> int:
    """Copy records to `out` without what the snap length cuts off; return their bytes."""
    used = int(layout.size.sum())
    excess = layout.wide - layout.size
    if not excess.any():
        out[:used] = canvas.data[:used]
        return used
    keep = layout.frame + layout.captured
    tail = layout.record + layout.wide - (4 if settings[PCAPNG_OUT] else 0)
    padding = np.where(settings[PCAPNG_OUT], -layout.captured & 3, 0)
    marks = np.zeros(canvas.data.size + 1, dtype=np.int64)
    np.add.at(marks, keep + padding, -1)  # what is kept ends, and begins again
    np.add.at(marks, tail, 1)
    for row in np.flatnonzero(padding).tolist():
        canvas.data[keep[row] : keep[row] + padding[row]] = 0
    kept = (1 + np.cumsum(marks))[: int(layout.record[-1] + layout.wide[-1])] > 0
    out[:used] = canvas.data[: kept.size][kept]
    return used


def fold(value: IntArray) -> IntArray:
    """Reduce sums of 16-bit words to 16 bits, carries added back (RFC 1071)."""
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    return (value & 0xFFFF) + (value >> 16)


def swap(value: IntArray) -> IntArray:
    """Swap the bytes of 16-bit words."""
    return ((value & 255) << 8) | (value >> 8)
