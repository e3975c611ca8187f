# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Columns of header words to columns of packets, compiled: loops that the compiler makes wide.

What a packet is, is a number like others here: fields of TCP are multiplied with whether it is TCP.

References:
    RFC 791, 8200 (IP), 9293, 768, 792, 4443 (transport), 1071 (checksum), 7323 section 3.2 and
    2018 section 2 (options), 8200 section 8.1 (checksums over IPv6).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.batch_numba import (
    ACK_WORD,
    BASES,
    CONTROL_WINDOW,
    ID_FRAGMENT,
    KIND_ICMP,
    KIND_OTHER,
    KIND_TCP,
    KIND_UDP,
    KINDS,
    LIFE_PROTOCOL,
    OPTION_1,
    OPTION_2,
    OPTION_3,
    OPTION_4,
    OPTION_5,
    PORTS,
    ROOMS,
    SEQ_WORD,
    SIXES,
    SOURCE,
    SUM_MORE,
    SUMMED,
    TARGET,
    VERSION_LENGTH,
    column,
    seldom,
)
from netsynth.capture.loads_numba import (
    ALL_ONES,
    MSS,
    OPTIONS,
    SCALE,
    TS_ECR,
    TS_VAL,
    ZERO,
)
from netsynth.capture.places_numba import get8, get16, get32_le, sum_stretch
from netsynth.capture.transport_numba import read_options
from netsynth.tables import NO_WINDOW_SCALE

STAMPS = 0x0101080A  # NOP, NOP, timestamps of ten bytes; RFC 7323 appendix A
MSS_OPTION = 0x0204  # kind and size; RFC 9293 section 3.1
SACK_AND_STAMPS = 0x0402080A  # SACK permitted, timestamps: a SYN of Linux; RFC 2018 section 2
SCALE_OPTION = 0x010303  # NOP, window scale; RFC 7323 section 2.2


@njit(cache=True)
def write_sixes(data: Any, sheet: Any, is_six: Any, count: int) -> None:
    """Put what IPv6 headers say where IPv4 has it, with a header checksum that is right."""
    chosen = column(sheet, SIXES)
    for n in range(count):
        k = np.uint64(chosen[n])
        is_six[k] = 1
        at = np.int64(column(sheet, BASES)[k]) - 20
        tos = (get16(data, at) >> 4) & 255
        claimed = get16(data, at + 4)
        protocol = get8(data, at + 6)
        # A length that IPv4 cannot say: another kind of packet.
        length = claimed + 20 if claimed <= 65515 else 0
        first = (0x4500 if get8(data, at) >> 4 == 6 else 0) | tos
        life = (get8(data, at + 7) << 8) | protocol
        total = first + length + life
        for word in (column(sheet, SOURCE)[k], column(sheet, TARGET)[k]):
            total += np.int64(word >> 16) + np.int64(word & 0xFFFF)
        column(sheet, VERSION_LENGTH)[k] = (first << 16) | length
        column(sheet, ID_FRAGMENT)[k] = 0
        column(sheet, LIFE_PROTOCOL)[k] = (life << 16) | (65535 - total % 65535)


@njit(cache=True)
def tell_kinds(sheet: Any, vxlan: int, count: int) -> None:
    """Tell the kinds of packets.

    Args:
        sheet: uint32, see `batch_numba`; KINDS is set.
        vxlan: Port whose datagrams are KIND_OTHER, -1 for none.
        count: Packets.
    """
    lengths, fragments, lives = (
        column(sheet, VERSION_LENGTH),
        column(sheet, ID_FRAGMENT),
        column(sheet, LIFE_PROTOCOL),
    )
    rooms, ports, seqs = column(sheet, ROOMS), column(sheet, PORTS), column(sheet, SEQ_WORD)
    controls, kinds = column(sheet, CONTROL_WINDOW), column(sheet, KINDS)
    for k in range(count):
        length = np.int32(lengths[k] & 0xFFFF) - np.int32(20)
        room = np.int32(rooms[k])
        least = min(length, room)
        protocol = (lives[k] >> 16) & 255
        plain = (lengths[k] >> 24 == 0x45) & (fragments[k] & 0x3FFF == 0)
        header = np.int32(controls[k] >> 28) * np.int32(4)
        size = np.int32(seqs[k] >> 16)
        is_tcp = (protocol == 6) & (header >= 20) & (header <= least)
        is_udp = (protocol == 17) & (room >= 8) & (size >= 8) & (size <= length)
        is_udp = is_udp & (np.int32(ports[k] & 0xFFFF) != vxlan)
        is_icmp = ((protocol == 1) | (protocol == 58)) & (least >= 8)
        kind = KIND_TCP * is_tcp + KIND_UDP * is_udp + KIND_ICMP * is_icmp
        kinds[k] = kind * plain


