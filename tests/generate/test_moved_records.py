"""The series of windows whose records a timer took to other steps."""

import dataclasses

import numpy as np
from generate_traces import check_trace, office

from netsynth.generate.transformer.windows import count_again
from netsynth.tables import EncodedTrace


def moved(trace: EncodedTrace, flows: np.ndarray, steps: int) -> EncodedTrace:
    """The trace with the last record of `flows` so many steps later."""
    time = trace.record_ns.copy()
    time[trace.record_offsets[flows + 1] - 1] += int(steps * trace.window_ns / trace.step_count)
    return dataclasses.replace(trace, record_ns=time)


def rows_of(trace: EncodedTrace, flow: int) -> list[list[int]]:
    part = slice(trace.series_offsets[flow], trace.series_offsets[flow + 1])
    return np.column_stack([trace.series_step[part], trace.series_values[part]]).tolist()


def test_a_window_whose_records_are_in_their_steps_stays_what_it_is() -> None:
    trace = office()[1]
    assert count_again(trace) is trace


def test_the_series_of_moved_records_says_where_they_are() -> None:
    """By hand: the row that the last record was in has one packet and its bytes less, and there
    is a row for it alone two steps on; flows that kept their times keep their rows."""
    trace = office()[1]
    of = trace.series_step[trace.series_offsets[1:] - 1]
    many = np.diff(trace.record_offsets) > 3
    flows = np.flatnonzero(many & (of < trace.step_count - 3))[::2]
    assert 20 < flows.size < len(trace) - 20
    again = count_again(moved(trace, flows, 2))
    check_trace(again)
    reverse = trace.record_fields[0].groups["reverse"][trace.records[:, 0]]
    for flow in range(len(trace)):
        rows = rows_of(trace, flow)
        if flow in flows:
            last = trace.record_offsets[flow + 1] - 1
            cell = [0, 0, 0, 0, 0]
            cell[1 + reverse[last]], cell[3 + reverse[last]] = 1, int(trace.record_bytes[last])
            rest = [value - other for value, other in zip(rows[-1], cell, strict=True)]
            begins = [rest] if rest[1] + rest[2] else []
            rows = [*rows[:-1], *begins, [rows[-1][0] + 2, *cell[1:]]]
        assert rows_of(again, flow) == rows


def test_bytes_that_records_miss_are_spread_by_what_they_hold() -> None:
    """Totals of twice and of half the bytes, and of some where records have none."""
    trace = office()[1]
    flows = np.flatnonzero(trace.series_step[trace.series_offsets[1:] - 1] < trace.step_count - 3)
    for factor in (2, 0.5, 0):
        size = (trace.record_bytes * factor).astype(trace.record_bytes.dtype)
        again = count_again(dataclasses.replace(moved(trace, flows, 1), record_bytes=size))
        check_trace(again)
    one = next(f for f in flows if np.diff(trace.record_offsets)[f] > 3)
    assert rows_of(again, one)[-1][3:] == trace.totals[one, 2:].tolist(), "all in the last step"
