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
LONGEST = 1 / 64  # of a trace; over longer times its volume tells, and not its links
SMALL = 16  # packets of flows that do not wait: they are no load


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
        self, time_ns: IntArray, size_bytes: IntArray, small: NDArray[np.bool_], *, end_ns: int
    ) -> IntArray:
        """Hold packets back that would exceed the load.

        Args:
            time_ns: int64 [N], ascending.
            size_bytes: int64 [N], payload bytes.
            small: bool [N], packets that count but do not wait.
            end_ns: No packet is moved to this time or beyond.

        Returns:
            int64 [N], times when they go. Those that wait stay in order among themselves.
        """
        if not self.depth.size or not time_ns.size:
            return time_ns
        from netsynth.encode.load_kernel import queue

        size = size_bytes.astype(np.float64) + HEADER_BYTES
        return np.asarray(queue(time_ns, size, small, self.depth, self.rate, end_ns))


def hold_to(load: Load, trace: EncodedTrace) -> EncodedTrace:
    """Hold a window's packets back to `load`; flows of up to SMALL packets do not wait."""
    order = np.argsort(trace.record_ns, kind="stable")
    counts = np.diff(trace.record_offsets)
    small = np.repeat(counts <= SMALL, counts)
    old = trace.record_ns[order]
    new = load.delay(old, trace.record_bytes[order], small[order], end_ns=trace.window_ns)
    if np.array_equal(old, new):
        return trace
    record_ns = np.empty_like(trace.record_ns)
    record_ns[order] = new
    return dataclasses.replace(trace, record_ns=record_ns)


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
