"""Flows: who belongs together, who opened, what reopens. Cases by hand, then real captures."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from demux_reading import read_with_dpkt, row_of, table_of

from netsynth.demux import DemuxConfig, assemble_flows
from netsynth.errors import ConfigError
from netsynth.tables import (
    ACK,
    FIN,
    ICMP,
    ICMPV6,
    IP_FRAGMENT,
    PACKET_COLUMNS,
    RST,
    SYN,
    TCP,
    UDP,
    FlowTable,
    PacketTable,
)

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"


def packets(*rows: dict[str, object]) -> PacketTable:
    """Make a table of rows whose `src` and `dst` are address texts; 1 s apart unless timed."""
    addresses: dict[bytes, int] = {}
    made = []
    for number, row in enumerate(rows):
        values: dict[str, object] = {"time_ns": number * 10**9, "protocol": TCP, **row}
        values["ip_version"] = 6 if ":" in str(row["src"]) else 4
        for end in ("src", "dst"):
            values[end] = row_of(addresses, str(row[end]))
        made.append({name: int(str(value)) for name, value in values.items()})
    return table_of(made, addresses)


def segment(src: str, dst: str, flags: int = ACK, **values: object) -> dict[str, object]:
    """Describe a TCP segment; ends are written as address:port of IPv4."""
    (a, p), (b, q) = src.split(":"), dst.split(":")
    return {"src": a, "dst": b, "src_port": p, "dst_port": q, "tcp_flags": flags, **values}


def initiator(flows: FlowTable, flow: int = 0) -> str:
    """Write the initiator's IPv4 address and port."""
    packed = flows.packets.addresses[flows.initiator[flow]][12:]
    return ".".join(map(str, packed)) + f":{flows.initiator_port[flow]}"


A, B = "10.0.0.1:40000", "10.0.0.2:80"
HIGH = "10.0.0.2:9000"


def test_both_directions_are_one_flow() -> None:
    flows = assemble_flows(packets(segment(A, B, SYN), segment(B, A, SYN | ACK), segment(A, B)))
    assert len(flows) == 1
    assert flows.reverse.tolist() == [False, True, False]
    assert initiator(flows) == A
    assert flows.responder_port.tolist() == [80]


@pytest.mark.parametrize(
    ("rows", "opener"),
    [
        ([segment(B, A, SYN)], B),  # a SYN says it, whatever the ports
        ([segment(B, A, SYN | ACK)], A),  # whoever is answered opened
        ([segment(B, A)], A),  # only 80 is below 1024: the server
        ([segment(HIGH, A)], HIGH),  # nothing tells: the first sender
        ([segment("10.0.0.1:22", B)], "10.0.0.1:22"),  # both below 1024: the first sender
    ],
)
def test_the_initiator_is_found_by_syn_then_port_then_first_packet(
    rows: list[dict[str, object]], opener: str
) -> None:
    assert initiator(assemble_flows(packets(*rows))) == opener


@pytest.mark.parametrize(
    ("src", "dst", "ports"),
    [
        ("10.0.0.1", "224.0.0.251", (80, 5353)),
        ("10.0.0.1", "255.255.255.255", (67, 5000)),
        ("fe80::1", "ff02::fb", (80, 5353)),
    ],
)
def test_multicast_and_broadcast_only_respond(src: str, dst: str, ports: tuple[int, int]) -> None:
    row = {"src": src, "dst": dst, "src_port": ports[0], "dst_port": ports[1], "protocol": UDP}
    flows = assemble_flows(packets(row))
    assert flows.initiator.tolist() == flows.packets.src.tolist()
    assert flows.reverse.tolist() == [False]


def test_an_echo_flow_is_one_identifier_and_its_requester_opens() -> None:
    def echo(src: str, dst: str, kind: int, identifier: int) -> dict[str, object]:
        return {
            "src": src, "dst": dst, "protocol": ICMP, "icmp": kind << 8, "seq": identifier << 16 | 1
        }  # fmt: skip

    a, b = "10.0.0.1", "10.0.0.2"
    flows = assemble_flows(
        packets(echo(b, a, 0, 7), echo(a, b, 8, 7), echo(a, b, 8, 8), echo(b, a, 3, 0))
    )
    assert np.diff(flows.offsets).tolist() == [2, 1, 1]
    assert initiator(flows) == "10.0.0.1:0"
    assert flows.reverse.tolist() == [True, False, False, False]


def test_neighbour_discovery_is_grouped_by_type() -> None:
    rows = [
        {"src": "fe80::1", "dst": "fe80::2", "protocol": ICMPV6, "icmp": kind << 8, "seq": n}
        for n, kind in enumerate([135, 136, 135])
    ]
    assert np.diff(assemble_flows(packets(*rows)).offsets).tolist() == [2, 1]


def test_fragments_without_ports_are_a_flow_of_their_own() -> None:
    whole = {"src": "10.0.0.1", "dst": "10.0.0.2", "protocol": UDP, "src_port": 9, "dst_port": 8}
    later = {"src": "10.0.0.1", "dst": "10.0.0.2", "protocol": UDP, "ip_flags": IP_FRAGMENT}
    zero = {"src": "10.0.0.1", "dst": "10.0.0.2", "protocol": UDP}
    flows = assemble_flows(packets(whole, later, whole, later, zero))
    assert np.diff(flows.offsets).tolist() == [2, 2, 1]


