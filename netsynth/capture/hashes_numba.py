# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type, no-any-return"
"""Tables of addresses, compiled: IP addresses in order of appearance, MAC addresses as a set."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.loads_numba import ONE, ZERO
from netsynth.capture.records import ADDRESSES, MAC_LIMIT, MAC_SLOTS, MACS

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
SPREAD = np.uint64(29)
MAC_SHIFT = np.uint64(64 - 17)
MAC_MASK = np.uint64(MAC_SLOTS - 1)


@njit(cache=True)
def shift_of(slot_count: int) -> Any:
    """Return by how much to shift a hash for a table of 2^k slots, uint64."""
    shift = np.uint64(64)
    while slot_count > 1:
        shift -= ONE
        slot_count >>= 1
    return shift


@njit(cache=True)
def first_slot(key_a: Any, key_b: Any, seed: Any, shift: Any) -> Any:
    """Return where to look for an address first, uint64."""
    mixed = (key_b ^ (key_a * HASH_B) ^ seed) * HASH_A
    mixed ^= mixed >> SPREAD
    return (mixed * HASH_B) >> shift


@njit(cache=True)
def number_address(slots: Any, keys: Any, state: Any, key_a: Any, key_b: Any, slot: Any) -> int:
    """Find an address, or enter it.

    Args:
        slots: int32 [2^k], rows of `keys`, -1 where free.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        state: int64 [STATE_SIZE]; ADDRESSES counts the rows of `keys` that are used.
        key_a: First word of the address.
        key_b: Second word.
        slot: Where to look first.

    Returns:
        Its row of `keys`.
    """
    slot_mask = np.uint64(slots.size - 1)
    while True:
        row = np.int64(slots[slot])
        if row < 0:
            row = state[ADDRESSES]
            slots[slot] = row
            keys[np.uint64(row), ZERO] = key_a
            keys[np.uint64(row), ONE] = key_b
            state[ADDRESSES] = row + 1
            return row
        if keys[np.uint64(row), ONE] == key_b and keys[np.uint64(row), ZERO] == key_a:
            return row
        slot = (slot + ONE) & slot_mask


@njit(cache=True)
def note_mac(mac_slots: Any, state: Any, mac: Any, seed: Any) -> None:
    """Enter a MAC address + 1 into the hash set `mac_slots`, and the list behind it."""
    slot = ((mac ^ seed) * HASH_A) >> MAC_SHIFT
    while mac_slots[slot] != mac:
        if mac_slots[slot] == ZERO:
            if state[MACS] < MAC_LIMIT:
                mac_slots[slot] = mac
                mac_slots[np.uint64(MAC_SLOTS + state[MACS])] = mac
                state[MACS] += 1
            return
        slot = (slot + ONE) & MAC_MASK


@njit(cache=True)
def rehash(slots: Any, keys: Any, count: int, seed: Any) -> None:
    """Enter the first `count` rows of `keys` into `slots`, which is all -1."""
    shift = shift_of(slots.size)
    slot_mask = np.uint64(slots.size - 1)
    for row in range(count):
        slot = first_slot(keys[row, 0], keys[row, 1], seed, shift)
        while slots[slot] >= 0:
            slot = (slot + ONE) & slot_mask
        slots[slot] = row
