"""A part of a long capture to learn from: whole windows, spread evenly over it."""

from __future__ import annotations

import dataclasses

import numpy as np

from netsynth.numbers import IntArray
from netsynth.tables import FlowTable

ROWS_AT_ONCE = 1 << 20


def spread_windows(flows: FlowTable, *, window_ns: int, most_packets: int) -> FlowTable:
    """Keep the packets of some windows of equal length, the first and the last among them.

    Args:
        flows: Flows of a whole capture, which may lie in files.
        window_ns: Length of a window, ns; the capture is cut into as many equal ones as come
            closest to it.
        most_packets: Packets to keep at most; the first and the last window are kept anyway.

    Returns:
        The flows that have packets in those windows, with those packets alone, in memory. Who
        opened each, and what its segments are, stays as in the whole capture.
    """
    time_ns = flows.packets.time_ns
    first_ns = int(time_ns.min())
    span = int(time_ns.max()) - first_ns + 1
    count = max(round(span / window_ns), 1)
    length = -(-span // count)
    sizes = np.zeros(count, dtype=np.int64)
    for at in range(0, time_ns.size, ROWS_AT_ONCE):
        window = (time_ns[at : at + ROWS_AT_ONCE] - first_ns) // length
        sizes += np.bincount(window, minlength=count)
    wanted = np.zeros(count, dtype=np.bool_)
    wanted[_choose(sizes, most_packets)] = True
    rows = [
        at + np.flatnonzero(wanted[(time_ns[at : at + ROWS_AT_ONCE] - first_ns) // length])
        for at in range(0, time_ns.size, ROWS_AT_ONCE)
    ]
    return _take_packets(flows, np.concatenate(rows))


def _choose(sizes: IntArray, most_packets: int) -> IntArray:
    """Choose windows at equal distances, as many as hold `most_packets` together."""
    chosen = np.arange(sizes.size)
    share = min(1.0, most_packets / max(int(sizes.sum()), 1))
    for count in range(max(2, int(2 * share * sizes.size)), 1, -1):
        chosen = np.unique(np.linspace(0, sizes.size - 1, count).round().astype(np.int64))
        if sizes[chosen].sum() <= most_packets:
            break
    return chosen


def _take_packets(flows: FlowTable, rows: IntArray) -> FlowTable:
    """Keep the packets `rows`, ascending, and their flows, in order of their first packet."""
    flow = np.searchsorted(flows.offsets, rows, side="right") - 1
    kept, starts, counts = np.unique(flow, return_index=True, return_counts=True)
    order = np.argsort(flows.packets.time_ns[rows[starts]], kind="stable")
    sizes = counts[order]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    rows = rows[np.repeat(starts[order], sizes) + inside]
    kept = kept[order]
    return dataclasses.replace(
        flows,
        packets=flows.packets.take(rows),
        offsets=offsets,
        reverse=flows.reverse[rows],
        segment=flows.segment[rows],
        ack_class=flows.ack_class[rows],
        initiator=flows.initiator[kept],
        responder=flows.responder[kept],
        initiator_port=flows.initiator_port[kept],
        responder_port=flows.responder_port[kept],
        protocol=flows.protocol[kept],
        ip_version=flows.ip_version[kept],
        label=flows.label[kept],
    )
