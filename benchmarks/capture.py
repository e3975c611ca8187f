"""How fast captures are read and written, beside dpkt, scapy and the bare system calls.

    python benchmarks/capture.py                  # about five minutes, 1.5 GB of disk
    python benchmarks/capture.py --packets 4000000 --folder /data

Every figure is CPU time (user and system, all threads) of interleaved rounds: each round runs
everything once, so that a machine that slows down slows all of it. The fastest round counts, as
what others do on the machine only ever adds, most of it to whoever uses its caches; the median
stands beside, and the fastest round by the clock. Each ratio is given both ways: compressed formats
are decompressed in a thread beside, so that on an idle machine with two cores the clock shows less.
What is read has a million packets, so that what each capture costs once (20 MB of columns for its
chunks) does not count for much. dpkt and scapy get fewer packets, as they need more time for each.
Ratios, not times, carry over to other machines.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import struct
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import zstandard
from isal import isal_zlib
from scapy.all import ICMP, IP, TCP, UDP, Ether, PcapReader, PcapWriter, Raw

from netsynth.capture import CaptureWriter, iter_capture, read_capture
from netsynth.capture.columns import cut_table
from netsynth.demux import assemble_flows
from netsynth.demux.grouping import FlowNumbers, counting_sort
from netsynth.tables import PacketTable

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"
PIECE = 1 << 20
DPKT_SHARE, SCAPY_SHARE = 200, 1000  # they get one packet of as many


def packets_like_the_office(count: int) -> PacketTable:
    """Repeat the packets of the shipped capture, a microsecond apart."""
    packets, _ = read_capture(OFFICE)
    many = packets.take(np.arange(count) % len(packets))
    many.time_ns[:] = packets.time_ns[0] + np.arange(count) * 1000
    return many


def full_frames(packets: PacketTable) -> PacketTable:
    """Give every packet payload, so that frames have the 931 bytes of the reference."""
    head = np.where(packets.protocol == 6, 20, 8) + 34
    packets.payload_length[:] = 931 - head - np.where(packets.option_bits & 8, 12, 0)
    return packets


def bare_read(path: Path) -> None:
    """Read a file in pieces of a mebibyte and drop them."""
    piece = bytearray(PIECE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def bare_write(path: Path, size: int) -> None:
    """Write as many bytes in pieces of a mebibyte.

    They are random, as pages of zeros that nobody wrote to are one and the same in memory.
    """
    piece = os.urandom(PIECE)
    with open(path, "wb", buffering=0) as file:
        for _ in range(size // PIECE):
            file.write(piece)


def dpkt_read(path: Path) -> list[tuple[object, ...]]:
    """Decode frames and collect what a PacketTable holds of them, but for checksums."""
    rows = []
    with open(path, "rb") as file:
        for at, data in dpkt.pcap.Reader(file):
            packet = dpkt.ethernet.Ethernet(data).data
            if isinstance(packet, dpkt.ip.IP):
                row = (at, packet.src, packet.dst, packet.p, packet.ttl, packet.tos, packet.df)
                row += (packet.mf, packet.offset, packet.id, packet.len)
                segment = packet.data
                if isinstance(segment, dpkt.tcp.TCP):
                    row += (segment.sport, segment.dport, segment.seq, segment.ack)
                    row += (segment.flags, segment.win, segment.off)
                    row += tuple(dpkt.tcp.parse_opts(segment.opts))
                elif isinstance(segment, dpkt.udp.UDP):
                    row += (segment.sport, segment.dport, segment.ulen)
                rows.append(row)
    return rows


def scapy_read(path: Path) -> list[tuple[object, ...]]:
    """Collect the same."""
    rows = []
    with PcapReader(str(path)) as reader:
        for frame in reader:
            if IP in frame:
                ip = frame[IP]
                row = (frame.time, ip.src, ip.dst, ip.proto, ip.ttl, ip.tos, ip.flags, ip.frag)
                row += (ip.id, ip.len)
                if TCP in frame:
                    tcp = frame[TCP]
                    row += (tcp.sport, tcp.dport, tcp.seq, tcp.ack, tcp.flags, tcp.window)
                    row += (tcp.dataofs, tuple(tcp.options))
                elif UDP in frame:
                    row += (frame[UDP].sport, frame[UDP].dport, frame[UDP].len)
                rows.append(row)
    return rows


FILLER = os.urandom(1 << 16)
FIELDS = ("time_ns", "src", "dst", "src_port", "dst_port", "protocol", "ttl", "tos", "ip_id")
FIELDS += ("payload_length", "tcp_flags", "seq", "ack", "window", "option_bits")
FIELDS += ("mss", "window_scale", "ts_val", "ts_ecr", "icmp")


def rows_of(packets: PacketTable) -> Iterator[dict[str, int]]:
    """Yield packets as Python numbers, one by one."""
    columns = [getattr(packets, name).tolist() for name in FIELDS]
    for values in zip(*columns, strict=True):
        yield dict(zip(FIELDS, values, strict=True))


def dpkt_write(path: Path, packets: PacketTable) -> None:
    """Build the frames of a table and write them."""
    addresses = [address[12:].tobytes() for address in packets.addresses]
    with open(path, "wb") as file:
        writer = dpkt.pcap.Writer(file)
        for row in rows_of(packets):
            payload = FILLER[: row["payload_length"]]
            segment: object
            if row["protocol"] == 6:
                options = b""
                if row["option_bits"] & 8:
                    options = struct.pack(">HBBII", 0x0101, 8, 10, row["ts_val"], row["ts_ecr"])
                segment = dpkt.tcp.TCP(
                    sport=row["src_port"],
                    dport=row["dst_port"],
                    seq=row["seq"],
                    ack=row["ack"],
                    off=5 + len(options) // 4,
                    flags=row["tcp_flags"],
                    win=row["window"],
                    opts=options,
                    data=payload,
                )
            elif row["protocol"] == 17:
                segment = dpkt.udp.UDP(
                    sport=row["src_port"],
                    dport=row["dst_port"],
                    ulen=8 + len(payload),
                    data=payload,
                )
            else:
                segment = dpkt.icmp.ICMP(type=row["icmp"] >> 8, data=FILLER[:4] + payload)
            ip = dpkt.ip.IP(
                src=addresses[row["src"]],
                dst=addresses[row["dst"]],
                p=row["protocol"],
                ttl=row["ttl"],
                tos=row["tos"],
                id=row["ip_id"],
                data=segment,
            )
            ip.len = len(ip)
            frame = dpkt.ethernet.Ethernet(src=FILLER[:6], dst=FILLER[6:12], data=ip)
            writer.writepkt(frame, row["time_ns"] / 1e9)


def scapy_write(path: Path, packets: PacketTable) -> None:
    """Build the frames of a table and write them."""
    addresses = [".".join(map(str, address[12:].tolist())) for address in packets.addresses]
    with PcapWriter(str(path)) as writer:
        for row in rows_of(packets):
            segment: object
            if row["protocol"] == 6:
                stamps = (row["ts_val"], row["ts_ecr"])
                segment = TCP(
                    sport=row["src_port"],
                    dport=row["dst_port"],
                    seq=row["seq"],
                    ack=row["ack"],
                    flags=row["tcp_flags"],
                    window=row["window"],
                    options=[("Timestamp", stamps)] if row["option_bits"] & 8 else [],
                )
            elif row["protocol"] == 17:
                segment = UDP(sport=row["src_port"], dport=row["dst_port"])
            else:
                segment = ICMP(type=row["icmp"] >> 8)
            ip = IP(
                src=addresses[row["src"]],
                dst=addresses[row["dst"]],
                ttl=row["ttl"],
                tos=row["tos"],
                id=row["ip_id"],
            )
            ethernet = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
            frame = ethernet / ip / segment / Raw(FILLER[: row["payload_length"]])
            frame.time = row["time_ns"] / 1e9
            writer.write(frame)


def write(path: Path, packets: PacketTable, **settings: object) -> None:
    """Write a capture in chunks, as sampling does."""
    fill = settings.pop("fill", "random")
    with CaptureWriter(path, **settings) as writer:  # type: ignore[arg-type]
        for begin in range(0, len(packets), 1 << 17):
            chunk = cut_table(packets, begin, min(begin + (1 << 17), len(packets)))
            writer.write(chunk, fill=fill)  # type: ignore[arg-type]


def decompress_gzip(path: Path, module: Any) -> None:
    """Run zlib, or what has its form, alone over a file."""
    unpacker = module.decompressobj(31)
    with open(path, "rb") as file:
        while piece := file.read(1 << 18):
            unpacker.decompress(piece)


def decompress_zstd(path: Path) -> None:
    """Run zstd alone over a file."""
    piece = bytearray(PIECE)
    with (
        open(path, "rb") as file,
        zstandard.ZstdDecompressor().stream_reader(file, read_size=1 << 18) as reader,
    ):
        while reader.readinto(piece):
            pass


def consume(path: Path, **settings: object) -> None:
    """Read in chunks, keeping none."""
    for _ in iter_capture(path, **settings):  # type: ignore[arg-type]
        pass


Job = tuple[Callable[[], object], int]  # what to run, packets it handles


def reading_jobs(
    kind: str, folder: Path, packets: PacketTable, **settings: object
) -> dict[str, Job]:
    """Write captures to be read; name what reads them."""
    count = len(packets)
    whole, less, least = (folder / f"{kind}-{part}.pcap" for part in ("whole", "less", "least"))
    write(whole, packets, **settings)
    write(less, cut_table(packets, 0, count // DPKT_SHARE), **settings)
    write(least, cut_table(packets, 0, count // SCAPY_SHARE), **settings)
    return {
        "bare read": (lambda: bare_read(whole), count),
        "read_capture": (lambda: read_capture(whole), count),
        "iter_capture": (lambda: consume(whole), count),
        "iter_capture, numpy": (lambda: consume(whole, engine="numpy"), count),
        "dpkt": (lambda: dpkt_read(less), count // DPKT_SHARE),
        "scapy": (lambda: scapy_read(least), count // SCAPY_SHARE),
    }


def packed_jobs(folder: Path, packets: PacketTable) -> dict[str, Job]:
    """Write compressed captures to be read, and pcapng; name what reads them."""
    count = len(packets)
    plain, zipped, packed, blocks = (
        folder / f"packed.{ending}" for ending in ("pcap", "pcap.gz", "pcap.zst", "pcapng")
    )
    for path in (plain, zipped, packed, blocks):
        write(path, packets, snaplen=94)
    return {
        "zlib alone": (lambda: decompress_gzip(zipped, zlib), count),
        "ISA-L alone": (lambda: decompress_gzip(zipped, isal_zlib), count),
        "gzip": (lambda: consume(zipped), count),
        "zstd alone": (lambda: decompress_zstd(packed), count),
        "zstd": (lambda: consume(packed), count),
        "pcap": (lambda: consume(plain), count),
        "pcapng": (lambda: consume(blocks), count),
    }


def writing_jobs(folder: Path, packets: PacketTable, **settings: object) -> dict[str, Job]:
    """Name what writes full frames or headers."""
    count = len(packets)
    path = folder / "out.pcap"
    write(path, packets, **settings)
    size = path.stat().st_size
    jobs: dict[str, Job] = {
        "bare write": (lambda: bare_write(path, size), count),
        "random payload": (lambda: write(path, packets, **settings), count),
        "zero payload": (lambda: write(path, packets, fill="zero", **settings), count),
    }
    if "snaplen" not in settings:
        fewer = cut_table(packets, 0, count // DPKT_SHARE)
        fewest = cut_table(packets, 0, count // SCAPY_SHARE)
        jobs["dpkt"] = (lambda: dpkt_write(folder / "dpkt.pcap", fewer), len(fewer))
        jobs["scapy"] = (lambda: scapy_write(folder / "scapy.pcap", fewest), len(fewest))
    return jobs


def flow_jobs(packets: PacketTable) -> dict[str, Job]:
    """Name what puts packets into flows."""

    def group() -> None:
        numbers = FlowNumbers()
        flow = np.empty(len(packets), dtype=np.int32)
        numbers.number(packets, flow)
        counting_sort(flow, numbers.count, np.empty(len(packets), dtype=np.int32))

    return {
        "grouped and in order": (group, len(packets)),
        "assemble_flows": (lambda: assemble_flows(packets), len(packets)),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """Nanoseconds a packet: CPU time of the fastest round and the median one, and by the clock."""

    least_ns: float
    median_ns: float
    clock_ns: float


def measure(jobs: dict[str, Job], rounds: int) -> dict[str, Figure]:
    """Run every job once a round."""
    for job, _ in jobs.values():  # compile, and warm the page cache
        job()
    cpu_ns: dict[str, list[float]] = {name: [] for name in jobs}
    clock_ns: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, (job, count) in jobs.items():
            begun_ns, clock_begun_ns = time.process_time_ns(), time.perf_counter_ns()
            job()
            cpu_ns[name].append((time.process_time_ns() - begun_ns) / count)
            clock_ns[name].append((time.perf_counter_ns() - clock_begun_ns) / count)
    return {
        name: Figure(
            least_ns=min(values),
            median_ns=statistics.median(values),
            clock_ns=min(clock_ns[name]),
        )
        for name, values in cpu_ns.items()
    }


def machine() -> str:
    """Name the processor, its cores, the system and how busy it is."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        model = next((ln.split(":")[1].strip() for ln in lines if "model name" in ln), model)
    return (
        f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}"
    )


