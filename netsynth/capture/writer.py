"""Write packets as a capture of whole, valid frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.columns import places_of
from netsynth.capture.engines import Engine, choose_engine
from netsynth.capture.file_parts import check_prefixes, file_header, frame_record
from netsynth.capture.frames import (
    CUT,
    FILL_MASK,
    MAC_KEY,
    MAX_FRAME,
    OUT_SIZE,
    PCAPNG_OUT,
    POOL_SIZE,
    RESOLUTION,
    ROWS,
    SETTINGS_SIZE,
    Pool,
    make_crc_table,
    make_pool,
)
from netsynth.capture.sinks import CaptureSink, Packing
from netsynth.errors import CaptureError, ConfigError, TableError
from netsynth.numbers import IntArray
from netsynth.tables import (
    PACKET_COLUMNS,
    PacketTable,
)

OUT_BYTES = 1 << 20
MAX_SNAPLEN = 262_144
LONGEST_FRAME = MAX_FRAME - 64  # with the header of its record
MAX_TIME_NS = (1 << 32) * 1_000_000_000
Fill = Literal["random", "zero"]


class CaptureWriter:
    """Writes a capture, to be used in a `with` statement.

    A file appears under its name when the statement ends well; before, its bytes lie beside it
    under another name, which is removed on an error. "-" streams to standard output.

    Frames are Ethernet II (802.1Q where `vlan` is not 0) with IPv4 or IPv6. Over IPv6, TCP and UDP
    have flow labels, one for each direction of a flow (RFC 6437). Lengths and checksums are
    computed from `payload_length`; `ip_length`, `wire_length` and `checksums` of the packets are
    ignored, and so is OPTION_SACK, whose blocks no column holds, but where a segment without
    payload has a prefix: that is the option. Fragments get an offset of 1480 bytes, but for the
    first. SCTP gets its ports and CRC32c if the frame is not cut.

    Args:
        path: Where to; its ending chooses: .pcapng for pcapng, then .gz or .zst to compress.
        time_resolution_ns: 1 writes nanoseconds, 1000 microseconds (rounded down).
        snaplen: Bytes kept of each frame, all where None.
        mac_key: Chooses the MAC addresses, which are stable per IP address.
        engine: As for `read_capture`: with or without a compiler, the bytes are the same.

    Raises:
        ConfigError: If a setting is out of range.
        CaptureError: If the path cannot be written.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        time_resolution_ns: int = 1,
        snaplen: int | None = None,
        mac_key: int = 0,
        engine: Engine = "auto",
    ) -> None:
        if time_resolution_ns not in (1, 1000):
            raise ConfigError(f"time_resolution_ns is {time_resolution_ns}, but must be 1 or 1000")
        if snaplen is not None and not 1 <= snaplen <= MAX_SNAPLEN:
            raise ConfigError(f"snaplen is {snaplen}, but must be 1 to {MAX_SNAPLEN}")
        self.path = Path(path)
        names = self.path.name.lower().split(".")[1:]
        self._packing: Packing = (
            "gz" if "gz" in names[-1:] else "zst" if "zst" in names[-1:] else ""
        )
        self._as_pcapng = "pcapng" in names[-2 if self._packing else -1 :]
        self._resolution_ns = time_resolution_ns
        self._snaplen = snaplen
        self._settings: IntArray = np.zeros(SETTINGS_SIZE, dtype=np.int64)
        self._settings[RESOLUTION] = time_resolution_ns
        self._settings[CUT] = snaplen or MAX_SNAPLEN
        self._settings[PCAPNG_OUT] = self._as_pcapng
        self._settings[FILL_MASK] = POOL_SIZE - 1
        self._settings[MAC_KEY] = np.int64(np.uint64(mac_key & 0xFFFFFFFFFFFFFFFF).view(np.int64))
        self._out: NDArray[np.uint8] = np.zeros(OUT_BYTES + MAX_FRAME, dtype=np.uint8)
        self._view = self._out.data
        self._held = 0  # bytes at the buffer's front that are not written yet
        self._crc_table = make_crc_table()
        self._is_compiled = choose_engine(engine) == "numba"
        self._encode_rows = _load_encoder(is_compiled=self._is_compiled)
        self._pools: dict[tuple[int, str], Pool] = {}
        self._sink: CaptureSink | None = None
        self._last_ns = 0

    def __enter__(self) -> Self:
        self._sink = CaptureSink(self.path, self._packing)
        try:
            self._hold(
                file_header(self._resolution_ns, self._snaplen or MAX_SNAPLEN, self._as_pcapng)
            )
        except CaptureError:
            self._sink.discard()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._sink is not None
        if kind is not None:
            self._sink.discard()
            return
        try:
            self._flush()
        except CaptureError:
            self._sink.discard()
            raise
        self._sink.finish()

    def write(
        self,
        packets: PacketTable,
        *,
        prefix: NDArray[np.uint8] | None = None,
        prefix_start: IntArray | None = None,
        prefix_length: IntArray | None = None,
        fill_seed: int = 0,
        fill: Fill = "random",
    ) -> None:
        """Append packets, which must be in order of time and not before the last ones written.

        Args:
            packets: N packets.
            prefix: uint8, first bytes of payloads.
            prefix_start: int64 [N], where in `prefix` each packet's begin.
            prefix_length: int64 [N], bytes of each; what a payload has no room for is left out.
                Of TCP segments with OPTION_SACK that have no payload: bytes of the option as it
                stands in the header, two no-operations before it (RFC 2018 section 3).
            fill_seed: Chooses the bytes of the rest of each payload. For TCP they depend on
                addresses, ports and sequence number only, so a retransmission repeats them.
            fill: "random", or "zero" for a rest of zeros.

        Raises:
            CaptureError: If the disk is full, the reader of a pipe is gone, or the like.
            ConfigError: If `fill` is unknown.
            TableError: If packets are out of order, later than 2106, or prefixes do not fit.
        """
        if fill not in ("random", "zero"):
            raise ConfigError(f"fill is {fill!r}, but must be random or zero")
        if len(packets) == 0:
            return
        self._check(packets)
        empty = np.zeros(0, dtype=np.int64)
        if prefix is None:
            prefix, prefix_start, prefix_length = np.zeros(1, dtype=np.uint8), empty, empty
        elif prefix_start is None or prefix_length is None:
            raise TableError("prefix is given, but not prefix_start and prefix_length")
        else:
            check_prefixes(packets, prefix, prefix_start, prefix_length)
        if (fill_seed, fill) not in self._pools:
            self._pools = {(fill_seed, fill): make_pool(fill_seed, zero=fill == "zero")}
        self._encode(
            packets,
            self._pools[fill_seed, fill],
            (
                np.ascontiguousarray(prefix),
                np.ascontiguousarray(prefix_start, dtype=np.int64),
                np.ascontiguousarray(prefix_length, dtype=np.int64),
            ),
        )

    def write_frame(self, frame: bytes, *, time_ns: int) -> None:
        """Append a frame that holds no IP packet, as it is.

        Args:
            frame: An Ethernet frame without its check sequence.
            time_ns: Not before the last packet written.

        Raises:
            CaptureError: If the disk is full, the reader of a pipe is gone, or the like.
            TableError: If it is out of order, later than 2106, or longer than a frame can be.
        """
        assert self._sink is not None
        if not self._last_ns <= time_ns < MAX_TIME_NS or len(frame) > LONGEST_FRAME:
            raise TableError(
                f"a frame of {len(frame)} bytes at {time_ns} ns is too long, too late, or before "
                f"the last packet, which is at {self._last_ns} ns"
            )
        self._last_ns = time_ns
        kept = frame[: int(self._settings[CUT])]
        ticks = time_ns // self._resolution_ns
        self._hold(frame_record(ticks, self._resolution_ns, kept, len(frame), self._as_pcapng))

    def _hold(self, data: bytes) -> None:
        """Append bytes, no more than MAX_FRAME, to the buffer."""
        stop = self._held + len(data)
        self._view[self._held : stop] = data
        self._advance(stop)

    def _advance(self, held: int) -> None:
        """Write what fills the buffer, or all where somebody may wait for it.

        Whole pieces at multiples of their length cost the system least: it finds room for each
        at once.
        """
        assert self._sink is not None
        self._held = held
        if self._sink.is_stream:
            self._flush()
        elif held >= OUT_BYTES:
            self._sink.write(self._view[:OUT_BYTES])
            self._held = held - OUT_BYTES
            self._out[: self._held] = self._out[OUT_BYTES:held]

    def _flush(self) -> None:
        assert self._sink is not None
        self._sink.write(self._view[: self._held])
        self._held = 0

    def _encode(
        self,
        packets: PacketTable,
        pool: Pool,
        prefixes: tuple[NDArray[np.uint8], IntArray, IntArray],
    ) -> None:
        columns = tuple(np.ascontiguousarray(getattr(packets, name)) for name in PACKET_COLUMNS)
        places = places_of(columns) if self._is_compiled else columns
        self._settings[ROWS] = len(packets)
        keys = np.ascontiguousarray(packets.addresses).view(np.uint64)
        row = 0
        while row < len(packets):
            self._settings[OUT_SIZE] = self._out.size - self._held
            row, used = self._encode_rows(
                places,
                keys,
                row,
                self._out[self._held :],
                self._settings,
                pool.data,
                pool.sums,
                *prefixes,
                self._crc_table,
            )
            self._advance(self._held + used)

    def _check(self, packets: PacketTable) -> None:
        times_ns = packets.time_ns
        late = times_ns[1:] < times_ns[:-1]
        if times_ns[0] < self._last_ns or late.any():
            row = 0 if times_ns[0] < self._last_ns else int(np.argmax(late)) + 1
            raise TableError(f"sort packets by time_ns: row {row} is before the one before it")
        if times_ns[-1] >= MAX_TIME_NS:
            raise TableError("time_ns must be before the year 2106 to fit into a capture")
        self._last_ns = int(times_ns[-1])
        count = len(packets.addresses)
        for name in ("src", "dst"):
            rows = getattr(packets, name)
            if rows.min() < 0 or rows.max() >= count:
                raise TableError(f"{name} must hold rows of the {count} addresses")


def _load_encoder(*, is_compiled: bool) -> Callable[..., tuple[int, int]]:
    if is_compiled:
        from netsynth.capture import encode_numba

        compiled: Callable[..., tuple[int, int]] = encode_numba.encode
        return compiled
    from netsynth.capture.encode_numpy import encode

    return encode
