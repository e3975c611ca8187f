"""Where large columns lie: in memory, or in files that the system pages in and out.

A capture may be larger than the machine's memory. Columns that would take a good part of it are
therefore laid into files without a name, which vanish when nobody refers to them any more.
"""

from __future__ import annotations

import functools
import mmap
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import CaptureError
from netsynth.numbers import Array

SHARE = 8  # a table over this part of the memory lies in files
HUGE_PAGE = 1 << 21  # bytes; columns that take less in all need none
STAGGER = 128  # bytes from a column's start, within its page, to the next one's
PAGE_STEPS = mmap.PAGESIZE // STAGGER
MADV_HUGEPAGE = getattr(mmap, "MADV_HUGEPAGE", None)
GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@functools.cache
def memory_limit() -> int:
    """Bytes of memory that this process may use.

    The least of: the environment variable NETSYNTH_MEMORY (bytes), the machine's memory, what a
    container (cgroup) or `ulimit -d` and `ulimit -v` allow.
    """
    limits = [_physical_bytes(), *_process_limits()]
    for path in GROUP_LIMITS:
        try:
            limits.append(int(Path(path).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such limit, or "max"
            continue
    wanted = os.environ.get("NETSYNTH_MEMORY", "")
    if wanted.isdigit():
        limits.append(int(wanted))
    return min(limits)


def is_large(size_bytes: int) -> bool:
    """Say if a table of so many bytes should lie in files."""
    return size_bytes > memory_limit() // SHARE


def new_array(count: int, dtype: Any, *, in_file: bool) -> Array:
    """Return an array [count] to be filled, in memory (not initialised) or in a file (zeros).

    Raises:
        CaptureError: If the disk has no room for the file.
    """
    kind = np.dtype(dtype)
    if not in_file or count == 0:
        return np.empty(count, dtype=kind)
    with open_scratch(count * kind.itemsize) as file:
        space = mmap.mmap(file.fileno(), count * kind.itemsize)
    return np.frombuffer(space, dtype=kind)


def new_columns(count: int, dtypes: Sequence[Any], *, in_file: bool) -> tuple[Array, ...]:
    """Return an array [count] of each type, not initialised.

    In memory they are one stretch of huge pages, as the first touch of as many small ones costs
    more than filling them. It is given back once nothing refers to any of the columns. They start
    at different distances from a page's start: else the same row of all of them would compete for
    the same few lines of the processor's cache.

    Raises:
        CaptureError: If the disk has no room for files.
    """
    kinds = [np.dtype(dtype) for dtype in dtypes]
    if in_file or count * sum(kind.itemsize for kind in kinds) < HUGE_PAGE:
        return tuple(new_array(count, kind, in_file=in_file) for kind in kinds)
    return columns_of(new_block(count, kinds), count, kinds)


def new_block(count: int, dtypes: Sequence[Any]) -> NDArray[np.uint8]:
    """Return memory for an array [count] of each type, see `columns_of`."""
    return np.frombuffer(reserve(_starts(count, dtypes)[-1]), dtype=np.uint8)


def columns_of(block: NDArray[np.uint8], count: int, dtypes: Sequence[Any]) -> tuple[Array, ...]:
    """Return the arrays [count] that lie in a block, one of each type."""
    return tuple(
        block[start : start + count * np.dtype(dtype).itemsize].view(dtype)
        for start, dtype in zip(_starts(count, dtypes)[:-1], dtypes, strict=True)
    )


def _starts(count: int, dtypes: Sequence[Any]) -> list[int]:
    """Return where in a block each column begins, and the size of the block."""
    starts, at = [], 0
    for index, dtype in enumerate(dtypes):
        at = -(-at // mmap.PAGESIZE) * mmap.PAGESIZE + STAGGER * (index % PAGE_STEPS)
        starts.append(at)
        at += count * np.dtype(dtype).itemsize
    return [*starts, at]


def reserve(size: int) -> mmap.mmap:
    """Return `size` bytes of memory, zero, in huge pages where the system has them.

    What is never touched costs nothing.
    """
    space = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if MADV_HUGEPAGE is not None:
        space.madvise(MADV_HUGEPAGE)
    return space


def open_scratch(size: int) -> IO[bytes]:
    """Open a new file without a name, of `size` bytes, all zero.

    Raises:
        CaptureError: If the disk has no room for it.
    """
    try:
        file = tempfile.TemporaryFile(dir=scratch_folder())  # noqa: SIM115
    except OSError as error:
        raise CaptureError(_no_room(size, error)) from error
    try:
        lengthen(file, size)
    except CaptureError:
        file.close()
        raise
    return file


def lengthen(file: IO[bytes], size: int) -> None:
    """Make a file `size` bytes long, and sure of its room: a full disk must not kill us later.

    Raises:
        CaptureError: If the disk has no room for it.
    """
    try:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            os.ftruncate(file.fileno(), size)
    except OSError as error:
        raise CaptureError(_no_room(size, error)) from error


def _no_room(size: int, error: OSError) -> str:
    return (
        f"{scratch_folder()}: cannot hold {size / 1e9:.1f} GB of columns ({error.strerror}); "
        "name a folder with more room in TMPDIR"
    )


def scratch_folder() -> str:
    """Folder of large temporary files: TMPDIR, or /var/tmp, as /tmp may itself be memory."""
    named = os.environ.get("TMPDIR")
    if named:
        return named
    return "/var/tmp" if os.access("/var/tmp", os.W_OK) else tempfile.gettempdir()


def _physical_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not a POSIX system
        return 8 << 30


def _process_limits() -> list[int]:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return []
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_DATA)
    found = [resource.getrlimit(kind)[0] for kind in kinds]
    return [limit for limit in found if limit != resource.RLIM_INFINITY and limit > 0]
