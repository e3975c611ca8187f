"""Columns of packets that grow without being copied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.tables import PACKET_COLUMNS, Array, PacketTable

GROWTH_LIMIT = 1 << 20  # rows added at most at a time: 63 MB


class PacketColumns:
    """The arrays of `PACKET_COLUMNS`, to be filled from the front.

    Attributes:
        arrays: One array a column, in the order of `PACKET_COLUMNS`, each [rows].
        rows: Rows there is room for.
    """

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.arrays: tuple[Array, ...] = tuple(
            np.zeros(rows, dtype=dtype) for dtype in PACKET_COLUMNS.values()
        )

    def grow(self) -> None:
        """Make room for more rows; large arrays are remapped by the system, not copied."""
        self._resize(self.rows + min(self.rows, GROWTH_LIMIT))

    def table(self, count: int, addresses: NDArray[np.uint8]) -> PacketTable:
        """Hand the first `count` rows over as a table; the columns are not to be used after."""
        self._resize(count)
        return PacketTable(
            addresses=addresses, **dict(zip(PACKET_COLUMNS, self.arrays, strict=True))
        )

    def _resize(self, rows: int) -> None:
        for array in self.arrays:
            array.resize(rows, refcheck=False)
        self.rows = rows


def concatenate(tables: list[PacketTable], addresses: NDArray[np.uint8]) -> PacketTable:
    """Join tables whose rows all point into `addresses`."""
    if not tables:
        return PacketTable.zeros(0, addresses)
    columns = {
        name: np.concatenate([getattr(table, name) for table in tables]) for name in PACKET_COLUMNS
    }
    return PacketTable(addresses=addresses, **columns)
