"""Compressed captures: decompressed ahead of the decoder, in a thread of its own.

Decompressing costs more than decoding, and neither holds the interpreter's lock, so that on two
cores a compressed capture is read in the time that decompressing it takes.
"""

from __future__ import annotations

import io
import os
import queue
import threading
import zlib
from types import ModuleType
from typing import Any, BinaryIO, cast

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
PIECE = 1 << 19
PIECES = 3  # decompressed ahead at most
Piece = tuple[memoryview, int] | BaseException


def open_compressed(head: bytes, source: io.RawIOBase) -> io.RawIOBase | None:
    """Open a stream whose first bytes say gzip or zstd.

    Args:
        head: Its first four bytes.
        source: The stream, from its first byte.

    Returns:
        The decompressed stream, or None where the bytes say neither.

    Raises:
        ImportError: If the stream is zstd and the package zstandard is missing.
    """
    if head.startswith(GZIP):
        return ReadAhead(GzipStream(source))
    if head == ZSTD:
        return ReadAhead(ZstdStream(source))
    return None


class ReadAhead(io.RawIOBase):
    """Reads a stream in a thread, a few pieces ahead of its own reader."""

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._free: queue.Queue[memoryview | None] = queue.Queue()
        self._full: queue.Queue[Piece] = queue.Queue()
        for _ in range(PIECES):
            self._free.put(memoryview(bytearray(PIECE)))
        self._piece, self._place, self._end = memoryview(b""), 0, 0
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        while (piece := self._free.get()) is not None:
            try:
                count = self._source.readinto(piece) or 0
            except BaseException as error:  # raised again where it is read
                self._full.put(error)
                return
            self._full.put((piece, count))
            if count == 0:
                return

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._failure is not None:
            raise self._failure
        if self._place == self._end:
            if len(self._piece):
                self._free.put(self._piece)
                self._piece = memoryview(b"")
            taken = self._full.get()
            if isinstance(taken, BaseException):
                self._failure = taken
                raise taken
            if taken[1] == 0:
                self._full.put(taken)  # the end stays the end
                return 0
            self._piece, self._end = taken
            self._place = 0
        count = min(len(buffer), self._end - self._place)
        buffer[:count] = self._piece[self._place : self._place + count]
        self._place += count
        return count

    def close(self) -> None:
        if not self.closed:
            self._free.put(None)
            self._thread.join(timeout=2)  # it may wait for a pipe
            if not self._thread.is_alive():
                self._source.close()
        super().close()


def _fastest_zlib() -> ModuleType:
    """Return ISA-L's module of the form of zlib, which takes two thirds of the time, or zlib."""
    try:
        from isal import isal_zlib
    except ImportError:  # no build for this processor
        return zlib
    module: ModuleType = isal_zlib
    return module


class GzipStream(io.RawIOBase):
    """Decompressed gzip members; whatever came before damage is handed out before it is said.

    References:
        RFC 1952.
    """

    def __init__(self, source: io.RawIOBase) -> None:
        self._source = source
        self._input = bytearray(1 << 18)
        self._left = b""  # compressed bytes that are not unpacked yet
        self._unpacker = _fastest_zlib()
        self._member: Any = None  # a decompressor of that module

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill the front of `buffer`; 0 after the last member.

        Raises:
            EOFError: If the last member is not complete.
            zlib.error: If what follows a member is none, or a member is damaged.
        """
        while True:
            if not self._left:
                count = self._source.readinto(self._input) or 0
                self._left = bytes(memoryview(self._input)[:count])
                if count == 0:
                    if self._member is not None:
                        raise EOFError("the last gzip member is not complete")
                    return 0
            if self._member is None:
                self._left = self._left.lstrip(b"\0")  # padding between members
                if not self._left:
                    continue
                self._member = self._unpacker.decompressobj(16 + zlib.MAX_WBITS)
            try:
                data = self._member.decompress(self._left, len(buffer))
            except self._unpacker.error as error:
                raise zlib.error(str(error)) from error
            self._left = self._member.unconsumed_tail
            if self._member.eof:
                self._left, self._member = self._member.unused_data, None
            if data:
                buffer[: len(data)] = data
                return len(data)


class ZstdStream(io.RawIOBase):
    """Decompressed zstd frames; raises EOFError where the last one is cut off.

    The package's own reader ends silently there. So a frame of our own is put behind the
    source: if its content does not come out last, something before it was not complete.
    """

    def __init__(self, source: io.RawIOBase) -> None:
        import zstandard

        self._token = os.urandom(16)
        chained = _Chained(source, zstandard.ZstdCompressor().compress(self._token))
        decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
        self._reader = decompressor.stream_reader(
            cast(BinaryIO, chained), read_size=1 << 18, read_across_frames=True
        )
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill `buffer`, of 32 bytes at least."""
        view = memoryview(buffer)
        while True:
            held = len(self._held)
            view[:held] = self._held
            count = self._reader.readinto(view[held:])
            if count == 0:
                if self._held != self._token:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            ready = max(held + count - len(self._token), 0)
            self._held = bytes(view[ready : held + count])
            if ready:
                return ready


class _Chained(io.RawIOBase):
    """One stream, and bytes behind it."""

    def __init__(self, first: io.RawIOBase, last: bytes) -> None:
        self._first = first
        self._last = io.BytesIO(last)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        return self._first.readinto(buffer) or self._last.readinto(buffer)
