# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Columns of packets to words of IP and transport headers, compiled: loops made wide.

What a packet is, is a number like others here. What a row of 64 bytes from the IPv4 header on
cannot hold is mended in `encode_place_numba`.

References:
    RFC 791, 8200, 9293, 768, 792, 4443 (headers), 1071 (checksum), 7323 and 2018 (TCP options),
    6437 section 3 (flow labels).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.encode_sheet_numba import (
    BATCH,
    BLOCKS,
    HEADS,
    ID_FRAGMENT,
    LABELS,
    LIFE_CHECK,
    NETWORKS,
    OPTION_1,
    OPTION_2,
    OPTION_3,
    OPTION_4,
    OPTION_5,
    PAYLOADS,
    PSEUDO,
    SOURCE,
    SOURCE_A,
    SOURCE_B,
    SOURCE_MIX,
    SUMS,
    TARGET,
    TARGET_B,
    TARGET_MIX,
    VERSION_LENGTH,
    WORD_1,
    WORD_2,
    WORD_3,
    WORD_4,
    WORD_5,
    column,
    fold,
    swap_word,
)
from netsynth.capture.frames import FRAGMENT_UNITS
from netsynth.capture.hashes_numba import HASH_A, HASH_B

U32 = np.uint32
ZERO, ONE, HALF_WORD, LOW = U32(0), U32(1), U32(16), U32(0xFFFF)
HALF, LOW_32 = np.uint64(32), np.uint64(0xFFFFFFFF)


@njit(cache=True)
def write_ip(columns: Any, sheet: Any, wide: Any, row: int, count: int) -> None:
    """Find the words of IPv4 headers, and what addresses add to checksums."""
    last = row + count
    heads, payloads = column(sheet, HEADS), column(sheet, PAYLOADS)
    sources, targets, pseudo = column(sheet, SOURCE), column(sheet, TARGET), column(sheet, PSEUDO)
    source_b, target_b = column(wide, SOURCE_B), column(wide, TARGET_B)
    for k in range(count):
        source, target = swap_word(source_b[k] >> HALF), swap_word(target_b[k] >> HALF)
        sources[k], targets[k] = source, target
        total = U32(source >> HALF_WORD) + U32(source & LOW)
        pseudo[k] = fold(U32(total) + U32(target >> HALF_WORD) + U32(target & LOW))
    toses, ip_flags, ip_ids = columns[8][row:last], columns[9][row:last], columns[10][row:last]
    protocols, ttls = columns[5][row:last], columns[7][row:last]
    lengths, fragments, lives = (
        column(sheet, VERSION_LENGTH),
        column(sheet, ID_FRAGMENT),
        column(sheet, LIFE_CHECK),
    )
    for k in range(count):
        length = U32(heads[k] + payloads[k])
        flags = U32(ip_flags[k])
        fragment = U32(flags & U32(3)) << U32(13)
        # Only a last fragment may end anywhere.
        fragment = U32(fragment & U32(0xDFFF)) if length & U32(7) else U32(fragment)
        fragment |= U32(FRAGMENT_UNITS) if flags & U32(4) else ZERO
        first = U32(0x4500) | U32(toses[k])
        life = U32(U32(ttls[k]) << U32(8)) | U32(protocols[k])
        total = first + length + U32(20) + U32(ip_ids[k]) + fragment + life + pseudo[k]
        lengths[k] = U32(first << HALF_WORD) | U32(length + U32(20))
        fragments[k] = U32(U32(ip_ids[k]) << HALF_WORD) | U32(fragment)
        lives[k] = U32(life << HALF_WORD) | (fold(total) ^ LOW)


@njit(cache=True)
def write_options(columns: Any, sheet: Any, row: int, count: int) -> None:
    """Find the words of TCP options, and add them to SUMS."""
    last = row + count
    bits, msses, scales = columns[18][row:last], columns[19][row:last], columns[20][row:last]
    values, echoes = columns[21][row:last], columns[22][row:last]
    first, second, third = column(sheet, OPTION_1), column(sheet, OPTION_2), column(sheet, OPTION_3)
    fourth, fifth = column(sheet, OPTION_4), column(sheet, OPTION_5)
    sums, heads = column(sheet, SUMS), column(sheet, HEADS)
    for k in range(count):
        option = U32(bits[k])
        with_mss, is_scaled = option & ONE != ZERO, option & U32(2) != ZERO
        is_stamped, is_grouped = option & U32(8) != ZERO, option & U32(12) != ZERO
        mss = U32(0x02040000) | U32(msses[k])
        value, echo = U32(values[k]), U32(echoes[k])
        scale = U32(0x01030300) | min(U32(scales[k]), U32(14))  # RFC 7323 section 2.3
        group = U32(0x0402080A) if option & U32(4) else U32(0x0101080A)
        group = group if is_stamped else U32(0x01010402)
        start = group if is_grouped else scale
        next_ = value if is_stamped else scale
        then = echo if is_stamped else scale
        first[k] = mss if with_mss else start
        second[k] = start if with_mss else next_
        third[k] = next_ if with_mss else then
        fourth[k] = then if with_mss else scale
        fifth[k] = scale
        mss = mss if with_mss else ZERO
        group = group if is_grouped else ZERO
        value, echo = value if is_stamped else ZERO, echo if is_stamped else ZERO
        scale = scale if is_scaled else ZERO
        total = U32(mss >> HALF_WORD) + U32(mss & LOW) + U32(group >> HALF_WORD)
        total += U32(group & LOW) + U32(value >> HALF_WORD) + U32(value & LOW)
        total += U32(echo >> HALF_WORD) + U32(echo & LOW)
        total += U32(scale >> HALF_WORD) + U32(scale & LOW)
        sums[k] += U32(total) if heads[k] >= U32(20) else ZERO


