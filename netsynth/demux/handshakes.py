"""Put what a client sends before it has its answer behind that answer, and data behind handshakes.

The one repair that moves packets in time: a client that goes on without a SYN-ACK would be no
client, and the SYN-ACK cannot come before its round trip. A server that sends data has had its
SYN-ACK acknowledged.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray
from netsynth.tables import TCP, FlowTable

_EARLY_MOVED = 19  # row of dialogue.REPAIRS


def order_handshakes(flows: FlowTable, repairs: IntArray) -> FlowTable:
    """Move early packets of clients behind the SYN-ACK; count them in `repairs`.

    A flow is concerned if it begins with a SYN, and its client sends other segments than SYNs
    before the peer's first one, which is a SYN-ACK or has no data and so becomes one. They keep
    their distance to the SYN, now to the SYN-ACK, or share the time until the packet after it.
    Where none is after it, the SYN-ACK comes at half its time. Where the server's data come before
    the client's acknowledgement of the SYN-ACK, that is moved in front of them, to their time.

    Returns:
        The same flows, with packets moved; the table given where there is nothing to move.
    """
    p = flows.packets
    if not (flows.protocol == TCP).any():
        return flows
    order = np.arange(len(p), dtype=np.int64)
    time_ns = p.time_ns.copy()
    moved = _order(
        flows.offsets, flows.reverse, p.protocol, p.tcp_flags, p.payload_length, order, time_ns
    )
    repairs[_EARLY_MOVED] += moved
    if moved == 0:
        return flows
    return replace(
        flows,
        packets=replace(p.take(order), time_ns=time_ns),
        reverse=flows.reverse[order],
        segment=flows.segment[order],
        ack_class=flows.ack_class[order],
    )


@compiled
def _order(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    order: IntArray,
    time_ns: IntArray,
) -> int:
    """Fill `order` [N] with the rows in their new order, and their `time_ns` [N]; count moves."""
    moved = 0
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6 or tcp_flags[first] & 22 != 2:
            continue
        answer: Any = -1
        early = 0
        for i in range(first + 1, end):
            if reverse[i] != reverse[first]:
                answer = i
                break
            if tcp_flags[i] & 4 != 0:
                break
            if tcp_flags[i] & 2 == 0:
                early += 1
        if answer < 0 or tcp_flags[answer] & 4 != 0:
            continue
        if early == 0:
            if tcp_flags[answer] & 18 == 18:
                moved += _acknowledge(
                    answer, end, reverse, tcp_flags, payload_length, order, time_ns
                )
            continue
        is_bare = payload_length[answer] == 0 and tcp_flags[answer] & 1 == 0
        if tcp_flags[answer] & 18 != 18 and not is_bare:
            continue
        start_ns, answer_ns = time_ns[first], time_ns[answer]
        if answer + 1 < end:
            next_ns = time_ns[answer + 1]
        else:  # room before the end of the flow
            next_ns, answer_ns = answer_ns, start_ns + (answer_ns - start_ns) // 2
        last_ns = start_ns
        times = time_ns[first:answer].copy()
        place = first + 1
        for i in range(first + 1, answer):  # SYNs stay in front
            if tcp_flags[i] & 2 != 0:
                order[place] = i
                time_ns[place] = times[i - first]
                place += 1
            else:
                last_ns = times[i - first]
        order[place] = answer
        time_ns[place] = answer_ns
        place += 1
        span_ns, room_ns = last_ns - start_ns, next_ns - answer_ns
        for i in range(first + 1, answer):
            if tcp_flags[i] & 2 == 0:
                delay_ns = times[i - first] - start_ns
                if span_ns > room_ns:
                    delay_ns = np.int64(delay_ns * (room_ns / span_ns))
                order[place] = i
                time_ns[place] = answer_ns + min(delay_ns, room_ns)
                place += 1
        moved += early
    return moved


@compiled
def _acknowledge(
    answer: int,
    end: int,
    reverse: NDArray[np.bool_],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    order: IntArray,
    time_ns: IntArray,
) -> int:
    """Move the bare acknowledgement of the SYN-ACK in row `answer` before data; count moves."""
    data: Any = -1
    for i in range(answer + 1, end):
        if tcp_flags[i] & 4 != 0:
            return 0
        if reverse[i] == reverse[answer]:
            if data < 0 and payload_length[i] > 0:
                data = i
        elif tcp_flags[i] & 2 == 0:
            if data < 0 or payload_length[i] > 0 or tcp_flags[i] & 1 != 0:
                return 0
            for k in range(i, data, -1):
                order[k] = k - 1
                time_ns[k] = time_ns[k - 1]
            order[data] = i  # at the time of what is now behind it
            return 1
    return 0
