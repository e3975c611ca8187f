"""Read captures: whole, or in chunks of bounded memory."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator, Sequence

import numpy as np

from netsynth.capture.columns import (
    Arrays,
    ColumnBlocks,
    GrowingColumns,
    cut_table,
    make_table,
    sort_table,
)
from netsynth.capture.engines import Engine
from netsynth.capture.info import CaptureInfo
from netsynth.capture.records import OUT_OF_ORDER, ROW, ROW_LIMIT
from netsynth.capture.scan import CaptureScan, Progress
from netsynth.capture.sources import PathLike
from netsynth.errors import CaptureError
from netsynth.tables import PACKET_COLUMNS, PacketTable

FIRST_ROWS = 1 << 13  # until the size of the whole can be guessed
CHUNK_ROWS = 1 << 17  # packets of a chunk
HELD_ROWS = 1 << 15  # packets kept back, into which late ones can be sorted


class LatePacketsError(CaptureError):
    """Packets are out of order by more than can be sorted while they stream by."""


def read_capture(
    paths: PathLike | Sequence[PathLike],
    *,
    salvage: bool = False,
    decapsulate: bool = False,
    progress: Progress | None = None,
    engine: Engine = "auto",
) -> tuple[PacketTable, CaptureInfo]:
    """Read a capture into memory, in order of time.

    Args:
        paths: One path or several: files (pcap, pcapng, gzip or zstd of these), folders,
            patterns, rotation sets, "-" for standard input.
        salvage: Skip what is damaged instead of raising.
        decapsulate: Read what is inside GRE, IP in IP and VXLAN instead of the tunnel's packets.
        progress: Called now and then with (bytes read, bytes in all; 0 where unknown).
        engine: "numba", "numpy" (slower, same result), or "auto": numba where it is installed,
            unless the environment variable NETSYNTH_ENGINE is "numpy".

    Returns:
        The packets, at most 63 bytes each plus 16 for each distinct address; and what was
        counted. Packets out of order are sorted (stable), and counted there. Columns that would
        take a good part of the machine's memory lie in files, see `netsynth.memory`.

    Raises:
        CaptureError: If a file is missing, no capture, damaged or cut off, or its link type
            unreadable; or the disk has no room for such columns.
    """
    scan = CaptureScan(
        paths, salvage=salvage, decapsulate=decapsulate, progress=progress, engine=engine
    )
    columns = GrowingColumns(FIRST_ROWS)
    scan.decoder.state[ROW_LIMIT] = columns.rows
    with contextlib.closing(columns):
        scan.fill_growing(columns)
    count = int(scan.decoder.state[ROW])
    packets = make_table(columns.arrays, 0, count, scan.decoder.addresses())
    if scan.decoder.state[OUT_OF_ORDER]:
        packets = sort_table(packets)
    return packets, scan.info()


def iter_capture(
    paths: PathLike | Sequence[PathLike],
    *,
    salvage: bool = False,
    decapsulate: bool = False,
    skip_late: bool | None = None,
    progress: Progress | None = None,
    engine: Engine = "auto",
) -> CaptureChunks:
    """Read a capture in chunks, in order of time, in memory that does not grow with it.

    Only the table of distinct addresses grows. Each chunk's `addresses` are those seen so far;
    rows keep their numbers, so those of the last chunk serve all chunks.

    Args:
        paths: As for `read_capture`.
        salvage: Skip what is damaged instead of raising.
        decapsulate: Read what is inside tunnels.
        skip_late: Skip packets that are late by more than HELD_ROWS packets, and count them among
            what was skipped; None: as `salvage`.
        progress: Called now and then with (bytes read, bytes in all; 0 where unknown).
        engine: As for `read_capture`.

    Returns:
        An iterator over chunks, of CHUNK_ROWS packets but for the last; its `info()` tells what
        was counted so far.

    Raises:
        CaptureError: As `read_capture`, some of it while iterating.
        LatePacketsError: If a packet is late by more than HELD_ROWS packets; `read_capture` can
            sort it.
    """
    scan = CaptureScan(
        paths, salvage=salvage, decapsulate=decapsulate, progress=progress, engine=engine
    )
    return CaptureChunks(scan, skip_late=salvage if skip_late is None else skip_late)


class CaptureChunks(Iterator[PacketTable]):
    """Chunks of a capture."""

    def __init__(self, scan: CaptureScan, *, skip_late: bool) -> None:
        self._scan = scan
        self._chunks = _read_chunks(scan, skip_late=skip_late)

    def __next__(self) -> PacketTable:
        return next(self._chunks)

    def info(self) -> CaptureInfo:
        """Return what was counted so far; all there is once the chunks are exhausted."""
        return self._scan.info()


def _read_chunks(scan: CaptureScan, *, skip_late: bool) -> Iterator[PacketTable]:
    state = scan.decoder.state
    blocks = ColumnBlocks(CHUNK_ROWS + HELD_ROWS)
    state[ROW_LIMIT] = blocks.rows
    filler = scan.fill_next()
    next(filler)
    arrays = blocks.take()
    last_ns = disordered = 0
    while True:
        is_last = _is_exhausted(filler, arrays)
        table = make_table(arrays, 0, int(state[ROW]), scan.decoder.addresses())
        if disordered != state[OUT_OF_ORDER]:
            disordered = int(state[OUT_OF_ORDER])
            table = table.take(np.argsort(table.time_ns, kind="stable"))
            table = _drop_late(table, last_ns, scan, skip_late=skip_late)
        if is_last:
            yield table
            return
        ready = max(len(table) - HELD_ROWS, 0)
        arrays = blocks.take()
        for array, name in zip(arrays, PACKET_COLUMNS, strict=True):
            array[: len(table) - ready] = getattr(table, name)[ready:]
        state[ROW] = len(table) - ready
        if ready:
            last_ns = int(table.time_ns[ready - 1])
            table = cut_table(table, 0, ready)
            yield table
        del table  # its memory may be used again


def _drop_late(
    table: PacketTable, last_ns: int, scan: CaptureScan, *, skip_late: bool
) -> PacketTable:
    """Refuse or leave out packets before the last one of the chunk before."""
    late = int(np.searchsorted(table.time_ns, last_ns))
    if not late:
        return table
    behind_s = (last_ns - int(table.time_ns[0])) / 1e9
    text = (
        f"{', '.join(map(str, scan.paths))}: {late} packets are up to {behind_s:.6f} s late, more "
        f"than {HELD_ROWS} packets; sort with reordercap, or join files with mergecap"
    )
    if not skip_late:
        raise LatePacketsError(text)
    scan.damage.add(f"skipped: {text}", 0)
    return cut_table(table, late, len(table))


def _is_exhausted(filler: Generator[None, Arrays, None], arrays: Arrays) -> bool:
    try:
        filler.send(arrays)
    except StopIteration:
        return True
    return False
