"""Flows faster than any learned one are slowed down, or left out."""

from __future__ import annotations

import dataclasses

import numpy as np
from generate_traces import check_trace

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.encode import EncodeConfig, fit_codec
from netsynth.generate.transformer.limits import (
    OCTAVES,
    directed_rates,
    fastest_rates,
    slow_down,
    take_flows,
    within_limits,
)
from netsynth.tables import EncodedTrace


def office_trace() -> EncodedTrace:
    packets, _ = read_capture("sample_pcaps/office.pcap")
    flows = assemble_flows(packets.take(np.arange(3000)))
    return fit_codec([flows], config=EncodeConfig(), seed=0).encode(flows)[0]


def test_rates_are_bytes_over_the_time_of_the_direction() -> None:
    trace = office_trace()
    octave, rate = directed_rates(trace)
    flow = int(np.argmax(trace.totals[:, 1]))
    rows = slice(int(trace.record_offsets[flow]), int(trace.record_offsets[flow + 1]))
    kinds = trace.record_fields[0].groups["reverse"][trace.records[rows, 0]]
    times, sizes = trace.record_ns[rows][kinds == 1], trace.record_bytes[rows][kinds == 1]
    expected = sum(int(s) + 40 for s in sizes) / ((int(times[-1]) - int(times[0])) / 1e9)
    assert np.isclose(rate[flow, 1], expected)
    assert octave[flow, 1] == len(times).bit_length() - 1


def test_learned_flows_are_within_their_own_limits() -> None:
    trace = office_trace()
    assert within_limits(trace, fastest_rates([trace])).all()


def test_a_flow_squeezed_into_a_microsecond_is_left_out() -> None:
    trace = office_trace()
    fastest = fastest_rates([trace])
    flow = int(np.argmax(np.diff(trace.record_offsets)))
    rows = slice(int(trace.record_offsets[flow]), int(trace.record_offsets[flow + 1]))
    times = trace.record_ns.copy()
    times[rows] = times[rows.start] + np.arange(rows.stop - rows.start)
    squeezed = dataclasses.replace(trace, record_ns=times)
    kept = within_limits(squeezed, fastest)
    assert np.flatnonzero(~kept).tolist() == [flow]
    rest = take_flows(squeezed, np.flatnonzero(kept))
    assert len(rest) == len(trace) - 1
    assert rest.records.shape[0] == trace.records.shape[0] - (rows.stop - rows.start)
    assert int(rest.series_values[:, :2].sum()) == rest.records.shape[0]


def test_a_flow_that_is_too_fast_is_slowed_down_to_the_fastest_learned() -> None:
    trace = office_trace()
    fastest = fastest_rates([trace])
    flow = int(np.argmax(np.diff(trace.record_offsets)))
    rows = slice(int(trace.record_offsets[flow]), int(trace.record_offsets[flow + 1]))
    times = trace.record_ns.copy()
    times[rows] = times[rows.start] + 1000 * np.arange(rows.stop - rows.start)
    slowed = slow_down(dataclasses.replace(trace, record_ns=times), fastest)
    assert len(slowed) == len(trace)
    assert within_limits(slowed, fastest).all()
    octave, rate = directed_rates(slowed)
    assert np.isclose((rate[flow] / fastest[octave[flow]]).max(), 1, rtol=0.01)
    others = np.ones(times.size, dtype=np.bool_)
    others[rows] = False
    assert (slowed.record_ns[others] == trace.record_ns[others]).all()
    assert (slowed.series_values.sum(axis=0) == trace.series_values.sum(axis=0)).all()
    check_trace(slowed)
    assert slow_down(trace, fastest) is trace


def test_a_flow_without_the_time_it_takes_begins_earlier() -> None:
    trace = office_trace()
    fastest = fastest_rates([trace])
    flow = int(np.argmax(np.diff(trace.record_offsets)))
    rows = slice(int(trace.record_offsets[flow]), int(trace.record_offsets[flow + 1]))
    times, starts = trace.record_ns.copy(), trace.start_ns.copy()
    count = rows.stop - rows.start
    times[rows] = trace.window_ns - count + np.arange(count)
    starts[flow] = times[rows.start]
    order = np.argsort(starts, kind="stable")
    late = take_flows(dataclasses.replace(trace, record_ns=times, start_ns=starts), order)
    assert late.start_ns[-1] >= trace.window_ns - count
    slowed = slow_down(late, fastest)
    assert len(slowed) == len(trace)
    check_trace(slowed)
    assert within_limits(slowed, fastest).all()
    assert (slowed.start_ns + slowed.duration_ns).max() == trace.window_ns - 1


def test_a_flow_with_two_packets_too_close_has_them_at_equal_distances() -> None:
    """All of a flow's packets at its start but the last, which comes when it did."""
    trace = office_trace()
    fastest = fastest_rates([trace])
    flow = int(np.argmax(trace.duration_ns))
    rows = slice(int(trace.record_offsets[flow]), int(trace.record_offsets[flow + 1]) - 1)
    times = trace.record_ns.copy()
    times[rows] = times[rows.start]
    times[rows.stop - 1] += 1
    slowed = slow_down(dataclasses.replace(trace, record_ns=times), fastest)
    assert len(slowed) == len(trace)
    check_trace(slowed)
    gaps = np.diff(slowed.record_ns[rows.start : rows.stop + 1])
    assert gaps.max() - gaps.min() <= 1
    assert slowed.record_ns[rows.stop] == trace.record_ns[rows.stop]


def test_a_flow_that_is_too_fast_at_any_distance_is_left_out() -> None:
    trace = office_trace()
    flow = int(np.argmax(np.diff(trace.record_offsets)))
    octave, rate = directed_rates(trace)
    fastest = np.full(OCTAVES, np.inf)
    fastest[octave[flow]] = rate[flow] * trace.duration_ns[flow] / trace.window_ns / 2
    slowed = slow_down(trace, fastest)
    assert len(slowed) < len(trace)
    check_trace(slowed)
