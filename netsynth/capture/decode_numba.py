# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Frames to columns, compiled: the record walk, and the packets that nearly all captures hold.

One loop body on purpose: inlined helpers that take the columns as arguments made it seven times
slower. TCP, UDP and ICMP whose headers are there, over IP without options, extensions or fragments
are read right there; all else goes through `frames_numba.read_frame`, which costs three times as
much. `decode_numpy.decode` gives the same results without a compiler.

References:
    IETF draft-ietf-opsawg-pcap (record header); RFC 791, 9293, 768, 1071, 7323 section 3.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.blocks_numba import PACKET, PASSED, read_block
from netsynth.capture.frames_numba import read_frame
from netsynth.capture.hashes_numba import (
    HASH_A,
    MAC_MASK,
    MAC_SHIFT,
    first_slot,
    number_address,
    rehash,
    shift_of,
)
from netsynth.capture.links_numba import pass_link, pass_shims
from netsynth.capture.loads_numba import (
    ACK_NUMBER,
    AFTER,
    ALL_ONES,
    AT,
    CAPTURED,
    CHECK,
    ETHERTYPE,
    FIELD_COUNT,
    HALF,
    ICMP_KIND,
    INTERFACE,
    IP_FLAGS,
    IP_ID,
    LIMIT,
    LINK_KIND,
    LOW_32,
    MAC_AT,
    MSS,
    NEXT_PROTOCOL,
    ONE,
    OPTIONS,
    PAYLOAD,
    SCALE,
    SEQ,
    SOURCE_A,
    SOURCE_B,
    SOURCE_PORT,
    START,
    TARGET_A,
    TARGET_B,
    TARGET_PORT,
    TCP_FLAGS,
    THREE,
    TIME,
    TOS,
    TOTAL,
    TS_ECR,
    TS_VAL,
    TTL,
    VERSION,
    VLAN,
    WINDOW,
    WIRE,
    ZERO,
    be16,
    be32,
    le32,
    le64,
    u8,
)
from netsynth.capture.network_numba import MAPPED
from netsynth.capture.records import (
    ADDRESS_HEADROOM,
    ADDRESSES,
    ADDRESSES_FULL,
    BAD_CAPTURED,
    BAD_LINK,
    BAD_TIME,
    BAD_WIRE,
    DECAPSULATE,
    END,
    ETHERNET,
    FIRST_NS,
    FORMAT,
    FRAGMENTS,
    FRAMES,
    FULL,
    HEADER_SIZE,
    INTERFACE_COUNT,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    LAST_MAC_A,
    LAST_MAC_B,
    LAST_NS,
    LINK,
    MAC_LIMIT,
    MAC_SLOTS,
    MACS,
    MAX_CAPTURED,
    MAX_TIME_STEP_NS,
    MAX_WIRE,
    MORE,
    NON_IP,
    OUT_OF_ORDER,
    PCAP,
    POS,
    RECORD,
    REFERENCE_NS,
    REFUSED,
    ROW,
    ROW_LIMIT,
    SWAP,
    TIME_MUL,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)
from netsynth.capture.transport_numba import read_options

__all__ = ["decode", "rehash"]

