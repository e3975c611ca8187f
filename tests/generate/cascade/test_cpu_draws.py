"""The compiled loops of a CPU against the same loops through torch, chance taken out."""

import dataclasses

import numpy as np
import pytest
import torch
from cascade_fits import SMALL, fresh
from generate_traces import fill_weights, layout, office
from scipy.stats import kstest

from netsynth.generate.cascade import record_kernel, record_places, start_kernel
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.flow_data import Series, flow_states
from netsynth.generate.cascade.learned import Learned
from netsynth.generate.cascade.networks import SEEN
from netsynth.generate.cascade.number_maps import fit_number_maps
from netsynth.generate.cascade.pairs import Batches
from netsynth.generate.cascade.plan import FlowsLeft
from netsynth.generate.cascade.record_lanes import RecordRequest, draw_side_by_side
from netsynth.generate.cascade.record_rules import KindRules
from netsynth.generate.cascade.start_drawing import StartRequest, draw_step_by_step
from netsynth.generate.transformer.field_arrays import as_float32
from netsynth.generate.transformer.kernels import seed_streams

CPU = torch.device("cpu")
SURE = 3e3  # logits times this leave nothing to chance


def random_kinds(learned: Learned, batches: Batches, seed: int) -> None:
    """Weights of G3 that choose surely, and one kind here and another there."""
    torch.manual_seed(seed)
    net, data = learned.cascade.g3, batches.data
    rows = torch.arange(0, data.kind.numel(), 3)
    flow = data.flow[rows]
    with torch.no_grad():
        first = next(m for m in net.body.modules() if isinstance(m, torch.nn.Linear))
        first.weight[:, -net.noise :] = 0  # no chance
        first.weight[:, : -net.noise] *= 5
        window = torch.zeros(rows.numel(), net.window * SEEN)
        state, _ = learned.cascade.read_records(
            data.conditions[flow], data.tuples[flow], window, data.place.take(rows)
        )
        net.kinds.weight.normal_()
        net.kinds.weight *= SURE
        net.kinds.bias[:] = -net.kinds.weight @ state.mean(0)


def request(learned: Learned, batches: Batches) -> RecordRequest:
    """The flows of the office capture, to be drawn again."""
    trace, data = office()[1], batches.data
    kind = layout().record_fields[0]
    service = next(f for f in layout().token_fields if f.name == "service")
    series: Series = data.series
    return RecordRequest(
        cascade=learned.cascade, scales=learned.scales, rules=KindRules.of(kind, CPU),
        maps=fit_number_maps(batches, seed=0), totals=trace.totals,
        offsets=trace.record_offsets, series=series,
        conditions=data.conditions, tuples=data.tuples,
        windows=batches.windows.of(torch.arange(series.step.size)),
        service=data.service,
        protocol=torch.as_tensor(service.groups["protocol"][trace.tokens[:, 1]]),
        state=torch.as_tensor(flow_states(trace)), random=torch.Generator().manual_seed(0),
    )  # fmt: skip


CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, record_backbone="lstm", generator_layers=1),
    dataclasses.replace(SMALL, conditions=False, generator_layers=3, record_history=1),
]


@pytest.mark.parametrize("config", CONFIGS, ids=["mlp", "lstm", "no conditions"])
def test_compiled_records_are_those_of_torch(config: CascadeConfig) -> None:
    learned, batches = fresh(config)
    random_kinds(learned, batches, seed=5)
    asked = request(learned, batches)
    kind, size, gap = draw_side_by_side(asked)
    own_kind, own_size, own_gap = record_kernel.draw_compiled(asked)
    assert np.unique(kind).size > 10, "what is compared must differ"
    flow = np.repeat(np.arange(asked.offsets.size - 1), np.diff(asked.offsets))
    odd = np.unique(flow[kind != own_kind])  # a rounded payload may tip all that follows in a flow
    assert odd.size < 0.04 * (asked.offsets.size - 1)
    same = ~np.isin(flow, odd)
    assert (np.abs(size - own_size)[same] <= 1).mean() > 0.999
    assert np.abs(gap - own_gap)[same].max() < 1e-2


