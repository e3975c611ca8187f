"""What keeps a network running: DHCP, NTP, SNMP, syslog, STUN, IKE, TFTP and QUIC's envelopes.

References:
    RFC 2131 section 2 and RFC 2132; RFC 8415 section 8; RFC 5905 section 7.3; RFC 3416 section 3
    and RFC 3417 section 8; RFC 3164 section 4; RFC 8489 section 5 and RFC 8656 section 12.4;
    RFC 7296 section 3.1; RFC 3948 section 2; RFC 1350; RFC 9000 section 17; RFC 2453 section 4;
    RFC 2186 section 2 (ICP).
"""

from __future__ import annotations

import struct

from netsynth.demux.payloads.shape import Patch, Shape, Template
from netsynth.demux.payloads.words import line, text


def build_dhcp(shape: Shape) -> bytes:
    """Build discover and offer, request and acknowledgement."""
    if shape.size < 244:
        return struct.pack(">BBBB", 1 if shape.is_client else 2, 1, 6, 0)
    head = struct.pack(">BBBBIHH", 1 if shape.is_client else 2, 1, 6, 0, 0, 0, 0)
    given = bytes(4) if shape.is_client else bytes([192, 0, 2, 10 + shape.variant])
    head += bytes(4) + given + bytes(8) + b"\x02" + bytes(15) + bytes(192)
    is_second = shape.turn % 2 == 1
    kind = (3 if is_second else 1) if shape.is_client else (5 if is_second else 2)
    options = bytes([53, 1, kind])
    rest = shape.size - 240 - len(options) - 1
    if not shape.is_client and rest >= 12:
        options += bytes([54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16])
    end = shape.size - 240 - len(options)
    return head + b"\x63\x82\x53\x63" + options + b"\xff" + bytes(max(end - 1, 0))


def build_dhcp6(shape: Shape) -> bytes:
    """Build a solicit or advertise whose one option fills it up."""
    if shape.size < 8:
        return bytes([11, 0, 0, 0])
    rest = shape.size - 8
    kind = 1 if shape.is_client else 2
    option = struct.pack(">HH", 1 if rest >= 12 else 65_000, rest)  # an enterprise's identifier
    return bytes([kind, 0, 0, 0]) + option + (b"\0\x02" + bytes(max(rest - 2, 0)))[:rest]


def build_ntp(shape: Shape) -> bytes:
    """Build a client's or server's packet; a short one is a control message."""
    if shape.size < 48:
        head = b"\x16\x02" if shape.is_client else b"\x16\x82"
        return head + bytes(8) + struct.pack(">H", max(shape.size - 12, 0)) + bytes(shape.size)
    stratum = 0 if shape.is_client else 2 + shape.variant % 2
    head = bytes([0x23 if shape.is_client else 0x24, stratum, 6, 0xEC])
    times = struct.pack(">III", 0x100, 0x200, 0xC0000201) + bytes(32)
    return head + times + bytes(shape.size - 48 if shape.size > 68 else 0)


def build_snmp(shape: Shape) -> bytes:
    """Build a version 2c request for one name, or the response that gives its value."""
    name = bytes.fromhex("06082b06010201010500")[:10]  # sysName.0
    fixed = 4 + 3 + 8 + 4 + 6 + 3 + 3 + 4 + 4 + len(name)
    if shape.size < fixed + 2:
        return bytes(shape.size)
    room = shape.size - fixed
    if room < 4:
        value = b"\x05\0" + bytes(room - 2) if room == 2 else b"\x04\x01a"
    else:
        value = b"\x04\x82" + struct.pack(">H", room - 4) + text(room - 4, shape.variant).encode()
    pair = _sequence(0x30, name + value)
    kind = 0xA0 if shape.is_client else 0xA2
    unit = b"\x02\x04" + bytes(4) + b"\x02\x01\0\x02\x01\0" + _sequence(0x30, pair)
    return _sequence(0x30, b"\x02\x01\x01\x04\x06public" + _sequence(kind, unit))


def build_syslog(shape: Shape) -> bytes:
    """Build a line of a log."""
    return line("<30>", shape.size, shape.variant, end="")


def build_stun(shape: Shape) -> bytes:
    """Build a binding request or response whose one attribute fills it up, or data of a relay."""
    if shape.size < 20 or shape.size % 4:  # no STUN message (RFC 8489 section 5): RFC 8656 12.4
        return (struct.pack(">HH", 0x4000, max(shape.size - 4, 0)) + bytes(16))[: shape.size]
    room = shape.size - 20
    head = struct.pack(">HHI12x", 0x0001 if shape.is_client else 0x0101, room, 0x2112A442)
    if room < 4:
        return head + bytes(room)
    return head + struct.pack(">HH", 0x8022, room - 4) + text(room - 4, shape.variant).encode()


