"""EncodedTrace -> FlowTable: tokens become addresses, ports, headers and actions again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.classes import ANY_PORT, SCTP, is_echo
from netsynth.encode.codec import META_FIELDS, Codec
from netsynth.encode.columns import STATE_SYN, are_over
from netsynth.encode.hosts import RARE_V4, RARE_V6, SPECIAL, as_keys, from_bits, is_v4
from netsynth.encode.least_sizes import raise_sizes
from netsynth.encode.load import hold_to
from netsynth.encode.lone_pairs import spread_pairs
from netsynth.encode.losses import mend_losses
from netsynth.encode.port_allocator import Lives, PortAllocator
from netsynth.encode.speakers import order_speakers
from netsynth.encode.tcp_windows import decode_windows
from netsynth.encode.windows import take_flows
from netsynth.errors import ConfigError
from netsynth.numbers import Array, IntArray
from netsynth.tables import (
    ICMP,
    ICMPV6,
    NO_WINDOW_SCALE,
    OPTION_SACK,
    OPTION_TIMESTAMPS,
    SYN,
    TCP,
    UDP,
    EncodedTrace,
    FlowTable,
    PacketTable,
)

TIMESTAMPS = ("ml", "sp", "eq")
OTHER_PORTS = 9  # draws of a responder port that is none of the services'
AddressMapping = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def decode(
    codec: Codec,
    trace: EncodedTrace,
    *,
    rng: np.random.Generator,
    ports: PortAllocator | None = None,
    timestamps: str = "ml",
    map_addresses: AddressMapping | None = None,
) -> FlowTable:
    """Turn one window back into flows of actions; times count from 0.

    Args:
        codec: What the trace was encoded with.
        trace: The window.
        rng: Draws ports and values within bins.
        ports: Remembers the ports of the windows before; None: this is the first.
        timestamps: "ml" as generated, "sp" evenly between a step's first and last packet, "eq"
            evenly over the step (CascadeNet section 5.1).
        map_addresses: Maps learned addresses [M, 16] to those to be written; None keeps them.

    Returns:
        Flows in order of start. Columns that follow by rule (sequence numbers, lengths,
        checksums) are left to the compiler and the writer.

    Raises:
        ConfigError: If `timestamps` is unknown.
    """
    if timestamps not in TIMESTAMPS:
        raise ConfigError(f"timestamps is {timestamps!r}; choose one of {', '.join(TIMESTAMPS)}")
    if timestamps == "ml":
        trace = hold_to(codec.load, trace)
    column = {f.name: trace.tokens[:, i].astype(np.int64) for i, f in enumerate(trace.token_fields)}
    names = ("service", "initiator", "responder")
    fixed = codec.has_fixed_ports(column["service"], column["initiator_port"])
    hosts = np.stack([column[n] for n in names], axis=1)
    hosts = spread_pairs(hosts, fixed, codec.lone_pairs, rng)
    column |= {n: hosts[:, i] for i, n in enumerate(names)}
    service = codec.services.rows[column["service"]]  # [F, 3]
    initiator = _addresses(codec, column["initiator"], trace.initiator_bits, rng)
    responder = _addresses(codec, column["responder"], trace.responder_bits, rng)
    version = np.where(is_v4(responder), 4, 6)
    initiator = _same_version(codec, initiator, version, column["initiator"])
    if map_addresses is not None:
        initiator, responder = map_addresses(initiator), map_addresses(responder)
    addresses, source, target = _intern(initiator, responder)
    protocol = service[:, 0]
    has_ports = np.isin(protocol, (TCP, UDP, SCTP))
    any_port = (service[:, 2] == ANY_PORT) & has_ports
    drawn = codec.numbers["port"].decode(
        np.repeat(np.maximum(column["responder_port"] - 1, 0)[:, None], OTHER_PORTS, axis=1),
        rng.random((len(trace), OTHER_PORTS)),
    )
    other_ports = np.clip(np.round(drawn), 1, 65535).astype(np.int64)
    some = np.flatnonzero(any_port)
    other_ports[some] = _services_last(codec, protocol[some], version[some], other_ports[some])
    fixed = np.where(has_ports, service[:, 2], 0)
    other_ports = np.where(any_port[:, None], other_ports, fixed[:, None])
    allocator = ports or PortAllocator(codec=codec.source_ports)
    identity = _identity(addresses)
    initiator_port, responder_port, free = allocator.allocate(
        np.where(has_ports, column["initiator_port"], 0),
        host=identity[source],
        peer=identity[target],
        protocol=protocol,
        responder_port=other_ports[:, 0],
        other_ports=other_ports[:, 1:],
        keys=np.stack([column[n] for n in ("initiator", "service", "responder")], axis=1),
        rng=rng,
        lives=_lives(codec, trace, column["shape"]),
        talks=trace.totals[:, 2:].sum(axis=1) > 0,
    )
    if not free.all():
        own = np.where(is_echo(service), np.arange(len(trace)), -1)  # an identifier each
        tuples = (identity[source], identity[target], initiator_port, responder_port, protocol, own)
        free = _longest(np.stack(tuples, axis=1), trace.duration_ns, free)
    packets, reverse, kinds = _packets(
        codec, trace, column, addresses, source, target, initiator_port, responder_port,
        protocol, version, timestamps, rng,
    )  # fmt: skip
    flows = FlowTable(
        packets=packets,
        offsets=trace.record_offsets,
        reverse=reverse,
        segment=kinds[:, 4].astype(np.uint8),
        ack_class=kinds[:, 5].astype(np.uint8),
        initiator=source,
        responder=target,
        initiator_port=initiator_port.astype(np.uint16),
        responder_port=responder_port.astype(np.uint16),
        protocol=protocol.astype(np.uint8),
        ip_version=version.astype(np.uint8),
        label=column["label"].astype(np.int16),
        label_names=codec.label_names,
    )
    flows = order_speakers(flows, column["service"], codec.speakers)
    flows = mend_losses(flows, codec.losses, rng)
    return flows if free.all() else take_flows(flows, np.flatnonzero(free))


def _lives(codec: Codec, trace: EncodedTrace, shape: IntArray) -> Lives:
    """When the 5-tuples of flows are in use; a new SYN opens a flow where one is over.

    Analysers take the SYN after a connection left open for a part of it, and refuse the rest.
    """
    rows = codec.shapes.rows[shape]
    is_tcp, state = rows[:, 0] == TCP, rows[:, 1]
    opens, is_over = is_tcp & (state & STATE_SYN > 0), is_tcp & are_over(state)
    end = trace.start_ns + trace.duration_ns
    if trace.record_ns.size:  # records may come a little later than durations say
        end = np.maximum(end, trace.record_ns[trace.record_offsets[1:] - 1])
    return Lives(
        begin_ns=np.where(opens, trace.start_ns, -np.inf),
        end_ns=np.where(is_over, end, np.inf),
        window_ns=trace.window_ns,
    )


def _longest(tuples: IntArray, duration_ns: IntArray, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which flows outlast all others of the same tuple [F, C] at the same time: bool [F].

    Two flows of one 5-tuple would be read as one; the short one is missed least. A flow whose
    tuple was `free` begins another life of it.
    """
    code = np.unique(tuples, axis=0, return_inverse=True)[1].ravel()
    in_time = np.argsort(code, kind="stable")
    life = np.empty(code.size, dtype=np.int64)
    life[in_time] = np.cumsum(free[in_time])
    order = np.lexsort((-duration_ns, life, code))
    kept = np.ones(duration_ns.size, dtype=np.bool_)
    kept[order[1:]] = (np.diff(code[order]) != 0) | (np.diff(life[order]) != 0)
    return kept


