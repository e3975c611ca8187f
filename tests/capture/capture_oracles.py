"""What other programs read from a capture: rows of the same columns as a PacketTable."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest

from netsynth.tables import PACKET_COLUMNS, PacketTable

ROOT = Path(__file__).parents[2]
OFFICE = ROOT / "sample_pcaps" / "office.pcap"
Row = dict[str, Any]
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark not installed")


def captures() -> list[Path]:
    """The shipped capture, and those in the folder NETSYNTH_TRACES."""
    folder = os.environ.get("NETSYNTH_TRACES")
    return [OFFICE, *(sorted(Path(folder).glob("*.pcap")) if folder else [])]


def text_of(address: np.ndarray) -> str:
    """Write a row of `addresses` as the RFCs do."""
    data = address.tobytes()
    if data[:12] == b"\0" * 10 + b"\xff\xff":
        return socket.inet_ntop(socket.AF_INET, data[12:])
    return socket.inet_ntop(socket.AF_INET6, data)


def rows_of(packets: PacketTable, names: list[str]) -> list[Row]:
    """Turn a table into rows; addresses as text."""
    columns = {name: getattr(packets, name).tolist() for name in names}
    texts = [text_of(address) for address in packets.addresses]
    for name in {"src", "dst"} & set(names):
        columns[name] = [texts[row] for row in columns[name]]
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


NAMES = [name for name in PACKET_COLUMNS if name != "checksums"]


def dpkt_rows(path: Path) -> list[Row]:
    """Read the Ethernet frames of a little-endian pcap with dpkt; all columns but `checksums`."""
    data = path.read_bytes()
    unit_ns = 1 if struct.unpack_from("<I", data)[0] == 0xA1B23C4D else 1000
    rows, at = [], 24
    while at < len(data):  # dpkt's own reader rounds times to floats
        seconds, fraction, captured, wire = struct.unpack_from("<IIII", data, at)
        ethernet = dpkt.ethernet.Ethernet(data[at + 16 : at + 16 + captured])
        at += 16 + captured
        if isinstance(ethernet.data, (dpkt.ip.IP, dpkt.ip6.IP6)):
            row: Row = {
                "time_ns": seconds * 10**9 + fraction * unit_ns,
                "wire_length": wire,
                "vlan": ethernet.vlan_tags[0].id if getattr(ethernet, "vlan_tags", None) else 0,
            }
            rows.append(row | _dpkt_network(ethernet.data))
    return rows


def _dpkt_network(packet: Any) -> Row:
    is_v4 = isinstance(packet, dpkt.ip.IP)
    family = socket.AF_INET if is_v4 else socket.AF_INET6
    row: Row = {name: 0 for name in NAMES[3:] if name not in ("wire_length", "vlan")}
    row |= {
        "src": socket.inet_ntop(family, packet.src),
        "dst": socket.inet_ntop(family, packet.dst),
        "ip_version": 4 if is_v4 else 6,
        "ttl": packet.ttl if is_v4 else packet.hlim,
        "tos": packet.tos if is_v4 else packet.fc,
        "protocol": packet.p,
        "ip_id": packet.id if is_v4 else 0,
        "ip_length": packet.len if is_v4 else packet.plen + 40,
        "window_scale": 255,
    }
    if is_v4:
        later = packet.offset != 0
        row["ip_flags"] = packet.df << 1 | packet.mf | (4 if later else 0)
        left = packet.len - packet.hl * 4
    else:
        headers = [
            packet.extension_hdrs[n] for n in (0, 43, 44, 51, 60) if n in packet.extension_hdrs
        ]
        fragment = packet.extension_hdrs.get(44)
        later = fragment is not None and fragment.frag_off != 0
        if fragment is not None:
            row["ip_flags"] = fragment.m_flag | (4 if later else 0)
        left = packet.plen - sum(header.length for header in headers)
    row["payload_length"] = left
    if not later:
        row |= _dpkt_transport(packet.data, left)
    return row


def _dpkt_transport(segment: Any, left: int) -> Row:
    if isinstance(segment, dpkt.tcp.TCP):
        return {
            "src_port": segment.sport,
            "dst_port": segment.dport,
            "seq": segment.seq,
            "ack": segment.ack,
            "tcp_flags": segment.flags & 255,
            "window": segment.win,
            "payload_length": left - segment.off * 4,
        } | _dpkt_options(segment)
    if isinstance(segment, dpkt.udp.UDP):
        ports = {"src_port": segment.sport, "dst_port": segment.dport}
        return ports | {"payload_length": segment.ulen - 8}
    if isinstance(segment, (dpkt.icmp.ICMP, dpkt.icmp6.ICMP6)):
        rest = bytes(segment)[4:8]
        return {
            "icmp": segment.type << 8 | segment.code,
            "seq": int.from_bytes(rest, "big"),
            "payload_length": left - 8,
        }
    return {}


def _dpkt_options(segment: Any) -> Row:
    row: Row = {"option_bits": 0}
    for kind, value in dpkt.tcp.parse_opts(segment.opts):
        if kind == 2:
            row |= {"option_bits": row["option_bits"] | 1, "mss": int.from_bytes(value, "big")}
        elif kind == 3:
            row |= {"option_bits": row["option_bits"] | 2, "window_scale": value[0]}
        elif kind == 4:
            row["option_bits"] |= 4
        elif kind == 5:
            row["option_bits"] |= 16
        elif kind == 8:
            row["option_bits"] |= 8
            row["ts_val"] = int.from_bytes(value[:4], "big")
            row["ts_ecr"] = int.from_bytes(value[4:], "big")
    return row


STRICT = (
    "tcp.check_checksum:TRUE",
    "udp.check_checksum:TRUE",
    "ip.check_checksum:TRUE",
    "tcp.relative_sequence_numbers:FALSE",
    "tcp.desegment_tcp_streams:FALSE",
    "ip.defragment:FALSE",
    "ipv6.defragment:FALSE",
)


def tshark(path: Path, *arguments: str) -> list[str]:
    """Run tshark over a capture with all checksums checked; return its lines."""
    options = [part for setting in STRICT for part in ("-o", setting)]
    command = ["tshark", "-n", "-r", str(path), *options, *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return result.stdout.splitlines()


def tshark_fields(path: Path, *names: str) -> list[list[str]]:
    """Read the first occurrence of fields of every frame."""
    wanted = [part for name in names for part in ("-e", name)]
    lines = tshark(path, "-T", "fields", "-E", "occurrence=f", *wanted)
    return [line.split("\t") for line in lines]
