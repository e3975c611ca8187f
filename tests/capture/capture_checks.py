"""What must hold of anything that is read, and of both engines together."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from netsynth.capture import CaptureInfo, iter_capture, read_capture
from netsynth.errors import CaptureError
from netsynth.tables import PACKET_COLUMNS, PacketTable

Outcome = tuple[PacketTable, CaptureInfo] | str


def attempt(path: Path, *, engine: str, salvage: bool, decapsulate: bool) -> Outcome:
    """Read a capture; return what was read, or the error's text."""
    try:
        return read_capture(path, salvage=salvage, decapsulate=decapsulate, engine=engine)  # type: ignore[arg-type]
    except CaptureError as error:
        return str(error)


def check_sane(packets: PacketTable, info: CaptureInfo) -> None:
    """Assert what no input may break."""
    count = len(packets)
    assert info.frame_count == count + info.non_ip_count
    assert info.packet_count == count
    assert sum(info.non_ip_types.values()) == info.non_ip_count
    assert info.truncated_count <= info.frame_count
    assert (np.diff(packets.time_ns) >= 0).all()
    for name in ("src", "dst"):
        rows = getattr(packets, name)
        assert count == 0 or (rows.min() >= 0 and rows.max() < len(packets.addresses))
    assert np.isin(packets.ip_version, (4, 6)).all()
    assert (packets.payload_length <= packets.ip_length).all()
    assert (packets.ip_length >= np.where(packets.ip_version == 4, 20, 40)).all()
    assert len(np.unique(packets.addresses, axis=0)) == len(packets.addresses)
    portless = ~np.isin(packets.protocol, (6, 17, 132)) | (packets.ip_flags & 4 > 0)
    assert not packets.src_port[portless].any()
    assert not packets.seq[~np.isin(packets.protocol, (1, 6, 58))].any()


def check_equal(first: Outcome, second: Outcome) -> None:
    """Assert that two readings gave the same packets and counts, or the same error."""
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
        return
    for name in PACKET_COLUMNS:
        assert np.array_equal(getattr(first[0], name), getattr(second[0], name)), name
    assert np.array_equal(first[0].addresses, second[0].addresses)
    for field in dataclasses.fields(CaptureInfo):
        ours, theirs = getattr(first[1], field.name), getattr(second[1], field.name)
        assert np.array_equal(ours, theirs), field.name


def check_input(path: Path, *, decapsulate: bool = False, thorough: bool = True) -> int:
    """Read a file strictly and with salvage; return how many packets salvage found.

    Args:
        path: The file.
        decapsulate: Whether to look into tunnels.
        thorough: Compare both engines, and reading in chunks; else numba alone has to stand.
    """
    found = 0
    for salvage in (False, True):
        ours = attempt(path, engine="numba", salvage=salvage, decapsulate=decapsulate)
        if thorough:
            other = attempt(path, engine="numpy", salvage=salvage, decapsulate=decapsulate)
            check_equal(ours, other)
        if not isinstance(ours, str):
            check_sane(*ours)
            found = len(ours[0])
            if thorough and salvage and not isinstance(chunks := attempt_chunks(path), str):
                assert decapsulate or sum(map(len, chunks)) == found
    return found


def attempt_chunks(path: Path) -> list[PacketTable] | str:
    """Read a capture in chunks, past damage."""
    try:
        return list(iter_capture(path, salvage=True))
    except CaptureError as error:
        return str(error)
