"""Selective acknowledgements: what a receiver says it has beyond what it acknowledges.

A generator draws which segments are lost, repeated or out of order; what their receiver tells of
them follows from that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray
from netsynth.tables import ACK, IN_ORDER, OPTION_SACK, TCP, FlowTable

MOST_BLOCKS = 4  # that a segment without timestamps has room for
_RUN_LIMIT = 32  # runs that a receiver remembers; RFC 2018 section 8 lets it forget
_REPEAT_LIMIT = 512  # segments before a retransmission that it may repeat
_REPEAT_NS = 1_000_000_000  # an acknowledgement that comes later answers no repeated segment
_NEVER_NS = 1 << 62
_LONGEST = 1 << 31  # bytes of a direction: positions are told from numbers below it
_HEAD = (1, 1, 5)  # two no-operations, then the option's kind


class SelectiveAcks(NamedTuple):
    """Blocks of K segments.

    Attributes:
        rows: int64 [K], the packets that tell them, ascending.
        edges: uint32 [K, 8], first sequence number of each block and the one behind its last; 0 and
            0 where there is none.
    """

    rows: IntArray
    edges: NDArray[np.uint32]

    @property
    def lengths(self) -> IntArray:
        """Bytes that each option takes in its header, padding included, int64 [K]."""
        used = np.count_nonzero(self.edges[:, 0::2] != self.edges[:, 1::2], axis=1)
        lengths: IntArray = 4 + 8 * np.asarray(used, dtype=np.int64)
        return lengths

    def options(self) -> NDArray[np.uint8]:
        """Return the options as they stand in the headers, joined, uint8 [lengths.sum()].

        References:
            RFC 2018 section 3; the two no-operations before it as in RFC 7323 appendix A.
        """
        count = len(self.rows)
        words: NDArray[np.uint8] = np.zeros((count, 4 + 8 * MOST_BLOCKS), dtype=np.uint8)
        words[:, :3] = _HEAD
        words[:, 3] = self.lengths - 2
        words[:, 4:] = self.edges.astype(">u4").view(np.uint8).reshape(count, 8 * MOST_BLOCKS)
        used: NDArray[np.bool_] = np.arange(words.shape[1]) < self.lengths[:, None]
        return words[used]


def add_blocks(
    flows: FlowTable, data_at: IntArray, initial: NDArray[np.uint32], delay_ns: IntArray
) -> SelectiveAcks:
    """Find the segments that tell blocks, and mark them, and no others, with OPTION_SACK in place.

    Args:
        flows: With final numbers and options; OPTION_SACK where a segment should tell blocks.
        data_at: Position of each TCP payload in its direction's stream, int64 [N].
        initial: Initial sequence number of each flow and side, uint32 [F, 2].
        delay_ns: Shortest answer of each flow and side, int64 [F, 2].
    """
    p = flows.packets
    wanted = p.option_bits & OPTION_SACK > 0
    p.option_bits[wanted] &= ~np.uint8(OPTION_SACK)
    is_bare = (p.protocol == TCP) & (p.tcp_flags & 23 == ACK) & (p.payload_length == 0)
    has_order = (flows.segment == IN_ORDER) | (p.protocol != TCP)
    room = 0 if has_order.all() else int(np.count_nonzero(is_bare))
    rows = np.zeros(room, dtype=np.int64)
    edges = np.zeros((room, 2 * MOST_BLOCKS), dtype=np.uint32)
    count = 0
    if room:
        count = find_blocks(
            flows.offsets, p.time_ns, flows.reverse, p.protocol, p.tcp_flags, p.payload_length,
            p.option_bits, wanted, flows.segment, p.ack, data_at, initial, delay_ns, rows, edges,
        )  # fmt: skip
    order = np.argsort(rows[:count])
    rows, edges = rows[order], edges[order]
    p.option_bits[rows] |= OPTION_SACK
    return SelectiveAcks(rows, edges)


@compiled
def find_blocks(
    offsets: IntArray,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    wanted: NDArray[np.bool_],
    segment: NDArray[np.uint8],
    ack: NDArray[np.uint32],
    data_at: IntArray,
    initial: NDArray[np.uint32],
    delay_ns: IntArray,
    rows: IntArray,
    edges: NDArray[np.uint32],
) -> int:
    """Find the segments that tell blocks, and the blocks.

    The receiver has a segment of its peer's once the flow's shortest answer has passed since; but
    not one that its peer sends again before it is acknowledged, as that was lost. Where it has
    bytes behind the one that it asks for it tells up to four runs of them (three beside
    timestamps), the one that grew last first. An acknowledgement behind a segment of what it has
    is that segment's answer; whether it tells it is for `wanted` to say, as not every stack does,
    and a network may have copied the segment. Only bare acknowledgements tell, and only where both
    SYNs allow.

    Args:
        offsets: int64 [F+1]; the columns [N] are sorted by flow, then time, and final.
        wanted: Segments that should tell blocks, bool [N].
        data_at: Position of the first payload byte in its direction, int64 [N]; -1 for resets.
        initial: Initial sequence number of each flow and side, uint32 [F, 2].
        delay_ns: Shortest answer of each flow and side, int64 [F, 2].
        rows: int64 [R], filled with the segments that tell blocks, not in order.
        edges: uint32 [R, 8], filled with the first sequence number of each block and the one
            behind its last.

    Returns:
        How many segments tell blocks; what R has no room for is left out.

    References:
        RFC 2018 sections 3 and 4; RFC 2883 section 4 (repeated segments); RFC 7323 section 3.2.
    """
    found = 0
    runs = np.zeros((3, _RUN_LIMIT + 1), dtype=np.int64)
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        allowed, syns, repeats = 0, 0, 0
        for i in range(first, end):
            if tcp_flags[i] & 2 != 0:
                syns |= 2 if reverse[i] else 1
                if option_bits[i] & 4 != 0:
                    allowed |= 2 if reverse[i] else 1
            elif segment[i] != 0:
                repeats += 1
        if allowed != 3 or repeats == 0:
            continue
        start = data_at[first:end] - (tcp_flags[first:end] >> 1 & 1)  # a SYN is before the data
        stop = data_at[first:end] + payload_length[first:end] + (tcp_flags[first:end] & 1)
        for side in range(2):
            base = np.int64(initial[f, 1 - side]) + (syns >> (1 - side) & 1)
            at = np.full(end - first, -1, dtype=np.int64)  # what is acknowledged
            sent = np.empty(end - first, dtype=np.int64)  # the peer's segments
            count = 0
            for k in range(end - first):
                i = first + k
                if reverse[i] == (side == 1):
                    if tcp_flags[i] & 20 == 16:
                        at[k] = (np.int64(ack[i]) - base) & 0xFFFFFFFF
                        if at[k] >= _LONGEST:  # of the SYN alone, or too much to follow
                            at[k] = -1
                elif data_at[i] >= 0 and stop[k] > start[k]:
                    sent[count] = k
                    count += 1
            delay: Any = delay_ns[f, side] if delay_ns[f, side] < _NEVER_NS else 0
            found = _follow(
                first, sent[:count], at, start, stop, delay, time_ns, tcp_flags, payload_length,
                option_bits, wanted, segment, base, runs, rows, edges, found,
            )  # fmt: skip
    return found


@compiled
def _follow(
    first: int,
    sent: IntArray,
    at: IntArray,
    start: IntArray,
    stop: IntArray,
    delay_ns: int,
    time_ns: IntArray,
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    wanted: NDArray[np.bool_],
    segment: NDArray[np.uint8],
    base: np.int64,
    runs: IntArray,
    rows: IntArray,
    edges: NDArray[np.uint32],
    found: int,
) -> int:
    """Follow what one side receives, and fill in its blocks; see `find_blocks`.

    Args:
        first: Row of the flow's first packet; `sent` counts from it.
        sent: The peer's segments, int64 [S].
        at: Position that each packet acknowledges, -1 for none and of the peer's, int64 [n].
        start: Position of each packet, int64 [n]; that of a SYN is -1.
        stop: Position behind each packet, int64 [n].
    """
    is_lost = _find_lost(first, sent, at, start, stop, delay_ns, time_ns, segment)
    held, taken, passed = 0, 0, 0
    acked, furthest, needed_to = np.int64(-1), np.int64(0), np.int64(-1)
    repeat_from, repeat_to, repeat_limit = np.int64(-1), np.int64(-1), np.int64(-1)
    repeat_ns = np.int64(0)
    for k in range(at.size):
        i = first + k
        while passed < sent.size and sent[passed] < k:  # does it repeat what is there?
            j = sent[passed]
            is_repeat = segment[first + j] == 1 or segment[first + j] == 2
            if is_repeat and stop[j] > needed_to:
                repeat_from, repeat_to = start[j], stop[j]
                repeat_limit, repeat_ns = max(furthest, stop[j]), time_ns[first + j]
            furthest = max(furthest, stop[j])
            passed += 1
        if at[k] < 0:
            continue
        while taken < passed and time_ns[first + sent[taken]] + delay_ns <= time_ns[i]:
            j = sent[taken]
            taken += 1
            if not is_lost[taken - 1] and stop[j] > acked:
                held = _insert(runs, held, start[j], stop[j], taken)
        acked = max(acked, at[k])
        held = _drop(runs, held, acked)
        is_old = acked > repeat_limit or time_ns[i] - repeat_ns > _REPEAT_NS
        if is_old or tcp_flags[i] & 2 != 0:  # answered, if only by a SYN-ACK
            repeat_to = np.int64(-1)
        if tcp_flags[i] & 7 != 0 or payload_length[i] > 0 or found == rows.size:
            continue
        room = 6 if option_bits[i] & 8 != 0 else 8
        used = 0
        edges[found, :] = 0
        if wanted[i] and 0 <= repeat_to <= acked:
            edges[found, 0] = np.uint32((base + repeat_from) & 0xFFFFFFFF)
            edges[found, 1] = np.uint32((base + repeat_to) & 0xFFFFFFFF)
            used = 2
            repeat_to = np.int64(-1)
        latest = np.int64(_NEVER_NS)
        while used < room:
            best = -1
            for h in range(held):
                is_next = best < 0 or runs[2, h] > runs[2, best]
                if runs[0, h] > acked and runs[2, h] < latest and is_next:
                    best = h
            if best < 0:
                break
            latest = runs[2, best]
            needed_to = max(needed_to, runs[0, best])
            edges[found, used] = np.uint32((base + runs[0, best]) & 0xFFFFFFFF)
            edges[found, used + 1] = np.uint32((base + runs[1, best]) & 0xFFFFFFFF)
            used += 2
        if used:
            rows[found] = i
            found += 1
    return found


@compiled
def _find_lost(
    first: int,
    sent: IntArray,
    at: IntArray,
    start: IntArray,
    stop: IntArray,
    delay_ns: int,
    time_ns: IntArray,
    segment: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Say which of the peer's segments were sent again before they were acknowledged, bool [S]."""
    is_lost = np.zeros(sent.size, dtype=np.bool_)
    acked, reader = np.int64(-1), 0
    for s in range(sent.size):
        i = first + sent[s]
        if segment[i] != 1:
            continue
        while reader < at.size and time_ns[first + reader] < time_ns[i] + delay_ns:
            acked = max(acked, at[reader])
            reader += 1
        for r in range(s - 1, max(s - _REPEAT_LIMIT, 0) - 1, -1):
            overlaps = start[sent[r]] < stop[sent[s]] and stop[sent[r]] > start[sent[s]]
            if overlaps and stop[sent[r]] > acked:
                is_lost[r] = True
    return is_lost


@compiled
def _insert(runs: IntArray, held: int, start: int, stop: int, grown: int) -> int:
    """Add bytes to the runs [3, R] of first, behind the last, and when grown; return how many."""
    kept = 0
    for h in range(held):  # those that it touches become one with it
        if runs[0, h] <= stop and start <= runs[1, h]:
            start, stop = min(start, runs[0, h]), max(stop, runs[1, h])
        else:
            runs[:, kept] = runs[:, h]
            kept += 1
    runs[0, kept], runs[1, kept], runs[2, kept] = start, stop, grown
    return min(kept + 1, _RUN_LIMIT)


@compiled
def _drop(runs: IntArray, held: int, acked: np.int64) -> int:
    """Forget the runs that are acknowledged; return how many are left."""
    kept = 0
    for h in range(held):
        if runs[1, h] > acked:
            runs[:, kept] = runs[:, h]
            kept += 1
    return kept
