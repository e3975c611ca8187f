"""What is written, as scapy, dpkt, tshark and our own reader see it."""

import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import dpkt
import numpy as np
import pytest
from capture_oracles import NAMES, OFFICE, dpkt_rows, needs_tshark, rows_of, tshark, tshark_fields
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.all import IP, SCTP, TCP, Ether, ICMPv6EchoRequest, IPv6

from netsynth.capture import CaptureWriter, read_capture
from netsynth.errors import CaptureError, ConfigError, TableError
from netsynth.tables import NO_WINDOW_SCALE, PACKET_COLUMNS, PacketTable

START_NS = 1_700_000_000 * 10**9
ADDRESSES = np.array(
    [
        [*[0] * 10, 255, 255, 10, 0, 0, 1],
        [*[0] * 10, 255, 255, 192, 168, 7, 9],
        [*[0] * 10, 255, 255, 239, 129, 2, 3],
        [*[0] * 10, 255, 255, 255, 255, 255, 255],
        [0x20, 1, 0x0D, 0xB8, *[0] * 11, 1],
        [0x20, 1, 0x0D, 0xB8, *range(12)],
        [0xFF, 2, *[0] * 11, 1, 2, 3],
    ],
    dtype=np.uint8,
)


def packets_of(count: int, **columns: object) -> PacketTable:
    """Build a table of packets a millisecond apart, from 10.0.0.1 to 192.168.7.9."""
    table = PacketTable.zeros(count, ADDRESSES)
    table.time_ns[:] = START_NS + np.arange(count) * 10**6
    table.ip_version[:] = 4
    table.dst[:] = 1
    table.ttl[:] = 64
    for name, values in columns.items():
        getattr(table, name)[:] = values
    return table


def random_packets(seed: int, count: int) -> PacketTable:
    """Draw packets of all protocols, versions, options and lengths."""
    random = np.random.default_rng(seed)
    table = packets_of(count)
    for name, dtype in PACKET_COLUMNS.items():
        if name in ("seq", "ack", "ts_val", "ts_ecr", "window", "mss", "ip_id", "tos", "tcp_flags"):
            getattr(table, name)[:] = random.integers(0, np.iinfo(dtype).max + 1, count)
    table.src_port[:] = random.integers(49152, 65536, count)
    table.dst_port[:] = random.integers(49152, 65536, count)
    table.ttl[:] = random.integers(1, 256, count)
    table.tcp_flags[:] &= 0xDF  # URG needs a pointer, which no column holds
    table.protocol[:] = random.choice([6, 6, 6, 17, 17, 1], count)
    table.ip_version[:] = random.choice([4, 6], count)
    table.src[:] = np.where(table.ip_version == 4, random.integers(0, 2, count), 4)
    table.dst[:] = np.where(table.ip_version == 4, random.integers(0, 4, count), 5)
    table.protocol[(table.protocol == 1) & (table.ip_version == 6)] = 58
    table.icmp[:] = np.where(table.protocol == 58, 128 << 8, 8 << 8)
    table.option_bits[:] = random.integers(0, 16, count)
    table.option_bits[table.protocol != 6] = 0
    table.window_scale[:] = np.where(table.option_bits & 2, random.integers(0, 15, count), 255)
    table.vlan[:] = np.where(random.random(count) < 0.2, random.integers(1, 4095, count), 0)
    table.payload_length[:] = random.choice([0, 1, 2, 3, 7, 100, 1448, 9000, 65000], count)
    table.ip_flags[:] = np.where(table.ip_version == 4, random.choice([0, 2], count), 0)
    return table


