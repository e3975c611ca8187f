# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Where packets and their parts lie, compiled: sizes, times, link addresses, fillers.

Loops over columns that the compiler makes wide: what a packet is, is a number like others here.

References:
    IETF draft-ietf-opsawg-pcap (record header); RFC 1112 and 2464 (multicast MAC addresses).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.encode_sheet_numba import (
    BLOCKS,
    CAPTURED,
    FRACTION,
    HEADS,
    MAC_1,
    MAC_2,
    MAC_3,
    NETWORKS,
    OFFSETS,
    PAYLOADS,
    PLACES,
    SECONDS,
    SOURCE_A,
    SOURCE_B,
    SOURCE_MIX,
    TAKEN,
    TARGET_A,
    TARGET_B,
    TARGET_MIX,
    TYPE,
    WIRE,
    column,
    swap_word,
)
from netsynth.capture.frames import (
    CARD_BYTE,
    CUT,
    FILL_MASK,
    MAX_FRAME,
    OUT_SIZE,
    PCAPNG_OUT,
    RESOLUTION,
)
from netsynth.capture.hashes_numba import HASH_A, HASH_B

U32 = np.uint32
ZERO, ONE, HALF_WORD, LOW = U32(0), U32(1), U32(16), U32(0xFFFF)
HALF, LOW_32 = np.uint64(32), np.uint64(0xFFFFFFFF)
MAPPED_WORD = np.uint64(0xFFFF0000)  # low half of an IPv4 address's second word (RFC 4291)


@njit(cache=True)
def lay_out(columns: Any, lengths: Any, settings: Any, sheet: Any, row: int, count: int) -> None:
    """Find the sizes of packets and of their parts.

    Args:
        columns: The arrays of `PACKET_COLUMNS`, in order.
        lengths: int64 [N] or [0], bytes of prefixes.
        settings: int64, see `frames`.
        sheet: uint32, see `encode_sheet_numba`; HEADS to TAKEN, CAPTURED and WIRE are set.
        row: First packet.
        count: Packets.
    """
    last = row + count
    protocols, versions = columns[5][row:last], columns[6][row:last]
    ip_flags, bits = columns[9][row:last], columns[18][row:last]
    heads, networks, payloads = (
        column(sheet, HEADS),
        column(sheet, NETWORKS),
        column(sheet, PAYLOADS),
    )
    blocks, taken = column(sheet, BLOCKS), column(sheet, TAKEN)
    for k in range(count):
        protocol, option = U32(protocols[k]), U32(bits[k])
        is_first = U32(ip_flags[k]) & U32(4) == ZERO  # not a later fragment
        stamps = U32(12) if option & U32(8) else U32(option & U32(4))
        options = U32(20) + U32(4) * (option & ONE) + U32(2) * (option & U32(2)) + stamps
        is_short = (protocol == U32(17)) | (protocol == ONE) | (protocol == U32(58))
        head = U32(options) if protocol == U32(6) else U32(8) * U32(is_short)
        heads[k] = head * U32(is_first)
    for k in range(count):
        is_split = U32(ip_flags[k]) & U32(5) != ZERO
        network = U32(48) if is_split else U32(40)
        networks[k] = U32(20) if versions[k] == 4 else network
    wanted = columns[13][row:last]
    for k in range(count):
        counted = U32(20) if networks[k] == U32(20) else networks[k] - U32(40)
        payloads[k] = min(U32(wanted[k]), U32(U32(65535) - counted - heads[k]))
        blocks[k] = ZERO
        taken[k] = ZERO
    if lengths.size:
        given = lengths[row:last]
        for k in range(count):
            tells = (bits[k] & 16 != 0) & (wanted[k] == 0) & (heads[k] >= U32(20))
            blocks[k] = U32(given[k]) if tells else ZERO
            payloads[k] += blocks[k]
            taken[k] = U32(min(given[k], np.int64(payloads[k])))
    vlans = columns[24][row:last]
    wire, captured = column(sheet, WIRE), column(sheet, CAPTURED)
    cut = U32(settings[CUT])
    for k in range(count):
        link = U32(14) if vlans[k] == 0 else U32(18)
        wire[k] = link + networks[k] + heads[k] + payloads[k]
        captured[k] = min(U32(wire[k]), cut)


@njit(cache=True)
def place_records(settings: Any, sheet: Any, used: int, count: int) -> int:
    """Say where records begin in the buffer, of which `used` bytes are taken.

    Returns:
        How many of `count` there is room for.
    """
    room = settings[OUT_SIZE] - MAX_FRAME
    captured, places = column(sheet, CAPTURED), column(sheet, PLACES)
    next_generation = settings[PCAPNG_OUT] != 0
    for k in range(np.uint64(count)):
        if used > room:
            return np.int64(k)
        places[k] = used
        kept = np.int64(captured[k])
        used += (32 + ((kept + 3) & -4)) if next_generation else 16 + kept
    return count


