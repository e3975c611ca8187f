"""Files as they come: byte orders, time units, pcapng, compression, sets of files."""

import gzip
import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import zstandard
from capture_files import (
    MICROSECONDS,
    MODIFIED,
    NANOSECONDS,
    START_S,
    block,
    interface,
    packet,
    pcap,
    save,
    section,
)
from capture_oracles import OFFICE, needs_tshark, tshark_fields
from scapy.all import IP, UDP, Ether, PcapNgReader

from netsynth.capture import CaptureInfo, hash_capture, read_capture
from netsynth.capture.compressed import ZstdStream
from netsynth.errors import CaptureError
from netsynth.tables import PACKET_COLUMNS, PacketTable

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


def frame(number: int) -> bytes:
    return bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=number, dport=9) / b"hey")


FRAMES = [frame(number) for number in range(1, 6)]


def ports_and_times(packets: PacketTable) -> tuple[list[int], list[int]]:
    return packets.src_port.tolist(), (packets.time_ns - START_S * 10**9).tolist()


def same(first: PacketTable, second: PacketTable) -> bool:
    columns = [(getattr(first, name), getattr(second, name)) for name in PACKET_COLUMNS]
    equal = all(np.array_equal(a, b) for a, b in columns)
    return equal and np.array_equal(first.addresses, second.addresses)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("magic", "unit_ns"), [(MICROSECONDS, 1000), (NANOSECONDS, 1), (MODIFIED, 1000)]
)
def test_pcap_byte_orders_and_time_units(
    tmp_path: Path, order: str, magic: int, unit_ns: int
) -> None:
    data = pcap(FRAMES, order=order, magic=magic, fraction=123_456, cut=80)
    packets, info = read_capture(save(tmp_path / "a.pcap", data))
    times_ns = [k * 10**9 + 123_456 * unit_ns for k in range(5)]
    assert ports_and_times(packets) == ([1, 2, 3, 4, 5], times_ns)
    assert (info.format, info.time_resolution_ns, info.snap_length) == ("pcap", unit_ns, 80)
    assert (info.first_ns, info.last_ns) == (packets.time_ns[0], packets.time_ns[-1])
    assert info.wire_bytes == sum(map(len, FRAMES))


@pytest.mark.parametrize("order", ["<", ">"])
def test_pcapng_block_types(tmp_path: Path, order: str) -> None:
    data = section(order) + block(0xBAD, b"custom" * 100, order) + interface(order=order)
    data += packet(FRAMES[0], START_S * 10**6 + 5, order=order)
    data += block(4, b"\0" * 8, order)  # names
    old = struct.pack(order + "HHIIII", 0, 0, *divmod(START_S * 10**6 + 9, 1 << 32), 45, 45)
    data += block(2, old + FRAMES[1], order)
    data += block(3, struct.pack(order + "I", len(FRAMES[2])) + FRAMES[2], order)
    data += block(5, b"\0" * 12, order)  # statistics
    packets, info = read_capture(save(tmp_path / "a.pcapng", data))
    assert ports_and_times(packets) == ([1, 2, 3], [5000, 9000, 9000])
    assert (info.format, info.untimed_count, info.frame_count) == ("pcapng", 1, 3)


RESOLUTIONS = [(6, 10**6), (9, 10**9), (3, 10**3), (0, 1), (12, 10**12), (0x8A, 2**10)]
RESOLUTIONS += [(0xA0, 2**32), (0xA8, 2**40), (0x94, 2**20)]