def expected_rows(table: PacketTable) -> list[dict[str, object]]:
    """What a reader must see of `random_packets`: columns that frames cannot hold are 0."""
    tcp, icmp = table.protocol == 6, (table.protocol == 1) | (table.protocol == 58)
    clean = table.take(np.arange(len(table)))
    for name in ("ack", "window", "tcp_flags"):
        getattr(clean, name)[~tcp] = 0
    clean.seq[~tcp & ~icmp] = 0
    clean.src_port[icmp] = clean.dst_port[icmp] = 0
    clean.icmp[~icmp] = 0
    clean.ip_id[table.ip_version == 6] = 0
    bits = table.option_bits
    clean.mss[bits & 1 == 0] = 0
    clean.ts_val[bits & 8 == 0] = clean.ts_ecr[bits & 8 == 0] = 0
    options = np.where(bits & 1, 4, 0) + np.where(bits & 8, 12, np.where(bits & 4, 4, 0))
    header = np.where(tcp, 20 + options + np.where(bits & 2, 4, 0), 8)
    network = np.where(table.ip_version == 4, 20, 40)
    clean.ip_length[:] = network + header + table.payload_length
    clean.wire_length[:] = clean.ip_length + np.where(table.vlan, 18, 14)
    return rows_of(clean, NAMES)


def test_every_column_comes_back_through_dpkt_and_ourselves(tmp_path: Path) -> None:
    table = random_packets(1, 2000)
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(table)
    expected = expected_rows(table)
    assert dpkt_rows(tmp_path / "a.pcap") == expected
    packets, info = read_capture(tmp_path / "a.pcap")
    assert rows_of(packets, NAMES) == expected
    assert not packets.checksums.any()
    assert (info.format, info.time_resolution_ns, info.link_types) == ("pcap", 1, ("ETHERNET",))


