"""An encoded window put together from token columns and records."""

from __future__ import annotations

import numpy as np

from netsynth.generate.contract import TraceLayout
from netsynth.numbers import Array, IntArray
from netsynth.steps import count_steps
from netsynth.tables import EncodedTrace

NUMBER_COLUMNS = {
    "packets_forward": 0, "packets_reverse": 1, "bytes_forward": 2, "bytes_reverse": 3,
}  # fmt: skip


def put_together(
    layout: TraceLayout, columns: dict[str, IntArray], tokens: Array, size: IntArray,
    offsets: IntArray, time: IntArray,
) -> EncodedTrace:  # fmt: skip
    """Put a window together; its series and totals are those of its records.

    Args:
        layout: Fields, and the length of the window.
        columns: int64 [F] by name, token columns whose numbers do not follow from the records.
        tokens: int32 [N, R], of the records, in order of flow.
        size: int64 [N], payload of the records.
        offsets: int64 [F+1], records of each flow.
        time: int64 [N], ns from the window's start.
    """
    reverse = layout.record_fields[0].groups["reverse"][tokens[:, 0]] == 1
    series = count_steps(
        time, reverse, size, offsets, window_ns=layout.window_ns, step_count=layout.step_count
    )
    count = offsets.size - 1
    flow = np.repeat(np.arange(count), np.diff(series.offsets))
    totals = np.stack(
        [np.bincount(flow, series.values[:, i], count) for i in range(4)], axis=1
    ).astype(np.int64)
    start = time[offsets[:-1]]
    part = columns | _number_tokens(layout, start, totals)
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
        series_step=series.step,
        series_values=series.values,
        series_period=series.period,
        record_offsets=offsets,
        record_fields=layout.record_fields,
        records=tokens,
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
