"""No run of packets is drawn faster than the fastest learned."""

import numpy as np
import torch
from generate_traces import office

from netsynth.generate.transformer.pace import RUNS, fastest_runs, run_ns
from netsynth.generate.transformer.record_data import record_context


def test_the_shortest_run_of_each_length_is_found() -> None:
    _, trace = office()
    place = [f.name for f in trace.token_fields].index("service")
    found = fastest_runs([trace], trace.token_fields[place].size)
    shortest: dict[tuple[int, int], int] = {}
    for flow in range(len(trace)):
        service = int(trace.tokens[flow, place])
        time = trace.record_ns[trace.record_offsets[flow] : trace.record_offsets[flow + 1]]
        for octave in range(RUNS):
            for first in range(time.size - (1 << octave)):
                took = int(time[first + (1 << octave)] - time[first])
                key = service, octave
                shortest[key] = min(shortest.get(key, took), took)
    assert len(shortest) > 20
    for (service, octave), took in shortest.items():
        assert found[service, octave] == took
        if octave + 1 < RUNS and (service, octave + 1) not in shortest:
            assert found[service, octave + 1] == 2 * took
    silent = sorted(set(range(found.shape[0])) - {service for service, _ in shortest})
    assert (found[silent] == 0).all()


def test_a_run_is_made_up_of_octaves() -> None:
    fastest = torch.arange(1.0, 1 + RUNS).double()[None].expand(4, -1)
    found = run_ns(fastest, torch.tensor([0, 1, 6, -1]))
    assert found.tolist() == [0.0, 1.0, 2.0 + 3.0, 0.0]


def test_true_gaps_leave_that_time_too() -> None:
    _, trace = office()
    place = [f.name for f in trace.token_fields].index("service")
    fastest = torch.as_tensor(fastest_runs([trace], trace.token_fields[place].size))
    context = record_context(trace, fastest, history=3, random=np.random.default_rng(0))
    nothing = torch.zeros_like(fastest)
    free = record_context(trace, nothing, history=3, random=np.random.default_rng(0))
    gaps = np.diff(trace.record_ns, prepend=0)
    gaps[trace.record_offsets[:-1]] = 0
    assert (gaps <= context.gap_high.numpy()).all()
    assert (context.gap_high <= free.gap_high + 1).all()
    assert (context.gap_high < free.gap_high).float().mean() > 0.3