def test_records_do_not_depend_on_the_number_of_threads() -> None:
    learned, batches = fresh()
    asked = request(learned, batches)
    threads = torch.get_num_threads()
    drawn = []
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            asked.random.manual_seed(7)
            drawn.append(record_kernel.draw_compiled(asked))
    finally:
        torch.set_num_threads(threads)
    for one, other in zip(*drawn, strict=True):
        assert np.array_equal(one, other)


def test_compiled_noise_is_normal_and_fresh() -> None:
    learned, _ = fresh()
    rules = KindRules.of(layout().record_fields[0], CPU)
    normal = record_kernel.pack_records(learned.cascade, learned.scales, rules, learned.maps).normal
    noise = np.zeros((400, 64), dtype=np.float32)
    streams = seed_streams(1, np.arange(2))
    for row in noise:
        record_places.draw_noise(normal, streams, 1, row)
    assert kstest(noise.ravel(), "norm").pvalue > 0.001
    assert np.abs(np.corrcoef(noise.T) - np.eye(64)).max() < 0.25  # deviation 0.05


def sure_starts(learned: Learned, seed: int) -> None:
    """Weights of level 0 that choose surely; gaps without spread."""
    torch.manual_seed(seed)
    level = learned.starts
    fill_weights(level.skeleton.heads, std=100 * SURE)  # near numbers are nearly as likely
    gap = level.number("gap")
    gap.rows[:] = gap.rows.mean(dim=1, keepdim=True)


def start_request(learned: Learned, *, planned: bool) -> StartRequest:
    asked = StartRequest(
        window_ns=layout().window_ns, random=torch.Generator().manual_seed(0), flow_limit=60,
        boosts=learned.calibration.add_to({}, device=CPU), pace=0.7,
    )  # fmt: skip
    if planned:
        plan = np.concatenate([learned.plans.counts // 4, learned.plans.counts // 3])
        asked.left = FlowsLeft(learned.plans, plan, device=CPU)
    else:
        asked.begins = torch.tensor([0.0, 2e9], dtype=torch.float64)
        asked.until = torch.tensor([1e9, 3e9], dtype=torch.float64)
    return asked


@pytest.mark.parametrize("planned", [True, False])
def test_compiled_starts_are_those_of_torch(planned: bool) -> None:
    learned, _ = fresh()
    sure_starts(learned, seed=2)
    drawn = []
    for draw in (draw_step_by_step, start_kernel.draw_skeletons):
        parts = draw(learned.starts, 2, start_request(learned, planned=planned))
        order = np.argsort(parts[0].numpy(), kind="stable")
        drawn.append([part.numpy()[order] for part in parts])
    (window, start, tokens, state), own = drawn
    assert len(window) > 50
    assert np.unique(tokens, axis=0).shape[0] > 10, "what is compared must differ"
    same = min(len(window), len(own[0]))
    assert np.array_equal(window[:same], own[0][:same])
    assert np.array_equal(tokens[:same], own[2][:same])
    assert np.allclose(start[:same], own[1][:same], rtol=1e-9)
    assert np.allclose(state[:same], own[3][:same], atol=1e-4)
    assert len(window) == len(own[0])


def test_a_plan_is_drawn_to_its_last_flow_without_replacement() -> None:
    """Whatever the net prefers: here it is as good as sure of one size."""
    learned, _ = fresh()
    sure_starts(learned, seed=3)
    asked = start_request(learned, planned=True)
    assert asked.left is not None
    plan = as_float32(asked.left.left)
    window, _, tokens, _ = start_kernel.draw_skeletons(learned.starts, 2, asked)
    made = np.zeros_like(plan)
    octaves = learned.plans.forward[tokens[:, 2]], learned.plans.reverse[tokens[:, 3]]
    np.add.at(made, (window.numpy(), *octaves), 1)
    assert np.array_equal(made, plan)
