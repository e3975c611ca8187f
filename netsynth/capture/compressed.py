"""Compressed captures: gzip and zstd, told by their first bytes."""

from __future__ import annotations

import io
import zlib
from types import ModuleType
from typing import Any, BinaryIO, cast

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
# content of the frame behind the last: the same in every run, as a damaged frame may run into it
LAST = bytes.fromhex("9d1ac07f53e8622b84f641da0e97bc35")


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
        return GzipStream(source)
    if head == ZSTD:
        return ZstdStream(source)
    return None


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
        self._left: bytes | memoryview = b""  # compressed bytes that are not unpacked yet
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
                self._left = memoryview(self._input)[:count]
                if count == 0:
                    if self._member is not None:
                        raise EOFError("the last gzip member is not complete")
                    return 0
            if self._member is None:
                self._left = bytes(self._left).lstrip(b"\0")  # padding between members
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

    The package's own reader ends silently there. So a frame of our own (of `LAST`) is put behind
    the source: if its content does not come out last, something before it was not complete. Its
    checksum stands behind the content, so that whoever reads it as content ends with that.
    """

    def __init__(self, source: io.RawIOBase) -> None:
        import zstandard

        last = zstandard.ZstdCompressor(write_checksum=True).compress(LAST)  # ends otherwise
        chained = _Chained(source, last)
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
                if self._held != LAST:
                    raise EOFError("the last zstd frame is not complete")
                return 0
            ready = max(held + count - len(LAST), 0)
            self._held = bytes(view[ready : held + count])
            if ready:
                return ready


class _Chained:
    """One stream, and bytes behind it, as far as zstd's reader asks."""

    def __init__(self, first: io.RawIOBase, last: bytes) -> None:
        self._first = first
        self._last = io.BytesIO(last)

    def read(self, size: int) -> bytes:
        return self._first.read(size) or self._last.read(size)
