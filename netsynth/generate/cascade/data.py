"""Everything the pairs are trained on, laid out once: flows, series and records of all windows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.flow_data import (
    Series,
    column_of,
    flow_conditions,
    flow_states,
    record_reverse,
    trace_series,
)
from netsynth.generate.cascade.record_data import Place, record_places, record_rows
from netsynth.generate.cascade.scales import CascadeScales, fit_scales
from netsynth.generate.cascade.tuple_layout import TupleLayout, static_rows, tuple_tokens
from netsynth.numbers import FloatArray, IntArray
from netsynth.tables import EncodedTrace

BLOCK = 32  # flows that are held out together
LARGEST_PART = 2.0  # of the held-out share, that the packets of one block may be


@dataclass(slots=True)
class CascadeData:
    """Flows [F] and records [N] of all windows.

    Attributes:
        conditions: float32 [F, K], images.
        tuples: float32 [F, D].
        service: int64 [F], token of each flow's service.
        spans: int64 [F], steps from first to last active one.
        series: Of all flows.
        held_out: bool [F].
        flow: int64 [N], flow of each record.
        row: int64 [N], active step of each record, among all.
        step: int64 [N], step of each record, from the first of its flow on.
        place: Of each record.
        kind: int64 [N].
        numbers: float32 [N, 2], images of payload and gap.
    """

    conditions: Tensor
    tuples: Tensor
    service: Tensor
    spans: Tensor
    series: Series
    held_out: Tensor
    flow: Tensor
    row: Tensor
    step: Tensor
    place: Place
    kind: Tensor
    numbers: Tensor


def all_series(traces: list[EncodedTrace], *, step_count: int) -> list[Series]:
    """Series of each window."""
    return [trace_series(t, step_count=step_count) for t in traces]


def all_conditions(traces: list[EncodedTrace], series: list[Series]) -> FloatArray:
    """Conditions of all flows, float64 [F, 11]."""
    return np.concatenate(
        [
            flow_conditions(t.start_ns, t.duration_ns, t.totals, s)
            for t, s in zip(traces, series, strict=True)
        ]
    )


def record_gaps(trace: EncodedTrace) -> IntArray:
    """Time since the record before in the flow, 0 for the first: int64 [N], ns."""
    gap = np.diff(trace.record_ns, prepend=0)
    gap[trace.record_offsets[:-1]] = 0
    return gap


def learn_scales(
    traces: list[EncodedTrace], series: list[Series], numbers: FloatArray, *, label_count: int
) -> CascadeScales:
    """Fit the scales to windows."""
    return fit_scales(
        numbers,
        series,
        np.concatenate([t.record_bytes for t in traces]),
        np.concatenate([record_gaps(t) for t in traces]),
        label_count=label_count,
    )


def hold_out(packets: IntArray, *, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose blocks of flows to hold out: bool [F].

    Blocks of more than their part of the packets are passed over, or the one flow that carries
    nearly all of them may be what is not learned from. One flow alone is learned from.

    Args:
        packets: int64 [F].
        share: Of the flows.
        rng: Source of randomness.
    """
    flow_count = packets.size
    block = int(np.clip(flow_count // 40, 1, BLOCK))
    place = np.arange(flow_count) // block
    volume = np.bincount(place, packets)
    order = rng.permutation(volume.size)
    light = order[volume[order] <= LARGEST_PART * share * packets.sum()]
    chosen = np.zeros(volume.size, dtype=np.bool_)
    chosen[light[: max(round(share * volume.size), 1)]] = True
    return chosen[place]


def lay_out_data(
    traces: list[EncodedTrace],
    series: list[Series],
    numbers: FloatArray,
    *,
    scales: CascadeScales,
    layout: TupleLayout,
    config: CascadeConfig,
    rng: np.random.Generator,
    device: torch.device,
) -> CascadeData:
    """Lay out windows for training."""
    label = np.concatenate([column_of(t, "label") for t in traces])
    tokens = np.concatenate([tuple_tokens(t) for t in traces])
    static = static_rows(traces)
    places, kinds, images = [], [], []
    for trace, part in zip(traces, series, strict=True):
        image = scales.encode_records(trace.record_bytes, record_gaps(trace))
        places.append(
            record_places(
                trace, part, image, reverse=record_reverse(trace), state=flow_states(trace),
                history=config.record_history,
            )
        )  # fmt: skip
        kinds.append(trace.records[:, 0].astype(np.int64))
        images.append(image)
    joined = join_series(series)
    row = record_rows(joined)
    counts = np.concatenate([np.diff(t.record_offsets) for t in traces])
    flow = np.repeat(np.arange(counts.size), counts)
    place = Place(*(torch.cat([getattr(p, n) for p in places]) for n in Place.__slots__))
    return CascadeData(
        conditions=torch.as_tensor(scales.encode_conditions(numbers, label), device=device),
        tuples=torch.as_tensor(layout.encode(static, tokens[:, 3]), device=device),
        service=torch.as_tensor(tokens[:, 0], device=device),
        spans=torch.as_tensor(joined.spans, device=device),
        series=joined,
        held_out=torch.as_tensor(hold_out(counts, share=config.held_out, rng=rng), device=device),
        flow=torch.as_tensor(flow, device=device),
        row=torch.as_tensor(row, device=device),
        step=torch.as_tensor(joined.step[row] - joined.first[flow], device=device),
        place=place.to(device),
        kind=torch.as_tensor(np.concatenate(kinds), device=device),
        numbers=torch.as_tensor(np.concatenate(images), device=device),
    )


def join_series(parts: list[Series]) -> Series:
    """Put the series of several windows together."""
    counts = np.concatenate([np.diff(p.offsets) for p in parts])
    return Series(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        step=np.concatenate([p.step for p in parts]),
        values=np.concatenate([p.values for p in parts]),
        period=np.concatenate([p.period for p in parts]),
    )
