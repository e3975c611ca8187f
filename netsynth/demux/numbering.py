"""Sequence and acknowledgement numbers, timestamps and windows of TCP flows, from their actions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.repeats import find_repeated, find_round_trip
from netsynth.jit import compiled
from netsynth.numbers import IntArray

_HOLE_LIMIT = 16  # holes kept a direction; data ahead of more is taken as received
_SEARCH_LIMIT = 256  # packets to look back for a timestamp to echo
_IDLE_NS = 1_000_000_000  # a host that tests whether a connection lives with a byte waits longer
_NEVER_NS = 1 << 62
_RECOVERY_NS = 150_000_000  # retransmissions closer than this go on where the last one ended
_WINDOW_RAISED, _WINDOW_BLOCKED, _NOTHING_TO_REPEAT = 12, 13, 14
_REPEAT_RESIZED = 23


@compiled
def number_segments(
    offsets: IntArray,
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    window: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    window_scale: NDArray[np.uint8],
    mss: NDArray[np.uint16],
    clock: NDArray[np.uint32],
    initial: NDArray[np.uint32],
    delay_ns: IntArray,
    sent: NDArray[np.int32],
    goal: NDArray[np.int32],
    share: NDArray[np.int32],
    hole: IntArray,
    answered: IntArray,
    repairs: IntArray,
    seq: NDArray[np.uint32],
    ack: NDArray[np.uint32],
    ts_ecr: NDArray[np.uint32],
    data_at: IntArray,
) -> None:
    """Fill seq, ack, ts_ecr and data_at of the TCP flows; may raise windows and degrade segments.

    Positions count bytes from the initial number, SYN and FIN one each. In order means: at the
    furthest position sent. A retransmission fills the oldest hole; else it repeats the segment
    that `find_repeated` chooses, and is as long as that; where nothing was sent, or too lately to
    be missed, it brings new data. After FIN it repeats a segment as long, or has no data.
    Data ahead leaves a hole as long as the retransmission that will fill it; where none will,
    of one segment, which the peer is taken to have received. A reset without ACK stands where
    the peer acknowledged last; one that refuses a SYN is number 0 (RFC 9293 section 3.10.7.1).

    ACK_ALL covers all that came in order, ACK_SAME repeats, ACK_PART covers what was sent a
    round trip before, the round trip being the shortest wait of an ACK_ALL of that side; it ends
    at a segment of the peer. Acknowledgements never fall, nor pass what the peer has sent.

    Where data pass the window that the peer announced, its last acknowledgement covers more if
    it is an ACK_PART, else its window is raised; where 65,535 is too little, it comes to cover
    all it may; where this does not do either, the data become a retransmission, or are cut
    where nothing was sent before. A FIN without data needs no room. Flows whose two SYNs were not
    both seen are exempt, as their window scale is unknown.

    Args:
        offsets: int64 [F+1]; the columns [N] are sorted by flow, then time.
        clock: Timestamp of the sender's clock at each packet, uint32 [N].
        initial: Initial sequence number of each flow and side, uint32 [F, 2]; 0 is stored for a
            side that refuses a SYN.
        data_at: Position of the first payload byte, counted from the first sent, int64 [N]; -1 for
            resets, whose payload is no part of the stream.

    References:
        RFC 9293 sections 3.4, 3.8.6 and 3.10.7; RFC 7323 sections 2.3 and 4.3.
    """
    position = np.zeros(seq.size, dtype=np.int64)
    covered_at = np.zeros(seq.size, dtype=np.int64)  # position acknowledged
    in_order_at = np.zeros(seq.size, dtype=np.int64)  # what the peer had received, per ack
    next_at = np.zeros(2, dtype=np.int64)  # furthest position sent
    first_data = np.zeros(2, dtype=np.int64)  # position of the first byte that is no SYN
    fin_at = np.zeros(2, dtype=np.int64)
    acked = np.zeros(2, dtype=np.int64)  # highest position that this side acknowledged
    latest = np.zeros(2, dtype=np.int64)  # its latest packet with ACK
    last_acker = np.zeros(2, dtype=np.int64)  # the latest whose window counts
    edge = np.zeros(2, dtype=np.int64)  # position up to which this side may send
    scale = np.zeros(3, dtype=np.int64)  # the last for windows that are not scaled: 0
    syn_row = np.zeros(2, dtype=np.int64)
    echo = np.zeros(2, dtype=np.int64)  # timestamp this side would echo
    reader = np.zeros(2, dtype=np.int64)  # next packet of the peer that it may acknowledge
    covered_count = np.zeros(2, dtype=np.int64)  # segments that this side acknowledged
    repeated_to, repeated_ns = np.zeros((2, 2), dtype=np.int64)  # the last retransmission's end
    tail = np.zeros(2, dtype=np.int64)  # row of the segment that ends furthest
    hole_count = np.zeros(2, dtype=np.int64)
    hole_start, hole_end = np.zeros((2, 2, _HOLE_LIMIT), dtype=np.int64)
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6:
            continue
        has_syn, has_sent = np.zeros(2, dtype=np.bool_), np.zeros(2, dtype=np.bool_)
        for side in range(2):
            next_at[side] = first_data[side] = echo[side] = hole_count[side] = scale[side] = 0
            syn_row[side] = first
            fin_at[side] = acked[side] = last_acker[side] = edge[side] = -1
            covered_count[side] = repeated_to[side] = 0
            tail[side] = -1
            reader[side] = first
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            if tcp_flags[i] & 2 != 0:
                syn_row[side] = syn_row[side] if has_syn[side] else i
                has_syn[side] = True
                scale[side] = window_scale[i] if option_bits[i] & 2 != 0 else -1
        is_windowed = has_syn[0] and has_syn[1]
        if not is_windowed or scale.min() < 0:  # scaled only where both sides offered it
            scale[:] = 0
        round_trip_ns = find_round_trip(first, end, time_ns, reverse, tcp_flags)
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            peer = 1 - side
            flags = np.int64(tcp_flags[i])
            payload = np.int64(payload_length[i])
            length = payload + (flags & 1) + ((flags >> 1) & 1)
            kind = np.int64(segment[i])
            at = next_at[side]
            if kind == 2 and payload == 1 and tail[side] >= 0 and fin_at[side] < 0:
                is_idle = time_ns[i] - time_ns[tail[side]] >= _IDLE_NS and acked[peer] >= at
                kind = kind if is_idle else np.int64(1)
            # 1. Where the segment stands.
            if flags & 2 != 0:
                at = np.int64(0)
                first_data[side] = 1
            elif flags & 4 != 0:
                if not has_sent[side] and has_syn[peer] and acked[peer] < 0:
                    initial[f, side] = 0
                elif flags & 16 == 0 and answered[i] >= 0:
                    at = covered_at[answered[i]]
            elif kind == 3:
                jump = hole[i] if hole[i] > 0 else payload
                j = last_acker[peer]
                is_full = False
                if is_windowed and j >= 0:
                    shift = scale[peer] if tcp_flags[j] & 2 == 0 and j > syn_row[peer] else scale[2]
                    reach = in_order_at[j] + (np.int64(65535) << shift)
                    is_full = at + jump + payload > (reach if payload > 0 else edge[side])
                if jump == 0 or is_full or next_at[side] == 0 or fin_at[side] >= 0:
                    kind = np.int64(0)
                else:
                    at += jump
                    if hole[i] > 0 and hole_count[side] < _HOLE_LIMIT:
                        hole_start[side, hole_count[side]] = next_at[side]
                        hole_end[side, hole_count[side]] = at
                        hole_count[side] += 1
            elif kind == 2:
                if payload > 1 or flags & 1 != 0 or at == 0:
                    kind = np.int64(0)
                    repairs[_NOTHING_TO_REPEAT] += 1
                else:
                    at -= 1
                    if payload == 1 and fin_at[side] >= 0:  # the byte before FIN, if any
                        at = max(fin_at[side] - 1, first_data[side])
                        payload = min(payload, fin_at[side] - at)
                        payload_length[i] = payload
                        length = payload
            elif kind == 1 and length > 0:
                last = fin_at[side] if fin_at[side] >= 0 else next_at[side]  # end of data
                has_fin = fin_at[side] >= 0
                if (
                    hole_count[side] > 0
                    and length <= hole_end[side, 0] - hole_start[side, 0]
                    and (flags & 1 == 0 or hole_end[side, 0] == next_at[side])
                ):
                    at = hole_start[side, 0]
                    hole_start[side, 0] += length
                    if hole_start[side, 0] == hole_end[side, 0]:
                        hole_count[side] -= 1
                        for h in range(hole_count[side]):
                            hole_start[side, h] = hole_start[side, h + 1]
                            hole_end[side, h] = hole_end[side, h + 1]
                elif flags & 1 != 0:  # a FIN comes again alone, or with the last segment
                    at = last - payload
                    k = tail[side]
                    is_tail = k >= 0 and payload_length[k] == payload
                    if payload > 0 and not is_tail and k >= 0 and tcp_flags[k] & 1 != 0:
                        repairs[_REPEAT_RESIZED] += 1  # they came together
                        payload_length[i] = payload_length[k]
                        payload = np.int64(payload_length[k])
                        length = payload + 1
                        at = last - payload
                    elif payload > 0 and not is_tail:
                        repairs[_NOTHING_TO_REPEAT] += 1
                        if has_fin:  # no new data after FIN
                            payload_length[i] = 0
                            payload = np.int64(0)
                            length = np.int64(1)
                            at = last
                        else:
                            kind = np.int64(0)
                            at = next_at[side]
                else:
                    wanted = acked[peer]
                    if time_ns[i] - repeated_ns[side] < _RECOVERY_NS:
                        wanted = max(wanted, repeated_to[side])
                    k = find_repeated(
                        i, first, wanted, last, tail[side], round_trip_ns,
                        time_ns, reverse, tcp_flags, payload_length, position,
                    )  # fmt: skip
                    is_new = k < 0 or (
                        # sooner than it can have been missed, and no copy of the last one
                        time_ns[i] - time_ns[k] < delay_ns[f, peer] < _NEVER_NS and k != tail[side]
                    )
                    if has_fin and (is_new or payload_length[k] != payload):
                        payload_length[i] = 0
                        payload = length = np.int64(0)
                        repairs[_NOTHING_TO_REPEAT] += 1
                    elif is_new:
                        kind = np.int64(0)  # go on instead
                        repairs[_NOTHING_TO_REPEAT] += 1
                    else:
                        at = position[k] + ((tcp_flags[k] >> 1) & 1)
                        if payload_length[k] != payload:
                            repairs[_REPEAT_RESIZED] += 1
                            payload_length[i] = payload_length[k]
                            payload = length = np.int64(payload_length[k])
                repeated_to[side] = at + payload
                repeated_ns[side] = time_ns[i]
            # 2. Does it fit the window that the peer announced?
            is_new = flags & 6 == 0 and payload > 0 and at + payload > next_at[side]
            stop = at + payload + (flags & 1)
            if is_windowed and is_new and stop > edge[side] >= 0:
                j = last_acker[peer]
                shift = scale[peer] if tcp_flags[j] & 2 == 0 and j > syn_row[peer] else scale[2]
                covered = covered_at[j]
                is_last = latest[peer] == j  # none after it repeats its acknowledgement
                if ack_class[j] == 3 and is_last:  # it may have covered more: in whole segments
                    step = np.int64(mss[first]) if mss[first] > 0 else np.int64(1448)
                    covered += (stop - edge[side] + step - 1) // step * step
                    covered = max(covered_at[j], min(covered, in_order_at[j]))
                needed = (stop - covered + (np.int64(1) << shift) - 1) >> shift
                if needed > 65535 and is_last:
                    covered = max(covered, in_order_at[j])
                    needed = (stop - covered + (np.int64(1) << shift) - 1) >> shift
                can_repeat = tail[side] >= 0 and fin_at[side] < 0 and flags & 1 == 0
                if needed > 65535 and can_repeat:
                    payload = length = np.int64(payload_length[tail[side]])
                    payload_length[i] = payload
                    at = position[tail[side]] + ((tcp_flags[tail[side]] >> 1) & 1)
                    kind = np.int64(1)
                    repairs[_WINDOW_BLOCKED] += 1
                else:
                    if needed > 65535:
                        room = covered + (np.int64(65535) << shift) - at - (flags & 1)
                        payload = max(min(payload, room), np.int64(0))
                        payload_length[i] = payload
                        length = payload + (flags & 1)
                        needed = np.int64(65535)
                        repairs[_WINDOW_BLOCKED] += 1
                    acked[peer] = max(acked[peer], covered)
                    covered_at[j] = covered
                    ack[j] = np.uint32((np.int64(initial[f, side]) + covered) & 0xFFFFFFFF)
                    if needed > window[j]:
                        window[j] = needed
                        repairs[_WINDOW_RAISED] += 1
                    edge[side] = covered + (np.int64(window[j]) << shift)
            if flags & 1 != 0 and fin_at[side] < 0:
                fin_at[side] = at + payload
            if payload > 0 and flags & 4 == 0 and at >= next_at[side]:
                tail[side] = i
            has_sent[side] = True
            segment[i] = kind
            position[i] = at
            data_at[i] = at + ((flags >> 1) & 1) - first_data[side] if flags & 4 == 0 else -1
            seq[i] = np.uint32((np.int64(initial[f, side]) + at) & 0xFFFFFFFF)
            if flags & 4 == 0:
                next_at[side] = max(next_at[side], at + length)
            # 3. What it acknowledges.
            if flags & 16 == 0:
                continue
            in_order = hole_start[peer, 0] if hole_count[peer] > 0 else next_at[peer]
            covered = in_order
            if ack_class[i] == 2 and acked[side] >= 0:
                covered = acked[side]
            elif ack_class[i] == 3:
                covered = np.int64(-1)
                recent_ns = time_ns[i] - delay_ns[f, side]
                quota = goal[i] - covered_count[side]
                quota = max((2 * quota + share[i]) // (2 * max(share[i], 1)), 1)
                while reader[side] < i and quota > 0:
                    j = reader[side]
                    stop = position[j] + payload_length[j] + (tcp_flags[j] & 1)
                    stop += (tcp_flags[j] >> 1) & 1
                    if reverse[j] != reverse[i] and stop > max(acked[side], covered):
                        if stop >= in_order or (covered >= 0 and time_ns[j] > recent_ns):
                            break
                        covered = stop
                        covered_count[side] += 1
                        quota -= 1
                    reader[side] = j + 1
                if covered < 0:  # no segment of the peer ends in between: whole segments, or none
                    step = np.int64(mss[first]) if mss[first] > 0 else np.int64(1448)
                    start = max(acked[side], 0)
                    covered = start + max(in_order - start - 1, 0) // 2 // step * step
            covered = max(covered, acked[side])
            if has_syn[peer]:
                covered = max(covered, min(np.int64(1), in_order))
            if ack_class[i] == 1:
                covered_count[side] = sent[i]
            acked[side] = covered
            covered_at[i] = covered
            latest[side] = i
            # analysers ignore the window of what repeats, so it opens none
            is_window = flags & 4 == 0 and (kind == 0 or last_acker[side] < 0)
            if is_window:
                last_acker[side] = i
            in_order_at[i] = in_order
            ack[i] = np.uint32((np.int64(initial[f, peer]) + covered) & 0xFFFFFFFF)
            shift = scale[side] if flags & 2 == 0 and i > syn_row[side] else scale[2]
            if is_window:
                offered = covered + (np.int64(window[i]) << shift)
                # analysers forget wider windows when a side has closed
                edge[peer] = max(edge[peer], offered) if flags & 1 == 0 else offered
            # 4. Timestamps: echo the last segment that began at or before the acknowledgement.
            if option_bits[i] & 8 != 0:
                for j in range(i - 1, max(first, i - _SEARCH_LIMIT) - 1, -1):
                    if (
                        reverse[j] != reverse[i]
                        and position[j] <= covered
                        and option_bits[j] & 8 != 0
                        and tcp_flags[j] & 4 == 0  # a reset ends what could be echoed
                    ):
                        echo[side] = np.int64(clock[j])
                        break
                ts_ecr[i] = np.uint32(echo[side])
