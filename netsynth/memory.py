"""Where large columns lie: in memory, or in files that the system pages in and out.

A capture may be larger than the machine's memory. Columns that would take a good part of it are
therefore laid into files without a name, which vanish when nobody refers to them any more.
"""

from __future__ import annotations

import functools
import mmap
import os
import tempfile
from pathlib import Path
from typing import IO, Any

import numpy as np

from netsynth.errors import CaptureError
from netsynth.numbers import Array

SHARE = 8  # a table over this part of the memory lies in files
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
