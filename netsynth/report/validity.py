"""Validity: would a protocol analyser find the capture in order? Each share beside the real's."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import Array
from netsynth.report.fidelity import Figure
from netsynth.report.trace import Trace
from netsynth.tables import (
    ACK,
    CHECKSUM_IP_BAD,
    CHECKSUM_L4_BAD,
    CHECKSUM_L4_UNKNOWN,
    FIN,
    RST,
    SYN,
    TCP,
    FlowTable,
    PacketTable,
)

FAMILY = "validity"
TEXTS = {
    "two-way": "TCP sessions with packets both ways",
    "handshake": "of TCP sessions that start with SYN, those with SYN, SYN-ACK and ACK",
    "sequence": "TCP segments whose sequence number continues the last",
    "IP checksum": "packets whose IPv4 header checksum is right",
    "L4 checksum": "of packets whose TCP, UDP or ICMP checksum can be checked, those right",
    "order": "packets not earlier than the one before them in the capture",
}


def validity_shares(trace: Trace) -> dict[str, float | None]:
    """Shares of valid sessions and segments; None where the trace has nothing to judge.

    References:
        RFC 9293, sections 3.4 and 3.5.
    """
    order = np.argsort(trace.session, kind="stable")
    order = order[trace.packets.protocol[order] == TCP]
    packets, forward = trace.packets.take(order), trace.forward[order]
    _, starts, session = np.unique(trace.session[order], return_index=True, return_inverse=True)
    count = starts.size
    both = np.bincount(session, ~forward, minlength=count) > 0

    kind = packets.tcp_flags & (SYN | ACK | RST | FIN)
    row = np.arange(order.size, dtype=np.int64)

    def first_row(wanted: Array) -> Array:
        """First row of each session where `wanted`; past the end where none."""
        found = np.full(count, order.size, dtype=np.int64)
        np.minimum.at(found, session[wanted], row[wanted])
        return found

    opened = kind[starts] == SYN if count else np.zeros(0, dtype=np.bool_)
    answer = first_row((kind == SYN | ACK) & ~forward)
    last = first_row(forward & (kind & (SYN | ACK) == ACK) & (row > answer[session]))
    complete = opened & (last < order.size)
    return {
        "two-way": float(both.mean()) if count else None,
        "handshake": float(complete.sum() / opened.sum()) if opened.any() else None,
        "sequence": _continuing(trace),
    }


def _continuing(trace: Trace) -> float | None:
    tcp = trace.packets.protocol == TCP
    order = np.argsort(trace.flow, kind="stable")
    order = order[tcp[order]]
    packets, flow = trace.packets.take(order), trace.flow[order]
    taken = packets.payload_length.astype(np.int64)
    taken += (packets.tcp_flags & SYN > 0).astype(np.int64)
    taken += (packets.tcp_flags & FIN > 0).astype(np.int64)
    expected = (packets.seq.astype(np.int64) + taken)[:-1] & 0xFFFFFFFF
    inside = flow[1:] == flow[:-1]
    if not inside.any():
        return None
    return float((packets.seq[1:] == expected)[inside].mean())


def packet_shares(packets: PacketTable, *, in_file_order: bool) -> dict[str, float | None]:
    """Shares of right checksums and, where `packets` are in file order, of times in order."""
    version4 = packets.ip_version == 4
    known = packets.checksums & CHECKSUM_L4_UNKNOWN == 0
    shares: dict[str, float | None] = {
        "IP checksum": _share_clear(packets.checksums[version4] & CHECKSUM_IP_BAD),
        "L4 checksum": _share_clear(packets.checksums[known] & CHECKSUM_L4_BAD),
    }
    if in_file_order:
        gaps = np.diff(packets.time_ns)
        shares["order"] = float((gaps >= 0).mean()) if gaps.size else None
    return shares


def _share_clear(bits: Array) -> float | None:
    return float((bits == 0).mean()) if bits.size else None


def validity_figures(
    real: Trace,
    synthetic: Trace,
    real_table: FlowTable | PacketTable,
    synthetic_table: FlowTable | PacketTable,
) -> list[Figure]:
    """Validity of the synthetic capture (raw) beside that of the real one (real)."""
    found = []
    for trace, table in ((real, real_table), (synthetic, synthetic_table)):
        flows = isinstance(table, FlowTable)
        packets = table.packets if isinstance(table, FlowTable) else table
        found.append(validity_shares(trace) | packet_shares(packets, in_file_order=not flows))
    return [
        Figure(
            family=FAMILY,
            name=name,
            text=text,
            raw=found[1].get(name),
            real=found[0].get(name),
            note="" if found[1].get(name) is not None else "nothing to judge it by",
        )
        for name, text in TEXTS.items()
        if name in found[0] or name in found[1]
    ]
