"""Payloads of applications without a template: tshark finds them no malformed message."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from demux_actions import Action, dialogue, flow_table
from demux_writing import malformed, write

from netsynth.capture import CaptureWriter
from netsynth.demux import assemble_flows, compile_flows
from netsynth.tables import ICMP, TCP, UDP

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
UNFILLED = {  # whose messages no single byte repeated makes up, or not all of them
    UDP: {464, 513, 521, 1153, 2313, 3804, 3863, 4991, 8805, 9899, 13400, 23272, 41170, 47000}
    | {54328},
    TCP: {37, 123, 161, 162, 199, 389, 524, 639, 862, 873, 988, 1102, 1153, 1521, 1723, 1998}
    | {2269, 2321, 2322, 2571, 2812, 2944, 3268, 3357, 3632, 3863, 4223, 4224, 4321, 4551, 4555}
    | {4556, 5010, 5094, 5555, 6160, 6666, 7911, 8023, 8085, 9600, 9956, 13400, 34980, 48049}
    | {48898},
}


def ports_known_to_tshark(protocol: int) -> list[int]:
    """Return the ports whose payloads tshark dissects."""
    command = ["tshark", "-G", "decodes"]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    table = {TCP: "tcp.port", UDP: "udp.port"}[protocol]
    rows = [line.split("\t") for line in listed.splitlines()]
    known = {int(row[1]) for row in rows if row[0] == table} - UNFILLED[protocol]
    return sorted(known | set(range(14_390, 14_401)))  # and what a dissector of LBT-RM looks at


@needs_tshark
@pytest.mark.parametrize("protocol", [TCP, UDP])
def test_what_a_port_is_known_for_is_no_malformed_message(protocol: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(protocol)
    path = tmp_path / "known.pcap"
    with CaptureWriter(path) as writer:
        for number, port in enumerate(ports_known_to_tshark(protocol)):
            sizes = rng.integers(1, rng.choice([30, 90, 700, 1400], size=(4, 4)) + 1).tolist()
            flows = [
                dialogue(*each)
                if protocol == TCP
                else [Action("", turn % 2 == 1, size) for turn, size in enumerate(each)]
                for each in sizes
            ]
            table = flow_table(
                flows, port=port, protocol=protocol, client_port=61_000, start_ns=number * 10**13
            )
            table.packets.addresses[:, 13] = number % 256  # no analyser remembers a port
            table.packets.addresses[:, 14] = number // 256
            made = compile_flows(table, seed=number)
            writer.write(
                made.packets,
                prefix=made.prefix,
                prefix_start=made.prefix_start,
                prefix_length=made.prefix_length,
            )
    assert malformed(path) == []


@needs_tshark
@pytest.mark.parametrize("size", [28, 300, 700])
def test_a_quoted_datagram_is_quoted_with_its_payload(size: int, tmp_path: Path) -> None:
    """A DHCP message in an ICMP error, whole or cut off, and one that quotes more than there is."""
    ask = [Action("", False, 540), Action("", True, size, icmp=3 << 8 | 1)]
    table = flow_table([ask], protocol=UDP, port=67)
    table.packets.protocol[1] = ICMP
    table.packets.src_port[1] = table.packets.dst_port[1] = 0
    made = compile_flows(assemble_flows(table.packets), seed=1)
    assert malformed(write(made, tmp_path / "error.pcap")) == []
    parts = [
        made.prefix[start : start + length].tobytes()
        for start, length in zip(made.prefix_start, made.prefix_length, strict=True)
    ]
    assert parts[1][28:] == parts[0][: size - 28]
