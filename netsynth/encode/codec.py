"""FlowTable <-> EncodedTrace: what is learned of a capture before any network is trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.addresses import AddressMap
from netsynth.encode.classes import (
    ANY_PORT,
    SCTP,
    class_count,
    endings,
    is_echo,
    octaves,
    service_rows,
    service_tokens,
    shape_rows,
    size_classes,
    token_classes,
    turns,
)
from netsynth.encode.columns import FlowColumns, flow_columns, state_bits
from netsynth.encode.durations import in_trips, lasting, stretches
from netsynth.encode.hosts import HostCodec, to_bits
from netsynth.encode.load import Load
from netsynth.encode.port_allocator import PortAllocator
from netsynth.encode.records import GAP_RULERS, RecordCodec, brings_news
from netsynth.encode.series import SeriesConfig, aggregate
from netsynth.encode.source_ports import SourcePortCodec
from netsynth.encode.static import StaticCodec, static_columns
from netsynth.encode.tcp_windows import WindowCodec
from netsynth.encode.vocabulary import Vocabulary
from netsynth.encode.windows import cut_windows
from netsynth.errors import ConfigError, ModelError
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec
from netsynth.steps import REST
from netsynth.tables import NO_WINDOW_SCALE, TCP, UDP, EncodedTrace, FlowTable, TokenField

META_FIELDS = ("meta_forward", "meta_reverse", "other_meta_forward", "other_meta_reverse")
NUMBER_NAMES = (
    "start_gap", "port", "packets", "bytes", "answer", "reply", "stretch", "duration",
    "skip", "step_packets", "step_bytes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodeConfig:
    """How flows become tokens and series."""

    series: SeriesConfig = field(default_factory=SeriesConfig)
    host_limit: int = 2048  # hosts with a token of their own
    all_hosts_below: int = 256  # captures with fewer hosts give each one a token
    service_limit: int = 384  # (protocol, port) pairs with a token of their own
    shape_limit: int = 384  # combinations of TCP state and size class
    smallest_flows: int = 20  # a capture with fewer flows teaches nothing

    def __post_init__(self) -> None:
        for name in ("host_limit", "service_limit", "shape_limit"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but must be at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Codec:
    """Everything `encode` and `decode` need; learned by `fit.fit_codec`.

    Attributes:
        window_ns: Length of a window.
        tick_ns: Time resolution of the capture; all its times are multiples of it.
        first_ns: Time of the capture's first packet, ns since the epoch.
        label_names: Names of labels, the first "".
        static: Makes the static view, where `fit_codec` was asked for it.
    """

    config: EncodeConfig
    window_ns: int
    tick_ns: int
    first_ns: int
    label_names: tuple[str, ...]
    hosts: HostCodec
    services: Vocabulary  # rows (protocol, IP version, port or ANY_PORT)
    shapes: Vocabulary  # rows (protocol, state, class of packets forward, reverse)
    meta: Vocabulary  # rows (TTL, TOS, DF, VLAN)
    openings: Vocabulary  # rows (option bits, MSS, window scale)
    source_ports: SourcePortCodec
    numbers: dict[str, NumberCodec]
    records: RecordCodec
    lone_pairs: Vocabulary  # rows (service, initiator, responder) of flows whose ports are fixed
    rulers: FloatArray  # [S, 2], what durations of services are measured by, see `fit_rulers`
    least_sizes: IntArray  # smallest payloads of services [S, 2], see `fit_least_sizes`
    speakers: NDArray[np.int8]  # who speaks first on services [S], see `fit_speakers`
    load: Load  # that no window exceeds
    losses: float  # share of segments ahead of what nothing fills, see `fit_losses`
    static: StaticCodec | None = None

    @property
    def token_fields(self) -> tuple[TokenField, ...]:
        """Token columns of the flow level, in the order of generation."""
        services, number = self.services.rows, self.numbers
        service_groups = {"protocol": services[:, 0], "ip_version": services[:, 1]}
        host_groups = {"ip_version": self.hosts.ip_version}
        has_port = (services[:, 2] == ANY_PORT).astype(np.int64)
        port_groups = {"any_port": np.concatenate([[0], np.ones(number["port"].size, np.int64)])}
        scale = self.openings.rows[:, 2]
        scales = (scale >= 0) & (scale != NO_WINDOW_SCALE)
        return (
            TokenField(name="gap", size=number["start_gap"].size, number=number["start_gap"]),
            TokenField(name="label", size=len(self.label_names)),
            TokenField(
                name="service",
                size=self.services.size,
                groups={**service_groups, "any_port": has_port},
                vectors=self.static.ports.encode_rows(services) if self.static else None,
                rulers=self.rulers,
            ),
            TokenField(
                name="shape",
                size=self.shapes.size,
                groups={
                    "protocol": self.shapes.rows[:, 0],
                    "forward": self.shapes.rows[:, 2],
                    "reverse": self.shapes.rows[:, 3],
                    "volume": self.shapes.rows[:, 2:].max(axis=1),
                    "size": size_classes(class_count(self.shapes.rows[:, 2:].max(axis=1))),
                    "state": self.shapes.rows[:, 1],
                    "ending": endings(self.shapes.rows[:, 1]),
                    "turns": turns(self.shapes.rows[:, 2:]),
                },
            ),
            TokenField(name="responder", size=self.hosts.size, groups=host_groups),
            TokenField(name="initiator", size=self.hosts.size, groups=host_groups),
            TokenField(name="initiator_port", size=self.source_ports.size),
            TokenField(name="responder_port", size=number["port"].size + 1, groups=port_groups),
            TokenField(name="meta_forward", size=self.meta.size),
            TokenField(name="meta_reverse", size=self.meta.size),
            TokenField(name="other_meta_forward", size=self.meta.size),
            TokenField(name="other_meta_reverse", size=self.meta.size),
            *(
                TokenField(
                    name=f"opening_{way}",
                    size=self.openings.size,
                    groups={f"scales_{way}": scales.astype(np.int64)},
                )
                for way in ("forward", "reverse")
            ),
            *(
                TokenField(
                    name=f"packets_{way}",
                    size=number["packets"].size,
                    number=number["packets"],
                    groups={
                        way: token_classes(number["packets"]),
                        "volume_" + way: octaves(number["packets"]),
                        "size_" + way: size_classes(
                            (number["packets"].low + number["packets"].high) / 2
                        ),
                    },
                )
                for way in ("forward", "reverse")
            ),
            TokenField(name="bytes_forward", size=number["bytes"].size, number=number["bytes"]),
            TokenField(name="bytes_reverse", size=number["bytes"].size, number=number["bytes"]),
            *(
                TokenField(
                    name=name,
                    size=number[name].size + 1,
                    number=number[name],
                    groups={"octave_" + name: np.append(0, 1 + octaves(number[name]))},
                )
                for name in ("answer", "reply")
            ),
            TokenField(name="stretch", size=number["stretch"].size + 1, number=number["stretch"]),
            TokenField(
                name="duration",
                size=number["duration"].size + REST.size,
                number=number["duration"],
            ),
        )

    @property
    def series_fields(self) -> tuple[TokenField, ...]:
        """How numbers of a step become tokens."""
        names = ("skip", "step_packets", "step_bytes")
        return tuple(
            TokenField(name=n, size=self.numbers[n].size, number=self.numbers[n]) for n in names
        )

    @property
    def record_fields(self) -> tuple[TokenField, ...]:
        """Columns of `EncodedTrace.records`, and "gap"."""
        kinds, codec = self.records.kinds, self.records
        groups = {
            "protocol": kinds.rows[:, 0],
            "reverse": kinds.rows[:, 1],
            "payload": kinds.rows[:, 2],
            "state": state_bits(kinds.rows[:, 0], kinds.rows[:, 1], kinds.rows[:, 3]),
            "brings": brings_news(kinds.rows),
            "ack_class": kinds.rows[:, 5],
        }
        return (
            TokenField(name="kind", size=kinds.size, groups=groups),
            TokenField(name="length", size=codec.length.size, number=codec.length),
            TokenField(
                name="window",
                size=codec.window.size,
                number=codec.window.absolute,
                windows=codec.window.windows(),
            ),
            *(
                TokenField(name=name, size=getattr(codec, name).size, number=getattr(codec, name))
                for name in GAP_RULERS
            ),
        )

    def encode(self, flows: FlowTable, *, static: bool = False) -> list[EncodedTrace]:
        """Cut `flows` into windows and encode each; `static` adds the static view.

        Raises:
            ConfigError: If the static view is wanted and `fit_codec` was not asked for it.
        """
        if static and self.static is None:
            raise ConfigError("the codec has no static view; fit it with static=True")
        view = self.static if static else None
        pieces = cut_windows(flows, window_ns=self.window_ns)
        return [self._encode_window(w, first_ns=t, length_ns=d, view=view) for t, d, w in pieces]

    def _encode_window(
        self, flows: FlowTable, *, first_ns: int, length_ns: int, view: StaticCodec | None
    ) -> EncodedTrace:
        columns = flow_columns(flows)
        step_count = self.config.series.step_count
        series = aggregate(flows, first_ns=first_ns, window_ns=length_ns, step_count=step_count)
        addresses = flows.packets.addresses
        static = np.zeros((len(flows), 0), dtype=np.float32)
        if view is not None:
            label = self._labels(flows)
            static = view.encode(
                static_columns(flows, columns, series, first_ns=first_ns, label=label)
            )
        return EncodedTrace(
            window_ns=length_ns,
            step_count=step_count,
            token_fields=self.token_fields,
            tokens=self._tokens(flows, columns, first_ns, length_ns),
            start_ns=columns.start_ns - first_ns,
            duration_ns=columns.duration_ns,
            totals=columns.totals,
            static=static,
            spans=() if view is None else view.spans,
            initiator_bits=to_bits(addresses[flows.initiator]),
            responder_bits=to_bits(addresses[flows.responder]),
            series_fields=self.series_fields,
            series_offsets=series.offsets,
            series_step=series.step,
            series_values=series.values,
            series_period=series.period,
            record_offsets=flows.offsets,
            record_fields=self.record_fields,
            records=self.records.encode(flows, columns),
            record_bytes=flows.packets.payload_length.astype(np.int64),
            record_ns=flows.packets.time_ns - first_ns,
        )

    def _tokens(
        self, flows: FlowTable, columns: FlowColumns, first_ns: int, length_ns: int
    ) -> Array:
        """Token columns [F, K] of one window."""
        number, totals = self.numbers, columns.totals
        address = self.hosts.encode(flows.packets.addresses)
        service = service_tokens(self.services, service_rows(flows, columns))
        any_port = self.services.rows[service, 2] == ANY_PORT
        port = np.where(any_port, 1 + number["port"].encode(columns.service_port), 0)
        answered = columns.answer_ns >= 0
        answer = np.where(answered, 1 + number["answer"].encode(columns.answer_ns), 0)
        until_end = lasting(columns, flows, first_ns=first_ns, length_ns=length_ns)
        by_trip = in_trips(columns, service, self.rulers) & (until_end < 0)
        stretch = stretches(columns, service, self.rulers)
        duration = REST.size + number["duration"].encode(columns.duration_ns)
        duration = np.where(until_end < 0, duration, 1 + until_end)
        replied = columns.reply_ns >= 0
        reply = np.where(replied, 1 + number["reply"].encode(columns.reply_ns), 0)
        token = {
            "gap": number["start_gap"].encode(np.diff(columns.start_ns, prepend=first_ns)),
            "label": self._labels(flows),
            "service": service,
            "shape": self.shapes.encode(shape_rows(flows, columns)),
            "responder": address[flows.responder],
            "initiator": address[flows.initiator],
            "initiator_port": self.source_ports.encode(flows),
            "responder_port": port,
            **{name: self.meta.encode(columns.meta[:, i]) for i, name in enumerate(META_FIELDS)},
            "opening_forward": self.openings.encode(columns.opening[:, 0]),
            "opening_reverse": self.openings.encode(columns.opening[:, 1]),
            "packets_forward": number["packets"].encode(totals[:, 0]),
            "packets_reverse": number["packets"].encode(totals[:, 1]),
            "bytes_forward": number["bytes"].encode(totals[:, 2]),
            "bytes_reverse": number["bytes"].encode(totals[:, 3]),
            "answer": answer,
            "reply": reply,
            "stretch": np.where(by_trip, 1 + number["stretch"].encode(stretch), 0),
            "duration": np.where(by_trip, 0, duration),
        }
        return np.stack([token[f.name] for f in self.token_fields], axis=1).astype(np.int32)

    def has_fixed_ports(self, service: IntArray, initiator_port: IntArray) -> NDArray[np.bool_]:
        """Tell from tokens [F] which flows have no port that could be another: bool [F].

        Echoes have an identifier of their own in its place.
        """
        rows = self.services.rows[service]
        open_ended = (rows[:, 2] == ANY_PORT) & np.isin(rows[:, 0], (TCP, UDP, SCTP))
        fixed = ~open_ended & ~is_echo(rows) & ~self.source_ports.are_free(initiator_port)
        return np.asarray(fixed, dtype=np.bool_)

    def _labels(self, flows: FlowTable) -> IntArray:
        place = {name: index for index, name in enumerate(self.label_names)}
        own = np.array([place.get(name, 0) for name in flows.label_names], dtype=np.int64)
        return own[flows.label]

    def decode(
        self,
        trace: EncodedTrace,
        *,
        rng: np.random.Generator,
        addresses: AddressMap | None = None,
        ports: PortAllocator | None = None,
        timestamps: str = "ml",
    ) -> FlowTable:
        """Turn one window back into flows of actions; see `netsynth.encode.decode.decode`."""
        from netsynth.encode.decode import decode

        mapping = addresses.map if addresses is not None else None
        return decode(
            self, trace, rng=rng, ports=ports, timestamps=timestamps, map_addresses=mapping
        )

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return the codec as JSON-able settings and named arrays."""
        from dataclasses import asdict

        header = {
            "config": asdict(self.config),
            "window_ns": self.window_ns,
            "tick_ns": self.tick_ns,
            "first_ns": self.first_ns,
            "label_names": list(self.label_names),
            "losses": self.losses,
        }
        records = self.records
        arrays: dict[str, Array] = {"hosts.addresses": self.hosts.addresses}
        arrays["hosts.networks"] = self.hosts.networks
        arrays["hosts.network_counts"] = self.hosts.network_counts
        arrays["rulers"] = self.rulers
        arrays["least_sizes"] = self.least_sizes
        arrays["speakers"] = self.speakers
        arrays |= self.load.to_arrays("load")
        for name in ("services", "shapes", "meta", "openings"):
            arrays |= getattr(self, name).to_arrays(name)
        arrays |= self.lone_pairs.to_arrays("lone_pairs")
        arrays |= self.source_ports.to_arrays("source_ports")
        arrays |= records.kinds.to_arrays("records.kinds")
        arrays["records.closes"] = records.closes.astype(np.uint8)
        for name in ("length", "window", *GAP_RULERS):
            arrays |= getattr(records, name).to_arrays(f"records.{name}")
        for name, number in self.numbers.items():
            arrays |= number.to_arrays(f"numbers.{name}")
        if self.static is not None:
            header["static"], static_arrays = self.static.to_parts()
            arrays |= static_arrays
        return header, arrays

    @staticmethod
    def from_parts(header: dict[str, Any], arrays: dict[str, Array]) -> Codec:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If a part is missing or malformed.
        """
        try:
            settings = dict(header["config"])
            config = EncodeConfig(**{**settings, "series": SeriesConfig(**settings["series"])})
            vocabulary = {
                name: Vocabulary.from_arrays(name, arrays)
                for name in ("services", "shapes", "meta", "openings")
            }
            number = {
                name: NumberCodec.from_arrays(f"numbers.{name}", arrays) for name in NUMBER_NAMES
            }
            record = {
                name: NumberCodec.from_arrays(f"records.{name}", arrays)
                for name in ("length", *GAP_RULERS)
            }
            return Codec(
                config=config,
                window_ns=int(header["window_ns"]),
                tick_ns=int(header["tick_ns"]),
                first_ns=int(header["first_ns"]),
                label_names=tuple(header["label_names"]),
                hosts=HostCodec(
                    addresses=arrays["hosts.addresses"].astype(np.uint8),
                    networks=arrays["hosts.networks"].astype(np.uint8).reshape(-1, 16),
                    network_counts=arrays["hosts.network_counts"],
                ),
                source_ports=SourcePortCodec.from_arrays("source_ports", arrays),
                numbers=number,
                lone_pairs=Vocabulary.from_arrays("lone_pairs", arrays),
                rulers=arrays["rulers"].reshape(-1, 2),
                speakers=arrays["speakers"],
                least_sizes=arrays["least_sizes"],
                load=Load.from_arrays("load", arrays),
                losses=float(header["losses"]),
                records=RecordCodec(
                    kinds=Vocabulary.from_arrays("records.kinds", arrays),
                    closes=arrays["records.closes"] > 0,
                    window=WindowCodec.from_arrays("records.window", arrays),
                    **record,
                ),
                static=StaticCodec.from_parts(header["static"], arrays)
                if "static" in header
                else None,
                **vocabulary,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"the model's codec is malformed ({error}); fit it again") from error
