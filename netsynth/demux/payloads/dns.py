"""DNS and its relatives: multicast DNS, LLMNR and NetBIOS names.

References:
    RFC 1035 section 4, RFC 6891 section 6.1 (OPT), RFC 7830 (padding), RFC 6762 section 18,
    RFC 4795 section 2.1, RFC 1002 sections 4.2 and 4.4.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from netsynth.demux.payloads.shape import Patch, Shape, Template
from netsynth.demux.payloads.words import text, wire_name

A, AAAA = 1, 28  # types of records
RECORD_SIZE = {A: 16, AAAA: 28}  # of an address, with a pointer for its name
_CNAME, _PTR, _TXT, _OPT, _HTTPS = 5, 12, 16, 41, 65
_LIFETIMES_S = (300, 60, 3600, 120, 30, 600, 1800, 20)
_HEADER = 12  # bytes of a message without questions and answers
_TO_QUESTION = b"\xc0\x0c"


def build_dns(shape: Shape) -> bytes:
    """Build a query or the answer to one, over UDP."""
    if shape.size < 17:
        return struct.pack(">6H", 0, 0x0100 if shape.is_client else 0x8180, 0, 0, 0, 0)
    if shape.is_client:
        question, options = _question(shape.size, shape.variant)
        count = 1 if options[:3] == b"\0\0\x29" else 0
        return struct.pack(">6H", 0, 0x0100, 1, 0, 0, count) + question + options
    asked_size = shape.asked_size if 17 <= shape.asked_size <= shape.size else 0
    question, _ = _question(asked_size or min(shape.size, 40), shape.variant)
    answers, count, options = _answers(shape.size - 12 - len(question), question, shape.variant)
    header = struct.pack(">6H", 0, 0x8180, 1, count, 0, 1 if options[:3] == b"\0\0\x29" else 0)
    return header + question + answers + options


@lru_cache(maxsize=4096)
def asked_name(size: int, variant: int) -> str:
    """Return the name that a query of `size` bytes asks for, "" if it is too short to ask."""
    if size < 17:
        return ""
    rest, labels = _question(size, variant)[0][:-4], []
    while rest[0]:
        labels.append(rest[1 : 1 + rest[0]].decode())
        rest = rest[1 + rest[0] :]
    return ".".join(labels)


@lru_cache(maxsize=4096)
def holds_address(size: int, asked_size: int, variant: int) -> bool:
    """Whether the answer of `size` bytes to a query of `asked_size` has room for an address."""
    shape = Shape(size=size, asked_size=asked_size, is_client=False, variant=variant)
    return find_address(build_dns(shape))[1] > 0


def find_address(answer: bytes) -> tuple[int, int]:
    """Find the first address of an answer that `build_dns` built: its place and bytes, or 0, 0."""
    if len(answer) < _HEADER or answer[6:8] == b"\0\0":
        return 0, 0
    place = answer.index(b"\0", _HEADER) + 5
    while place + 12 <= len(answer) and answer[place] >= 0xC0:  # a pointer for the name
        kind, width = struct.unpack_from(">H6xH", answer, place + 2)
        if kind in RECORD_SIZE:
            return (place + 12, width) if place + 12 + width <= len(answer) else (0, 0)
        place += 12 + width
    return 0, 0


def build_dns_over_tcp(shape: Shape) -> bytes:
    """Build the same with its length before it."""
    size = min(shape.size - 2, 65535)
    if size < 12:
        return b""
    inner = shape._replace(size=size, asked_size=max(shape.asked_size - 2, 0))
    return struct.pack(">H", size) + build_dns(inner)


def build_multicast_dns(shape: Shape) -> bytes:
    """Build a question while that fits, else an announcement of a text record."""
    local = ("local", "_tcp.local", "_udp.local")
    if shape.size < 17:
        return bytes(12)
    is_question = shape.size < 60 or (shape.variant % 2 == 0 and shape.size <= 200)
    if is_question:
        name = wire_name(min(shape.size - 16, 255), shape.variant, domains=local)
        return struct.pack(">6H", 0, 0, 1, 0, 0, 0) + name + struct.pack(">2H", _PTR, 1)
    name = wire_name(20 + shape.variant, shape.variant, domains=local)
    room = shape.size - 12 - len(name) - 10
    head = struct.pack(">6H", 0, 0x8400, 0, 1, 0, 0) + name
    return head + struct.pack(">2HIH", _TXT, 0x8001, 4500, room) + _strings(room, shape.variant)


def build_netbios_name(shape: Shape) -> bytes:
    """Build a NetBIOS name query, registration or answer."""
    name = b"\x20" + _half_ascii(text(10, shape.variant).upper()) + b"\0"
    if shape.size < 50:
        return bytes(min(shape.size, 12))
    if shape.is_client and shape.size < 68:
        return struct.pack(">6H", 0, 0x0110, 1, 0, 0, 0) + name + struct.pack(">2H", 0x20, 1)
    record = struct.pack(">2HIHH", 0x20, 1, 300_000, 6, 0) + bytes([192, 0, 2, shape.variant + 1])
    if shape.is_client:
        head = struct.pack(">6H", 0, 0x2910, 1, 0, 0, 1) + name + struct.pack(">2H", 0x20, 1)
        return head + _TO_QUESTION + record
    if shape.size >= 62:
        return struct.pack(">6H", 0, 0x8500, 0, 1, 0, 0) + name + record
    return struct.pack(">6H", 0, 0x8503, 0, 0, 0, 0)


def build_netbios_datagram(shape: Shape) -> bytes:
    """Build a NetBIOS group datagram; what it carries is left to the filler's place, zeros."""
    if shape.size < 82:
        return bytes(shape.size)
    name = b"\x20" + _half_ascii(text(9, shape.variant).upper()) + b"\0"
    group = b"\x20" + _half_ascii("WORKGROUP") + b"\0"
    head = struct.pack(">BBHIHHH", 0x11, 0x0A, 0, 0, 138, shape.size - 14, 0)
    return head + name + group + bytes(shape.size - 82)


