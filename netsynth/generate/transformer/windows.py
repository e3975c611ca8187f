"""Windows cut out of what was drawn for many of them at once."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.tables import EncodedTrace

GROUP_PACKETS = 300_000  # records that are drawn together


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
    return EncodedTrace(
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
