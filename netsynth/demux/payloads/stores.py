"""What keeps files and values: Redis, SMB, DCE/RPC, TDS.

References:
    Redis serialization protocol (RESP2); MS-SMB2 sections 2.1 and 2.2; C706 section 12.6;
    MS-TDS section 2.2.3.
"""

from __future__ import annotations

import struct

from netsynth.demux.payloads.shape import Shape, Template
from netsynth.demux.payloads.words import WORDS, line, text

_LONGEST_TEXT = 8192  # what is longer is begun only


def build_redis(shape: Shape) -> bytes:
    """Build a command, or a reply of one value."""
    size, key = shape.size, WORDS[shape.variant * 9]
    if not shape.is_client:
        if size == 5:
            return b"+OK\r\n"
        if size == 4:
            return b":1\r\n"
        return _bulk(size, shape.variant) or line("+", size, shape.variant)
    if size == 14:
        return b"*1\r\n$4\r\nPING\r\n"
    for head in (
        f"*3\r\n$3\r\nSET\r\n${len(key)}\r\n{key}\r\n".encode(),
        b"*2\r\n$3\r\nGET\r\n",
        b"*2\r\n$4\r\nECHO\r\n",
    ):
        value = _bulk(size - len(head), shape.variant)
        if value and (len(head) > 20 or size < 60):
            return head + value
    return line("PING ", size, shape.variant)


def build_smb(shape: Shape) -> bytes:
    """Build an SMB2 echo, which carries any data, or a session keep-alive."""
    if shape.size < 72:
        return struct.pack(">I", 0x85000000)
    flags = 0 if shape.is_client else 1
    head = struct.pack(
        "<4sHHIHHIIQIIQ16s", b"\xfeSMB", 64, 0, 0, 13, 1, flags, 0, shape.turn, 0, 0, 0, b""
    )
    return struct.pack(">I", (shape.size - 4) & 0xFFFFFF) + head + struct.pack("<HH", 4, 0)


def build_netbios_session(shape: Shape) -> bytes:
    """Build a session request and its answer, then SMB."""
    if shape.is_opening and shape.turn == 0:
        if shape.is_client and shape.size == 72:
            return b"\x81\x00\x00\x44" + (b"\x20" + b"CA" * 16 + b"\0") * 2
        if not shape.is_client and shape.size == 4:
            return b"\x82\x00\x00\x00"
    return build_smb(shape)


def build_rpc(shape: Shape) -> bytes:
    """Build a DCE/RPC request or response with a body of any data."""
    if shape.size < 24:
        return b""
    kind, size = 0 if shape.is_client else 2, shape.size & 0xFFFF
    head = struct.pack("<BBBB4sHHI", 5, 0, kind, 3, b"\x10\0\0\0", size, 0, shape.turn + 1)
    return head + struct.pack("<IHH", max(size - 24, 0), 0, 0)


def build_tds(shape: Shape) -> bytes:
    """Build a TDS packet of bulk data, which may be any."""
    return struct.pack(">BBHHBB", 7, 1, shape.size & 0xFFFF, 0, 1, 0)


def _bulk(size: int, variant: int) -> bytes:
    """Return a RESP bulk string of `size` bytes in all, or nothing where no length fits."""
    for digits in range(1, 10):
        length = size - digits - 5
        if length >= 0 and len(str(length)) == digits:
            head = f"${length}\r\n".encode()
            if size > _LONGEST_TEXT:
                return head
            return head + text(length, variant, separator=" ").encode() + b"\r\n"
    return b""


_USES = frozenset({"size", "is_client", "turn", "is_opening", "variant"})
REDIS = Template(build_redis, frozenset({"size", "is_client", "variant"}))
SMB = Template(build_smb, frozenset({"size", "is_client", "turn"}))
NETBIOS_SESSION = Template(
    build_netbios_session, _USES, uses_later=frozenset({"size", "is_client"}), opening_turns=1
)
RPC = Template(build_rpc, frozenset({"size", "is_client", "turn"}))
TDS = Template(build_tds, frozenset({"size"}), shortest=8, usual=30)
