"""Where a capture's bytes go: a file that appears when it is whole, a compressor, a pipe."""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import os
import sys
import tempfile
from pathlib import Path
from typing import Literal, Protocol, cast

from netsynth.errors import CaptureError

Packing = Literal["", "gz", "zst"]


class _Stream(Protocol):
    def write(self, data: memoryview, /) -> int | None: ...
    def close(self) -> None: ...


class CaptureSink:
    """A file under another name beside its own until it is whole, or standard output for "-".

    Attributes:
        is_stream: Bytes go to a compressor, or to somebody who may wait for them.

    Args:
        path: Where to.
        packing: How to compress.

    Raises:
        CaptureError: If the path cannot be written; so do all methods.
    """

    def __init__(self, path: Path, packing: Packing) -> None:
        self._path = path
        self._name = "standard output" if str(path) == "-" else str(path)
        self._packing = packing
        self.is_stream = bool(packing) or str(path) == "-"
        self._temporary: Path | None = None
        self._stream: _Stream | None = None
        if self._name == str(path) and path.exists() and not path.is_file():
            raise CaptureError(f"{path} is no ordinary file; write to - and redirect it there")
        try:
            self._open()
        except OSError as error:
            self.discard()
            raise self._failure(error) from error

    def write(self, data: memoryview) -> None:
        """Append all of `data`."""
        assert self._stream is not None
        try:
            while data:
                written = self._stream.write(data)
                if self._packing or written is None:  # compressors take all, and count otherwise
                    return
                data = data[written:]
        except OSError as error:
            raise self._failure(error) from error

    def finish(self) -> None:
        """Close the file and give it its name."""
        assert self._stream is not None
        try:
            self._stream.close()
            if self._temporary is not None:
                os.replace(self._temporary, self._path)
                self._temporary = None
        except OSError as error:
            self.discard()
            raise self._failure(error) from error

    def discard(self) -> None:
        """Close and remove the file."""
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)
            self._temporary = None

    def _open(self) -> None:
        if str(self._path) == "-":
            plain = io.FileIO(sys.stdout.fileno(), "wb", closefd=False)
        else:
            handle, name = tempfile.mkstemp(prefix=f".{self._path.name}.", dir=self._path.parent)
            self._temporary = Path(name)
            mask = os.umask(0)
            os.umask(mask)
            os.fchmod(handle, 0o666 & ~mask)
            plain = io.FileIO(handle, "wb")
        self._stream = plain
        if self._packing == "gz":
            self._stream = _Chain(cast(_Stream, gzip.GzipFile("", "wb", 6, plain, mtime=0)), plain)
        elif self._packing == "zst":
            import zstandard

            self._stream = zstandard.ZstdCompressor(level=3).stream_writer(plain)

    def _failure(self, error: OSError) -> CaptureError:
        if error.errno == errno.ENOSPC:
            return CaptureError(f"{self._name}: the disk is full; free space or write elsewhere")
        if error.errno == errno.EPIPE:
            return CaptureError(f"{self._name}: the program that read it has ended")
        return CaptureError(
            f"{self._name}: cannot be written ({error.strerror}); choose another path"
        )


class _Chain:
    """A compressor that closes the file below it with itself."""

    def __init__(self, upper: _Stream, lower: io.FileIO) -> None:
        self._upper = upper
        self._lower = lower

    def write(self, data: memoryview, /) -> int | None:
        return self._upper.write(data)

    def close(self) -> None:
        try:
            self._upper.close()
        finally:
            self._lower.close()
