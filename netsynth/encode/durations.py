"""What durations of flows are measured in: ns, or units of the flow's own round trip.

A handshake or a query lasts as many round trips whatever the path, a session as many seconds. Which
of the two it is differs from service to service, and is learned: the unit in which equal flows
between the same hosts differ less.

A flow that lasts (a keep-alive, a subscription, a query repeated for days) has no duration of its
own in a window: it goes on until the window ends. What is told of it is how much of the rest of
the window it left unused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.columns import FlowColumns
from netsynth.numbers import FloatArray, IntArray
from netsynth.steps import REST
from netsynth.tables import FlowTable

LASTING = 0.05  # of the window, at least
FEW = 3  # packets that show no repetition
REPEATS = 2.0  # longest gaps of the flow that may be missing at the end, at most
LEAST_FREEDOM = 8  # flows beyond the first of their group, below which trips are the unit


def stretches(columns: FlowColumns) -> FloatArray:
    """Duration of each flow in units of its answer and reply, at least 1: float64 [F].

    Flows without an answer, or whose answer and reply took no time, give 1.
    """
    trip = trips(columns)
    return np.where(trip > 0, np.maximum(columns.duration_ns / np.maximum(trip, 1), 1.0), 1.0)


def trips(columns: FlowColumns) -> IntArray:
    """Time from a flow's first packet to its answer and on to the reply: int64 [F] ns."""
    return np.maximum(columns.answer_ns, 0) + np.maximum(columns.reply_ns, 0)


def in_trips(
    columns: FlowColumns, service: IntArray, by_service: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Tell whose duration is told in trips: bool [F].

    Args:
        columns: Of F flows.
        service: int64 [F], token of each.
        by_service: bool [services], see `fit_units`.
    """
    timed = trips(columns) > 0  # else the clock was too coarse for a trip
    exact = columns.totals[:, :2].sum(axis=1) == 2  # the answer ends it
    return np.asarray(timed & (by_service[service] | exact), dtype=np.bool_)


def lasting(columns: FlowColumns, flows: FlowTable, *, first_ns: int, length_ns: int) -> IntArray:
    """Tell which flows last until their window ends.

    Args:
        columns: Of the F flows.
        flows: The flows.
        first_ns: When their window begins.
        length_ns: How long it is.

    Returns:
        int64 [F], place in REST of the share of the rest of the window, from the flow's start,
        that it left unused; -1 for flows that end.
    """
    room = np.maximum(first_ns + length_ns - columns.start_ns, 1)
    gap = np.diff(flows.packets.time_ns, prepend=0)
    gap[flows.offsets[:-1]] = 0
    largest = np.maximum.reduceat(gap, flows.offsets[:-1]) if len(flows) else gap
    missing = room - columns.duration_ns
    several = columns.totals[:, :2].sum(axis=1) > FEW
    found = several & (missing <= REPEATS * largest) & (columns.duration_ns > LASTING * length_ns)
    place = np.searchsorted(REST, missing / room, side="right") - 1
    return np.where(found, np.clip(place, 0, REST.size - 2), -1)


def fit_units(
    columns: list[FlowColumns], services: list[IntArray], keys: list[IntArray], *, size: int
) -> NDArray[np.bool_]:
    """Learn which services' durations go by the trip.

    Args:
        columns: Of each window.
        services: Service tokens of each window's flows.
        keys: int64 [F, C] of each window, what else equal flows have in common.
        size: Number of services.

    Returns:
        bool [size].
    """
    duration = np.concatenate([c.duration_ns for c in columns]).astype(np.float64)
    ratio = np.concatenate([stretches(c) for c in columns])
    used = np.concatenate([(trips(c) > 0) & (c.totals[:, :2].sum(1) > 2) for c in columns])
    service = np.concatenate(services)[used]
    group = np.concatenate([service[:, None], np.concatenate(keys)[used]], axis=1)
    _, code = np.unique(group, axis=0, return_inverse=True)
    code = code.ravel()
    spread = [_scatter(np.log(v[used] + 1e-9), code) for v in (np.maximum(duration, 1), ratio)]
    by_ns, by_trip = (np.bincount(service, s, minlength=size) for s in spread)
    freedom = np.bincount(service, minlength=size) - np.bincount(
        service[np.unique(code, return_index=True)[1]], minlength=size
    )
    return np.asarray((by_trip <= by_ns) | (freedom < LEAST_FREEDOM), dtype=np.bool_)


def _scatter(values: FloatArray, code: IntArray) -> FloatArray:
    """Squared distance of each value from the mean of those with the same code: [M]."""
    count = np.maximum(np.bincount(code), 1)
    mean = np.bincount(code, values) / count
    return np.asarray((values - mean[code]) ** 2)