def build_ike(shape: Shape) -> bytes:
    """Build the header of an informational message."""
    flags = 0x08 if shape.is_client else 0x20
    return bytes(16) + struct.pack(">BBBBII", 0, 0x20, 37, flags, 0, shape.size)


def build_wrapped_esp(shape: Shape) -> bytes:
    """Build a packet of IPsec through a translator, or its keep-alive of one byte."""
    if shape.size == 1:
        return b"\xff"
    return bytes([0xC0, 0, 2, 1 + shape.is_client]) + bytes(4)  # SPI and sequence number


def build_openvpn(shape: Shape) -> bytes:
    """Build a packet of data, which is any, of OpenVPN: operation 6 of key 0."""
    return b"\x30" if shape.size > 1 else b"\x28"


def build_counted(shape: Shape) -> bytes:
    """Build a datagram that tells its length in bytes 2 and 3, as H.248 parts and ICP do."""
    return (b"\xff\xff" + struct.pack(">H", shape.size & 0xFFFF)).ljust(shape.size, b"\0")


def build_tftp(shape: Shape) -> bytes:
    """Build a read request, then data blocks and acknowledgements."""
    if shape.is_client and shape.turn == 0 and shape.size >= 9:
        return b"\0\x01" + text(shape.size - 9, shape.variant).encode() + b"\0octet\0"
    kind = 4 if shape.size == 4 else 3
    return struct.pack(">HH", kind, shape.turn + 1)


def build_rip(shape: Shape) -> bytes:
    """Build a request for, or a table of, routes."""
    entry = struct.pack(">HHIIII", 2, 0, 0xC0000200, 0xFFFFFF00, 0, 1)
    return b"\x02\x02\0\0" + entry * ((shape.size - 4) // 20)


def build_quic(shape: Shape) -> bytes:
    """Build a long header for what opens a connection, short headers then."""
    if shape.turn > 0 or shape.size < 64:
        return b"\x40" + bytes(8)
    ends = struct.pack(">I", 1) + b"\x08" + bytes(8) + b"\x08" + bytes(8)
    head = b"\xc0" + ends + b"\0" if shape.is_client else b"\xe0" + ends
    return head + struct.pack(">H", 0x4000 | (shape.size - len(head) - 2))


def _sequence(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0x82, len(content)) + content


_SIZES = frozenset({"size", "is_client", "variant"})
_TURNS = _SIZES | {"turn"}
DHCP = Template(
    build_dhcp,
    _TURNS,
    patches=(Patch(4, 4, "flow"), Patch(29, 5, "flow")),
    shortest=244,
    usual=300,
)
DHCP6 = Template(build_dhcp6, _SIZES, patches=(Patch(1, 3, "exchange"),), shortest=4, usual=40)
NTP = Template(
    build_ntp,
    _SIZES,
    patches=(
        Patch(16, 4, "asked_time", sender="server"),  # its clock was set in that second
        Patch(24, 8, "asked_time", sender="server"),
        Patch(32, 8, "time", sender="server"),
        Patch(40, 8, "time"),
    ),
    shortest=12,
    usual=48,
)
SNMP = Template(build_snmp, _SIZES, patches=(Patch(21, 3, "exchange"),))
SYSLOG = Template(build_syslog, _SIZES, shortest=5, usual=60)
STUN = Template(build_stun, _SIZES, patches=(Patch(8, 12, "exchange"),), shortest=4, usual=20)
IKE = Template(build_ike, _SIZES, patches=(Patch(0, 16, "flow"),))
WRAPPED_ESP = Template(build_wrapped_esp, frozenset({"size", "is_client"}), shortest=16, usual=16)
OPENVPN = Template(build_openvpn, frozenset({"size"}), shortest=14, usual=42)
COUNTED = Template(build_counted, frozenset({"size"}), shortest=20, usual=20)
TFTP = Template(build_tftp, _TURNS, shortest=4, usual=4)
RIP = Template(build_rip, frozenset({"size"}), shortest=24, usual=24, step=20)
QUIC = Template(
    build_quic,
    frozenset({"size", "is_client", "turn"}),
    uses_later=frozenset({"size"}),
    opening_turns=1,
    patches=(Patch(6, 8, "flow"),),
    shortest=21,
    usual=33,
)
