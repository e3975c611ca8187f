"""The summary of a capture agrees with what dpkt counts, and names how TCP flows ended."""

import json
import socket
from collections import Counter
from pathlib import Path

import dpkt
import pytest
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.packet import Packet, Raw
from scapy.utils import wrpcap

from netsynth.demux import DemuxConfig
from netsynth.errors import CaptureError
from netsynth.pipeline import summarise
from netsynth.progress import Silence
from netsynth.reading import read_flows

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"


def tcp(source: str, port: int, flags: str, *, back: bool = False) -> Packet:
    """One segment between `source`:`port` and 10.0.0.9:80, either way."""
    if back:
        return IP(src="10.0.0.9", dst=source) / TCP(sport=80, dport=port, flags=flags)
    return IP(src=source, dst="10.0.0.9") / TCP(sport=port, dport=80, flags=flags)


def write_capture(path: Path, packets: list[Packet]) -> Path:
    for index, packet in enumerate(packets):
        packet.time = 1_700_000_000 + index / 100
    wrpcap(str(path), packets)
    return path


def test_counts_of_a_real_capture_agree_with_dpkt() -> None:
    frames, ports, protocols, hosts = 0, Counter[int](), Counter[str](), set()
    times, wire_bytes = [], 0
    with OFFICE.open("rb") as file:
        for time_s, data in dpkt.pcap.Reader(file):
            frames += 1
            times.append(time_s)
            wire_bytes += len(data)
            ip = dpkt.ethernet.Ethernet(data).data
            if not isinstance(ip, dpkt.ip.IP):
                continue
            hosts |= {ip.src, ip.dst}
            protocols[type(ip.data).__name__] += 1
            if 6379 in (ip.data.sport, ip.data.dport):
                ports[6379] += 1
    summary = summarise(OFFICE)
    assert summary.capture["frame_count"] == frames
    assert summary.capture["packet_count"] == sum(protocols.values())
    assert summary.capture["wire_bytes"] == wire_bytes
    assert summary.span_s == pytest.approx(float(times[-1] - times[0]))
    assert {share.name: share.packets for share in summary.protocols} == dict(protocols)
    redis = next(share for share in summary.services if share.name == "TCP 6379")
    assert redis.packets == ports[6379]
    assert summary.host_count == len(hosts)
    assert {share.name for share in summary.hosts} <= {socket.inet_ntoa(host) for host in hosts}


def test_tcp_flows_are_told_apart_by_how_much_was_seen(tmp_path: Path) -> None:
    hello = lambda port: [tcp("10.0.0.1", port, "S"), tcp("10.0.0.1", port, "SA", back=True)]  # noqa: E731
    packets = [
        *hello(1), tcp("10.0.0.1", 1, "FA"), tcp("10.0.0.1", 1, "FA", back=True),  # whole
        *hello(2), tcp("10.0.0.1", 2, "R"),  # whole: reset
        *hello(3), tcp("10.0.0.1", 3, "FA"),  # closed one way only: still open
        tcp("10.0.0.1", 4, "S"), tcp("10.0.0.1", 4, "RA", back=True),  # refused
        tcp("10.0.0.1", 5, "S"), tcp("10.0.0.1", 5, "S"),  # unanswered
        tcp("10.0.0.1", 6, "PA"), tcp("10.0.0.1", 6, "A", back=True),  # begun before
    ]  # fmt: skip
    path = write_capture(tmp_path / "a.pcap", packets)
    assert summarise(path).tcp_flows == {
        "whole": 2,
        "open at the end": 1,
        "refused": 1,
        "unanswered": 1,
        "begun before": 1,
    }


def test_other_traffic_is_counted_and_said(tmp_path: Path) -> None:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    packets = [
        ether / Dot1Q(vlan=7) / IP(src="10.0.0.1", dst="8.8.8.8") / UDP(sport=5000, dport=53),
        ether / IP(src="10.0.0.1", dst="8.8.8.8") / ICMP() / Raw(b"x" * 8),
        ether / IP(src="10.0.0.1", dst="8.8.4.4", proto=99) / Raw(b"?"),
        ether / ARP(),
    ]
    summary = summarise(write_capture(tmp_path / "a.pcap", packets))
    assert summary.capture["non_ip_types"] == {"ARP": 1}
    assert summary.vlans == (7,)
    assert {share.name for share in summary.protocols} == {"UDP", "ICMP", "protocol 99"}
    assert [share.name for share in summary.services] == ["UDP 53"]
    assert summary.tcp_flows == {}
    assert json.loads(summary.to_json())["flow_count"] == 3
    assert "1 not IP (ARP 1) (25 %)" in summary.to_table()


def test_tunnels_are_counted_or_what_they_carry(tmp_path: Path) -> None:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    tunnel = IP(src="172.16.0.1", dst="172.16.0.2")
    path = write_capture(tmp_path / "a.pcap", [ether / tunnel / tcp("10.0.0.1", 5, "S")] * 2)
    assert [share.name for share in summarise(path).protocols] == ["IP in IP"]
    inside = summarise(path, decapsulate=True)
    assert [share.name for share in inside.services] == ["TCP 80"]
    flows, _ = read_flows(path, {"demux": DemuxConfig()}, None, salvage=False,
                          progress=Silence(), decapsulate=True)  # fmt: skip
    assert flows.responder_port.tolist() == [80]


def test_a_capture_of_one_moment_has_no_rate(tmp_path: Path) -> None:
    path = write_capture(tmp_path / "a.pcap", [tcp("10.0.0.1", 1, "S")])
    summary = summarise(path)
    assert summary.packets_per_s is None
    assert "all frames have one time" in summary.to_table()


def test_captures_without_ip_or_frames_are_errors(tmp_path: Path) -> None:
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    with pytest.raises(CaptureError, match=r"a\.pcap: none of its 2 frames holds IP \(ARP\)"):
        summarise(write_capture(tmp_path / "a.pcap", [ether / ARP(), ether / ARP()]))
    empty = tmp_path / "b.pcap"
    empty.write_bytes(OFFICE.read_bytes()[:24])
    with pytest.raises(CaptureError, match=r"b\.pcap: an empty capture"):
        summarise(empty)
