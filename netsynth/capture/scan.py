"""A pass over the files of a capture, into columns."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path

from netsynth.capture.columns import Arrays, GrowingColumns, empty_columns
from netsynth.capture.decoder import Decoder
from netsynth.capture.engines import Engine
from netsynth.capture.info import CaptureInfo, name_counts
from netsynth.capture.reader import FileReader
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
    ROW_LIMIT,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)
from netsynth.capture.salvage import Damage
from netsynth.capture.sources import PathLike, find_captures
from netsynth.errors import CaptureError

Progress = Callable[[int, int], None]
GROWTH_ROWS = 1 << 16


class CaptureScan:
    """Reads the files of a capture one after another.

    Attributes:
        paths: The files, by the time of their first packet.
        decoder: What was counted so far, and the addresses.
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
        self._salvage = salvage
        self._progress = progress
        self.paths = _in_order_of_time(find_captures(paths), engine)
        self.decoder = Decoder(decapsulate=decapsulate, engine=engine)
        self.damage = Damage()
        self._formats: dict[str, None] = {}
        self._links: dict[str, None] = {}
        self._resolution_ns = 0
        self._snap_lengths: list[int] = []
        self._done = 0  # bytes of the files before the current one
        self._size = sum(path.stat().st_size for path in self.paths if path.is_file())

    def fill_growing(self, columns: GrowingColumns) -> None:
        """Fill columns with all packets there are."""
        for reader in self._readers():
            while reader.fill(columns.arrays):
                self._report(reader.read_bytes)
                columns.grow(self._expected_rows(columns.rows, reader.read_bytes))
                self.decoder.state[ROW_LIMIT] = columns.rows

    def fill_next(self) -> Generator[None, Arrays, None]:
        """Fill columns that are sent, from `state[ROW]` on, until they are full or all is read."""
        arrays = yield
        for reader in self._readers():
            while reader.fill(arrays):
                self._report(reader.read_bytes)
                arrays = yield

    def _readers(self) -> Iterator[FileReader]:
        for path in self.paths:
            reader = FileReader(path, self.decoder, salvage=self._salvage, damage=self.damage)
            try:
                yield reader
                self._note(reader)
            finally:
                reader.close()
            self._done += reader.read_bytes
        self._report(0)

    def _report(self, read_bytes: int) -> None:
        if self._progress is not None:
            self._progress(self._done + read_bytes, self._size)

    def _expected_rows(self, rows: int, read_bytes: int) -> int:
        """Guess the rows of the whole capture from those so far; at least a quarter more."""
        expected = rows / (self._done + read_bytes) * self._size * 1.02
        return max(int(expected), rows + max(rows >> 2, GROWTH_ROWS)) + GROWTH_ROWS

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
            macs=self.decoder.macs(),
            skipped_places=self.damage.places,
            skipped_bytes=self.damage.bytes,
            skipped_reasons=tuple(self.damage.reasons),
        )


def _in_order_of_time(paths: list[Path], engine: Engine) -> list[Path]:
    """Sort files by their first packet; those without one stay where they are."""
    if len(paths) < 2:
        return paths
    first_ns = [_first_time(path, engine) for path in paths]
    timed = [index for index, time_ns in enumerate(first_ns) if time_ns is not None]
    ranked = sorted(timed, key=lambda index: (first_ns[index], index))
    ordered = list(paths)
    for place, index in zip(timed, ranked, strict=True):
        ordered[place] = paths[index]
    return ordered


def _first_time(path: Path, engine: Engine) -> int | None:
    """Return the time of a file's first packet; None where there is none, or none readable."""
    if not path.is_file():
        return None
    decoder = Decoder(decapsulate=False, engine=engine)
    decoder.state[ROW_LIMIT] = 1
    try:
        reader = FileReader(path, decoder, salvage=False, damage=Damage())
    except CaptureError:
        return None  # said when its turn comes
    try:
        return int(decoder.state[FIRST_NS]) if reader.fill(empty_columns(1)) else None
    except CaptureError:
        return None
    finally:
        reader.close()
