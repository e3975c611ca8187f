"""SipHash-2-4, a keyed pseudorandom function, over whole columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]


def siphash(key: Words, message: list[Words]) -> Words:
    """Compute SipHash-2-4 of many messages of equal length at once.

    Args:
        key: uint64 [2], the 16-byte key as little-endian words.
        message: One uint64 [M] a word; the last holds the rest of the message and, in its top
            byte, the length in bytes.

    Returns:
        uint64 [M].

    References:
        Aumasson, Bernstein, "SipHash: a fast short-input PRF", INDOCRYPT 2012, section 2.
    """
    count = message[0].size
    initial = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
    state = [np.full(count, np.uint64(word) ^ key[i % 2]) for i, word in enumerate(initial)]
    for word in message:
        state[3] ^= word
        _sip_rounds(state, 2)
        state[0] ^= word
    state[2] ^= np.uint64(0xFF)
    _sip_rounds(state, 4)
    digest: Words = state[0] ^ state[1] ^ state[2] ^ state[3]
    return digest


def _sip_rounds(v: list[Words], count: int) -> None:
    for _ in range(count):
        for a, b, turn in ((0, 1, 13), (2, 3, 16)):
            v[a] += v[b]
            v[b] = _rotate(v[b], turn) ^ v[a]
        v[0] = _rotate(v[0], 32)
        for a, b, turn in ((2, 1, 17), (0, 3, 21)):
            v[a] += v[b]
            v[b] = _rotate(v[b], turn) ^ v[a]
        v[2] = _rotate(v[2], 32)


def _rotate(word: Words, turn: int) -> Words:
    return (word << np.uint64(turn)) | (word >> np.uint64(64 - turn))
