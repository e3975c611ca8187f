"""Pieces of a stream, read in a thread of their own, a few ahead of who decodes them.

Decompressing costs more than decoding, and neither holds the interpreter's lock, so that on two
cores a compressed capture is read in the time that decompressing it takes. Pieces are decompressed
to where they are decoded, and each memory is used again.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Piece = tuple[Bytes, int] | BaseException

PIECES = 4  # one being decoded among them


class ReadAhead:
    """Reads a stream in a thread.

    Args:
        read: Fills the front of a view and returns how much, 0 at the end; called in the thread.
        room: Bytes left free before each piece, for what is left of the one before.
        size: Bytes of a piece.
        padding: Bytes behind a piece that may be looked at.
    """

    def __init__(
        self, read: Callable[[memoryview], int], *, room: int, size: int, padding: int
    ) -> None:
        self._read = read
        self._part = slice(room, room + size)
        self._size = room + size + padding
        self._made = 0
        self._free: SimpleQueue[Bytes | None] = SimpleQueue()
        self._full: SimpleQueue[Piece] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while True:
            try:
                data = self._free_memory()
                if data is None:
                    return
                count = self._read(data.data[self._part])
            except BaseException as error:  # raised again where it is read
                self._full.put(error)
                return
            self._full.put((data, count))
            if count == 0:
                return

    def _free_memory(self) -> Bytes | None:
        """Return memory for a piece; None to end.

        It comes from the system and goes back there, as a heap would keep it: what is never
        touched costs nothing.
        """
        if self._made < PIECES and self._free.empty():
            self._made += 1
            return np.frombuffer(_private_memory(self._size), dtype=np.uint8)
        return self._free.get()

    def take(self) -> tuple[Bytes, int]:
        """Return the next piece's memory, uint8 [room + size + padding], and how much is filled.

        A count of 0 says that the stream has ended; it is not to be asked again then, nor after
        an error.

        Raises:
            CaptureError: Or whatever else the stream raises.
        """
        taken = self._full.get()
        if not isinstance(taken, BaseException):
            return taken
        try:
            raise taken
        finally:
            del taken  # it refers to this frame, and through it to all that is held

    def give(self, data: Bytes) -> None:
        """Hand back memory that was taken, to be filled anew."""
        self._free.put(data)

    def close(self) -> bool:
        """End the thread; False if it does not end soon, as it waits for a pipe."""
        self._free.put(None)
        self._thread.join(timeout=2)
        return not self._thread.is_alive()


def _private_memory(size: int) -> mmap.mmap:
    """Memory of `size` bytes that a forked process does not share."""
    if hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return mmap.mmap(-1, size)
