"""What a capture holds, as a fit would see it: counts, protocols, services, hosts, flaws."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from netsynth.numbers import IntArray
from netsynth.tables import ICMP, ICMPV6, TCP, UDP

if TYPE_CHECKING:
    from netsynth.capture import CaptureInfo
    from netsynth.demux import FlowCensus

TOP = 10  # services and hosts shown
PROTOCOLS = {
    ICMP: "ICMP", 2: "IGMP", 4: "IP in IP", TCP: "TCP", UDP: "UDP", 41: "IPv6 in IP", 47: "GRE",
    50: "ESP", ICMPV6: "ICMPv6", 89: "OSPF", 103: "PIM", 132: "SCTP",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A part of the traffic: a protocol, a service or a host.

    Attributes:
        name: What it is.
        flows: Flows that belong to it.
        packets: Their packets.
        bytes: Their bytes on the wire.
    """

    name: str
    flows: int
    packets: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureSummary:
    """What `netsynth inspect` shows of a capture.

    Attributes:
        capture: What `CaptureInfo` says of the files, in plain values.
        span_s: First to last frame, s.
        packets_per_s: IP packets by second of the span; None where the span is 0.
        bits_per_s: Bits on the wire of all frames by second; None where the span is 0.
        ip_versions: Packets by IP version, "4" and "6".
        protocols: Most packets first.
        flow_count: Flows, both directions in one.
        tcp_flows: TCP flows by how much of them the capture saw: "whole" (handshake and end),
            "open at the end", "refused" (RST for an answer), "unanswered", "begun before".
        services: Responder's ports, most packets first, at most TOP.
        hosts: Addresses, most packets first, at most TOP.
        host_count: Distinct addresses.
        vlans: Distinct VLAN ids, without 0 for untagged.
        labels: Flows by label, without those that have none.
    """

    capture: dict[str, Any]
    span_s: float
    packets_per_s: float | None
    bits_per_s: float | None
    ip_versions: dict[str, int]
    protocols: tuple[Share, ...]
    flow_count: int
    tcp_flows: dict[str, int]
    services: tuple[Share, ...]
    hosts: tuple[Share, ...]
    host_count: int
    vlans: tuple[int, ...]
    labels: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """One JSON object, keys as the attributes."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def to_table(self) -> str:
        """Lines of text for people."""
        capture = self.capture
        rows = [
            ("capture", ", ".join(capture["paths"])),
            ("format", _format_line(capture)),
            ("packets", f"{capture['packet_count']:,} IP in {capture['frame_count']:,} frames"),
            ("bytes", f"{capture['wire_bytes']:,} on the wire"),
            ("time", f"{_utc(capture['first_ns'])} + {self.span_s:,.3f} s"),
            ("rate", _rate_line(self)),
            ("IP", ", ".join(f"v{v}: {n:,} packets" for v, n in self.ip_versions.items())),
            ("flows", f"{self.flow_count:,} between {self.host_count:,} hosts"),
        ]
        if self.tcp_flows:
            rows.append(("TCP flows", ", ".join(f"{n:,} {k}" for k, n in self.tcp_flows.items())))
        if self.labels:
            rows.append(("labels", ", ".join(f"{k}: {n:,} flows" for k, n in self.labels.items())))
        if self.vlans:
            rows.append(("VLANs", ", ".join(map(str, self.vlans))))
        rows.append(("flaws", "; ".join(_flaws(capture)) or "none"))
        lines = [f"{name:<10} {text}" for name, text in rows]
        for title, shares in (
            ("protocol", self.protocols),
            ("service", self.services),
            ("host", self.hosts),
        ):
            lines += ["", f"{title:<28}{'flows':>12}{'packets':>14}{'bytes':>18}"]
            lines += [f"  {s.name:<26}{s.flows:>12,}{s.packets:>14,}{s.bytes:>18,}" for s in shares]
        return "\n".join(lines)


def summarise_flows(census: FlowCensus, info: CaptureInfo) -> CaptureSummary:
    """Say what `census` counted; `info` is of the capture that it was counted in."""
    from netsynth.demux import ENDS

    span_s = (info.last_ns - info.first_ns) / 1e9
    label_count = np.bincount(census.label, minlength=len(census.label_names))
    capture = {field.name: getattr(info, field.name) for field in dataclasses.fields(info)}
    capture["paths"] = ["standard input" if str(p) == "-" else str(p) for p in info.paths]
    capture["mac_count"] = int(capture.pop("macs").size)
    ends = census.tcp_end[census.tcp_end >= 0]
    end_count = np.bincount(ends, minlength=len(ENDS)).tolist()
    return CaptureSummary(
        capture=capture,
        span_s=span_s,
        packets_per_s=info.packet_count / span_s if span_s > 0 else None,
        bits_per_s=8 * info.wire_bytes / span_s if span_s > 0 else None,
        ip_versions={str(v): n for v, n in census.version_packets.items()},
        protocols=_shares(census, census.protocol.astype(np.int64), protocol_name),
        flow_count=len(census),
        tcp_flows=dict(zip(ENDS, end_count, strict=True)) if ends.size else {},
        services=_services(census)[:TOP],
        hosts=_hosts(census)[:TOP],
        host_count=np.union1d(np.unique(census.initiator), np.unique(census.responder)).size,
        vlans=census.vlans,
        labels={
            name: int(count)
            for name, count in zip(census.label_names[1:], label_count[1:], strict=True)
        },
    )


def protocol_name(number: int) -> str:
    """Name an IP protocol, by its number where it has no common name here."""
    return PROTOCOLS.get(number, f"protocol {number}")


def _shares(census: FlowCensus, group: IntArray, name: Any) -> tuple[Share, ...]:
    """Sum flows, packets and bytes over groups of flows; most packets first."""
    key, inverse = np.unique(group, return_inverse=True)
    packets = np.bincount(inverse, weights=census.packets)
    volume = np.bincount(inverse, weights=census.wire_bytes)
    count = np.bincount(inverse)
    order = np.argsort(-packets, kind="stable")
    return tuple(
        Share(
            name=name(int(key[row])),
            flows=int(count[row]),
            packets=int(packets[row]),
            bytes=int(volume[row]),
        )
        for row in order
    )


def _services(census: FlowCensus) -> tuple[Share, ...]:
    """Sum over (protocol, responder's port), for protocols that have ports."""
    group = census.protocol.astype(np.int64) << 16 | census.responder_port
    shares = _shares(census, group, lambda key: f"{protocol_name(key >> 16)} {key & 0xFFFF}")
    return tuple(share for share in shares if not share.name.endswith(" 0"))


def _hosts(census: FlowCensus) -> tuple[Share, ...]:
    """Sum over addresses; a flow counts for both of its ends."""
    addresses = census.addresses
    ends = np.concatenate([census.initiator, census.responder])  # [2F]
    packets = np.bincount(ends, weights=np.tile(census.packets, 2))
    volume = np.bincount(ends, weights=np.tile(census.wire_bytes, 2))
    count = np.bincount(ends)
    rows = np.argsort(-packets, kind="stable")[:TOP]
    return tuple(
        Share(
            name=format_address(addresses[row].tobytes()),
            flows=int(count[row]),
            packets=int(packets[row]),
            bytes=int(volume[row]),
        )
        for row in rows
        if count[row]
    )


def format_address(packed: bytes) -> str:
    """Write 16 bytes as an IPv6 address, or as an IPv4 address where they map one."""
    address = ipaddress.IPv6Address(packed)
    return str(address.ipv4_mapped or address)


def _format_line(capture: dict[str, Any]) -> str:
    resolution = {1: "ns", 1000: "µs", 1_000_000: "ms"}
    step = capture["time_resolution_ns"]
    times = resolution.get(step, f"{step} ns")
    return f"{capture['format']}, {', '.join(capture['link_types'])}, times in {times}"


def _rate_line(summary: CaptureSummary) -> str:
    if summary.packets_per_s is None or summary.bits_per_s is None:
        return "none: all frames have one time"
    return f"{summary.packets_per_s:,.1f} packets/s, {summary.bits_per_s / 1e6:,.3f} Mbit/s"


def _utc(time_ns: int) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _flaws(capture: dict[str, Any]) -> list[str]:
    """Say what a reader of the capture should know, in words."""
    frames = max(1, capture["frame_count"])
    kinds = ", ".join(f"{name} {count:,}" for name, count in capture["non_ip_types"].items())
    snap = f" (snap length {capture['snap_length']:,})" if capture["snap_length"] else ""
    texts = (
        ("non_ip_count", f"not IP ({kinds})"),
        ("truncated_count", f"cut short{snap}"),
        ("bad_ip_checksum_count", "with a wrong IP checksum"),
        ("bad_l4_checksum_count", "with a wrong transport checksum"),
        ("out_of_order_count", "out of order in time"),
        ("untimed_count", "without a time"),
        ("fragment_count", "fragments"),
        (
            "skipped_places",
            f"damaged place{'s' * (capture['skipped_places'] != 1)} skipped,"
            f" {capture['skipped_bytes']:,} bytes",
        ),
    )
    return [
        f"{capture[key]:,} {text} ({100 * capture[key] / frames:.2g} %)"
        if key != "skipped_places"
        else f"{capture[key]:,} {text}"
        for key, text in texts
        if capture[key]
    ]
