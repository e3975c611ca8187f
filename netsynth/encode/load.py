"""The load that the capture's network carried at most, over any time, and traffic held to it.

Flows are drawn one by one, and where several large ones meet, or one sends all that it had left at
once, an interval would carry more than the links of the capture ever did. A burst is told by the
largest interval of a trace, so one of them spoils the look of all others. The capture's arrival
envelope (R. Cruz, A calculus for network delay, IEEE Trans. Inf. Theory 37(1), 1991) is the most
bytes seen within any time of a given length; packets that would exceed it wait, as they would in
the queue of a link.
"""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.tables import EncodedTrace, FlowTable

HEADER_BYTES = 54  # counted to each packet's payload
SHORTEST_NS = 100_000.0  # below, a capture's clock and its host say more than its links
LONGEST = 1 / 128  # of a trace; over longer times it is demand that tells, and not links
LONGER = 0.05  # by which flows may last longer together for having waited
PARTS = (1.0, 0.8, 0.6, 0.4, 0.2)  # of the buckets, those of the shortest times, tried in turn
LOADING = 0.8  # share of the bytes of a window, of the fewest flows that carry it: they wait


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """Token buckets that the capture's traffic passes without waiting.

    Attributes:
        depth: Bytes that each bucket holds, float64 [B].
        rate: Bytes per ns that flow into it, float64 [B].
    """

    depth: FloatArray
    rate: FloatArray

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the arrays to be kept under `name`."""
        return {f"{name}.depth": self.depth, f"{name}.rate": self.rate}

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> Load:
        """Inverse of `to_arrays`."""
        return Load(depth=arrays[f"{name}.depth"], rate=arrays[f"{name}.rate"])

    def delay(
        self, time_ns: IntArray, size_bytes: IntArray, offsets: IntArray, waits: NDArray[np.bool_]
    ) -> IntArray:
        """Hold packets back that would exceed the load; a flow that waited stays late.

        Args:
            time_ns: int64 [N], flow after flow, ascending in each.
            size_bytes: int64 [N], payload bytes.
            offsets: int64 [F + 1], first packet of each flow.
            waits: bool [F], flows that wait; those that don't count all the same.

        Returns:
            int64 [N], times when they go.
        """
        if not self.depth.size or not time_ns.size:
            return time_ns
        from netsynth.encode.load_kernel import queue

        size = size_bytes.astype(np.float64) + HEADER_BYTES
        passing = np.flatnonzero(~np.repeat(waits, np.diff(offsets)))
        passing = passing[np.argsort(time_ns[passing], kind="stable")]
        return np.asarray(queue(time_ns, size, offsets, waits, passing, self.depth, self.rate))


def hold_to(load: Load, trace: EncodedTrace) -> EncodedTrace:
    """Hold a window's packets back to `load`, those of its largest flows alone.

    Small flows are no load, and their times tell most. Where flows would last longer by more than
    LONGER, the window asks for more than the capture did for long: only short peaks are cut.

    What would go after the window's end does not go, as a capture that ends cuts its flows off; of
    a flow that began, the first packet is kept. The series are left as they were.
    """
    counts, old = np.diff(trace.record_offsets), trace.record_ns
    for part in PARTS:
        count = int(np.ceil(part * load.rate.size))
        first = Load(depth=load.depth[:count], rate=load.rate[:count])
        new = first.delay(old, trace.record_bytes, trace.record_offsets, _largest(trace))
        if _lasting(new, trace) <= (1 + LONGER) * _lasting(old, trace):
            break
    else:
        return trace
    if np.array_equal(old, new):
        return trace
    flow = np.repeat(np.arange(counts.size), counts)
    kept = (new < trace.window_ns) | (old >= trace.window_ns)
    kept[trace.record_offsets[:-1][counts > 0]] = True
    offsets = np.append(0, np.cumsum(np.bincount(flow[kept], minlength=counts.size)))
    return dataclasses.replace(
        trace,
        records=trace.records[kept],
        record_bytes=trace.record_bytes[kept],
        record_ns=np.minimum(new, np.maximum(old, trace.window_ns - 1))[kept],
        record_offsets=offsets.astype(np.int64),
    )


def _lasting(time_ns: IntArray, trace: EncodedTrace) -> float:
    """How long the flows of a window last together, ns."""
    some = np.flatnonzero(np.diff(trace.record_offsets))
    first, last = trace.record_offsets[:-1][some], trace.record_offsets[1:][some] - 1
    return float((time_ns[last] - time_ns[first]).sum())


def _largest(trace: EncodedTrace) -> NDArray[np.bool_]:
    """Tell which flows are the fewest that carry LOADING of a window's bytes: bool [F]."""
    counts = np.diff(trace.record_offsets)
    flow = np.repeat(np.arange(counts.size), counts)
    size = np.bincount(flow, trace.record_bytes + HEADER_BYTES, minlength=counts.size)
    order = np.argsort(-size, kind="stable")
    before = np.cumsum(size[order]) - size[order]
    largest = np.zeros(counts.size, dtype=np.bool_)
    largest[order] = before < LOADING * size.sum()
    return largest


def fit_load(flow_tables: list[FlowTable]) -> Load:
    """Learn the load of captures: the rates at which their envelope bends, and for each of them
    the least bucket that all traffic passes."""
    arrivals = [_arrivals(flows) for flows in flow_tables if len(flows.packets)]
    span = max((int(time[-1] - time[0]) for time, _ in arrivals), default=0)
    octaves = max(int(np.ceil(np.log2(max(LONGEST * span, 1) / SHORTEST_NS))), 1)
    lengths = SHORTEST_NS * 2.0 ** (np.arange(2 * octaves + 1) / 2)
    most = np.zeros(lengths.size)
    for time, total in arrivals:
        for place, length in enumerate(lengths):
            after = np.searchsorted(time, time + int(length), side="right")
            most[place] = max(most[place], (total[after] - total[:-1]).max())
    rate = _slopes(lengths, most)
    depth = np.zeros(rate.size)
    for time, total in arrivals:
        for place, slope in enumerate(rate):
            refilled = slope * (time - time[0])
            lowest = np.minimum.accumulate(total[:-1] - refilled)
            depth[place] = max(depth[place], (total[1:] - refilled - lowest).max())
    return Load(depth=depth, rate=rate)


def _arrivals(flows: FlowTable) -> tuple[IntArray, FloatArray]:
    """Times of packets, int64 [N] ascending, and bytes before each and at the end [N + 1]."""
    order = np.argsort(flows.packets.time_ns, kind="stable")
    size = flows.packets.payload_length[order].astype(np.float64) + HEADER_BYTES
    return flows.packets.time_ns[order], np.append(0.0, np.cumsum(size))


def _slopes(length: FloatArray, most: FloatArray) -> FloatArray:
    """Slopes of the least concave curve over points (length, most), all above 0."""
    hull: list[int] = []
    for here in range(length.size):
        while len(hull) > 1:
            before, last = hull[-2:]
            if _slope(length, most, before, last) > _slope(length, most, last, here):
                break
            hull.pop()
        hull.append(here)
    slopes = np.array([_slope(length, most, a, b) for a, b in itertools.pairwise(hull)])
    return slopes[slopes > 0]


def _slope(length: FloatArray, most: FloatArray, first: int, second: int) -> float:
    return float((most[second] - most[first]) / (length[second] - length[first]))
