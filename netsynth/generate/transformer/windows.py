"""Windows cut out of what was drawn for many of them at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

GROUP_PACKETS = 300_000  # records that are drawn together
SLACK_NS = 1000.0  # past its step that is no timer's doing: records without room are a ns apart


def cut_window(
    layout: TraceLayout,
    rows: slice,
    flows: DrawnFlows,
    totals: DrawnTotals,
    series: DrawnSeries,
    records: DrawnRecords,
) -> EncodedTrace:
    """Cut the window of the flows `rows` out of what was drawn."""
    ends = slice(rows.start, rows.stop + 1)
    of_series = slice(series.offsets[rows.start], series.offsets[rows.stop])
    of_records = slice(records.offsets[rows.start], records.offsets[rows.stop])
    count = rows.stop - rows.start
    window = EncodedTrace(
        window_ns=layout.window_ns,
        step_count=layout.step_count,
        token_fields=layout.token_fields,
        tokens=flows.tokens[rows].cpu().numpy().astype(np.int32),
        start_ns=flows.start_ns[rows].cpu().numpy().astype(np.int64),
        duration_ns=totals.duration_ns[rows].cpu().numpy().astype(np.int64),
        totals=totals.packets_and_bytes[rows].cpu().numpy(),
        static=np.zeros((count, 0), dtype=np.float32),
        spans=(),
        initiator_bits=np.zeros((count, 128), dtype=np.uint8),
        responder_bits=np.zeros((count, 128), dtype=np.uint8),
        series_fields=layout.series_fields,
        series_offsets=series.offsets[ends] - series.offsets[rows.start],
        series_step=series.step[of_series].astype(np.int32),
        series_values=series.values[of_series],
        series_period=np.zeros((of_series.stop - of_series.start, 2), dtype=np.float32),
        record_offsets=records.offsets[ends] - records.offsets[rows.start],
        record_fields=layout.record_fields,
        records=records.tokens[of_records],
        record_bytes=records.size_bytes[of_records],
        record_ns=records.time_ns[of_records],
    )
    return count_again(window)


def count_again(trace: EncodedTrace) -> EncodedTrace:
    """Let the series of flows say where their records are, if a timer took some to other steps.

    What the records of a direction miss of its bytes, or have too many, is spread over its steps
    by what they hold, so that the series sums to the totals as before.

    Args:
        trace: Whose series counts as many records a flow as there are.
    """
    flows, steps = len(trace), trace.step_count
    step_ns = trace.window_ns / steps
    values = trace.series_values
    of_row = np.repeat(np.arange(flows), np.diff(trace.series_offsets))
    packets = values[:, :2].sum(axis=1)
    told = np.repeat(trace.series_step, packets)  # step of each record
    early = trace.record_ns < told * step_ns - SLACK_NS
    late = trace.record_ns > (told + 1) * step_ns + SLACK_NS
    flow = np.repeat(np.arange(flows), np.diff(trace.record_offsets))
    moved = np.zeros(flows, dtype=np.bool_)
    moved[flow[early | late]] = True
    if not moved.any():
        return trace
    some = np.flatnonzero(moved[flow])
    step = np.clip((trace.record_ns[some] / step_ns).astype(np.int64), 0, steps - 1)
    cells, cell = np.unique(flow[some] * steps + step, return_inverse=True)
    reverse = trace.record_fields[0].groups["reverse"][trace.records[some, 0]].astype(np.int64)
    counted = np.zeros((cells.size, 4), dtype=np.int64)
    np.add.at(counted, (cell, reverse), 1)
    np.add.at(counted, (cell, 2 + reverse), trace.record_bytes[some])
    for way in (2, 3):
        counted[:, way] = _spread(counted[:, way], trace.totals[:, way], cells // steps)
    kept = ~moved[of_row]
    owner = np.concatenate([of_row[kept], cells // steps])
    rows = np.concatenate([values[kept], counted.astype(values.dtype)])
    place = np.concatenate([trace.series_step[kept], cells % steps])
    order = np.lexsort((place, owner))
    return dataclasses.replace(
        trace,
        series_offsets=np.concatenate([[0], np.bincount(owner, minlength=flows).cumsum()]),
        series_step=place[order].astype(np.int32),
        series_values=rows[order],
        series_period=np.zeros((order.size, 2), dtype=np.float32),
    )


def _spread(held: IntArray, totals: Array, flow: IntArray) -> IntArray:
    """Stretch what rows hold [R] to the total of their flow, `flow` [R] ascending: int64 [R]."""
    begins = np.diff(flow, prepend=-1) != 0
    first = np.flatnonzero(begins)
    of_flow = np.cumsum(begins) - 1
    wanted = totals[flow[first]].astype(np.int64)[of_flow]
    so_far = np.cumsum(held)
    so_far -= (so_far - held)[first][of_flow]
    whole = np.add.reduceat(held, first)[of_flow]
    is_last = np.append(begins[1:], True)
    share = np.where(whole > 0, so_far / np.maximum(whole, 1), is_last)
    until = np.rint(share * wanted).astype(np.int64)
    spread: IntArray = np.where(begins, until, np.diff(until, prepend=0))
    return spread


def window_groups(packets: Tensor, ends: list[int]) -> Iterator[tuple[int, int]]:
    """Yield ranges of windows of about GROUP_PACKETS packets, whose records fit in memory.

    Args:
        packets: int64 [F], packets of each flow.
        ends: First flow of each window, and the number of flows.
    """
    total = torch.cat([packets.new_zeros(1), packets.cumsum(0)])
    first = 0
    while first < len(ends) - 1:
        last = first + 1
        while last < len(ends) - 1 and total[ends[last + 1]] - total[ends[first]] <= GROUP_PACKETS:
            last += 1
        yield first, last
        first = last
