"""Flows faster than any learned one are left out."""

from __future__ import annotations

import dataclasses

import numpy as np

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.encode import EncodeConfig, fit_codec
from netsynth.generate.transformer.limits import (
    directed_rates,
    fastest_rates,
    keep_flows,
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
    rest = keep_flows(squeezed, kept)
    assert len(rest) == len(trace) - 1
    assert rest.records.shape[0] == trace.records.shape[0] - (rows.stop - rows.start)
    assert int(rest.series_values[:, :2].sum()) == rest.records.shape[0]
