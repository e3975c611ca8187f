"""Microbursts: what the load does within milliseconds, where seconds look calm."""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.report.fidelity import Figure
from netsynth.report.measure import distance_figures, figure_of
from netsynth.report.pair import Pair
from netsynth.report.samples import Measure, Sample, whole
from netsynth.report.trace import Trace

STEP_NS = 1_000_000
THRESHOLD = 0.5  # of the busiest millisecond
SHORTEST_S = 1.0  # of a trace that can be judged

MEASURES = (
    Measure(
        name="MBD",
        kind="emd",
        unit="ms",
        text="duration of a microburst",
        subject="microbursts",
        more="long",
        less="short",
        over_time=True,
    ),
    Measure(
        name="MTB",
        kind="emd",
        unit="ms",
        text="time between microbursts",
        subject="pauses between microbursts",
        more="long",
        less="short",
        over_time=True,
    ),
    Measure(
        name="MBS",
        kind="emd",
        unit="B",
        text="number of bytes of a microburst",
        subject="microbursts",
        over_time=True,
    ),
)


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure MBD, MTB and MBS, where both captures last a second or more."""
    side = pair.lacks(lambda trace: trace.duration_s >= SHORTEST_S)
    if side:
        note = f"lasts less than {SHORTEST_S:g} s"
        return [figure_of(m, "microbursts").unmeasured(side, note) for m in MEASURES], {}
    return distance_figures(
        pair, family="microbursts", measures=MEASURES, of_trace=microburst_samples
    )


def microburst_samples(trace: Trace) -> dict[str, Sample]:
    """Sample duration, distance and size of the microbursts of a trace.

    A microburst is a maximal run of milliseconds that each hold more than half the bytes of the
    busiest one, which stands for the link's capacity as far as the capture tells it.

    References:
        Zhang et al., "High-Resolution Measurement of Data Center Microbursts", IMC 2017,
        section 5.1 (half the capacity).
    """
    packets = trace.packets
    if len(packets) == 0:
        return {measure.name: whole(np.zeros(0)) for measure in MEASURES}
    step, cell = np.unique((packets.time_ns - packets.time_ns[0]) // STEP_NS, return_inverse=True)
    load = np.bincount(cell, packets.ip_length)  # bytes of each millisecond that has any
    hot = load > THRESHOLD * load.max()
    step, load = step[hot], load[hot]
    starts = np.flatnonzero(np.append(True, np.diff(step) > 1))
    ends = np.append(starts[1:], step.size) - 1
    return {
        "MBD": whole((step[ends] - step[starts] + 1).astype(np.float64)),
        "MTB": whole((step[starts][1:] - step[ends][:-1] - 1).astype(np.float64)),
        "MBS": whole(np.add.reduceat(load, starts)),
    }