@njit(cache=True)
def _part(source: Any, shift: Any, mask: Any, target: Any, count: int) -> None:
    """Write some bits of each word of a column to another."""
    for k in range(count):
        target[k] = (source[k] >> np.uint32(shift)) & np.uint32(mask)


@njit(cache=True)
def _part_of(
    kinds: Any, least: Any, most: Any, source: Any, shift: Any, mask: Any, target: Any, count: int
) -> None:
    """Write some bits of each word of a column to another, 0 for packets of other kinds."""
    for k in range(count):
        chosen = (kinds[k] >= np.uint32(least)) & (kinds[k] <= np.uint32(most))
        bits = (source[k] >> np.uint32(shift)) & np.uint32(mask)
        target[k] = bits if chosen else np.uint32(0)


@njit(cache=True)
def write_headers(sheet: Any, columns: Any, row: int, count: int) -> None:
    """Write the columns of IP, TCP, UDP and ICMP headers, but for options and checksums."""
    last = row + count
    kinds = column(sheet, KINDS)
    lengths, fragments, lives = (
        column(sheet, VERSION_LENGTH),
        column(sheet, ID_FRAGMENT),
        column(sheet, LIFE_PROTOCOL),
    )
    ports, seqs = column(sheet, PORTS), column(sheet, SEQ_WORD)
    acks, controls = column(sheet, ACK_WORD), column(sheet, CONTROL_WINDOW)
    byte, half, whole = np.uint32(255), np.uint32(0xFFFF), np.uint32(0xFFFFFFFF)
    low, high, top = np.uint32(0), np.uint32(16), np.uint32(24)
    _part(lives, high, byte, columns[5][row:last], count)
    columns[6][row:last] = 4
    _part(lives, top, byte, columns[7][row:last], count)
    _part(lengths, high, byte, columns[8][row:last], count)
    _part(fragments, np.uint32(13), np.uint32(3), columns[9][row:last], count)
    _part(fragments, high, half, columns[10][row:last], count)
    _part(lengths, low, half, columns[11][row:last], count)
    _part_of(kinds, KIND_UDP, KIND_TCP, ports, high, half, columns[3][row:last], count)
    _part_of(kinds, KIND_UDP, KIND_TCP, ports, low, half, columns[4][row:last], count)
    _part_of(kinds, KIND_TCP, KIND_TCP, controls, high, byte, columns[14][row:last], count)
    _part_of(kinds, KIND_TCP, KIND_ICMP, seqs, low, whole, columns[15][row:last], count)
    _part_of(kinds, KIND_TCP, KIND_TCP, acks, low, whole, columns[16][row:last], count)
    _part_of(kinds, KIND_TCP, KIND_TCP, controls, low, half, columns[17][row:last], count)
    _part_of(kinds, KIND_ICMP, KIND_ICMP, ports, high, half, columns[23][row:last], count)
    payloads = columns[13][row:last]
    for k in range(count):
        length = (lengths[k] & np.uint32(0xFFFF)) - np.uint32(20)
        header = (controls[k] >> np.uint32(28)) * np.uint32(4)
        tcp = length - header
        udp = (seqs[k] >> np.uint32(16)) - np.uint32(8)
        icmp = length - np.uint32(8)
        other = udp if kinds[k] == KIND_UDP else icmp
        payloads[k] = tcp if kinds[k] == KIND_TCP else other


@njit(cache=True)
def write_options(data: Any, fields: Any, sheet: Any, columns: Any, row: int, count: int) -> None:
    """Write the columns of TCP options."""
    last = row + count
    kinds, controls = column(sheet, KINDS), column(sheet, CONTROL_WINDOW)
    first, second, fifth = column(sheet, OPTION_1), column(sheet, OPTION_2), column(sheet, OPTION_5)
    third, fourth = column(sheet, OPTION_3), column(sheet, OPTION_4)
    bits = columns[18][row:last]
    odd = 0
    for k in range(count):
        header = (controls[k] >> np.uint32(28)) * np.uint32(kinds[k] == KIND_TCP)
        with_mss = first[k] >> np.uint32(16) == MSS_OPTION
        stamped = (header == 8) & (first[k] == STAMPS)
        short = (header == 6) & with_mss
        opening = (header == 10) & with_mss & (second[k] == SACK_AND_STAMPS)
        opening = opening & (fifth[k] >> np.uint32(8) == SCALE_OPTION)
        found = 8 * stamped + short + 15 * opening
        bits[k] = found
        odd += (header > 5) & (found == 0)
    msses, scales = columns[19][row:last], columns[20][row:last]
    for k in range(count):
        msses[k] = first[k] & np.uint32(0xFFFF) if bits[k] & 1 else np.uint32(0)
    for k in range(count):
        scales[k] = fifth[k] & np.uint32(255) if bits[k] & 2 else np.uint32(NO_WINDOW_SCALE)
    values, echoes = columns[21][row:last], columns[22][row:last]
    for k in range(count):
        stamp = third[k] if bits[k] & 2 else second[k]
        values[k] = stamp if bits[k] & 8 else np.uint32(0)
    for k in range(count):
        stamp = fourth[k] if bits[k] & 2 else third[k]
        echoes[k] = stamp if bits[k] & 8 else np.uint32(0)
    if odd:
        bases = column(sheet, BASES)
        for k in range(count):
            header = np.int64(controls[k] >> np.uint32(28)) * 4
            if kinds[k] == KIND_TCP and header > 20 and bits[k] == 0:
                at = np.int64(bases[k]) + 20
                read_options(data, fields, at + 20, at + header)
                bits[k] = fields[OPTIONS]
                msses[k] = fields[MSS]
                scales[k] = fields[SCALE]
                values[k] = fields[TS_VAL]
                echoes[k] = fields[TS_ECR]


