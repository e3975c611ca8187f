"""What no flow of the capture exceeded, and flows that do are drawn in vain: they are left out.

One flow in thousands may be drawn with more bytes than its duration can hold. Its throughput would
outweigh all others in any mean.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.numbers import FloatArray, IntArray
from netsynth.tables import EncodedTrace

OCTAVES = 40  # of the packets of a directed flow
HEADER_BYTES = 40  # counted to each packet's payload
SLACK = 1.3  # how far beyond the fastest learned flow one may go


def directed_rates(trace: EncodedTrace) -> tuple[IntArray, FloatArray]:
    """Throughput of each flow and direction.

    Args:
        trace: A window.

    Returns:
        Octave of the packets, int64 [F, 2], and bytes/s, float64 [F, 2], 0 where a direction has
        fewer than two packets or lasts no time.
    """
    flow_count = len(trace)
    reverse = trace.record_fields[0].groups["reverse"][trace.records[:, 0]].astype(np.int64)
    lane = np.repeat(np.arange(flow_count), np.diff(trace.record_offsets)) * 2 + reverse
    first = np.full(2 * flow_count, np.iinfo(np.int64).max)
    last = np.zeros(2 * flow_count, dtype=np.int64)
    np.minimum.at(first, lane, trace.record_ns)
    np.maximum.at(last, lane, trace.record_ns)
    packets = np.bincount(lane, minlength=2 * flow_count)
    size = np.bincount(lane, trace.record_bytes + HEADER_BYTES, minlength=2 * flow_count)
    lasting = (packets > 1) & (last > first)
    seconds = np.where(lasting, last - first, 1) / 1e9
    octave = np.log2(np.maximum(packets, 1)).astype(np.int64)
    rate = np.where(lasting, size / seconds, 0.0)
    return octave.reshape(-1, 2), rate.reshape(-1, 2)


def fastest_rates(traces: list[EncodedTrace]) -> FloatArray:
    """Largest throughput by octave of packets, bytes/s, float64 [OCTAVES]; inf where unknown."""
    fastest = np.zeros(OCTAVES)
    for trace in traces:
        octave, rate = directed_rates(trace)
        np.maximum.at(fastest, np.minimum(octave, OCTAVES - 1).ravel(), rate.ravel())
    near = np.maximum(np.append(fastest[1:], 0), np.append(0, fastest[:-1]))
    known = np.where(fastest > 0, fastest, near)
    return np.where(known > 0, known, np.inf)


def shortest_ns(totals: Tensor, fastest: Tensor) -> Tensor:
    """Shortest time that flows take at the `fastest` rates: float64 [F] ns.

    Args:
        totals: int64 [F, 4], packets forward and reverse, payload bytes forward and reverse.
        fastest: float64 [OCTAVES], see `fastest_rates`.
    """
    packets = totals[:, :2].double()
    octave = torch.log2(packets.clamp(min=1)).long().clamp(max=OCTAVES - 1)
    least = (totals[:, 2:] + HEADER_BYTES * packets) / fastest[octave] * 1e9
    return least.masked_fill(packets < 2, 0.0).max(dim=1).values


def within_limits(trace: EncodedTrace, fastest: FloatArray) -> NDArray[np.bool_]:
    """Tell which flows are no faster than those learned: bool [F]."""
    octave, rate = directed_rates(trace)
    limit = SLACK * fastest[np.minimum(octave, OCTAVES - 1)]
    return np.asarray((rate <= limit).all(axis=1), dtype=np.bool_)


def keep_flows(trace: EncodedTrace, kept: NDArray[np.bool_]) -> EncodedTrace:
    """Return the flows of `trace` where `kept` [F] holds."""
    if kept.all():
        return trace
    steps = np.repeat(kept, np.diff(trace.series_offsets))
    records = np.repeat(kept, np.diff(trace.record_offsets))

    def offsets(old: IntArray) -> IntArray:
        return np.concatenate([[0], np.cumsum(np.diff(old)[kept])]).astype(np.int64)

    return dataclasses.replace(
        trace,
        **{
            name: getattr(trace, name)[kept]
            for name in ("tokens", "start_ns", "duration_ns", "totals", "static",
                         "initiator_bits", "responder_bits")
        },
        **{
            name: getattr(trace, name)[steps]
            for name in ("series_step", "series_values", "series_period")
        },
        records=trace.records[records],
        record_bytes=trace.record_bytes[records],
        record_ns=trace.record_ns[records],
        series_offsets=offsets(trace.series_offsets),
        record_offsets=offsets(trace.record_offsets),
    )  # fmt: skip