SUFFIXES = ["pcap", "pcapng", "pcap.gz", "pcap.zst", "pcapng.gz", "pcapng.zst"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("unit_ns", [1, 1000])
def test_formats_by_ending(tmp_path: Path, suffix: str, unit_ns: int) -> None:
    table = random_packets(2, 100)
    table.time_ns[:] += 123
    path = tmp_path / f"a.{suffix}"
    with CaptureWriter(path, time_resolution_ns=unit_ns) as writer:
        writer.write(table)
    packets, info = read_capture(path)
    assert packets.time_ns.tolist() == (table.time_ns - table.time_ns % unit_ns).tolist()
    assert info.format == suffix.split(".")[0]
    assert info.time_resolution_ns == unit_ns
    assert not packets.checksums.any()


BAD = "tcp.checksum.status==0 || udp.checksum.status==0 || ip.checksum.status==0"
BAD += " || icmp.checksum.status==0 || icmpv6.checksum.status==0 || _ws.malformed"


@needs_tshark
@pytest.mark.parametrize("suffix", ["pcap", "pcapng.gz"])
def test_tshark_finds_nothing_wrong(tmp_path: Path, suffix: str) -> None:
    table = random_packets(3, 3000)
    path = tmp_path / f"a.{suffix}"
    zeros = {"prefix": np.zeros(12, dtype=np.uint8), "prefix_start": np.zeros(3000, dtype=np.int64)}
    with CaptureWriter(path) as writer:  # tshark takes some random datagrams for RTCP and the like
        writer.write(table, prefix_length=np.full(3000, 12), **zeros)
    assert tshark(path, "-Y", BAD) == []
    names = ["frame.len", "ip.len", "tcp.len", "tcp.seq", "udp.length", "tcp.options.mss_val"]
    fields = tshark_fields(path, *names)
    expected = expected_rows(table)
    assert [int(row[0]) for row in fields] == [row["wire_length"] for row in expected]
    for row, ours in zip(fields, expected, strict=True):
        assert row[2] == (str(ours["payload_length"]) if ours["protocol"] == 6 else "")
        assert row[3] == (str(ours["seq"]) if ours["protocol"] == 6 else "")


def test_scapy_computes_the_same_checksums(tmp_path: Path) -> None:
    """Scapy fills in lengths and checksums of its own where they are deleted."""
    table = random_packets(4, 200)
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(table)
    for data in frames(tmp_path / "a.pcap"):
        frame = Ether(data)
        for layer in frame.layers():
            for name in ("chksum", "cksum", "len", "plen"):
                if name in [field.name for field in layer.fields_desc]:
                    frame[layer].delfieldval(name)
        assert bytes(frame) == data


def frames(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [bytes(data) for _, data in dpkt.pcap.Reader(file)]


def written(path: Path, table: PacketTable, **arguments: object) -> list[bytes]:
    with CaptureWriter(path) as writer:
        writer.write(table, **arguments)  # type: ignore[arg-type]
    return frames(path)


ORDERS = {
    0b1111: [2, 4, 8, 1, 3],  # MSS, SACK permitted, timestamps, NOP, window scale: Linux
    0b0111: [2, 1, 1, 4, 1, 3],
    0b1011: [2, 1, 1, 8, 1, 3],
    0b0011: [2, 1, 3],
    0b0001: [2],
    0b1000: [1, 1, 8],
    0b0000: [],
}


@pytest.mark.parametrize("bits", ORDERS)
def test_options_in_the_order_of_real_stacks(tmp_path: Path, bits: int) -> None:
    table = packets_of(1, protocol=6, tcp_flags=2, option_bits=bits, mss=1460, window_scale=7)
    (frame,) = written(tmp_path / "a.pcap", table)
    options = dpkt.ethernet.Ethernet(frame).data.data.opts
    assert [kind for kind, _ in dpkt.tcp.parse_opts(options)] == ORDERS[bits]
    assert len(options) % 4 == 0


@pytest.mark.parametrize("engine", ["numba", "numpy"])
@pytest.mark.parametrize(("bits", "blocks"), [(16, 4), (16, 1), (24, 3), (24, 0)])
def test_sack_blocks_stand_behind_the_other_options(
    tmp_path: Path, engine: str, bits: int, blocks: int
) -> None:
    edges = [edge for k in range(blocks) for edge in (4000 + 100 * k, 4050 + 100 * k)]
    option = struct.pack(f">4B{2 * blocks}I", 1, 1, 5, 2 + 8 * blocks, *edges) if blocks else b""
    table = packets_of(2, protocol=6, tcp_flags=16, option_bits=bits, ack=3000, ts_val=7)
    table.option_bits[1] &= 8
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, engine=engine) as writer:  # type: ignore[arg-type]
        writer.write(
            table,
            prefix=np.frombuffer(b"..." + option, dtype=np.uint8),
            prefix_start=np.array([3, 0]),
            prefix_length=np.array([len(option), 0]),
        )
    packet = Ether(frames(path)[0])
    found = [tuple(value) for name, value in packet[TCP].options if name == "SAck"]
    assert found == ([tuple(edges)] if blocks else [])
    assert [name for name, _ in packet[TCP].options][:3] != ["SAck"]
    assert packet[TCP].dataofs * 4 == 20 + (12 if bits & 8 else 0) + len(option)
    assert not bytes(packet[TCP].payload)
    assert packet[IP].len == len(frames(path)[0]) - 14
    assert not read_capture(path)[0].checksums.any()


def test_window_scale_stays_within_rfc_7323(tmp_path: Path) -> None:
    table = packets_of(1, protocol=6, option_bits=2, window_scale=NO_WINDOW_SCALE)
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(table)
    assert read_capture(tmp_path / "a.pcap")[0].window_scale.tolist() == [14]


def test_mac_addresses(tmp_path: Path) -> None:
    table = packets_of(6, protocol=17)
    table.dst[:] = [1, 2, 3, 5, 6, 1]
    table.src[:] = [0, 0, 0, 4, 4, 0]
    table.ip_version[3:5] = 6
    with CaptureWriter(tmp_path / "a.pcap", mac_key=7) as writer:
        writer.write(table)
    first = frames(tmp_path / "a.pcap")
    targets, sources = [f[:6] for f in first], [f[6:12] for f in first]
    assert targets[1] == bytes.fromhex("01005e010203")  # RFC 1112 section 6.4: 23 bits
    assert targets[2] == b"\xff" * 6
    assert targets[4] == bytes.fromhex("333300010203")  # RFC 2464 section 7
    own = {sources[0], sources[3], targets[0], targets[3]}
    assert len(own) == 4
    assert {mac[0] for mac in own} == {2}
    assert sources[0] == sources[1] == sources[5]
    assert targets[0] == targets[5]
    with CaptureWriter(tmp_path / "b.pcap", mac_key=8) as writer:
        writer.write(table)
    assert not own & {f[6:12] for f in frames(tmp_path / "b.pcap")}


def test_a_retransmission_repeats_its_bytes(tmp_path: Path) -> None:
    table = packets_of(4, protocol=6, src_port=5, dst_port=6, payload_length=1000)
    table.seq[:] = [1000, 1500, 1000, 1000]
    table.src_port[3] = 7
    payloads = [frame[54:] for frame in written(tmp_path / "a.pcap", table)]
    assert payloads[0] == payloads[2] != payloads[3]
    assert payloads[0][500:] == payloads[1][:500]
    assert len(set(payloads[0])) > 200
    again = [frame[54:] for frame in written(tmp_path / "b.pcap", table, fill_seed=1)]
    assert again[0] != payloads[0]


def test_an_echo_reply_repeats_its_request(tmp_path: Path) -> None:
    table = packets_of(3, protocol=1, payload_length=56, seq=[5, 5, 6], icmp=[8 << 8, 0, 8 << 8])
    table.src[1], table.dst[1] = 1, 0
    payloads = [frame[42:] for frame in written(tmp_path / "a.pcap", table)]
    assert payloads[0] == payloads[1] != payloads[2]


def test_prefixes_go_before_the_filler(tmp_path: Path) -> None:
    prefix = np.frombuffer(b"GET / HTTP/1.1ABC", dtype=np.uint8)
    table = packets_of(4, protocol=[6, 17, 6, 6], payload_length=[20, 3, 0, 101], seq=77)
    start, length = np.array([0, 14, 0, 1]), np.array([14, 3, 14, 13])
    arguments = {"prefix": prefix, "prefix_start": start, "prefix_length": length}
    whole = written(tmp_path / "a.pcap", table, **arguments)
    payloads = [dpkt.ethernet.Ethernet(frame).data.data.data for frame in whole]
    plain = [f[54:] for f in written(tmp_path / "b.pcap", table.take(np.array([0])))]
    assert payloads[0] == b"GET / HTTP/1.1" + plain[0][14:]
    assert payloads[1:3] == [b"ABC", b""]
    assert payloads[3].startswith(b"ET / HTTP/1.1")
    packets, _ = read_capture(tmp_path / "a.pcap")
    assert not packets.checksums.any()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 2**32),
    fill=st.sampled_from(["random", "zero"]),
    snaplen=st.one_of(st.none(), st.integers(1, 2000)),
)
def test_checksums_are_right_whatever_is_written(
    tmp_path: Path, seed: int, fill: str, snaplen: int | None
) -> None:
    table = random_packets(seed, 30)
    random = np.random.default_rng(seed)
    prefix = np.frombuffer(random.bytes(500), dtype=np.uint8)
    length = random.integers(0, 50, 30)
    start = random.integers(0, 450, 30)
    for path, limit in ((tmp_path / "whole.pcap", None), (tmp_path / "cut.pcap", snaplen)):
        with CaptureWriter(path, snaplen=limit) as writer:
            writer.write(
                table,
                prefix=prefix,
                prefix_start=start,
                prefix_length=length,
                fill=fill,  # type: ignore[arg-type]
                fill_seed=seed,
            )
    packets, _ = read_capture(tmp_path / "whole.pcap")
    assert not packets.checksums.any()
    for frame, cut in zip(
        frames(tmp_path / "whole.pcap"), frames(tmp_path / "cut.pcap"), strict=True
    ):
        assert cut == frame[:snaplen]


