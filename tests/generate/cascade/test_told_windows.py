"""Windows that the cascade learns are told as such, and not by their change."""

from dataclasses import replace

import numpy as np
from generate_traces import office

from netsynth.encode.tcp_windows import decode_windows
from netsynth.generate.cascade.learned import _tcp_windows
from netsynth.numbers import fit_number_codec


def test_changes_become_the_windows_they_lead_to() -> None:
    """Token 1 lowers a window by 30, token 2 raises it by 7; behind them are those of 9, 70, 77
    and 100. What no direction can be told by is left: a window that stays, and a change of an
    unknown one."""
    _, trace = office()
    number = fit_number_codec(np.repeat([9.0, 70.0, 77.0, 100.0], 9), atom_count=4)
    assert number.atoms.tolist() == [9, 70, 77, 100]
    told = np.array([[-1, 0], [-1, -30], [-1, 7], [9, 0], [70, 0], [77, 0], [100, 0]])
    fields = list(trace.record_fields)
    fields[2] = replace(fields[2], size=7, windows=told, number=number)
    flow = int(np.flatnonzero(np.diff(trace.record_offsets) >= 8)[0])
    here = slice(trace.record_offsets[flow], trace.record_offsets[flow] + 8)
    reverse = trace.record_fields[0].groups["reverse"]
    kinds = np.array([np.flatnonzero(reverse == way)[0] for way in (0, 1)])
    records = np.zeros_like(trace.records)
    records[here, 0] = kinds[[0, 1, 0, 1, 0, 1, 0, 1]]
    records[here, 2] = [6, 2, 1, 5, 2, 0, 2, 2]
    made = _tcp_windows(replace(trace, record_fields=tuple(fields), records=records))
    # forward: 100, 70, 77, 84 (nearest 77); reverse: unknown, 77, same, 84
    assert made[here].tolist() == [6, 2, 4, 5, 5, 0, 5, 5]
    assert np.delete(made, np.arange(here.start, here.stop)).max() == 0


def test_windows_of_a_capture_are_as_they_were() -> None:
    """Told either way, packets of the office have the same windows, but for what bins round."""
    codec, trace = office()
    windows = trace.record_fields[2].windows
    assert windows is not None
    made = _tcp_windows(trace)
    assert (windows[made[made > 0], 0] >= 0).all()
    changes = (trace.records[:, 2] > 0) & (windows[trace.records[:, 2], 0] < 0)
    assert changes.any()
    assert (made == trace.records[:, 2])[~changes].all()
    kinds = trace.record_fields[0].groups
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    lane = flow * 2 + kinds["reverse"][trace.records[:, 0]]
    is_tcp = kinds["protocol"][trace.records[:, 0]] == 6
    closes = np.ones_like(codec.records.closes)
    again = trace.records.copy()
    again[:, 2] = made
    before, after = (
        decode_windows(windows, closes, records, lane, is_tcp)[is_tcp].astype(float)
        for records in (trace.records, again)
    )
    off = np.abs(after - before) / np.maximum(before, 1)
    assert np.median(off) == 0
    assert off.max() < 0.3
