"""An IPv6 capture built with scapy, learned, sampled, and read back with scapy."""

from pathlib import Path

import numpy as np
import pytest
from scapy.layers.inet import TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Packet
from scapy.utils import rdpcap, wrpcap

from netsynth import pipeline

CLIENTS = [f"fd00:1::{k:x}" for k in range(1, 6)]
SERVERS = ["fd00:2::80", "fd00:2::443"]
ROUTE = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
SMALL = {
    "width": 32, "critic_layers": 2, "generator_layers": 1, "series_width": 16, "noise": 8,
    "condition_width": 32, "batch": 64, "max_epochs": 1, "least_steps": 100, "learning_rate": 3e-3,
}  # fmt: skip


def web(client: str, server: str, port: int) -> list[Packet]:
    """A connection of eight packets."""
    there = {"sport": port, "dport": 80}
    back = {"sport": 80, "dport": port}
    plan = [
        (client, server, there, "S", 0), (server, client, back, "SA", 0),
        (client, server, there, "A", 0), (client, server, there, "PA", 120),
        (server, client, back, "PA", 900), (client, server, there, "FA", 0),
        (server, client, back, "FA", 0), (client, server, there, "A", 0),
    ]  # fmt: skip
    made, seq = [], {client: 1000, server: 5000}
    for src, dst, ports, flags, size in plan:
        ack = seq[dst] if "A" in flags else 0
        segment = TCP(**ports, flags=flags, seq=seq[src], ack=ack, window=65535)
        made.append(Ether(**ROUTE) / IPv6(src=src, dst=dst, hlim=64) / segment / (b"x" * size))
        seq[src] += size + ("S" in flags) + ("F" in flags)
    return made


def asked(client: str, server: str, port: int) -> list[Packet]:
    """A question over UDP and its answer."""
    there = IPv6(src=client, dst=server, hlim=64) / UDP(sport=port, dport=5683) / (b"q" * 40)
    back = IPv6(src=server, dst=client, hlim=57) / UDP(sport=5683, dport=port) / (b"a" * 90)
    return [Ether(**ROUTE) / there, Ether(**ROUTE) / back]


def pinged(client: str, server: str, number: int) -> list[Packet]:
    """An echo request and its reply."""
    there = IPv6(src=client, dst=server) / ICMPv6EchoRequest(id=number, seq=1, data=b"p" * 56)
    back = IPv6(src=server, dst=client) / ICMPv6EchoReply(id=number, seq=1, data=b"p" * 56)
    return [Ether(**ROUTE) / there, Ether(**ROUTE) / back]


def capture(path: Path) -> Path:
    """Some 150 flows in 30 s."""
    rng, packets = np.random.default_rng(7), []
    for flow in range(150):
        client, server = CLIENTS[rng.integers(5)], SERVERS[rng.integers(2)]
        kind = (web, asked, pinged)[rng.integers(3)]
        time = rng.uniform(0, 30)
        for packet in kind(client, server, 40000 + flow):
            packet.time = 1.7e9 + time
            time += rng.exponential(0.02)
            packets.append(packet)
    wrpcap(str(path), sorted(packets, key=lambda p: p.time))
    return path


@pytest.fixture(scope="module")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> list[Packet]:
    folder = tmp_path_factory.mktemp("ipv6")
    model = pipeline.fit(
        capture(folder / "real.pcap"), generator="cascade",
        settings={f"cascade.{name}": value for name, value in SMALL.items()},
    )  # fmt: skip
    model.sample(folder / "made.pcap", seed=3)
    return list(rdpcap(str(folder / "made.pcap")))


def test_every_packet_is_ipv6_between_hosts_of_the_learned_networks(sampled: list[Packet]) -> None:
    assert len(sampled) > 400
    assert all(IPv6 in p for p in sampled)
    peers = {frozenset((p[IPv6].src, p[IPv6].dst)) for p in sampled}
    assert len(set().union(*peers)) <= 2 * (len(CLIENTS) + len(SERVERS))
    assert len(peers) > 5


def test_all_three_protocols_come_and_their_checksums_are_right(sampled: list[Packet]) -> None:
    counts = {TCP: 0, UDP: 0, ICMPv6EchoRequest: 0, ICMPv6EchoReply: 0}
    for packet in sampled:
        for layer in counts:
            if layer in packet:
                counts[layer] += 1
                field = "cksum" if layer in (ICMPv6EchoRequest, ICMPv6EchoReply) else "chksum"
                was = getattr(packet[layer], field)
                again = IPv6(bytes(packet[IPv6]))
                delattr(again[layer], field)
                assert getattr(IPv6(bytes(again))[layer], field) == was
    assert sum(counts.values()) == len(sampled)
    assert all(count > 0 for count in counts.values()), counts


def test_connections_open_with_a_handshake(sampled: list[Packet]) -> None:
    opened = {(p[IPv6].src, p[TCP].sport) for p in sampled if TCP in p and p[TCP].flags == "S"}
    accepted = {(p[IPv6].dst, p[TCP].dport) for p in sampled if TCP in p and p[TCP].flags == "SA"}
    assert len(opened & accepted) > 3  # of about 50, after seconds of training


def test_flows_are_dialogues_and_keep_their_hop_limit(sampled: list[Packet]) -> None:
    """Both ways of a connection or question come, and all packets of a way share a hop limit.

    Servers answer questions over UDP with 57, all else has 64.
    """
    limits: dict[tuple[object, ...], set[int]] = {}
    for packet in sampled:
        for layer in (TCP, UDP):
            if layer in packet:
                ip, ports = packet[IPv6], (packet[layer].sport, packet[layer].dport)
                limits.setdefault((ip.src, ip.dst, *ports, layer), set()).add(ip.hlim)
    answered = [(dst, src, dport, sport, way) in limits for src, dst, sport, dport, way in limits]
    assert sum(answered) > 0.9 * len(limits)  # in the capture it learned from: all
    for (_, _, sport, _, layer), seen in limits.items():
        assert seen == ({57} if layer is UDP and sport == 5683 else {64})