@pytest.mark.parametrize("snaplen", [None, 20, 60, 200])
@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_both_engines_write_the_same_bytes(
    tmp_path: Path, suffix: str, snaplen: int | None
) -> None:
    table = random_packets(6, 2000)
    table.protocol[::97] = 132
    table.ip_flags[::31] = 1
    table.ip_flags[::53] = 4
    random = np.random.default_rng(6)
    prefix = np.frombuffer(random.bytes(500), dtype=np.uint8)
    start, length = random.integers(0, 450, (2, 2000)) // np.array([[1], [9]])
    for engine in ("numba", "numpy"):
        path = tmp_path / f"{engine}.{suffix}"
        with CaptureWriter(path, snaplen=snaplen, mac_key=5, engine=engine) as writer:  # type: ignore[arg-type]
            writer.write(table, prefix=prefix, prefix_start=start, prefix_length=length)
            later = table.take(np.arange(2000))
            later.time_ns[:] += 10**12
            writer.write(later, fill="zero", fill_seed=9)
    ours, theirs = ((tmp_path / f"{e}.{suffix}").read_bytes() for e in ("numba", "numpy"))
    assert ours == theirs


@pytest.mark.parametrize("engine", ["numba", "numpy"])
def test_a_message_of_zeros_has_a_checksum_of_ones(tmp_path: Path, engine: str) -> None:
    """RFC 1071 section 1: the complement of a sum of 0."""
    table = packets_of(1, protocol=1, payload_length=7)
    path = tmp_path / "a.pcap"
    with CaptureWriter(path, engine=engine) as writer:  # type: ignore[arg-type]
        writer.write(table, fill="zero")
    assert frames(path)[0][36:38] == b"\xff\xff"


