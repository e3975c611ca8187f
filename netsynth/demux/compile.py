"""Actions to packets: what must be exact about a flow is computed here, not learned."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.hashing import Words, hash_addresses, hash_flows, mix
from netsynth.errors import ConfigError
from netsynth.numbers import IntArray
from netsynth.tables import (
    ICMP,
    ICMPV6,
    IN_ORDER,
    IP_DF,
    IP_FRAGMENT,
    IP_MF,
    KEEP_ALIVE,
    TCP,
    UDP,
    FlowTable,
    PacketTable,
    option_lengths,
)

if TYPE_CHECKING:
    from netsynth.demux.options import LastOptions
    from netsynth.demux.payloads import Prefixes

logger = logging.getLogger(__name__)

PAYLOADS = ("templates", "zero", "random", "none")
IDLE_NS = 1_000_000  # keep-alives follow silence (RFC 1122 section 4.2.3.6); shorter is none


@dataclass(frozen=True, kw_only=True, slots=True)
class CompiledPackets:
    """Packets ready to be written, in time order.

    Attributes:
        packets: PacketTable [N], every column filled.
        flow: int64 [N], row of the FlowTable that each packet came from.
        prefix: uint8 [P], first payload bytes of the packets; what follows them is filler. Of a
            packet with OPTION_SACK it is that option, as `CaptureWriter.write` wants it.
        prefix_start: int64 [N], where in `prefix` each packet's bytes begin.
        prefix_length: int64 [N], bytes, at most the packet's payload_length and option.
        repairs: What had to be mended to keep the dialogues legal, and how often; the names are
            explained in `netsynth.demux.dialogue`.
    """

    packets: PacketTable
    flow: IntArray
    prefix: NDArray[np.uint8]
    prefix_start: IntArray
    prefix_length: IntArray
    repairs: dict[str, int]


def compile_flows(flows: FlowTable, *, seed: int, payload: str = "templates") -> CompiledPackets:
    """Turn flows of actions into packets with consistent numbers.

    Reads times, directions, ports, flags, payload lengths, segment and ack classes, windows,
    options and ICMP types; computes seq, ack, ip_id, timestamps, ip_length and wire_length, and
    mends what no host would send (counted in `repairs`). Packet count, times and directions
    stay as they are, but for clients that did not wait for their SYN-ACK, and for a SYN-ACK or a
    last acknowledgement that is added.

    Args:
        flows: Packets agree with their flow's initiator and responder.
        seed: Same seed and flows, same packets. Numbers depend on a flow's start and ends, not
            on the table, and clocks on the host: a trace in pieces keeps one seed.
        payload: "templates" begins messages as the application of the port does; "zero",
            "random" and "none" leave all payload bytes to the writer.

    Raises:
        ConfigError: If payload is unknown.
    """
    from netsynth.demux import additions, dialogue, handshakes

    if payload not in PAYLOADS:
        raise ConfigError(f"payload is {payload!r}, but must be one of {', '.join(PAYLOADS)}")
    repairs = np.zeros(len(dialogue.REPAIRS), dtype=np.int64)
    flows = handshakes.order_handshakes(additions.add_answers(flows, repairs), repairs)
    columns = {name: getattr(flows.packets, name).copy() for name in _REWRITTEN}
    flows = replace(
        flows,
        packets=replace(flows.packets, **columns),
        segment=flows.segment.copy(),
        ack_class=flows.ack_class.copy(),
    )
    _mend_flags(flows, repairs)
    flows = additions.add_acknowledgements(flows, repairs)
    words = hash_flows(flows, seed)
    data_at, last = _fill_columns(flows, words, seed, repairs)
    _fill_lengths(flows.packets, last)
    order = np.argsort(flows.packets.time_ns, kind="stable")
    counted = dict(zip(dialogue.REPAIRS, repairs.tolist(), strict=True))
    mended = {name: number for name, number in counted.items() if number}
    if mended:
        logger.info("repairs: %s", ", ".join(f"{name} {n}" for name, n in mended.items()))
    packets = flows.packets.take(order)
    prefixes = _fill_prefixes(flows, packets, order, data_at, words, payload == "templates")
    prefixes = _prepend_options(prefixes, last, order)
    return CompiledPackets(
        packets=packets,
        flow=flows.flow_of_packet[order],
        prefix=prefixes.data,
        prefix_start=prefixes.start,
        prefix_length=prefixes.length,
        repairs=counted,
    )


_REWRITTEN = (
    "ip_flags",
    "ip_id",
    "ip_length",
    "wire_length",
    "payload_length",
    "tcp_flags",
    "seq",
    "ack",
    "window",
    "option_bits",
    "mss",
    "window_scale",
    "ts_val",
    "ts_ecr",
    "checksums",
)


def _mend_flags(flows: FlowTable, repairs: IntArray) -> None:
    """Make the flags of all packets legal, and fill up messages that are too short, in place."""
    from netsynth.demux import closings, dialogue
    from netsynth.demux.payloads import find_short_messages

    p = flows.packets
    is_fragment = (p.ip_flags & (IP_MF | IP_FRAGMENT)) != 0
    repairs[dialogue.REPAIRS.index("fragment_joined")] = np.count_nonzero(is_fragment)
    short, sizes = find_short_messages(flows)
    p.payload_length[short] = sizes
    repairs[dialogue.REPAIRS.index("message_filled")] = short.size
    busy = np.flatnonzero((flows.segment == KEEP_ALIVE) & (p.payload_length == 0))
    busy = busy[~np.isin(busy, flows.offsets)]  # nothing before it
    busy = busy[p.time_ns[busy] - p.time_ns[busy - 1] < IDLE_NS]
    flows.segment[busy] = IN_ORDER
    repairs[dialogue.REPAIRS.index("early_keep_alive")] = busy.size
    p.ip_flags[:] &= IP_DF
    dialogue.repair_flags(
        flows.offsets,
        flows.reverse,
        p.protocol,
        p.tcp_flags,
        p.payload_length,
        flows.segment,
        flows.ack_class,
        repairs,
    )
    closings.repair_closings(
        flows.offsets,
        flows.reverse,
        p.protocol,
        p.tcp_flags,
        p.payload_length,
        flows.segment,
        flows.ack_class,
        repairs,
    )


def _fill_columns(
    flows: FlowTable, words: Words, seed: int, repairs: IntArray
) -> tuple[IntArray, LastOptions]:
    """Fill numbers and options of all packets in place; return data_at, int64 [N], and options."""
    from netsynth.demux import datagrams, openings, options, sack

    p = flows.packets
    for name in ("ip_id", "seq", "ack", "ts_val", "ts_ecr", "checksums"):
        getattr(p, name)[:] = 0
    completed = openings.complete_openings(flows, repairs)
    options.negotiate_options(
        flows.offsets,
        flows.reverse,
        p.protocol,
        p.ip_version,
        p.tcp_flags,
        p.payload_length,
        p.window,
        p.option_bits,
        p.mss,
        p.window_scale,
        completed,
        repairs,
    )
    clock = _clocks(p, seed)
    initial = mix(words, 4).view(np.uint32).reshape(-1, 2)  # [F, 2], one a side
    data_at, delay_ns = _number_segments(flows, clock, initial, repairs)
    blocks = sack.add_blocks(flows, data_at, initial, delay_ns)
    padding = options.find_padding(p)
    last = options.LastOptions(
        np.concatenate([blocks.rows, padding.rows]),
        np.concatenate([blocks.lengths, padding.lengths]),
        np.concatenate([blocks.options(), padding.data]),
    )
    p.ts_val[:] = np.where(p.option_bits & 8, clock, 0)
    datagrams.number_echoes(
        flows.offsets,
        p.time_ns,
        p.protocol,
        p.ip_flags,
        p.icmp,
        p.payload_length,
        int(mix(words[:1], 5)[0] & 0xFFFF) if len(flows) else 0,
        p.seq,
    )
    datagrams.number_packets(
        flows.offsets,
        flows.reverse,
        p.ip_version,
        p.ip_flags,
        p.tcp_flags,
        mix(words, 6).view(np.uint16).reshape(-1, 4),
        p.ip_id,
    )
    return data_at, last


def _fill_prefixes(
    flows: FlowTable,
    packets: PacketTable,
    order: IntArray,
    data_at: IntArray,
    words: Words,
    has_templates: bool,
) -> Prefixes:
    """Return the prefixes of `packets`, which are those of `flows` in time order."""
    from netsynth.demux.payloads import Prefixes, build_prefixes
    from netsynth.demux.payloads.network import quote_packets

    none = np.zeros(len(packets), dtype=np.int64)
    if not has_templates:
        return Prefixes(np.zeros(0, dtype=np.uint8), none, none.copy())
    data, start, length = build_prefixes(flows, data_at, words=words)
    start, length = start[order], length[order]
    quotes = quote_packets(packets, lambda row: data[start[row] : start[row] + length[row]])
    place, pieces = data.size, [data]
    for row, quote in quotes.items():
        start[row], length[row] = place, min(len(quote), int(packets.payload_length[row]))
        place += len(quote)
        pieces.append(np.frombuffer(quote, dtype=np.uint8))
    return Prefixes(np.concatenate(pieces), start, length)


def _number_segments(
    flows: FlowTable, clock: NDArray[np.uint32], initial: NDArray[np.uint32], repairs: IntArray
) -> tuple[IntArray, IntArray]:
    """Plan, then fill seq, ack and ts_ecr of the TCP flows.

    Returns:
        data_at, int64 [N], and the shortest answer of each flow and side, ns, int64 [F, 2].
    """
    from netsynth.demux import numbering, planning

    p, count = flows.packets, len(flows.packets)
    delay_ns = np.zeros((len(flows), 2), dtype=np.int64)
    sent, goal, share = (np.zeros(count, dtype=np.int32) for _ in range(3))
    hole, answered, data_at = (np.zeros(count, dtype=np.int64) for _ in range(3))
    dialogue = (flows.offsets, p.time_ns, flows.reverse, p.protocol, p.tcp_flags, p.payload_length)
    planning.plan_acknowledgements(
        *dialogue, flows.segment, flows.ack_class, delay_ns, sent, goal, share
    )
    planning.plan_holes(*dialogue, flows.segment, flows.ack_class, hole)
    planning.plan_resets(flows.offsets, flows.reverse, p.protocol, p.tcp_flags, answered)
    numbering.number_segments(
        *dialogue,
        flows.segment,
        flows.ack_class,
        p.window,
        p.option_bits,
        p.window_scale,
        p.mss,
        clock,
        initial,
        delay_ns,
        sent,
        goal,
        share,
        hole,
        answered,
        repairs,
        p.seq,
        p.ack,
        p.ts_ecr,
        data_at,
    )
    return data_at, delay_ns


def _clocks(packets: PacketTable, seed: int) -> NDArray[np.uint32]:
    """Timestamp clock of the sender at each packet: 1 kHz from an offset of its own, uint32 [N].

    References:
        RFC 7323 section 5.4.
    """
    offset_ms = (hash_addresses(packets.addresses, seed) >> np.uint64(32)).astype(np.int64)  # [A]
    ticks = packets.time_ns // 1_000_000 + offset_ms[packets.src]
    return (ticks & 0xFFFFFFFF).astype(np.uint32)


def _prepend_options(prefixes: Prefixes, last: LastOptions, order: IntArray) -> Prefixes:
    """Let the prefixes of segments with last options, which are bare, be these."""
    if last.rows.size == 0:
        return prefixes
    from netsynth.demux.payloads import Prefixes

    place = np.empty(order.size, dtype=np.int64)
    place[order] = np.arange(order.size)
    start, length = prefixes.start.copy(), prefixes.length.copy()
    length[place[last.rows]] = last.lengths
    start[place[last.rows]] = prefixes.data.size + np.cumsum(last.lengths) - last.lengths
    return Prefixes(np.concatenate([prefixes.data, last.data]), start, length)


def _fill_lengths(packets: PacketTable, last: LastOptions) -> None:
    """Set ip_length and wire_length of every packet from its headers and payload."""
    bits = packets.option_bits
    lengths = option_lengths()
    header = np.zeros(256, dtype=np.int64)
    header[[TCP, UDP, ICMP, ICMPV6]] = 20, 8, 8, 8
    length = header[packets.protocol] + packets.payload_length
    length += np.where(packets.protocol == TCP, lengths[bits], 0)
    length += np.where(packets.ip_version == 4, 20, 40)
    length[last.rows] += last.lengths
    packets.ip_length[:] = np.minimum(length, 65535)
    packets.wire_length[:] = length + 14 + np.where(packets.vlan > 0, 4, 0)
