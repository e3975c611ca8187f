"""The details of flows on a CPU, those of many flows side by side."""

from __future__ import annotations

import numpy as np

from netsynth.generate.transformer.clock_kernel import add_clock, clock_features
from netsynth.generate.transformer.field_kernel import PlanArrays, draw_fields
from netsynth.generate.transformer.flow_arrays import FlowArrays
from netsynth.generate.transformer.flow_level import CLOCK_WIDTH
from netsynth.generate.transformer.kernels import (
    add_to,
    compiled,
    gelu,
    linear,
)
from netsynth.numbers import Array

DETAIL_ROWS = 64  # flows whose details are drawn together


@compiled
def draw_details(
    a: FlowArrays,
    state: Array,
    start_ns: Array,
    tokens: Array,
    window_ns: float,
    allowed: Array,
    quantiles: Array,
    streams: Array,
) -> None:
    """Draw the columns of flows that follow from their skeletons.

    Args:
        a: The flow level.
        state: float32 [F, H], of the transformer.
        start_ns: float64 [F].
        tokens: int64 [F, K], the skeleton filled; the rest is set.
        window_ns: Length of a window.
        allowed: uint8, see `field_arrays.pack_allowed`.
        quantiles: float64 [F, K - 6], see `draw_fields`.
        streams: uint64 [F].
    """
    width = a.begin.size
    given = a.starts.size
    joined = np.zeros((DETAIL_ROWS, width), dtype=np.float32)
    features = np.zeros(CLOCK_WIDTH, dtype=np.float32)
    source = np.zeros((DETAIL_ROWS, width), dtype=np.float32)
    no_large = np.zeros((0, 0), dtype=np.float32)
    nothing = PlanArrays(
        np.zeros((0, 0, 0), dtype=np.float32), a.outcome, -1, -1, -1, no_large, a.book
    )
    left_ns = np.maximum(window_ns - 1 - start_ns, 0.0)
    for first in range(0, start_ns.size, DETAIL_ROWS):
        rows = min(DETAIL_ROWS, start_ns.size - first)
        source[:rows] = state[first : first + rows]
        linear(source, rows, a.join, a.join_bias, joined)
        gelu(joined, rows, width)
        for row in range(rows):
            x = joined[row]
            for column in range(given):
                add_to(x, a.detail_table[a.detail_starts[column] + tokens[first + row, column]])
            clock_features(start_ns[first + row], window_ns, features)
            add_clock(x, features, a.detail_clock, a.detail_clock_bias)
        draw_fields(
            a.details,
            joined,
            tokens[first : first + rows],
            given,
            rows,
            allowed,
            nothing,
            a.times,
            left_ns[first : first + rows],
            quantiles[first : first + rows],
            streams[first : first + rows],
        )