MAC_BITS = np.uint64(0xFFFFFFFFFFFF)
STAMPS = 0x0A080101  # little-endian: NOP, NOP, timestamps of ten bytes; RFC 7323 appendix A
MSS_OPTION = 0x0204  # big-endian, kind and size; RFC 9293 section 3.1
SACK_AND_STAMPS = 0x0402080A  # SACK permitted, timestamps; RFC 2018 section 2
SCALE_OPTION = 0x010303  # NOP, window scale; RFC 7323 section 2.2


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
        data: uint8 [B + 128], the buffer; `state[END]` bytes of it are filled.
        words: The same memory, uint64 [B / 8 + 16].
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
    fields = np.zeros(FIELD_COUNT, dtype=np.int64)
    pos = state[POS]
    row = state[ROW]
    row_limit = state[ROW_LIMIT]
    end = state[END]
    is_pcap = state[FORMAT] == PCAP
    swap = state[SWAP] != 0
    header_size = state[HEADER_SIZE]
    decapsulate = state[DECAPSULATE] != 0
    reference = state[REFERENCE_NS]
    record = state[RECORD]
    truncated = state[TRUNCATED]
    first_ns = state[FIRST_NS]
    last_ns = state[LAST_NS]
    wire_bytes = state[WIRE_BYTES]
    last_mac_a = np.uint64(state[LAST_MAC_A])
    last_mac_b = np.uint64(state[LAST_MAC_B])
    shift = shift_of(slots.size)
    slot_mask = np.uint64(slots.size - 1)
    address_limit = np.int64(keys.shape[0]) - ADDRESS_HEADROOM
    link = interfaces[0, LINK]
    time_mul = interfaces[0, TIME_MUL]
    status = FULL

    while row < row_limit:
        # The record: where its frame starts, how much of it is there, when it was seen.
        if state[ADDRESSES] > address_limit:
            status = ADDRESSES_FULL
            break
        if pos + header_size > end:
            status = MORE
            break
        untimed = False
        if is_pcap:
            if swap:
                time = be32(data, pos) * 1_000_000_000 + be32(data, pos + 4) * time_mul
                captured = be32(data, pos + 8)
                wire = be32(data, pos + 12)
            else:
                time = le32(data, pos) * 1_000_000_000 + le32(data, pos + 4) * time_mul
                captured = le32(data, pos + 8)
                wire = le32(data, pos + 12)
            if captured > MAX_CAPTURED:
                status = BAD_CAPTURED
                break
            if wire > MAX_WIRE:
                status = BAD_WIRE
                break
            start = pos + header_size
            after = start + captured
            if after > end:
                status = MORE
                break
        else:
            found = read_block(
                data, fields, interfaces, state[INTERFACE_COUNT], pos, end, swap, last_ns
            )
            if found == PASSED:
                pos = fields[AFTER]
                continue
            if found != PACKET:
                status = found
                break
            start = fields[START]
            captured = fields[CAPTURED]
            wire = fields[WIRE]
            time = fields[TIME]
            link = fields[LINK_KIND]
            after = fields[AFTER]
            untimed = fields[INTERFACE] < 0
        if link == REFUSED:
            status = BAD_LINK
            break
        if untimed:
            state[UNTIMED] += 1
        else:
            if time < 0 or (reference >= 0 and abs(time - reference) > MAX_TIME_STEP_NS):
                status = BAD_TIME
                break
            if reference < 0:
                reference = time
        pos = after
        record += 1
        wire = max(wire, captured)
        wire_bytes += wire
        truncated += captured < wire
        if time < last_ns:
            state[OUT_OF_ORDER] += 1
        else:
            last_ns = time
        if time < first_ns:
            first_ns = time
        here = np.uint64(row)

        # The link layer, up to IP.
        at = start + 14
        mac_at = start
        vlan = 0
        reason = -1
        ethertype = be16(data, start + 12)
        if ethertype == 0x8100 and captured >= 18:
            vlan = be16(data, start + 14) & 0xFFF
            ethertype = be16(data, start + 16)
            at = start + 18
        if link != ETHERNET or captured < 14 or (ethertype != 0x0800 and ethertype != 0x86DD):
            fields[LINK_KIND] = link
            fields[START] = start
            fields[CAPTURED] = captured
            fields[LIMIT] = start + captured
            fields[VLAN] = 0
            reason = pass_link(data, fields)
            mac_at = fields[MAC_AT]
            if reason < 0:
                reason = pass_shims(data, fields, True)
            ethertype = fields[ETHERTYPE]
            at = fields[AT]
            vlan = fields[VLAN]
        if mac_at >= 0:
            mac_a = le64(data, mac_at) & MAC_BITS
            mac_b = mac_a
            if link == ETHERNET:
                mac_b = le64(data, mac_at + 4) >> np.uint64(16)
            if mac_a != last_mac_a or mac_b != last_mac_b:
                last_mac_a = mac_a
                last_mac_b = mac_b
                for side in range(2):
                    mac = (mac_a if side == 0 else mac_b) + ONE
                    slot = ((mac ^ seed) * HASH_A) >> MAC_SHIFT
                    while mac_slots[slot] != mac:
                        if mac_slots[slot] == ZERO:
                            if state[MACS] < MAC_LIMIT:
                                mac_slots[slot] = mac
                                mac_slots[np.uint64(MAC_SLOTS + state[MACS])] = mac
                                state[MACS] += 1
                            break
                        slot = (slot + ONE) & MAC_MASK
        if reason >= 0:
            state[NON_IP] += 1
            counts[reason] += 1
            continue

        # IP and the transport layer of the packets that nearly all captures consist of. Columns are
        # written at once (fewer numbers to keep), and again below if this was no such packet. A
        # header that is not there may be read all the same: buffers have room for that.
        time_ns[here] = time
        wire_lengths[here] = wire
        vlans[here] = vlan
        if ethertype == 0x0800:
            fragment = be16(data, at + 6)
            common = u8(data, at) == 0x45 and fragment & 0x3FFF == 0
            ip_versions[here] = 4
            ip_flags[here] = (fragment >> 13) & 3
            toses[here] = u8(data, at + 1)
            ip_ids[here] = be16(data, at + 4)
            ttls[here] = u8(data, at + 8)
            protocol = u8(data, at + 9)
            claimed = be16(data, at + 2) - 20  # bytes of the segment
            ip_lengths[here] = claimed + 20
            segment = at + 20
            pseudo = at + 12
            source = le32(data, at + 12)
            target = le32(data, at + 16)
            source_a = ZERO
            target_a = ZERO
            source_b = MAPPED | (np.uint64(source) << HALF)
            target_b = MAPPED | (np.uint64(target) << HALF)
            check = 0
            header_sum = le32(data, at) + le32(data, at + 4) + le32(data, at + 8) + source + target
            if np.uint64(header_sum) % ALL_ONES != ZERO:
                check = 1
        else:
            common = u8(data, at) >> 4 == 6
            ip_versions[here] = 6
            ip_flags[here] = 0
            toses[here] = (be16(data, at) >> 4) & 0xFF
            ip_ids[here] = 0
            ttls[here] = u8(data, at + 7)
            protocol = u8(data, at + 6)
            claimed = be16(data, at + 4)
            ip_lengths[here] = min(claimed + 40, 65535)
            segment = at + 40
            pseudo = at + 8
            source_a = le64(data, at + 8)
            source_b = le64(data, at + 16)
            target_a = le64(data, at + 24)
            target_b = le64(data, at + 32)
            check = 0
        room = start + captured - segment  # bytes there are of the segment and what follows
        protocols[here] = protocol
        covered = claimed  # bytes that the checksum covers
        summed = True
        if protocol == 6:
            control = be16(data, segment + 12)
            header = (control >> 12) << 2
            common = common and header >= 20 and header <= room and header <= claimed
            src_port[here] = be16(data, segment)
            dst_port[here] = be16(data, segment + 2)
            seqs[here] = be32(data, segment + 4)
            acks[here] = be32(data, segment + 8)
            tcp_flags[here] = control & 255
            windows[here] = be16(data, segment + 14)
            payload_lengths[here] = claimed - header
            icmps[here] = 0
            options = 0
            mss = 0
            scale = 255
            ts_val = 0
            ts_ecr = 0
            if header == 32 and le32(data, segment + 20) == STAMPS:
                options = 8
                ts_val = be32(data, segment + 24)
                ts_ecr = be32(data, segment + 28)
            elif header == 24 and be16(data, segment + 20) == MSS_OPTION:
                options = 1
                mss = be16(data, segment + 22)
            elif (
                header == 40
                and be16(data, segment + 20) == MSS_OPTION
                and be32(data, segment + 24) == SACK_AND_STAMPS
                and be32(data, segment + 36) >> 8 == SCALE_OPTION
            ):  # a SYN of Linux
                options = 15
                mss = be16(data, segment + 22)
                ts_val = be32(data, segment + 28)
                ts_ecr = be32(data, segment + 32)
                scale = u8(data, segment + 39)
            elif header != 20 and common:
                read_options(data, fields, segment + 20, segment + header)
                options = fields[OPTIONS]
                mss = fields[MSS]
                scale = fields[SCALE]
                ts_val = fields[TS_VAL]
                ts_ecr = fields[TS_ECR]
            option_bits[here] = options
            ts_vals[here] = ts_val
            ts_ecrs[here] = ts_ecr
            msses[here] = mss
            window_scales[here] = scale
        else:
            if protocol == 17:
                target_port = be16(data, segment + 2)
                covered = be16(data, segment + 4)
                common = common and room >= 8 and 8 <= covered <= claimed
                common = common and not (decapsulate and target_port == 4789)
                src_port[here] = be16(data, segment)
                dst_port[here] = target_port
                seqs[here] = 0
                icmps[here] = 0
                summed = be16(data, segment + 6) != 0  # else it was sent without a checksum
                if not summed and ethertype != 0x0800:  # RFC 8200 section 8.1 demands one
                    check |= 2
            else:
                common = common and (protocol == 1 or protocol == 58)
                common = common and room >= 8 and claimed >= 8
                src_port[here] = 0
                dst_port[here] = 0
                seqs[here] = be32(data, segment + 4)
                icmps[here] = be16(data, segment)
            payload_lengths[here] = covered - 8
            tcp_flags[here] = 0
            acks[here] = 0
            windows[here] = 0
            option_bits[here] = 0
            ts_vals[here] = 0
            ts_ecrs[here] = 0
            msses[here] = 0
            window_scales[here] = 255
        if common:
            for side in range(2):
                key_a = source_a if side == 0 else target_a
                key_b = source_b if side == 0 else target_b
                slot = first_slot(key_a, key_b, seed, shift)
                while True:  # as `number_address`
                    address = np.int64(slots[slot])
                    if address < 0:
                        address = state[ADDRESSES]
                        slots[slot] = address
                        keys[np.uint64(address), ZERO] = key_a
                        keys[np.uint64(address), ONE] = key_b
                        state[ADDRESSES] = address + 1
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
            if not summed:
                pass
            elif claimed <= room:
                if protocol == 1:  # no pseudo-header
                    pseudo = segment
                    checked = ZERO
                elif at & 1:  # words are aligned to the buffer
                    checked = np.uint64(covered + protocol)
                else:
                    checked = np.uint64((covered >> 8) + ((covered & 255) << 8) + (protocol << 8))
                # as `sum_bytes`: a call would cost as much as the sum
                stop = segment + covered
                first_word = np.uint64(pseudo) >> THREE
                last_word = np.uint64(stop) >> THREE
                for word_at in range(first_word, last_word):
                    word = words[word_at]
                    checked += (word & LOW_32) + (word >> HALF)
                word = words[last_word] & ((ONE << np.uint64((stop & 7) * 8)) - ONE)
                checked += (word & LOW_32) + (word >> HALF)
                word = words[first_word] & ((ONE << np.uint64((pseudo & 7) * 8)) - ONE)
                checked -= (word & LOW_32) + (word >> HALF)
                if checked % ALL_ONES != ZERO:
                    check |= 2
            else:
                check |= 4
            if check != 0:
                state[IP_BAD] += check & 1
                state[L4_BAD] += (check >> 1) & 1
                state[L4_UNKNOWN] += (check >> 2) & 1
            checksums[here] = check
            row += 1
            continue

        # All other packets, or tunnels.
        fields[LINK_KIND] = link
        fields[START] = start
        fields[CAPTURED] = captured
        fields[WIRE] = wire
        reason = read_frame(data, words, fields, decapsulate)
        if reason >= 0:
            state[NON_IP] += 1
            counts[reason] += 1
            continue
        key_a = np.uint64(fields[SOURCE_A])
        key = np.uint64(fields[SOURCE_B])
        slot = first_slot(key_a, key, seed, shift)
        src[here] = number_address(slots, keys, state, key_a, key, slot)
        key_a = np.uint64(fields[TARGET_A])
        key = np.uint64(fields[TARGET_B])
        slot = first_slot(key_a, key, seed, shift)
        dst[here] = number_address(slots, keys, state, key_a, key, slot)
        check = fields[CHECK]
        state[IP_BAD] += check & 1
        state[L4_BAD] += (check >> 1) & 1
        state[L4_UNKNOWN] += (check >> 2) & 1
        state[FRAGMENTS] += fields[IP_FLAGS] & 5 != 0
        time_ns[here] = time
        src_port[here] = fields[SOURCE_PORT]
        dst_port[here] = fields[TARGET_PORT]
        protocols[here] = fields[NEXT_PROTOCOL]
        ip_versions[here] = fields[VERSION]
        ttls[here] = fields[TTL]
        toses[here] = fields[TOS]
        ip_flags[here] = fields[IP_FLAGS]
        ip_ids[here] = fields[IP_ID]
        ip_lengths[here] = min(fields[TOTAL], 65535)
        wire_lengths[here] = wire
        payload_lengths[here] = fields[PAYLOAD]
        tcp_flags[here] = fields[TCP_FLAGS]
        seqs[here] = fields[SEQ]
        acks[here] = fields[ACK_NUMBER]
        windows[here] = fields[WINDOW]
        option_bits[here] = fields[OPTIONS]
        msses[here] = fields[MSS]
        window_scales[here] = fields[SCALE]
        ts_vals[here] = fields[TS_VAL]
        ts_ecrs[here] = fields[TS_ECR]
        icmps[here] = fields[ICMP_KIND]
        vlans[here] = fields[VLAN]
        checksums[here] = check
        row += 1

    state[FRAMES] += record - state[RECORD]
    state[POS] = pos
    state[ROW] = row
    state[REFERENCE_NS] = reference
    state[RECORD] = record
    state[TRUNCATED] = truncated
    state[FIRST_NS] = first_ns
    state[LAST_NS] = last_ns
    state[WIRE_BYTES] = wire_bytes
    state[LAST_MAC_A] = np.int64(last_mac_a)
    state[LAST_MAC_B] = np.int64(last_mac_b)
    return status
