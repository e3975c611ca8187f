"""Columns of packets: memory that grows in place, or is used again.

Columns lie in memory maps of their own where they are large: the system then moves them to grow by
remapping. It backs them by huge pages, without which the first touch of a page costs more than
decoding the packets in it (see `netsynth.memory`). Columns that would take a good part of the
machine's memory lie in files.
"""

from __future__ import annotations

import mmap
import sys
from typing import IO

import numpy as np
from numpy.typing import NDArray

from netsynth.memory import (
    STAGGER,
    columns_of,
    is_large,
    lengthen,
    new_block,
    new_columns,
    open_scratch,
    reserve,
)
from netsynth.numbers import Array, IntArray
from netsynth.tables import PACKET_COLUMNS, PacketTable

MAPPED_ROWS = 1 << 19  # columns of more rows lie in memory maps
DTYPES = [np.dtype(dtype) for dtype in PACKET_COLUMNS.values()]
ROW_BYTES = sum(dtype.itemsize for dtype in DTYPES)
Arrays = tuple[Array, ...]


def empty_columns(rows: int) -> Arrays:
    """Return small columns, one array each of `PACKET_COLUMNS`, not initialised."""
    return tuple(np.empty(rows, dtype=dtype) for dtype in DTYPES)


def places_of(arrays: Arrays) -> IntArray:
    """Return where contiguous arrays lie in memory, int64 [C]; the caller keeps them alive."""
    return np.array([array.__array_interface__["data"][0] for array in arrays], dtype=np.int64)


def make_table(arrays: Arrays, start: int, stop: int, addresses: NDArray[np.uint8]) -> PacketTable:
    """Hand rows start:stop of columns over as a table, without copying them."""
    columns = {name: array[start:stop] for name, array in zip(PACKET_COLUMNS, arrays, strict=True)}
    return PacketTable(addresses=addresses, **columns)


def sort_table(table: PacketTable) -> PacketTable:
    """Return the packets in order of time, ties as they are; in files where they are large."""
    rows = np.argsort(table.time_ns, kind="stable")
    in_file = is_large(len(table) * ROW_BYTES)
    columns = dict(
        zip(PACKET_COLUMNS, new_columns(len(table), DTYPES, in_file=in_file), strict=True)
    )
    for name, column in columns.items():
        np.take(getattr(table, name), rows, out=column, mode="clip")  # else it is buffered
    return PacketTable(addresses=table.addresses, **columns)


def cut_table(table: PacketTable, start: int, stop: int) -> PacketTable:
    """Return packets start:stop without copying them."""
    arrays = tuple(getattr(table, name) for name in PACKET_COLUMNS)
    return make_table(arrays, start, stop, table.addresses)


class GrowingColumns:
    """Columns that are filled from the front and grow.

    Attributes:
        arrays: One array a column, in the order of `PACKET_COLUMNS`, each [rows].
        rows: Rows there is room for.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.arrays = new_columns(rows, DTYPES, in_file=False)
        self._maps: list[mmap.mmap] = []
        self._files: list[IO[bytes]] = []  # behind the maps, where columns are large

    def grow(self, rows: int) -> None:
        """Make room for `rows` rows, more than there are; references to `arrays` must end."""
        if rows < MAPPED_ROWS:
            larger = new_columns(rows, DTYPES, in_file=False)
        else:
            sizes = [rows * dtype.itemsize + mmap.PAGESIZE for dtype in DTYPES]
            self._maps = self._make_room(sizes)
            larger = tuple(
                np.frombuffer(space, dtype=dtype, count=rows, offset=STAGGER * index)
                for index, (space, dtype) in enumerate(zip(self._maps, DTYPES, strict=True))
            )
        for array, smaller in zip(larger, self.arrays, strict=False):
            array[: self.rows] = smaller
        self.arrays, self.rows = larger, rows

    def close(self) -> None:
        """Grow no more; the columns stay."""
        for file in self._files:
            file.close()

    def _make_room(self, sizes: list[int]) -> list[mmap.mmap]:
        """Return a map of each size, which begins as the one there is or is to be filled."""
        if not self._files and is_large(sum(sizes)):
            self._files = [open_scratch(size) for size in sizes]
            return [
                mmap.mmap(file.fileno(), size)
                for file, size in zip(self._files, sizes, strict=True)
            ]
        if not self._maps:
            return [reserve(size) for size in sizes]
        self.arrays = ()  # a map that is in use cannot be moved
        for file, size in zip(self._files, sizes, strict=False):
            lengthen(file, size)
        return [_enlarge(space, size) for space, size in zip(self._maps, sizes, strict=True)]


class ColumnBlocks:
    """Blocks of memory for columns of equal length, each used again once nothing refers to it."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._blocks: list[NDArray[np.uint8]] = []

    def take(self) -> Arrays:
        """Return columns in free memory, not initialised."""
        return columns_of(self._free_block(), self.rows, DTYPES)

    def _free_block(self) -> NDArray[np.uint8]:
        for index in range(len(self._blocks)):
            # Referred to by the list and by the call alone: no column is left that views it.
            if sys.getrefcount(self._blocks[index]) <= 2:
                return self._blocks[index]
        block = new_block(self.rows, DTYPES)
        self._blocks = [*self._blocks[-2:], block]
        return block


def _enlarge(space: mmap.mmap, size: int) -> mmap.mmap:
    try:
        space.resize(size)
    except (SystemError, OSError):  # the system cannot remap
        larger = reserve(size)
        larger[: len(space)] = space[:]
        return larger
    return space
