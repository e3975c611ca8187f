"""Complete the options of SYNs that a generator left without what their hosts always offer.

Hosts offer the same options in all their connections. Where a flow that carries data lacks some,
its SYN and SYN-ACK take what most connections of the same two hosts offer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray
from netsynth.tables import OPTION_WINDOW_SCALE, SYN, TCP, FlowTable

_OFFER = 15  # options that a SYN may carry (OPTION_*)
_OPENING_COMPLETED = 16  # row of dialogue.REPAIRS


def complete_openings(flows: FlowTable, repairs: IntArray) -> NDArray[np.bool_]:
    """Complete SYNs and SYN-ACKs in place; count flows in `repairs` (dialogue.REPAIRS).

    A flow with data is incomplete if its SYN-ACK has no MSS though its SYN has, or if windows
    look scaled (most are below a sixteenth of their SYN's, or of their host's usual one behind a
    SYN without an MSS) though the SYNs do not both say so.

    Returns:
        Flows that were completed, bool [F]; their SYNs decide on timestamps.

    References:
        RFC 9293 section 3.7.1; RFC 7323 sections 2.2 and 3.2.
    """
    p = flows.packets
    completed = np.zeros(len(flows), dtype=np.bool_)
    if not (flows.protocol == TCP).any():
        return completed
    offers, of_client, of_server = _usual_offers(flows)
    _complete(
        flows.offsets,
        flows.reverse,
        p.protocol,
        p.tcp_flags,
        p.payload_length,
        p.window,
        p.option_bits,
        p.mss,
        p.window_scale,
        offers,
        of_client[flows.initiator],
        of_server[flows.responder],
        completed,
    )
    repairs[_OPENING_COMPLETED] += np.count_nonzero(completed)
    return completed


def _usual_offers(flows: FlowTable) -> tuple[IntArray, IntArray, IntArray]:
    """Find what each host offers in most of its connections that carry data.

    Returns:
        Distinct offers, int64 [K, 4]: option bits, MSS, window scale, window; and the row of each
        address's usual SYN and usual SYN-ACK, int64 [A] each; those of all hosts where it sent
        none with a window scale, -1 where nobody did.
    """
    p = flows.packets
    has_data = np.zeros(len(flows), dtype=np.bool_)
    flow = flows.flow_of_packet
    has_data[flow[(p.payload_length > 0) & (p.protocol == TCP)]] = True
    rows = np.flatnonzero((p.tcp_flags & SYN != 0) & (p.protocol == TCP) & has_data[flow])
    is_answer = (p.tcp_flags[rows] >> 4 & 1).astype(np.int64)
    columns = (p.option_bits[rows] & _OFFER, p.mss[rows], p.window_scale[rows], p.window[rows])
    table = np.stack([column.astype(np.int64) for column in columns], axis=1)  # [R, 4]
    offers, offer = np.unique(table, axis=0, return_inverse=True)
    size, offer, host_count = max(len(offers), 1), offer.reshape(-1), len(p.addresses)
    of_host = _most_frequent((is_answer * host_count + p.src[rows]) * size + offer, size)
    of_all = _most_frequent(is_answer * size + offer, size)
    usual = np.full((2, host_count), -1, dtype=np.int64)
    for role, row in of_all.items():
        usual[role] = row
    for key, row in of_host.items():
        if offers[row, 0] & OPTION_WINDOW_SCALE:
            usual[key // host_count, key % host_count] = row
    return offers, usual[0], usual[1]


def _most_frequent(keys: IntArray, size: int) -> dict[int, int]:
    """Map key // size to the key % size that occurs most often with it."""
    pairs, counts = np.unique(keys, return_counts=True)
    order = np.argsort(counts, kind="stable")  # the most frequent is written last
    return dict(zip((pairs[order] // size).tolist(), (pairs[order] % size).tolist(), strict=True))


@compiled
def _complete(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    window: NDArray[np.uint16],
    option_bits: NDArray[np.uint8],
    mss: NDArray[np.uint16],
    window_scale: NDArray[np.uint8],
    offers: IntArray,
    of_client: IntArray,
    of_server: IntArray,
    completed: NDArray[np.bool_],
) -> None:
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6 or tcp_flags[first] & 18 != 2:
            continue
        offer = first
        answer: Any = -1
        has_data = False
        scaled = 0
        for i in range(first + 1, end):
            if answer < 0 and tcp_flags[i] & 18 == 18 and reverse[i] != reverse[offer]:
                answer = i
            has_data = has_data or payload_length[i] > 0
        if answer < 0 or not has_data:
            continue
        k, peer_k = of_client[f], of_server[f]
        if reverse[offer]:
            k, peer_k = peer_k, k
        for i in range(first, end):
            if tcp_flags[i] & 6 == 0:
                usual = k if reverse[i] == reverse[offer] else peer_k
                syn = offer if reverse[i] == reverse[offer] else answer
                largest = np.int64(window[syn])
                if usual >= 0 and option_bits[syn] & 1 == 0:
                    largest = max(largest, offers[usual, 3])
                scaled += 1 if np.int64(window[i]) * 16 < largest else -1
        lacks_mss = option_bits[offer] & 1 != 0 and option_bits[answer] & 1 == 0
        is_unscaled = scaled > 0 and option_bits[offer] & option_bits[answer] & 2 == 0
        if not lacks_mss and not is_unscaled:
            continue
        if k >= 0 and option_bits[offer] & 15 & ~offers[k, 0] == 0:
            if option_bits[offer] & 15 != offers[k, 0]:  # else it keeps its padding
                option_bits[offer] = offers[k, 0]
            mss[offer] = offers[k, 1]
            window_scale[offer] = offers[k, 2]
            if np.int64(window[offer]) * 16 < offers[k, 3]:
                window[offer] = offers[k, 3]
        if peer_k >= 0 and offers[peer_k, 0] & 1 != 0:
            option_bits[answer] = offers[peer_k, 0] & (np.int64(option_bits[offer]) | 1)
            mss[answer] = offers[peer_k, 1]
            window_scale[answer] = offers[peer_k, 2]
            if np.int64(window[answer]) * 16 < offers[peer_k, 3]:
                window[answer] = offers[peer_k, 3]
        elif lacks_mss:
            option_bits[answer] = option_bits[offer] & 15
            mss[answer] = mss[offer]
            window_scale[answer] = window_scale[offer]
            window[answer] = window[offer]
        completed[f] = True
