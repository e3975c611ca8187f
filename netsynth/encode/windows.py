"""Cutting a capture into windows of equal duration, the unit of training and of sampling."""

from __future__ import annotations

import dataclasses

import numpy as np

from netsynth.encode.series import SeriesConfig
from netsynth.numbers import IntArray
from netsynth.tables import FlowTable


def window_length_ns(flow_tables: list[FlowTable], config: SeriesConfig) -> int:
    """Choose the length of a window, ns, at least 1."""
    if config.window_ns:
        return config.window_ns
    lengths = []
    for flows in flow_tables:
        pieces = -(-len(flows.packets) // config.window_packets)
        lengths.append((_span_ns(flows) + 1) // pieces)
    return max(min(lengths), 1)


def cut_windows(flows: FlowTable, *, window_ns: int) -> list[tuple[int, int, FlowTable]]:
    """Cut `flows` into windows of about `window_ns`, all equally long.

    A flow that crosses a boundary becomes a row in each window it has packets in.

    Returns:
        (start of the window in ns since the epoch, its length in ns, its flows) in time order;
        windows without packets are left out.
    """
    span = _span_ns(flows) + 1
    count = max(round(span / window_ns), 1)
    length = -(-span // count)
    first_ns = int(flows.packets.time_ns.min())
    if count == 1:
        return [(first_ns, length, flows)]
    window = (flows.packets.time_ns - first_ns) // length  # [N]
    pieces = []
    for index in range(count):
        rows = np.flatnonzero(window == index)
        if rows.size:
            pieces.append((first_ns + index * length, length, _take_packets(flows, rows)))
    return pieces


def take_flows(flows: FlowTable, kept: IntArray) -> FlowTable:
    """Keep the flows `kept` (ascending) and their packets."""
    mask = np.zeros(len(flows), dtype=np.bool_)
    mask[kept] = True
    rows = np.flatnonzero(mask[flows.flow_of_packet])
    return _take_packets(flows, rows)


def _span_ns(flows: FlowTable) -> int:
    time = flows.packets.time_ns
    return int(time.max() - time.min())


def _take_packets(flows: FlowTable, rows: IntArray) -> FlowTable:
    """Keep the packets `rows` (ascending) and the flows they belong to, sorted by start."""
    flow = flows.flow_of_packet[rows]
    kept, counts = np.unique(flow, return_counts=True)
    starts = np.cumsum(counts) - counts
    order = np.argsort(flows.packets.time_ns[rows[starts]], kind="stable")
    sizes = counts[order]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    inside = np.arange(offsets[-1]) - np.repeat(offsets[:-1], sizes)
    rows = rows[np.repeat(starts[order], sizes) + inside]
    kept = kept[order]
    columns = ("initiator", "responder", "initiator_port", "responder_port", "protocol")
    return dataclasses.replace(
        flows,
        packets=flows.packets.take(rows),
        offsets=offsets,
        reverse=flows.reverse[rows],
        segment=flows.segment[rows],
        ack_class=flows.ack_class[rows],
        ip_version=flows.ip_version[kept],
        label=flows.label[kept],
        **{name: getattr(flows, name)[kept] for name in columns},
    )
