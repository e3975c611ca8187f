"""Packets to flows: both directions of a connection in one row."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from netsynth.demux.census import group_addresses
from netsynth.demux.labels import LabelTable, assign_labels
from netsynth.errors import ConfigError
from netsynth.memory import is_large, new_array, new_columns
from netsynth.tables import PACKET_COLUMNS, FlowTable, PacketTable

ROW_BYTES = sum(np.dtype(dtype).itemsize for dtype in PACKET_COLUMNS.values())
logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class DemuxConfig:
    """When a flow that goes on counts as a new one, and how much of a capture is learned.

    Attributes:
        idle_timeout_ns: Silence, in ns, after which the next packet opens a new flow; None: never.
        active_timeout_ns: Age, in ns, from which on a packet opens a new flow; None: never.
        learned_packets: Packets of a capture to learn from at most; of a longer one, whole windows
            spread evenly over it. Memory to learn grows by about 0.6 GB for each million.
    """

    idle_timeout_ns: int | None = None
    active_timeout_ns: int | None = None
    learned_packets: int = 3_200_000

    def __post_init__(self) -> None:
        for name in ("idle_timeout_ns", "active_timeout_ns"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}, but must be at least 1, or None for never")
        if self.learned_packets < 1000:
            raise ConfigError(
                f"learned_packets is {self.learned_packets}, but must be 1000 or more"
            )


def assemble_flows(
    packets: PacketTable,
    *,
    config: DemuxConfig | None = None,
    labels: LabelTable | None = None,
) -> FlowTable:
    """Group packets into flows, decide who opened each, and classify the TCP segments.

    A flow is what shares addresses, ports, protocol and IP version in either direction; ICMP
    echoes share the identifier besides, other ICMP the type, and fragments after the first,
    which carry no ports, are a flow of their own. A new SYN on the same ports opens a new flow
    where more than SYNs went before (a closed connection, or one whose end was not captured).

    Args:
        packets: In any order of time; sorted first where needed, ties in input order.
        config: Timeouts, by default none.
        labels: Windows of labelled traffic, see `assign_labels`.

    Returns:
        Flows by time of first packet; equal times by input order. Their packets lie in files
        where they would take a good part of the machine's memory, see `netsynth.memory`.

    Raises:
        CaptureError: If the disk has no room for such packets.

    References:
        RFC 5103 sections 5.3 and 5.5 (bidirectional flows, who initiated); RFC 7011 section 2.
    """
    from netsynth.demux import grouping, segments

    config = config or DemuxConfig()
    if not grouping.is_sorted(packets.time_ns):
        logger.info("packets are out of order in time and were sorted")
        packets = packets.take(np.argsort(packets.time_ns, kind="stable"))
    in_file = is_large(len(packets) * ROW_BYTES)
    numbers = grouping.FlowNumbers(
        idle_ns=config.idle_timeout_ns or grouping.NEVER_NS,
        active_ns=config.active_timeout_ns or grouping.NEVER_NS,
    )
    flow_of_packet = new_array(len(packets), np.int32, in_file=in_file)
    numbers.number(packets, flow_of_packet)
    flow_count = numbers.count
    del numbers
    is_small = len(packets) < 1 << 31  # narrow rows are read faster
    order = new_array(len(packets), np.int32 if is_small else np.int64, in_file=in_file)
    offsets = grouping.counting_sort(flow_of_packet, flow_count, order)
    del flow_of_packet
    taken = new_columns(len(packets), list(PACKET_COLUMNS.values()), in_file=in_file)
    columns = dict(zip(PACKET_COLUMNS, taken, strict=True))
    del taken
    for name, column in columns.items():
        grouping.take_rows(getattr(packets, name), order, column)
    del order
    packets = PacketTable(addresses=packets.addresses, **columns)
    reverse = new_array(len(packets), np.bool_, in_file=in_file)
    is_forward = grouping.find_initiators(
        offsets,
        packets.src,
        packets.dst,
        packets.src_port,
        packets.dst_port,
        packets.protocol,
        packets.icmp,
        packets.tcp_flags,
        group_addresses(packets.addresses),
        reverse,
    )
    segment, ack_class = segments.classify_segments(
        offsets,
        reverse,
        packets.protocol,
        packets.ip_flags,
        packets.tcp_flags,
        packets.payload_length,
        packets.seq,
        packets.ack,
    )
    first = offsets[:-1]
    src, dst = packets.src[first], packets.dst[first]
    src_port, dst_port = packets.src_port[first], packets.dst_port[first]
    flows = FlowTable(
        packets=packets,
        offsets=offsets,
        reverse=reverse,
        segment=segment,
        ack_class=ack_class,
        initiator=np.where(is_forward, src, dst),
        responder=np.where(is_forward, dst, src),
        initiator_port=np.where(is_forward, src_port, dst_port),
        responder_port=np.where(is_forward, dst_port, src_port),
        protocol=packets.protocol[first],
        ip_version=packets.ip_version[first],
        label=np.zeros(flow_count, dtype=np.int16),
    )
    return flows if labels is None else assign_labels(flows, labels)
