"""The packets that nearly all captures consist of, many at once with numpy.

TCP, UDP and ICMP over IPv4 without options or fragments, over Ethernet, whose headers are there
and whose TCP options are none, timestamps, MSS alone or those of a SYN of Linux. The 80 bytes from
two before the frame on are turned from rows to columns of words, so that each field costs no look
at the frame's bytes. `layers_numpy` and what follows it reads the rest, and is as right for these.

References:
    RFC 791, 9293, 768, 792 (headers), 1071 (checksum), 7323 and 2018 (options); IEEE 802.3.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import ETHERNET
from netsynth.capture.sums import sum_stretches
from netsynth.capture.walk_numpy import Records
from netsynth.numbers import Array, IntArray
from netsynth.tables import NO_WINDOW_SCALE

WORDS = 20  # 32-bit words of a row: two bytes, Ethernet, IPv4, TCP and most of its options
# Places of words in a row.
TYPE, VERSION_LENGTH, ID_FRAGMENT, LIFE_PROTOCOL, LIFE_CHECK_END = 3, 4, 5, 6, 9
SOURCE, TARGET, PORTS, SEQ, ACK, CONTROL_WINDOW = 7, 8, 9, 10, 11, 12
OPTION_1, OPTION_2, OPTION_3, OPTION_4, OPTION_5 = range(14, 19)
STAMPS = 0x0101080A  # NOP, NOP, timestamps of ten bytes; RFC 7323 appendix A
MSS_OPTION = 0x0204  # kind and size; RFC 9293 section 3.1
SACK_AND_STAMPS = 0x0402080A  # SACK permitted, timestamps: a SYN of Linux; RFC 2018 section 2
SCALE_OPTION = 0x010303  # NOP, window scale; RFC 7323 section 2.2
LOW, HALF = np.uint32(0xFFFF), np.uint32(16)
Words = NDArray[np.uint32]


@dataclass(kw_only=True, slots=True)
class Usual:
    """The packets among R records that are as usual, in order; U of them.

    Attributes:
        chosen: bool [R], which they are.
        pairs: uint64 [U], source and destination address, each 32 bits.
        columns: What they say, [U] each, by the names of `PACKET_COLUMNS`, but for time,
            addresses and wire length.
    """

    chosen: NDArray[np.bool_]
    pairs: NDArray[np.uint64]
    columns: dict[str, Array | int]


def read_usual(data: Array, records: Records, *, decapsulate: bool) -> Usual:
    """Find the packets that are as usual, and read them.

    Args:
        data: uint8, the buffer; 80 bytes behind each frame's start can be read.
        records: R records.
        decapsulate: Whether what may carry VXLAN is none of them.
    """
    rows = np.ndarray((data.size - 4 * WORDS + 1,), f"V{4 * WORDS}", data, strides=(1,))
    words = rows[records.start - 2].view(">u4").reshape(-1, WORDS)  # [R, WORDS]
    turned: Words = words.T.astype(np.uint32, order="C")  # [WORDS, R]
    room = np.maximum(records.captured - 34, 0).astype(np.uint32)
    length = (turned[VERSION_LENGTH] & LOW) - np.uint32(20)
    is_ip = (turned[TYPE] & LOW == 0x0800) & (turned[VERSION_LENGTH] >> np.uint32(24) == 0x45)
    is_ip &= (records.captured >= 34) & (records.link == ETHERNET) & (length <= 65515)
    is_ip &= turned[ID_FRAGMENT] & np.uint32(0x3FFF) == 0
    protocol = (turned[LIFE_PROTOCOL] >> HALF) & np.uint32(255)
    bits, header = _tell_options(turned)
    least = np.minimum(length, room)
    is_tcp = (protocol == 6) & (bits >= 0) & (header <= least)
    size = turned[SEQ] >> HALF
    is_udp = (protocol == 17) & (room >= 8) & (size >= 8) & (size <= length)
    if decapsulate:
        is_udp &= turned[PORTS] & LOW != 4789
    is_icmp = ((protocol == 1) | (protocol == 58)) & (least >= 8)
    chosen = is_ip & (is_tcp | is_udp | is_icmp)
    start = records.start
    if not chosen.all():
        turned, start, room = turned[:, chosen], start[chosen], room[chosen]
        bits, header, is_tcp, is_udp = (values[chosen] for values in (bits, header, is_tcp, is_udp))
    pairs = (turned[SOURCE].astype(np.uint64) << np.uint64(32)) | turned[TARGET]
    columns = _columns(turned, is_tcp, is_udp, bits, header)
    columns["checksums"] = _check(data, start, turned, room, is_udp)
    return Usual(chosen=chosen, pairs=pairs, columns=columns)


def _tell_options(turned: Words) -> tuple[Array, Words]:
    """Return OPTION_* bits, -1 where they cannot be told from words; and the header's bytes."""
    header = (turned[CONTROL_WINDOW] >> np.uint32(28)) << np.uint32(2)
    bits = np.where(header == 20, 0, -1).astype(np.int8)
    bits[(header == 32) & (turned[OPTION_1] == STAMPS)] = 8
    with_mss = turned[OPTION_1] >> HALF == MSS_OPTION
    bits[(header == 24) & with_mss] = 1
    opening = (header == 40) & with_mss & (turned[OPTION_2] == SACK_AND_STAMPS)
    bits[opening & (turned[OPTION_5] >> np.uint32(8) == SCALE_OPTION)] = 15
    return bits, header


