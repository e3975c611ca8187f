"""Lanes that records are drawn in on a CPU, and what the levels above say of their flows."""

from __future__ import annotations

from typing import NamedTuple

from netsynth.generate.transformer.kernels import (
    borrowing,
)
from netsynth.generate.transformer.record_arrays import (
    RecordArrays,
)
from netsynth.generate.transformer.record_level import (
    KIND,
)
from netsynth.numbers import Array

FLOWS = 64  # flows side by side


class FlowsToDraw(NamedTuple):
    """What the levels above say of F flows."""

    vector: Array  # float32 [F, H], of `RecordLevel.flow_vector`
    service: Array  # int64 [F]
    stack: Array  # int64 [F], see `RecordLevel.stack`
    shape: Array  # int64 [F]
    totals: Array  # int64 [F, 4], packets and bytes, forward and reverse
    exact: Array  # bool [F, 2], whether the bytes are told exactly
    start_ns: Array  # float64 [F]
    end_ns: Array  # float64 [F]
    latest_ns: Array  # float64 [F], the flow ends before
    delays: Array  # float64 [F, 2], to the answer and on to the reply, -1 where none comes
    series_offsets: Array  # int64 [F + 1]
    step: Array  # int64 [S]
    values: Array  # int64 [S, 4]
    around: Array  # float32 [S, AROUND]
    streams: Array  # uint64 [F]
    offsets: Array  # int64 [F + 1], first record of each flow


class DrawnRows(NamedTuple):
    """Records, flow after flow."""

    tokens: Array  # int32 [N, 3], kind, length and window
    size_bytes: Array  # int64 [N]
    time_ns: Array  # float64 [N]


class Lanes(NamedTuple):
    """Flows being drawn, one a lane; the context of the next record of each."""

    flow: Array  # int64 [B], -1: none
    position: Array  # int64 [B]
    owed: Array  # int64 [B]
    left: Array  # int64 [B, 2]
    bytes_left: Array  # int64 [B, 2]
    step_left: Array  # int64 [B, 2]
    step_bytes: Array  # int64 [B, 2]
    row: Array  # int64 [B], of the series
    time: Array  # float64 [B]
    due: Array  # float64 [B], when the answer, then the reply is due, -1 once they came
    due_reply: Array  # int64 [B], 1: it is the reply
    first_reverse: Array  # int64 [B]
    low: Array  # float64 [B], smallest gap
    high: Array  # float64 [B], largest gap
    windows: Array  # int64 [B, 2], last TCP window in each direction, NOT_SET before
    lengths: Array  # int64 [B, 2], last length token plus 1 in each direction
    unheard: Array  # int64 [B, 2], segments not acknowledged yet in each direction
    history: Array  # int64 [B, R, 5], tokens + 1, newest first, 0: none
    base: Array  # float32 [B, W], what the flow itself adds to the state
    token: Array  # int64 [B, 4], of the record being drawn
    gap: Array  # float64 [B], its gap
    size: Array  # int64 [B], its payload
    tries: Array  # int64 [B], how often the flow, or its end, has been begun again
    strays: (
        Array  # int64 [B], 1: a kind came that never comes there, since the flow or its end began
    )


@borrowing
def answers_first(a: RecordArrays, lanes: Lanes, place: int) -> int:
    """1 where the record goes in the direction opposite to the flow's first one."""
    if lanes.position[place] == 0:
        return 0
    return int(a.kind_reverse[lanes.token[place, KIND]] != lanes.first_reverse[place])