def _question(size: int, variant: int) -> tuple[bytes, bytes]:
    """Return the question of a query of `size` bytes, and what fills the query up."""
    kind = (A, AAAA, A, _HTTPS)[variant % 4]
    has_options = size >= 12 + 4 + 11 + 15  # lets an answer be a few bytes longer
    room = size - 12 - 4 - (11 if has_options else 0)
    name_size = room
    if room > 90:
        name_size = 24 + variant
        has_options = True
        room = size - 12 - 4 - 11
        if 0 < room - name_size < 4:
            name_size = room
    name = wire_name(name_size, variant)
    question = name + struct.pack(">2H", kind, 1)
    rest = size - 12 - len(question)
    return question, _options(rest) if has_options else bytes(rest)


def _options(room: int) -> bytes:
    """Return an OPT record of `room` bytes, zeros where it does not fit."""
    if room < 11:
        return bytes(room)
    if room < 15:
        return struct.pack(">BHHIH", 0, _OPT, 1232, 0, 0) + bytes(room - 11)
    padding = struct.pack(">HH", 12, room - 15) + bytes(room - 15)
    return struct.pack(">BHHIH", 0, _OPT, 1232, 0, room - 11) + padding


def _answers(room: int, question: bytes, variant: int) -> tuple[bytes, int, bytes]:
    """Return records that answer a question, their number, and what fills `room` up."""
    kind = struct.unpack(">H", question[-4:-2])[0]
    if kind not in RECORD_SIZE or room < RECORD_SIZE[kind]:
        return b"", 0, _options(room)
    size, lifetime_s = RECORD_SIZE[kind], _LIFETIMES_S[variant]
    count, rest = divmod(room, size)
    options = rest if count == 1 and rest >= 11 else 0  # an alias would leave no address
    rest -= options
    owner, records = _TO_QUESTION, b""
    if rest:
        label = text(size + rest - 15, variant).encode()
        alias = bytes([len(label)]) + label + _TO_QUESTION
        records = owner + struct.pack(">2HIH", _CNAME, 1, lifetime_s, len(alias)) + alias
        owner = struct.pack(">H", 0xC000 | (12 + len(question) + 12))
        count -= 1
    for number in range(count):
        host = (variant * 29 + number) % 250 + 1
        address = bytes([192, 0, 2, host])
        if kind == AAAA:
            address = bytes.fromhex("20010db8") + bytes(10) + struct.pack(">H", host)
        records += owner + struct.pack(">2HIH", kind, 1, lifetime_s, len(address)) + address
    return records, count + (1 if rest else 0), _options(options)


def _strings(room: int, variant: int) -> bytes:
    """Return DNS character strings of `room` bytes, at least 1."""
    parts: list[bytes] = []
    while room:
        length = min(room - 1, 60)
        value = f"{text(4, variant + len(parts))}=" + text(max(length - 5, 0), variant)
        parts.append(bytes([length]) + value.encode()[:length])
        room -= 1 + length
    return b"".join(parts)


def _half_ascii(name: str) -> bytes:
    """Return a name padded to 16 characters in NetBIOS first-level encoding."""
    padded = name[:15].ljust(15).encode() + b"\0"
    return bytes(65 + half for byte in padded for half in (byte >> 4, byte & 15))


_USES = frozenset({"size", "asked_size", "is_client", "variant"})
DNS = Template(build_dns, _USES, patches=(Patch(0, 2, "exchange"),), shortest=_HEADER, usual=33)
DNS_OVER_TCP = Template(
    build_dns_over_tcp, _USES, patches=(Patch(2, 2, "exchange"),), shortest=2 + _HEADER, usual=35
)
MULTICAST_DNS = Template(
    build_multicast_dns, frozenset({"size", "variant"}), shortest=_HEADER, usual=40
)
NETBIOS_NAME = Template(
    build_netbios_name, _USES, patches=(Patch(0, 2, "exchange"),), shortest=_HEADER, usual=50
)
NETBIOS_DATAGRAM = Template(
    build_netbios_datagram,
    _USES,
    patches=(Patch(2, 2, "message"), Patch(4, 4, "source")),
    shortest=14,
    usual=201,
)
