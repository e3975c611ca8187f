"""The state of decoding that outlives a file: counts, addresses, hash tables."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.columns import places_of
from netsynth.capture.engines import Engine, choose_engine
from netsynth.capture.records import (
    ADDRESS_HEADROOM,
    ADDRESSES,
    COUNT_SIZE,
    DECAPSULATE,
    FIRST_NS,
    LAST_NS,
    MAC_LIMIT,
    MAC_SLOTS,
    MACS,
    PAIR_COUNT,
    ROW_LIMIT,
    STATE_SIZE,
)
from netsynth.numbers import Array, IntArray

NUMBA_BUFFER = 1 << 20  # bytes; larger ones leave the processor's cache
NUMPY_BUFFER = 1 << 22  # bytes; a call to numpy has to pay


class Decoder:
    """A decoding engine with its tables; frames of several files go through one of these.

    Attributes:
        state: int64 [STATE_SIZE], see `records`.
        buffer_size: Bytes to decode at a time.
        counts: int64 [COUNT_SIZE], frames without IP by kind.
    """

    def __init__(self, *, decapsulate: bool, engine: Engine) -> None:
        self._decode, self._rehash, self.buffer_size = _load_engine(engine)
        self._is_compiled = self.buffer_size == NUMBA_BUFFER
        self._places: IntArray = np.zeros(0, dtype=np.int64)
        self._first: Callable[[], Array | None] = lambda: None  # the last call's first column
        self.state: IntArray = np.zeros(STATE_SIZE, dtype=np.int64)
        self.state[DECAPSULATE] = decapsulate
        self.state[FIRST_NS] = np.iinfo(np.int64).max
        self.state[LAST_NS] = -1
        self.counts: IntArray = np.zeros(COUNT_SIZE, dtype=np.int64)
        self._mac_slots: NDArray[np.uint64] = np.zeros(MAC_SLOTS + MAC_LIMIT, dtype=np.uint64)
        self._keys: NDArray[np.uint64] = np.zeros((4096, 2), dtype=np.uint64)
        self._slots: NDArray[np.int32] = np.full(8192, -1, dtype=np.int32)
        self._pairs: NDArray[np.uint64] = np.zeros(PAIR_COUNT * 4, dtype=np.uint64)
        self._seed = np.uint64(int.from_bytes(os.urandom(8), "little"))  # orders nothing visible

    def decode(
        self,
        data: NDArray[np.uint8],
        words: NDArray[np.uint64],
        interfaces: IntArray,
        arrays: tuple[Array, ...],
    ) -> int:
        """Decode from `state[POS]` on; returns FULL, MORE or another status of `records`."""
        columns: tuple[Array, ...] | IntArray = arrays
        if self._is_compiled:
            columns = self._places_of(arrays)
        return self._decode(
            data,
            words,
            self.state,
            self.counts,
            interfaces,
            columns,
            self._slots,
            self._keys,
            self._mac_slots,
            self._pairs,
            self._seed,
        )

    def _places_of(self, arrays: tuple[Array, ...]) -> IntArray:
        """Return where columns lie in memory; those of the last call are known, but not held."""
        if self._first() is not arrays[0]:
            self._places = places_of(arrays)
            self._first = weakref.ref(arrays[0])
        assert arrays[0].size >= self.state[ROW_LIMIT]
        return self._places

    def grow_addresses(self) -> None:
        """Double the address table."""
        count = int(self.state[ADDRESSES])
        keys = np.zeros((self._keys.shape[0] * 2, 2), dtype=np.uint64)
        keys[:count] = self._keys[:count]
        self._keys = keys
        self._slots = np.full(keys.shape[0] * 2, -1, dtype=np.int32)
        self._rehash(self._slots, keys, count, self._seed)
        assert count + ADDRESS_HEADROOM <= keys.shape[0]

    def macs(self) -> NDArray[np.uint64]:
        """Return the MAC addresses so far, uint64 [M], ascending; see `CaptureInfo.macs`."""
        stored = self._mac_slots[MAC_SLOTS : MAC_SLOTS + int(self.state[MACS])]
        first_lowest = stored - np.uint64(1)
        return np.sort(first_lowest.byteswap() >> np.uint64(16))

    def addresses(self) -> NDArray[np.uint8]:
        """Return the addresses so far, uint8 [A, 16]; rows keep their numbers as more come."""
        count = int(self.state[ADDRESSES])
        return self._keys[:count].view(np.uint8).reshape(count, 16)


def _load_engine(engine: Engine) -> tuple[Callable[..., int], Callable[..., None], int]:
    if choose_engine(engine) == "numba":
        from netsynth.capture.decode_numba import decode, rehash

        return decode, rehash, NUMBA_BUFFER
    from netsynth.capture.decode_numpy import decode, rehash

    return decode, rehash, NUMPY_BUFFER
