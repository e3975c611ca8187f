"""Capture files built by hand, with struct alone, from the formats' specifications."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

START_S = 1_700_000_000
MICROSECONDS, NANOSECONDS, MODIFIED = 0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34


def pcap(
    frames: Sequence[bytes],
    *,
    link: int = 1,
    order: str = "<",
    magic: int = NANOSECONDS,
    times_s: Sequence[int] | None = None,
    fraction: int = 0,
    cut: int = 1 << 18,
) -> bytes:
    """Build a pcap file; frame k is seen `fraction` units after second START_S + k."""
    parts = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, cut, link)]
    for k, frame in enumerate(frames):
        second = times_s[k] if times_s is not None else START_S + k
        kept = frame[:cut]
        parts.append(struct.pack(order + "IIII", second, fraction, len(kept), len(frame)))
        if magic == MODIFIED:
            parts.append(struct.pack(order + "IHBB", 3, 0x0800, 4, 0))
        parts.append(kept)
    return b"".join(parts)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """Build a pcapng block."""
    body += b"\0" * (-len(body) % 4)
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """Build a pcapng option."""
    return struct.pack(order + "HH", code, len(value)) + value + b"\0" * (-len(value) % 4)


def section(order: str = "<") -> bytes:
    """Build a section header block."""
    return block(0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1), order)


def interface(
    link: int = 1,
    *,
    order: str = "<",
    resolution: int | None = None,
    offset_s: int | None = None,
    snap_length: int = 0,
) -> bytes:
    """Build an interface description block."""
    body = struct.pack(order + "HHI", link, 0, snap_length) + option(2, b"eth0", order)
    if resolution is not None:
        body += option(9, bytes([resolution]), order)
    if offset_s is not None:
        body += option(14, struct.pack(order + "q", offset_s), order)
    return block(1, body + option(0, b"", order), order)


def packet(
    frame: bytes, units: int, *, number: int = 0, order: str = "<", wire: int | None = None
) -> bytes:
    """Build an enhanced packet block."""
    head = struct.pack(
        order + "IIIII", number, units >> 32, units & 0xFFFFFFFF, len(frame), wire or len(frame)
    )
    return block(6, head + frame, order)


def save(path: Path, data: bytes) -> Path:
    """Write bytes to a file and return its path."""
    path.write_bytes(data)
    return path