@njit(cache=True)
def write_transport(columns: Any, sheet: Any, row: int, count: int) -> None:
    """Find the words of TCP, UDP and ICMP headers; SUMS is what payload and options add."""
    last = row + count
    source_ports, target_ports = columns[3][row:last], columns[4][row:last]
    protocols, tcp_flags, icmps = columns[5][row:last], columns[14][row:last], columns[23][row:last]
    seqs, acks, windows = columns[15][row:last], columns[16][row:last], columns[17][row:last]
    heads, payloads, blocks = column(sheet, HEADS), column(sheet, PAYLOADS), column(sheet, BLOCKS)
    sums, pseudo = column(sheet, SUMS), column(sheet, PSEUDO)
    first, second, third = column(sheet, WORD_1), column(sheet, WORD_2), column(sheet, WORD_3)
    fourth, fifth = column(sheet, WORD_4), column(sheet, WORD_5)
    for k in range(count):
        protocol = U32(protocols[k])
        is_tcp, is_udp = protocol == U32(6), protocol == U32(17)
        is_icmp = (protocol == ONE) | (protocol == U32(58))
        length = U32(heads[k] + payloads[k])
        seq, ack = U32(seqs[k]), U32(acks[k])
        control = U32(U32(U32(heads[k] + blocks[k]) >> U32(2)) << U32(12)) | U32(tcp_flags[k])
        urgent = U32(payloads[k] - blocks[k]) if control & U32(32) else ZERO
        word = U32(U32(source_ports[k]) << HALF_WORD) | U32(target_ports[k])
        word = U32(U32(icmps[k]) << HALF_WORD) if is_icmp else word
        total = U32(word >> HALF_WORD) + U32(word & LOW) + sums[k]
        total += ZERO if protocol == ONE else pseudo[k] + protocol + length
        total += ZERO if is_udp else U32(seq >> HALF_WORD) + U32(seq & LOW)
        total += length if is_udp else ZERO
        tcp = U32(ack >> HALF_WORD) + U32(ack & LOW) + control + U32(windows[k]) + urgent
        total += tcp if is_tcp else ZERO
        check = fold(U32(total)) ^ LOW
        check = LOW if is_udp & (check == ZERO) else check
        first[k] = word | check if is_icmp else word
        second[k] = U32(length << HALF_WORD) | check if is_udp else seq
        third[k] = ack
        fourth[k] = U32(control << HALF_WORD) | U32(windows[k])
        fifth[k] = U32(check << HALF_WORD) | urgent


@njit(cache=True)
def mend_sixes(columns: Any, settings: Any, sheet: Any, wide: Any, row: int, count: int) -> None:
    """Find flow labels and what addresses add to checksums where packets are IPv6."""
    versions, networks = columns[6][row : row + count], column(sheet, NETWORKS)
    source_ports, target_ports = columns[3][row : row + count], columns[4][row : row + count]
    protocols = columns[5][row : row + count]
    source_mix, target_mix = column(wide, SOURCE_MIX), column(wide, TARGET_MIX)
    pseudo, labels = column(sheet, PSEUDO), column(sheet, LABELS)
    for k in range(np.uint64(count)):
        if versions[k] == 4:
            continue
        total = np.uint64(0)
        for which in range(SOURCE_A, TARGET_B + 1):
            word = wide[np.uint64(which * BATCH) + k]
            total += (word & LOW_32) + (word >> HALF)
        total = (total & np.uint64(0xFFFF)) + (total >> np.uint64(16))
        folded = fold(total)
        pseudo[k] = U32(U32(folded & U32(255)) << U32(8)) | U32(folded >> U32(8))
        labels[k] = ZERO
        if (protocols[k] == 6 or protocols[k] == 17) and networks[k] == U32(40):
            mixed = (source_mix[k] * HASH_B) ^ target_mix[k]
            mixed ^= np.uint64((np.int64(source_ports[k]) << 16) | np.int64(target_ports[k]))
            labels[k] = U32((mixed * HASH_A) >> np.uint64(44))
