"""Follow each TCP connection as its two ends would, and note what neither would have sent.

Plain loops over plain numbers: this is what judges the compiler's packets, so it shares no code
with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from netsynth.tables import (
    ACK,
    FIN,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    RST,
    SYN,
    TCP,
    FlowTable,
    PacketTable,
)

COMPLAINTS = {
    "unsent": "acknowledgements of bytes that were never sent",
    "missing": "holes in a stream that stay open",
    "window": "data past the window",
    "mss": "segments longer than the peer's MSS",
    "handshake": "SYN-ACKs that answer no SYN, or another",
    "after FIN": "new data after FIN",
    "after RST": "segments after the sender's own reset",
    "echo": "echoes of timestamps that were not sent",
    "clock": "timestamps that go back",
}
ENDS = {
    "closed": "closed by FINs, both acknowledged",
    "reset": "reset after the handshake",
    "refused": "refused: a SYN answered by a reset",
    "unanswered": "SYN without an answer",
    "half-open": "SYN-ACK not acknowledged",
    "half-closed": "one FIN, or one unacknowledged",
    "open": "open at the end",
    "partial": "start not captured",
}
_BLOCK = 200_000  # packets turned into Python numbers at a time
_HALF, _TOP = 1 << 31, 1 << 32
_COLUMNS = (
    "time_ns",
    "tcp_flags",
    "payload_length",
    "seq",
    "ack",
    "window",
    "option_bits",
    "mss",
    "window_scale",
    "ts_val",
    "ts_ecr",
)
_Packet = tuple[int, int, int, int, int, int, int, int, int, int, int, bool]


@dataclass(kw_only=True, slots=True)
class StreamFindings:
    """What is wrong with the TCP connections of a capture, and how they end.

    Attributes:
        packets: TCP packets.
        flows: TCP flows.
        complaints: How often each of COMPLAINTS occurs.
        ends: Flows by their end, each of ENDS.
        retransmitted: Segments with data that repeat what was sent.
        examples: Of each complaint the first flow (row of the FlowTable) and packet in it.
    """

    packets: int = 0
    flows: int = 0
    complaints: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COMPLAINTS, 0))
    ends: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ENDS, 0))
    retransmitted: int = 0
    examples: dict[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Side:
    """One end of a connection; positions count from its first sequence number."""

    base: int = -1
    furthest: int = 0
    edge: int = -1  # how far the peer lets it send
    acked: int = 0  # how far the peer acknowledged it
    fin: int = -1
    syn: int = -1  # option bits of its SYN
    scale: int = 0
    mss: int = 0
    stamp: int = -1
    has_reset: bool = False
    count: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)


def check_streams(flows: FlowTable) -> StreamFindings:
    """Check all TCP flows; time grows with the packets, some 200,000 a second.

    References:
        RFC 9293 sections 3.4, 3.5, 3.8.6 and 3.10; RFC 7323 sections 2.2 and 4.3.
    """
    findings = StreamFindings()
    for flow, packets in _connections(flows):
        findings.flows += 1
        findings.packets += len(packets)
        _check(flow, packets, findings)
    return findings


def _connections(flows: FlowTable) -> Iterator[tuple[int, list[_Packet]]]:
    """Yield the TCP flows, each with its packets as plain numbers."""
    starts = flows.offsets.tolist()
    is_tcp = (flows.protocol == TCP).tolist()
    first = 0
    while first < len(flows):
        last = first + 1
        while last < len(flows) and starts[last + 1] - starts[first] <= _BLOCK:
            last += 1
        rows = slice(starts[first], starts[last])
        table: PacketTable = flows.packets
        columns = [getattr(table, name)[rows].tolist() for name in _COLUMNS]
        packets: list[_Packet] = list(zip(*columns, flows.reverse[rows].tolist(), strict=True))
        for flow in range(first, last):
            if is_tcp[flow]:
                yield flow, packets[starts[flow] - rows.start : starts[flow + 1] - rows.start]
        first = last


def _check(flow: int, packets: list[_Packet], findings: StreamFindings) -> None:
    sides = (_Side(), _Side())
    syns = {packet[-1] for packet in packets if packet[1] & SYN}
    is_whole = len(syns) == 2
    for place, packet in enumerate(packets):
        side, peer = sides[packet[-1]], sides[not packet[-1]]
        for kind in _judge(packet, side, peer, is_whole, findings):
            findings.complaints[kind] += 1
            findings.examples.setdefault(kind, (flow, place))
        side.count += 1
    for side, peer in (sides, sides[::-1]):
        left = [hole for hole in side.holes if hole[1] > side.acked or not is_whole]
        if left and peer.count:
            findings.complaints["missing"] += len(left)
            findings.examples.setdefault("missing", (flow, len(packets) - 1))
    findings.ends[_end_of(packets, sides)] += 1


def _judge(
    packet: _Packet, side: _Side, peer: _Side, is_whole: bool, findings: StreamFindings
) -> Iterator[str]:
    _, flags, payload, seq, ack, window, options, _, _, value, echo, _ = packet
    if side.base < 0 or (flags & SYN and side.has_reset):
        side.base = seq
    start = (seq - side.base + _HALF) % _TOP - _HALF
    end = start + payload + (flags & SYN > 0) + (flags & FIN > 0)
    if side.has_reset and not flags & (RST | SYN):
        yield "after RST"
    side.has_reset = bool(flags & RST) or (side.has_reset and not flags & SYN)
    if flags & SYN:
        yield from _read_syn(packet, side, peer)
    elif not flags & RST and end > start:
        if payload and peer.mss and payload > peer.mss:
            yield "mss"
        past_window = side.edge >= 0 and start + payload > max(side.edge, side.furthest)
        if is_whole and payload and past_window:
            yield "window"
        if 0 <= side.fin < end and start + payload > side.fin - 1:
            yield "after FIN"
    if not flags & RST:
        if payload and start < side.furthest:
            findings.retransmitted += 1
        _place(side, start, end)
        if flags & FIN:
            side.fin = end
    if options & OPTION_TIMESTAMPS and not flags & RST:
        if side.stamp >= 0 and (value - side.stamp) % _TOP >= _HALF:
            yield "clock"
        if flags & ACK and peer.stamp >= 0 and echo and 0 < (echo - peer.stamp) % _TOP < _HALF:
            yield "echo"
        if side.stamp < 0 or (value - side.stamp) % _TOP < _HALF:
            side.stamp = value
    if flags & ACK:
        if peer.base < 0:
            peer.base = ack
        covered = (ack - peer.base + _HALF) % _TOP - _HALF
        if peer.count and covered > peer.furthest:
            yield "unsent"
        peer.acked = max(peer.acked, covered)
        if not flags & RST:
            shift = 0 if flags & SYN else side.scale
            peer.edge = max(peer.edge, covered + (window << shift))


def _read_syn(packet: _Packet, side: _Side, peer: _Side) -> Iterator[str]:
    """Take the options of a SYN; complain of a SYN-ACK whose SYN was not, or was another."""
    _, flags, _, _, ack, _, options, mss, scale, *_ = packet
    if flags & ACK and peer.count and (peer.syn < 0 or (ack - peer.base) % _TOP != 1):
        yield "handshake"
    side.syn, side.mss = options, mss
    if options & OPTION_WINDOW_SCALE:
        side.scale = min(scale, 14)
    if flags & ACK and not (peer.syn if peer.syn >= 0 else options) & options & OPTION_WINDOW_SCALE:
        side.scale = peer.scale = 0


def _place(side: _Side, start: int, end: int) -> None:
    """Note what a segment leaves open, and what it fills."""
    if start > side.furthest and side.count:
        side.holes.append((side.furthest, start))
    elif side.holes and end > start:
        side.holes = [
            part
            for low, high in side.holes
            for part in ((low, min(high, start)), (max(low, end), high))
            if part[0] < part[1]
        ]
    side.furthest = max(side.furthest, end)


def _end_of(packets: list[_Packet], sides: tuple[_Side, _Side]) -> str:
    """Name the end of a connection, one of ENDS."""
    if not packets[0][1] & SYN:
        return "partial"
    opener, other = sides if not packets[0][-1] else sides[::-1]
    has_reset = any(packet[1] & RST for packet in packets)
    if other.syn < 0 and packets[0][1] & ACK == 0:
        if has_reset and other.count:
            return "refused"
        return "unanswered" if other.count == 0 else "partial"
    has_gone_on = any(
        packet[1] & (SYN | RST) == 0 and packet[-1] == packets[0][-1] for packet in packets
    )
    if not has_gone_on and packets[0][1] & ACK == 0:
        return "reset" if has_reset else "half-open"
    are_closed = all(0 <= side.fin <= side.acked for side in (opener, other))
    if are_closed:
        return "closed"
    if has_reset:
        return "reset"
    return "half-closed" if max(opener.fin, other.fin) >= 0 else "open"
