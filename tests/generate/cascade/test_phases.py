"""Two phases on a real capture: what is trained when, what reaches which level, what it gains."""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from functools import cache

import numpy as np
import pytest
import torch
from cascade_fits import SMALL, fresh
from generate_traces import SAMPLES, layout, office
from torch import Tensor
from torch.optim.optimizer import register_optimizer_step_post_hook

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.fitting import Fitting
from netsynth.generate.cascade.generator import CascadeGenerator
from netsynth.generate.cascade.kind_fit import fit_kinds, kind_loss
from netsynth.generate.cascade.networks import SEEN
from netsynth.generate.cascade.pairs import PAIRS, Batches, sliced_distance
from netsynth.generate.cascade.record_data import window_at
from netsynth.generate.cascade.training import Phase, phase_steps, train_phase
from netsynth.generate.transformer.training import FitControl

QUIET = FitControl(report=lambda *_: None, stop=lambda: False)


def weights(batches: Batches) -> dict[str, Tensor]:
    """Weights of each net, in one piece."""
    cascade = batches.cascade
    nets = {f"g {n}": cascade.generator(n) for n in PAIRS}
    nets |= {f"d {n}": cascade.critic(n) for n in PAIRS}
    return {
        name: torch.cat([p.detach().clone().flatten() for p in net.parameters()])
        for name, net in nets.items()
    }


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", PAIRS)
def test_phase_one_trains_one_pair_alone(name: str) -> None:
    _, batches = fresh()
    before = weights(batches)
    torch.manual_seed(0)
    train_phase(batches, (name,), config=SMALL, control=QUIET, most_steps=60)
    assert moved(before, weights(batches)) <= {f"g {name}", f"d {name}"}
    assert f"d {name}" in moved(before, weights(batches))


def test_kinds_are_learned_by_likelihood_first_unless_switched_off() -> None:
    config = dataclasses.replace(SMALL, max_epochs=12)
    _, batches = fresh(config)
    before = weights(batches)
    rows = batches.rows("records", held_out=True)
    with torch.no_grad():
        first = float(kind_loss(batches, rows))
    off = fit_kinds(batches, config=dataclasses.replace(config, kind_likelihood=0.0), control=QUIET)
    assert off.steps == 0
    torch.manual_seed(0)
    outcome = fit_kinds(batches, config=config, control=QUIET)
    assert moved(before, weights(batches)) == {"g records"}
    assert outcome.held_out_nats < 0.5 * first
    with torch.no_grad():
        assert float(kind_loss(batches, rows)) == pytest.approx(outcome.held_out_nats, rel=0.02)


def test_phase_two_trains_all_together() -> None:
    _, batches = fresh()
    before = weights(batches)
    phase = Phase(batches, PAIRS, alone=False, config=SMALL)
    torch.manual_seed(0)
    phase.step_critics()
    assert moved(before, weights(batches)) == {f"d {name}" for name in PAIRS}, "critics alone"
    phase.step_generators()
    assert moved(before, weights(batches)) == set(before)


@pytest.mark.parametrize("names", [("series",), PAIRS])
def test_a_generator_s_step_follows_as_many_critic_steps_as_set(names: tuple[str, ...]) -> None:
    """Steps are counted in the optimisers that a phase makes, by the weights they change."""
    _, batches = fresh()
    counts: Counter[int] = Counter()

    def count(optimiser: torch.optim.Optimizer, *_: object) -> None:
        counts[id(optimiser.param_groups[0]["params"][0])] += 1

    handle = register_optimizer_step_post_hook(count)
    try:
        config = dataclasses.replace(SMALL, critic_steps=4)
        train_phase(batches, names, config=config, control=QUIET, most_steps=5)
    finally:
        handle.remove()
    cascade = batches.cascade
    first_of = {id(next(cascade.critic(name).parameters())): name for name in PAIRS}
    critics = {first_of[key]: steps for key, steps in counts.items() if key in first_of}
    assert critics == dict.fromkeys(names, 5 * 4)
    assert counts[id(next(cascade.generator(names[0]).parameters()))] == 5


def test_a_few_flows_still_train_every_pair() -> None:
    """The paper's batch of 128 is more than there are: batches shrink, nothing is left out."""
    codec, trace = office()
    few = codec.encode(assemble_flows(read_capture(SAMPLES / "office.pcap")[0].take(
        np.arange(2000, 2600))), static=True)[0]  # fmt: skip
    assert 20 < len(few) < 0.5 * len(trace)
    generator = CascadeGenerator(layout=layout(), config=SMALL, seed=0)
    generator.fit([few], seed=0, stop=lambda: True)
    assert generator.learned is not None
    fit = Fitting(generator.learned, [few], SMALL, seed=0, device=torch.device("cpu"))
    before = weights(fit.batches)
    for name in PAIRS:
        train_phase(fit.batches, (name,), config=SMALL, control=QUIET, most_steps=60)
    assert moved(before, weights(fit.batches)) == set(before)


