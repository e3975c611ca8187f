"""Trivial generators: one that does worse than these is not worth its training."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from netsynth.numbers import IntArray
from netsynth.report.bayes_net import sample_bayes_net
from netsynth.report.pair import CaptureFacts, Reference
from netsynth.report.trace import Trace, Traffic, some_sessions
from netsynth.tables import PACKET_COLUMNS, PacketTable

Baseline = Callable[[Trace, np.random.Generator], Traffic]


def baseline_captures(real: Reference, *, seed: int = 0) -> Iterator[tuple[Traffic, CaptureFacts]]:
    """Generate one capture with each baseline.

    Args:
        real: The real capture.
        seed: Seed of the generators.

    Yields:
        A capture and its name. "real half" is half of the real sessions, the others have as
        many packets as the real capture, or about as many.
    """
    if real.trace.session_count == 0:
        return
    makers: dict[str, Baseline] = {
        "baseline: real half": lambda trace, _: some_sessions(trace, real.halves[-1]),
        "baseline: independent marginals": independent_marginals,
        "baseline: bootstrap of flows": flow_bootstrap,
        "baseline: Bayesian network": sample_bayes_net,
    }
    for place, (name, make) in enumerate(makers.items()):
        packets = make(real.trace, np.random.default_rng([seed, place]))
        yield packets, CaptureFacts(name=name)


def independent_marginals(trace: Trace, rng: np.random.Generator) -> PacketTable:
    """Draw every field of every packet by itself, times included, from its real values."""
    packets = trace.packets
    columns = {
        name: getattr(packets, name)[rng.permutation(len(packets))] for name in PACKET_COLUMNS
    }
    columns["time_ns"] = packets.time_ns
    return PacketTable(addresses=packets.addresses, **columns)


def flow_bootstrap(trace: Trace, rng: np.random.Generator) -> PacketTable:
    """Draw real sessions with replacement, each at a new time and between new endpoints.

    Every address becomes a fresh private one, the same wherever it occurs; client ports are
    drawn anew; a session starts at a random time at which it still fits into the trace.
    """
    order = np.argsort(trace.session, kind="stable")
    sizes = np.bincount(trace.session, minlength=trace.session_count)
    starts = np.cumsum(sizes) - sizes
    drawn = rng.integers(0, trace.session_count, trace.session_count)
    rows = order[_ranges(starts[drawn], sizes[drawn])]
    copy = np.repeat(np.arange(drawn.size), sizes[drawn])
    packets = trace.packets.take(rows)
    times = trace.packets.time_ns[order]
    first, last = times[starts], times[starts + sizes - 1]
    room = trace.duration_ns - (last - first)
    start = trace.packets.time_ns[0] + (rng.random(drawn.size) * room[drawn]).astype(np.int64)
    packets.time_ns[:] += (start - first[drawn])[copy]
    # each session gets the client port of another, so that no two merge into one 5-tuple
    upper = trace.packets.src_port > trace.packets.dst_port
    clients = np.maximum(trace.packets.src_port, trace.packets.dst_port)[order][starts]
    port = rng.permutation(clients)[copy]
    packets.src_port[upper[rows]] = port[upper[rows]]
    packets.dst_port[~upper[rows]] = port[~upper[rows]]
    moved = packets.take(np.argsort(packets.time_ns, kind="stable"))
    columns = {name: getattr(moved, name) for name in PACKET_COLUMNS}
    return PacketTable(addresses=fresh_addresses(len(packets.addresses), rng), **columns)


def _ranges(starts: IntArray, sizes: IntArray) -> IntArray:
    """starts[0], starts[0]+1, ... for sizes[0] values, and so on for each range."""
    ends = np.cumsum(sizes)
    return np.arange(ends[-1]) - np.repeat(ends - sizes, sizes) + np.repeat(starts, sizes)


def fresh_addresses(
    count: int, rng: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Draw distinct addresses of 10.0.0.0/8 as rows of an address table, uint8 [count, 16]."""
    hosts = rng.choice(1 << 24, count, replace=False)
    table = np.zeros((count, 16), dtype=np.uint8)
    table[:, 10:12] = 0xFF
    table[:, 12] = 10
    for place, shift in ((13, 16), (14, 8), (15, 0)):
        table[:, place] = hosts >> shift & 0xFF
    return table
