"""Tables of addresses with numpy: IP addresses in order of appearance, MAC addresses as a set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import ADDRESSES, ETHERNET, MAC_LIMIT, MAC_SLOTS, MACS, PAIR_COUNT
from netsynth.numbers import Array, IntArray

HASH_A = np.uint64(0x9E3779B97F4A7C15)
HASH_B = np.uint64(0xD6E8FEB86659FD93)
HALF, LOW_32 = np.uint64(32), np.uint64(0xFFFFFFFF)
MASK_64 = (1 << 64) - 1
MAPPED = np.uint64(0xFFFF0000)  # second word of an IPv4 address (RFC 4291), but for itself
USED = np.uint64(1 << 63)  # marks rows of the table of pairs
PAIR_SHIFT = np.uint64(65 - PAIR_COUNT.bit_length())


@dataclass(frozen=True, kw_only=True, slots=True)
class Tables:
    """What is known of addresses; see `decode_numba.decode`.

    Attributes:
        slots, keys: IP addresses.
        macs: MAC addresses.
        pairs: uint64 [PAIR_COUNT * 4]; of each four numbers, the first two are a pair of IPv4
            addresses that was seen lately, and their rows of `keys`.
        seed: Salt of the hashes.
    """

    slots: Array
    keys: Array
    macs: Array
    pairs: Array
    seed: np.uint64


def note_macs(data: Array, at: IntArray, link: IntArray, tables: Tables, state: IntArray) -> None:
    """Add MAC addresses to the hash set, in the order seen.

    Args:
        data: uint8, the buffer.
        at: int64 [R], where each frame's addresses begin, -1 where it has none.
        link: int64 [R], how it begins; only Ethernet frames have two.
        tables: The MAC addresses so far, updated.
        state: Their count, updated.
    """
    if (at < 0).any():
        at, link = at[at >= 0], link[at >= 0]
    words = np.ndarray((data.size - 7,), "<u8", data, strides=(1,))
    pairs = np.empty((2, at.size), dtype=np.uint64)
    np.bitwise_and(words[at], np.uint64(0xFFFFFFFFFFFF), out=pairs[0])
    np.right_shift(words[at + 4], np.uint64(16), out=pairs[1])
    single = link != ETHERNET
    pairs[1, single] = pairs[0, single]
    slots = ((pairs ^ tables.seed) * HASH_A) >> np.uint64(47)
    missing = (tables.macs[slots] != pairs + np.uint64(1)).any(axis=0)
    macs = pairs[:, missing].T.reshape(-1)  # not entered, or not at their first slot
    distinct, first = np.unique(macs, return_index=True)
    mask = MAC_SLOTS - 1
    for mac in distinct[np.argsort(first)].tolist():
        slot = (((mac ^ int(tables.seed)) * int(HASH_A)) & MASK_64) >> 47
        while tables.macs[slot] != mac + 1:
            if tables.macs[slot] == 0:
                if state[MACS] < MAC_LIMIT:
                    tables.macs[slot] = tables.macs[MAC_SLOTS + state[MACS]] = mac + 1
                    state[MACS] += 1
                break
            slot = (slot + 1) & mask


def number_pairs(
    pairs: NDArray[np.uint64],
    is_usual: Array,
    others: NDArray[np.uint64] | None,
    tables: Tables,
    state: IntArray,
) -> tuple[IntArray, IntArray]:
    """Number the addresses of P packets, new ones in order of appearance.

    Args:
        pairs: uint64 [U], source and destination, 32 bits each, of the usual packets.
        is_usual: bool [P], which those are.
        others: uint64 [P - U, 2, 2], addresses of the others as two words of their bytes.
        tables: The addresses so far, updated.
        state: Their count, updated.

    Returns:
        Rows of source and destination, int64 [P].
    """
    known = tables.pairs.reshape(-1, 4)
    place = ((pairs ^ tables.seed ^ (pairs >> HALF)) * HASH_A) >> PAIR_SHIFT
    rows = known[place, 1]
    missing = np.flatnonzero((known[place, 0] != pairs) | (rows == 0))
    wanted = _keys_of(pairs[missing])
    if others is not None and len(others):
        at = np.concatenate((np.flatnonzero(is_usual)[missing], np.flatnonzero(~is_usual)))
        order = np.argsort(at)
        wanted = np.concatenate((wanted, others))[order]
    found = _intern(wanted.reshape(-1, 2), tables, state).astype(np.uint64).reshape(-1, 2)
    found = USED | found[:, 0] | (found[:, 1] << HALF)
    if others is not None and len(others):
        found[order] = found.copy()
        rows[missing] = found[: missing.size]
        every = np.empty(is_usual.size, dtype=np.uint64)
        every[is_usual], every[~is_usual] = rows, found[missing.size :]
    else:
        rows[missing] = found
        every = rows
    places, last = np.unique(place[missing], return_index=True)
    known[places, 0], known[places, 1] = pairs[missing[last]], rows[missing[last]]
    return (every & LOW_32).astype(np.int64), ((every ^ USED) >> HALF).astype(np.int64)


def _keys_of(pairs: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return pairs of IPv4 addresses as two words of their bytes each, uint64 [M, 2, 2]."""
    keys = np.zeros((pairs.size, 2, 2), dtype=np.uint64)
    for index, ends in enumerate((pairs >> HALF, pairs & LOW_32)):
        swapped = ends.astype(np.uint32).byteswap().astype(np.uint64)
        keys[:, index, 1] = MAPPED | (swapped << HALF)
    return keys


