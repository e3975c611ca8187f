"""Write packets as a capture of whole, valid frames."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.engines import Engine, choose_engine
from netsynth.capture.frames import (
    CUT,
    FILL_MASK,
    MAC_KEY,
    MAX_FRAME,
    OUT_SIZE,
    PCAPNG_OUT,
    POOL_SIZE,
    RESOLUTION,
    SETTINGS_SIZE,
    Pool,
    make_crc_table,
    make_pool,
)
from netsynth.capture.sinks import CaptureSink, Packing
from netsynth.errors import CaptureError, ConfigError, TableError
from netsynth.numbers import IntArray
from netsynth.tables import (
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    PACKET_COLUMNS,
    TCP,
    PacketTable,
)

OUT_BYTES = 1 << 20
MAX_SNAPLEN = 262_144
OPTION_ROOM = 40  # bytes of TCP options (RFC 9293 section 3.1)
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
        self._is_next_generation = "pcapng" in names[-2 if self._packing else -1 :]
        self._resolution_ns = time_resolution_ns
        self._snaplen = snaplen
        self._settings: IntArray = np.zeros(SETTINGS_SIZE, dtype=np.int64)
        self._settings[OUT_SIZE] = OUT_BYTES + MAX_FRAME
        self._settings[RESOLUTION] = time_resolution_ns
        self._settings[CUT] = snaplen or MAX_SNAPLEN
        self._settings[PCAPNG_OUT] = self._is_next_generation
        self._settings[FILL_MASK] = POOL_SIZE - 1
        self._settings[MAC_KEY] = np.int64(np.uint64(mac_key & 0xFFFFFFFFFFFFFFFF).view(np.int64))
        self._out: NDArray[np.uint8] = np.zeros(OUT_BYTES + MAX_FRAME, dtype=np.uint8)
        self._view = self._out.data
        self._crc_table = make_crc_table()
        self._encode_rows = _load_encoder(engine)
        self._pools: dict[tuple[int, str], Pool] = {}
        self._sink: CaptureSink | None = None
        self._last_ns = 0

    def __enter__(self) -> Self:
        self._sink = CaptureSink(self.path, self._packing)
        try:
            self._sink.write(memoryview(self._file_header()))
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
        else:
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
            _check_prefixes(packets, prefix, prefix_start, prefix_length)
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
        if not self._last_ns <= time_ns < MAX_TIME_NS or len(frame) > MAX_FRAME:
            raise TableError(
                f"a frame of {len(frame)} bytes at {time_ns} ns is too long, too late, or before "
                f"the last packet, which is at {self._last_ns} ns"
            )
        self._last_ns = time_ns
        kept = frame[: int(self._settings[CUT])]
        ticks = time_ns // self._resolution_ns
        if self._is_next_generation:
            padded = kept + bytes(-len(kept) % 4)
            size, words = 32 + len(padded), (ticks >> 32, ticks & 0xFFFFFFFF, len(kept), len(frame))
            record = struct.pack("<7I", 6, size, 0, *words) + padded + struct.pack("<I", size)
        else:
            seconds, fraction = divmod(ticks, 1_000_000_000 // self._resolution_ns)
            record = struct.pack("<4I", seconds, fraction, len(kept), len(frame)) + kept
        self._sink.write(memoryview(record))

    def _encode(
        self,
        packets: PacketTable,
        pool: Pool,
        prefixes: tuple[NDArray[np.uint8], IntArray, IntArray],
    ) -> None:
        assert self._sink is not None
        columns = tuple(np.ascontiguousarray(getattr(packets, name)) for name in PACKET_COLUMNS)
        keys = np.ascontiguousarray(packets.addresses).view(np.uint64)
        row = 0
        while row < len(packets):
            row, used = self._encode_rows(
                columns,
                keys,
                row,
                self._out,
                self._settings,
                pool.data,
                pool.sums,
                *prefixes,
                self._crc_table,
            )
            self._sink.write(self._view[:used])

    def _check(self, packets: PacketTable) -> None:
        times_ns = packets.time_ns
        late = np.flatnonzero(np.diff(times_ns, prepend=self._last_ns) < 0)
        if late.size:
            raise TableError(f"sort packets by time_ns: row {late[0]} is before the one before it")
        if times_ns[-1] >= MAX_TIME_NS:
            raise TableError("time_ns must be before the year 2106 to fit into a capture")
        self._last_ns = int(times_ns[-1])
        count = len(packets.addresses)
        for name in ("src", "dst"):
            rows = getattr(packets, name)
            if rows.min() < 0 or rows.max() >= count:
                raise TableError(f"{name} must hold rows of the {count} addresses")

    def _file_header(self) -> bytes:
        snaplen = self._snaplen or MAX_SNAPLEN
        if not self._is_next_generation:
            magic = 0xA1B23C4D if self._resolution_ns == 1 else 0xA1B2C3D4
            return struct.pack("<IHHiIII", magic, 2, 4, 0, 0, snaplen, 1)
        exponent = 9 if self._resolution_ns == 1 else 6
        section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
        options = struct.pack("<HHB3xHH", 9, 1, exponent, 0, 0)
        return section + struct.pack("<IIHHI", 1, 32, 1, 0, snaplen) + options + b"\x20\0\0\0"


def _load_encoder(engine: Engine) -> Callable[..., tuple[int, int]]:
    if choose_engine(engine) == "numba":
        from netsynth.capture import encode_numba

        compiled: Callable[..., tuple[int, int]] = encode_numba.encode
        return compiled
    from netsynth.capture.encode_numpy import encode

    return encode


def _check_prefixes(
    packets: PacketTable, prefix: NDArray[np.uint8], start: IntArray, length: IntArray
) -> None:
    count = len(packets)
    if start.shape != (count,) or length.shape != (count,):
        raise TableError(f"prefix_start and prefix_length must have one row a packet ({count})")
    if prefix.ndim != 1 or prefix.dtype != np.uint8:
        raise TableError("prefix must be a flat array of uint8")
    if start.min() < 0 or length.min() < 0 or (start + length).max() > prefix.size:
        raise TableError(f"prefixes must lie within the {prefix.size} bytes of prefix")
    rows = np.flatnonzero(packets.option_bits & OPTION_SACK)
    rows = rows[(packets.protocol[rows] == TCP) & (packets.payload_length[rows] == 0)]
    bits = packets.option_bits[rows].astype(np.int64)
    room = OPTION_ROOM - np.where(bits & OPTION_TIMESTAMPS, 12, 0)
    room -= np.where(bits & OPTION_MSS, 4, 0) + np.where(bits & OPTION_WINDOW_SCALE, 4, 0)
    room -= np.where((bits & OPTION_SACK_PERMITTED > 0) & (bits & OPTION_TIMESTAMPS == 0), 4, 0)
    wrong = rows[(length[rows] % 4 != 0) | (length[rows] > room)]
    if wrong.size:
        raise TableError(
            f"row {wrong[0]} has SACK blocks of {length[wrong[0]]} bytes; make them whole words "
            f"that fit into the {OPTION_ROOM} bytes of options"
        )