def _packets(
    codec: Codec,
    trace: EncodedTrace,
    column: dict[str, IntArray],
    addresses: NDArray[np.uint8],
    source: NDArray[np.int32],
    target: NDArray[np.int32],
    initiator_port: IntArray,
    responder_port: IntArray,
    protocol: IntArray,
    version: IntArray,
    timestamps: str,
    rng: np.random.Generator,
) -> tuple[PacketTable, NDArray[np.bool_], IntArray]:
    """Packet columns of the window, the direction of each and its kind row."""
    count = trace.records.shape[0]
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    kinds = codec.records.kinds.rows[trace.records[:, 0]]  # [N, 10]
    reverse = kinds[:, 1].astype(np.bool_)
    side = reverse.astype(np.int64)
    meta = np.stack([codec.meta.rows[column[name]] for name in META_FIELDS], axis=1)  # [F, 4, 4]
    meta = _fill_missing(meta)[flow, side + 2 * kinds[:, 7]]  # [N, 4]
    openings = np.stack(
        [codec.openings.rows[column[f"opening_{d}"]] for d in ("forward", "reverse")], axis=1
    )  # [F, 2, 3]
    opening, answer = openings[flow, side], openings[flow, 1 - side]
    packets = PacketTable.zeros(count, addresses)
    is_tcp = protocol[flow] == TCP
    flags = np.where(is_tcp, kinds[:, 3], 0)
    is_syn = is_tcp & ((flags & SYN) > 0)
    # RFC 7323 section 3.2: timestamps are sent where both sides offered them; -1 is no packet seen
    stamped = is_tcp & (opening[:, 0] > 0) & (kinds[:, 8] == 0)
    stamped &= (opening[:, 0] & answer[:, 0] & OPTION_TIMESTAMPS) > 0
    tells = kinds[:, 9] > 0  # blocks: which ones follows from what was sent
    is_icmp = np.isin(protocol[flow], (ICMP, ICMPV6))
    sizes = raise_sizes(
        trace.record_bytes, flow=flow, service=column["service"][flow], reverse=reverse,
        least=codec.least_sizes, rng=rng,
    )  # fmt: skip
    fill: dict[str, Array] = {
        "time_ns": _times(trace, timestamps, codec.tick_ns),
        "src": np.where(reverse, target[flow], source[flow]),
        "dst": np.where(reverse, source[flow], target[flow]),
        "src_port": np.where(reverse, responder_port[flow], initiator_port[flow]),
        "dst_port": np.where(reverse, initiator_port[flow], responder_port[flow]),
        "protocol": protocol[flow],
        "ip_version": version[flow],
        "ttl": np.clip(meta[:, 0], 1, 255),
        "tos": np.maximum(meta[:, 1], 0),
        "ip_flags": np.maximum(meta[:, 2], 0),
        "vlan": np.maximum(meta[:, 3], 0),
        "payload_length": np.clip(sizes, 0, 65000),
        "tcp_flags": flags,
        "window": decode_windows(
            codec.records.window.windows(),
            codec.records.closes,
            trace.records,
            flow * 2 + side,
            is_tcp,
        ),
        "option_bits": np.where(
            is_syn,
            np.maximum(opening[:, 0], 0),
            np.where(stamped, OPTION_TIMESTAMPS, 0) + np.where(is_tcp & tells, OPTION_SACK, 0),
        ),
        "mss": np.where(is_syn, np.maximum(opening[:, 1], 0), 0),
        "window_scale": np.where(is_syn & (opening[:, 2] >= 0), opening[:, 2], NO_WINDOW_SCALE),
        "icmp": np.where(is_icmp, kinds[:, 6], 0),
    }
    for name, values in fill.items():
        getattr(packets, name)[:] = values
    return packets, reverse, kinds