def _hash(wanted: Array, bits: int, seed: np.uint64) -> Array:
    mixed = (wanted[:, 1] ^ (wanted[:, 0] * HASH_B) ^ seed) * HASH_A
    mixed ^= mixed >> np.uint64(29)
    return ((mixed * HASH_B) >> np.uint64(64 - bits)).astype(np.int64)


def _look_up(wanted: Array, tables: Tables) -> tuple[IntArray, IntArray]:
    """Return the row of each address in `keys`, -1 where it has none; and its slot."""
    slots, keys = tables.slots, tables.keys
    mask = slots.size - 1
    slot = _hash(wanted, mask.bit_length(), tables.seed)
    found = np.full(len(wanted), -1, dtype=np.int64)
    left = np.arange(len(wanted))
    while left.size:
        row = slots[slot[left]].astype(np.int64)
        left, row = left[row >= 0], row[row >= 0]
        same = (keys[row, 0] == wanted[left, 0]) & (keys[row, 1] == wanted[left, 1])
        found[left[same]] = row[same]
        left = left[~same]
        slot[left] = (slot[left] + 1) & mask
    return found, slot


def _intern(wanted: Array, tables: Tables, state: IntArray) -> IntArray:
    """Return the rows of addresses in `keys`, entering those that are new in order."""
    slots, mask = tables.slots, tables.slots.size - 1
    found, slot = _look_up(wanted, tables)
    new = np.flatnonzero(found < 0)
    if not new.size:
        return found
    sorted_ = new[np.lexsort((wanted[new, 1], wanted[new, 0]))]  # first ones first: it is stable
    differs = (wanted[sorted_[1:]] != wanted[sorted_[:-1]]).any(axis=1)
    for index in np.sort(sorted_[np.concatenate(([True], differs))]).tolist():
        place = int(slot[index])
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = state[ADDRESSES]
        tables.keys[state[ADDRESSES]] = wanted[index]
        state[ADDRESSES] += 1
    found[new] = _look_up(wanted[new], tables)[0]
    return found


def rehash(slots: Array, keys: Array, count: int, seed: np.uint64) -> None:
    """Enter the first `count` rows of `keys` into `slots`, which is all -1."""
    mask = slots.size - 1
    for row, place in enumerate(_hash(keys[:count], mask.bit_length(), seed).tolist()):
        while slots[place] >= 0:
            place = (place + 1) & mask
        slots[place] = row
