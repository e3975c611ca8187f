"""The parts of a capture file around its packets, and whether what goes into it fits.

References:
    IETF draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng; RFC 2018 section 3 (SACK blocks).
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import TableError
from netsynth.numbers import IntArray
from netsynth.tables import (
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    TCP,
    PacketTable,
)

OPTION_ROOM = 40  # bytes of TCP options (RFC 9293 section 3.1)


def file_header(resolution_ns: int, snaplen: int, as_pcapng: bool) -> bytes:
    """Return what a file of Ethernet frames begins with.

    Args:
        resolution_ns: Of times, 1 or 1000.
        snaplen: Most bytes of a frame that are kept.
        as_pcapng: pcapng, not pcap.
    """
    if not as_pcapng:
        magic = 0xA1B23C4D if resolution_ns == 1 else 0xA1B2C3D4
        return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)
    exponent = 9 if resolution_ns == 1 else 6
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    options = struct.pack("<HHB3xHH", 9, 1, exponent, 0, 0)
    return section + struct.pack("<IIHHI", 1, 32, 1, 0, snaplen) + options + b"\x20\0\0\0"


def frame_record(ticks: int, resolution_ns: int, kept: bytes, wire: int, as_pcapng: bool) -> bytes:
    """Return the record of a frame.

    Args:
        ticks: Its time, in units of `resolution_ns`.
        resolution_ns: 1 or 1000.
        kept: The frame, as far as it is kept.
        wire: Bytes that it had.
        as_pcapng: pcapng, not pcap.
    """
    if not as_pcapng:
        seconds, fraction = divmod(ticks, 1_000_000_000 // resolution_ns)
        return struct.pack("<4I", seconds, fraction, len(kept), wire) + kept
    padded = kept + bytes(-len(kept) % 4)
    size, words = 32 + len(padded), (ticks >> 32, ticks & 0xFFFFFFFF, len(kept), wire)
    return struct.pack("<7I", 6, size, 0, *words) + padded + struct.pack("<I", size)


def check_prefixes(
    packets: PacketTable, prefix: NDArray[np.uint8], start: IntArray, length: IntArray
) -> None:
    """Refuse prefixes that do not fit packets; see `CaptureWriter.write`."""
    count = len(packets)
    if start.shape != (count,) or length.shape != (count,):
        raise TableError(f"prefix_start and prefix_length must have one row a packet ({count})")
    if prefix.ndim != 1 or prefix.dtype != np.uint8:
        raise TableError("prefix must be a flat array of uint8")
    if start.min() < 0 or length.min() < 0 or (start + length).max() > prefix.size:
        raise TableError(f"prefixes must lie within the {prefix.size} bytes of prefix")
    rows = np.flatnonzero(packets.option_bits & OPTION_SACK)
    rows = rows[(packets.protocol[rows] == TCP) & (packets.payload_length[rows] == 0)]
    bits = packets.option_bits[rows].astype(np.int64)
    room = OPTION_ROOM - np.where(bits & OPTION_TIMESTAMPS, 12, 0)
    room -= np.where(bits & OPTION_MSS, 4, 0) + np.where(bits & OPTION_WINDOW_SCALE, 4, 0)
    room -= np.where((bits & OPTION_SACK_PERMITTED > 0) & (bits & OPTION_TIMESTAMPS == 0), 4, 0)
    wrong = rows[(length[rows] % 4 != 0) | (length[rows] > room)]
    if wrong.size:
        raise TableError(
            f"row {wrong[0]} has SACK blocks of {length[wrong[0]]} bytes; make them whole words "
            f"that fit into the {OPTION_ROOM} bytes of options"
        )
