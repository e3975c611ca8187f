"""What the cascade learns of flows: series on its own steps, conditions, and 5-tuples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.generate.cascade.config import LONGEST_SERIES, SHORTEST_SERIES
from netsynth.numbers import FloatArray, IntArray
from netsynth.steps import count_steps
from netsynth.tables import EncodedTrace

LENGTHS = (LONGEST_SERIES, 128, 64, 40, SHORTEST_SERIES)  # T to choose from
FULL_STEP = 2.0  # packets of an active step, on average, that a step should hold
CONDITIONS = (
    "start_ns", "duration_ns", "packets_forward", "packets_reverse", "bytes_forward",
    "bytes_reverse", "active_steps", "rate_max", "rate_mean", "rate_std", "interval_mean",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Series:
    """Active steps of flows, sorted by flow and step.

    Attributes:
        offsets: int64 [F+1].
        step: int64 [S], 0 .. T-1 of the window.
        values: int64 [S, 4], packets forward and reverse, payload bytes forward and reverse.
        period: float64 [S, 2], first and last packet as shares of the step.
    """

    offsets: IntArray
    step: IntArray
    values: IntArray
    period: FloatArray

    @property
    def first(self) -> IntArray:
        """First step of each flow, int64 [F]."""
        return self.step[self.offsets[:-1]]

    @property
    def spans(self) -> IntArray:
        """Steps from a flow's first to its last active one, both counted: int64 [F]."""
        return self.step[self.offsets[1:] - 1] - self.first + 1


def record_reverse(trace: EncodedTrace) -> NDArray[np.bool_]:
    """Direction of each record, bool [N]."""
    reverse = trace.record_fields[0].groups["reverse"]
    return np.asarray(reverse[trace.records[:, 0]] == 1, dtype=np.bool_)


def trace_series(trace: EncodedTrace, *, step_count: int) -> Series:
    """Aggregate the records of a trace in `step_count` equal steps of its window.

    References:
        CascadeNet section 4.2 (aggregated series), 5.1 (sub-period).
    """
    counted = count_steps(
        trace.record_ns, record_reverse(trace), trace.record_bytes, trace.record_offsets,
        window_ns=trace.window_ns, step_count=step_count,
    )  # fmt: skip
    return Series(
        offsets=counted.offsets,
        step=counted.step.astype(np.int64),
        values=counted.values,
        period=counted.period.astype(np.float64),
    )


def choose_step_count(traces: list[EncodedTrace]) -> int:
    """Choose T: the most steps in which flows that outlast one still fill their active steps.

    Long series are harder to learn (CascadeNet section 9), and steps of a single packet say
    nothing that the records do not.
    """
    for count in LENGTHS:
        filled: list[IntArray] = []
        for trace in traces:
            series = trace_series(trace, step_count=count)
            longer = np.repeat(series.spans > 1, np.diff(series.offsets))
            filled.append(series.values[longer, :2].sum(axis=1))
        packets = np.concatenate(filled)
        if packets.size and packets.mean() >= FULL_STEP:
            return count
    return SHORTEST_SERIES


def flow_conditions(
    start_ns: IntArray, duration_ns: IntArray, totals: IntArray, series: Series
) -> FloatArray:
    """Describe flows by CONDITIONS: float64 [F, 11].

    References:
        CascadeNet section 4.3 (conditional inputs).
    """
    active = np.diff(series.offsets).astype(np.float64)
    starts = series.offsets[:-1]
    if active.size == 0:
        return np.zeros((0, len(CONDITIONS)))
    rate = series.values[:, :2].sum(axis=1).astype(np.float64)
    mean = np.add.reduceat(rate, starts) / active
    squares = (rate - np.repeat(mean, np.diff(series.offsets))) ** 2
    columns = (
        start_ns,
        duration_ns,
        *totals.T,
        active,
        np.maximum.reduceat(rate, starts),
        mean,
        np.sqrt(np.add.reduceat(squares, starts) / active),
        (series.spans - 1) / np.maximum(active - 1, 1),
    )
    return np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1)


def column_of(trace: EncodedTrace, name: str) -> IntArray:
    """Token column `name` of the flows, int64 [F]."""
    place = [f.name for f in trace.token_fields].index(name)
    return trace.tokens[:, place].astype(np.int64)


def flow_states(trace: EncodedTrace) -> IntArray:
    """State bits (SYN, FIN, RST either way) that the records of each flow show: int64 [F]."""
    bits = trace.record_fields[0].groups["state"][trace.records[:, 0]]
    if len(trace) == 0:
        return bits
    return np.asarray(np.bitwise_or.reduceat(bits, trace.record_offsets[:-1]), dtype=np.int64)
