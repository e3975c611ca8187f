"""TCP connections written down packet by packet, numbers and all."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.demux import assemble_flows
from netsynth.tables import NO_WINDOW_SCALE, FlowTable, PacketTable

CLIENT_BASE, SERVER_BASE = 2**32 - 5, 7_000  # the client's numbers wrap
MS = 1_000_000


class Packet(NamedTuple):
    """One packet; seq and ack relative to the first number of the side they count."""

    letters: str
    seq: int
    ack: int = 0
    payload: int = 0
    reverse: bool = False
    window: int = 1000
    option_bits: int = 0
    scale: int = NO_WINDOW_SCALE
    mss: int = 0
    ts_val: int = 0
    ts_ecr: int = 0


def flows_of(*connections: list[Packet], protocol: int = 6, port: int = 80) -> FlowTable:
    """Return the flows of connections that begin 1 s apart, 1 ms between packets."""
    packets = [packet for connection in connections for packet in connection]
    number = [n for n, connection in enumerate(connections) for _ in connection]
    place = [k for connection in connections for k in range(len(connection))]
    addresses = np.zeros((2, 16), dtype=np.uint8)
    addresses[:, 10:12] = 255
    addresses[:, 12:] = [[192, 0, 2, 1], [198, 51, 100, 2]]
    table = PacketTable.zeros(len(packets), addresses)
    for row, packet in enumerate(packets):
        own, other = (CLIENT_BASE, SERVER_BASE)[:: -1 if packet.reverse else 1]
        ends = (0, 1, 40_000 + number[row], port)
        src, dst, src_port, dst_port = (
            ends if not packet.reverse else (1, 0, port, 40_000 + number[row])
        )
        table.time_ns[row] = number[row] * 1000 * MS + place[row] * MS
        table.src[row], table.dst[row] = src, dst
        table.src_port[row], table.dst_port[row] = src_port, dst_port
        table.protocol[row], table.ip_version[row] = protocol, 4
        table.payload_length[row] = packet.payload
        if protocol != 6:
            continue
        table.tcp_flags[row] = sum(1 << "FSRPAUEC".index(letter) for letter in packet.letters)
        table.seq[row] = (own + packet.seq) % 2**32
        table.ack[row] = (other + packet.ack) % 2**32 if "A" in packet.letters else 0
        for name in ("window", "option_bits", "mss", "ts_val", "ts_ecr"):
            getattr(table, name)[row] = getattr(packet, name)
        table.window_scale[row] = packet.scale
    return assemble_flows(table)