def test_a_fit_runs_level_0_each_pair_alone_then_all_and_resumes_behind_what_is_done() -> None:
    generator = CascadeGenerator(layout=layout(), config=SMALL, seed=0)
    order: list[str] = []

    def report(level: str, _share: float, _text: str) -> None:
        if order[-1:] != [level]:
            order.append(level)

    generator.fit(
        [office()[1]], seed=0, report=report, stop=lambda: "series" in order, minutes=0.001
    )
    assert order == ["starts", "tuples", "series"]
    assert list(generator.outcomes) == ["starts", "tuples"], "series is not done"
    order.clear()
    generator.fit([office()[1]], seed=0, report=report, minutes=0.001)
    assert order == ["series", "records", "joint"]
    assert list(generator.outcomes) == ["starts", "tuples", "series", "records", "joint"]


def test_no_weights_become_nan_in_silence() -> None:
    _, batches = fresh()
    batches.data.conditions[:] = torch.nan
    phase = Phase(batches, ("tuples",), alone=True, config=SMALL)
    with pytest.raises(ModelError, match="tuples: the critic's loss is nan; lower learning_rate"):
        phase.step_critics()


@pytest.mark.parametrize(("most", "alone", "together"), [(0, 900, 45), (60, 60, 3)])
def test_a_phase_ends_after_its_most_steps(most: int, alone: int, together: int) -> None:
    config = dataclasses.replace(SMALL, least_steps=900, most_steps=most)
    _, batches = fresh(config)
    assert phase_steps(batches, ("tuples",), config) == alone
    assert phase_steps(batches, PAIRS, config) == together  # joint_share 0.05 of that


def test_records_teach_the_levels_above_in_phase_two() -> None:
    """L3 alone has a gradient in G1 and G2: the cascade is one graph."""
    _, batches = fresh()
    torch.manual_seed(1)
    lasting = batches.data.spans[batches.data.flow] > 1
    rows = torch.nonzero(lasting)[:64, 0]
    batches.cascade.critic("records")(batches.made("records", rows, alone=False)).sum().backward()
    for name in PAIRS:
        grads = [p.grad for p in batches.cascade.generator(name).parameters()]
        assert any(g is not None and g.abs().sum() > 0 for g in grads), name
    batches.cascade.zero_grad()
    batches.cascade.critic("records")(batches.made("records", rows, alone=True)).sum().backward()
    assert all(p.grad is None for p in batches.cascade.g1.parameters()), "phase 1 stays apart"


def made_by(batches: Batches, conditions: Tensor) -> dict[str, Tensor]:
    """What each level makes of conditions of the same flows, with the same noise."""
    cascade, data = batches.cascade, batches.data
    lasting = torch.nonzero(data.spans > 1)[:16, 0]
    records = torch.arange(16)
    seed = torch.Generator().manual_seed
    with torch.no_grad():
        return {
            "tuples": cascade.make_tuples(conditions[lasting], seed(1)),
            "series": cascade.make_series(
                conditions[lasting], data.tuples[lasting], data.spans[lasting], seed(1)
            ),
            "records": cascade.read_records(
                conditions[data.flow[records]], data.tuples[data.flow[records]],
                torch.zeros(16, cascade.config.window_steps * 5), data.place.take(records),
                seed(1),
            )[1],
        }  # fmt: skip


@pytest.mark.parametrize("conditions", [True, False])
def test_conditions_reach_every_level_unless_switched_off(conditions: bool) -> None:
    config = CascadeConfig(
        width=16,
        critic_layers=2,
        generator_layers=1,
        series_width=8,
        noise=4,
        conditions=conditions,
    )
    _, batches = fresh(config)
    first = made_by(batches, batches.data.conditions)
    for column in range(batches.data.conditions.shape[1]):
        other = batches.data.conditions.clone()
        other[:, column] += 0.5
        second = made_by(batches, other)
        for name in PAIRS:
            same = torch.equal(first[name], second[name])
            assert same != conditions, f"condition {column} in {name}"


