"""From paths to streams of bytes: files, globs, folders, rotation sets, standard input."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path

from netsynth.capture.compressed import open_compressed
from netsynth.errors import CaptureError

PathLike = Path | str
STDIN = "standard input"  # how messages call it
SUFFIXES = (".pcap", ".pcapng", ".cap", ".ntar", ".dmp")
PACKED = (".gz", ".zst")


def find_captures(paths: PathLike | Sequence[PathLike]) -> list[Path]:
    """Name the files that `paths` stand for.

    A folder stands for the captures in it, a pattern (`*.pcap`) for what it matches, a name that
    does not exist for its rotation set (`trace.pcap0`, `trace.pcap1`, ...), `-` for standard
    input. Numbers in names sort as numbers.

    Args:
        paths: One path or several.

    Returns:
        Files in the order given, each only once.

    Raises:
        CaptureError: If a path stands for no file.
    """
    if isinstance(paths, (str, Path)):
        paths = [paths]
    found: list[Path] = []
    for path in paths:
        found.extend(_expand(Path(path)))
    if not found:
        raise CaptureError("no capture given; name a file, a folder, a pattern, or - for stdin")
    return list(dict.fromkeys(found))


def _expand(path: Path) -> list[Path]:
    text = str(path)
    if text == "-" or path.is_file() or path.is_fifo() or path.is_char_device():
        return [path]
    if path.is_dir():
        inside = sorted((entry for entry in path.iterdir() if _is_capture(entry)), key=_natural)
        if not inside:
            raise CaptureError(f"{text}: a folder without captures ({', '.join(SUFFIXES)})")
        return inside
    if glob.has_magic(text):
        matches = sorted((Path(m) for m in glob.glob(text, recursive=True)), key=_natural)
        matches = [match for match in matches if match.is_file()]
        if not matches:
            raise CaptureError(f"{text}: matches no file; check the pattern")
        return matches
    rotated = re.compile(re.escape(path.name) + r"\.?\d+(\.gz|\.zst)?")
    folder = path.parent
    members = (
        sorted((e for e in folder.iterdir() if rotated.fullmatch(e.name)), key=_natural)
        if folder.is_dir()
        else []
    )
    if not members:
        raise CaptureError(f"{text}: no such file; check the path")
    return members


def _is_capture(path: Path) -> bool:
    name = path.name.lower()
    for packed in PACKED:
        name = name.removesuffix(packed)
    return path.is_file() and re.search(r"\.(pcap|pcapng|cap|ntar|dmp)\.?\d*$", name) is not None


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"(\d+)", str(path))
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts]


class ByteStream:
    """Bytes of one capture, decompressed where its first bytes say gzip or zstd.

    Attributes:
        name: How messages call it.
        size: Bytes on disk, 0 where unknown.
        is_compressed: Whether what is read differs from what is on disk.
    """

    def __init__(self, path: Path) -> None:
        self.name = STDIN if str(path) == "-" else str(path)
        self._closing = contextlib.ExitStack()
        try:
            if str(path) == "-":
                self._disk = io.FileIO(sys.stdin.fileno(), closefd=False)
            else:
                self._disk = io.FileIO(path)
            self._closing.enter_context(self._disk)
            self.size = os.fstat(self._disk.fileno()).st_size
            head = _read_up_to(self._disk, 4)
        except OSError as error:
            self._closing.close()
            raise CaptureError(f"{self.name}: cannot be read ({error.strerror})") from error
        self._counted = _Prefixed(head, self._disk)
        try:
            unpacked = open_compressed(head, self._counted)
        except ImportError as error:
            self._closing.close()
            raise CaptureError(f"{self.name}: install the package zstandard") from error
        self.is_compressed = unpacked is not None
        self._plain = unpacked or self._counted
        self._closing.callback(self._plain.close)

    @property
    def known_bytes(self) -> int | None:
        """Bytes there are to read, None where the end alone will tell."""
        is_plain = not self.is_compressed and self.name != STDIN and self.size > 0
        return self.size if is_plain else None

    @property
    def read_bytes(self) -> int:
        """Bytes taken from disk so far."""
        return self._counted.position

    def readinto(self, view: memoryview) -> int:
        """Fill the front of `view`; 0 at the end.

        Raises:
            CaptureError: If the system or the decompressor fails.
        """
        try:
            return self._plain.readinto(view) or 0
        except OSError as error:
            if self.is_compressed:
                raise CaptureError(f"compressed data are damaged ({error})") from error
            raise CaptureError(f"cannot be read ({error.strerror})") from error
        except (EOFError, zlib.error) as error:
            raise CaptureError(f"compressed data are cut off or damaged ({error})") from error
        except Exception as error:
            if type(error).__name__ == "ZstdError":
                raise CaptureError(f"compressed data are damaged ({error})") from error
            raise

    def close(self) -> None:
        """Close the file."""
        self._closing.close()


class _Prefixed(io.RawIOBase):
    """A stream some of whose first bytes were read already; counts what is taken."""

    def __init__(self, head: bytes, rest: io.FileIO) -> None:
        self._head = head
        self._rest = rest
        self.position = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self._head:
            count = min(len(self._head), len(buffer))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = self._rest.readinto(buffer) or 0
        self.position += count
        return count

    def read(self, size: int = -1) -> bytes:
        """Return at most `size` bytes, without the copies of what it would inherit."""
        if size < 0:
            return self.readall()
        if self._head:
            data, self._head = self._head[:size], self._head[size:]
        else:
            data = self._rest.read(size)
        self.position += len(data)
        return data


def _read_up_to(stream: io.FileIO, count: int) -> bytes:
    data = b""
    while len(data) < count:
        piece = stream.read(count - len(data))
        if not piece:
            break
        data += piece
    return data
