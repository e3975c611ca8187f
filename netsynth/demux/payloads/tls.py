"""TLS 1.3 in the form that passes middleboxes, and what goes over it.

References:
    RFC 8446 sections 4.1.2, 4.1.3, 4.2, 5.1 and D.4; RFC 7685 (padding); RFC 6066 section 3.
"""

from __future__ import annotations

import struct

from netsynth.demux.payloads.dns import asked_name
from netsynth.demux.payloads.shape import NAMES, Patch, Shape, Template
from netsynth.demux.payloads.words import text

_CHANGE_CIPHER = bytes.fromhex("140303000101")
_SUITES = bytes.fromhex("130113021303c02bc02fc02cc030cca9cca8c013c014009c009d002f0035")
_HELLO_SIZE = 5 + 4 + 2 + 32 + 1 + 32 + 2 + 2 + 2  # a ClientHello but suites and extensions
_SERVER_HELLO_SIZE = 127
_LONGEST_PADDING = 1024  # zeros written out; the rest of a longer padding is left to the filler


def build_tls(shape: Shape) -> bytes:
    """Build the hellos, then the headers of records of application data."""
    if shape.is_opening and shape.turn == 0:
        if shape.is_client and shape.lead_size >= _HELLO_SIZE + 2:
            name = asked_name(shape.name_size, shape.name_variant) or _name(shape.server)
            return _client_hello(min(shape.lead_size, 16_000), shape.variant, name)
        if not shape.is_client and shape.lead_size >= _SERVER_HELLO_SIZE:
            return _server_hello(shape.lead_size)
        if not shape.is_client and shape.lead_size == 7:
            return bytes.fromhex("15030300020228")  # alert: handshake failure
    if shape.is_opening and shape.turn == 1 and shape.is_client and shape.lead_size >= 12:
        return _CHANGE_CIPHER + application_record(shape.lead_size - 6)
    return application_record(shape.lead_size)


def application_record(size: int) -> bytes:
    """Return the header of a record of application data that takes `size` bytes with it."""
    return struct.pack(">BHH", 23, 0x0303, min(max(size - 5, 0), 16_384))[:size]


def _name(server: int) -> str:
    return f"{text(8 + server % 8, server)}.example.com"


def _client_hello(size: int, variant: int, name: str) -> bytes:
    suites = _SUITES if size >= _HELLO_SIZE + len(_SUITES) + 60 else _SUITES[:2]
    room = size - _HELLO_SIZE - len(suites)
    extensions = b""
    for extension in (
        bytes.fromhex("002b0003020304"),  # supported versions: 1.3
        bytes.fromhex("000a00080006001d00170018"),  # groups
        bytes.fromhex("000d000e000c040308040401050308050806"),  # signatures
        bytes.fromhex("003300260024001d0020") + bytes(range(32)),  # key share
        bytes.fromhex("0010000e000c02683208687474702f312e31"),  # ALPN
        bytes.fromhex("002d00020101"),  # key exchange modes
    ):
        if len(extensions) + len(extension) + len(_server_name(name)) + 8 <= room:
            extensions += extension
    rest, missing = room - len(extensions), 0
    if rest >= len(_server_name("")) + 1:
        name = name if rest >= len(_server_name(name)) else text(rest - 9, variant)
        if 0 < rest - len(_server_name(name)) < 4:  # no room for padding: a longer name
            name = text(rest - 9, variant)
        extensions += _server_name(name)
        rest = room - len(extensions)
    if rest >= 4:
        extensions += struct.pack(">HH", 21, rest - 4) + bytes(min(rest - 4, _LONGEST_PADDING))
        missing, rest = max(rest - 4 - _LONGEST_PADDING, 0), 0
    suites += b"\x00\xff" * ((rest + 1) // 2)  # 3 bytes or fewer: more suites, a shorter session
    session = 32 - rest % 2
    body = struct.pack(">H32xB", 0x0303, session) + bytes(session)
    body += struct.pack(">H", len(suites)) + suites + b"\x01\x00"
    body += struct.pack(">H", len(extensions) + missing) + extensions
    length = len(body) + missing
    return struct.pack(">BHHI", 22, 0x0303, length + 4, 1 << 24 | length) + body


def _server_name(name: str) -> bytes:
    encoded = name.encode()
    return struct.pack(">HHHBH", 0, len(encoded) + 5, len(encoded) + 3, 0, len(encoded)) + encoded


def _server_hello(size: int) -> bytes:
    rest = size - _SERVER_HELLO_SIZE
    extensions = bytes.fromhex("002b0002030400330024001d0020") + bytes(range(32))
    if 1 <= rest < 4:  # too little for an extension: one in place of the key share
        extensions = extensions[:6] + struct.pack(">HH", 0x0A0A, rest + 36) + bytes(rest + 36)
    elif 4 <= rest < 12:
        extensions += struct.pack(">HH", 0x0A0A, rest - 4) + bytes(rest - 4)
    body = struct.pack(">H32xB32xHB", 0x0303, 32, 0x1301, 0)
    body += struct.pack(">H", len(extensions)) + extensions
    hello = struct.pack(">BHHI", 22, 0x0303, len(body) + 4, 2 << 24 | len(body)) + body
    if rest >= 12:
        hello += _CHANGE_CIPHER + application_record(rest - 6)
    return hello


TLS = Template(
    build_tls,
    frozenset(("lead_size", "is_client", "turn", "is_opening", "variant", "server", *NAMES)),
    uses_later=frozenset({"lead_size"}),
    opening_turns=2,
    patches=(
        Patch(11, 32, "message", first_turn_only=True),  # random
        Patch(44, 31, "flow", first_turn_only=True),  # session id, echoed by the server
    ),
    has_records=True,
    shortest=6,
    usual=31,
)
