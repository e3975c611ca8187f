# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Columns to frames, compiled: records with whole, valid headers in one loop body.

The filler of a payload lies in a fixed pool whose prefix sums are known, so that its checksum
costs the same whatever its length.

References:
    RFC 791, 8200, 9293, 768, 792, 4443 (headers), 1071 (checksum), 7323 and 2018 (TCP options),
    4960 (SCTP and its CRC32c), 1112 and 2464 (multicast MAC addresses).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.frames import (
    CARD_BYTE,
    CUT,
    FILL_MASK,
    FRAGMENT_UNITS,
    MAC_KEY,
    MAX_FRAME,
    OUT_SIZE,
    PCAPNG_OUT,
    RESOLUTION,
)
from netsynth.capture.places_numba import get64_le, put8, put16, put32, put32_le, put64_le
from netsynth.capture.stores_numba import copy, copy_loosely

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
LOW_32, HALF, ONE = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(1)


@njit(cache=True)
def _fold(value: int) -> int:
    """Reduce a sum of 16-bit words to 16 bits, carries added back (RFC 1071)."""
    value = (value & 0xFFFF) + (value >> 16)
    value = (value & 0xFFFF) + (value >> 16)
    return (value & 0xFFFF) + (value >> 16)


@njit(cache=True)
def _swap(value: int) -> int:
    return ((value & 255) << 8) | (value >> 8)


@njit(cache=True)
def _mix(high: Any, low: Any, key: Any) -> Any:
    mixed = (low ^ (high * HASH_B) ^ key) * HASH_A
    mixed ^= mixed >> np.uint64(32)
    mixed *= HASH_B
    return mixed ^ (mixed >> np.uint64(29))


@njit(cache=True)
def _put_mac(out: Any, at: int, high: Any, low: Any, mixed: Any, is_target: bool) -> None:
    last = np.int64(low >> np.uint64(32))  # the address's last four bytes, first one lowest
    if high == np.uint64(0) and low & LOW_32 == np.uint64(0xFFFF0000):
        if last == 0xFFFFFFFF and is_target:
            for k in range(6):
                put8(out, at + k, 255)
            return
        if last & 0xF0 == 0xE0 and is_target:
            put8(out, at, 0x01)
            put8(out, at + 1, 0x00)
            put8(out, at + 2, 0x5E)
            put8(out, at + 3, (last >> 8) & 0x7F)
            put8(out, at + 4, (last >> 16) & 255)
            put8(out, at + 5, last >> 24)
            return
    elif high & np.uint64(255) == np.uint64(255) and is_target:
        put8(out, at, 0x33)
        put8(out, at + 1, 0x33)
        put32_le(out, at + 2, last)
        return
    put8(out, at, CARD_BYTE)
    put8(out, at + 1, np.int64((mixed >> np.uint64(32)) & np.uint64(255)))
    put32_le(out, at + 2, np.int64(mixed & LOW_32))


