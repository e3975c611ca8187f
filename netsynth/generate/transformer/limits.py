"""What no flow of the capture exceeded: flows that do are slowed down.

One flow in thousands is drawn with more bytes than its duration can hold. Its throughput would
outweigh all others in any mean. Where a window has no room for it at the fastest pace learned, it
is left out.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.numbers import FloatArray, IntArray
from netsynth.steps import count_steps
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


def slow_down(trace: EncodedTrace, fastest: FloatArray) -> EncodedTrace:
    """Stretch flows that are faster than those learned to the fastest of their size.

    One that would outlast the window then begins earlier. One that is longer than the window, as
    two of its packets lie too close, has its packets at equal distances; if that is too fast
    still, it is left out. Series and totals are counted again from the records.
    """
    octave, rate = directed_rates(trace)
    limit = fastest[np.minimum(octave, OCTAVES - 1)]
    factor = np.where(rate > SLACK * limit, rate / np.maximum(limit, 1e-9), 1.0).max(axis=1)
    if (factor == 1).all():
        return trace
    counts = np.diff(trace.record_offsets)
    flow = np.repeat(np.arange(len(trace)), counts)
    first, last = (trace.record_ns[rows] for rows in _ends(trace))
    fits = (last - first) * factor < trace.window_ns
    factor = np.where(fits, factor, 1.0)
    after = ((trace.record_ns - first[flow]) * factor[flow]).astype(np.int64)
    place = np.arange(flow.size) - trace.record_offsets[:-1][flow]
    even = (last - first)[flow] * (place / np.maximum(counts - 1, 1)[flow])
    after = np.where(fits[flow], after, even.astype(np.int64))
    start = np.minimum(trace.start_ns, trace.window_ns - 1 - after[_ends(trace)[1]])
    start = np.where(factor > 1, start, trace.start_ns)
    time = np.where((factor[flow] > 1) | ~fits[flow], start[flow] + after, trace.record_ns)
    duration = np.where(factor > 1, after[_ends(trace)[1]], trace.duration_ns)
    series = count_steps(
        time, trace.record_fields[0].groups["reverse"][trace.records[:, 0]] == 1,
        trace.record_bytes, trace.record_offsets,
        window_ns=trace.window_ns, step_count=trace.step_count,
    )  # fmt: skip
    of_flow = np.repeat(np.arange(len(trace)), np.diff(series.offsets))
    sums = [np.bincount(of_flow, column, len(trace)) for column in series.values.T]
    stretched = dataclasses.replace(
        trace,
        record_ns=time,
        start_ns=start,
        duration_ns=duration,
        totals=np.stack(sums, axis=1).astype(np.int64),
        series_offsets=series.offsets,
        series_step=series.step,
        series_values=series.values,
        series_period=series.period,
    )
    kept = fits | within_limits(stretched, fastest)
    order = np.argsort(start, kind="stable")
    return take_flows(stretched, order[kept[order]])


def _ends(trace: EncodedTrace) -> tuple[IntArray, IntArray]:
    """First and last record of each flow, int64 [F]."""
    return trace.record_offsets[:-1], trace.record_offsets[1:] - 1


def take_flows(trace: EncodedTrace, rows: IntArray) -> EncodedTrace:
    """Return the flows `rows` of `trace`, in that order."""
    steps, step_offsets = _rows_of(trace.series_offsets, rows)
    records, record_offsets = _rows_of(trace.record_offsets, rows)
    return dataclasses.replace(
        trace,
        **{
            name: getattr(trace, name)[rows]
            for name in ("tokens", "start_ns", "duration_ns", "totals", "static",
                         "initiator_bits", "responder_bits")
        },
        **{
            name: getattr(trace, name)[steps]
            for name in ("series_step", "series_values", "series_period")
        },
        **{
            name: getattr(trace, name)[records] for name in ("records", "record_bytes", "record_ns")
        },
        series_offsets=step_offsets,
        record_offsets=record_offsets,
    )  # fmt: skip


def _rows_of(offsets: IntArray, rows: IntArray) -> tuple[IntArray, IntArray]:
    """What lies between the offsets of `rows`: places int64 [N], and the new offsets."""
    counts = np.diff(offsets)[rows]
    new = np.append(0, np.cumsum(counts)).astype(np.int64)
    inside = np.arange(int(new[-1])) - np.repeat(new[:-1], counts)
    return np.repeat(offsets[:-1][rows], counts) + inside, new
