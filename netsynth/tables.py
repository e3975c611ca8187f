"""The types that cross a room's wall: PacketTable, FlowTable and EncodedTrace.

Letters: N packets, F flows, T steps, A addresses, D static columns, K token fields. Time is int64
nanoseconds since the epoch, sizes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import TableError
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec

Numbers = TypeVar("Numbers", bound=Any)  # an array of numpy or a tensor

ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58  # IANA protocol numbers
FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128  # RFC 9293 section 3.1

OPTION_MSS, OPTION_WINDOW_SCALE, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, OPTION_SACK = (
    1,
    2,
    4,
    8,
    16,
)
PADDING_BITS = 5  # places above OPTION_*: a SYN's option_bits >> 5 are its words of padding
NO_WINDOW_SCALE = 255
IP_DF, IP_MF, IP_FRAGMENT = 2, 1, 4  # IP_FRAGMENT: fragment offset is not 0, so no ports
CHECKSUM_IP_BAD, CHECKSUM_L4_BAD, CHECKSUM_L4_UNKNOWN = 1, 2, 4

PACKET_COLUMNS: dict[str, type] = {
    "time_ns": np.int64,  # ns since the epoch
    "src": np.int32,  # row of `addresses`
    "dst": np.int32,  # row of `addresses`
    "src_port": np.uint16,  # TCP, UDP and SCTP; 0 elsewhere
    "dst_port": np.uint16,
    "protocol": np.uint8,  # IANA number; for IPv6 the one after the extension headers
    "ip_version": np.uint8,  # 4 or 6
    "ttl": np.uint8,  # TTL or hop limit
    "tos": np.uint8,  # DSCP and ECN, or traffic class
    "ip_flags": np.uint8,  # IP_DF | IP_MF | IP_FRAGMENT
    "ip_id": np.uint16,  # IPv4 identification; 0 for IPv6
    "ip_length": np.uint16,  # IP header and payload, bytes (IPv6: + 40); 65535 where larger
    "wire_length": np.uint32,  # frame as it was on the wire, bytes
    "payload_length": np.uint16,  # TCP, UDP or ICMP payload (IP payload of other protocols), bytes
    "tcp_flags": np.uint8,  # FIN | SYN | ... ; 0 for other protocols
    "seq": np.uint32,  # TCP sequence number; ICMP: "rest of header" (RFC 792)
    "ack": np.uint32,
    "window": np.uint16,  # as in the header, unscaled
    "option_bits": np.uint8,  # OPTION_*: the TCP options present (of a SYN: SACK is padding)
    "mss": np.uint16,  # 0 where absent
    "window_scale": np.uint8,  # NO_WINDOW_SCALE where absent
    "ts_val": np.uint32,  # RFC 7323 timestamps; 0 where absent
    "ts_ecr": np.uint32,
    "icmp": np.uint16,  # ICMP type << 8 | code; 0 for other protocols
    "vlan": np.uint16,  # outermost VLAN id; 0 where untagged
    "checksums": np.uint8,  # CHECKSUM_*: what was found wrong, or could not be checked
}


def option_lengths() -> NDArray[np.int64]:
    """Return the bytes that the TCP options of each `option_bits` take at least, int64 [256].

    SACK blocks are not counted.

    References:
        RFC 9293 section 3.2, RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2.
    """
    lengths: NDArray[np.int64] = np.zeros(256, dtype=np.int64)
    for bit, size in ((1, 4), (2, 3), (4, 2), (8, 10)):
        lengths += np.where(np.arange(256) & bit, size, 0)
    return (lengths + 3) // 4 * 4


@dataclass(frozen=True, kw_only=True, slots=True)
class PacketTable:
    """One row a packet, at most 64 bytes; `PACKET_COLUMNS` lists names, dtypes and meaning.

    Attributes:
        addresses: uint8 [A, 16], distinct IP addresses, IPv4 as IPv4-mapped IPv6 (RFC 4291
            section 2.5.5.2); `src` and `dst` are rows of it.
    """

    addresses: NDArray[np.uint8]
    time_ns: IntArray
    src: NDArray[np.int32]
    dst: NDArray[np.int32]
    src_port: NDArray[np.uint16]
    dst_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]
    ip_version: NDArray[np.uint8]
    ttl: NDArray[np.uint8]
    tos: NDArray[np.uint8]
    ip_flags: NDArray[np.uint8]
    ip_id: NDArray[np.uint16]
    ip_length: NDArray[np.uint16]
    wire_length: NDArray[np.uint32]
    payload_length: NDArray[np.uint16]
    tcp_flags: NDArray[np.uint8]
    seq: NDArray[np.uint32]
    ack: NDArray[np.uint32]
    window: NDArray[np.uint16]
    option_bits: NDArray[np.uint8]
    mss: NDArray[np.uint16]
    window_scale: NDArray[np.uint8]
    ts_val: NDArray[np.uint32]
    ts_ecr: NDArray[np.uint32]
    icmp: NDArray[np.uint16]
    vlan: NDArray[np.uint16]
    checksums: NDArray[np.uint8]

    def __post_init__(self) -> None:
        count = self.time_ns.size
        for name, dtype in PACKET_COLUMNS.items():
            column: Array = getattr(self, name)
            if column.shape != (count,):
                raise TableError(f"column {name} has shape {column.shape}, time_ns has ({count},)")
            if column.dtype != dtype:
                raise TableError(f"column {name} is {column.dtype}, but must be {np.dtype(dtype)}")
        if self.addresses.ndim != 2 or self.addresses.shape[1] != 16:
            raise TableError(f"addresses has shape {self.addresses.shape}, but must be [A, 16]")

    def __len__(self) -> int:
        return int(self.time_ns.size)

    def take(self, rows: Array) -> PacketTable:
        """Return the packets at `rows` (indices or a boolean mask), addresses shared."""
        columns = {name: getattr(self, name)[rows] for name in PACKET_COLUMNS}
        return PacketTable(addresses=self.addresses, **columns)

    @staticmethod
    def zeros(count: int, addresses: NDArray[np.uint8]) -> PacketTable:
        """Return `count` packets whose columns are all 0 (no window scale), to be filled."""
        columns: dict[str, Array] = {
            name: np.zeros(count, dtype=dtype) for name, dtype in PACKET_COLUMNS.items()
        }
        columns["window_scale"][:] = NO_WINDOW_SCALE
        return PacketTable(addresses=addresses, **columns)


# What a TCP segment does to the sequence space of its direction (FlowTable.segment).
IN_ORDER, RETRANSMIT, KEEP_ALIVE, AHEAD = 0, 1, 2, 3
# What its acknowledgement covers (FlowTable.ack_class).
ACK_NONE, ACK_ALL, ACK_SAME, ACK_PART = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowTable:
    """One row a flow, both directions; packets sorted by (flow, time), flows by first packet.

    Attributes:
        packets: PacketTable [N], sorted by flow, then time; each keeps its own direction.
        offsets: int64 [F+1]; the packets of flow f are offsets[f]:offsets[f+1].
        reverse: bool [N]; True where the packet runs from responder to initiator.
        segment: uint8 [N]; IN_ORDER, RETRANSMIT, KEEP_ALIVE or AHEAD; IN_ORDER outside TCP.
        ack_class: uint8 [N]; ACK_NONE, ACK_ALL, ACK_SAME or ACK_PART; ACK_NONE outside TCP.
        initiator: int32 [F]; row of packets.addresses, who opened the flow.
        responder: int32 [F].
        initiator_port: uint16 [F]; 0 where the protocol has none.
        responder_port: uint16 [F].
        protocol: uint8 [F].
        ip_version: uint8 [F].
        label: int16 [F]; row of label_names, 0 being "" (no label).
        label_names: Names of labels; the first is "".
    """

    packets: PacketTable
    offsets: IntArray
    reverse: NDArray[np.bool_]
    segment: NDArray[np.uint8]
    ack_class: NDArray[np.uint8]
    initiator: NDArray[np.int32]
    responder: NDArray[np.int32]
    initiator_port: NDArray[np.uint16]
    responder_port: NDArray[np.uint16]
    protocol: NDArray[np.uint8]
    ip_version: NDArray[np.uint8]
    label: NDArray[np.int16]
    label_names: tuple[str, ...] = ("",)

    def __post_init__(self) -> None:
        packet_count, flow_count = len(self.packets), self.offsets.size - 1
        for name in ("reverse", "segment", "ack_class"):
            if getattr(self, name).shape != (packet_count,):
                raise TableError(f"column {name} does not have one row a packet ({packet_count})")
        for name in (
            "initiator",
            "responder",
            "initiator_port",
            "responder_port",
            "protocol",
            "ip_version",
            "label",
        ):
            if getattr(self, name).shape != (flow_count,):
                raise TableError(f"column {name} does not have one row a flow ({flow_count})")
        if self.offsets[0] != 0 or self.offsets[-1] != packet_count:
            raise TableError(f"offsets must run from 0 to {packet_count}")

    def __len__(self) -> int:
        return int(self.offsets.size - 1)

    @property
    def start_ns(self) -> IntArray:
        """Time of each flow's first packet, int64 [F], ns."""
        return self.packets.time_ns[self.offsets[:-1]]

    @property
    def end_ns(self) -> IntArray:
        """Time of each flow's last packet, int64 [F], ns."""
        return self.packets.time_ns[self.offsets[1:] - 1]

    @property
    def flow_of_packet(self) -> IntArray:
        """Row of the flow of each packet, int64 [N]."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.offsets))


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """Columns start:stop of `EncodedTrace.static` and what they hold.

    `kind` is "bits" (0 or 1 each), "vector" (a Word2Vec vector within -1..1), "number" (scaled to
    -1..1) or "choice" (one of several: a 1 among 0s); a generator chooses its output units by it.
    """

    name: str
    start: int
    stop: int
    kind: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenField:
    """A column of tokens: whole numbers from 0 to size - 1.

    Attributes:
        name: Name of the column.
        size: Number of tokens.
        number: What number each token stands for, where it does.
        groups: Named classes of the tokens, int64 [size] each. Tokens of two fields that share
            the name of a group (service and record kind share "protocol") may only occur together
            where the classes agree; -1 agrees with any.
        vectors: float32 [size, V], Word2Vec vectors of the tokens, or None.
        rulers: float64 [size, 2] of services, see `ruler_ns`; or None.
        windows: int64 [size, 2] of TCP windows: what a token sets the window to, -1 where it does
            not, and what it adds to the last one in its direction; or None.
    """

    name: str
    size: int
    number: NumberCodec | None = None
    groups: dict[str, IntArray] = field(default_factory=dict)
    vectors: NDArray[np.float32] | None = None
    rulers: FloatArray | None = None
    windows: IntArray | None = None


def ruler_ns(trip_ns: Numbers, ruler: Numbers) -> Numbers:
    """Unit of durations: a power of the trip, which a median trip is left as it is by.

    Args:
        trip_ns: float64 [M].
        ruler: float64 [M, 2], power in 0..1 and median trip, ns.

    Returns:
        float64 [M], ns; 0 where the trip is.
    """
    power, typical = ruler[..., 0], ruler[..., 1]
    unit: Numbers = (trip_ns > 0) * trip_ns**power * typical ** (1 - power)
    return unit


SERIES_CHANNELS = ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse")


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedTrace:
    """One window of flows in three levels, coarse to fine; flows in order of their start.

    The flow level has two views of the same columns: tokens for generators that are trained by
    likelihood, `static` for those that emit numbers (a codec turns either back).

    Attributes:
        window_ns: Length of the window, ns.
        step_count: Steps in the window, T.
        token_fields: Name and size of each column of `tokens`, in the order of generation.
        tokens: int32 [F, K].
        start_ns: int64 [F], start of each flow, ns from the window's start.
        duration_ns: int64 [F], ns.
        totals: int64 [F, 4], packets and payload bytes per direction (SERIES_CHANNELS).
        static: float32 [F, D]; D is 0 where the static view was not asked for.
        spans: Names of the columns of `static`.
        initiator_bits: uint8 [F, 128], the address bit by bit, most significant first.
        responder_bits: uint8 [F, 128].
        series_offsets: int64 [F+1]; the active steps of flow f are rows a:b of the next three.
        series_step: int32 [S], the step, 0..T-1, ascending within a flow.
        series_values: int64 [S, 4], SERIES_CHANNELS; idle steps are not stored.
        series_fields: How "skip" (steps from one active step to the next), "packets" and "bytes"
            of a step become tokens.
        series_period: float32 [S, 2], first and last packet in the step as shares of the step.
        record_offsets: int64 [F+1]; records of flow f, in time order.
        record_fields: Name and size of each column of `records`.
        records: int32 [N, R].
        record_bytes: int64 [N], payload of each record, bytes.
        record_ns: int64 [N], time of each record, ns from the window's start.
    """

    window_ns: int
    step_count: int
    token_fields: tuple[TokenField, ...]
    tokens: NDArray[np.int32]
    start_ns: IntArray
    duration_ns: IntArray
    totals: IntArray
    static: NDArray[np.float32]
    spans: tuple[Span, ...]
    initiator_bits: NDArray[np.uint8]
    responder_bits: NDArray[np.uint8]
    series_fields: tuple[TokenField, ...]
    series_offsets: IntArray
    series_step: NDArray[np.int32]
    series_values: IntArray
    series_period: NDArray[np.float32]
    record_offsets: IntArray
    record_fields: tuple[TokenField, ...]
    records: NDArray[np.int32]
    record_bytes: IntArray
    record_ns: IntArray

    def __post_init__(self) -> None:
        flow_count = self.tokens.shape[0]
        for name in (
            "start_ns",
            "duration_ns",
            "totals",
            "static",
            "initiator_bits",
            "responder_bits",
        ):
            if getattr(self, name).shape[0] != flow_count:
                raise TableError(f"column {name} does not have one row a flow ({flow_count})")
        if self.tokens.shape[1] != len(self.token_fields):
            raise TableError("tokens and token_fields differ in their number of columns")
        if self.series_offsets.shape != (flow_count + 1,):
            raise TableError(f"series_offsets must have {flow_count + 1} rows")
        if self.record_offsets.shape != (flow_count + 1,):
            raise TableError(f"record_offsets must have {flow_count + 1} rows")
        if self.series_step.shape[0] != self.series_offsets[-1]:
            raise TableError("series_step and series_offsets differ in length")
        if self.records.shape[0] != self.record_offsets[-1]:
            raise TableError("records and record_offsets differ in length")

    def __len__(self) -> int:
        return int(self.tokens.shape[0])
