"""Frames to columns without a compiler: the same results as `decode_numba`, bit for bit."""

from __future__ import annotations

import numpy as np

from netsynth.capture.layers_numpy import Frames, read_link_layer, read_shims
from netsynth.capture.network_numpy import read_ip
from netsynth.capture.records import (
    ADDRESSES,
    ADDRESSES_FULL,
    DECAPSULATE,
    ETHERNET,
    FIRST_NS,
    FRAGMENTS,
    FRAMES,
    FULL,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    LAST_NS,
    MAC_LIMIT,
    MAC_SLOTS,
    MACS,
    MAX_TUNNELS,
    NON_IP,
    OUT_OF_ORDER,
    POS,
    RECORD,
    REFERENCE_NS,
    ROW,
    ROW_LIMIT,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)
from netsynth.capture.transport_numpy import enter_tunnels, read_transport, verify_checksums
from netsynth.capture.walk_numpy import Records, walk
from netsynth.numbers import Array, IntArray

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
BATCH = 16384  # records decoded at once
MASK_64 = (1 << 64) - 1
# Fields of frames in the order of the table's columns.
BEFORE_LENGTHS = (
    *("source_port", "target_port", "protocol", "version"),
    *("ttl", "tos", "flags", "ip_id"),
)
AFTER_LENGTHS = (
    *("payload", "tcp", "seq", "ack", "window", "options", "mss"),
    *("scale", "ts_val", "ts_ecr", "icmp", "vlan", "check"),
)


def decode(
    data: Array,
    words: Array,
    state: IntArray,
    counts: IntArray,
    interfaces: IntArray,
    columns: tuple[Array, ...],
    slots: Array,
    keys: Array,
    mac_slots: Array,
    pairs: Array,
    seed: np.uint64,
) -> int:
    """Decode records of a buffer from `state[POS]` on; see `decode_numba.decode`."""
    while state[ROW] < state[ROW_LIMIT]:
        room = keys.shape[0] - int(state[ADDRESSES])
        if room < 2 * BATCH:
            return ADDRESSES_FULL
        most = min(int(state[ROW_LIMIT] - state[ROW]), BATCH)
        records, status, pos = walk(data, state, interfaces, most)
        _count(records, state)
        state[POS] = pos
        if records.start.size:
            frames = Frames(data, records)
            _note_macs(frames, mac_slots, state, seed)
            _parse(frames, bool(state[DECAPSULATE]))
            dropped = np.flatnonzero(~frames.accepted)
            state[NON_IP] += dropped.size
            np.add.at(counts, frames["reason"][dropped], 1)
            _store(frames, np.flatnonzero(frames.accepted), state, columns, slots, keys, seed)
        if status != FULL:
            return status
    return FULL


def _count(records: Records, state: IntArray) -> None:
    """Update what `state` holds of all records, IP or not."""
    count = records.start.size
    if not count:
        return
    timed = np.flatnonzero(~records.untimed)
    if state[REFERENCE_NS] < 0 and timed.size:
        state[REFERENCE_NS] = records.time_ns[timed[0]]
    latest = np.maximum.accumulate(np.concatenate(([state[LAST_NS]], records.time_ns)))
    state[RECORD] += count
    state[FRAMES] += count
    state[UNTIMED] += count - timed.size
    state[TRUNCATED] += np.count_nonzero(records.captured < records.wire)
    state[OUT_OF_ORDER] += np.count_nonzero(records.time_ns < latest[:-1])
    state[LAST_NS] = latest[-1]
    state[FIRST_NS] = min(state[FIRST_NS], records.time_ns.min())
    state[WIRE_BYTES] += records.wire.sum()


def _parse(frames: Frames, decapsulate: bool) -> None:
    """Read all headers, those of a tunnel over those of the packet around it."""
    rows = np.arange(frames.accepted.size)
    for depth in range(MAX_TUNNELS + 1):
        rows = read_ip(frames, read_shims(frames, rows, in_tunnel=depth > 0))
        read_transport(frames, rows)
        verify_checksums(frames, rows)
        frames["payload"][rows] = np.minimum(frames["payload"][rows], 65535)
        if not decapsulate or depth == MAX_TUNNELS:
            break
        rows = enter_tunnels(frames, rows)
        if not rows.size:
            break


