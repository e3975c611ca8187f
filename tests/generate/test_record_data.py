"""The context of records: what is due, and the pace of late."""

import numpy as np
import torch
from generate_traces import office

from netsynth.generate.transformer.pace import RUNS
from netsynth.generate.transformer.record_data import (
    _drawn_bytes,
    _due_rows,
    _recent,
    _windows,
    record_context,
)


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


def test_windows_told_last_by_hand() -> None:
    """Two flows of 5 and 2 records; a flow knows nothing of the one before it."""
    tokens = np.array([7, 0, 9, 3, 0, 0, 5])
    reverse = np.array([0, 1, 1, 0, 0, 0, 1])
    first = np.array([0] * 5 + [5] * 2)
    told = _windows(tokens, reverse, first)
    assert told[:, 0].tolist() == [0, 7, 7, 7, 3, 0, 0]
    assert told[:, 1].tolist() == [0, 0, 0, 9, 9, 0, 0]