# Figure over figure, and its target: at least (+) or at most (-).
READ_TARGETS = {
    "headers": [
        ("read_capture", "bare read", -5.0),
        ("iter_capture", "bare read", -5.0),
        ("dpkt", "read_capture", 300.0),
        ("scapy", "read_capture", 4000.0),
        ("dpkt", "iter_capture, numpy", 15.0),
    ],
    "full": [
        ("read_capture", "bare read", -2.5),
        ("iter_capture", "bare read", -2.5),
        ("dpkt", "read_capture", 80.0),
        ("dpkt", "iter_capture, numpy", 15.0),
    ],
}
PACKED_TARGETS = [
    ("gzip", "zlib alone", -1.25),
    ("gzip", "ISA-L alone", -1.25),
    ("zstd", "zstd alone", -1.25),
    ("pcapng", "pcap", -1.5),
]
WRITE_TARGETS = {
    "headers": [("random payload", "bare write", -3.0), ("zero payload", "bare write", -3.0)],
    "full": [
        ("random payload", "bare write", -1.5),
        ("zero payload", "bare write", -1.5),
        ("dpkt", "random payload", 100.0),
        ("scapy", "random payload", 2000.0),
    ],
}


FLOW_NS = 50.0  # a packet, from table to flows


def show(title: str, found: dict[str, Figure], targets: list[tuple[str, str, float]]) -> None:
    """Print what was measured, and its ratios beside their targets."""
    print(f"\n{title}")
    for name, figure in found.items():
        print(
            f"  {name:24}{figure.least_ns:12,.1f} ns a packet {1e3 / figure.least_ns:12,.4f} M/s"
            f"   (median {figure.median_ns:,.1f} ns, by the clock {figure.clock_ns:,.1f} ns)"
        )
    for above, below, target in targets:
        word = "at least" if target > 0 else "at most"
        used = verdict(found[above].least_ns / found[below].least_ns, target)
        clock = verdict(found[above].clock_ns / found[below].clock_ns, target)
        print(
            f"  {above} / {below}, {word} {abs(target):,.2f}: "
            f"in CPU time {used}, by the clock {clock}"
        )
    sys.stdout.flush()