@pytest.mark.parametrize(("code", "ticks"), RESOLUTIONS)
def test_pcapng_time_resolutions(tmp_path: Path, code: int, ticks: int) -> None:
    units = 1000 * ticks + 5 * ticks // 7
    data = section() + interface(resolution=code, offset_s=START_S) + packet(FRAMES[0], units)
    packets, info = read_capture(save(tmp_path / "a.pcapng", data))
    exact_ns = units * 10**9 // ticks + START_S * 10**9
    assert packets.time_ns.tolist() == [exact_ns]
    assert info.time_resolution_ns == max(1, 10**9 // ticks)


def test_pcapng_sections_each_with_their_interfaces(tmp_path: Path) -> None:
    """Byte order, numbering and resolution start anew with a section."""
    data = section("<") + interface(resolution=9) + packet(FRAMES[0], START_S * 10**9)
    data += section(">") + interface(228, order=">") + interface(order=">", resolution=3)
    data += packet(FRAMES[1], (START_S + 1) * 10**3, number=1, order=">")
    data += packet(FRAMES[2][14:], (START_S + 2) * 10**6, number=0, order=">")
    packets, info = read_capture(save(tmp_path / "a.pcapng", data))
    assert ports_and_times(packets) == ([1, 2, 3], [0, 10**9, 2 * 10**9])
    assert info.link_types == ("ETHERNET", "IPV4")
    assert info.time_resolution_ns == 1


def test_pcapng_blocks_longer_than_the_buffer_are_skipped(tmp_path: Path) -> None:
    long = block(0xBAD, b"x" * (3 << 20))
    data = section() + long + interface() + long + packet(FRAMES[0], START_S * 10**6) + long
    packets, _ = read_capture(save(tmp_path / "a.pcapng", data))
    assert packets.src_port.tolist() == [1]


def test_simple_packets_are_cut_by_their_interface(tmp_path: Path) -> None:
    simple = block(3, struct.pack("<I", 400) + FRAMES[0] + b"\0" * 23)
    data = section() + interface(snap_length=len(FRAMES[0])) + simple
    packets, info = read_capture(save(tmp_path / "a.pcapng", data))
    assert (packets.wire_length[0], info.truncated_count) == (400, 1)


def test_scapy_reads_the_same_from_pcapng(tmp_path: Path) -> None:
    data = section() + interface(resolution=9)
    data += b"".join(packet(f, (START_S + k) * 10**9 + k) for k, f in enumerate(FRAMES))
    path = save(tmp_path / "a.pcapng", data)
    with PcapNgReader(str(path)) as reader:
        theirs = [p[UDP].sport for p in reader]
    assert read_capture(path)[0].src_port.tolist() == theirs


@needs_tshark
@pytest.mark.parametrize("kind", ["pcap", "nsecpcap", "modpcap", "pcapng"])
def test_files_that_editcap_wrote(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "converted"
    subprocess.run(["editcap", "-F", kind, "-r", str(OFFICE), str(path), "1-3000"], check=True)
    packets, _ = read_capture(path)
    unit_ns = 1000 if kind in ("pcap", "modpcap") else 1
    whole = read_capture(OFFICE)[0]
    whole.time_ns[:] -= whole.time_ns % unit_ns
    part = whole.take(np.arange(len(packets)))
    assert same(packets, PacketTable(**{**columns(part), "addresses": packets.addresses}))
    times = tshark_fields(path, "frame.time_epoch", "eth.type")
    expected = [int(t.replace(".", "")) for t, kind_ in times if kind_ == "0x0800"]
    assert packets.time_ns.tolist() == expected


def columns(packets: PacketTable) -> dict[str, np.ndarray]:
    return {name: getattr(packets, name) for name in PACKET_COLUMNS}


def test_compressed_files_read_the_same(tmp_path: Path) -> None:
    data = OFFICE.read_bytes()
    plain, plain_info = read_capture(OFFICE)
    two_members = gzip.compress(data[:1_000_000], 1) + gzip.compress(data[1_000_000:], 1)
    frames = zstandard.compress(data[:999]) + zstandard.compress(data[999:])
    for name, packed in {"a.gz": two_members, "b": two_members, "c.zst": frames}.items():
        packets, info = read_capture(save(tmp_path / name, packed))
        assert same(packets, plain)
        assert info.frame_count == plain_info.frame_count


@pytest.mark.parametrize("has_isal", [True, False])
def test_gzip_is_read_with_isal_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_isal: bool
) -> None:
    if not has_isal:
        monkeypatch.setitem(sys.modules, "isal", None)  # as if it were not installed
    packed = gzip.compress(pcap(FRAMES), 1)
    packets, _ = read_capture(save(tmp_path / "whole.pcap.gz", packed))
    assert packets.src_port.tolist() == [1, 2, 3, 4, 5]
    broken = packed[:-8] + bytes(8)  # RFC 1952 section 2.3.1: CRC32 and size of the member
    with pytest.raises(CaptureError, match=r"compressed data are cut off or damaged"):
        read_capture(save(tmp_path / "broken.pcap.gz", broken))


@pytest.mark.parametrize("packer", [gzip.compress, zstandard.compress])
def test_damaged_compression_is_said(tmp_path: Path, packer: object) -> None:
    packed = packer(pcap(FRAMES * 100))  # type: ignore[operator]
    path = save(tmp_path / "cut.pcap.gz", packed[: len(packed) // 2])
    with pytest.raises(CaptureError, match=r"cut\.pcap\.gz: .*(compressed data|cut off|claims)"):
        read_capture(path)
    save(path, packed[:40] + b"\xff" * 40 + packed[80:])
    with pytest.raises(CaptureError, match=r"cut\.pcap\.gz: "):
        read_capture(path)


@pytest.mark.parametrize("cut", [20, 25, 26, 30, 1000, 500_000, 1_000_000])
def test_zstd_cut_off_inside_a_raw_block_is_said(tmp_path: Path, cut: int) -> None:
    noise = np.random.default_rng(3).bytes(1 << 20)  # does not compress: stored in raw blocks
    packed = zstandard.compress(noise)
    stream = ZstdStream(io.BytesIO(packed[:-cut]))  # type: ignore[arg-type]
    with pytest.raises((EOFError, zstandard.ZstdError)):
        io.BufferedReader(stream).read()
    whole = ZstdStream(io.BytesIO(packed))  # type: ignore[arg-type]
    assert io.BufferedReader(whole).read() == noise


def test_a_zstd_block_longer_than_the_file_gives_one_error(tmp_path: Path) -> None:
    data = pcap(FRAMES)
    head = b"\x28\xb5\x2f\xfd\x00\x40"  # RFC 8878 section 3.1.1.1: a window, no content size
    for more in range(1, 40):  # bytes of whatever is read behind the file
        block = ((len(data) + more) << 3).to_bytes(3, "little")  # section 3.1.1.2: raw, not last
        path = save(tmp_path / "long.zst", head + block + data)
        said = set()
        for _ in range(5):
            with pytest.raises(CaptureError) as caught:
                read_capture(path)
            said.add(str(caught.value))
        assert len(said) == 1, more


def test_what_came_before_a_cut_in_gzip_is_salvaged(tmp_path: Path) -> None:
    random = np.random.default_rng(1)  # so that it does not compress away
    frames = [frame + random.bytes(200) for frame in FRAMES * 300]
    packed = gzip.compress(pcap(frames))
    path = save(tmp_path / "cut.pcap.gz", packed[: len(packed) // 3])
    plain = zlib.decompressobj(31).decompress(packed[: len(packed) // 3])
    at, whole = 24, -1
    while at <= len(plain):
        whole += 1
        at += 16 + int.from_bytes(plain[at + 8 : at + 12].ljust(4, b"\xff"), "little")
    _, info = read_capture(path, salvage=True)
    assert info.frame_count == whole > 100
    with pytest.raises(CaptureError, match=rf"not complete.* {whole} records before it are good"):
        read_capture(path)
    save(path, packed + b"\0" * 512 + packed)  # padded, as on tape, and two members
    assert read_capture(path, salvage=True)[1].frame_count >= len(frames)


READ_STDIN = "from netsynth.capture import read_capture; p, i = read_capture('-'); print(len(p))"


def test_standard_input(tmp_path: Path) -> None:
    for data in (pcap(FRAMES), gzip.compress(pcap(FRAMES))):
        command = [sys.executable, "-c", READ_STDIN]
        result = subprocess.run(command, input=data, capture_output=True, check=True)
        assert result.stdout.split() == [b"5"]


def piece(path: Path, *numbers: int) -> Path:
    """Save a capture with packets of these numbers at as many seconds."""
    data = pcap([frame(n) for n in numbers], times_s=[START_S + n for n in numbers])
    return save(path, data)


def test_sets_of_files_in_order_of_time(tmp_path: Path) -> None:
    """Ten files of a rotation that began anew at number 0, as a ring buffer does."""
    for number in range(12):
        piece(tmp_path / f"trace.pcap{number}", 100 + (number + 7) % 12)
    (tmp_path / "notes.txt").write_text("no capture")
    expected = list(range(100, 112))
    for name in ("trace.pcap", "trace.pcap*", "."):
        packets, info = read_capture(tmp_path / name)
        assert packets.src_port.tolist() == expected
        assert len(info.paths) == 12
        assert info.out_of_order_count == 0
    several = [tmp_path / "trace.pcap3", str(tmp_path / "trace.pcap11"), tmp_path / "trace.pcap3"]
    assert read_capture(several)[0].src_port.tolist() == [106, 110]


def test_a_folder_takes_captures_of_every_name(tmp_path: Path) -> None:
    for number, name in enumerate(["a.pcap", "b.cap", "c.pcapng", "d.pcap.gz", "e.pcap.2"], 1):
        piece(tmp_path / name, number)
    assert len(read_capture(tmp_path)[0]) == 5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("absent.pcap", r"absent\.pcap: no such file"),
        ("*.pcap", r"\*\.pcap: matches no file"),
        ("", r"a folder without captures"),
    ],
)
def test_paths_without_captures(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(CaptureError, match=message):
        read_capture(tmp_path / name)
    with pytest.raises(CaptureError, match="no capture given"):
        read_capture([])


def test_packets_out_of_order_are_sorted_and_counted(tmp_path: Path) -> None:
    path = piece(tmp_path / "a.pcap", 5, 1, 4, 4, 6, 2)
    packets, info = read_capture(path)
    assert packets.src_port.tolist() == [1, 2, 4, 4, 5, 6]
    assert info.out_of_order_count == 4
    assert (info.first_ns, info.last_ns) == ((START_S + 1) * 10**9, (START_S + 6) * 10**9)


def test_captures_of_overlapping_files_are_merged(tmp_path: Path) -> None:
    paths = [piece(tmp_path / "a.pcap", 2, 4, 6), piece(tmp_path / "b.pcap", 1, 3, 5)]
    packets, info = read_capture(paths)
    assert packets.src_port.tolist() == [1, 2, 3, 4, 5, 6]
    assert [path.name for path in info.paths] == ["b.pcap", "a.pcap"]


def test_times_of_a_simulator_start_at_zero(tmp_path: Path) -> None:
    packets, info = read_capture(save(tmp_path / "a.pcap", pcap(FRAMES, times_s=range(5))))
    assert packets.time_ns.tolist() == [k * 10**9 for k in range(5)]
    assert info.first_ns == 0


def test_a_capture_without_packets_is_an_empty_table(tmp_path: Path) -> None:
    packets, info = read_capture(save(tmp_path / "a.pcap", pcap([])))
    assert (len(packets), info.frame_count, info.first_ns, info.last_ns) == (0, 0, 0, 0)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    data = pcap(FRAMES * 30_000)
    read_capture(save(tmp_path / "a.pcap", data), progress=lambda *now: seen.append(now))
    assert len(seen) >= 2
    assert seen == sorted(seen)
    assert seen[-1] == (len(data), len(data))


def test_hash_of_a_capture(tmp_path: Path) -> None:
    path = save(tmp_path / "a.pcap", b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert hash_capture(path) == expected
    with pytest.raises(CaptureError, match="read only once"):
        hash_capture("-")


def test_info_is_complete() -> None:
    _, info = read_capture(OFFICE)
    assert isinstance(info, CaptureInfo)
    assert info.frame_count == info.packet_count + info.non_ip_count == 45255
    assert info.non_ip_types == {"ARP": 148}
