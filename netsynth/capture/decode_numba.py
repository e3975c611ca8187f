# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Frames to columns, compiled: the record walk and all columns in one loop body.

One long function on purpose: inlined helpers that take the columns as arguments made it seven
times slower. `decode_numpy.decode` gives the same results without a compiler.

References:
    IETF draft-ietf-opsawg-pcap and draft-ietf-opsawg-pcapng (file formats); IEEE 802.1Q, 802.3;
    RFC 791, 8200, 9293, 768, 792, 4443 (headers), 1071 (checksum), 7323, 2018 (TCP options),
    2516 (PPPoE), 3032 (MPLS), 2784 and 2890 (GRE), 2003 (IP in IP), 7348 (VXLAN).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.records import (
    ADDRESS_HEADROOM,
    ADDRESSES,
    ADDRESSES_FULL,
    BAD_BLOCK,
    BAD_CAPTURED,
    BAD_INTERFACE,
    BAD_IPV4,
    BAD_IPV6,
    BAD_LINK,
    BAD_TIME,
    BAD_WIRE,
    BLOCK,
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    CUT_SHORT,
    DECAPSULATE,
    END,
    ETHERNET,
    FIRST_NS,
    FORMAT,
    FRAGMENTS,
    FRAMES,
    FULL,
    HEADER_SIZE,
    IGNORED,
    INTERFACE_COUNT,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    LAST_MAC_A,
    LAST_MAC_B,
    LAST_NS,
    LINK,
    LLC,
    LOOPBACK,
    MAC_LIMIT,
    MAC_SLOTS,
    MACS,
    MAX_BLOCK,
    MAX_CAPTURED,
    MAX_EXTENSIONS,
    MAX_TIME_STEP_NS,
    MAX_TUNNELS,
    MAX_WIRE,
    MORE,
    NON_IP,
    OTHER_FAMILY,
    OUT_OF_ORDER,
    PCAP,
    POS,
    RAW_IP,
    RECORD,
    REFERENCE_NS,
    REFUSED,
    REFUSED_LINK,
    ROW,
    ROW_LIMIT,
    SKIP,
    SNAP,
    SNAP_OTHER,
    SWAP,
    TIME_DIV,
    TIME_MAX_UNITS,
    TIME_MUL,
    TIME_OFFSET_NS,
    TIME_SHIFT,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
LOW_32, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
ALL_ONES = np.uint64(0xFFFF)  # sums are right if they are this or a multiple (RFC 1071)
MAC_SHIFT = np.uint64(64 - 17)
MAPPED = np.uint64(0xFFFF0000)  # ::ffff:0:0/96 as the eight last bytes, little-endian
MAC_MASK = np.uint64(MAC_SLOTS - 1)
ZERO, ONE, TWO, THREE = np.uint64(0), np.uint64(1), np.uint64(2), np.uint64(3)


@njit(cache=True)
def _u8(data: Any, at: int) -> int:
    return np.int64(data[np.uint64(at)])


@njit(cache=True)
def _be16(data: Any, at: int) -> int:
    k = np.uint64(at)
    return np.int64((np.uint16(data[k]) << np.uint16(8)) | np.uint16(data[k + ONE]))


@njit(cache=True)
def _le32(data: Any, at: int) -> int:
    k = np.uint64(at)
    return np.int64(
        np.uint32(data[k])
        | (np.uint32(data[k + ONE]) << np.uint32(8))
        | (np.uint32(data[k + TWO]) << np.uint32(16))
        | (np.uint32(data[k + THREE]) << np.uint32(24))
    )


@njit(cache=True)
def _be32(data: Any, at: int) -> int:
    k = np.uint64(at)
    return np.int64(
        np.uint32(data[k + THREE])
        | (np.uint32(data[k + TWO]) << np.uint32(8))
        | (np.uint32(data[k + ONE]) << np.uint32(16))
        | (np.uint32(data[k]) << np.uint32(24))
    )


@njit(cache=True)
def _le64(data: Any, at: int) -> Any:
    return np.uint64(_le32(data, at)) | (np.uint64(_le32(data, at + 4)) << np.uint64(32))


@njit(cache=True, nogil=True)
def decode(
    data: Any,
    words: Any,
    state: Any,
    counts: Any,
    interfaces: Any,
    columns: Any,
    slots: Any,
    keys: Any,
    mac_slots: Any,
    seed: Any,
) -> int:
    """Decode records of a buffer from `state[POS]` on.

    Args:
        data: uint8 [B + 64], the buffer; `state[END]` bytes of it are filled.
        words: The same memory, uint64 [B / 8 + 8].
        state: int64 [STATE_SIZE], see `records`; read and updated.
        counts: int64 [COUNT_SIZE], frames without IP by kind; updated.
        interfaces: int64 [I, INTERFACE_COLUMNS].
        columns: The arrays of `PACKET_COLUMNS`, in order; rows ROW:ROW_LIMIT are filled.
        slots: int32 [2^k], hash table of rows of `keys`, -1 where free.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        mac_slots: uint64 [MAC_SLOTS + MAC_LIMIT], hash set of MAC addresses + 1, then a list.
        seed: uint64, salt of the hash, so that no capture can be built to make it slow.

    Returns:
        FULL, MORE, or what `records` lists; `state[POS]` is at the record in question.
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
        ip_lengths,
        wire_lengths,
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
        checksums,
    ) = columns
    pos = state[POS]
    row = state[ROW]
    row_limit = state[ROW_LIMIT]
    end = state[END]
    is_pcap = state[FORMAT] == PCAP
    swap = state[SWAP] != 0
    header_size = state[HEADER_SIZE]
    interface_count = state[INTERFACE_COUNT]
    decapsulate = state[DECAPSULATE] != 0
    reference = state[REFERENCE_NS]
    record = state[RECORD]
    frames = state[FRAMES]
    non_ip = state[NON_IP]
    truncated = state[TRUNCATED]
    ip_bad = state[IP_BAD]
    l4_bad = state[L4_BAD]
    l4_unknown = state[L4_UNKNOWN]
    out_of_order = state[OUT_OF_ORDER]
    fragments = state[FRAGMENTS]
    first_ns = state[FIRST_NS]
    last_ns = state[LAST_NS]
    wire_bytes = state[WIRE_BYTES]
    address_count = state[ADDRESSES]
    mac_count = state[MACS]
    last_mac_a = np.uint64(state[LAST_MAC_A])
    last_mac_b = np.uint64(state[LAST_MAC_B])
    slot_mask = np.uint64(slots.size - 1)
    slot_shift = np.uint64(64)
    size = slots.size
    while size > 1:
        slot_shift -= np.uint64(1)
        size >>= 1
    address_limit = np.int64(keys.shape[0]) - ADDRESS_HEADROOM
    link = interfaces[0, LINK]
    time_mul = interfaces[0, TIME_MUL]
    kind = 0
    status = FULL

    while row < row_limit:
        # The record: where its frame starts, how much of it is there, when it was seen.
        if address_count > address_limit:
            status = ADDRESSES_FULL
            break
        if pos + header_size > end:
            status = MORE
            break
        if is_pcap:
            if swap:
                seconds = _be32(data, pos)
                fraction = _be32(data, pos + 4)
                captured = _be32(data, pos + 8)
                wire = _be32(data, pos + 12)
            else:
                seconds = _le32(data, pos)
                fraction = _le32(data, pos + 4)
                captured = _le32(data, pos + 8)
                wire = _le32(data, pos + 12)
            if captured > MAX_CAPTURED:
                status = BAD_CAPTURED
                break
            if wire > MAX_WIRE:
                status = BAD_WIRE
                break
            time = seconds * 1_000_000_000 + fraction * time_mul
            start = pos + header_size
            after = start + captured
            if after > end:
                status = MORE
                break
        else:
            kind = _be32(data, pos) if swap else _le32(data, pos)
            if kind == 0x0A0D0D0A or kind == 1:  # section, interface
                status = BLOCK
                break
            length = _be32(data, pos + 4) if swap else _le32(data, pos + 4)
            if length < 12 or length & 3 != 0 or length > MAX_WIRE:
                status = BAD_BLOCK
                break
            after = pos + length
            if kind != 6 and kind != 3 and kind != 2:
                if after > end:
                    status = SKIP
                    break
                if (_be32(data, after - 4) if swap else _le32(data, after - 4)) != length:
                    status = BAD_BLOCK
                    break
                pos = after
                continue
            if length > MAX_BLOCK or length < (16 if kind == 3 else 32):
                status = BAD_BLOCK
                break
            if after > end:
                status = MORE
                break
            if (_be32(data, after - 4) if swap else _le32(data, after - 4)) != length:
                status = BAD_BLOCK
                break
            if kind == 3:  # simple packet: no time, first interface
                interface = 0
                wire = _be32(data, pos + 8) if swap else _le32(data, pos + 8)
                start = pos + 12
                captured = min(wire, length - 16)
                if interface_count > 0 and interfaces[0, SNAP] > 0:
                    captured = min(captured, interfaces[0, SNAP])
            else:
                if swap:
                    interface = _be32(data, pos + 8) if kind == 6 else _be16(data, pos + 8)
                    high = _be32(data, pos + 12)
                    low = _be32(data, pos + 16)
                    captured = _be32(data, pos + 20)
                    wire = _be32(data, pos + 24)
                else:
                    interface = _le32(data, pos + 8)
                    if kind == 2:
                        interface &= 0xFFFF
                    high = _le32(data, pos + 12)
                    low = _le32(data, pos + 16)
                    captured = _le32(data, pos + 20)
                    wire = _le32(data, pos + 24)
                start = pos + 28
                if captured > length - 32:
                    status = BAD_CAPTURED
                    break
            if captured > MAX_CAPTURED:
                status = BAD_CAPTURED
                break
            if wire > MAX_WIRE:
                status = BAD_WIRE
                break
            if interface >= interface_count:
                status = BAD_INTERFACE
                break
            link = interfaces[interface, LINK]
            if kind == 3:
                time = max(last_ns, 0)
            else:
                units = (np.uint64(high) << np.uint64(32)) | np.uint64(low)
                if units > np.uint64(interfaces[interface, TIME_MAX_UNITS]):
                    status = BAD_TIME
                    break
                if interfaces[interface, TIME_MUL] > 0:
                    time = np.int64(units) * interfaces[interface, TIME_MUL]
                elif interfaces[interface, TIME_DIV] > 0:
                    time = np.int64(units) // interfaces[interface, TIME_DIV]
                else:
                    shift = np.uint64(interfaces[interface, TIME_SHIFT])
                    rest = units & ((np.uint64(1) << shift) - np.uint64(1))
                    time = np.int64(units >> shift) * 1_000_000_000
                    if shift > np.uint64(34):
                        rest >>= shift - np.uint64(34)
                        shift = np.uint64(34)
                    time += np.int64((rest * np.uint64(1_000_000_000)) >> shift)
                time += interfaces[interface, TIME_OFFSET_NS]
        if link == REFUSED:
            status = BAD_LINK
            break
        untimed = not is_pcap and kind == 3
        if not untimed:
            if time < 0 or (reference >= 0 and abs(time - reference) > MAX_TIME_STEP_NS):
                status = BAD_TIME
                break
            if reference < 0:
                reference = time
        pos = after
        record += 1
        frames += 1
        wire = max(wire, captured)
        wire_bytes += wire
        truncated += captured < wire
        if untimed:
            state[UNTIMED] += 1
        if time < last_ns:
            out_of_order += 1
        else:
            last_ns = time
        if time < first_ns:
            first_ns = time

        # The link layer: find the EtherType and where it ends.
        limit = start + captured
        at = start
        reason = -1
        ethertype = 0
        mac_at = -1
        if link == IGNORED:
            reason = REFUSED_LINK
        elif link == ETHERNET:
            if captured >= 14:
                ethertype = _be16(data, at + 12)
                mac_at = at
                at += 14
            else:
                reason = CUT_SHORT
        elif captured < 4:
            reason = CUT_SHORT
        elif link == RAW_IP:
            ethertype = 0x86DD if _u8(data, at) >> 4 == 6 else 0x0800
        elif link == LOOPBACK:
            family = _le32(data, at)
            if family > 0xFFFF:
                family = _be32(data, at)
            at += 4
            if family == 2:
                ethertype = 0x0800
            elif family == 24 or family == 28 or family == 30 or family == 10:
                ethertype = 0x86DD
            else:
                reason = OTHER_FAMILY
        elif link == COOKED:
            if captured >= 16:
                ethertype = _be16(data, at + 14)
                if _be16(data, at + 4) == 6:
                    mac_at = at + 6
                at += 16
            else:
                reason = CUT_SHORT
        elif link == COOKED_2:
            if captured >= 20:
                ethertype = _be16(data, at)
                if _u8(data, at + 11) == 6:
                    mac_at = at + 12
                at += 20
            else:
                reason = CUT_SHORT
        elif link == CISCO_HDLC:
            ethertype = _be16(data, at + 2)
            at += 4
        else:  # PPP
            if _be16(data, at) == 0xFF03:
                at += 2
            family = _be16(data, at)
            at += 2
            if family == 0x0021:
                ethertype = 0x0800
            elif family == 0x0057:
                ethertype = 0x86DD
            elif family == 0x0281:
                ethertype = 0x8847
            else:
                reason = OTHER_FAMILY
        if mac_at >= 0:
            mac_a = _le64(data, mac_at) & np.uint64(0xFFFFFFFFFFFF)
            mac_b = mac_a
            if link == ETHERNET:
                mac_b = _le64(data, mac_at + 4) >> np.uint64(16)
            if mac_a != last_mac_a or mac_b != last_mac_b:
                last_mac_a = mac_a
                last_mac_b = mac_b
                for side in range(2):
                    mac = (mac_a if side == 0 else mac_b) + np.uint64(1)
                    slot = ((mac ^ seed) * HASH_A) >> MAC_SHIFT
                    while mac_slots[slot] != mac:
                        if mac_slots[slot] == ZERO:
                            if mac_count < MAC_LIMIT:
                                mac_slots[slot] = mac
                                mac_slots[np.uint64(MAC_SLOTS + mac_count)] = mac
                                mac_count += 1
                            break
                        slot = (slot + ONE) & MAC_MASK

        vlan = 0
        tunnels = 0
        total = 0
        accepted = False
        while reason < 0:
            # Shims between the link layer and IP.
            while ethertype != 0x0800 and ethertype != 0x86DD:
                if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
                    if at + 4 > limit:
                        reason = CUT_SHORT
                        break
                    if vlan == 0 and tunnels == 0:
                        vlan = _be16(data, at) & 0xFFF
                    ethertype = _be16(data, at + 2)
                    at += 4
                elif ethertype <= 1500:  # a length: 802.2 follows
                    if at + 3 > limit:
                        reason = CUT_SHORT
                        break
                    if _u8(data, at) != 0xAA or _u8(data, at + 1) != 0xAA or _u8(data, at + 2) != 3:
                        reason = LLC + _u8(data, at)
                        break
                    if at + 8 > limit:
                        reason = CUT_SHORT
                        break
                    ethertype = _be16(data, at + 6)
                    if (
                        _u8(data, at + 3) != 0
                        or _u8(data, at + 4) != 0
                        or _u8(data, at + 5) != 0
                        or ethertype <= 1500
                    ):
                        reason = SNAP_OTHER
                        break
                    at += 8
                elif ethertype == 0x8847 or ethertype == 0x8848:
                    bottom = False
                    while not bottom and at + 4 <= limit:
                        bottom = _u8(data, at + 2) & 1 != 0
                        at += 4
                    if not bottom or at >= limit:
                        reason = CUT_SHORT
                        break
                    if _u8(data, at) >> 4 == 4:
                        ethertype = 0x0800
                    elif _u8(data, at) >> 4 == 6:
                        ethertype = 0x86DD
                    else:
                        reason = ethertype
                        break
                elif ethertype == 0x8864:
                    if at + 8 > limit:
                        reason = CUT_SHORT
                        break
                    family = _be16(data, at + 6)
                    if family == 0x0021:
                        ethertype = 0x0800
                    elif family == 0x0057:
                        ethertype = 0x86DD
                    else:
                        reason = ethertype
                        break
                    at += 8
                else:
                    reason = ethertype
                    break
            if reason >= 0:
                break

            # IP.
            if ethertype == 0x0800:
                if at + 20 > limit:
                    reason = CUT_SHORT
                    break
                header = (_u8(data, at) & 15) * 4
                length = _be16(data, at + 2)
                if length == 0:  # segmentation offload: more than the field can say
                    length = wire - (at - start)
                if _u8(data, at) >> 4 != 4 or header < 20 or length < header:
                    reason = BAD_IPV4
                    break
                total = length
                accepted = True
                version = 4
                l4 = at + header
                stop = at + total
                tos = _u8(data, at + 1)
                ip_id = _be16(data, at + 4)
                fragment = _be16(data, at + 6)
                flags = ((fragment >> 13) & 3) | (4 if fragment & 0x1FFF != 0 else 0)
                ttl = _u8(data, at + 8)
                protocol = _u8(data, at + 9)
                source_a = ZERO
                target_a = ZERO
                source_b = MAPPED | (np.uint64(_le32(data, at + 12)) << np.uint64(32))
                target_b = MAPPED | (np.uint64(_le32(data, at + 16)) << np.uint64(32))
                pseudo = at + 12
                pseudo_stop = at + 20
                check = 0
                if l4 <= limit:
                    total_sum = _le32(data, at) + _le32(data, at + 4) + _le32(data, at + 8)
                    total_sum += _le32(data, at + 12) + _le32(data, at + 16)
                    for k in range(at + 20, l4, 4):
                        total_sum += _le32(data, k)
                    if np.uint64(total_sum) % ALL_ONES != ZERO:
                        check = 1
                rerouted = False
            else:
                if at + 40 > limit:
                    reason = CUT_SHORT
                    break
                if _u8(data, at) >> 4 != 6:
                    reason = BAD_IPV6
                    break
                total = _be16(data, at + 4) + 40
                protocol = _u8(data, at + 6)
                if total == 40 and protocol != 59:  # jumbogram
                    total = max(wire - (at - start), 40)
                accepted = True
                version = 6
                l4 = at + 40
                stop = at + total
                tos = (_be16(data, at) >> 4) & 0xFF
                ip_id = 0
                flags = 0
                check = 0
                ttl = _u8(data, at + 7)
                source_a = _le64(data, at + 8)
                source_b = _le64(data, at + 16)
                target_a = _le64(data, at + 24)
                target_b = _le64(data, at + 32)
                pseudo = at + 8
                pseudo_stop = at + 40
                rerouted = False
                inside = min(limit, stop)
                for _ in range(MAX_EXTENSIONS):
                    if protocol == 44:
                        if l4 + 8 > inside:
                            break
                        fragment = _be16(data, l4 + 2)
                        flags = (fragment & 1) | (4 if fragment & 0xFFF8 != 0 else 0)
                        protocol = _u8(data, l4)
                        l4 += 8
                        if flags & 4:
                            break
                    elif (
                        protocol == 0
                        or protocol == 60
                        or protocol == 43
                        or protocol == 135
                        or protocol == 51
                    ):
                        if l4 + 8 > inside:
                            break
                        rerouted = rerouted or protocol == 43
                        if protocol == 51:
                            step = (_u8(data, l4 + 1) + 2) * 4
                        else:
                            step = (_u8(data, l4 + 1) + 1) * 8
                        protocol = _u8(data, l4)
                        l4 += step
                    else:
                        break
            whole = stop <= limit
            inside = min(limit, stop)  # bytes from here on belong to others, or are not there

            # The transport layer; `claimed` and `present` bytes from `l4` on.
            claimed = max(stop - l4, 0)
            present = max(inside - l4, 0)
            source_port = 0
            target_port = 0
            payload = claimed
            tcp = 0
            seq = 0
            ack = 0
            window = 0
            options = 0
            mss = 0
            scale = 255
            ts_val = 0
            ts_ecr = 0
            icmp = 0
            verify = 0  # bytes that an L4 checksum covers, 0 where none can be checked
            with_pseudo = True
            unchecked = True
            if flags & 4 == 0:
                if protocol == 6:
                    header = 20
                    if present >= 4:
                        source_port = _be16(data, l4)
                        target_port = _be16(data, l4 + 2)
                        if present >= 8:
                            seq = _be32(data, l4 + 4)
                        if present >= 12:
                            ack = _be32(data, l4 + 8)
                        if present >= 14:
                            header = max((_u8(data, l4 + 12) >> 4) * 4, 20)
                            tcp = _u8(data, l4 + 13)
                        if present >= 16:
                            window = _be16(data, l4 + 14)
                    payload = max(claimed - header, 0)
                    k = l4 + 20
                    options_end = min(l4 + header, inside)
                    if options_end - k == 12 and _le32(data, k) == 0x0A080101:
                        options = 8  # NOP, NOP, timestamps: nearly all there is
                        ts_val = _be32(data, k + 4)
                        ts_ecr = _be32(data, k + 8)
                        k = options_end
                    while k < options_end:
                        kind_ = _u8(data, k)
                        if kind_ == 1:
                            k += 1
                            continue
                        if kind_ == 0 or k + 1 >= options_end:
                            break
                        size_ = _u8(data, k + 1)
                        if size_ < 2 or k + size_ > options_end:
                            break
                        if kind_ == 8 and size_ == 10:
                            options |= 8
                            ts_val = _be32(data, k + 2)
                            ts_ecr = _be32(data, k + 6)
                        elif kind_ == 2 and size_ == 4:
                            options |= 1
                            mss = _be16(data, k + 2)
                        elif kind_ == 3 and size_ == 3:
                            options |= 2
                            scale = _u8(data, k + 2)
                        elif kind_ == 4 and size_ == 2:
                            options |= 4
                        elif kind_ == 5:
                            options |= 16
                        k += size_
                    if claimed >= 20:
                        verify = claimed
                elif protocol == 17:
                    payload = max(claimed - 8, 0)
                    if present >= 4:
                        source_port = _be16(data, l4)
                        target_port = _be16(data, l4 + 2)
                    if present >= 8:
                        size_ = _be16(data, l4 + 4)
                        if size_ >= 8 and size_ <= claimed:
                            payload = size_ - 8
                            if _u8(data, l4 + 6) != 0 or _u8(data, l4 + 7) != 0:
                                verify = size_
                            elif version == 4:  # sent without one
                                unchecked = False
                            else:  # RFC 8200 section 8.1 demands one
                                unchecked = False
                                check |= 2
                elif protocol == 1 or protocol == 58:
                    payload = max(claimed - 8, 0)
                    if present >= 2:
                        icmp = _be16(data, l4)
                    if present >= 8:
                        seq = _be32(data, l4 + 4)
                    with_pseudo = protocol == 58
                    if claimed >= 8:
                        verify = claimed
                elif protocol == 132 and present >= 4:
                    source_port = _be16(data, l4)
                    target_port = _be16(data, l4 + 2)
            if verify > 0 and whole and flags & 5 == 0 and not rerouted and verify <= 65535:
                begin = l4
                checked = ZERO
                if with_pseudo:
                    if l4 & 1:
                        checked = np.uint64(verify + protocol)
                    else:
                        swapped = (verify >> 8) + ((verify & 255) << 8) + (protocol << 8)
                        checked = np.uint64(swapped)
                    if pseudo_stop == l4:
                        begin = pseudo
                    else:  # IP options or extension headers lie between
                        for k in range(pseudo, pseudo_stop, 4):
                            checked += np.uint64(_le32(data, k)) << np.uint64((k & 1) * 8)
                # Bytes begin:stop_ as 16-bit little-endian words aligned to the buffer.
                stop_ = l4 + verify
                first = np.uint64(begin) >> THREE
                last = np.uint64(stop_) >> THREE
                for word_at in range(first, last):
                    word = words[word_at]
                    checked += (word & LOW_32) + (word >> HALF)
                word = words[last] & ((ONE << np.uint64((stop_ & 7) * 8)) - ONE)
                checked += (word & LOW_32) + (word >> HALF)
                word = words[first] & ((ONE << np.uint64((begin & 7) * 8)) - ONE)
                checked -= (word & LOW_32) + (word >> HALF)
                if checked % ALL_ONES != ZERO:
                    check |= 2
            elif unchecked:
                check |= 4
            payload = min(payload, 65535)

            # A tunnel: what it carries takes the row over, if it is IP.
            if not decapsulate or flags & 4 != 0 or tunnels == MAX_TUNNELS:
                break
            if protocol == 4:
                ethertype = 0x0800
                at = l4
            elif protocol == 41:
                ethertype = 0x86DD
                at = l4
            elif protocol == 47 and present >= 4 and _u8(data, l4 + 1) & 7 == 0:
                step = 4
                if _u8(data, l4) & 0x80:
                    step += 4
                if _u8(data, l4) & 0x20:
                    step += 4
                if _u8(data, l4) & 0x10:
                    step += 4
                ethertype = _be16(data, l4 + 2)
                at = l4 + step
                if ethertype == 0x6558:
                    if at + 14 > inside:
                        break
                    ethertype = _be16(data, at + 12)
                    at += 14
            elif protocol == 17 and target_port == 4789 and present >= 30 and _u8(data, l4 + 8) & 8:
                ethertype = _be16(data, l4 + 28)
                at = l4 + 30
            else:
                break
            limit = inside
            tunnels += 1

        if not accepted:
            non_ip += 1
            counts[reason] += 1
            continue

        # The packet.
        here = np.uint64(row)
        for side in range(2):
            if side == 0:
                key_a = source_a
                key_b = source_b
            else:
                key_a = target_a
                key_b = target_b
            mixed = (key_b ^ (key_a * HASH_B) ^ seed) * HASH_A
            mixed ^= mixed >> np.uint64(29)
            slot = (mixed * HASH_B) >> slot_shift
            while True:
                address = np.int64(slots[slot])
                if address < 0:
                    address = address_count
                    slots[slot] = address
                    keys[np.uint64(address), ZERO] = key_a
                    keys[np.uint64(address), ONE] = key_b
                    address_count += 1
                    break
                if (
                    keys[np.uint64(address), ONE] == key_b
                    and keys[np.uint64(address), ZERO] == key_a
                ):
                    break
                slot = (slot + ONE) & slot_mask
            if side == 0:
                src[here] = address
            else:
                dst[here] = address
        if flags & 5:
            fragments += 1
        if check & 1:
            ip_bad += 1
        if check & 2:
            l4_bad += 1
        if check & 4:
            l4_unknown += 1
        time_ns[here] = time
        src_port[here] = source_port
        dst_port[here] = target_port
        protocols[here] = protocol
        ip_versions[here] = version
        ttls[here] = ttl
        toses[here] = tos
        ip_flags[here] = flags
        ip_ids[here] = ip_id
        ip_lengths[here] = min(total, 65535)
        wire_lengths[here] = wire
        payload_lengths[here] = payload
        tcp_flags[here] = tcp
        seqs[here] = seq
        acks[here] = ack
        windows[here] = window
        option_bits[here] = options
        msses[here] = mss
        window_scales[here] = scale
        ts_vals[here] = ts_val
        ts_ecrs[here] = ts_ecr
        icmps[here] = icmp
        vlans[here] = vlan
        checksums[here] = check
        row += 1

    state[POS] = pos
    state[ROW] = row
    state[REFERENCE_NS] = reference
    state[RECORD] = record
    state[FRAMES] = frames
    state[NON_IP] = non_ip
    state[TRUNCATED] = truncated
    state[IP_BAD] = ip_bad
    state[L4_BAD] = l4_bad
    state[L4_UNKNOWN] = l4_unknown
    state[OUT_OF_ORDER] = out_of_order
    state[FRAGMENTS] = fragments
    state[FIRST_NS] = first_ns
    state[LAST_NS] = last_ns
    state[WIRE_BYTES] = wire_bytes
    state[ADDRESSES] = address_count
    state[MACS] = mac_count
    state[LAST_MAC_A] = np.int64(last_mac_a)
    state[LAST_MAC_B] = np.int64(last_mac_b)
    return status


@njit(cache=True)
def rehash(slots: Any, keys: Any, count: int, seed: Any) -> None:
    """Enter the first `count` rows of `keys` into `slots`, which is all -1."""
    shift = np.uint64(64)
    size = slots.size
    while size > 1:
        shift -= np.uint64(1)
        size >>= 1
    for row in range(count):
        mixed = (keys[row, 1] ^ (keys[row, 0] * HASH_B) ^ seed) * HASH_A
        mixed ^= mixed >> np.uint64(29)
        slot = np.int64((mixed * HASH_B) >> shift)
        while slots[slot] >= 0:
            slot = (slot + 1) & np.int64(slots.size - 1)
        slots[slot] = row
