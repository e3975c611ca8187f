"""Damaged captures: what is said, and what salvage saves."""

import gzip
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import zstandard
from capture_files import START_S, block, interface, packet, pcap, save, section
from scapy.all import IP, UDP, Ether

from netsynth.capture import read_capture
from netsynth.errors import CaptureError, ConfigError
from netsynth.tables import CHECKSUM_IP_BAD

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
FRAMES = [
    bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=n, dport=9) / (b"." * 55))
    for n in range(1, 21)
]
SIZE = len(FRAMES[0])  # 97
STEP = SIZE + 16
GOOD = pcap(FRAMES)


def patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def at(record: int) -> int:
    """Byte at which a record starts, counted from 1."""
    return 24 + (record - 1) * STEP


BROKEN = {
    "cut in a frame": (
        GOOD[: at(20) + 50],
        rf"record 20 at byte {at(20)} claims {SIZE} bytes but 34",
    ),
    "cut in a header": (GOOD[: at(20) + 7], rf"record 20 at byte {at(20)} is cut off: 7 of .* 16"),
    "absurd length": (
        patched(GOOD, at(8) + 8, struct.pack("<I", 0x7FFFFFFF)),
        rf"record 8 at byte {at(8)} claims 2147483647 bytes, more than any frame has",
    ),
    "absurd wire length": (
        patched(GOOD, at(8) + 12, struct.pack("<I", 0xFFFFFFFF)),
        rf"record 8 at byte {at(8)} claims a frame of 4294967295 bytes",
    ),
    "longer than the file": (
        patched(GOOD, at(8) + 8, struct.pack("<I", 200_000)),
        rf"record 8 at byte {at(8)} claims 200000 bytes but {len(GOOD) - at(8) - 16} are left",
    ),
    "1970": (
        patched(GOOD, at(8), struct.pack("<I", 0)),
        rf"record 8 at byte {at(8)} has a time more than ten years",
    ),
    "2106": (
        patched(GOOD, at(8), struct.pack("<I", 0xFFFFFFFF)),
        rf"record 8 at byte {at(8)} has a time more than ten years",
    ),
    "1970 at once": (
        patched(GOOD, at(1), struct.pack("<I", 0)),
        rf"record 1 at byte {at(1)} has a time more than ten years",
    ),
}


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_and_where(tmp_path: Path, name: str, engine: str) -> None:
    data, message = BROKEN[name]
    number = int(message.split()[1])
    good = rf"; {number - 1} records before it are good; capture it again, or pass --salvage"
    with pytest.raises(CaptureError, match=rf"bad\.pcap: {message}.*{good}"):
        read_capture(save(tmp_path / "bad.pcap", data), engine=engine)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("name", BROKEN)
def test_salvage_loses_the_damaged_record_only(tmp_path: Path, name: str, engine: str) -> None:
    data, message = BROKEN[name]
    lost = int(message.split()[1])
    path = save(tmp_path / "bad.pcap", data)
    packets, info = read_capture(path, salvage=True, engine=engine)  # type: ignore[arg-type]
    assert packets.src_port.tolist() == [n for n in range(1, 21) if n != lost]
    assert info.skipped_places == 1
    assert info.skipped_bytes == len(data) - len(packets) * STEP - 24
    assert f"record {lost} at byte {at(lost)}" in info.skipped_reasons[0]


def test_salvage_of_a_hole_and_of_inserted_bytes(tmp_path: Path) -> None:
    hole = GOOD[: at(5) + 40] + GOOD[at(9) + 3 :]
    packets, info = read_capture(save(tmp_path / "hole.pcap", hole), salvage=True)
    # Record 5 swallows the start of what follows the hole, and its checksum shows it.
    assert packets.src_port.tolist() == [1, 2, 3, 4, 0, *range(10, 21)]
    assert packets.checksums[4] & CHECKSUM_IP_BAD
    assert info.skipped_places == 1
    inserted = GOOD[: at(5)] + b"\x99" * 1234 + GOOD[at(5) :]
    packets, info = read_capture(save(tmp_path / "more.pcap", inserted), salvage=True)
    assert packets.src_port.tolist() == list(range(1, 21))
    assert (info.skipped_places, info.skipped_bytes) == (1, 1234)


