"""The piece of a file that is being decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import END, POS, SWAP
from netsynth.capture.sources import ByteStream
from netsynth.errors import CaptureError
from netsynth.numbers import IntArray

PADDING = 128  # bytes behind the last frame, which a decoder may read, but not use


class RecordBuffer:
    """A buffer that follows the decoder through a stream.

    Attributes:
        data: uint8 [size + PADDING]; `state[END]` bytes of it are filled, `state[POS]` are decoded.
        words: The same memory, uint64.

    Args:
        stream: What to read.
        state: The decoder's, see `records`.
        size: Bytes held at most.
        on_failure: Called by `report_failure` with the reason and the byte where the stream failed;
            may raise. If it does not, the stream ends there.
    """

    def __init__(
        self,
        stream: ByteStream,
        state: IntArray,
        *,
        size: int,
        on_failure: Callable[[CaptureError, int], None],
    ) -> None:
        self.data: NDArray[np.uint8] = np.zeros(size + PADDING, dtype=np.uint8)
        self.words = self.data.view(np.uint64)
        self.size = size
        self._view = self.data.data
        self._stream = stream
        self._state = state
        self._on_failure = on_failure
        self._base = 0  # offset in the file of the buffer's first byte
        self._at_end = False
        self._failure: tuple[CaptureError, int] | None = None
        state[[POS, END]] = 0

    @property
    def offset(self) -> int:
        """Where in the file the record to be decoded begins."""
        return self._base + int(self._state[POS])

    @property
    def left(self) -> int:
        """Bytes held that are not decoded."""
        return int(self._state[END] - self._state[POS])

    def refill(self) -> bool:
        """Move what is left to the buffer's front and read on; False at the file's end."""
        state = self._state
        pos, end = int(state[POS]), int(state[END])
        if pos:
            self.data[: end - pos] = self.data[pos:end]
            self._base += pos
            end -= pos
            state[POS], state[END] = 0, end
        if self._at_end:
            return False
        try:
            count = self._stream.readinto(self._view[end : self.size])
        except CaptureError as error:
            self._at_end = True
            self._failure = (error, self._base + end)
            return False
        self._at_end = count == 0
        state[END] = end + count
        return count > 0

    def report_failure(self) -> None:
        """Say that the stream failed, if it did: to be called once what came before is decoded."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._on_failure(*failure)

    def require(self, count: int) -> bool:
        """Hold `count` bytes that are not decoded; False where the file ends before."""
        while self.left < count:
            if not self.refill():
                return False
        return True

    def rest(self) -> NDArray[np.uint8]:
        """Return the bytes held that are not decoded."""
        return self.data[int(self._state[POS]) : int(self._state[END])]

    def peek(self, count: int) -> bytes:
        """Return the next bytes, fewer than `count` where fewer are held."""
        return self.rest()[:count].tobytes()

    def words_at(self, offset: int, count: int) -> tuple[int, ...]:
        """Return 32-bit words of the record, which must be held, in the file's byte order."""
        order = ">" if self._state[SWAP] else "<"
        return struct.unpack(f"{order}{count}I", self.peek(offset + 4 * count)[offset:])

    def skip(self, count: int) -> bool:
        """Pass over bytes, held or not; False where the file ends before."""
        while True:
            step = min(count, self.left)
            self._state[POS] += step
            count -= step
            if not count:
                return True
            if not self.refill():
                return False
