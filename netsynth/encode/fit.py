"""Learning a codec from captures: vocabularies, number codecs, and what no window may exceed."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from netsynth.encode.classes import (
    ANY_PORT,
    class_count,
    service_rows,
    service_tokens,
    shape_rows,
)
from netsynth.encode.codec import Codec, EncodeConfig
from netsynth.encode.columns import FlowColumns, flow_columns
from netsynth.encode.durations import fit_rulers, in_trips, stretches
from netsynth.encode.hosts import HostCodec, as_keys, fit_host_codec
from netsynth.encode.least_sizes import fit_least_sizes
from netsynth.encode.load import fit_load
from netsynth.encode.lone_pairs import NO_PAIRS, fit_lone_pairs
from netsynth.encode.losses import fit_losses
from netsynth.encode.records import fit_record_codec
from netsynth.encode.series import aggregate
from netsynth.encode.source_ports import fit_source_port_codec
from netsynth.encode.speakers import fit_speakers
from netsynth.encode.static import fit_static_codec
from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.encode.windows import cut_windows, window_length_ns
from netsynth.errors import CaptureError
from netsynth.numbers import FloatArray, IntArray, NumberCodec, fit_number_codec
from netsynth.tables import FlowTable

LONGEST_TICK_NS = 10_000_000  # of clocks that are met


def fit_codec(
    flow_tables: list[FlowTable], *, config: EncodeConfig, seed: int, static: bool = False
) -> Codec:
    """Learn vocabularies and number codecs from captures.

    Args:
        flow_tables: Flows of each capture.
        config: How they become tokens and series.
        seed: Of the port vectors.
        static: Learn the static view as well, for generators that emit numbers.

    Raises:
        CaptureError: If there are too few flows to learn from.
    """
    flow_count = sum(len(t) for t in flow_tables)
    if flow_count < config.smallest_flows:
        raise CaptureError(
            f"{flow_count} flows are too few to learn from; give captures of at least "
            f"{config.smallest_flows} flows together"
        )
    window_ns = window_length_ns(flow_tables, config.series)
    pieces = [p for t in flow_tables for p in cut_windows(t, window_ns=window_ns)]
    tables = [flows for _, _, flows in pieces]
    columns = [flow_columns(t) for t in tables]
    services = np.concatenate([service_rows(t, c) for t, c in zip(tables, columns, strict=True)])
    loose = services.copy()
    loose[:, 2] = ANY_PORT
    hosts = _fit_hosts(flow_tables, config)
    service = fit_vocabulary(
        services,
        limit=config.service_limit,
        smallest_count=max(3, flow_count // 5000),
        always=np.unique(loose, axis=0),
    )
    unknown = services[service.find(services) < 0][:, 2]
    series = [
        aggregate(t, first_ns=a, window_ns=d, step_count=config.series.step_count)
        for a, d, t in pieces
    ]
    tokens = [
        service_tokens(service, service_rows(t, c)) for t, c in zip(tables, columns, strict=True)
    ]
    rulers = fit_rulers(
        columns,
        tokens,
        [
            np.concatenate([shape_rows(t, c), np.stack([t.initiator, t.responder], axis=1)], axis=1)
            for t, c in zip(tables, columns, strict=True)
        ],
        size=service.size,
    )
    stretched = np.concatenate(
        [
            stretches(c, s, rulers)[in_trips(c, s, rulers)]
            for c, s in zip(columns, tokens, strict=True)
        ]
    )
    alone = np.concatenate(
        [c.duration_ns[~in_trips(c, s, rulers)] for c, s in zip(columns, tokens, strict=True)]
    )
    gaps = [np.diff(c.start_ns, prepend=a) for (a, _, _), c in zip(pieces, columns, strict=True)]
    codec = Codec(
        config=config,
        window_ns=window_ns,
        tick_ns=_tick_ns(tables),
        first_ns=min(a for a, _, _ in pieces),
        label_names=("", *sorted({n for t in flow_tables for n in t.label_names} - {""})),
        hosts=hosts,
        services=service,
        shapes=fit_vocabulary(
            np.concatenate([shape_rows(t, c) for t, c in zip(tables, columns, strict=True)]),
            limit=config.shape_limit,
        ),
        meta=fit_vocabulary(np.concatenate([c.meta.reshape(-1, 4) for c in columns]), limit=384),
        openings=fit_vocabulary(
            np.concatenate([c.opening.reshape(-1, 3) for c in columns]), limit=192
        ),
        source_ports=fit_source_port_codec(
            tables,
            [hosts.encode(t.packets.addresses)[t.initiator] for t in tables],
            [hosts.encode(t.packets.addresses)[t.responder] for t in tables],
            tokens,
        ),
        numbers={
            "start_gap": fit_number_codec(
                np.concatenate(gaps), bin_count=64, atom_count=8, atom_share=0.01
            ),
            "port": fit_number_codec(
                unknown if unknown.size else np.zeros(1), bin_count=96, largest_ratio=4.0
            ),
            **_fit_flow_numbers(columns, stretched, alone),
            **_fit_series_numbers(series),
        },
        records=fit_record_codec(tables, columns),
        lone_pairs=NO_PAIRS,
        rulers=rulers,
        least_sizes=fit_least_sizes(tables, tokens, size=service.size),
        speakers=fit_speakers(tables, tokens, size=service.size),
        load=fit_load(flow_tables),
        losses=fit_losses(tables),
    )
    codec = dataclasses.replace(codec, lone_pairs=_lone_pairs(codec, tables, tokens))
    if not static:
        return codec
    return dataclasses.replace(codec, static=fit_static_codec(flow_tables, codec=codec, seed=seed))


def _lone_pairs(codec: Codec, tables: list[FlowTable], services: list[IntArray]) -> Vocabulary:
    rows, fixed = [], []
    for flows, service in zip(tables, services, strict=True):
        host = codec.hosts.encode(flows.packets.addresses)
        rows.append(np.stack([service, host[flows.initiator], host[flows.responder]], axis=1))
        fixed.append(codec.has_fixed_ports(service, codec.source_ports.encode(flows)))
    return fit_lone_pairs(np.concatenate(rows), np.concatenate(fixed))


def _fit_flow_numbers(
    columns: list[FlowColumns], stretch: FloatArray, alone: IntArray
) -> dict[str, NumberCodec]:
    totals = np.concatenate([c.totals for c in columns])
    answer = np.concatenate([c.answer_ns for c in columns])
    answer = answer[answer >= 0]
    reply = np.concatenate([c.reply_ns for c in columns])
    reply = reply[reply >= 0]
    return {
        "packets": fit_number_codec(
            totals[:, :2],
            bin_count=48,
            atom_count=64,
            atom_share=1.0,
            exact_below=33,
            walls=class_count(np.arange(1, 64)) - 0.5,  # a token is of one class of shapes
        ),
        "bytes": fit_number_codec(
            totals[:, 2:], bin_count=96, atom_count=768, atom_share=0.0, exact_below=1
        ),
        **{
            name: fit_number_codec(
                values if values.size else np.zeros(1), bin_count=64, atom_count=8, atom_share=0.01
            )
            for name, values in (("answer", answer), ("reply", reply))
        },
        "stretch": fit_number_codec(
            stretch if stretch.size else np.ones(1), bin_count=96, atom_count=8, atom_share=0.01
        ),
        "duration": fit_number_codec(
            alone if alone.size else np.zeros(1),
            bin_count=96,
            atom_count=8,
            atom_share=0.01,
            exact_below=1,
        ),
    }


def _fit_series_numbers(series: list[Any]) -> dict[str, NumberCodec]:
    skips = []
    for part in series:
        skip = np.diff(part.step.astype(np.int64), prepend=0)
        inside = np.ones(skip.size, dtype=np.bool_)
        inside[part.offsets[:-1]] = False
        skips.append(skip[inside])
    skip = np.concatenate([*skips, np.ones(1, np.int64)])
    values = np.concatenate([part.values for part in series])
    return {
        "skip": fit_number_codec(skip, bin_count=24, atom_share=1.0, exact_below=17),
        "step_packets": fit_number_codec(
            values[:, :2], bin_count=32, atom_share=1.0, exact_below=25
        ),
        "step_bytes": fit_number_codec(
            values[:, 2:], bin_count=64, atom_count=128, atom_share=0.0005, exact_below=1
        ),
    }


def _tick_ns(tables: list[FlowTable]) -> int:
    """Return the longest time that all times are multiples of, at most LONGEST_TICK_NS.

    Not only powers of ten: seconds since the epoch in double precision tick every 256 ns.
    """
    ticks = [int(np.gcd.reduce(t.packets.time_ns)) for t in tables if len(t.packets)]
    tick = math.gcd(*ticks)
    return tick if 0 < tick <= LONGEST_TICK_NS else math.gcd(tick, LONGEST_TICK_NS) or 1


def _fit_hosts(flow_tables: list[FlowTable], config: EncodeConfig) -> HostCodec:
    addresses = np.concatenate([t.packets.addresses for t in flow_tables])
    counts = np.concatenate(
        [
            np.bincount(t.initiator, minlength=t.packets.addresses.shape[0])
            + np.bincount(t.responder, minlength=t.packets.addresses.shape[0])
            for t in flow_tables
        ]
    )
    _, first, inverse = np.unique(as_keys(addresses), return_index=True, return_inverse=True)
    together = np.bincount(inverse, weights=counts).astype(np.int64)
    return fit_host_codec(
        addresses[first], together, limit=config.host_limit, all_below=config.all_hosts_below
    )
