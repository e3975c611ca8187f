"""Read captures: whole, or in chunks of bounded memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from netsynth.capture.columns import PacketColumns
from netsynth.capture.decoder import Decoder, Engine
from netsynth.capture.info import CaptureInfo, name_counts, sorted_macs
from netsynth.capture.reader import Damage, FileReader
from netsynth.capture.records import (
    FIRST_NS,
    FRAGMENTS,
    FRAMES,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    LAST_NS,
    NON_IP,
    OUT_OF_ORDER,
    ROW,
    ROW_LIMIT,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)
from netsynth.capture.sources import PathLike, find_captures
from netsynth.tables import PacketTable

Progress = Callable[[int, int], None]
FIRST_ROWS = 1 << 16
logger = logging.getLogger(__name__)


class CaptureScan:
    """A pass over the files of a capture.

    Attributes:
        paths: The files, in the order read.
    """

    def __init__(
        self,
        paths: PathLike | Sequence[PathLike],
        *,
        salvage: bool,
        decapsulate: bool,
        progress: Progress | None,
        engine: Engine,
    ) -> None:
        self.paths = find_captures(paths)
        self._salvage = salvage
        self._progress = progress
        self.decoder = Decoder(decapsulate=decapsulate, engine=engine)
        self._damage = Damage()
        self._formats: dict[str, None] = {}
        self._links: dict[str, None] = {}
        self._resolution_ns = 0
        self._snap_lengths: list[int] = []
        self._size = sum(path.stat().st_size for path in self.paths if path.is_file())

    def columns(self, *, rows: int | None) -> Iterator[PacketColumns]:
        """Yield filled columns (`state[ROW]` rows): one set, or one for each `rows` packets."""
        state = self.decoder.state
        columns = PacketColumns(rows or FIRST_ROWS)
        state[ROW], state[ROW_LIMIT] = 0, columns.rows
        done = 0
        for path in self.paths:
            reader = FileReader(path, self.decoder, salvage=self._salvage, damage=self._damage)
            try:
                while reader.fill(columns.arrays):
                    if rows is None:
                        columns.grow()
                    else:
                        yield columns
                        columns = PacketColumns(rows)
                        state[ROW] = 0
                    state[ROW_LIMIT] = columns.rows
                    if self._progress is not None:
                        self._progress(done + reader.read_bytes, self._size)
                done += reader.read_bytes
                self._note(reader)
            finally:
                reader.close()
        if self._progress is not None:
            self._progress(done, self._size)
        yield columns

    def _note(self, reader: FileReader) -> None:
        self._formats[reader.format] = None
        self._links.update(dict.fromkeys(reader.links))
        for interface in reader.interfaces:
            finest = min(self._resolution_ns or interface.resolution_ns, interface.resolution_ns)
            self._resolution_ns = finest
            self._snap_lengths.append(interface.snap_length)

    def info(self) -> CaptureInfo:
        """Return what was counted so far."""
        state = self.decoder.state
        frames = int(state[FRAMES])
        limited = all(self._snap_lengths) and bool(self._snap_lengths)
        return CaptureInfo(
            paths=tuple(self.paths),
            format=", ".join(self._formats),
            link_types=tuple(self._links),
            time_resolution_ns=self._resolution_ns or 1,
            snap_length=max(self._snap_lengths) if limited else 0,
            frame_count=frames,
            packet_count=frames - int(state[NON_IP]),
            non_ip_count=int(state[NON_IP]),
            non_ip_types=name_counts(self.decoder.counts),
            truncated_count=int(state[TRUNCATED]),
            bad_ip_checksum_count=int(state[IP_BAD]),
            bad_l4_checksum_count=int(state[L4_BAD]),
            unknown_l4_checksum_count=int(state[L4_UNKNOWN]),
            out_of_order_count=int(state[OUT_OF_ORDER]),
            untimed_count=int(state[UNTIMED]),
            fragment_count=int(state[FRAGMENTS]),
            first_ns=int(state[FIRST_NS]) if frames else 0,
            last_ns=int(state[LAST_NS]) if frames else 0,
            wire_bytes=int(state[WIRE_BYTES]),
            macs=sorted_macs(self.decoder.mac_slots),
            skipped_places=self._damage.places,
            skipped_bytes=self._damage.bytes,
            skipped_reasons=tuple(self._damage.reasons),
        )


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
        counted. Packets out of order are sorted (stable), and counted there.

    Raises:
        CaptureError: If a file is missing, no capture, damaged or cut off, or its link type
            unreadable.
    """
    scan = CaptureScan(
        paths, salvage=salvage, decapsulate=decapsulate, progress=progress, engine=engine
    )
    (columns,) = scan.columns(rows=None)
    packets = columns.table(int(scan.decoder.state[ROW]), scan.decoder.addresses())
    if (np.diff(packets.time_ns) < 0).any():
        packets = packets.take(np.argsort(packets.time_ns, kind="stable"))
    return packets, scan.info()


def iter_capture(
    paths: Path | str | Sequence[Path | str],
    *,
    salvage: bool = False,
    decapsulate: bool = False,
    progress: Progress | None = None,
    engine: Engine = "auto",
) -> Iterator[PacketTable]:
    """Read a capture in chunks."""
    scan = CaptureScan(
        paths, salvage=salvage, decapsulate=decapsulate, progress=progress, engine=engine
    )
    for columns in scan.columns(rows=FIRST_ROWS):
        yield columns.table(int(scan.decoder.state[ROW]), scan.decoder.addresses())