@pytest.mark.parametrize(
    "changes",
    [{"series_backbone": "gru"}, {"series_backbone": "mlp"}, {"record_backbone": "lstm"},
     {"zero_inflation": False}, {"series_steps": 20}],
)  # fmt: skip
def test_every_ablation_runs(changes: dict[str, object]) -> None:
    config = CascadeConfig(
        width=16, critic_layers=2, generator_layers=1, series_width=8, noise=4, batch=64,
        **changes,  # type: ignore[arg-type]
    )  # fmt: skip
    _, batches = fresh(config)
    for names in (("series",), ("records",), PAIRS):
        outcome = train_phase(batches, names, config=config, control=QUIET, most_steps=1)
        assert np.isfinite(outcome.best_distance)


@pytest.mark.parametrize(
    "changes",
    [{"series_steps": 19}, {"window_steps": 10}, {"series_backbone": "oracle"}, {"penalty": -1.0}],
)
def test_settings_out_of_range_are_named(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        CascadeConfig(**changes)  # type: ignore[arg-type]


def test_windows_of_active_steps_are_those_cut_out_of_the_whole_series() -> None:
    _, batches = fresh()
    data, width = batches.data, SMALL.window_steps
    rows = torch.arange(0, data.kind.numel(), 7)
    dense = window_at(batches.real_series(data.flow[rows]), data.step[rows], window=width)
    assert torch.equal(batches.windows.of(data.row[rows]), dense)
    assert (dense != 0).any(dim=1).all()
    beside = dense.view(-1, width, SEEN)[:, [0, 4, 6, 10]]
    assert (beside != 0).any(), "steps before and behind are seen, too"


def test_idle_steps_are_zero_in_every_channel() -> None:
    _, batches = fresh()
    net = batches.cascade.g2
    raw = torch.randn(5, 2 * net.chunk, 7)
    raw[:, :, 0] = 30.0
    raw[:, 3, 0] = -60.0  # off
    spans = torch.tensor([1, 4, 9, 16, 12])
    made = net.shape(raw, spans)
    assert (made[:, 3].abs() < 1e-20).all(), "no rate without activity"
    inside = torch.arange(2 * net.chunk) < spans[:, None]
    assert (made[~inside] == 0).all(), "nothing behind the flow's end"
    assert (made[inside & (torch.arange(2 * net.chunk) != 3)][:, 0] > 0.99).all()


def test_the_sliced_distance_of_a_shift_is_known() -> None:
    real = torch.randn(4000, 1, generator=torch.Generator().manual_seed(0))
    assert sliced_distance(real, real) == 0
    shifted = real + 0.5 * real.std()
    assert sliced_distance(real, shifted) == pytest.approx(0.5, abs=1e-4)


@cache
def trained() -> tuple[Batches, list[float], list[float]]:
    """Distances from held-out data before and after some seconds of training."""
    _, batches = fresh()
    before, after = [], []
    torch.manual_seed(3)
    for name in ("tuples", "records"):
        outcome = train_phase(batches, (name,), config=SMALL, control=QUIET, most_steps=120)
        before.append(outcome.first_distance)
        after.append(outcome.best_distance)
    return batches, before, after


def test_a_short_training_brings_samples_nearer_to_held_out_flows() -> None:
    batches, before, after = trained()
    assert after[0] < 0.8 * before[0]
    assert after[1] < 0.8 * before[1]
    for name, best in zip(("tuples", "records"), after, strict=True):
        now = Phase(batches, (name,), alone=True, config=SMALL).judge()
        assert now == pytest.approx(best, rel=1e-5), "the best weights are kept"


def test_weights_make_elephants_likelier() -> None:
    """Three times as likely, up to chance, where none would change nothing."""
    generator = CascadeGenerator(layout=layout(), config=SMALL, seed=0)
    stops: Iterator[bool] = iter([False] * 40 + [True] * 1000)
    generator.fit([office()[1]], seed=0, stop=lambda: next(stops))
    assert generator.learned is not None
    least = generator.learned.classes.elephant

    def share(weights: dict[str, float]) -> float:
        packets = np.concatenate(
            [w.totals[:, :2].sum(1) for w in generator.sample(6, seed=1, weights=weights)]
        )
        return float((packets >= least).mean())

    plain = share({})
    assert 0.002 < plain < 0.05
    assert 1.8 * plain < share({"elephant": 3.0}) < 4.5 * plain
    with pytest.raises(ConfigError, match="no class whale"):
        list(generator.sample(1, seed=0, weights={"whale": 2.0}))
    with pytest.raises(ConfigError, match="above 0"):
        list(generator.sample(1, seed=0, weights={"mouse": 0.0}))
