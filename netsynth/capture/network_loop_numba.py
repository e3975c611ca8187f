# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type, no-any-return"
"""Where IP begins in the frames of a batch, compiled; and the numbers of the addresses.

References:
    IEEE 802.3 (Ethernet); RFC 791, 8200 (IP).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.batch_numba import (
    BASES,
    BATCH,
    KIND_OTHER,
    KINDS,
    ORIGINS,
    ROOMS,
    SIXES,
    seldom,
)
from netsynth.capture.frames_numba import read_frame, store_fields
from netsynth.capture.hashes_numba import first_slot, note_mac, number_address, shift_of
from netsynth.capture.links_numba import pass_link, pass_shims
from netsynth.capture.loads_numba import (
    AT,
    CAPTURED,
    ETHERTYPE,
    HALF,
    LIMIT,
    LINK_KIND,
    LOW_32,
    MAC_AT,
    ONE,
    SOURCE_A,
    SOURCE_B,
    START,
    TARGET_A,
    TARGET_B,
    TWO,
    VLAN,
    WIRE,
    ZERO,
)
from netsynth.capture.network_numba import MAPPED, read_ip4, read_ip6
from netsynth.capture.places_numba import get8, get16, get32_le, get64_le
from netsynth.capture.records import DECAPSULATE, ETHERNET, NON_IP, PAIR_COUNT

HASH = np.uint64(0x9E3779B97F4A7C15)
MAC_BITS = np.uint64(0xFFFFFFFFFFFF)
USED = ONE << np.uint64(63)  # marks rows of `pairs`
PAIR_SHIFT = np.uint64(65 - PAIR_COUNT.bit_length())


@njit(cache=True)
def find_headers(
    data: Any,
    state: Any,
    counts: Any,
    fields: Any,
    starts: Any,
    limits: Any,
    links: Any,
    times_ns: Any,
    wires: Any,
    columns: Any,
    mac_slots: Any,
    pairs: Any,
    seed: Any,
    sheet: Any,
    count: int,
    row: int,
) -> Any:
    """Find the IP headers of frames, and give those that have one their rows.

    Args:
        data: uint8, the buffer.
        state: int64 [STATE_SIZE], counts are updated.
        counts: int64 [COUNT_SIZE], frames without IP by kind; updated.
        fields: int64 [FIELD_COUNT], overwritten.
        starts: uint32 [count], first byte of each frame.
        limits: uint32 [count], byte after the last one that is there.
        links: uint8 [count], how it begins (`records`).
        times_ns: int64 [count], when it was seen.
        wires: uint32 [count], bytes that it had.
        columns: The arrays of `PACKET_COLUMNS`, in order; time, wire length and VLAN are set.
        mac_slots: uint64 [MAC_SLOTS + MAC_LIMIT], hash set of MAC addresses + 1, then a list.
        pairs: uint64 [PAIR_COUNT * 4]; of each four numbers, the last two are MAC addresses that
            were seen together lately: nearly all frames are found here.
        seed: uint64, salt of the hashes.
        sheet: uint32, see `batch_numba`; BASES, ROOMS, ORIGINS and SIXES are set.
        count: Records of the batch.
        row: Row of the first packet.

    Returns:
        How many packets there are, and how many of them have IPv6 headers.
    """
    column_time, column_wire, vlans = columns[0], columns[12], columns[24]
    vlans[row : row + count] = 0
    packets = ZERO
    six_count = ZERO
    here = np.uint64(row)
    for k in range(np.uint64(count)):
        start = np.int64(starts[k])
        limit = np.int64(limits[k])
        is_ethernet = links[k] == ETHERNET
        if is_ethernet and limit - start >= 14:
            macs = get64_le(data, start)
            rest = np.uint64(get32_le(data, start + 8)) | USED
            pair = ((macs ^ seed ^ (rest << np.uint64(24))) * HASH) >> PAIR_SHIFT
            pair = (pair << TWO) | TWO
            if seldom((pairs[pair] != macs) | (pairs[pair + ONE] != rest)):
                pairs[pair] = macs
                pairs[pair + ONE] = rest
                note_mac(mac_slots, state, (macs & MAC_BITS) + ONE, seed)
                last = (macs >> np.uint64(48)) | ((rest & LOW_32) << np.uint64(16))
                note_mac(mac_slots, state, last + ONE, seed)
        base = start + 14
        is_usual = is_ethernet & (get16(data, start + 12) == 0x0800) & (get8(data, base) == 0x45)
        is_usual = is_usual & (base + 20 <= limit) & (get16(data, base + 2) >= 20)
        if seldom(not is_usual):
            fields[LINK_KIND] = links[k]
            fields[START] = start
            fields[CAPTURED] = limit - start
            fields[WIRE] = wires[k]
            reason = _find_unusual(data, state, fields, mac_slots, seed)
            if reason >= 0:
                state[NON_IP] += 1
                counts[reason] += 1
                continue
            vlans[here] = fields[VLAN]
            base = fields[AT]
            if fields[ETHERTYPE] != 0x0800:
                base += 20
                sheet[np.uint64(SIXES * BATCH) + six_count] = packets
                six_count += ONE
        column_time[here] = times_ns[k]
        column_wire[here] = wires[k]
        sheet[np.uint64(BASES * BATCH) + packets] = base
        sheet[np.uint64(ROOMS * BATCH) + packets] = max(limit - base - 20, 0)
        sheet[np.uint64(ORIGINS * BATCH) + packets] = k
        packets += ONE
        here += ONE
    return np.int64(packets), np.int64(six_count)


@njit(cache=True)
def _find_unusual(data: Any, state: Any, fields: Any, mac_slots: Any, seed: Any) -> int:
    """Find the IP header of any frame.

    Returns:
        -1, or the kind of a frame without IP (`records`).
    """
    limit = fields[START] + fields[CAPTURED]
    fields[LIMIT] = limit
    fields[VLAN] = 0
    reason = pass_link(data, fields)
    mac_at = fields[MAC_AT]
    if mac_at >= 0 and fields[LINK_KIND] != ETHERNET:
        note_mac(mac_slots, state, (get64_le(data, mac_at) & MAC_BITS) + ONE, seed)
    if reason < 0:
        reason = pass_shims(data, fields, True)
    if reason >= 0:
        return reason
    at = fields[AT]
    if fields[ETHERTYPE] != 0x0800:
        if at + 40 <= limit and get8(data, at) >> 4 == 6:
            return -1
        return read_ip6(data, fields)
    if at + 20 <= limit and get8(data, at) == 0x45 and get16(data, at + 2) >= 20:
        return -1
    return read_ip4(data, fields)


@njit(cache=True)
def number_addresses(
    data: Any,
    words: Any,
    state: Any,
    fields: Any,
    starts: Any,
    limits: Any,
    links: Any,
    columns: Any,
    slots: Any,
    keys: Any,
    pairs: Any,
    seed: Any,
    sheet: Any,
    is_six: Any,
    count: int,
    row: int,
) -> None:
    """Number the addresses of packets, in order; read those of KIND_OTHER whole.

    Args:
        data: uint8, the buffer.
        words: The same memory, uint64.
        state: int64 [STATE_SIZE], counts are updated.
        fields: int64 [FIELD_COUNT], overwritten.
        starts: uint32 [BATCH], first byte of each record's frame.
        limits: uint32 [BATCH], byte after the last one that is there.
        links: uint8 [BATCH], how it begins (`records`).
        columns: The arrays of `PACKET_COLUMNS`, in order; src and dst are set.
        slots: int32 [2^k], hash table of rows of `keys`, -1 where free.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        pairs: uint64 [PAIR_COUNT * 4]; of each four numbers, the first two are IPv4 addresses that
            were seen together lately, and their rows: nearly all packets are found here.
        seed: uint64, salt of the hashes.
        sheet: uint32, see `batch_numba`.
        is_six: uint8 [BATCH], 1 where the header is IPv6.
        count: Packets.
        row: Row of the first one.
    """
    src, dst = columns[1], columns[2]
    shift = shift_of(slots.size)
    here = np.uint64(row)
    for k in range(np.uint64(count)):
        kind = sheet[np.uint64(KINDS * BATCH) + k]
        base = np.int64(sheet[np.uint64(BASES * BATCH) + k])
        if seldom((kind == KIND_OTHER) | (is_six[k] != 0)):
            _number_unusual(
                data,
                words,
                state,
                fields,
                starts,
                limits,
                links,
                columns,
                slots,
                keys,
                seed,
                kind == KIND_OTHER,
                np.int64(sheet[np.uint64(ORIGINS * BATCH) + k]),
                base,
                here,
            )
            here += ONE
            continue
        ips = get64_le(data, base + 12)
        pair = ((ips ^ seed ^ (ips >> HALF)) * HASH) >> PAIR_SHIFT
        pair = pair << TWO
        numbers = pairs[pair + ONE]
        if seldom((pairs[pair] != ips) | (numbers == ZERO)):
            key = MAPPED | (ips << HALF)
            slot = first_slot(ZERO, key, seed, shift)
            source = number_address(slots, keys, state, ZERO, key, slot)
            key = MAPPED | (ips >> HALF << HALF)
            slot = first_slot(ZERO, key, seed, shift)
            target = number_address(slots, keys, state, ZERO, key, slot)
            numbers = USED | np.uint64(source) | (np.uint64(target) << HALF)
            pairs[pair] = ips
            pairs[pair + ONE] = numbers
        src[here] = np.int64(numbers & LOW_32)
        dst[here] = np.int64((numbers ^ USED) >> HALF)
        here += ONE


@njit(cache=True)
def _number_unusual(
    data: Any,
    words: Any,
    state: Any,
    fields: Any,
    starts: Any,
    limits: Any,
    links: Any,
    columns: Any,
    slots: Any,
    keys: Any,
    seed: Any,
    is_other: bool,
    origin: int,
    base: int,
    row: Any,
) -> None:
    """Number the addresses of a packet that is not plain IPv4; read it whole if `is_other`."""
    if is_other:
        fields[LINK_KIND] = links[origin]
        fields[START] = starts[origin]
        fields[CAPTURED] = np.int64(limits[origin]) - np.int64(starts[origin])
        fields[WIRE] = columns[12][row]
        read_frame(data, words, fields, state[DECAPSULATE] != 0)
        source_a, source_b = np.uint64(fields[SOURCE_A]), np.uint64(fields[SOURCE_B])
        target_a, target_b = np.uint64(fields[TARGET_A]), np.uint64(fields[TARGET_B])
        store_fields(columns, fields, state, row)
    else:
        at = base - 20
        source_a, source_b = get64_le(data, at + 8), get64_le(data, at + 16)
        target_a, target_b = get64_le(data, at + 24), get64_le(data, at + 32)
    shift = shift_of(slots.size)
    slot = first_slot(source_a, source_b, seed, shift)
    columns[1][row] = number_address(slots, keys, state, source_a, source_b, slot)
    slot = first_slot(target_a, target_b, seed, shift)
    columns[2][row] = number_address(slots, keys, state, target_a, target_b, slot)