@njit(cache=True, nogil=True)
def encode(
    columns: Any,
    keys: Any,
    first_row: int,
    out: Any,
    settings: Any,
    pool: Any,
    pool_sums: Any,
    prefix: Any,
    prefix_start: Any,
    prefix_length: Any,
    crc_table: Any,
) -> Any:
    """Write records from `first_row` on until packets or room end.

    Args:
        columns: The arrays of `PACKET_COLUMNS`, in order.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        first_row: Row to begin with.
        out: uint8 [O], filled from its front.
        settings: int64, see `frames`.
        pool: uint8 [2P + 8], filler, the second half equal to the first.
        pool_sums: uint32 [2P / 8 + 1], sum of the bytes before each eighth, as 16-bit
            little-endian words, modulo 65535.
        prefix: uint8, beginnings of payloads.
        prefix_start: int64 [N] or [0], where each begins.
        prefix_length: int64 [N] or [0], bytes of each.
        crc_table: uint32 [256], CRC32c.

    Returns:
        The next row and the bytes written.
    """
    (
        time_ns,
        src,
        dst,
        src_port,
        dst_port,
        protocols,
        ip_versions,
        ttls,
        toses,
        ip_flags,
        ip_ids,
        _ip_lengths,
        _wire_lengths,
        payload_lengths,
        tcp_flags,
        seqs,
        acks,
        windows,
        option_bits,
        msses,
        window_scales,
        ts_vals,
        ts_ecrs,
        icmps,
        vlans,
        _checksums,
    ) = columns
    room = settings[OUT_SIZE] - MAX_FRAME
    resolution = settings[RESOLUTION]
    cut = settings[CUT]
    next_generation = settings[PCAPNG_OUT] != 0
    fill_mask = settings[FILL_MASK]
    mac_key = np.uint64(settings[MAC_KEY])
    has_prefix = prefix_length.size > 0
    count = time_ns.size
    row = first_row
    used = 0
    while row < count:
        if used > room:
            break
        protocol = np.int64(protocols[row])
        flags = np.int64(ip_flags[row])
        payload = np.int64(payload_lengths[row])
        is_v4 = ip_versions[row] == 4
        later_fragment = flags & 4 != 0
        bits = 0
        head = 0
        blocks = 0
        if not later_fragment:
            if protocol == 6:
                bits = np.int64(option_bits[row])
                head = 20
                if bits & 1:
                    head += 4
                if bits & 8:
                    head += 12
                elif bits & 4:
                    head += 4
                if bits & 2:
                    head += 4
                if bits & 16 and payload == 0 and has_prefix:  # SACK blocks, as if payload
                    blocks = prefix_length[row]
                    payload = blocks
            elif protocol == 17 or protocol == 1 or protocol == 58:
                head = 8
        ip_head = 20
        if not is_v4:
            ip_head = 48 if flags & 5 else 40
        payload = min(payload, 65535 - (ip_head if is_v4 else ip_head - 40) - head)
        length = head + payload
        vlan = np.int64(vlans[row])
        link_head = 18 if vlan else 14
        wire = link_head + ip_head + length
        captured = min(wire, cut)
        source_a = keys[src[row], 0]
        source_b = keys[src[row], 1]
        target_a = keys[dst[row], 0]
        target_b = keys[dst[row], 1]
        source_mix = _mix(source_a, source_b, mac_key)
        target_mix = _mix(target_a, target_b, mac_key)

        # The record's header.
        time = time_ns[row]
        if next_generation:
            ticks = time // resolution
            padded = captured + ((-captured) & 3)
            put32_le(out, used, 6)
            put32_le(out, used + 4, 32 + padded)
            put32_le(out, used + 8, 0)
            put32_le(out, used + 12, ticks >> 32)
            put32_le(out, used + 16, ticks & 0xFFFFFFFF)
            put32_le(out, used + 20, captured)
            put32_le(out, used + 24, wire)
            at = used + 28
        else:
            seconds = time // 1_000_000_000
            put32_le(out, used, seconds)
            put32_le(out, used + 4, (time - seconds * 1_000_000_000) // resolution)
            put32_le(out, used + 8, captured)
            put32_le(out, used + 12, wire)
            at = used + 16
        frame = at

        # Ethernet.
        _put_mac(out, at, target_a, target_b, target_mix, True)
        _put_mac(out, at + 6, source_a, source_b, source_mix, False)
        at += 12
        if vlan:
            put16(out, at, 0x8100)
            put16(out, at + 2, vlan & 0xFFF)
            at += 4
        put16(out, at, 0x0800 if is_v4 else 0x86DD)
        at += 2

        # IP, and the sum of the pseudo-header's addresses.
        if is_v4:
            source = np.int64(source_b >> np.uint64(32))
            target = np.int64(target_b >> np.uint64(32))
            pseudo = _swap(_fold(source + target))
            fragment = (flags & 3) << 13
            if length & 7:  # only a last fragment may end anywhere
                fragment &= 0xDFFF
            if later_fragment:
                fragment |= FRAGMENT_UNITS
            first_word = 0x4500 | np.int64(toses[row])
            total = 20 + length
            identification = np.int64(ip_ids[row])
            life = (np.int64(ttls[row]) << 8) | protocol
            header_sum = first_word + total + identification + fragment + life + pseudo
            put16(out, at, first_word)
            put16(out, at + 2, total)
            put16(out, at + 4, identification)
            put16(out, at + 6, fragment)
            put16(out, at + 8, life)
            put16(out, at + 10, _fold(header_sum) ^ 0xFFFF)
            put32_le(out, at + 12, source)
            put32_le(out, at + 16, target)
            at += 20
        else:
            pseudo = np.int64(source_a & LOW_32) + np.int64(source_a >> np.uint64(32))
            pseudo += np.int64(source_b & LOW_32) + np.int64(source_b >> np.uint64(32))
            pseudo += np.int64(target_a & LOW_32) + np.int64(target_a >> np.uint64(32))
            pseudo += np.int64(target_b & LOW_32) + np.int64(target_b >> np.uint64(32))
            pseudo = _swap(_fold(pseudo))
            label = np.int64(0)
            if (protocol == 6 or protocol == 17) and flags & 5 == 0:  # RFC 6437 section 3
                word = (source_mix * HASH_B) ^ target_mix
                word ^= np.uint64((np.int64(src_port[row]) << 16) | np.int64(dst_port[row]))
                label = np.int64((word * HASH_A) >> np.uint64(44))
            put32(out, at, 0x60000000 | (np.int64(toses[row]) << 20) | label)
            put16(out, at + 4, ip_head - 40 + length)
            put8(out, at + 6, 44 if flags & 5 else protocol)
            put8(out, at + 7, ttls[row])
            put64_le(out, at + 8, source_a)
            put64_le(out, at + 16, source_b)
            put64_le(out, at + 24, target_a)
            put64_le(out, at + 32, target_b)
            at += 40
            if flags & 5:
                fragment = (FRAGMENT_UNITS << 3) if later_fragment else 0
                if flags & 1 and length & 7 == 0:
                    fragment |= 1
                put16(out, at, protocol << 8)
                put16(out, at + 2, fragment)
                put32(out, at + 4, np.int64(ip_ids[row]))
                at += 8

        # The payload: where its filler lies, and the sum of both parts.
        source_port = np.int64(src_port[row])
        target_port = np.int64(dst_port[row])
        seq = np.int64(seqs[row])
        taken = 0
        start = 0
        if has_prefix:
            taken = min(prefix_length[row], payload)
            start = prefix_start[row]
        if protocol == 1 or protocol == 58:  # an echo's reply repeats its request
            place = source_mix + target_mix + np.uint64(seq) * HASH_A
        else:
            place = source_mix * HASH_A + target_mix
            place ^= np.uint64((source_port << 16) | target_port) * HASH_B
            if protocol != 6:
                place += np.uint64(time) * HASH_A
        place ^= place >> np.uint64(32)
        offset = np.int64(place & np.uint64(0xFFFF))
        if protocol == 6:
            offset += seq
        offset = (offset + taken) & fill_mask
        rest = payload - taken
        payload_at = at + head
        payload_sum = 0
        if head:
            stop = offset + rest
            low = offset >> 3
            high = stop >> 3
            filler = np.int64(pool_sums[high]) - np.int64(pool_sums[low]) + 65535
            word = get64_le(pool, high << 3) & ((ONE << np.uint64((stop & 7) << 3)) - ONE)
            filler += np.int64(word & LOW_32) + np.int64(word >> HALF)
            word = get64_le(pool, low << 3) & ((ONE << np.uint64((offset & 7) << 3)) - ONE)
            filler -= _fold(np.int64(word & LOW_32) + np.int64(word >> HALF))
            filler = _fold(filler + 65535 * 16)
            payload_sum = filler if (offset ^ taken) & 1 else _swap(filler)
            for k in range(taken):
                payload_sum += np.int64(prefix[start + k]) << (0 if k & 1 else 8)

        # The transport layer.
        if head == 0:
            pass
        elif protocol == 6:
            control = (((head + blocks) >> 2) << 12) | np.int64(tcp_flags[row])
            ack = np.int64(acks[row])
            window = np.int64(windows[row])
            urgent = payload - blocks if control & 32 else 0
            check = pseudo + 6 + length + payload_sum + source_port + target_port
            check += (seq >> 16) + (seq & 0xFFFF) + (ack >> 16) + (ack & 0xFFFF)
            check += control + window + urgent
            put16(out, at, source_port)
            put16(out, at + 2, target_port)
            put32(out, at + 4, seq)
            put32(out, at + 8, ack)
            put16(out, at + 12, control)
            put16(out, at + 14, window)
            put16(out, at + 18, urgent)
            option = at + 20
            if bits & 1:
                mss = np.int64(msses[row])
                put16(out, option, 0x0204)
                put16(out, option + 2, mss)
                check += 0x0204 + mss
                option += 4
            if bits & 12:
                word = 0x0402 if bits & 4 and bits & 8 else 0x0101
                put16(out, option, word)
                check += word
                option += 2
                if bits & 8:
                    value = np.int64(ts_vals[row])
                    echo = np.int64(ts_ecrs[row])
                    put16(out, option, 0x080A)
                    put32(out, option + 2, value)
                    put32(out, option + 6, echo)
                    check += 0x080A + (value >> 16) + (value & 0xFFFF)
                    check += (echo >> 16) + (echo & 0xFFFF)
                    option += 10
                else:
                    put16(out, option, 0x0402)
                    check += 0x0402
                    option += 2
            if bits & 2:
                scale = np.int64(window_scales[row])
                if scale > 14:  # RFC 7323 section 2.3
                    scale = 14
                put16(out, option, 0x0103)
                put16(out, option + 2, 0x0300 | scale)
                check += 0x0103 + (0x0300 | scale)
            put16(out, at + 16, _fold(check) ^ 0xFFFF)
        elif protocol == 17:
            check = pseudo + 17 + length + payload_sum + source_port + target_port + length
            folded = _fold(check) ^ 0xFFFF
            put16(out, at, source_port)
            put16(out, at + 2, target_port)
            put16(out, at + 4, length)
            put16(out, at + 6, folded if folded else 0xFFFF)
        else:
            kind = np.int64(icmps[row])
            check = kind + (seq >> 16) + (seq & 0xFFFF) + payload_sum
            if protocol == 58:
                check += pseudo + 58 + length
            folded = _fold(check) ^ 0xFFFF
            if folded == 0 and protocol == 1 and kind == 0 and seq == 0:
                zeros = True  # then the sum is 0, and the checksum is not (RFC 1071 section 1)
                for k in range(taken):
                    zeros = zeros and prefix[np.uint64(start + k)] == 0
                for k in range(rest):
                    zeros = zeros and pool[np.uint64(offset + k)] == 0
                if zeros:
                    folded = 0xFFFF
            put16(out, at, kind)
            put16(out, at + 2, folded)
            put32(out, at + 4, seq)

        # The payload's bytes, as far as they are kept.
        keep = frame + captured
        stop = min(payload_at + taken, keep)
        copy(out, payload_at, prefix, start, stop - payload_at)
        begin = payload_at + taken
        copy_loosely(out, begin, pool, offset, keep - begin)
        if (
            protocol == 132
            and not later_fragment
            and payload >= 12
            and keep == payload_at + payload
        ):
            put16(out, at, source_port)
            put16(out, at + 2, target_port)
            put32(out, at + 8, 0)
            crc = np.uint32(0xFFFFFFFF)
            for k in range(at, keep):
                crc = crc_table[np.uint8(crc) ^ out[k]] ^ (crc >> np.uint32(8))
            put32_le(out, at + 8, np.int64(~crc) & 0xFFFFFFFF)
        if next_generation:
            for k in range(keep, keep + ((-captured) & 3)):
                out[k] = 0
            keep += (-captured) & 3
            put32_le(out, keep, 32 + padded)
            keep += 4
        used = keep
        row += 1
    return row, used