def test_snaplen_keeps_the_length_on_the_wire(tmp_path: Path) -> None:
    table = packets_of(1, protocol=17, payload_length=1000)
    with CaptureWriter(tmp_path / "a.pcap", snaplen=60) as writer:
        writer.write(table)
    packets, info = read_capture(tmp_path / "a.pcap")
    assert (packets.wire_length[0], packets.payload_length[0]) == (1042, 1000)
    assert (info.truncated_count, info.snap_length) == (1, 60)


@needs_tshark
def test_fragments_and_other_protocols(tmp_path: Path) -> None:
    table = packets_of(8, payload_length=1480)
    table.protocol[:] = [17, 17, 17, 17, 50, 50, 132, 47]
    table.ip_version[2:4] = table.ip_version[5] = 6
    table.src[2:4], table.dst[2:4], table.src[5], table.dst[5] = 4, 5, 4, 5
    table.ip_flags[:4] = [1, 4, 1, 4]
    table.payload_length[[0, 2]] = 1472
    table.payload_length[6] = 16
    table.ip_id[:] = 99
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(table, fill="zero")
    packets, info = read_capture(tmp_path / "a.pcap")
    assert packets.ip_flags.tolist() == [1, 4, 1, 4, 0, 0, 0, 0]
    assert packets.protocol.tolist() == table.protocol.tolist()
    assert packets.payload_length.tolist() == table.payload_length.tolist()
    assert info.bad_ip_checksum_count == 0
    fields = tshark_fields(tmp_path / "a.pcap", "ip.frag_offset", "ipv6.fraghdr.offset")
    assert [row[0] for row in fields[:2]] == ["0", "185"]
    assert [row[1] for row in fields[2:4]] == ["0", "185"]


def test_sctp_has_its_crc(tmp_path: Path) -> None:
    table = packets_of(1, protocol=132, src_port=2905, dst_port=2906, payload_length=64)
    (frame,) = written(tmp_path / "a.pcap", table)
    packet = Ether(frame)
    right = packet[SCTP].chksum
    packet[SCTP].delfieldval("chksum")
    assert SCTP(bytes(packet[SCTP])).chksum == right
    assert (packet[SCTP].sport, packet[SCTP].dport) == (2905, 2906)


def test_payloads_too_long_for_ip_are_shortened(tmp_path: Path) -> None:
    table = packets_of(3, protocol=[6, 17, 17], payload_length=65535)
    table.ip_version[2], table.src[2], table.dst[2] = 6, 4, 5
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(table)
    packets, _ = read_capture(tmp_path / "a.pcap")
    assert packets.ip_length.tolist() == [65535, 65535, 65535]
    assert packets.payload_length.tolist() == [65495, 65507, 65527]
    assert not packets.checksums.any()


