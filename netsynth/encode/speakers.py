"""Who speaks first on a service: a client that asks, or a server that greets.

Where all connections of a service, or all exchanges of datagrams, agree in this, no drawn one may
begin the other way round.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.tables import ACK, SYN, TCP, UDP, FlowTable

EITHER, INITIATOR, RESPONDER = 0, 1, 2
FEWEST = 5  # connections that say who speaks first


def fit_speakers(
    flow_tables: list[FlowTable], services: list[IntArray], *, size: int
) -> NDArray[np.int8]:
    """Find who sends the first data of the TCP connections and UDP exchanges of each service.

    Args:
        flow_tables: Flows of each window.
        services: Service token of each of their flows, int64 [F] each.
        size: Number of service tokens.

    Returns:
        INITIATOR or RESPONDER where all of 5 connections or more agree, else EITHER; int8 [size].
    """
    counts = np.zeros((size, 2), dtype=np.int64)
    for flows, service in zip(flow_tables, services, strict=True):
        first, count = _first_data(flows), len(flows.packets)  # [2, F]
        # an answer alone lost its question to the window before
        heard = np.where(flows.protocol == UDP, first.max(axis=0), first.min(axis=0))
        speaks = (heard < count) & _is_opened(flows)
        side = (first[1] < first[0]).astype(np.int64)
        np.add.at(counts, (service[speaks], side[speaks]), 1)
    speaker = np.where(counts[:, 0] > 0, INITIATOR, RESPONDER)
    agreed = (counts.sum(axis=1) >= FEWEST) & (counts.min(axis=1) == 0)
    return np.where(agreed, speaker, EITHER).astype(np.int8)


def order_speakers(flows: FlowTable, service: IntArray, speakers: NDArray[np.int8]) -> FlowTable:
    """Let whoever speaks first on a service do so: exchange its first data with the other's.

    Args:
        flows: Packets of a window.
        service: Service token of each flow, int64 [F].
        speakers: See `fit_speakers`.

    Returns:
        The flows, times staying where they are; the table given where all is in order.
    """
    first = _first_data(flows)
    count = len(flows.packets)
    wanted = speakers[service]
    side = (wanted == RESPONDER).astype(np.int64)  # who is to speak
    own, other = (np.take_along_axis(first, s[None], axis=0)[0] for s in (side, 1 - side))
    wrong = (wanted != EITHER) & _is_opened(flows) & (other < own) & (own < count)
    if not wrong.any():
        return flows
    order = np.arange(count, dtype=np.int64)
    order[own[wrong]], order[other[wrong]] = other[wrong], own[wrong]
    packets = replace(flows.packets.take(order), time_ns=flows.packets.time_ns)
    columns = {name: getattr(flows, name)[order] for name in ("reverse", "segment", "ack_class")}
    return replace(flows, packets=packets, **columns)


def _is_opened(flows: FlowTable) -> NDArray[np.bool_]:
    """Tell which flows are datagrams, or connections seen from their first SYN: bool [F]."""
    flags = flows.packets.tcp_flags[flows.offsets[:-1]]
    is_opened = (flows.protocol == TCP) & (flags & (SYN | ACK) == SYN)
    return np.asarray(is_opened | (flows.protocol == UDP), dtype=np.bool_)


def _first_data(flows: FlowTable) -> IntArray:
    """First packet with data of either side of each flow, int64 [2, F]; N where none is."""
    count = len(flows.packets)
    has_data = flows.packets.payload_length > 0
    rows = [
        np.minimum.reduceat(
            np.where(has_data & (flows.reverse == side), np.arange(count), count),
            flows.offsets[:-1],
        )
        if len(flows)
        else np.zeros(0, dtype=np.int64)
        for side in (False, True)
    ]
    return np.stack(rows).astype(np.int64)