def _note_macs(frames: Frames, mac_slots: Array, state: IntArray, seed: np.uint64) -> None:
    """Add the MAC addresses of the frames to the hash set, in the order seen."""
    shown, at = read_link_layer(frames)
    if not at.size:
        return
    pairs = np.empty((at.size, 2), dtype=np.uint64)
    pairs[:, 0] = frames.u64_le(at) & np.uint64(0xFFFFFFFFFFFF)
    pairs[:, 1] = frames.u64_le(at + 4) >> np.uint64(16)
    single = frames.records.link[shown] != ETHERNET
    pairs[single, 1] = pairs[single, 0]
    macs = pairs.reshape(-1)
    slots = ((macs ^ seed) * HASH_A) >> np.uint64(47)
    missing = macs[mac_slots[slots] != macs + np.uint64(1)]  # or not at their first slot
    distinct, first = np.unique(missing, return_index=True)
    mask = MAC_SLOTS - 1
    for mac in distinct[np.argsort(first)].tolist():
        slot = (((mac ^ int(seed)) * int(HASH_A)) & MASK_64) >> 47
        while mac_slots[slot] != mac + 1:
            if mac_slots[slot] == 0:
                if state[MACS] < MAC_LIMIT:
                    mac_slots[slot] = mac_slots[MAC_SLOTS + state[MACS]] = mac + 1
                    state[MACS] += 1
                break
            slot = (slot + 1) & mask


def _store(
    frames: Frames,
    rows: IntArray,
    state: IntArray,
    columns: tuple[Array, ...],
    slots: Array,
    keys: Array,
    seed: np.uint64,
) -> None:
    """Write the packets `rows` into the columns."""
    flags, check = frames["flags"][rows], frames["check"][rows]
    state[FRAGMENTS] += np.count_nonzero(flags & 5)
    state[IP_BAD] += np.count_nonzero(check & 1)
    state[L4_BAD] += np.count_nonzero(check & 2)
    state[L4_UNKNOWN] += np.count_nonzero(check & 4)
    begin = int(state[ROW])
    state[ROW] += rows.size
    chosen: IntArray | slice = rows
    if rows.size == frames.accepted.size:
        chosen = slice(None)  # all of them, without a copy
    found = _intern(frames.keys[chosen].reshape(-1, 2), state, slots, keys, seed)
    values = [
        frames.records.time_ns[chosen],
        found[0::2],
        found[1::2],
        *(frames[name][chosen] for name in BEFORE_LENGTHS),
        np.minimum(frames["total"][chosen], 65535),
        frames.records.wire[chosen],
        *(frames[name][chosen] for name in AFTER_LENGTHS),
    ]
    for column, value in zip(columns, values, strict=True):
        column[begin : begin + value.size] = value


def _hash(wanted: Array, bits: int, seed: np.uint64) -> Array:
    mixed = (wanted[:, 1] ^ (wanted[:, 0] * HASH_B) ^ seed) * HASH_A
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * HASH_B) >> np.uint64(64 - bits)).astype(np.int64)


def _intern(wanted: Array, state: IntArray, slots: Array, keys: Array, seed: np.uint64) -> IntArray:
    """Return the rows of addresses in `keys`, entering those that are new in order."""
    mask = slots.size - 1
    slot = _hash(wanted, mask.bit_length(), seed)
    found = np.full(len(wanted), -1, dtype=np.int64)
    left = np.arange(len(wanted))
    new = []
    while left.size:
        row = slots[slot[left]].astype(np.int64)
        free = row < 0
        new.append(left[free])
        left, row = left[~free], row[~free]
        same = (keys[row, 0] == wanted[left, 0]) & (keys[row, 1] == wanted[left, 1])
        found[left[same]] = row[same]
        left = left[~same]
        slot[left] = (slot[left] + 1) & mask
    for index in np.sort(np.concatenate(new)).tolist() if new else []:
        place = int(slot[index])
        while slots[place] >= 0 and (keys[slots[place]] != wanted[index]).any():
            place = (place + 1) & mask
        if slots[place] < 0:
            slots[place] = state[ADDRESSES]
            keys[state[ADDRESSES]] = wanted[index]
            state[ADDRESSES] += 1
        found[index] = slots[place]
    return found


def rehash(slots: Array, keys: Array, count: int, seed: np.uint64) -> None:
    """Enter the first `count` rows of `keys` into `slots`, which is all -1."""
    mask = slots.size - 1
    for row, place in enumerate(_hash(keys[:count], mask.bit_length(), seed).tolist()):
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = row