def test_many_writes_make_one_stream(tmp_path: Path) -> None:
    table = random_packets(5, 1000)
    whole = written(tmp_path / "a.pcap", table)
    with CaptureWriter(tmp_path / "b.pcap") as writer:
        for begin in range(0, 1000, 37):
            writer.write(table.take(np.arange(begin, min(begin + 37, 1000))))
        writer.write(table.take(np.arange(0)))
    assert frames(tmp_path / "b.pcap") == whole
    assert (tmp_path / "a.pcap").read_bytes() == (tmp_path / "b.pcap").read_bytes()


def test_the_office_written_again_has_the_same_packets(tmp_path: Path) -> None:
    packets, _ = read_capture(OFFICE)
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        writer.write(packets)
    again, info = read_capture(tmp_path / "a.pcap")
    without_sack = packets.option_bits & 16 == 0
    for name in NAMES:
        if name in ("src", "dst"):
            continue
        assert (getattr(again, name) == getattr(packets, name))[without_sack].all(), name
    assert (info.bad_ip_checksum_count, info.bad_l4_checksum_count) == (0, 0)
    assert info.unknown_l4_checksum_count == 0


def test_a_file_appears_only_when_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(b"old")
    writer = CaptureWriter(path)
    with writer:
        writer.write(packets_of(10, protocol=17))
        assert path.read_bytes() == b"old"
    assert len(frames(path)) == 10
    path.write_bytes(b"old")
    with pytest.raises(TableError), writer:
        writer.write(packets_of(10, protocol=17, dst=99))
    assert [p.name for p in tmp_path.iterdir()] == ["a.pcap"]
    assert path.read_bytes() == b"old"
    with CaptureWriter(path) as writer:
        writer.write(packets_of(10, protocol=17))
    assert len(frames(path)) == 10
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_no_device_or_pipe_is_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.pcap"
    os.mkfifo(pipe)
    message = r"pipe\.pcap is no ordinary file; write to - "
    with pytest.raises(CaptureError, match=message), CaptureWriter(pipe):
        pass
    assert pipe.is_fifo()


