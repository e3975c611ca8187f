"""What durations of flows are measured in: ns, or a power of the flow's own round trip.

A handshake or a query lasts as many round trips whatever the path, a session as many seconds. A
flow's first trip is also one measurement of a delay, noise included, and what was lost in one
queue is won in the next: where a trip is twice as long, the flow then lasts less than twice as
long. Which power of the trip it is differs from service to service, and is learned: the one by
which equal flows between the same hosts differ least.

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
from netsynth.tables import FlowTable, ruler_ns

LASTING = 0.05  # of the window, at least
FEW = 3  # packets that show no repetition
REPEATS = 2.0  # longest gaps of the flow that may be missing at the end, at most
LEAST_FREEDOM = 8  # flows beyond the first of their group, below which trips are the unit
POWERS = (1.0, 0.75, 0.5, 0.25, 0.0)  # of the trip that durations may go by


def stretches(columns: FlowColumns, service: IntArray, rulers: FloatArray) -> FloatArray:
    """Duration of each flow in units of its ruler: float64 [F].

    Flows without an answer, or whose answer and reply took no time, give 1; so do those that the
    answer ends.

    Args:
        columns: Of F flows.
        service: int64 [F], token of each.
        rulers: float64 [services, 2], see `fit_rulers`.
    """
    unit = ruler_ns(trips(columns).astype(np.float64), rulers[service])
    plain = (unit <= 0) | (columns.totals[:, :2].sum(axis=1) == 2)
    return np.where(plain, 1.0, columns.duration_ns / np.maximum(unit, 1e-9))


def trips(columns: FlowColumns) -> IntArray:
    """Time from a flow's first packet to its answer and on to the reply: int64 [F] ns."""
    return np.maximum(columns.answer_ns, 0) + np.maximum(columns.reply_ns, 0)


def in_trips(columns: FlowColumns, service: IntArray, rulers: FloatArray) -> NDArray[np.bool_]:
    """Tell whose duration is told by the trip: bool [F]; arguments as in `stretches`."""
    timed = trips(columns) > 0  # else the clock was too coarse for a trip
    exact = columns.totals[:, :2].sum(axis=1) == 2  # the answer ends it
    return np.asarray(timed & ((rulers[service, 0] > 0) | exact), dtype=np.bool_)


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


def fit_rulers(
    columns: list[FlowColumns], services: list[IntArray], keys: list[IntArray], *, size: int
) -> FloatArray:
    """Learn what the durations of services are measured by.

    Args:
        columns: Of each window.
        services: Service tokens of each window's flows.
        keys: int64 [F, C] of each window, what else equal flows have in common.
        size: Number of services.

    Returns:
        float64 [size, 2], power of the trip and median trip in ns, see `tables.ruler_ns`.
    """
    duration = np.concatenate([c.duration_ns for c in columns]).astype(np.float64)
    trip = np.concatenate([trips(c) for c in columns]).astype(np.float64)
    used = np.concatenate([(trips(c) > 0) & (c.totals[:, :2].sum(1) > 2) for c in columns])
    service = np.concatenate(services)[used]
    group = np.concatenate([service[:, None], np.concatenate(keys)[used]], axis=1)
    _, code = np.unique(group, axis=0, return_inverse=True)
    code = code.ravel()
    log_duration, log_trip = np.log(np.maximum(duration[used], 1)), np.log(trip[used])
    spread = [
        np.bincount(service, _scatter(log_duration - power * log_trip, code), minlength=size)
        for power in POWERS
    ]
    freedom = np.bincount(service, minlength=size) - np.bincount(
        service[np.unique(code, return_index=True)[1]], minlength=size
    )
    best = np.array(POWERS)[np.argmin(spread, axis=0)]
    rulers = np.ones((size, 2))
    rulers[freedom >= LEAST_FREEDOM, 0] = best[freedom >= LEAST_FREEDOM]
    for token in np.unique(service):
        rulers[token, 1] = np.median(trip[used][service == token])
    return rulers


def _scatter(values: FloatArray, code: IntArray) -> FloatArray:
    """Squared distance of each value from the mean of those with the same code: [M]."""
    count = np.maximum(np.bincount(code), 1)
    mean = np.bincount(code, values) / count
    return np.asarray((values - mean[code]) ** 2)
