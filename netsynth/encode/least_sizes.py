"""The smallest datagrams of each service: none is written that is smaller than any that was seen.

A flow's bytes are drawn before its packets. Where they are too few for the packets, what is left
for the last ones is a byte each, which no application would send.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.lanes import fill_forward
from netsynth.numbers import IntArray
from netsynth.tables import TCP, FlowTable


def fit_least_sizes(
    flow_tables: list[FlowTable], services: list[IntArray], *, size: int
) -> IntArray:
    """Find the smallest payloads that were seen.

    Args:
        flow_tables: Flows of each window.
        services: Service token of each of their flows, int64 [F] each.
        size: Number of service tokens.

    Returns:
        Bytes, forward and reverse, int64 [size, 2], of what is not empty and no TCP; 0 where
        nothing was.
    """
    never = np.iinfo(np.int64).max
    least = np.full((size, 2), never)
    for flows, service in zip(flow_tables, services, strict=True):
        payload = flows.packets.payload_length.astype(np.int64)
        rows = np.flatnonzero((flows.packets.protocol != TCP) & (payload > 0))
        side = flows.reverse[rows].astype(np.int64)
        np.minimum.at(least, (service[flows.flow_of_packet[rows]], side), payload[rows])
    return np.where(least == never, 0, least)


def raise_sizes(
    size_bytes: IntArray,
    *,
    flow: IntArray,
    service: IntArray,
    reverse: NDArray[np.bool_],
    least: IntArray,
    rng: np.random.Generator,
) -> IntArray:
    """Give payloads smaller than any that was seen the size of another one.

    That is the one before it of its flow and direction; else any of its service and direction.

    Args:
        size_bytes: int64 [N].
        flow: Flow of each packet, int64 [N], ascending.
        service: Service token of each packet, int64 [N].
        reverse: bool [N].
        least: See `fit_least_sizes`.
        rng: Chooses.

    Returns:
        The sizes, int64 [N]; the array given where none is too small.
    """
    side = reverse.astype(np.int64)
    lowest = least[service, side]
    small = (size_bytes > 0) & (size_bytes < lowest)
    if not small.any():
        return size_bytes
    before = fill_forward(flow * 2 + side, size_bytes, ~small & (size_bytes > 0))
    sizes = np.where(small, before, size_bytes)
    key = service * 2 + side
    given = np.flatnonzero(~small & (size_bytes > 0))
    given = given[np.argsort(key[given], kind="stable")]
    lost = np.flatnonzero(small & (before == 0))
    first, last = (np.searchsorted(key[given], key[lost], side=s) for s in ("left", "right"))
    place = first + (rng.random(lost.size) * (last - first)).astype(np.int64)
    known = last > first
    sizes[lost] = lowest[lost]
    sizes[lost[known]] = size_bytes[given[place[known]]]
    return sizes