def test_unwritable_paths_and_a_full_disk(tmp_path: Path) -> None:
    with (
        pytest.raises(CaptureError, match=r"a\.pcap: cannot be written \(No such file"),
        CaptureWriter(tmp_path / "no" / "a.pcap"),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


SMALL_FILES = """
import resource, signal, sys
import numpy as np
from netsynth.capture import CaptureWriter, read_capture
packets, _ = read_capture(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
with CaptureWriter(sys.argv[2]) as writer:
    writer.write(packets)
"""


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    """The limit on a file's size stands in for a full disk, which a test cannot have."""
    command = [sys.executable, "-c", SMALL_FILES, str(OFFICE), str(tmp_path / "a.pcap")]
    result = subprocess.run(command, capture_output=True, text=True)
    said = result.stderr.splitlines()[-1]
    assert re.search(r"CaptureError: .*a\.pcap: cannot be written \(File too large\)", said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk() -> None:
    """/dev/full is one; as standard output, since a capture is not written over a device."""
    with open("/dev/full", "wb") as full:
        result = subprocess.run(
            [sys.executable, "-c", STREAM, str(OFFICE), "1"], stdout=full, stderr=subprocess.PIPE
        )
    assert result.stderr == b"standard output: the disk is full; free space or write elsewhere\n"


STREAM = """
import numpy as np, sys
from netsynth.capture import CaptureWriter, read_capture
from netsynth.errors import CaptureError
packets, _ = read_capture(sys.argv[1])
try:
    with CaptureWriter("-") as writer:
        for _ in range(int(sys.argv[2])):
            writer.write(packets)
            packets.time_ns[:] += 10**12
except CaptureError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""


@needs_tshark
def test_standard_output_into_another_program() -> None:
    command = [sys.executable, "-c", STREAM, str(OFFICE), "1"]
    count = ["tshark", "-n", "-r", "-", "-T", "fields", "-e", "frame.number"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        result = subprocess.run(count, stdin=writer.stdout, capture_output=True, check=True)
    assert writer.returncode == 0
    assert len(result.stdout.split()) == 45107


def test_the_reader_of_a_pipe_ends() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STREAM, str(OFFICE), "50"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert struct.unpack("<I", process.stdout.read(4)) == (0xA1B23C4D,)
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 3
    assert said == b"standard output: the program that read it has ended\n"


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    good = packets_of(3, protocol=17)
    with CaptureWriter(tmp_path / "a.pcap") as writer:
        backwards = good.take(np.array([1, 0, 2]))
        with pytest.raises(TableError, match="row 1 is before the one before it"):
            writer.write(backwards)
        writer.write(good)
        with pytest.raises(TableError, match="row 0 is before"):
            writer.write(good)
        late = packets_of(1, protocol=17, time_ns=2**32 * 10**9)
        with pytest.raises(TableError, match="2106"):
            writer.write(late)
        with pytest.raises(TableError, match="rows of the 7 addresses"):
            writer.write(packets_of(1, time_ns=START_NS + 10**9, dst=7))
        with pytest.raises(ConfigError, match="fill is 'noise'"):
            writer.write(good, fill="noise")  # type: ignore[arg-type]
        ones = np.ones(3, dtype=np.int64)
        for start, length in ((ones, None), (ones[:2], ones), (ones, ones * 5), (-ones, ones)):
            with pytest.raises(TableError, match="prefix"):
                writer.write(
                    packets_of(3, time_ns=START_NS + 10**9),
                    prefix=np.zeros(4, dtype=np.uint8),
                    prefix_start=start,
                    prefix_length=length,
                )
        told = packets_of(1, protocol=6, option_bits=24, time_ns=START_NS + 10**9)
        for length in (36, 10):
            with pytest.raises(TableError, match=f"SACK blocks of {length} bytes"):
                writer.write(
                    told,
                    prefix=np.zeros(40, dtype=np.uint8),
                    prefix_start=np.zeros(1, dtype=np.int64),
                    prefix_length=np.full(1, length, dtype=np.int64),
                )
    assert len(frames(tmp_path / "a.pcap")) == 3
    for arguments in ({"time_resolution_ns": 10}, {"snaplen": 0}, {"snaplen": 1 << 19}):
        with pytest.raises(ConfigError):
            CaptureWriter(tmp_path / "b.pcap", **arguments)  # type: ignore[arg-type]


def test_ipv6_and_icmpv6_as_scapy_builds_them(tmp_path: Path) -> None:
    table = packets_of(1, protocol=58, ip_version=6, src=4, dst=5, icmp=128 << 8, seq=0x10002)
    (frame,) = written(tmp_path / "a.pcap", table)
    source, target = Ether(frame)[IPv6].src, Ether(frame)[IPv6].dst
    expected = IPv6(src=source, dst=target, hlim=64) / ICMPv6EchoRequest(id=1, seq=2)
    assert frame[14:] == bytes(expected)
    table = packets_of(1, protocol=6, ip_id=3, src_port=1, dst_port=2, tcp_flags=0x12, window=9)
    (frame,) = written(tmp_path / "b.pcap", table)
    four = IP(src="10.0.0.1", dst="192.168.7.9", id=3) / TCP(sport=1, dport=2, flags="SA", window=9)
    assert frame[14:] == bytes(four)


def test_flow_labels_belong_to_a_direction_of_a_flow(tmp_path: Path) -> None:
    """RFC 6437 section 2: one label for the packets of a flow; section 3: spread evenly."""
    ports = np.repeat(np.arange(1000, 1500), 2)
    table = packets_of(
        1000, protocol=17, ip_version=6, src=4, dst=5, src_port=ports, dst_port=53, tos=0x12
    )
    packets = [Ether(frame)[IPv6] for frame in written(tmp_path / "a.pcap", table)]
    labels = [packet.fl for packet in packets]
    assert labels[::2] == labels[1::2]
    assert len(set(labels)) > 495  # of 500 among 2**20
    assert {packet.tc for packet in packets} == {0x12}
    other = packets_of(1, protocol=17, ip_version=6, src=5, dst=4, src_port=53, dst_port=1000)
    (frame,) = written(tmp_path / "b.pcap", other)
    assert Ether(frame)[IPv6].fl != labels[0]
