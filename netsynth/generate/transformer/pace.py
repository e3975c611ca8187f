"""How fast packets of a flow may follow one another: no faster than any learned.

A flow whose gaps come out a little long has packets left and no time when its step or its own end
comes. Sent all at once they would be the largest burst of the trace. So each gap leaves those
behind it the time that as many packets took at the fastest.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.numbers import FloatArray
from netsynth.tables import EncodedTrace

LATE = 2.0  # how much longer than its duration's token a flow may take
RUNS = 20  # octaves of the packets of a run


def fastest_runs(traces: list[EncodedTrace], service_count: int) -> FloatArray:
    """Shortest time in which 2^i packets followed another one in a flow, by service.

    Args:
        traces: Windows.
        service_count: Sizes of the token field "service".

    Returns:
        float64 [services, RUNS] ns. A run is twice as long as its half at least, which is what is
        said of those longer than any seen; 0 for a service without runs.
    """
    fastest = np.full((service_count, RUNS), np.inf)
    for trace in traces:
        place = next(i for i, f in enumerate(trace.token_fields) if f.name == "service")
        flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
        service = trace.tokens[flow, place]
        for octave in range(RUNS):
            ahead = 1 << octave
            if ahead >= flow.size:
                break
            same = np.flatnonzero(flow[ahead:] == flow[:-ahead])
            if same.size == 0:
                break
            took = (trace.record_ns[same + ahead] - trace.record_ns[same]).astype(np.float64)
            np.minimum.at(fastest[:, octave], service[same], took)
    fastest[np.isinf(fastest[:, 0]), 0] = 0.0
    for octave in range(1, RUNS):
        double = 2 * fastest[:, octave - 1]
        known = np.isfinite(fastest[:, octave])
        fastest[:, octave] = np.where(known, np.maximum(fastest[:, octave], double), double)
    return fastest


def run_ns(fastest: Tensor, count: Tensor) -> Tensor:
    """Time that `count` further packets take at the fastest.

    Args:
        fastest: float64 [M, RUNS], rows of `fastest_runs`.
        count: int64 [M].

    Returns:
        float64 [M] ns, a sum over the powers of two that make up the count.
    """
    bits = (count.clamp(min=0)[:, None] >> torch.arange(RUNS, device=count.device)) & 1
    return (fastest * bits).sum(dim=1)
