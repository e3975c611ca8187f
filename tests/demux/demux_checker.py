"""A small TCP checker that knows nothing of the compiler: one flow's packets in, complaints out.

References:
    RFC 9293 sections 3.4, 3.5 and 3.8; RFC 7323 sections 2.2, 2.3 and 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from netsynth.tables import (
    ACK,
    FIN,
    NO_WINDOW_SCALE,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    RST,
    SYN,
    PacketTable,
)

TOP = 2**32


@dataclass
class Side:
    """What one side has done; positions count from its first sequence number."""

    base: int | None = None
    furthest: int = 0
    acked: int = 0  # how far the peer has acknowledged it
    edge: int | None = None  # how far the peer lets it send
    fin: int | None = None
    options: int | None = None  # of its SYN
    scale: int = 0
    syn_length: int = 0
    stamps: list[int] = field(default_factory=list)
    has_reset: bool = False
    count: int = 0


def distance(number: int, base: int) -> int:
    """Return number - base modulo 2**32, taken as the nearer way."""
    return (number - base + TOP // 2) % TOP - TOP // 2


def complaints(packets: PacketTable, reverse: Any) -> Iterator[str]:
    """Check the packets of one TCP flow, in time order."""
    sides = (Side(), Side())
    syns = {int(reverse[i]) for i in range(len(packets)) if packets.tcp_flags[i] & SYN}
    for i in range(len(packets)):
        side, peer = sides[int(reverse[i])], sides[1 - int(reverse[i])]
        for text in _check(packets, i, side, peer, is_whole=len(syns) == 2):
            yield f"packet {i}: {text}"


def _check(p: PacketTable, i: int, side: Side, peer: Side, *, is_whole: bool) -> Iterator[str]:
    flags, payload = int(p.tcp_flags[i]), int(p.payload_length[i])
    length = payload + bool(flags & SYN) + bool(flags & FIN)
    if side.base is None:
        side.base = int(p.seq[i])
    start = distance(int(p.seq[i]), side.base)
    if flags & SYN:
        if flags & (FIN | RST):
            yield "SYN with FIN or RST"
        if start != 0:
            yield "SYN of another number"
        if side.syn_length == 0:
            side.syn_length = length
        if side.furthest > side.syn_length:
            yield "SYN after other segments"
        if flags & ACK and side.count == 0 and peer.count and peer.options is None:
            yield "SYN-ACK without a SYN to answer"
    if side.has_reset and not flags & (RST | SYN):
        yield "goes on after its own reset"
    side.has_reset = bool(flags & RST) or (side.has_reset and not flags & SYN)
    if length and not flags & RST:
        is_windowed = is_whole and not flags & SYN
        has_fin = bool(flags & FIN)
        yield from _check_data(side, start, start + length, has_fin, is_windowed=is_windowed)
    if flags & FIN and not flags & RST:
        if side.fin is not None and side.fin != start + length:
            yield "another FIN"
        side.fin = start + length
    yield from _check_ack(p, i, side, peer, is_whole=is_whole)
    yield from _check_options(p, i, side, peer)
    side.count += 1


def _check_data(
    side: Side, start: int, end: int, has_fin: bool, *, is_windowed: bool
) -> Iterator[str]:
    if start < 0:
        yield "data before its first number"
    if start < side.furthest < end - has_fin:
        yield "a retransmission that goes on"
    if side.fin is not None and end > side.fin:
        yield "data after FIN"
    if is_windowed and side.edge is not None and end - has_fin > max(side.edge, side.furthest):
        yield f"data to {end} past the window's edge {side.edge}"
    side.furthest = max(side.furthest, end)


def _check_ack(p: PacketTable, i: int, side: Side, peer: Side, *, is_whole: bool) -> Iterator[str]:
    if not p.tcp_flags[i] & ACK:
        if p.ack[i]:
            yield "acknowledgement without ACK"
        return
    if peer.base is None:  # the peer will start there
        peer.base = int(p.ack[i])
    ack = distance(int(p.ack[i]), peer.base)
    if ack > peer.furthest:
        yield f"acknowledges {ack}, but {peer.furthest} was sent"
    if ack < peer.acked:
        yield f"acknowledges {ack} after {peer.acked}"
    peer.acked = max(peer.acked, ack)
    scale = 0 if p.tcp_flags[i] & SYN else side.scale
    if is_whole and not p.tcp_flags[i] & RST:  # generous: retransmissions open it, too
        peer.edge = max(peer.edge or 0, ack + (int(p.window[i]) << scale))


def _check_options(p: PacketTable, i: int, side: Side, peer: Side) -> Iterator[str]:
    bits, flags = int(p.option_bits[i]), int(p.tcp_flags[i])
    has_stamps = bool(bits & OPTION_TIMESTAMPS)
    if flags & SYN:
        only_offered = OPTION_WINDOW_SCALE | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS
        if flags & ACK and peer.options is not None and bits & only_offered & ~peer.options:
            yield "SYN-ACK with options that the SYN did not offer"
        if side.options is not None and side.options != bits:
            yield "a repeated SYN with other options"
        side.options = bits
        if bits & OPTION_WINDOW_SCALE and (peer.options is None or peer.options & bits & 2):
            side.scale = int(p.window_scale[i])
        if peer.options is not None and not (bits & peer.options & OPTION_WINDOW_SCALE):
            side.scale = peer.scale = 0
    else:
        agreed = (side.options or 0) & (peer.options or 0)
        if bits & OPTION_SACK and not agreed & OPTION_SACK_PERMITTED:
            yield "SACK blocks that the SYNs did not agree on"
        if (
            bits & ~(OPTION_TIMESTAMPS | OPTION_SACK)
            or p.mss[i]
            or p.window_scale[i] != NO_WINDOW_SCALE
        ):
            yield "an option that only a SYN may carry"
        has_agreed = side.options is not None and peer.options is not None
        if has_agreed and not flags & RST and bool(agreed & OPTION_TIMESTAMPS) != has_stamps:
            yield "timestamps other than agreed"
    if not has_stamps:
        return
    value, echo = int(p.ts_val[i]), int(p.ts_ecr[i])
    if side.stamps and distance(value, side.stamps[-1]) < 0:
        yield "a timestamp that goes back"
    if echo and echo not in peer.stamps:
        yield "an echo of no timestamp"
    side.stamps.append(value)