@njit(cache=True)
def plan_sums(sheet: Any, checks: Any, count: int) -> None:
    """Check the sums of IPv4 headers, and say what the sums of segments cover.

    Args:
        sheet: uint32, see `batch_numba`; SUMMED and SUM_MORE are set.
        checks: uint8 [count], set.
        count: Packets.
    """
    lengths, fragments, lives = (
        column(sheet, VERSION_LENGTH),
        column(sheet, ID_FRAGMENT),
        column(sheet, LIFE_PROTOCOL),
    )
    sources, targets, rooms = column(sheet, SOURCE), column(sheet, TARGET), column(sheet, ROOMS)
    seqs, kinds = column(sheet, SEQ_WORD), column(sheet, KINDS)
    summed, more = column(sheet, SUMMED), column(sheet, SUM_MORE)
    low = np.uint32(0xFFFF)
    half = np.uint32(16)
    for k in range(count):
        total = np.uint32(lengths[k] >> half) + np.uint32(lengths[k] & low)
        total += np.uint32(fragments[k] >> half) + np.uint32(fragments[k] & low)
        total += np.uint32(lives[k] >> half) + np.uint32(lives[k] & low)
        total += np.uint32(sources[k] >> half) + np.uint32(sources[k] & low)
        total += np.uint32(targets[k] >> half) + np.uint32(targets[k] & low)
        total = (total & low) + (total >> half)
        total = (total & low) + (total >> half)
        checks[k] = (total != low) & (total != 0)
    for k in range(count):
        length = (lengths[k] & low) - np.uint32(20)
        size = seqs[k] >> half
        is_udp = kinds[k] == KIND_UDP
        has_sum = (not is_udp) | (seqs[k] & low != 0)
        whole = length <= rooms[k]
        checks[k] |= np.uint8(4) if (not whole) & has_sum else np.uint8(0)
        covered = size if is_udp else length
        is_checked = whole & has_sum & (kinds[k] != KIND_OTHER)
        summed[k] = covered if is_checked else np.uint32(0)
        swapped = (covered >> np.uint32(8)) & np.uint32(255)
        swapped += (covered & np.uint32(255)) << np.uint32(8)
        protocol = (lives[k] >> half) & np.uint32(255)
        more[k] = swapped + (protocol << np.uint32(8))


@njit(cache=True)
def add_sixes(data: Any, sheet: Any, columns: Any, row: int, count: int) -> None:
    """Mend what differs with IPv6: lengths, versions, sums."""
    chosen = column(sheet, SIXES)
    bases, kinds, more = column(sheet, BASES), column(sheet, KINDS), column(sheet, SUM_MORE)
    for n in range(count):
        k = np.uint64(chosen[n])
        here = np.uint64(row) + k
        at = np.int64(bases[k]) - 20
        columns[6][here] = 6
        columns[11][here] = min(get16(data, at + 4) + 40, 65535)
        if kinds[k] == KIND_UDP and get16(data, at + 46) == 0:  # RFC 8200 section 8.1 demands one
            columns[25][here] |= 2
        total = ZERO
        for place in range(at + 8, at + 32, 4):
            total += np.uint64(get32_le(data, place))
        more[k] += np.uint32(total % ALL_ONES)


@njit(cache=True)
def check_sums(data: Any, sheet: Any, checks: Any, count: int) -> None:
    """Check the sums of segments; bit 1 of `checks` is set where one is wrong."""
    bases, kinds, lives = column(sheet, BASES), column(sheet, KINDS), column(sheet, LIFE_PROTOCOL)
    summed, more = column(sheet, SUMMED), column(sheet, SUM_MORE)
    for k in range(np.uint64(count)):
        covered = np.int64(summed[k])
        segment = np.int64(bases[k]) + 20
        total = np.uint64(more[k])
        pseudo = 8
        if seldom((kinds[k] == KIND_ICMP) & ((lives[k] >> 16) & 255 == 1)):  # no pseudo-header
            pseudo = 0
            total = ZERO
        total += sum_stretch(data, segment - pseudo, covered + pseudo)
        checks[k] |= (np.int64(total % ALL_ONES != ZERO) << 1) * (covered > 0)
