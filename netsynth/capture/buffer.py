"""The piece of a file that is being decoded."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.read_ahead import ReadAhead
from netsynth.capture.records import END, POS, SWAP
from netsynth.capture.sources import ByteStream
from netsynth.errors import CaptureError
from netsynth.numbers import IntArray

PADDING = 128  # bytes behind the last frame, which a decoder may read, but not use
ROOM = 1 << 20  # bytes before a piece read ahead; more than are ever left of the one before


class RecordBuffer:
    """A buffer that follows the decoder through a stream.

    Attributes:
        data: uint8; bytes `state[POS]` to `state[END]` are to be decoded, PADDING more can be read.
            Another array after each `refill` of a compressed stream.
        words: The same memory, uint64.

    Args:
        stream: What to read; decompressed ahead in a thread, until `close`.
        state: The decoder's, see `records`.
        size: Bytes read at a time, a multiple of 8; held at most, where not decompressed.
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
        self._ahead: ReadAhead | None = None
        if stream.is_compressed:
            self._ahead = ReadAhead(stream.readinto, room=ROOM, size=size, padding=PADDING)
            size = 0
        self.data: NDArray[np.uint8] = np.zeros(size + PADDING, dtype=np.uint8)
        self.words = self.data.view(np.uint64)
        self._view = self.data.data[:size]
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
        if self._at_end:
            return False
        try:
            count = self._read_on() if self._ahead is None else self._turn_to_next(self._ahead)
        except CaptureError as error:
            self._failure = (error, self._base + int(self._state[END]))
            count = 0
        self._at_end = count == 0
        return count > 0

    def _read_on(self) -> int:
        """Move what is left to the front, and read behind it."""
        end = self.left
        self._move(self.data, 0)
        count = self._stream.readinto(self._view[end:])
        self._state[END] = end + count
        return count

    def _turn_to_next(self, ahead: ReadAhead) -> int:
        """Take the next piece, and move what is left to before it."""
        data, count = ahead.take()
        if count == 0:
            return 0
        left = self.left
        assert left <= ROOM
        spent = self.data
        self._move(data, ROOM - left)
        self._state[END] = ROOM + count
        self.data, self.words = data, data.view(np.uint64)
        if spent.size == data.size:
            ahead.give(spent)
        return count

    def _move(self, data: NDArray[np.uint8], place: int) -> None:
        """Copy what is left to another place."""
        pos, end = int(self._state[POS]), int(self._state[END])
        data[place : place + end - pos] = self.data[pos:end]
        self._base += pos - place
        self._state[POS], self._state[END] = place, place + end - pos

    def report_failure(self) -> None:
        """Say that the stream failed, if it did: to be called once what came before is decoded."""
        if self._failure is not None:
            failure, self._failure = self._failure, None
            self._on_failure(*failure)

    def close(self) -> bool:
        """Read no further; False if a thread still waits for the stream, which must stay open."""
        return self._ahead is None or self._ahead.close()

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