def verdict(ratio: float, target: float) -> str:
    """Say whether a ratio is at least `target`, or at most -`target` where that is negative."""
    is_met = ratio >= target if target > 0 else ratio <= -target
    return f"{ratio:,.2f} ({'met' if is_met else 'MISSED'})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--packets", type=int, default=1_000_000, help="a third of it for full frames written"
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=None, help="default: a temporary one")
    arguments = parser.parse_args()
    packets = packets_like_the_office(arguments.packets)
    full = full_frames(packets_like_the_office(arguments.packets))
    print(machine())
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        found = measure(reading_jobs("headers", folder, packets, snaplen=78), arguments.rounds)
        show("Reading headers (94-byte records)", found, READ_TARGETS["headers"])
        found = measure(reading_jobs("full", folder, full), arguments.rounds)
        show("Reading full frames (947-byte records)", found, READ_TARGETS["full"])
        found = measure(packed_jobs(folder, packets), arguments.rounds)
        show("Reading other formats, in chunks, headers", found, PACKED_TARGETS)
        found = measure(writing_jobs(folder, packets, snaplen=78), arguments.rounds)
        show("Writing headers (94-byte records)", found, WRITE_TARGETS["headers"])
        fewer = cut_table(full, 0, len(full) // 3)
        found = measure(writing_jobs(folder, fewer), arguments.rounds)
        show(
            "Writing full frames (947-byte records), valid checksums", found, WRITE_TARGETS["full"]
        )
    found = measure(flow_jobs(packets), arguments.rounds)
    show("Flow assembly", found, [])
    least_ns = found["assemble_flows"].least_ns
    print(f"  assemble_flows, at most {FLOW_NS:,.0f} ns: {verdict(least_ns, -FLOW_NS)}")


if __name__ == "__main__":
    main()
