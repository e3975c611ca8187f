"""A sample from top to bottom: conditions, tuples, series, records, and the encoded window."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.generate.cascade.books import size_classes
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.drawing import DrawnFlows, flows_of_tokens, series_of
from netsynth.generate.cascade.flow_data import Series, aggregate
from netsynth.generate.cascade.pairs import as_numpy
from netsynth.generate.cascade.record_data import window_at
from netsynth.generate.cascade.record_drawing import (
    DrawnRecords,
    KindRules,
    draw_records,
    place_in_time,
)
from netsynth.generate.cascade.tuples import ENDPOINTS, WINDOW_CHAIN, window_keys
from netsynth.generate.contract import TraceLayout
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

if TYPE_CHECKING:
    from netsynth.generate.cascade.generator import Learned

TRIES = 12  # tuples that G1 makes for a flow, of which one is taken
SERIES_AT_ONCE = 2048  # flows whose series are made together
GROUP_PACKETS = 300_000  # records that are drawn together
NUMBER_COLUMNS = {
    "packets_forward": 0, "packets_reverse": 1, "bytes_forward": 2, "bytes_reverse": 3,
}  # fmt: skip


@dataclass(slots=True)
class Assembly:
    """What is needed to draw windows.

    Attributes:
        random: Source of the nets' noise.
        rng: Source of all other draws.
        allowed: Tokens that a column may take, bool [size] by name.
    """

    layout: TraceLayout
    config: CascadeConfig
    learned: Learned
    random: torch.Generator
    rng: np.random.Generator
    allowed: dict[str, NDArray[np.bool_]]
    device: torch.device


def assemble(
    drawing: Assembly, window_count: int, *, flow_limit: int, boosts: dict[str, Tensor]
) -> Iterator[EncodedTrace]:
    """Draw windows and yield them in order."""
    learned, layout = drawing.learned, drawing.layout
    boosts = dict(boosts)
    if "label" in drawing.allowed:
        labels = torch.as_tensor(drawing.allowed["label"], device=drawing.device)
        log = torch.where(labels, 0.0, -1e9)
        boosts["label"] = boosts["label"] + log if "label" in boosts else log
    window, start, tokens = learned.starts.sample(
        window_count, window_ns=layout.window_ns, flow_limit=flow_limit, random=drawing.random,
        boosts=boosts,
    )  # fmt: skip
    flows = flows_of_tokens(
        learned.starts, window, start, tokens, window_ns=layout.window_ns,
        step_count=learned.step_count, largest_payload=learned.largest_payload,
        random=drawing.random,
    )  # fmt: skip
    endpoints, kept = _endpoints(drawing, flows)
    flows, endpoints = flows.take(kept), endpoints[kept]
    columns = _columns(drawing, flows, endpoints)
    kept = np.ones(flows.window.size, dtype=np.bool_)
    for name, mask in drawing.allowed.items():
        kept &= mask[columns[name]]
    flows, endpoints = flows.take(kept), endpoints[kept]
    columns = {name: column[kept] for name, column in columns.items()}
    ends = np.searchsorted(flows.window, np.arange(window_count + 1))
    packets = np.concatenate([[0], np.cumsum(flows.totals[:, :2].sum(axis=1))])
    first = 0
    while first < window_count:
        last = first + 1
        while (
            last < window_count and packets[ends[last + 1]] - packets[ends[first]] <= GROUP_PACKETS
        ):
            last += 1
        rows = slice(ends[first], ends[last])
        part = {name: column[rows] for name, column in columns.items()}
        yield from _windows(
            drawing, flows.take(rows), endpoints[rows], part, ends[first : last + 1] - ends[first]
        )
        first = last


@torch.no_grad()
def _endpoints(drawing: Assembly, flows: DrawnFlows) -> tuple[IntArray, NDArray[np.bool_]]:
    """Choose service, responder, initiator and state of flows: int64 [F, 4]; which to keep [F]."""
    learned = drawing.learned
    conditions = _conditions(drawing, flows)
    parts, kept = [np.zeros((0, 4), dtype=np.int64)], [np.zeros(0, dtype=np.bool_)]
    sizes = size_classes(flows.totals[:, :2].sum(axis=1))
    asked = {n: m for n, m in drawing.allowed.items() if n in ENDPOINTS}
    for at in range(0, flows.window.size, 8192):
        some = conditions[at : at + 8192].repeat_interleave(TRIES, dim=0)
        made = as_numpy(learned.cascade.make_tuples(some, drawing.random))
        tuples = made.reshape(-1, TRIES, made.shape[1])
        if asked:
            tokens, fits = learned.maker.snap_among(tuples, asked)
        else:
            tokens = learned.maker.snap(tuples, sizes[at : at + 8192], drawing.rng)
            fits = np.ones(tokens.shape[0], dtype=np.bool_)
        parts.append(tokens)
        kept.append(fits)
    return np.concatenate(parts), np.concatenate(kept)


def _conditions(drawing: Assembly, flows: DrawnFlows) -> Tensor:
    images = drawing.learned.scales.encode_conditions(flows.numbers, flows.label)
    return torch.as_tensor(images, device=drawing.device)


def _columns(drawing: Assembly, flows: DrawnFlows, endpoints: IntArray) -> dict[str, IntArray]:
    """Token columns of the flows, by name."""
    columns = drawing.learned.maker.draw_attributes(endpoints, drawing.rng)
    columns |= {name: endpoints[:, i] for i, name in enumerate(ENDPOINTS)}
    columns["label"] = flows.label
    return columns


def _windows(
    drawing: Assembly, flows: DrawnFlows, endpoints: IntArray, columns: dict[str, IntArray],
    ends: IntArray,
) -> Iterator[EncodedTrace]:  # fmt: skip
    """Draw the series and records of windows, and cut them apart at the flows `ends`."""
    learned, layout, device = drawing.learned, drawing.layout, drawing.device
    conditions = _conditions(drawing, flows)
    tuples = torch.as_tensor(learned.maker.targets_of(endpoints), device=device)
    series = _series(drawing, flows, conditions, tuples)
    kind = layout.record_fields[0]
    service = next(f for f in layout.token_fields if f.name == "service")
    records = draw_records(
        learned.cascade, learned.scales, KindRules.of(kind, device), flows, series,
        conditions=conditions, tuples=tuples,
        windows=_step_windows(drawing, series),
        protocol=torch.as_tensor(service.groups["protocol"][endpoints[:, 0]], device=device),
        state=torch.as_tensor(endpoints[:, 3], device=device), random=drawing.random,
    )  # fmt: skip
    time_ns = place_in_time(
        records, flows, series, window_ns=layout.window_ns, step_count=learned.step_count
    )
    reverse = kind.groups["reverse"][records.kind] == 1
    tcp_windows = learned.windows.draw(
        window_keys(records.kind, records.offsets, reverse, endpoints),
        chain=WINDOW_CHAIN,
        rng=drawing.rng,
    )[:, 0]
    tokens = np.stack([records.kind, layout.record_fields[1].number.encode(records.size_bytes),  # type: ignore[union-attr]
                       tcp_windows], axis=1).astype(np.int32)  # fmt: skip
    for first, last in itertools.pairwise(ends.tolist()):
        yield _encoded(drawing, slice(first, last), columns, records, tokens, time_ns)


@torch.no_grad()
def _series(drawing: Assembly, flows: DrawnFlows, conditions: Tensor, tuples: Tensor) -> Series:
    """Make the series of flows that last longer than a step, shortest first."""
    learned, device = drawing.learned, drawing.device
    lasting = np.flatnonzero(flows.spans > 1)
    lasting = lasting[np.argsort(flows.spans[lasting], kind="stable")]
    made = np.zeros((lasting.size, int(flows.spans[lasting].max(initial=1)), 7), dtype=np.float32)
    for at in range(0, lasting.size, SERIES_AT_ONCE):
        rows = lasting[at : at + SERIES_AT_ONCE]
        some = torch.as_tensor(rows, device=device)
        spans = torch.as_tensor(flows.spans[rows], device=device)
        part = learned.cascade.make_series(conditions[some], tuples[some], spans, drawing.random)
        part = part[:, : made.shape[1]]
        made[at : at + rows.size, : part.shape[1]] = as_numpy(part)
    return series_of(
        made, flows, lasting, tops=learned.scales.tops,
        zero_inflation=drawing.config.zero_inflation, rng=drawing.rng,
    )  # fmt: skip


def _step_windows(drawing: Assembly, series: Series) -> Tensor:
    """What G3 sees of the series around each active step: float32 [S, W]."""
    learned, config = drawing.learned, drawing.config
    parts = []
    for at in range(0, series.offsets.size - 1, SERIES_AT_ONCE):
        rows = np.arange(at, min(at + SERIES_AT_ONCE, series.offsets.size - 1))
        spans = series.spans[rows]
        dense = learned.scales.densify(
            series, rows, step_count=int(spans.max()), zero_inflation=config.zero_inflation
        )
        flow = np.repeat(np.arange(rows.size), np.diff(series.offsets[at : at + rows.size + 1]))
        active = np.arange(series.offsets[at], series.offsets[at + rows.size])
        step = series.step[active] - series.first[rows][flow]
        parts.append(
            window_at(
                torch.as_tensor(dense[flow]), torch.as_tensor(step), window=config.window_steps
            )
        )
    return torch.cat(parts).to(drawing.device) if parts else torch.zeros(0, 1)


def _encoded(
    drawing: Assembly, rows: slice, columns: dict[str, IntArray], records: DrawnRecords,
    tokens: Array, time_ns: IntArray,
) -> EncodedTrace:  # fmt: skip
    """Cut one window out of what was drawn; its series and totals are those of its records."""
    layout = drawing.layout
    offsets = records.offsets[rows.start : rows.stop + 1]
    of_records = slice(offsets[0], offsets[-1])
    offsets = offsets - offsets[0]
    time, size = time_ns[of_records], records.size_bytes[of_records]
    kinds = tokens[of_records, 0]
    reverse = layout.record_fields[0].groups["reverse"][kinds] == 1
    series = aggregate(
        time, reverse, size, offsets, window_ns=layout.window_ns, step_count=layout.step_count
    )
    count = offsets.size - 1
    flow = np.repeat(np.arange(count), np.diff(series.offsets))
    totals = np.stack(
        [np.bincount(flow, series.values[:, i], count) for i in range(4)], axis=1
    ).astype(np.int64)
    start = time[offsets[:-1]]
    part = {name: column[rows] for name, column in columns.items()}
    part |= _number_tokens(layout, start, totals)
    return EncodedTrace(
        window_ns=layout.window_ns,
        step_count=layout.step_count,
        token_fields=layout.token_fields,
        tokens=np.stack([part[f.name] for f in layout.token_fields], axis=1).astype(np.int32),
        start_ns=start,
        duration_ns=time[offsets[1:] - 1] - start,
        totals=totals,
        static=np.zeros((count, 0), dtype=np.float32),
        spans=(),
        initiator_bits=np.zeros((count, 128), dtype=np.uint8),
        responder_bits=np.zeros((count, 128), dtype=np.uint8),
        series_fields=layout.series_fields,
        series_offsets=series.offsets,
        series_step=series.step.astype(np.int32),
        series_values=series.values,
        series_period=series.period.astype(np.float32),
        record_offsets=offsets,
        record_fields=layout.record_fields,
        records=tokens[of_records],
        record_bytes=size,
        record_ns=time,
    )


def _number_tokens(layout: TraceLayout, start: IntArray, totals: IntArray) -> dict[str, IntArray]:
    """Tokens of the columns whose numbers are known."""
    numbers = {"gap": np.diff(start, prepend=0)}
    numbers |= {name: totals[:, column] for name, column in NUMBER_COLUMNS.items()}
    return {
        f.name: f.number.encode(numbers[f.name])
        for f in layout.token_fields
        if f.name in numbers and f.number is not None
    }
