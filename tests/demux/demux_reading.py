"""A small reader of captures on dpkt, so that this room is tested without the capture room."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import dpkt
import numpy as np

from netsynth.tables import (
    IP_DF,
    IP_FRAGMENT,
    IP_MF,
    NO_WINDOW_SCALE,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    PACKET_COLUMNS,
    PacketTable,
)

_OPTIONS = {2: OPTION_MSS, 3: OPTION_WINDOW_SCALE, 4: OPTION_SACK_PERMITTED, 5: OPTION_SACK}


def read_with_dpkt(path: Path, *, limit: int | None = None) -> PacketTable:
    """Read the Ethernet IPv4 and IPv6 packets of a pcap file; others are left out."""
    addresses: dict[bytes, int] = {}
    rows: list[dict[str, int]] = []
    with path.open("rb") as file:
        for time, frame in dpkt.pcap.Reader(file):
            row = _parse(frame, addresses)
            if row is not None:
                row["time_ns"] = round(float(time) * 1e6) * 1000
                rows.append(row)
            if limit is not None and len(rows) >= limit:
                break
    return table_of(rows, addresses)


def table_of(rows: list[dict[str, int]], addresses: dict[bytes, int]) -> PacketTable:
    """Make a PacketTable of dictionaries, absent fields 0 (no window scale)."""
    absent = {"window_scale": NO_WINDOW_SCALE}
    columns = {
        name: np.array([row.get(name, absent.get(name, 0)) for row in rows], dtype=dtype)
        for name, dtype in PACKET_COLUMNS.items()
    }
    packed = np.frombuffer(b"".join(addresses), dtype=np.uint8).reshape(-1, 16)
    return PacketTable(addresses=packed, **columns)


def row_of(addresses: dict[bytes, int], address: str | bytes) -> int:
    """Return the address's row, a new one where it is unknown; IPv4 is mapped."""
    if isinstance(address, str):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        address = socket.inet_pton(family, address)
    mapped = address if len(address) == 16 else bytes(10) + b"\xff\xff" + address
    return addresses.setdefault(mapped, len(addresses))


def _parse(frame: bytes, addresses: dict[bytes, int]) -> dict[str, int] | None:
    try:
        ethernet = dpkt.ethernet.Ethernet(frame)
    except dpkt.UnpackError:
        return None
    ip: Any = ethernet.data
    if isinstance(ip, dpkt.ip.IP):
        row = {
            "ip_version": 4,
            "ttl": ip.ttl,
            "tos": ip.tos,
            "ip_id": ip.id,
            "ip_length": ip.len,
            "protocol": ip.p,
            "ip_flags": ip.df * IP_DF | ip.mf * IP_MF | (ip.offset > 0) * IP_FRAGMENT,
        }
        room = ip.len - ip.hl * 4
    elif isinstance(ip, dpkt.ip6.IP6):
        row = {"ip_version": 6, "ttl": ip.hlim, "tos": ip.fc, "protocol": ip.p}
        row["ip_length"] = ip.plen + 40
        room = ip.plen - sum(len(header) for header in ip.all_extension_headers)
    else:
        return None
    row["src"], row["dst"] = row_of(addresses, ip.src), row_of(addresses, ip.dst)
    row["wire_length"] = len(frame)
    row["vlan"] = ethernet.vlan_tags[0].id if getattr(ethernet, "vlan_tags", None) else 0
    row["payload_length"] = room
    data = ip.data
    if row.get("ip_flags", 0) & IP_FRAGMENT:
        return row
    if isinstance(data, dpkt.tcp.TCP):
        row.update(_parse_tcp(data))
        row["payload_length"] = room - data.off * 4
    elif isinstance(data, dpkt.udp.UDP):
        row.update(src_port=data.sport, dst_port=data.dport, payload_length=room - 8)
    elif isinstance(data, dpkt.icmp.ICMP | dpkt.icmp6.ICMP6):
        row["icmp"] = data.type << 8 | data.code
        row["seq"] = int.from_bytes(bytes(data)[4:8].ljust(4, b"\0"), "big")
        row["payload_length"] = room - 8
    return row


def _parse_tcp(tcp: Any) -> dict[str, int]:
    row = {
        "src_port": tcp.sport,
        "dst_port": tcp.dport,
        "seq": tcp.seq,
        "ack": tcp.ack,
        "window": tcp.win,
        "tcp_flags": tcp.flags & 0xFF,
        "option_bits": 0,
    }
    for kind, value in dpkt.tcp.parse_opts(tcp.opts):
        row["option_bits"] |= _OPTIONS.get(kind, 0)
        if kind == 2:
            row["mss"] = int.from_bytes(value, "big")
        elif kind == 3:
            row["window_scale"] = value[0]
        elif kind == 8 and len(value) == 8:
            row["option_bits"] |= OPTION_TIMESTAMPS
            row["ts_val"] = int.from_bytes(value[:4], "big")
            row["ts_ecr"] = int.from_bytes(value[4:], "big")
    return row