@pytest.mark.parametrize(
    ("between", "flow_count"),
    [
        ([segment(A, B, FIN | ACK, seq=1), segment(B, A, FIN | ACK)], 2),
        ([segment(B, A, RST)], 2),
        ([segment(A, B, seq=1)], 2),  # its end was not captured
        ([], 1),  # nothing but SYNs: another attempt
        ([segment(B, A, SYN | ACK)], 1),
    ],
)
def test_another_syn_opens_another_flow_once_the_first_went_on(
    between: list[dict[str, object]], flow_count: int
) -> None:
    rows = [segment(A, B, SYN, seq=0), *between, segment(A, B, SYN, seq=900)]
    assert len(assemble_flows(packets(*rows))) == flow_count


def test_a_repeated_syn_opens_nothing() -> None:
    rows = [segment(A, B, SYN, seq=5), segment(B, A, RST | ACK), segment(A, B, SYN, seq=5)]
    assert len(assemble_flows(packets(*rows))) == 1


def test_timeouts_cut_flows() -> None:
    rows = [segment(A, B, time_ns=t) for t in (0, 4, 8, 12, 20, 29)]
    idle = assemble_flows(packets(*rows), config=DemuxConfig(idle_timeout_ns=8))
    assert np.diff(idle.offsets).tolist() == [4, 1, 1]
    active = assemble_flows(packets(*rows), config=DemuxConfig(active_timeout_ns=10))
    assert np.diff(active.offsets).tolist() == [3, 2, 1]
    with pytest.raises(ConfigError, match="idle_timeout_ns is 0"):
        DemuxConfig(idle_timeout_ns=0)


def test_packets_out_of_order_are_sorted_stably() -> None:
    rows = [
        segment(A, B, time_ns=5, window=1),
        segment(A, HIGH, time_ns=3, window=2),
        segment(A, B, time_ns=5, window=3),
        segment(A, B, time_ns=1, window=4),
    ]
    flows = assemble_flows(packets(*rows))
    assert flows.packets.window.tolist() == [4, 1, 3, 2]
    assert flows.start_ns.tolist() == [1, 3]


def test_no_packets_make_no_flows() -> None:
    empty = PacketTable.zeros(0, np.zeros((0, 16), dtype=np.uint8))
    assert len(assemble_flows(empty)) == 0


def test_ipv4_and_mapped_ipv6_do_not_mix() -> None:
    rows = packets(segment(A, B), segment(A, B))
    rows.ip_version[1] = 6
    assert len(assemble_flows(rows)) == 2


@pytest.fixture(scope="module")
def office() -> PacketTable:
    return read_with_dpkt(OFFICE)


def test_flows_of_a_real_capture_equal_those_of_a_dictionary(office: PacketTable) -> None:
    """Follow the rule of the docstring packet by packet, in Python."""
    known: dict[tuple[object, ...], tuple[int, int | None, bool]] = {}
    expected, count = [], 0
    p = office
    for i in range(len(p)):
        ends = sorted([(p.src[i], p.src_port[i]), (p.dst[i], p.dst_port[i])])
        key = (*ends, p.protocol[i])
        flow, syn, went_on = known.get(key, (-1, None, False))
        flags, seq = int(p.tcp_flags[i]), int(p.seq[i])
        is_syn = p.protocol[i] == TCP and flags & (SYN | ACK) == SYN
        if flow < 0 or (is_syn and went_on and syn != seq):
            flow, syn, went_on = count, None, False
            count += 1
        if is_syn and syn is None:
            syn = seq
        known[key] = (flow, syn, went_on or not flags & SYN)
        expected.append(flow)
    flows = assemble_flows(office)
    order = np.argsort(expected, kind="stable")
    assert len(flows) == count
    assert np.array_equal(flows.flow_of_packet, np.array(expected)[order])
    for name in PACKET_COLUMNS:
        assert np.array_equal(getattr(flows.packets, name), getattr(office, name)[order]), name


def test_flow_tables_hold_their_invariants(office: PacketTable) -> None:
    flows = assemble_flows(office)
    p, flow = flows.packets, flows.flow_of_packet
    assert (np.diff(flows.start_ns) >= 0).all()
    assert (np.diff(p.time_ns)[np.diff(flow) == 0] >= 0).all()
    sender = np.where(flows.reverse, flows.responder[flow], flows.initiator[flow])
    sender_port = np.where(flows.reverse, flows.responder_port[flow], flows.initiator_port[flow])
    assert np.array_equal(sender, p.src)
    assert np.array_equal(sender_port, p.src_port)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_connections_of_a_real_capture_are_as_many_as_tshark_counts(office: PacketTable) -> None:
    command = ["tshark", "-r", str(OFFICE), "-Y", "tcp", "-T", "fields", "-e", "tcp.stream"]
    streams = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    flows = assemble_flows(office)
    assert np.count_nonzero(flows.protocol == TCP) == len(set(streams))
