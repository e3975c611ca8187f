"""Protocols of things and plants: MQTT, CoAP, Modbus/TCP, EtherNet/IP, ISO transport.

References:
    MQTT 3.1.1 sections 2.2 and 3; RFC 7252 section 3; MODBUS Application Protocol 1.1b3 section 6
    and Messaging on TCP/IP 1.0b section 3; CIP volume 2 section 2-3; RFC 1006 and RFC 905; the
    S7 header as Wireshark's documentation describes it; IEC 60870-5-104 section 5.
"""

from __future__ import annotations

import struct

from netsynth.demux.payloads.shape import Patch, Shape, Template
from netsynth.demux.payloads.words import WORDS, text


def build_mqtt(shape: Shape) -> bytes:
    """Build CONNECT and CONNACK, then pings, short answers and publications."""
    size = shape.size
    if shape.is_opening and shape.turn == 0:
        if shape.is_client and 14 <= size <= 1000:
            room = size - 14 - len(_remaining(size)) + 1
            name = text(room, shape.variant).encode()
            head = b"\x10" + _remaining(size) + b"\x00\x04MQTT\x04\x02\x00\x3c"
            return head + struct.pack(">H", len(name)) + name
        if not shape.is_client and size >= 4:
            rest = size - 4
            return b"\x20\x02\x00\x00" + (_mqtt_message(rest, shape) if rest else b"")
    return _mqtt_message(size, shape)


def build_coap(shape: Shape) -> bytes:
    """Build a confirmable GET or its answer with content."""
    if shape.size < 4:
        return b"\x40"[: shape.size]
    if shape.size == 4:
        return b"\x60\x00\x00\x00" if not shape.is_client else b"\x40\x00\x00\x00"
    if not shape.is_client:
        return b"\x60\x45\x00\x00\xff" + bytes(1) if shape.size > 5 else b"\x60\x44\x00\x00\xb0"
    room = min(shape.size - 5, 12) - (1 if shape.size == 18 else 0)
    head = b"\x40\x01\x00\x00" + bytes([0xB0 | room]) + text(room, shape.variant).encode()
    rest = shape.size - len(head)
    return head + (b"\xff" if rest > 1 else b"")


def build_modbus(shape: Shape) -> bytes:
    """Build a request to read or write coils, and the response of its kind."""
    size, reads = shape.size, shape.asked_size <= 12
    if size < 8:
        return struct.pack(">HHH", 0, 0, max(size - 6, 0))
    head = struct.pack(">HHHB", 0, 0, min(size - 6, 65535), 1)
    if size == 8 or (shape.is_client and size < 12):  # a function that a device may define
        return head + b"\x41"
    if shape.is_client:
        if size < 13:
            return head + struct.pack(">BHH", 1, shape.variant * 10, 8 + shape.variant)
        count = min(size - 13, 255)
        return head + struct.pack(">BHHB", 15, shape.variant * 10, count * 8, count)
    if size <= 9:
        return head + b"\x81\x02"
    if not reads and size == 12:
        return head + struct.pack(">BHH", 15, shape.variant * 10, 8)
    return head + struct.pack(">BB", 1, min(size - 9, 255))


def build_ethernet_ip(shape: Shape) -> bytes:
    """Build an encapsulated NOP, which carries any data."""
    return struct.pack("<HHII8sI", 0, max(shape.size - 24, 0) & 0xFFFF, 1, 0, b"", 0)


def build_iso_transport(shape: Shape) -> bytes:
    """Build a connection request and confirm, then S7 reads of nothing and acknowledgements."""
    head = struct.pack(">BBH", 3, 0, shape.size & 0xFFFF)
    if shape.is_opening and shape.turn == 0 and 11 <= shape.size <= 200:
        kind = 0xE0 if shape.is_client else 0xD0
        fixed = struct.pack(">BBHHB", shape.size - 5, kind, 0, 1, 0)
        rest = shape.size - 11
        if rest >= 2:
            fixed += bytes([0xC1, rest - 2]) + bytes(rest - 2)
        return head + fixed
    rest = min(shape.size, 65_535) - 19
    if rest < 0:
        return head + b"\x02\xf0\x80" + bytes(max(shape.size - 7, 0))
    if shape.is_client:
        return head + b"\x02\xf0\x80" + struct.pack(">BBHHHHH", 0x32, 1, 0, 0, 2, rest, 0x0400)
    return head + b"\x02\xf0\x80" + struct.pack(">BBHHHHH", 0x32, 2, 0, 0, 0, rest, 0)


def build_telecontrol(shape: Shape) -> bytes:
    """Build frames of IEC 60870-5-104: tests, which end no dialogue, six bytes each."""
    frame = bytes.fromhex("680443000000" if shape.is_client else "680483000000")
    return frame * (shape.size // 6)


def _mqtt_message(size: int, shape: Shape) -> bytes:
    if size <= 2:
        return b"\xc0\x00" if shape.is_client else b"\xd0\x00"
    if size == 3:
        return b"\xe0\x01\x00"  # only a DISCONNECT is as long, in MQTT 5 section 3.14
    if size == 4:
        return b"\x40\x02\x00\x01"
    if size == 5 and not shape.is_client:
        return b"\x90\x03\x00\x01\x00"
    remaining = _remaining(size)
    topic = WORDS[shape.variant * 5].encode()[: max(size - 1 - len(remaining) - 2, 0)]
    if size >= 40:
        topic = f"site/{WORDS[shape.variant * 5]}/state".encode()
    return b"\x30" + remaining + struct.pack(">H", len(topic)) + topic


def _remaining(size: int) -> bytes:
    """Return MQTT's remaining length of a message of `size` bytes in all."""
    for width in range(1, 5):
        left = size - 1 - width
        if left < 1 << (7 * width):
            if width > 1 and left < 1 << (7 * (width - 1)):  # a longer form than needed
                left |= 0
            break
    parts = [(left >> (7 * k)) & 127 for k in range(width)]
    return bytes(part | (128 if k < width - 1 else 0) for k, part in enumerate(parts))


_TURNS = frozenset({"size", "is_client", "turn", "is_opening", "variant"})
_SIZES = frozenset({"size", "asked_size", "is_client", "variant"})
_LATER = frozenset({"size", "is_client", "variant"})
MQTT = Template(build_mqtt, _TURNS, uses_later=_LATER, opening_turns=1, shortest=2, usual=2)
COAP = Template(build_coap, _SIZES, patches=(Patch(2, 2, "exchange"),), shortest=4, usual=12)
MODBUS = Template(build_modbus, _SIZES, patches=(Patch(0, 2, "exchange"),), shortest=8, usual=12)
TELECONTROL = Template(
    build_telecontrol, frozenset({"size", "is_client"}), shortest=6, usual=6, step=6
)
ETHERNET_IP = Template(build_ethernet_ip, frozenset({"size"}))
ISO_TRANSPORT = Template(
    build_iso_transport, _TURNS, uses_later=_LATER, opening_turns=1, shortest=7, usual=22
)
