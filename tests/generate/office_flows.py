"""Flows of the office capture whose records are drawn, through both ways of drawing them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from generate_traces import office

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.cpu_sampling import CpuRecords
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.record_drawing import draw_records
from netsynth.generate.transformer.record_level import RecordLevel
from netsynth.numbers import Array

SMALL = TransformerConfig(width=16, hidden=20, record_width=24, record_history=3)
Draw = Callable[[RecordLevel], DrawnRecords]


@cache
def office_flows(longest: int = 60) -> tuple[DrawnFlows, DrawnTotals, DrawnSeries]:
    """Flows of `longest` packets at most, without times of answers and replies; every other one
    does not scale windows."""
    trace = office()[1]
    some = np.flatnonzero(np.diff(trace.record_offsets) <= longest)
    tokens = torch.as_tensor(trace.tokens[some].astype(np.int64))
    opening = [f.name for f in trace.token_fields].index("opening_forward")
    tokens[:, opening] = torch.arange(some.size) % 2
    duration = torch.as_tensor(trace.duration_ns[some].astype(np.float64))
    none = torch.full_like(duration, -1.0)
    rows = np.concatenate([np.arange(*trace.series_offsets[i : i + 2]) for i in some])
    counts = np.diff(trace.series_offsets)[some]
    return (
        DrawnFlows(
            window=torch.zeros(some.size, dtype=torch.int64),
            start_ns=torch.as_tensor(trace.start_ns[some].astype(np.float64)),
            tokens=tokens,
        ),
        DrawnTotals(
            packets_and_bytes=torch.as_tensor(trace.totals[some]), answer_ns=none, reply_ns=none,
            duration_ns=duration, longest_ns=duration,
        ),
        DrawnSeries(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            step=trace.series_step[rows].astype(np.int64),
            values=trace.series_values[rows],
        ),
    )  # fmt: skip


def draw_on_torch(level: RecordLevel) -> DrawnRecords:
    """Draw the records of those flows through the network."""
    trace, random = office()[1], torch.Generator().manual_seed(2)
    size = {"window_ns": trace.window_ns, "step_count": trace.step_count}
    return draw_records(level, *office_flows(), **size, config=SMALL, random=random)


def draw_compiled(level: RecordLevel, *, retries: int = 5) -> DrawnRecords:
    """Draw the records of those flows through the compiled loop."""
    trace = office()[1]
    return CpuRecords(level).draw_records(
        *office_flows(), first_flow=0, window_ns=trace.window_ns, step_count=trace.step_count,
        seed=2, retries=retries,
    )  # fmt: skip


DRAWS: dict[str, Draw] = {"torch": draw_on_torch, "compiled": draw_compiled}


@dataclass
class Behind:
    """Columns of drawn records, int64 [N]."""

    flow: Array
    kind: Array  # plus 1, as all kinds
    last: Array  # 0 where there is none
    before: Array
    first: Array
    reverse: Array
    window: Array


def behind(level: RecordLevel, drawn: DrawnRecords) -> Behind:
    """What drawn records come behind."""
    flow = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets))
    kind = drawn.tokens[:, 0].astype(np.int64)
    earlier = []
    for back in (1, 2, 3):
        column = np.zeros_like(kind)
        column[back:] = np.where(flow[back:] == flow[:-back], kind[:-back] + 1, 0)
        earlier.append(column)
    reverse = level.kind_reverse.numpy()[kind].astype(np.int64)
    return Behind(flow, kind + 1, *earlier, reverse, drawn.tokens[:, 2].astype(np.int64))
