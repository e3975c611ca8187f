"""Sums of 16-bit words over any stretch of a buffer, from prefix sums.

References:
    RFC 1071, sections 1 and 2: the sum does not depend on byte order, and its stretches may be
    summed apart.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray

GROUP = 1 << 20  # bytes from whose first to last stretches are summed at once
PIECE = 1 << 14  # words; what lies in the processor's cache is summed faster


class PrefixSums:
    """Sums of bytes as 16-bit little-endian words aligned to the buffer.

    Args:
        data: uint8, the buffer; up to eight bytes beyond `stop` must be readable.
        start: First byte that will be asked for.
        stop: Byte after the last one.
    """

    def __init__(self, data: Array, start: int, stop: int) -> None:
        self._first = start >> 3
        self._words = data[start >> 3 << 3 : ((stop >> 3) + 1) << 3].view("<u8")
        self._sums = np.zeros(self._words.size + 1, dtype=np.uint64)
        for begin in range(0, self._words.size, PIECE):
            piece = slice(begin + 1, begin + 1 + PIECE)
            np.cumsum(_add_halves(self._words[begin : begin + PIECE]), out=self._sums[piece])
            self._sums[piece] += self._sums[begin]

    def between(self, start: IntArray, stop: IntArray) -> IntArray:
        """Return the sums of bytes start:stop, modulo 65535 up to a multiple of it, int64."""
        return (self._before(stop) - self._before(start)).astype(np.int64)

    def _before(self, at: IntArray) -> NDArray[np.uint64]:
        word = (at >> 3) - self._first
        mask = (np.uint64(1) << ((at & 7) << 3).astype(np.uint64)) - np.uint64(1)
        sums: NDArray[np.uint64] = self._sums[word] + _add_halves(self._words[word] & mask)
        return sums


def sum_stretches(data: Array, begin: IntArray, stop: IntArray) -> NDArray[np.uint64]:
    """Sum bytes begin:stop as 16-bit little-endian words aligned to the buffer.

    Args:
        data: uint8, the buffer; up to eight bytes beyond the last stretch must be readable.
        begin: int64 [V], at least one, ascending: first byte of each stretch.
        stop: int64 [V], 8 or more bytes behind; stretches do not overlap.

    Returns:
        uint64 [V], right up to multiples of 65535.
    """
    # A group's words lie in the processor's cache, and in memory that is there already.
    groups = np.searchsorted(begin, np.arange(int(begin[0]), int(begin[-1]) + 1, GROUP))
    edges = [*np.unique(groups).tolist(), begin.size]
    return np.concatenate(
        [_sum_group(data, begin[k:n], stop[k:n]) for k, n in itertools.pairwise(edges)]
    )


def _sum_group(data: Array, begin: IntArray, stop: IntArray) -> NDArray[np.uint64]:
    first, last = begin >> 3, stop >> 3
    count = last - first + 1
    total, base = int(count.sum()), int(first[0])
    words = data[base << 3 : (int(last[-1]) + 1) << 3].view("<u8")
    first, last = first - base, last - base
    if 2 * total < words.size:  # most is between them: take it out
        offsets = np.cumsum(count) - count
        words = words[np.arange(total) + np.repeat(first - offsets, count)]
        first, last = offsets, offsets + count - 1
    places = np.stack((first, last), axis=1).reshape(-1)
    # Sums of halves: the upper ones', and what is left without them of all, modulo 2^64.
    upper = np.add.reduceat(words >> np.uint64(32), places)[::2]
    sums = np.add.reduceat(words, places)[::2] - (upper << np.uint64(32)) + upper
    before, after = _part(words[first], begin), _part(words[last], stop)
    found: NDArray[np.uint64] = sums + (np.uint64(65535 << 20) - before) + after
    return found


def _part(words: Array, at: IntArray) -> NDArray[np.uint64]:
    """Sum what lies before the byte `at` of each word."""
    mask = (np.uint64(1) << ((at & 7) << 3).astype(np.uint64)) - np.uint64(1)
    return _add_halves(words & mask)


def _add_halves(words: Array) -> NDArray[np.uint64]:
    halves: NDArray[np.uint64] = words >> np.uint64(32)
    halves += words & np.uint64(0xFFFFFFFF)
    return halves
