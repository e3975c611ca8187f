"""Columns of packets that grow in place.

Where the columns are large they lie in their own memory maps: the system then moves them to grow
by remapping, and backs them by huge pages, without which the first touch of a page costs more
than decoding the packets in it. Room that is reserved and never touched costs nothing.
"""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array
from netsynth.tables import PACKET_COLUMNS, PacketTable

MAPPED_ROWS = 1 << 19  # columns of more rows lie in memory maps
MADV_HUGEPAGE = getattr(mmap, "MADV_HUGEPAGE", None)


class PacketColumns:
    """The arrays of `PACKET_COLUMNS`, to be filled from the front.

    Attributes:
        arrays: One array a column, in the order of `PACKET_COLUMNS`, each [rows]; not initialised.
        rows: Rows there is room for.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._maps: list[mmap.mmap] = []
        self.arrays: tuple[Array, ...] = tuple(
            np.empty(rows, dtype=dtype) for dtype in PACKET_COLUMNS.values()
        )

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows, more than there are; references to `arrays` end."""
        if self._maps:
            self.arrays = ()
            for index, dtype in enumerate(PACKET_COLUMNS.values()):
                self._enlarge(index, rows * np.dtype(dtype).itemsize)
        old, self.arrays = self.arrays, ()
        if rows >= MAPPED_ROWS and not self._maps:
            self._maps = [_reserve(rows * np.dtype(d).itemsize) for d in PACKET_COLUMNS.values()]
        if self._maps:
            dtypes = PACKET_COLUMNS.values()
            self.arrays = tuple(
                np.frombuffer(space, dtype=dtype)[:rows]
                for space, dtype in zip(self._maps, dtypes, strict=True)
            )
        else:
            self.arrays = tuple(np.empty(rows, dtype=array.dtype) for array in old)
        for array, smaller in zip(self.arrays, old, strict=False):
            array[: self.rows] = smaller
        self.rows = rows

    def renew(self) -> None:
        """Take new memory, so that tables handed over keep theirs; contents are lost."""
        self.arrays = tuple(np.empty(self.rows, dtype=d) for d in PACKET_COLUMNS.values())
        self._maps = []

    def table(self, count: int, addresses: NDArray[np.uint8]) -> PacketTable:
        """Hand the first `count` rows over as a table, without copying them."""
        columns = {
            name: array[:count] for name, array in zip(PACKET_COLUMNS, self.arrays, strict=True)
        }
        return PacketTable(addresses=addresses, **columns)

    def _enlarge(self, index: int, size: int) -> None:
        try:
            self._maps[index].resize(size)
        except (SystemError, OSError):  # where the system cannot remap
            space = _reserve(size)
            space[: len(self._maps[index])] = self._maps[index][:]
            self._maps[index] = space


def _reserve(size: int) -> mmap.mmap:
    space = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if MADV_HUGEPAGE is not None:
        space.madvise(MADV_HUGEPAGE)
    return space


def cut_table(table: PacketTable, start: int, stop: int) -> PacketTable:
    """Return packets start:stop without copying them."""
    columns = {name: getattr(table, name)[start:stop] for name in PACKET_COLUMNS}
    return PacketTable(addresses=table.addresses, **columns)
