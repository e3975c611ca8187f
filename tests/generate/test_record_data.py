"""The context of records: what is due, and the pace of late."""

from dataclasses import replace

import numpy as np
import torch
from generate_traces import office

from netsynth.generate.transformer.pace import RUNS
from netsynth.generate.transformer.record_context import mean_payload
from netsynth.generate.transformer.record_data import (
    _drawn_bytes,
    _due_rows,
    _last_lengths,
    _recent,
    _windows,
    record_context,
)
from netsynth.tables import TCP


def test_answer_and_reply_are_found_by_hand() -> None:
    """Flow 0: out, out, back, back, out; flow 1: back, back; flow 2: back, out (its answer)."""
    flow = np.array([0, 0, 0, 0, 0, 1, 1, 2, 2])
    opposite = np.array([0, 0, 1, 1, 0, 0, 0, 0, 1]) > 0
    answer, reply = _due_rows(opposite, flow, 3)
    assert answer.tolist() == [2, 9, 8]
    assert reply.tolist() == [4, 9, 9]


def test_the_pace_of_late_is_a_mean_gap() -> None:
    """Gaps of 10 in one flow of 40 records: told from the tenth on for 8, the 34th for 32."""
    recent = _recent(np.arange(40) * 10, np.arange(40))
    assert (recent[:9, 0] == -1).all()
    assert (recent[9:, 0] == 10).all()
    assert (recent[:33, 1] == -1).all()
    assert (recent[33:, 1] == 10).all()
    assert (recent[:, 2] == -1).all()


def test_bytes_are_known_as_well_as_tokens_tell_them() -> None:
    _, trace = office()
    told, exact = _drawn_bytes(trace, np.random.default_rng(0))
    assert exact.mean() > 0.5
    assert (told == trace.totals[:, 2:])[exact].all()
    assert (told != trace.totals[:, 2:])[~exact].any()
    context = record_context(
        trace, torch.zeros(10_000, RUNS).double(), history=1, random=np.random.default_rng(0)
    )
    first = trace.record_offsets[:-1]
    assert (context.exact[first].numpy() == exact).all()
    assert (context.bytes_left[first].numpy() == told)[exact].all()


def test_windows_known_by_hand() -> None:
    """Two flows of 5 and 2 records; a flow knows nothing of the one before it.

    Token 1 lowers a window by 30, token 2 raises it by 7, tokens 3 and 4 set it to 100 and 9.
    """
    told = np.array([[-1, 0], [-1, -30], [-1, 7], [100, 0], [9, 0]])
    trace = office()[1]
    fields = list(trace.record_fields)
    fields[2] = replace(fields[2], size=5, windows=told)
    records = np.zeros_like(trace.records)
    records[:7, 2] = [3, 0, 4, 2, 1, 2, 3]
    trace = replace(trace, record_fields=tuple(fields), records=records)
    reverse, first = np.zeros((2, records.shape[0]), dtype=np.int64)
    reverse[:7] = [0, 1, 1, 0, 1, 0, 0]
    first[:7], first[7:] = [0] * 5 + [5] * 2, 7
    known = _windows(trace, reverse, first)[:7]
    assert known[:, 0].tolist() == [-1, 100, 100, 100, 107, -1, -1]
    assert known[:, 1].tolist() == [-1, -1, -1, 9, 9, -1, -1]


def test_windows_are_known_behind_the_first_of_a_direction() -> None:
    """In TCP alone; so losses never ask for the change of a window that is not known."""
    codec, trace = office()
    own = codec.records.window.windows()[trace.records[:, 2]]
    context = record_context(
        trace, torch.zeros(10_000, RUNS).double(), history=1, random=np.random.default_rng(0)
    )
    reverse = trace.record_fields[0].groups["reverse"][trace.records[:, 0]]
    tcp_kind = trace.record_fields[0].groups["protocol"][trace.records[:, 0]] == TCP
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    lane = flow * 2 + reverse
    _, first = np.unique(lane, return_index=True)
    begins = np.zeros(lane.size, dtype=np.bool_)
    begins[first] = True
    before = context.windows.numpy()[np.arange(lane.size), reverse]
    assert (before[begins | ~tcp_kind] == -1).all()
    assert (before[~begins & tcp_kind] >= 0).all()
    assert (own[begins & tcp_kind, 0] >= 0).all(), "nothing but a set window comes first"


def test_last_lengths_by_hand() -> None:
    """Kind 1 has data, kind 0 none, whatever its length token says. Two flows of 6 and 3 records,
    the first of which both directions send data in."""
    trace = office()[1]
    fields = list(trace.record_fields)
    fields[0] = replace(fields[0], size=2, groups={"payload": np.array([0, 1])})
    records = np.zeros_like(trace.records)
    records[:9, 0] = [1, 0, 1, 1, 0, 1, 0, 1, 1]
    records[:9, 1] = [7, 3, 5, 0, 9, 8, 4, 6, 2]
    trace = replace(trace, record_fields=tuple(fields), records=records)
    reverse, first = np.zeros((2, records.shape[0]), dtype=np.int64)
    reverse[:9] = [0, 0, 1, 0, 1, 1, 0, 0, 1]
    first[:9], first[9:] = [0] * 6 + [6] * 3, 9
    told = _last_lengths(trace, reverse, first)[:10]
    assert told[:, 0].tolist() == [0, 8, 8, 8, 1, 1, 0, 0, 7, 0]
    assert told[:, 1].tolist() == [0, 0, 0, 6, 6, 6, 0, 0, 0, 0]


def test_last_lengths_are_those_of_one_record_after_the_other() -> None:
    _, trace = office()
    context = record_context(
        trace, torch.zeros(10_000, RUNS).double(), history=1, random=np.random.default_rng(0)
    )
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    reverse = trace.record_fields[0].groups["reverse"][trace.records[:, 0]]
    last: dict[tuple[int, int], int] = {}
    expected = []
    for of, way, token, size in zip(
        flow, reverse, trace.records[:, 1], trace.record_bytes, strict=True
    ):
        expected.append([last.get((of, 0), 0), last.get((of, 1), 0)])
        if size > 0:
            last[of, way] = int(token) + 1
    assert context.lengths.tolist() == expected
    assert (np.array(expected) > 0).any(0).all()


def test_mean_payloads_by_hand() -> None:
    """1000 bytes in 4 packets; none left of either; more spent than there was; one huge packet."""
    size = torch.tensor([[1000, 0], [-7, 90_000], [3, 65_535]])
    count = torch.tensor([[4, 3], [2, 1], [0, 1]])
    forward, reverse = mean_payload(size, count)
    assert forward.tolist() == [250, 0, 3]
    assert reverse.tolist() == [0, 65_535, 65_535]
    assert forward.is_contiguous()  # torch warns where it looks up columns
    assert reverse.is_contiguous()
