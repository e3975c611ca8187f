"""A capture as the measures see it: TCP and UDP packets in time order, each with its flow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.tables import IP_FRAGMENT, TCP, UDP, FlowTable, PacketTable

NS_PER_S = 1_000_000_000


def mix(values: Array) -> NDArray[np.uint64]:
    """Hash each 64-bit integer to a well-spread one.

    Args:
        values: Integers, any dtype, [N].

    Returns:
        uint64 [N]; a bijection, so that equal results mean equal inputs.

    References:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014
        (the finaliser of SplitMix64).
    """
    z = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_columns(*columns: Array) -> NDArray[np.uint64]:
    """Hash each row of several integer columns, each [N], to one uint64 [N]; order matters."""
    state = np.zeros(columns[0].shape, dtype=np.uint64)
    for column in columns:
        state = mix(state ^ mix(column))
    return state


def address_codes(addresses: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Hash each address, uint8 [A, 16], to a uint64 [A] that is the same in every capture."""
    words = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)  # [A, 2]
    return hash_columns(words[:, 0], words[:, 1])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trace:
    """TCP and UDP packets of a capture in time order, with the flow and session of each.

    A directed flow is a 5-tuple over the whole trace, a session joins its two directions; neither
    is split by timeouts. Fragments after the first carry no ports and are left out.

    Attributes:
        packets: PacketTable [N], in time order.
        left_out: IP packets that are neither TCP nor UDP, or carry no ports.
        flow: int64 [N]; directed flow of each packet, 0..F-1.
        session: int64 [N]; session of each packet, 0..S-1.
        forward: bool [N]; True where the sender is that of the session's first packet.
        flow_session: int64 [F]; session of each directed flow.
        session_count: S.
        codes: uint64 [A]; one per row of packets.addresses, the same in every capture.
        label: int16 [N]; row of label_names for each packet, 0 throughout where nobody labelled.
        label_names: Names of labels; the first is "".
    """

    packets: PacketTable
    left_out: int
    flow: IntArray
    session: IntArray
    forward: NDArray[np.bool_]
    flow_session: IntArray
    session_count: int
    codes: NDArray[np.uint64]
    label: NDArray[np.int16]
    label_names: tuple[str, ...] = ("",)

    def __len__(self) -> int:
        return len(self.packets)

    @property
    def flow_count(self) -> int:
        """Directed flows, F."""
        return int(self.flow_session.size)

    @property
    def duration_ns(self) -> int:
        """Last minus first time, ns; 0 for fewer than two packets."""
        times = self.packets.time_ns
        return int(times[-1] - times[0]) if times.size else 0

    @property
    def duration_s(self) -> float:
        """Last minus first time, s."""
        return self.duration_ns / NS_PER_S

    def take(self, wanted: Array) -> Trace:
        """The packets that are True in `wanted`, bool [N], as a trace of its own."""
        return _with_flows(
            self.packets.take(wanted),
            left_out=0,
            label=self.label[wanted],
            label_names=self.label_names,
        )


Traffic = FlowTable | PacketTable | Trace


def packets_of(traffic: Traffic) -> PacketTable:
    """The packets of a capture: all of them, or those of a trace."""
    return traffic if isinstance(traffic, PacketTable) else traffic.packets


def trace_of(table: Traffic) -> Trace:
    """Take the TCP and UDP packets of `table` in time order and find their flows and sessions."""
    if isinstance(table, Trace):
        return table
    packets = table.packets if isinstance(table, FlowTable) else table
    wanted = ((packets.protocol == TCP) | (packets.protocol == UDP)) & (
        packets.ip_flags & IP_FRAGMENT == 0
    )
    rows = np.flatnonzero(wanted)
    rows = rows[np.argsort(packets.time_ns[rows], kind="stable")]
    label = np.zeros(rows.size, dtype=np.int16)
    if isinstance(table, FlowTable):
        label = table.label[table.flow_of_packet[rows]]
    return _with_flows(
        packets.take(rows),
        left_out=len(packets) - rows.size,
        label=label,
        label_names=table.label_names if isinstance(table, FlowTable) else ("",),
    )


def _with_flows(
    packets: PacketTable,
    *,
    left_out: int,
    label: NDArray[np.int16],
    label_names: tuple[str, ...],
) -> Trace:
    codes = address_codes(packets.addresses)
    source = hash_columns(codes[packets.src], packets.src_port)
    target = hash_columns(codes[packets.dst], packets.dst_port)
    low, high = np.minimum(source, target), np.maximum(source, target)
    _, first, session = np.unique(
        hash_columns(low, high, packets.protocol), return_index=True, return_inverse=True
    )
    upward = source <= target
    keys, flow = np.unique(session * 2 + upward, return_inverse=True)
    return Trace(
        packets=packets,
        left_out=left_out,
        flow=flow.astype(np.int64),
        session=session.astype(np.int64),
        forward=upward == upward[first][session],
        flow_session=(keys // 2).astype(np.int64),
        session_count=int(first.size),
        codes=codes,
        label=label,
        label_names=label_names,
    )


def time_halves(trace: Trace) -> tuple[Trace, Trace]:
    """Cut a trace at the middle of its time into two traces."""
    times = trace.packets.time_ns
    cut = times[0] + trace.duration_ns // 2 if times.size else 0
    early = times <= cut
    return trace.take(early), trace.take(~early)


def first_stretch(trace: Trace, *, duration_ns: int) -> Trace:
    """The part of a trace up to `duration_ns` after its first packet."""
    times = trace.packets.time_ns
    return trace.take(times <= times[:1] + duration_ns)


def some_sessions(trace: Trace, wanted: NDArray[np.bool_]) -> Trace:
    """The packets of the sessions that are True in `wanted`, bool [S]."""
    return trace.take(wanted[trace.session])


def flow_sums(trace: Trace, values: Array) -> FloatArray:
    """Sum one value a packet, [N], over each directed flow; float64 [F]."""
    return np.bincount(
        trace.flow, weights=values.astype(np.float64), minlength=trace.flow_count
    ).astype(np.float64)