def _times(trace: EncodedTrace, timestamps: str, tick_ns: int) -> IntArray:
    """Times of the records, int64 [N], multiples of the tick, ascending in each flow."""
    time = trace.record_ns
    if timestamps != "ml" and time.size:
        step_ns = trace.window_ns / trace.step_count
        flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
        step = np.clip((time / step_ns).astype(np.int64), 0, trace.step_count - 1)
        begins = np.ones(time.size, dtype=np.bool_)
        begins[1:] = (flow[1:] != flow[:-1]) | (step[1:] != step[:-1])
        starts = np.flatnonzero(begins)
        counts = np.diff(np.append(starts, time.size))
        inside = np.arange(time.size) - np.repeat(starts, counts)
        group = np.repeat(np.arange(starts.size), counts)
        if timestamps == "sp":
            low = time[starts].astype(np.float64)
            high = time[starts + counts - 1].astype(np.float64)
            share = inside / np.maximum(counts - 1, 1)[group]
        else:
            low = step[starts].astype(np.float64) * step_ns
            high = low + step_ns
            share = (inside + 0.5) / counts[group]
        time = (low[group] + (high - low)[group] * share).astype(np.int64)
    return (time // tick_ns) * tick_ns


def _services_last(
    codec: Codec, protocol: IntArray, version: IntArray, ports: IntArray
) -> IntArray:
    """Move drawn ports [F, X] that have a token of their own behind those that have none.

    A flow of any port went to none of the services, and must not take the 5-tuple of one that did.
    The second port always differs from the first.
    """
    columns = np.broadcast_arrays(protocol[:, None], version[:, None], ports)
    rows = np.stack([c.ravel() for c in columns], axis=1)
    taken = (codec.services.find(rows) >= 0).reshape(ports.shape)
    ports = np.take_along_axis(ports, np.argsort(taken, axis=1, kind="stable"), axis=1)
    same = ports[:, 1] == ports[:, 0]  # all from a bin of one port: it may change still
    ports[same, 1] += np.where(ports[same, 0] < 65535, 1, -1)
    return ports


def _fill_missing(meta: IntArray) -> IntArray:
    """Fill header values that are missing (-1): of a direction from the other one, of later
    packets from the first."""
    first = np.where(meta[:, :2, :1] < 0, meta[:, 1::-1], meta[:, :2])
    later = np.where(meta[:, 2:, :1] < 0, first, meta[:, 2:])
    return np.concatenate([first, later], axis=1)


def _addresses(
    codec: Codec, token: IntArray, bits: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Addresses [F, 16] of host tokens; rare hosts take theirs from the bits, or draw it where
    the generator made none (all bits 0)."""
    rare = token < SPECIAL
    known = codec.hosts.addresses
    result = from_bits(bits)
    if known.shape[0]:
        result = np.where(rare[:, None], result, known[np.maximum(token - SPECIAL, 0)])
    v4 = token == RARE_V4
    result[v4, :10] = 0
    result[v4, 10:12] = 255
    wrong = (token == RARE_V6) & is_v4(result)
    result[wrong, 0] = 0x20  # 2000::/3, global unicast
    empty = np.flatnonzero(rare & ~bits.any(axis=1))
    result[empty] = codec.hosts.draw_rare(token[empty], rng)
    return result


def _same_version(
    codec: Codec, addresses: NDArray[np.uint8], version: IntArray, token: IntArray
) -> NDArray[np.uint8]:
    """Replace initiators whose IP version is not their responder's by a popular host of it."""
    wrong = np.where(is_v4(addresses), 4, 6) != version
    if not wrong.any():
        return addresses
    addresses = addresses.copy()
    for wanted in (4, 6):
        rows = np.flatnonzero(wrong & (version == wanted))
        hosts = np.flatnonzero(codec.hosts.ip_version[SPECIAL:] == wanted)
        if rows.size and hosts.size:
            addresses[rows] = codec.hosts.addresses[hosts[token[rows] % hosts.size]]
    return addresses


def _identity(addresses: NDArray[np.uint8]) -> IntArray:
    """A number for each address [A, 16] that is the same in every window, int64 [A]."""
    halves = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)  # [A, 2]
    mixed = halves[:, 0] * np.uint64(0x9E3779B97F4A7C15) ^ halves[:, 1]
    return mixed.astype(np.int64)


def _intern(
    initiator: NDArray[np.uint8], responder: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int32], NDArray[np.int32]]:
    """Distinct addresses [A, 16] and the rows of either side."""
    both = np.concatenate([initiator, responder])
    _, first, inverse = np.unique(as_keys(both), return_index=True, return_inverse=True)
    rows = inverse.ravel().astype(np.int32)
    count = initiator.shape[0]
    return both[first], rows[:count], rows[count:]
