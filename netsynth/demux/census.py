"""Counts of a capture's flows, taken while its packets stream by.

What `assemble_flows` would find out, without keeping a packet: memory grows with the number of
flows alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray
from netsynth.tables import ACK, FIN, RST, SYN, TCP, FlowTable, PacketTable

# What was seen of a flow, by bits; "same" is the way of its first packet.
SYN_SAME, SYN_OTHER, ACCEPT_SAME, ACCEPT_OTHER = 1, 2, 4, 8
FIN_SAME, FIN_OTHER, RESET, OTHER = 16, 32, 64, 128
FIRST_ROOM = 4096
ENDS = ("whole", "open at the end", "refused", "unanswered", "begun before")

# Columns of a flow while it is counted, and what they hold.
COLUMNS = {
    "packets": np.int64,
    "wire_bytes": np.int64,
    "src": np.int32,  # of the first packet
    "dst": np.int32,
    "src_port": np.uint16,
    "dst_port": np.uint16,
    "protocol": np.uint8,
    "first_way": np.uint8,  # bit 1: from initiator to responder; bit 2: that is decided
    "seen": np.uint8,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowCensus:
    """One row a flow, both directions, in order of the first packet.

    Attributes:
        addresses: uint8 [A, 16]; `initiator` and `responder` are rows of it.
        initiator: int32 [F], who opened the flow.
        responder: int32 [F].
        responder_port: uint16 [F]; 0 where the protocol has none.
        protocol: uint8 [F].
        packets: int64 [F].
        wire_bytes: int64 [F], bytes on the wire.
        tcp_end: int8 [F], place in ENDS of TCP flows, -1 of others: "whole" (handshake and end),
            "open at the end", "refused" (RST for an answer), "unanswered", "begun before".
        label: int16 [F], row of `label_names`.
        label_names: Names of labels; the first is "".
        version_packets: IP version -> packets.
        vlans: VLAN ids seen, ascending, without 0 for untagged.
    """

    addresses: NDArray[np.uint8]
    initiator: NDArray[np.int32]
    responder: NDArray[np.int32]
    responder_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]
    packets: IntArray
    wire_bytes: IntArray
    tcp_end: NDArray[np.int8]
    label: NDArray[np.int16]
    label_names: tuple[str, ...]
    version_packets: dict[int, int]
    vlans: tuple[int, ...]

    def __len__(self) -> int:
        return int(self.packets.size)


def count_flows(chunks: Iterable[PacketTable]) -> FlowCensus:
    """Count the flows of a capture that comes in chunks.

    Args:
        chunks: Packets in order of time, each chunk's `addresses` beginning with those of the one
            before, as `iter_capture` gives them.

    Returns:
        What `assemble_flows` would find, without timeouts.
    """
    from netsynth.demux.grouping import FlowNumbers
    from netsynth.demux.tally import tally

    numbers = FlowNumbers()
    addresses = np.zeros((0, 16), dtype=np.uint8)
    columns = {name: np.zeros(FIRST_ROOM, dtype=dtype) for name, dtype in COLUMNS.items()}
    vlans = np.zeros(4096, dtype=np.bool_)
    versions: IntArray = np.zeros(16, dtype=np.int64)
    is_group = np.zeros(0, dtype=np.bool_)
    for chunk in chunks:
        if len(chunk.addresses) > len(addresses):
            is_group = group_addresses(chunk.addresses)
        addresses = chunk.addresses
        flow = np.empty(len(chunk), dtype=np.int32)
        known = numbers.count
        numbers.number(chunk, flow)
        while len(columns["seen"]) < numbers.count:
            for name, column in columns.items():
                columns[name] = np.concatenate((column, np.zeros_like(column)))
        tally(
            flow,
            known,
            chunk.src,
            chunk.dst,
            chunk.src_port,
            chunk.dst_port,
            chunk.protocol,
            chunk.ip_version,
            chunk.icmp,
            chunk.tcp_flags,
            chunk.vlan,
            chunk.wire_length,
            is_group,
            vlans,
            versions,
            *columns.values(),
        )
    return _finish(
        {name: column[: numbers.count] for name, column in columns.items()},
        addresses,
        vlans,
        versions,
    )


def _finish(
    columns: dict[str, Array],
    addresses: NDArray[np.uint8],
    vlans: NDArray[np.bool_],
    versions: IntArray,
) -> FlowCensus:
    forward = columns["first_way"] & 1 > 0
    vlans[0] = False
    return FlowCensus(
        addresses=addresses,
        initiator=np.where(forward, columns["src"], columns["dst"]),
        responder=np.where(forward, columns["dst"], columns["src"]),
        responder_port=np.where(forward, columns["dst_port"], columns["src_port"]),
        protocol=columns["protocol"],
        packets=columns["packets"],
        wire_bytes=columns["wire_bytes"],
        tcp_end=_tcp_ends(columns["protocol"] == TCP, forward, columns["seen"]),
        label=np.zeros(forward.size, dtype=np.int16),
        label_names=("",),
        version_packets={v: int(versions[v]) for v in (4, 6) if versions[v]},
        vlans=tuple(np.flatnonzero(vlans).tolist()),
    )


def census_of(flows: FlowTable) -> FlowCensus:
    """Count assembled flows."""
    packets, starts = flows.packets, flows.offsets[:-1]
    flags, reverse = packets.tcp_flags, flows.reverse
    opening = flags & (SYN | ACK)
    seen = np.zeros(len(packets), dtype=np.uint8)
    for bit, shown in (
        (SYN_SAME, (opening == SYN) & ~reverse),
        (SYN_OTHER, (opening == SYN) & reverse),
        (ACCEPT_SAME, (opening == SYN | ACK) & ~reverse),
        (ACCEPT_OTHER, (opening == SYN | ACK) & reverse),
        (FIN_SAME, (flags & FIN > 0) & ~reverse),
        (FIN_OTHER, (flags & FIN > 0) & reverse),
        (RESET, flags & RST > 0),
        (OTHER, reverse),
    ):
        seen |= np.where(shown, np.uint8(bit), np.uint8(0))
    version, count = np.unique(packets.ip_version, return_counts=True)
    forward = np.ones(len(flows), dtype=np.bool_)
    by_flow = np.bitwise_or.reduceat(seen, starts) if len(flows) else seen
    sizes = packets.wire_length.astype(np.int64)
    return FlowCensus(
        addresses=packets.addresses,
        initiator=flows.initiator,
        responder=flows.responder,
        responder_port=flows.responder_port,
        protocol=flows.protocol,
        packets=np.diff(flows.offsets),
        wire_bytes=np.add.reduceat(sizes, starts) if len(flows) else sizes,
        tcp_end=_tcp_ends(flows.protocol == TCP, forward, by_flow),
        label=flows.label,
        label_names=flows.label_names,
        version_packets=dict(zip(version.tolist(), count.tolist(), strict=True)),
        vlans=tuple(vlan for vlan in np.unique(packets.vlan).tolist() if vlan),
    )


def _tcp_ends(
    is_tcp: NDArray[np.bool_], forward: NDArray[np.bool_], seen: NDArray[np.uint8]
) -> NDArray[np.int8]:
    """Place in ENDS of each TCP flow, -1 of others, int8 [F].

    Args:
        is_tcp: bool [F].
        forward: bool [F]; True where the first packet runs from initiator to responder.
        seen: uint8 [F], bits as above.
    """

    def has(bit: int, other_bit: int) -> NDArray[np.bool_]:
        return np.where(forward, seen & bit, seen & other_bit) > 0

    opened, accepted = has(SYN_SAME, SYN_OTHER), has(ACCEPT_OTHER, ACCEPT_SAME)
    answered = ~forward | (seen & OTHER > 0)
    closed = (seen & (FIN_SAME | FIN_OTHER) == FIN_SAME | FIN_OTHER) | (seen & RESET > 0)
    conditions = [~is_tcp, ~opened, accepted & closed, accepted, answered]
    places = [-1, 4, 0, 1, 2]
    return np.select(conditions, places, default=3).astype(np.int8)


def group_addresses(addresses: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Say which addresses [A, 16] are multicast or limited broadcast, bool [A].

    References:
        RFC 1112 section 4 (224.0.0.0/4), RFC 919 section 7, RFC 4291 section 2.7 (ff00::/8).
    """
    is_v4 = (addresses[:, :10] == 0).all(axis=1) & (addresses[:, 10:12] == 255).all(axis=1)
    is_multicast_v4 = (addresses[:, 12] & 0xF0) == 0xE0
    is_broadcast = (addresses[:, 12:] == 255).all(axis=1)
    result: NDArray[np.bool_] = np.where(
        is_v4, is_multicast_v4 | is_broadcast, addresses[:, 0] == 255
    )
    return result
