"""Does the synthetic capture repeat the real one? Copies of records and of whole sessions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import interval_about, resampled_share
from netsynth.report.trace import Trace, hash_columns, mix

SHORTEST = 4  # packets of a session that can be called a copy
GAP_NS = 100_000  # gaps are compared to 0.1 ms


def record_keys(trace: Trace) -> NDArray[np.uint64]:
    """Hash addresses, ports, protocol, TTL and length of each packet, uint64 [N]."""
    packets = trace.packets
    return hash_columns(
        trace.codes[packets.src],
        trace.codes[packets.dst],
        packets.src_port,
        packets.dst_port,
        packets.protocol,
        packets.ttl,
        packets.ip_length,
    )


def session_keys(trace: Trace) -> tuple[NDArray[np.uint64], IntArray]:
    """Hash the sequence of (direction, length, flags, gap to 0.1 ms) of each longer session.

    Returns:
        Keys, uint64 [K], of the sessions of 4 packets or more, and those sessions, int64 [K].
    """
    packets = trace.packets
    if len(packets) == 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    order = np.argsort(trace.session, kind="stable")  # by session, then time
    session = trace.session[order]
    starts = np.searchsorted(session, np.arange(trace.session_count))
    place = np.arange(session.size) - starts[session]
    gap = np.diff(packets.time_ns[order], prepend=0)
    gap = np.where(place == 0, 0, (gap + GAP_NS // 2) // GAP_NS)
    step = hash_columns(
        place,
        trace.forward[order],
        packets.ip_length[order],
        packets.tcp_flags[order],
        gap,
    )
    sums = np.add.reduceat(step, starts)  # wraps; each step knows its place
    lengths = np.diff(np.append(starts, session.size))
    long = np.flatnonzero(lengths >= SHORTEST).astype(np.int64)
    return mix(sums[long] + lengths[long].astype(np.uint64)), long


def copy_figures(pair: Pair) -> list[Figure]:
    """Share of records and of sessions that stand in the real trace.

    `real` of each figure is the same share of one half of the real sessions in the other.

    References:
        CascadeNet, section 7.4.
    """
    real, synthetic = pair.real.trace, pair.everything
    first = pair.real.halves[0]
    keys, packet_keys = session_keys(real), record_keys(real)
    others = session_keys(synthetic)
    one, long = first[real.session], first[keys[1]]
    return [
        _copies(
            pair,
            Figure(
                family="privacy",
                name="record copies",
                text="packets whose addresses, ports, protocol, TTL and length are a real one's",
                real=_share(np.isin(packet_keys[~one], packet_keys[one]), one),
                note="one capture has no TCP or UDP packet",
            ),
            copied=np.isin(record_keys(synthetic), packet_keys),
            group=synthetic.session,
            measurable=packet_keys.size > 0,
        ),
        _copies(
            pair,
            Figure(
                family="privacy",
                name="session copies",
                text="sessions of 4 packets or more that run exactly as a real one, whoever speaks",
                real=_share(np.isin(keys[0][~long], keys[0][long]), long),
                note="one capture has no session of 4 packets or more",
            ),
            copied=np.isin(others[0], keys[0]),
            group=others[1],
            measurable=keys[0].size > 0,
        ),
    ]


def _copies(
    pair: Pair,
    figure: Figure,
    *,
    copied: NDArray[np.bool_],
    group: IntArray,
    measurable: bool,
) -> Figure:
    if copied.size == 0 or not measurable:
        return figure
    raw = float(copied.mean())
    interval = None
    if not pair.quick:
        rng = pair.rng(figure.name)
        found = resampled_share(copied, group, pair.everything.session_count, rng=rng)
        interval = interval_about(raw, found, most=1.0)
    return figure.measured(raw=raw, interval=interval)


def _share(found: NDArray[np.bool_], first: NDArray[np.bool_]) -> float | None:
    """Share of True; None where one half is empty."""
    return float(found.mean()) if found.size and first.any() else None
