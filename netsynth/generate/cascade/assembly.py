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

from netsynth.generate.cascade.books import flow_classes
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.drawing import DrawnFlows, flows_of_tokens, series_of
from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.pairs import as_numpy, step_windows
from netsynth.generate.cascade.plan import NEVER, FlowsLeft
from netsynth.generate.cascade.record_data import WINDOW_CHAIN, window_keys
from netsynth.generate.cascade.record_drawing import (
    DrawnRecords,
    draw_records,
    even_out,
    place_in_time,
)
from netsynth.generate.cascade.record_rules import KindRules
from netsynth.generate.cascade.start_drawing import StartRequest, draw_starts
from netsynth.generate.cascade.tuple_layout import ENDPOINTS
from netsynth.generate.cascade.window import put_together
from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.limits import within_limits
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

if TYPE_CHECKING:
    from netsynth.generate.cascade.learned import Learned

TRIES = 4  # tuples that G1 makes for a flow, of which one is taken
SERIES_AT_ONCE = 2048  # flows whose series are made together
GROUP_PACKETS = 300_000  # records that are drawn together


@dataclass(slots=True)
class Assembly:
    """What is needed to draw windows.

    Attributes:
        random: Source of the nets' noise.
        rng: Source of all other draws.
        allowed: Tokens that a column may take, bool [size] by name.
        weights: How much likelier flows of a class become, by its name.
        flow_limit: Most flows of a window without a plan.
    """

    layout: TraceLayout
    config: CascadeConfig
    learned: Learned
    random: torch.Generator
    rng: np.random.Generator
    allowed: dict[str, NDArray[np.bool_]]
    weights: dict[str, float]
    flow_limit: int
    device: torch.device


def assemble(drawing: Assembly, window_count: int) -> Iterator[EncodedTrace]:
    """Draw windows and yield them in order."""
    learned, layout = drawing.learned, drawing.layout
    window, start, tokens = draw_starts(
        learned.starts, window_count, _start_request(drawing, window_count)
    )
    flows = flows_of_tokens(
        learned.starts, window, start, tokens, window_ns=layout.window_ns,
        step_count=learned.step_count, largest_payload=learned.largest_payload,
        fastest=learned.fastest, random=drawing.random,
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


def _start_request(drawing: Assembly, window_count: int) -> StartRequest:
    """What level 0 is asked for.

    Plans know nothing of labels: where labels are asked for or weighted, windows have none.
    """
    learned, device = drawing.learned, drawing.device
    label = learned.classes.label_boost(drawing.weights, device=device)
    if "label" in drawing.allowed:
        fits = torch.as_tensor(drawing.allowed["label"], device=device)
        log = torch.where(fits, 0.0, NEVER)
        label = log if label is None else label + log
    pair = learned.classes.pair_weights(drawing.weights)
    request = StartRequest(
        window_ns=drawing.layout.window_ns, random=drawing.random, flow_limit=drawing.flow_limit,
        pace=learned.calibration.pace, fastest=torch.as_tensor(learned.fastest, device=device),
    )  # fmt: skip
    if label is None:
        plans, classes = learned.plans, learned.classes
        cell = plans.cell_weight(classes.pairs, classes.counts, pair)
        plan, ends = plans.draw(window_count, drawing.rng, weight=cell)
        request.left = FlowsLeft(plans, plan, device=device)
        request.ends = torch.as_tensor(ends, device=device)
        octave = plans.forward[classes.pairs[:, 0]], plans.reverse[classes.pairs[:, 1]]
        pair = pair / cell[octave]  # what the plan does not do: inside of an octave
    boosts = learned.classes.boosts(pair, device=device)
    request.boosts = learned.calibration.add_to(boosts, device=device)
    if label is not None:
        request.boosts["label"] = label
    return request


@torch.no_grad()
def _endpoints(drawing: Assembly, flows: DrawnFlows) -> tuple[IntArray, NDArray[np.bool_]]:
    """Choose service, responder, initiator and state of flows: int64 [F, 4]; which to keep [F]."""
    learned = drawing.learned
    conditions = _conditions(drawing, flows)
    asked = {n: m for n, m in drawing.allowed.items() if n in ENDPOINTS}
    parts = [np.zeros((0, TRIES, learned.maker.layout.width), dtype=np.float32)]
    for at in range(0, flows.window.size, 8192):
        some = conditions[at : at + 8192].repeat_interleave(TRIES, dim=0)
        made = as_numpy(learned.cascade.make_tuples(some, drawing.random))
        parts.append(made.reshape(-1, TRIES, made.shape[1]))
    tuples = np.concatenate(parts)
    if asked:
        return learned.maker.snap_among(tuples, asked)
    classes = flow_classes(flows.totals, flows.duration_ns, flows.label)
    tokens = learned.maker.snap(tuples, classes, flows.window, drawing.rng)
    return tokens, np.ones(tokens.shape[0], dtype=np.bool_)


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
        learned.cascade, learned.scales, KindRules.of(kind, device), learned.maps, flows, series,
        conditions=conditions, tuples=tuples,
        windows=_step_windows(drawing, series),
        service=torch.as_tensor(endpoints[:, 0], device=device),
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
    windows = step_windows(series, drawing.learned.scales, drawing.config, device=drawing.device)
    return windows.of(torch.arange(series.step.size, device=drawing.device))


def _encoded(
    drawing: Assembly, rows: slice, columns: dict[str, IntArray], records: DrawnRecords,
    tokens: Array, time_ns: IntArray,
) -> EncodedTrace:  # fmt: skip
    """Cut one window out of what was drawn; flows that run too fast are evened out."""
    offsets = records.offsets[rows.start : rows.stop + 1]
    of_records = slice(offsets[0], offsets[-1])
    offsets = offsets - offsets[0]
    part = {name: column[rows] for name, column in columns.items()}
    time, size, tokens = time_ns[of_records], records.size_bytes[of_records], tokens[of_records]
    trace = put_together(drawing.layout, part, tokens, size, offsets, time)
    fast = ~within_limits(trace, drawing.learned.fastest)
    if not fast.any():
        return trace
    return put_together(drawing.layout, part, tokens, size, offsets, even_out(time, offsets, fast))
