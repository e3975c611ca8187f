"""The shared record level: packets and times of flows whose steps are drawn."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import torch

from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.record_drawing import draw_records
from netsynth.generate.transformer.record_level import RecordLevel

Draw = Callable[[DrawnFlows, DrawnTotals, DrawnSeries, int], DrawnRecords]


def record_drawing(
    records: RecordLevel,
    layout: TraceLayout,
    config: TransformerConfig,
    *,
    seed: int,
    random: torch.Generator,
) -> Draw:
    """Return what draws the records of flows, given totals, steps and the first flow's number.

    On a CPU that is the compiled sampler, which has a random stream for each flow, by `seed` and
    the flow's number; elsewhere torch, by `random`.
    """
    if random.device.type == "cpu" and find_spec("numba") is not None:
        from netsynth.generate.transformer.cpu_sampling import CpuRecords  # late: imports numba

        compiled = CpuRecords(records).draw_records
        return lambda flows, totals, steps, first: compiled(
            flows, totals, steps, first_flow=first, seed=seed, window_ns=layout.window_ns,
            step_count=layout.step_count,
        )  # fmt: skip
    return lambda flows, totals, steps, _: draw_records(
        records, flows, totals, steps, window_ns=layout.window_ns, step_count=layout.step_count,
        config=config, random=random,
    )  # fmt: skip
