"""Windows of packets, one after the other and one over the other, as one stream in time order.

Packets that spill past a window's end wait for the next one's, so that the stream stays sorted
and holds no more than about two windows at a time.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from netsynth.numbers import Array, IntArray
from netsynth.tables import PACKET_COLUMNS, TCP, UDP, FlowTable, PacketTable

if TYPE_CHECKING:
    from netsynth.demux import CompiledPackets

FIRST_USER_PORT = 1024  # RFC 6335 section 6: below it are the system's
LAST_PORT = 65535
LARGE = 64  # packets of a flow that may end earlier, behind the first half as many
SPARE = 0.25  # of the packets still wanted that a part may have too many to leave out whole flows


def chain_windows(
    windows: Iterable[list[CompiledPackets]], *, window_ns: int, start_ns: int
) -> Iterator[CompiledPackets]:
    """Put windows one after the other.

    Args:
        windows: For each stretch of time, the packets to lay over each other in it; none is
            before its stretch.
        window_ns: Length of a stretch, ns.
        start_ns: Time of the first stretch's start, ns since the epoch.

    Yields:
        Packets in time order, within and between the parts; `flow` counts on through the stream.
    """
    waiting: list[CompiledPackets] = []
    flow_count = 0
    for index, parts in enumerate(windows):
        for part in parts:
            waiting.append(dataclasses.replace(part, flow=part.flow + flow_count))
            flow_count += int(part.flow.max(initial=-1)) + 1
        if not waiting:
            continue
        end_ns = start_ns + (index + 1) * window_ns
        early, late = _split(merge_packets(waiting), at_ns=end_ns)
        waiting = [late] if len(late.packets) else []
        if len(early.packets):
            yield early
    if waiting:
        yield waiting[0]


def limit_packets(parts: Iterable[CompiledPackets], count: int) -> Iterator[CompiledPackets]:
    """Pass on the first `count` packets, and ask for no more parts than that takes.

    Where the last part has a few more, flows that begin last are left out whole, in proportion,
    then large flows end earlier. Cut off at a moment, whatever goes on just then would lack its
    end, and what begins the rest of its handshake.
    """
    left, seen = count, -1
    for part in parts:
        spare = len(part.packets) - left
        if 0 < spare <= SPARE * left:
            part = _leave_out(part, spare, after=seen)
        yield take_packets(part, np.arange(min(left, len(part.packets))))
        left -= len(part.packets)
        if left <= 0:
            return
        seen = max(seen, int(part.flow.max(initial=-1)))


def _leave_out(part: CompiledPackets, spare: int, *, after: int) -> CompiledPackets:
    """Leave out `spare` packets of flows numbered above `after`, as far as there are such: of those
    that begin last no larger a share than of packets, then the last ones of large flows."""
    flows, first, inverse, counts = np.unique(
        part.flow, return_index=True, return_inverse=True, return_counts=True
    )
    inverse = inverse.ravel()
    out = np.zeros(flows.size, dtype=np.bool_)
    rows = np.argsort(-first)
    most = math.ceil(spare / len(part.packets) * flows.size)
    for row in rows[flows[rows] > after][:most].tolist():
        if counts[row] <= spare:
            out[row] = True
            spare -= int(counts[row])
    order = np.argsort(inverse, kind="stable")
    place = np.empty(inverse.size, dtype=np.int64)  # of each packet in its flow
    place[order] = np.arange(inverse.size) - np.repeat(np.cumsum(counts) - counts, counts)
    kept = ~out[inverse]
    large = kept & (counts >= LARGE)[inverse] & (flows > after)[inverse] & (place >= LARGE // 2)
    kept[np.flatnonzero(large)[::-1][:spare]] = False
    return take_packets(part, np.flatnonzero(kept))


def limit_time(parts: Iterable[CompiledPackets], end_ns: int) -> Iterator[CompiledPackets]:
    """Pass on the packets before `end_ns`, and ask for no more parts than that takes."""
    for part in parts:
        count = int(np.searchsorted(part.packets.time_ns, end_ns))
        if count:
            yield take_packets(part, np.arange(count))
        if count < len(part.packets):
            return


def merge_packets(parts: list[CompiledPackets]) -> CompiledPackets:
    """Merge packets by time; at equal times the earlier part goes first."""
    if len(parts) == 1:
        return parts[0]
    tables = [part.packets for part in parts]
    address_starts = np.cumsum([0, *[len(table.addresses) for table in tables]])
    addresses, place = np.unique(
        np.concatenate([table.addresses for table in tables]), axis=0, return_inverse=True
    )
    place = place.reshape(-1).astype(np.int32)
    columns: dict[str, Array] = {
        name: np.concatenate([getattr(table, name) for table in tables]) for name in PACKET_COLUMNS
    }
    for name in ("src", "dst"):
        columns[name] = np.concatenate(
            [place[getattr(t, name) + a] for t, a in zip(tables, address_starts, strict=False)]
        )
    prefix_starts = np.cumsum([0, *[part.prefix.size for part in parts]])
    order = np.argsort(columns["time_ns"], kind="stable")
    return dataclasses.replace(
        parts[0],
        packets=PacketTable(addresses=addresses, **{n: c[order] for n, c in columns.items()}),
        flow=np.concatenate([part.flow for part in parts])[order],
        prefix=np.concatenate([part.prefix for part in parts]),
        prefix_start=np.concatenate(
            [part.prefix_start + at for part, at in zip(parts, prefix_starts, strict=False)]
        )[order],
        prefix_length=np.concatenate([part.prefix_length for part in parts])[order],
        repairs={
            name: sum(part.repairs.get(name, 0) for part in parts)
            for name in dict.fromkeys(key for part in parts for key in part.repairs)
        },
    )


def take_packets(part: CompiledPackets, rows: IntArray) -> CompiledPackets:
    """Keep the packets at `rows`, and of the prefix bytes only theirs."""
    if rows.size == len(part.packets):
        return part
    packets = part.packets.take(rows)
    used, place = np.unique(np.concatenate([packets.src, packets.dst]), return_inverse=True)
    src, dst = np.split(place.reshape(-1).astype(np.int32), 2)
    lengths, starts = part.prefix_length[rows], part.prefix_start[rows]
    new_starts = np.cumsum(lengths) - lengths
    inside = np.arange(int(lengths.sum())) - np.repeat(new_starts, lengths)
    return dataclasses.replace(
        part,
        packets=dataclasses.replace(packets, addresses=packets.addresses[used], src=src, dst=dst),
        flow=part.flow[rows],
        prefix=part.prefix[np.repeat(starts, lengths) + inside],
        prefix_start=new_starts,
        prefix_length=lengths,
    )


def shift_flows(flows: FlowTable, by_ns: int) -> FlowTable:
    """Move every packet in time."""
    packets = dataclasses.replace(flows.packets, time_ns=flows.packets.time_ns + by_ns)
    return dataclasses.replace(flows, packets=packets)


def take_flows(flows: FlowTable, rows: IntArray) -> FlowTable:
    """Keep the flows at `rows` (ascending) and their packets."""
    counts = np.diff(flows.offsets)[rows]
    offsets = np.concatenate(([0], np.cumsum(counts)))
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    at = np.repeat(flows.offsets[:-1][rows], counts) + inside  # [N]
    per_packet = {name: getattr(flows, name)[at] for name in ("reverse", "segment", "ack_class")}
    names = ("initiator", "responder", "initiator_port", "responder_port")
    per_flow = {name: getattr(flows, name)[rows] for name in names}
    return dataclasses.replace(
        flows,
        packets=flows.packets.take(at),
        offsets=offsets,
        **per_packet,
        **per_flow,
        protocol=flows.protocol[rows],
        ip_version=flows.ip_version[rows],
        label=flows.label[rows],
    )


def move_ports(flows: FlowTable, taken: set[tuple[bytes, bytes, int, int, int]]) -> FlowTable:
    """Give a flow another source port where its 5-tuple is taken, and take its tuple too.

    TCP flows whose source port is one of the system's (below 1024) are left out instead: two
    connections cannot share it. Of other protocols, both flows share the tuple.

    Args:
        flows: Flows to lay over others.
        taken: (initiator, responder, protocol, initiator's port, responder's port) of those
            others; grows by what is returned.
    """
    addresses = [address.tobytes() for address in flows.packets.addresses]
    port = flows.initiator_port.astype(np.int64)
    kept = np.ones(len(flows), dtype=np.bool_)
    here: set[tuple[bytes, bytes, int, int, int]] = set()  # these may take theirs again
    columns = (flows.initiator, flows.responder, flows.protocol, port, flows.responder_port)
    for row, (a, b, protocol, own, other) in enumerate(
        zip(*(column.tolist() for column in columns), strict=True)
    ):
        key = (addresses[a], addresses[b], protocol, own, other)
        if key in taken and protocol in (TCP, UDP):
            if own >= FIRST_USER_PORT:
                while key in taken or key in here:
                    own = FIRST_USER_PORT + (own + 1 - FIRST_USER_PORT) % (
                        LAST_PORT + 1 - FIRST_USER_PORT
                    )
                    key = (addresses[a], addresses[b], protocol, own, other)
                port[row] = own
            else:
                kept[row] = protocol != TCP
        here.add(key)
    taken |= here
    ports = port.astype(np.uint16)
    counts = np.diff(flows.offsets)
    own_port, other_port = np.repeat(ports, counts), np.repeat(flows.responder_port, counts)
    has_moved = np.repeat(ports != flows.initiator_port, counts)
    packets = flows.packets
    moved = dataclasses.replace(
        packets,
        src_port=np.where(
            has_moved, np.where(flows.reverse, other_port, own_port), packets.src_port
        ),
        dst_port=np.where(
            has_moved, np.where(flows.reverse, own_port, other_port), packets.dst_port
        ),
    )
    flows = dataclasses.replace(flows, packets=moved, initiator_port=ports)
    return flows if kept.all() else take_flows(flows, np.flatnonzero(kept))


def _split(part: CompiledPackets, *, at_ns: int) -> tuple[CompiledPackets, CompiledPackets]:
    count = int(np.searchsorted(part.packets.time_ns, at_ns))
    rows = np.arange(len(part.packets))
    return take_packets(part, rows[:count]), take_packets(part, rows[count:])