def _columns(
    turned: Words, is_tcp: Array, is_udp: Array, bits: Array, header: Words
) -> dict[str, Array | int]:
    first, fragment, life = (
        turned[VERSION_LENGTH],
        turned[ID_FRAGMENT],
        turned[LIFE_PROTOCOL],
    )
    ports, control, seq = turned[PORTS], turned[CONTROL_WINDOW], turned[SEQ]
    tcp, ported = is_tcp.astype(np.uint32), (is_tcp | is_udp).astype(np.uint32)
    length = first & LOW
    above = np.where(is_tcp, header + np.uint32(20), np.uint32(28))
    bits = np.where(is_tcp, bits, 0).astype(np.uint8)
    columns: dict[str, Array | int] = {
        "src_port": (ports >> HALF) * ported,
        "dst_port": (ports & LOW) * ported,
        "protocol": (life >> HALF) & np.uint32(255),
        "ip_version": 4,
        "ttl": life >> np.uint32(24),
        "tos": (first >> HALF) & np.uint32(255),
        "ip_flags": (fragment >> np.uint32(13)) & np.uint32(3),
        "ip_id": fragment >> HALF,
        "ip_length": length,
        "payload_length": np.where(is_udp, (seq >> HALF) - np.uint32(8), length - above),
        "tcp_flags": ((control >> HALF) & np.uint32(255)) * tcp,
        "seq": np.where(is_udp, 0, seq),
        "ack": turned[ACK] * tcp,
        "window": (control & LOW) * tcp,
        "option_bits": bits,
        "icmp": (ports >> HALF) * (np.uint32(1) - ported),
        "vlan": 0,
    }
    mss, scale = np.zeros((2, bits.size), dtype=np.uint16)
    scale[:] = NO_WINDOW_SCALE
    some = np.flatnonzero(bits & 1)
    mss[some] = turned[OPTION_1, some] & LOW
    opening = np.flatnonzero(bits == 15)
    scale[opening] = turned[OPTION_5, opening] & np.uint32(255)
    stamped = (bits >> 3).astype(np.uint32)
    values, echoes = turned[OPTION_2] * stamped, turned[OPTION_3] * stamped
    values[opening], echoes[opening] = turned[OPTION_3, opening], turned[OPTION_4, opening]
    columns.update(mss=mss, window_scale=scale, ts_val=values, ts_ecr=echoes)
    return columns


def _check(data: Array, start: IntArray, turned: Words, room: Words, is_udp: Array) -> Array:
    """Return the checksum bits: 1 the header's is wrong, 2 the segment's, 4 not to be known."""
    heads = turned[VERSION_LENGTH:LIFE_CHECK_END]  # [5, U]
    total = (heads >> HALF).sum(axis=0, dtype=np.uint32) + (heads & LOW).sum(
        axis=0, dtype=np.uint32
    )
    check: Array = (_fold(total) % 65535 != 0).astype(np.uint8)
    length = (turned[VERSION_LENGTH] & LOW) - np.uint32(20)
    has_sum = ~is_udp | (turned[SEQ] & LOW != 0)
    whole = length <= room
    check[has_sum & ~whole] |= 4
    rows = np.flatnonzero(has_sum & whole)
    if not rows.size:
        return check
    size = np.where(is_udp, turned[SEQ] >> HALF, length)[rows].astype(np.int64)
    protocol = (turned[LIFE_PROTOCOL, rows] >> HALF) & np.uint32(255)
    ends = turned[SOURCE:PORTS, rows]  # [2, V]
    pseudo = (ends >> HALF).sum(axis=0, dtype=np.uint32) + (ends & LOW).sum(axis=0, dtype=np.uint32)
    pseudo = _fold(pseudo + protocol + size.astype(np.uint32)) * (protocol != 1)
    l4 = start[rows] + 34
    swapped = ((pseudo & np.uint32(255)) << np.uint32(8)) | (pseudo >> np.uint32(8))
    sums = sum_stretches(data, l4, l4 + size) + np.where(l4 & 1, pseudo, swapped)
    check[rows[sums % np.uint64(65535) != 0]] |= 2
    return check


def _fold(value: Words) -> Words:
    value = (value & LOW) + (value >> HALF)
    folded: Words = (value & LOW) + (value >> HALF)
    return folded
