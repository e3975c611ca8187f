"""Real captures and every generated one, field by field, as tshark and scapy read them."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from capture_corpus import FRAMES, corpus
from capture_files import save
from capture_oracles import captures, needs_tshark, text_of, tshark_fields
from scapy.all import ICMP, IP, TCP, UDP, Ether, IPv6, RawPcapReader
from scapy.layers.inet6 import IPv6ExtHdrFragment
from scapy.packet import Packet

from netsynth.capture import read_capture
from netsynth.tables import IP_FRAGMENT, PacketTable

CORPUS = corpus()
# tshark's field, our column of it, and the protocol whose packets alone it says something of.
FIELDS: list[tuple[str, str, int | None]] = [
    ("frame.len", "wire_length", None),
    ("ip.len", "ip_length", 4),
    ("ip.ttl", "ttl", 4),
    ("ip.proto", "protocol", 4),
    ("ip.dsfield", "tos", 4),
    ("ip.id", "ip_id", 4),
    ("ip.src", "src", 4),
    ("ip.dst", "dst", 4),
    ("ipv6.hlim", "ttl", -6),
    ("ipv6.tclass", "tos", -6),
    ("ipv6.src", "src", -6),
    ("ipv6.dst", "dst", -6),
    ("tcp.srcport", "src_port", 6),
    ("tcp.dstport", "dst_port", 6),
    ("tcp.seq", "seq", 6),
    ("tcp.ack", "ack", 6),
    ("tcp.flags", "tcp_flags", 6),
    ("tcp.window_size_value", "window", 6),
    ("tcp.len", "payload_length", 6),
    ("tcp.options.mss_val", "mss", 6),
    ("tcp.options.wscale.shift", "window_scale", 6),
    ("tcp.options.timestamp.tsval", "ts_val", 6),
    ("tcp.options.timestamp.tsecr", "ts_ecr", 6),
    ("udp.srcport", "src_port", 17),
    ("udp.dstport", "dst_port", 17),
    ("udp.length", "payload_length", 17),
    ("sctp.srcport", "src_port", 132),
    ("sctp.dstport", "dst_port", 132),
    ("icmp.type", "icmp", 1),
    ("icmpv6.type", "icmp", 58),
]


def number(text: str) -> int:
    return int(text, 16) if text.startswith("0x") else int(text)


OTHERS = ("frame.protocols", "frame.time_epoch", "ipv6.plen", "ieee8021ad.id", "vlan.id")


def check_against_tshark(path: Path) -> None:
    """Compare every field that tshark shows of the outermost packet of each frame."""
    packets, info = read_capture(path)
    rows = tshark_fields(path, *OTHERS, *(field for field, _, _ in FIELDS))
    rows = [row for row in rows if row[0] != "data"]  # pcapng custom blocks are frames to tshark
    assert len(rows) == info.frame_count
    for before, row in itertools.pairwise(rows):
        row[1] = row[1] or before[1]  # simple packets of pcapng have no time
    rows.sort(key=lambda row: int(row[1].replace(".", "")))  # nine digits after the point
    layers = [row[0].split(":") for row in rows]
    target = [len(OTHERS) + [f for f, _, _ in FIELDS].index(f"{ip}.dst") for ip in ("ip", "ipv6")]
    shown = [  # with a whole IP header
        i
        for i, names in enumerate(layers)
        if {"ip", "ipv6"} & set(names) and (rows[i][target[0]] or rows[i][target[1]])
    ]
    rows, layers = [rows[i] for i in shown], [layers[i] for i in shown]
    versions = [next(name for name in names if name in ("ip", "ipv6")) for names in layers]
    assert packets.ip_version.tolist() == [4 if name == "ip" else 6 for name in versions]
    times = [int(row[1].replace(".", "")) for row in rows]
    assert packets.time_ns.tolist() == times
    assert packets.vlan.tolist() == [int(row[3] or row[4] or 0) for row in rows]
    plain = packets.ip_flags & IP_FRAGMENT == 0  # others have no transport header
    for place, (field, name, protocol) in enumerate(FIELDS, start=len(OTHERS)):
        about = np.ones(len(packets), dtype=np.bool_)
        if protocol in (4, -6):
            about = packets.ip_version == abs(protocol or 0)
        elif protocol is not None:
            about = plain & (packets.protocol == protocol)
        known = [i for i in np.flatnonzero(about).tolist() if rows[i][place]]
        ours = our_values(packets, name, np.array(known, dtype=np.int64))
        theirs: list[Any] = [rows[i][place] for i in known]
        if name not in ("src", "dst"):
            theirs = [number(text) for text in theirs]
        if field == "tcp.flags":
            theirs = [flags & 0xFF for flags in theirs]
        if field == "udp.length":
            theirs = [max(length - 8, 0) for length in theirs]
        if name == "icmp":
            ours = [value >> 8 for value in ours]
        assert ours == theirs, field
    six = [i for i in range(len(packets)) if versions[i] == "ipv6" and rows[i][2] not in ("", "0")]
    lengths = [int(rows[i][2]) + 40 for i in six]
    assert packets.ip_length[six].tolist() == lengths


def our_values(packets: PacketTable, name: str, rows: Any) -> list[Any]:
    values = getattr(packets, name)[rows].tolist()
    if name in ("src", "dst"):
        return [text_of(packets.addresses[value]) for value in values]
    return list(values)


@needs_tshark
@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_real_captures_as_tshark_reads_them(path: Path) -> None:
    check_against_tshark(path)


@needs_tshark
@pytest.mark.parametrize("place", range(len(FRAMES), len(CORPUS)))
def test_generated_captures_as_tshark_reads_them(tmp_path: Path, place: int) -> None:
    """Every byte order, time unit and block type, frames of every link type and tunnel."""
    check_against_tshark(save(tmp_path / "generated", CORPUS[place]))


def scapy_row(frame: Packet) -> dict[str, Any]:
    """Read the outermost packet of a frame; {} where it holds no IP."""
    layer = next((part for part in layers_of(frame) if isinstance(part, (IP, IPv6))), None)
    if layer is None:
        return {}
    is_v4 = isinstance(layer, IP)
    row = {
        "src": layer.src,
        "dst": layer.dst,
        "ip_version": 4 if is_v4 else 6,
        "ttl": layer.ttl if is_v4 else layer.hlim,
        "tos": layer.tos if is_v4 else layer.tc,
        "ip_id": layer.id if is_v4 else 0,
    }
    if is_v4:
        row |= {"ip_length": layer.len, "protocol": layer.proto}
        row["ip_flags"] = int(layer.flags) & 3 | (IP_FRAGMENT if layer.frag else 0)
    below = layer.payload
    while type(below).__name__.startswith("IPv6ExtHdr"):
        if isinstance(below, IPv6ExtHdrFragment) and below.offset:
            return row
        below = below.payload
    if is_v4 and layer.frag:
        return row
    if isinstance(below, TCP):
        row |= {"src_port": below.sport, "dst_port": below.dport, "seq": below.seq}
        row |= {"ack": below.ack, "window": below.window, "tcp_flags": int(below.flags) & 255}
        stamps = dict(option[:2] for option in below.options).get("Timestamp")
        if stamps is not None:
            row |= {"ts_val": stamps[0], "ts_ecr": stamps[1]}
    elif isinstance(below, UDP):
        row |= {"src_port": below.sport, "dst_port": below.dport}
    elif isinstance(below, ICMP):
        row["icmp"] = below.type << 8 | below.code
    return row


def layers_of(frame: Packet) -> list[Packet]:
    found = []
    while frame:
        found.append(frame)
        frame = frame.payload
    return found


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_real_captures_as_scapy_reads_them(path: Path) -> None:
    """Scapy decodes a thousand frames a second: of each capture, 1,200 throughout."""
    packets, info = read_capture(path)
    step = max(info.frame_count // 1200, 1)
    row = -1
    with RawPcapReader(str(path)) as reader:
        for place, (data, _) in enumerate(reader):
            kind = data[12:14] if data[12:14] != b"\x81\x00" else data[16:18]
            row += kind in (b"\x08\x00", b"\x86\xdd")
            if place % step:
                continue
            theirs = scapy_row(Ether(data))
            if theirs:
                only = np.array([row])
                ours = {name: our_values(packets, name, only)[0] for name in theirs}
                assert ours == theirs, place


@pytest.mark.parametrize("place", range(len(FRAMES)))
def test_generated_frames_as_scapy_reads_them(tmp_path: Path, place: int) -> None:
    link, frame = FRAMES[place]
    packets, _ = read_capture(save(tmp_path / "generated", CORPUS[place]))
    classes = {1: Ether, 101: IPv6 if frame[0] >> 4 == 6 else IP}
    if link not in classes:
        pytest.skip("scapy needs the whole file to tell this link type")
    theirs = scapy_row(classes[link](frame))
    assert bool(theirs) == (len(packets) > 0)
    if theirs:
        ours = {name: our_values(packets, name, np.array([0]))[0] for name in theirs}
        assert ours == theirs
