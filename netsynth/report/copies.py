"""Does the synthetic capture repeat the real one? Copies of records and of whole sessions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.report.fidelity import Figure, Side
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

    The floor of session copies is the same share of one half of the real sessions in the other;
    of record copies, whose keys name a session, that of the second half of the time in the first.

    References:
        CascadeNet, section 7.4.
    """
    real, synthetic = pair.real.trace, pair.everything
    records, sessions = record_keys(real), session_keys(real)
    return [
        _copies(
            pair,
            Figure(
                family="privacy",
                name="record copies",
                text="packets whose addresses, ports, protocol, TTL and length are a real one's",
            ),
            real=(records, real.session),
            synthetic=(record_keys(synthetic), synthetic.session),
            floor=share_of_late(records, early=len(pair.real.early)),
            what="packets",
            lacks="has no TCP or UDP packet",
        ),
        _copies(
            pair,
            Figure(
                family="privacy",
                name="session copies",
                text="sessions of 4 packets or more that run exactly as a real one, whoever speaks",
            ),
            real=sessions,
            synthetic=session_keys(synthetic),
            floor=share_between_halves(*sessions, pair.real.halves),
            what="sessions",
            lacks=f"has no session of {SHORTEST} packets or more",
        ),
    ]


Keys = tuple[NDArray[np.uint64], IntArray]  # and the session of each


def _copies(
    pair: Pair,
    figure: Figure,
    *,
    real: Keys,
    synthetic: Keys,
    floor: float | None,
    what: str,
    lacks: str,
) -> Figure:
    """Share of the synthetic keys that are real ones; every key of both is looked at."""
    sides: tuple[tuple[Side, Keys], ...] = (("real", real), ("synthetic", synthetic))
    for side, (keys, _) in sides:
        if keys.size == 0:
            return figure.unmeasured(side, lacks)
    copied = np.isin(synthetic[0], real[0])
    raw = float(copied.mean())
    interval = None
    if not pair.quick:
        rng = pair.rng(figure.name)
        found = resampled_share(copied, synthetic[1], pair.everything.session_count, rng=rng)
        interval = interval_about(raw, found, most=1.0)
    return figure.scaled_to(
        raw=raw,
        scaled=raw,
        floor=floor,
        real=floor,
        interval=interval,
        note=f"{int(copied.sum()):,} of {copied.size:,} {what}",
    )


def share_of_late(keys: NDArray[np.uint64], *, early: int) -> float | None:
    """Share of the keys after the first `early` ones that stand among those; None of none."""
    if not 0 < early < keys.size:
        return None
    return float(np.isin(keys[early:], keys[:early]).mean())


def share_between_halves(
    keys: NDArray[np.uint64], session: IntArray, halves: NDArray[np.bool_]
) -> float | None:
    """Mean share of one half's keys that stand in the other half; None where a half has none.

    Args:
        keys: uint64 [M].
        session: Session of each, int64 [M].
        halves: Sessions of the first half in each split, bool [splits, S].
    """
    _, code = np.unique(keys, return_inverse=True)
    found = []
    for first in halves:
        one = first[session]
        if one.any() and not one.all():
            known = np.zeros(int(code.max()) + 1, dtype=np.bool_)
            known[code[one]] = True
            found.append(float(known[code[~one]].mean()))
    return float(np.mean(found)) if found else None
