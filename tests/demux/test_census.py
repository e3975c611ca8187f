"""Counting flows while packets stream by gives what assembling them gives."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from scapy.all import ICMP, IP, TCP, UDP, Ether, ICMPv6EchoRequest, IPv6, wrpcap

from netsynth.capture import iter_capture, read_capture
from netsynth.demux import ENDS, assemble_flows, census_of, count_flows
from netsynth.tables import PacketTable

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"


def captures() -> list[Path]:
    folder = os.environ.get("NETSYNTH_TRACES")
    return [OFFICE, *(sorted(Path(folder).glob("*.pcap")) if folder else [])]


def in_pieces(packets: PacketTable, sizes: list[int]) -> Iterator[PacketTable]:
    """Cut a table into chunks of these sizes, again and again."""
    at = turn = 0
    while at < len(packets):
        size = sizes[turn % len(sizes)]
        yield packets.take(np.arange(at, min(at + size, len(packets))))
        at, turn = at + size, turn + 1


def check(chunks: Iterator[PacketTable], packets: PacketTable) -> None:
    ours, whole = count_flows(chunks), census_of(assemble_flows(packets))
    for name in ("initiator", "responder", "responder_port", "protocol", "packets", "wire_bytes"):
        assert np.array_equal(getattr(ours, name), getattr(whole, name)), name
    assert np.array_equal(ours.tcp_end, whole.tcp_end)
    assert np.array_equal(ours.addresses, whole.addresses)
    assert ours.version_packets == whole.version_packets
    assert ours.vlans == whole.vlans


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
@pytest.mark.parametrize("sizes", [[1 << 17], [1, 5000, 37]], ids=["one", "many"])
def test_flows_of_whole_captures(path: Path, sizes: list[int]) -> None:
    packets, _ = read_capture(path)
    check(in_pieces(packets, sizes), packets)


def test_chunks_of_a_file_are_counted_alike() -> None:
    check(iter_capture(OFFICE), read_capture(OFFICE)[0])


def test_who_opened_a_flow_that_was_seen_late_or_from_its_answer(tmp_path: Path) -> None:
    """By RFC 5103: a SYN tells, else an echo request, a group address, the service's port."""
    ether = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
    there = IP(src="10.0.0.1", dst="10.0.0.9")
    back = IP(src="10.0.0.9", dst="10.0.0.1")
    six = IPv6(src="fe80::1", dst="ff02::1")
    frames = [
        ether / back / TCP(sport=80, dport=5000, flags="SA"),  # opened by the peer
        ether / back / TCP(sport=81, dport=5000, flags="A"),  # port 81 answers
        ether / there / TCP(sport=5000, dport=81, flags="R"),
        ether / back / UDP(sport=4000, dport=5000),  # the first to speak
        ether / back / ICMP(type=0, id=7),  # a reply
        ether / there / ICMP(type=8, id=8),
        ether / six / UDP(sport=4000, dport=53),
        ether / six / ICMPv6EchoRequest(),
    ]
    wrpcap(str(tmp_path / "a.pcap"), frames)
    census = count_flows(iter_capture(tmp_path / "a.pcap"))
    names = [row.tobytes()[-1] for row in census.addresses]
    assert [names[row] for row in census.initiator] == [1, 1, 9, 1, 1, 1, 1]
    assert census.packets.tolist() == [1, 2, 1, 1, 1, 1, 1]
    assert [ENDS[end] for end in census.tcp_end if end >= 0] == ["begun before"] * 2
    assert census.version_packets == {4: 6, 6: 2}


def test_flows_are_counted_when_tables_grow() -> None:
    """Ten thousand flows: the tables of keys and of flows double more than once."""
    one, _ = read_capture(OFFICE)
    packets = one.take(np.zeros(10_000, dtype=np.int64))
    packets.src_port[:] = np.arange(10_000) + 20_000
    census = count_flows(in_pieces(packets, [3000]))
    assert len(census) == 10_000
    assert census.packets.tolist() == [1] * 10_000
