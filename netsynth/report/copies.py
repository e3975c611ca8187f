"""Does the synthetic capture repeat the real one? Copies of records and of whole sessions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.report.fidelity import Figure
from netsynth.report.measure import Halves
from netsynth.report.trace import Trace, hash_columns, mix

FAMILY = "privacy"
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


def session_keys(trace: Trace) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hash the sequence of (direction, length, flags, gap to 0.1 ms) of each longer session.

    Returns:
        Keys, uint64 [K], of the sessions of 4 packets or more, and those sessions, int64 [K].
    """
    order = np.argsort(trace.session, kind="stable")  # by session, then time
    session, packets = trace.session[order], trace.packets
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
    if session.size == 0:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    sums = np.add.reduceat(step, starts)  # wraps; each step knows its place
    lengths = np.diff(np.append(starts, session.size))
    long = np.flatnonzero(lengths >= SHORTEST).astype(np.int64)
    return mix(sums[long] + lengths[long].astype(np.uint64)), long


def copy_figures(real: Trace, synthetic: Trace, *, halves: Halves) -> list[Figure]:
    """Share of records and of sessions that stand in the real trace.

    `real` of each figure is the same share of one half of the real sessions in the other.

    References:
        CascadeNet, section 7.4.
    """
    records = _share(record_keys(synthetic), record_keys(real))
    keys, sessions = session_keys(real)
    own_records, own_sessions = _own_shares(real, keys, sessions, halves)
    copied = _share(session_keys(synthetic)[0], keys)
    return [
        Figure(
            family=FAMILY,
            name="record copies",
            text="packets whose addresses, ports, protocol, TTL and length are a real packet's",
            raw=records,
            real=own_records,
            note="" if records is not None else "one capture has no TCP or UDP packet",
        ),
        Figure(
            family=FAMILY,
            name="session copies",
            text="sessions of 4 packets or more that run exactly as a real one, whoever speaks",
            raw=copied,
            real=own_sessions,
            note="" if copied is not None else "one capture has no session of 4 packets or more",
        ),
    ]


def _own_shares(
    real: Trace,
    keys: NDArray[np.uint64],
    sessions: NDArray[np.int64],
    halves: Halves,
) -> tuple[float | None, float | None]:
    if halves.first.shape[1] < 2:
        return None, None
    first = halves.first[0]
    packet_keys, one = record_keys(real), first[real.session]
    long = first[sessions]
    return _share(packet_keys[~one], packet_keys[one]), _share(keys[~long], keys[long])


def _share(wanted: NDArray[np.uint64], pool: NDArray[np.uint64]) -> float | None:
    if wanted.size == 0 or pool.size == 0:
        return None
    return float(np.isin(wanted, pool).mean())
