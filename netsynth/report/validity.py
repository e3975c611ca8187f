"""Validity: would a protocol analyser find the capture in order? Each share beside the real's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray
from netsynth.report.analysers import analyser_figures
from netsynth.report.fidelity import Figure, Side
from netsynth.report.pair import CaptureFacts, Pair
from netsynth.report.resample import interval_about, resampled_share
from netsynth.report.samples import whole
from netsynth.report.trace import Trace, Traffic, packets_of
from netsynth.tables import (
    ACK,
    CHECKSUM_IP_BAD,
    CHECKSUM_L4_BAD,
    CHECKSUM_L4_UNKNOWN,
    FIN,
    RST,
    SYN,
    TCP,
    PacketTable,
)

TEXTS = {
    "two-way": "TCP sessions with packets both ways",
    "handshake": "TCP sessions with SYN, SYN-ACK and ACK, of those that start with SYN",
    "sequence": "TCP segments whose sequence number continues the last",
    "IP checksum": "IPv4 packets whose header checksum is right",
    "L4 checksum": "packets whose TCP, UDP or ICMP checksum is right, of those it can be told of",
    "order": "frames not earlier than the one before them in the capture",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """A share of valid things.

    Attributes:
        valid: Which are, bool [M].
        group: What each belongs to, int64 [M], 0..group_count-1; resampling keeps it together.
        group_count: Groups, sessions or stretches of time.
    """

    valid: NDArray[np.bool_]
    group: IntArray
    group_count: int


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure validity of the synthetic capture (raw) beside that of the real one (real).

    `scaled` is the share that is wrong, its floor the share that is wrong in the real capture.
    """
    real = capture_shares(pair.real.trace, pair.real.table)
    synthetic = capture_shares(pair.everything, pair.table)
    rows = []
    for name, share in synthetic.items():
        raw = float(share.valid.mean()) if share.valid.size else None
        ours = real[name].valid
        interval = None
        if raw is not None and not pair.quick:
            rng = pair.rng(name)
            found = resampled_share(share.valid, share.group, share.group_count, rng=rng)
            interval = interval_about(raw, found, most=1.0)
        figure = Figure(family="validity", name=name, text=TEXTS[name])
        beside = float(ours.mean()) if ours.size else None
        rows.append(share_figure(figure, raw, beside, interval))
    rows.append(_order_figure(pair))
    more, details = analyser_figures(pair)
    return rows + more, details


def share_figure(
    figure: Figure,
    raw: float | None,
    real: float | None,
    interval: tuple[float, float] | None,
) -> Figure:
    """A share of what is right, 0 to 1 (best), beside that of the real capture.

    Args:
        figure: What is measured.
        raw: The share, None where the synthetic capture has nothing to judge.
        real: The real capture's share, None where that has nothing.
        interval: 95 % interval of the share.

    Returns:
        The figure; `scaled`, its floor and interval are of what is wrong, 1 - share.
    """
    if raw is None:
        side: Side = "real" if real is None else "synthetic"
        return replace(figure.unmeasured(side, "has none of these"), real=real)
    return figure.scaled_to(
        raw=raw,
        scaled=1 - raw,
        floor=None if real is None else 1 - real,
        real=real,
        interval=interval and (1 - interval[1], 1 - interval[0]),
        note="the real capture has none of these" if real is None else "",
    )


def capture_shares(trace: Trace, table: Traffic) -> dict[str, Share]:
    """What of a capture is valid: sessions and segments of its trace, checksums of its table.

    References:
        RFC 9293, sections 3.4 and 3.5.
    """
    packets = packets_of(table)
    version4 = packets.ip_version == 4
    known = packets.checksums & CHECKSUM_L4_UNKNOWN == 0
    return {
        **handshakes(trace),
        "sequence": continuing_segments(trace),
        "IP checksum": _in_stretches(packets.checksums[version4] & CHECKSUM_IP_BAD == 0),
        "L4 checksum": _in_stretches(packets.checksums[known] & CHECKSUM_L4_BAD == 0),
    }


def _in_stretches(valid: NDArray[np.bool_]) -> Share:
    sample = whole(valid)
    return Share(valid=valid, group=sample.group, group_count=sample.group_count)


def handshakes(trace: Trace) -> dict[str, Share]:
    """Which TCP sessions have both directions; which that start with SYN finish the handshake."""
    order = np.argsort(trace.session, kind="stable")
    order = order[trace.packets.protocol[order] == TCP]
    forward = trace.forward[order]
    sessions, starts, session = np.unique(
        trace.session[order], return_index=True, return_inverse=True
    )
    both = np.bincount(session, ~forward, minlength=sessions.size) > 0
    kind = trace.packets.tcp_flags[order] & (SYN | ACK | RST | FIN)
    row = np.arange(order.size, dtype=np.int64)

    def first_row(wanted: Array) -> Array:
        """First row of each session where `wanted`; past the end where none."""
        found = np.full(sessions.size, order.size, dtype=np.int64)
        np.minimum.at(found, session[wanted], row[wanted])
        return found

    opened = kind[starts] == SYN
    answer = first_row((kind == SYN | ACK) & ~forward)
    last = first_row(forward & (kind & (SYN | ACK) == ACK) & (row > answer[session]))
    return {
        "two-way": Share(valid=both, group=sessions, group_count=trace.session_count),
        "handshake": Share(
            valid=last[opened] < order.size,
            group=sessions[opened],
            group_count=trace.session_count,
        ),
    }


def continuing_segments(trace: Trace) -> Share:
    """Which TCP segments, first of a direction apart, start where the last before it ended."""
    tcp = trace.packets.protocol == TCP
    order = np.argsort(trace.flow, kind="stable")
    order = order[tcp[order]]
    packets, flow = trace.packets.take(order), trace.flow[order]
    taken = packets.payload_length.astype(np.int64)
    taken += (packets.tcp_flags & SYN > 0).astype(np.int64)
    taken += (packets.tcp_flags & FIN > 0).astype(np.int64)
    expected = (packets.seq.astype(np.int64) + taken)[:-1] & 0xFFFFFFFF
    inside = flow[1:] == flow[:-1]
    return Share(
        valid=(packets.seq[1:] == expected)[inside],
        group=trace.session[order][1:][inside],
        group_count=trace.session_count,
    )


def _order_figure(pair: Pair) -> Figure:
    raw = _in_order(pair.facts, pair.table)
    figure = Figure(family="validity", name="order", text=TEXTS["order"])
    if raw is None:
        return figure.measured(note="the order of the file is not known here")
    return share_figure(figure, raw, _in_order(pair.real.facts, pair.real.table), None)


def _in_order(facts: CaptureFacts, table: Traffic) -> float | None:
    if facts.out_of_order_count is not None and facts.frame_count:
        return 1 - facts.out_of_order_count / facts.frame_count
    if not isinstance(table, PacketTable):
        return None  # sorted on the way here
    gaps = np.diff(table.time_ns)
    return float((gaps >= 0).mean()) if gaps.size else None