@njit(cache=True)
def write_front(columns: Any, settings: Any, sheet: Any, row: int, count: int) -> None:
    """Find the times of records and the types of frames; SECONDS, FRACTION and TYPE are set."""
    times_ns, versions = columns[0][row : row + count], columns[6][row : row + count]
    seconds, fractions, types = column(sheet, SECONDS), column(sheet, FRACTION), column(sheet, TYPE)
    second_ns = np.uint64(1_000_000_000)
    for k in range(count):
        time_ns = np.uint64(times_ns[k])
        second = time_ns // second_ns
        seconds[k] = second
        fractions[k] = time_ns - second * second_ns
    if settings[RESOLUTION] != 1:
        for k in range(count):
            fractions[k] = fractions[k] // U32(1000)
    for k in range(count):
        types[k] = U32(0x08000000) if versions[k] == 4 else U32(0x86DD0000)


@njit(cache=True)
def mix_addresses(columns: Any, keys: Any, key: Any, wide: Any, row: int, count: int) -> None:
    """Look addresses up and hash them; all columns of `wide` are set."""
    src, dst = columns[1][row : row + count], columns[2][row : row + count]
    source_a, source_b = column(wide, SOURCE_A), column(wide, SOURCE_B)
    target_a, target_b = column(wide, TARGET_A), column(wide, TARGET_B)
    for k in range(np.uint64(count)):
        source, target = np.uint64(src[k]), np.uint64(dst[k])
        source_a[k], source_b[k] = keys[source, 0], keys[source, 1]
        target_a[k], target_b[k] = keys[target, 0], keys[target, 1]
    for first in (SOURCE_A, TARGET_A):
        high, low = column(wide, first), column(wide, first + 1)
        mixes = column(wide, SOURCE_MIX if first == SOURCE_A else TARGET_MIX)
        for k in range(count):
            mixed = (low[k] ^ (high[k] * HASH_B) ^ key) * HASH_A
            mixed ^= mixed >> HALF
            mixed *= HASH_B
            mixes[k] = mixed ^ (mixed >> np.uint64(29))


@njit(cache=True)
def write_macs(sheet: Any, wide: Any, count: int) -> None:
    """Find MAC addresses, those of groups where groups are addressed; MAC_1 to MAC_3 are set."""
    first, second, third = column(sheet, MAC_1), column(sheet, MAC_2), column(sheet, MAC_3)
    target_a, target_b = column(wide, TARGET_A), column(wide, TARGET_B)
    source_mix, target_mix = column(wide, SOURCE_MIX), column(wide, TARGET_MIX)
    card = U32(CARD_BYTE << 8)
    for k in range(count):
        begin = card | U32(U32(source_mix[k] >> HALF) & U32(255))
        third[k] = swap_word(source_mix[k])
        upper = card | U32(U32(target_mix[k] >> HALF) & U32(255))
        lower = swap_word(target_mix[k])
        address = swap_word(target_b[k] >> HALF)  # its last four bytes
        is_v4 = (target_a[k] == np.uint64(0)) & (target_b[k] & LOW_32 == MAPPED_WORD)
        is_group = is_v4 & (address >> U32(28) == U32(14))
        upper = U32(0x0100) if is_group else upper
        lower = U32(0x5E000000) | U32(address & U32(0x7FFFFF)) if is_group else lower
        is_all = is_v4 & (address == U32(0xFFFFFFFF))
        upper = LOW if is_all else upper
        lower = U32(0xFFFFFFFF) if is_all else lower
        is_group = (not is_v4) & (target_a[k] & np.uint64(255) == np.uint64(255))
        upper = U32(0x3333) if is_group else upper
        lower = address if is_group else lower
        first[k] = U32(upper << HALF_WORD) | U32(lower >> HALF_WORD)
        second[k] = U32(lower << HALF_WORD) | begin


@njit(cache=True)
def find_fillers(columns: Any, settings: Any, sheet: Any, wide: Any, row: int, count: int) -> None:
    """Choose where in the pool fillers begin; OFFSETS is set.

    An echo's reply repeats its request, and a TCP segment sent again what was sent first.
    """
    last = row + count
    times_ns, seqs, protocols = columns[0][row:last], columns[15][row:last], columns[5][row:last]
    source_ports, target_ports = columns[3][row:last], columns[4][row:last]
    source_mix, target_mix = column(wide, SOURCE_MIX), column(wide, TARGET_MIX)
    offsets, taken = column(sheet, OFFSETS), column(sheet, TAKEN)
    mask = U32(settings[FILL_MASK])
    for k in range(count):
        is_echo = (protocols[k] == 1) | (protocols[k] == 58)
        is_tcp = protocols[k] == 6
        factor = np.uint64(1) if is_echo else HASH_A
        ports = U32(U32(source_ports[k]) << HALF_WORD) | U32(target_ports[k])
        place = source_mix[k] * factor + target_mix[k]
        place ^= np.uint64(0) if is_echo else np.uint64(ports) * HASH_B
        moment = np.uint64(seqs[k]) if is_echo else np.uint64(times_ns[k])
        place += np.uint64(0) if is_tcp else moment * HASH_A
        place ^= place >> HALF
        offset = U32(place & np.uint64(0xFFFF)) + U32(taken[k])
        offset += U32(seqs[k]) if is_tcp else ZERO
        offsets[k] = U32(offset) & mask
