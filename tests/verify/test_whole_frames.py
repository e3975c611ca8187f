"""Cut frames get their length back, as dpkt reads it."""

import struct
from pathlib import Path

import dpkt
import pytest

from netsynth.analysers import fill_frames

FRAMES = [(b"abcd", 4), (b"efg", 7), (b"", 2)]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("magic", [0xA1B2C3D4, 0xA1B23C4D])
def test_frames_are_as_long_as_on_the_wire(order: str, magic: int, tmp_path: Path) -> None:
    path, filled = tmp_path / "cut.pcap", tmp_path / "filled.pcap"
    data = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 4, 1)
    for second, (kept, length) in enumerate(FRAMES):
        data += struct.pack(f"{order}IIII", second, 5, len(kept), length) + kept
    path.write_bytes(data + data[-10:])  # and a record that ends early
    assert fill_frames(path, filled)
    with filled.open("rb") as file:
        read = list(dpkt.pcap.Reader(file))
    assert [frame for _, frame in read] == [b"abcd", b"efg\0\0\0\0", b"\0\0"]
    assert [int(time) for time, _ in read] == [0, 1, 2]


def test_other_formats_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "some.pcapng"
    path.write_bytes(bytes.fromhex("0a0d0d0a") + bytes(40))
    assert not fill_frames(path, tmp_path / "filled.pcap")
    assert not (tmp_path / "filled.pcap").exists()
