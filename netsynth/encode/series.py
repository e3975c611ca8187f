"""Packets of a flow as a sparse, zero-inflated series of counts, T equal steps a window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import ConfigError
from netsynth.numbers import IntArray
from netsynth.steps import SparseSeries, count_steps
from netsynth.tables import FlowTable


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesConfig:
    """How the packets of a flow become a series of counts."""

    step_count: int = 128  # T; longer series fit worse, CascadeNet section 9
    window_ns: int = 0  # 0: the whole capture, cut into equal windows where it is long
    window_packets: int = 400_000  # a longer capture is cut into windows of about this many

    def __post_init__(self) -> None:
        if self.step_count < 1:
            raise ConfigError(f"step_count is {self.step_count}, but must be at least 1")
        if self.window_ns < 0:
            raise ConfigError(f"window_ns is {self.window_ns}, but must not be negative")
        if self.window_packets < 1000:
            raise ConfigError(f"window_packets is {self.window_packets}, but must be 1000 or more")


def aggregate(flows: FlowTable, *, first_ns: int, window_ns: int, step_count: int) -> SparseSeries:
    """Count packets and bytes per direction, flow and step.

    Args:
        flows: Flows whose packets lie in first_ns .. first_ns + window_ns.
        first_ns: Start of the window, ns since the epoch.
        window_ns: Length of the window, ns.
        step_count: Steps in the window, T.

    Returns:
        The active steps alone, sorted by flow, then step.

    References:
        CascadeNet section 4.2 (aggregated series, zero inflation), 5.1 (sub-period).
    """
    packets = flows.packets
    return count_steps(
        packets.time_ns - first_ns, flows.reverse, packets.payload_length, flows.offsets,
        window_ns=window_ns, step_count=step_count,
    )  # fmt: skip


def densify(series: SparseSeries, rows: IntArray, *, step_count: int) -> NDArray[np.float32]:
    """Return the series of the flows `rows` [B] as float32 [B, T, 5]: activity, then values."""
    dense = np.zeros((rows.size, step_count, 5), dtype=np.float32)
    counts = series.offsets[rows + 1] - series.offsets[rows]
    batch = np.repeat(np.arange(rows.size), counts)
    first = np.repeat(series.offsets[rows], counts)
    inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    active = first + inside
    dense[batch, series.step[active], 0] = 1.0
    dense[batch, series.step[active], 1:] = series.values[active]
    return dense
