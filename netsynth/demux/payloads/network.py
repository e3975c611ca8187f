"""Bodies of ICMP, ICMPv6, IGMP and SCTP, and the packets that ICMP errors quote.

References:
    RFC 792 and RFC 4443 sections 2.4 and 3 (errors); RFC 4861 section 4 (neighbour discovery);
    RFC 2710 section 3 and RFC 3810 section 5.2; RFC 2236 and RFC 3376 section 4 (IGMP);
    RFC 9260 section 3; RFC 4727 (option numbers for experiments).
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.payloads.shape import Patch, Shape, Template
from netsynth.numbers import IntArray
from netsynth.tables import ICMP, ICMPV6, TCP, UDP, PacketTable

_ERRORS = {ICMP: (3, 4, 5, 11, 12), ICMPV6: (1, 2, 3, 4)}
_NEUTRAL = bytes(4)  # what no protocol's magic is


def build_icmp6(shape: Shape) -> bytes:
    """Build the body of neighbour discovery and multicast listener messages."""
    kind, size = shape.icmp >> 8, shape.size
    fixed = {133: 0, 134: 8, 135: 16, 136: 16, 137: 32, 130: 16, 131: 16, 132: 16}
    if kind == 143:
        record = struct.pack(">BBH", 4, 0, 0) + bytes.fromhex("ff02") + bytes(11) + b"\1\0\3"
        return record * (size // 20)
    if kind not in fixed:
        return b""
    head = bytes(fixed[kind])
    if kind == 134:
        head = struct.pack(">II", 0, 0)
    elif kind in (135, 137):
        head = bytes.fromhex("fe80") + bytes(fixed[kind] - 2)
    return (head + (_options(size - len(head), kind) if kind >= 133 else b""))[:size]


def build_igmp(shape: Shape) -> bytes:
    """Build a version 2 report, or a version 3 one where there is room."""
    if shape.size < 16:
        return (b"\x16\0\0\0" + bytes(4))[: shape.size]
    count = (shape.size - 8) // 8
    records = b"".join(
        struct.pack(">BBH4B", 4, 0, 0, 239, 255, 255, 250 - k % 99) for k in range(count)
    )
    return struct.pack(">BBHHH", 0x22, 0, 0, 0, count) + records


def build_sctp(shape: Shape) -> bytes:
    """Build one chunk of data after the common header, which the writer fills."""
    room = shape.size - 12
    if room < 4:
        return bytes(shape.size)
    if room < 17:
        return bytes(12) + struct.pack(">BBH", 4, 0, room)  # a heartbeat
    return bytes(12) + struct.pack(">BBHIHHI", 0, 3, room, 1, 0, 0, 0)


def quote_packets(
    packets: PacketTable, payload: Callable[[int], NDArray[np.uint8]]
) -> dict[int, bytes]:
    """Say what each ICMP error quotes: the last packet from its receiver to its sender.

    Where none went before it, a UDP datagram is made up.

    Args:
        packets: In time order.
        payload: Returns the first payload bytes of the packet in a row.

    Returns:
        Bytes by row, for the ICMP and ICMPv6 errors only.
    """
    kind = packets.icmp >> 8
    is_error = np.zeros(len(packets), dtype=np.bool_)
    for protocol, kinds in _ERRORS.items():
        is_error |= (packets.protocol == protocol) & np.isin(kind, kinds)
    rows = np.flatnonzero(is_error)
    if rows.size == 0:
        return {}
    pair = packets.src.astype(np.int64) << 32 | packets.dst
    answered = packets.dst[rows].astype(np.int64) << 32 | packets.src[rows]
    candidates = np.flatnonzero(np.isin(pair, answered) & ~is_error)
    order = np.argsort(pair[candidates], kind="stable")
    candidates = candidates[order]  # by pair, then time
    quotes = {}
    for row, key in zip(rows.tolist(), answered.tolist(), strict=True):
        quoted = _last_before(pair, candidates, key, row)
        quotes[row] = _quote(packets, row, quoted)
        if quoted < 0:
            quotes[row] += _NEUTRAL
        elif packets.protocol[quoted] in (TCP, UDP):
            quotes[row] += payload(quoted).tobytes()
    return quotes


def _last_before(pair: IntArray, candidates: IntArray, key: int, row: int) -> int:
    start, stop = np.searchsorted(pair[candidates], [key, key + 1])
    place = int(np.searchsorted(candidates[start:stop], row)) + int(start) - 1
    return int(candidates[place]) if place >= start else -1


def _quote(packets: PacketTable, error: int, row: int) -> bytes:
    """Return IP header and first bytes of packet `row`, or of one made up where it is -1.

    It is told as long as the error's payload at least: what follows a shorter one would be taken
    for extensions of the error (RFC 4884).
    """
    p = packets
    source, target = (bytes(p.addresses[column[error]]) for column in (p.dst, p.src))
    made_up = row < 0
    protocol = UDP if made_up else int(p.protocol[row])
    header = 20 if p.ip_version[error] == 4 else 40
    size = max(header + 8 if made_up else int(p.ip_length[row]), int(p.payload_length[error]))
    if made_up:
        head = struct.pack(">HHHH", 40_000, 33_434, size - header, 0)
    elif protocol == TCP:
        numbers = int(p.seq[row]), int(p.ack[row]), 5 << 4, int(p.tcp_flags[row])
        ends = int(p.src_port[row]), int(p.dst_port[row])
        head = struct.pack(">HHIIBBHHH", *ends, *numbers, int(p.window[row]), 0, 0)
    elif protocol == UDP:
        head = struct.pack(">HHHH", p.src_port[row], p.dst_port[row], size - header, 0)
    else:  # where all of it fits, analysers check its sum: let its payload be zeros
        head = struct.pack(">HHI", p.icmp[row], 0, p.seq[row])
        if protocol == ICMP:
            head = head[:2] + _internet_checksum(head) + head[4:]
            head += bytes(max(size - header - 8, 0))
    if p.ip_version[error] == 6:
        return struct.pack(">IHBB", 6 << 28, size - 40, protocol, 64) + source + target + head
    number, life = (0, 64) if made_up else (int(p.ip_id[row]), int(p.ttl[row]))
    flags = 0 if made_up else (int(p.ip_flags[row]) & 2) << 13
    ip = struct.pack(">BBHHHBBH", 0x45, 0, size, number, flags, life, protocol, 0)
    ip += source[12:] + target[12:]
    return ip[:10] + _internet_checksum(ip) + ip[12:] + head


def _internet_checksum(data: bytes) -> bytes:
    """Return the checksum of an even number of bytes (RFC 1071)."""
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF)


def _options(room: int, kind: int) -> bytes:
    """Return neighbour discovery options of `room` bytes, as far as eights go."""
    if room < 8:
        return b""
    own = b"\x02\x01" if kind in (136, 137) else b"\x01\x01"
    options = own + b"\x02\0\0\0\0\1"
    rest = (room - 8) // 8
    while rest > 0:
        units = min(rest, 255)
        options += bytes([253, units]) + bytes(8 * units - 2)
        rest -= units
    return options


ICMP6_BODY = Template(build_icmp6, frozenset({"size", "icmp"}))
SOLICITATION = Template(build_icmp6, frozenset({"size", "icmp"}), patches=(Patch(13, 3, "target"),))
ADVERTISEMENT = Template(
    build_icmp6, frozenset({"size", "icmp"}), patches=(Patch(0, 16, "source"),)
)
LISTENER = Template(build_icmp6, frozenset({"size", "icmp"}), patches=(Patch(0, 16, "target"),))
IGMP = Template(build_igmp, frozenset({"size"}), patches=(Patch(4, 4, "target"),), checksum_at=2)
IGMP_RECORDS = Template(build_igmp, frozenset({"size"}), checksum_at=2)
SCTP = Template(build_sctp, frozenset({"size"}))