@pytest.mark.parametrize(
    "pack", [bytes, partial(gzip.compress, compresslevel=1), zstandard.compress]
)
def test_salvage_across_many_buffers(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """Damage lies at every place relative to the reader's buffer of a mebibyte."""
    damaged = bytearray(pcap(FRAMES * 3000, times_s=[START_S] * 60_000))
    lost = list(range(777, 60_000, 777))
    for record in lost:
        damaged[at(record) + 8 : at(record) + 12] = b"\xff" * 4
    packets, info = read_capture(save(tmp_path / "big", pack(bytes(damaged))), salvage=True)
    assert len(packets) == 60_000 - len(lost)
    assert all(
        f"at byte {at(record)} " in reason
        for record, reason in zip(lost, info.skipped_reasons, strict=True)
    )
    assert info.skipped_places == len(info.skipped_reasons) == len(lost)
    assert info.skipped_bytes == STEP * len(lost)


NG = section() + interface()
NG_FRAMES = [packet(frame, START_S * 10**6 + k) for k, frame in enumerate(FRAMES)]
NG_GOOD = NG + b"".join(NG_FRAMES)
NG_STEP = len(NG_FRAMES[0])


def ng_at(record: int) -> int:
    return len(NG) + (record - 1) * NG_STEP


NG_BROKEN = {
    "cut in a block": (NG_GOOD[: ng_at(20) + 50], "record 20 at byte .* claims 132 bytes but 50"),
    "cut in a header": (NG_GOOD[: ng_at(20) + 7], "record 20 at byte .* is cut off"),
    "odd length": (patched(NG_GOOD, ng_at(8) + 4, b"\x83"), "record 8 at byte .* no pcapng block"),
    "length 0": (patched(NG_GOOD, ng_at(8) + 4, b"\0"), "record 8 at byte .* no pcapng block"),
    "two lengths": (patched(NG_GOOD, ng_at(9) - 4, b"\x80"), "record 8 at byte .* no pcapng block"),
    "frame longer than its block": (
        patched(NG_GOOD, ng_at(8) + 20, struct.pack("<I", 1000)),
        "record 8 at byte .* claims 1000 bytes",
    ),
    "interface": (
        patched(NG_GOOD, ng_at(8) + 8, struct.pack("<I", 1)),
        "record 8 at byte .* names an interface that the file does not describe",
    ),
    "time": (
        patched(NG_GOOD, ng_at(8) + 12, struct.pack("<I", 0x7FFFFFFF)),
        "record 8 at byte .* has a time",
    ),
}


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize("name", NG_BROKEN)
def test_damaged_pcapng(tmp_path: Path, name: str, engine: str) -> None:
    data, message = NG_BROKEN[name]
    path = save(tmp_path / "bad.pcapng", data)
    lost = int(message.split()[1])
    with pytest.raises(CaptureError, match=message) as caught:
        read_capture(path, engine=engine)  # type: ignore[arg-type]
    assert f"at byte {ng_at(lost)} " in str(caught.value)
    packets, info = read_capture(path, salvage=True, engine=engine)  # type: ignore[arg-type]
    assert packets.src_port.tolist() == [n for n in range(1, 21) if n != lost]
    assert info.skipped_places == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"GIF89a" + b"\0" * 50, "is no capture: it starts with 47 49 46 38"),
        (b"\xd4\xc3\xb2", "is no capture|is cut off"),
        (GOOD[:20], "is cut off: 20 of the file header's 24 bytes are there"),
        (section()[:20], "is cut off in a header block"),
        (patched(section(), 8, b"abcd"), "section header with the byte order"),
        (section() + block(1, b"\0" * 4), "interface block of 16 bytes"),
        (section() + interface(resolution=30), "finer than can be read"),
    ],
)
def test_files_that_are_no_capture(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CaptureError, match=rf"x\.bin: .*({message})"):
        read_capture(save(tmp_path / "x.bin", data))


def test_an_unknown_engine(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="engine is 'gpu'"):
        read_capture(save(tmp_path / "a.pcap", GOOD), engine="gpu")  # type: ignore[arg-type]


def test_a_claimed_length_allocates_nothing(tmp_path: Path) -> None:
    """A block of 16 MiB that is not there, and interfaces by the thousand."""
    import tracemalloc

    data = section() + interface() * 5000 + struct.pack("<III", 0xBAD, 0xFFFFF0, 0)
    path = save(tmp_path / "a.pcapng", data)
    with pytest.raises(CaptureError):
        read_capture(path)
    tracemalloc.start()
    with pytest.raises(CaptureError, match="16777200 bytes, but the file ends before"):
        read_capture(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20


def test_salvage_of_a_compressed_file_that_is_cut_off(tmp_path: Path) -> None:
    long = pcap(FRAMES * 2000, times_s=[START_S] * 40_000)
    for packed in (gzip.compress(long), zstandard.compress(long)):
        path = save(tmp_path / "cut", packed[: len(packed) * 3 // 4])
        with pytest.raises(CaptureError, match=r"cut: compressed data .* before it are good"):
            read_capture(path)
        packets, info = read_capture(path, salvage=True)
        assert 1000 < len(packets) < 40_000
        assert "compressed data" in info.skipped_reasons[0]


def test_a_short_compressed_file_that_is_cut_off_counts_its_good_records(tmp_path: Path) -> None:
    path = save(tmp_path / "cut.pcap.gz", gzip.compress(pcap(FRAMES))[:-8])  # without its sum
    with pytest.raises(CaptureError, match=rf"compressed data .*; {len(FRAMES)} records before it"):
        read_capture(path)
    assert read_capture(path, salvage=True)[1].frame_count == len(FRAMES)
