"""Flows as rows of numbers with named spans, for generators that emit numbers; and back.

The static view of a flow is what CascadeNet's first level makes: addresses bit by bit, ports and
protocol as vectors, and the flow-level conditions that steer the levels below.

References:
    CascadeNet sections 4.1 (bits, Word2Vec) and 4.3 (conditional inputs).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.columns import FlowColumns, flow_columns
from netsynth.encode.hosts import V4_PREFIX, from_bits, is_v4, to_bits
from netsynth.encode.port_vectors import PortVectors, fit_port_vectors
from netsynth.encode.scales import NumberScale, fit_number_scale
from netsynth.encode.series import aggregate
from netsynth.encode.windows import cut_windows
from netsynth.errors import ModelError, TableError
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.steps import SparseSeries
from netsynth.tables import FlowTable, Span

if TYPE_CHECKING:
    from netsynth.encode.codec import Codec

V4_BITS = 32
NEAR_V4 = 4  # an address whose 96-bit prefix is so near to ::ffff:0:0/96 is IPv4
# Numbers of the static view: whole ones are rounded on the way back, down to the smallest.
WHOLE = {
    "start_ns": 0, "duration_ns": 0, "packets_forward": 0, "packets_reverse": 0,
    "bytes_forward": 0, "bytes_reverse": 0, "active_steps": 1, "rate_max": 1,
}  # fmt: skip
REAL = ("rate_mean", "rate_std", "interval_mean")
NUMBERS = (*WHOLE, *REAL)


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticColumns:
    """What the static view holds, of F flows of a window.

    Attributes:
        initiator: uint8 [F, 16], IPv4 as IPv4-mapped IPv6.
        responder: uint8 [F, 16].
        protocol: int64 [F].
        initiator_port: int64 [F]; port_vectors.EPHEMERAL (-1) where it has no word of its own.
        service_port: int64 [F], responder port, or ICMP type << 8 | code.
        numbers: float64 [F] each, by the names in NUMBERS: start and duration in ns, packets and
            payload bytes either way, active steps; largest, mean and standard deviation of the
            packets (both ways) over the active steps; mean distance of neighbouring active steps
            in steps, 0 where there is but one.
        label: int64 [F], row of the codec's label_names.
    """

    initiator: NDArray[np.uint8]
    responder: NDArray[np.uint8]
    protocol: IntArray
    initiator_port: IntArray
    service_port: IntArray
    numbers: dict[str, FloatArray]
    label: IntArray

    def __len__(self) -> int:
        return int(self.protocol.size)


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticCodec:
    """StaticColumns <-> float32 [F, D]; learned by `fit_static_codec`.

    Attributes:
        ports: Vectors of ports and protocols.
        scales: How each number becomes one of about -1..1.
        address_bits: 32 where the captures are IPv4 alone, else 128.
        label_count: Labels, the first for none; 1 makes no span.
    """

    ports: PortVectors
    scales: dict[str, NumberScale]
    address_bits: int
    label_count: int

    @property
    def spans(self) -> tuple[Span, ...]:
        """Names of the columns, in order."""
        vector, bits = self.ports.width, self.address_bits
        parts = [("src_ip", bits, "bits"), ("dst_ip", bits, "bits")]
        parts += [(n, vector, "vector") for n in ("protocol", "initiator_port", "responder_port")]
        parts += [(name, 1, "number") for name in NUMBERS]
        if self.label_count > 1:
            parts.append(("label", self.label_count, "choice"))
        spans, start = [], 0
        for name, width, kind in parts:
            spans.append(Span(name=name, start=start, stop=start + width, kind=kind))
            start += width
        return tuple(spans)

    @property
    def width(self) -> int:
        """Columns of the static view, D."""
        return self.spans[-1].stop

    def encode(self, columns: StaticColumns) -> NDArray[np.float32]:
        """Return the static view, float32 [F, D]; `spans` name its columns."""
        bits = slice(128 - self.address_bits, 128)
        part: dict[str, Array] = {
            "src_ip": to_bits(columns.initiator)[:, bits],
            "dst_ip": to_bits(columns.responder)[:, bits],
            "protocol": self.ports.encode_protocols(columns.protocol),
            "initiator_port": self.ports.encode_clients(columns.initiator_port),
            "responder_port": self.ports.encode_services(columns.service_port, columns.protocol),
            "label": np.eye(self.label_count)[columns.label],
        }
        for name, scale in self.scales.items():
            part[name] = scale.encode(columns.numbers[name])[:, None]
        static = np.zeros((len(columns), self.width), dtype=np.float32)
        for span in self.spans:
            static[:, span.start : span.stop] = part[span.name]
        return static

    def decode(self, static: Array) -> StaticColumns:
        """Return what rows [F, D] stand for, theirs or those a generator made.

        Bits are cut at 0.5, ports and protocol are the nearest neighbours, numbers stay within
        what was seen, the label is the largest.

        Raises:
            TableError: If `static` has another width, or holds what is no number.
        """
        if static.ndim != 2 or static.shape[1] != self.width:
            raise TableError(f"static has shape {static.shape}, but must be [F, {self.width}]")
        if not np.isfinite(static).all():
            row = int(np.argmax(~np.isfinite(static).all(axis=1)))
            raise TableError(f"static holds no finite number in row {row}")
        part = {span.name: static[:, span.start : span.stop] for span in self.spans}
        protocol = self.ports.decode_protocols(part["protocol"])
        numbers = {}
        for name, scale in self.scales.items():
            values = scale.decode(part[name][:, 0])
            if name in WHOLE:
                values = np.maximum(np.round(values), WHOLE[name])
            numbers[name] = values
        label = part["label"].argmax(axis=1) if "label" in part else np.zeros(len(static))
        return StaticColumns(
            initiator=self._addresses(part["src_ip"]),
            responder=self._addresses(part["dst_ip"]),
            protocol=protocol,
            initiator_port=self.ports.decode_clients(part["initiator_port"]),
            service_port=self.ports.decode_services(part["responder_port"], protocol),
            numbers=numbers,
            label=label.astype(np.int64),
        )

    def _addresses(self, bits: Array) -> NDArray[np.uint8]:
        """Addresses [F, 16] of bits [F, 32 or 128]; a prefix near IPv4's is made IPv4's."""
        whole = np.zeros((bits.shape[0], 128), dtype=np.uint8)
        whole[:, 128 - self.address_bits :] = bits > 0.5
        prefix = np.unpackbits(V4_PREFIX)  # [96]
        if self.address_bits == V4_BITS:
            whole[:, :96] = prefix
        else:
            near = (whole[:, :96] != prefix).sum(axis=1) <= NEAR_V4
            whole[near, :96] = prefix
        return from_bits(whole)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the codec as JSON-able settings and named arrays."""
        header = {"address_bits": self.address_bits, "label_count": self.label_count}
        arrays = self.ports.to_arrays("static.ports")
        for name, scale in self.scales.items():
            arrays |= scale.to_arrays(f"static.{name}")
        return header, arrays

    @staticmethod
    def from_parts(header: dict[str, Any], arrays: dict[str, Array]) -> StaticCodec:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If a part is missing.
        """
        try:
            return StaticCodec(
                ports=PortVectors.from_arrays("static.ports", arrays),
                scales={n: NumberScale.from_arrays(f"static.{n}", arrays) for n in NUMBERS},
                address_bits=int(header["address_bits"]),
                label_count=int(header["label_count"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's static view is malformed ({error})") from error


def static_columns(
    flows: FlowTable,
    columns: FlowColumns,
    series: SparseSeries,
    *,
    first_ns: int,
    label: IntArray | None = None,
) -> StaticColumns:
    """Collect what the static view holds of the flows of a window.

    Args:
        flows: The window's flows.
        columns: Of `flows`.
        series: Of `flows`.
        first_ns: Start of the window, ns since the epoch.
        label: int64 [F], rows of the codec's label_names; None: as in `flows`.
    """
    totals = columns.totals.astype(np.float64)
    whole = (columns.start_ns - first_ns, columns.duration_ns, *totals.T)
    numbers = {n: np.asarray(v, dtype=np.float64) for n, v in zip(WHOLE, whole, strict=False)}
    addresses = flows.packets.addresses
    return StaticColumns(
        initiator=addresses[flows.initiator],
        responder=addresses[flows.responder],
        protocol=flows.protocol.astype(np.int64),
        initiator_port=flows.initiator_port.astype(np.int64),
        service_port=columns.service_port,
        numbers={**numbers, **series_conditions(series)},
        label=flows.label.astype(np.int64) if label is None else label,
    )


def series_conditions(series: SparseSeries) -> dict[str, FloatArray]:
    """Describe the series of each flow: active_steps, rate_max and REAL, float64 [F] each."""
    active = np.diff(series.offsets).astype(np.float64)
    if active.size == 0:
        return {name: np.zeros(0) for name in ("active_steps", "rate_max", *REAL)}
    starts = series.offsets[:-1]
    rate = (series.values[:, 0] + series.values[:, 1]).astype(np.float64)
    mean = np.add.reduceat(rate, starts) / active
    squares = (rate - np.repeat(mean, np.diff(series.offsets))) ** 2
    step = series.step.astype(np.float64)
    spanned = step[series.offsets[1:] - 1] - step[starts]
    return {
        "active_steps": active,
        "rate_max": np.maximum.reduceat(rate, starts),
        "rate_mean": mean,
        "rate_std": np.sqrt(np.add.reduceat(squares, starts) / active),
        "interval_mean": spanned / np.maximum(active - 1, 1),
    }


def fit_static_codec(
    flow_tables: list[FlowTable], *, codec: Codec, width: int = 8, seed: int
) -> StaticCodec:
    """Learn the static view of captures.

    Args:
        flow_tables: What `codec` was fitted with.
        codec: Gives the windows, the steps and the labels.
        width: Numbers in a vector of a port or protocol.
        seed: Of the vectors.
    """
    values: dict[str, list[FloatArray]] = {name: [] for name in NUMBERS}
    only_v4 = True
    for table in flow_tables:
        used = np.concatenate([table.initiator, table.responder])
        only_v4 &= bool(is_v4(table.packets.addresses[used]).all())
        for first_ns, length_ns, flows in cut_windows(table, window_ns=codec.window_ns):
            series = aggregate(
                flows, first_ns=first_ns, window_ns=length_ns,
                step_count=codec.config.series.step_count,
            )  # fmt: skip
            made = static_columns(flows, flow_columns(flows), series, first_ns=first_ns)
            for name in NUMBERS:
                values[name].append(made.numbers[name])
    return StaticCodec(
        ports=fit_port_vectors(flow_tables, width=width, seed=seed),
        scales={
            name: fit_number_scale(np.concatenate(parts), logarithmic=name != "start_ns")
            for name, parts in values.items()
        },
        address_bits=V4_BITS if only_v4 else 128,
        label_count=len(codec.label_names),
    )
