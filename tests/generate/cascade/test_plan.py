"""Plans of sizes, and level 0 drawing without replacement from them."""

import numpy as np
import pytest
import torch
from cascade_fits import fresh

from netsynth.generate.cascade.calibration import no_calibration
from netsynth.generate.cascade.data import hold_out
from netsynth.generate.cascade.drawing import flows_of_tokens
from netsynth.generate.cascade.plan import (
    NEVER,
    FlowsLeft,
    SizePlans,
    fit_size_plans,
    log_weight,
    round_evenly,
)
from netsynth.generate.cascade.start_drawing import (
    StartRequest,
    draw_skeletons,
    draw_starts,
    fill_windows,
)
from netsynth.generate.transformer.limits import shortest_ns

CPU = torch.device("cpu")
# tokens 0, 1, 2 stand for numbers of octaves 0, 1, 1
OCTAVES = np.array([0, 1, 1])


def plans() -> SizePlans:
    windows = [np.array([[0, 0], [0, 0], [1, 0], [2, 1]]), np.array([[0, 1]])]
    return fit_size_plans(windows, [0.5, 0.9], forward=OCTAVES, reverse=OCTAVES)


def test_a_plan_counts_flows_by_octave_either_way() -> None:
    assert plans().counts.tolist() == [[[2, 0], [1, 1]], [[0, 1], [0, 0]]]
    assert plans().ends.tolist() == [0.5, 0.9]
    again = SizePlans.from_arrays(plans().to_arrays())
    assert np.array_equal(again.counts, plans().counts)


def test_of_many_windows_an_even_choice_is_kept() -> None:
    windows = [np.tile([[0, 0]], (k, 1)) for k in range(1, 65)]
    kept = fit_size_plans(windows, [0.0] * 64, forward=OCTAVES, reverse=OCTAVES)
    assert kept.counts[:, 0, 0].tolist() == list(range(1, 65, 2))


def test_rounding_keeps_the_sum_and_each_cell_s_mean() -> None:
    plan = np.tile(np.array([[0.25, 0.5], [2.75, 0.5]]), (4000, 1, 1))
    rounded = round_evenly(plan, np.random.default_rng(0))
    assert np.array_equal(rounded, np.round(rounded))
    assert set(rounded.sum(axis=(1, 2)).tolist()) == {4.0}  # the sum is whole already
    assert np.allclose(rounded.mean(axis=0), plan[0], atol=0.04)  # deviation 0.008


def test_weights_move_flows_between_octaves_but_not_their_number() -> None:
    weight = np.array([[1.0, 1.0], [1.0, 9.0]])
    rng = np.random.default_rng(1)
    one = fit_size_plans([np.array([[0, 0]] * 90 + [[1, 1]] * 10)], [1.0], forward=OCTAVES,
                         reverse=OCTAVES)  # fmt: skip
    drawn, _ = one.draw(400, rng, weight=weight)
    assert np.allclose(drawn.mean(axis=0), [[50, 0], [0, 50]], atol=0.6)  # 90 x 1 to 10 x 9
    cell = one.cell_weight(np.array([[0, 0], [1, 1]]), np.array([90, 10]), np.array([1.0, 9.0]))
    assert cell.tolist() == weight.tolist()


def test_what_is_left_weighs_by_the_learned_share() -> None:
    left = FlowsLeft(plans(), np.array([[[1.0, 0.0], [0.0, 3.0]]]), device=CPU)
    forward = left.weigh("packets_forward", torch.zeros(1, 2, dtype=torch.int64))
    assert forward is not None
    # of five learned flows three are of octave 0: a fourth is left for three fifths, and so on
    assert forward[0].exp().tolist() == pytest.approx([0.25 / 0.6, 0.75 / 0.4, 0.75 / 0.4])
    reverse = left.weigh("packets_reverse", torch.tensor([[7, 7, 2]]))
    assert reverse is not None
    assert reverse[0, 0] == NEVER
    assert reverse[0, 1].exp().item() == pytest.approx(1 / 0.5)
    assert left.weigh("gap", torch.zeros(1, 0)) is None
    left.take(torch.tensor([2]), torch.tensor([1]))
    assert left.left.tolist() == [[[1, 0], [0, 2]]]
    assert not left.over().any()
    assert log_weight(torch.zeros(1), torch.ones(1)).item() == NEVER


def test_starts_fill_their_window() -> None:
    start = torch.tensor([0.0, 10.0, 40.0, 0.0, 30.0], dtype=torch.float64)
    window = torch.tensor([0, 0, 0, 1, 1])
    filled = fill_windows(window, start, torch.tensor([80.0, 15.0], dtype=torch.float64))
    assert filled.tolist() == [0, 20, 80, 0, 15]


def test_level_0_draws_its_plan_to_the_last_flow_inside_of_the_window() -> None:
    """Even an untrained one."""
    learned, _ = fresh()
    plan, ends = learned.plans.draw(3, np.random.default_rng(2))
    window_ns, random = 10**10, torch.Generator().manual_seed(0)
    fastest = torch.as_tensor(learned.fastest)
    request = StartRequest(
        window_ns=window_ns, random=random, left=FlowsLeft(learned.plans, plan, device=CPU),
        ends=torch.as_tensor(ends), fastest=fastest,
        boosts=no_calibration(learned.codecs).add_to({}, device=CPU),
    )  # fmt: skip
    window, start, tokens = draw_starts(learned.starts, 3, request)
    drawn = np.zeros_like(plan)
    octave = learned.plans.forward[tokens[:, 2]], learned.plans.reverse[tokens[:, 3]]
    np.add.at(drawn, (window.numpy(), *octave), 1.0)
    assert np.array_equal(drawn, plan)
    flows = flows_of_tokens(
        learned.starts, window, start, tokens, window_ns=window_ns,
        step_count=learned.step_count, largest_payload=learned.largest_payload,
        fastest=learned.fastest, random=random,
    )  # fmt: skip
    assert (flows.start_ns >= 0).all()
    assert (flows.start_ns + flows.duration_ns < window_ns).all()
    least = shortest_ns(torch.as_tensor(flows.totals), fastest).numpy().clip(max=window_ns - 1)
    assert (flows.duration_ns >= np.floor(least)).all()


def test_the_flow_that_carries_nearly_all_packets_is_learned_from() -> None:
    packets = np.array([5, 1, 2, 40_000, 3, 1, 1, 2, 5, 4, 1, 3])
    for seed in range(30):
        held = hold_out(packets, share=0.1, rng=np.random.default_rng(seed))
        assert held.sum() == 1
        assert not held[3]
    assert not hold_out(np.array([9]), share=0.1, rng=np.random.default_rng(0)).any()
    many = hold_out(np.ones(6400, np.int64), share=0.1, rng=np.random.default_rng(0))
    assert many.sum() == 640
    assert (many.reshape(-1, 32).sum(axis=1) % 32 == 0).all(), "in blocks"


def test_parts_of_a_window_begin_and_end_where_they_should() -> None:
    learned, _ = fresh()
    begins = torch.tensor([0.0, 4e9, 8e9], dtype=torch.float64)
    request = StartRequest(
        window_ns=10**10, random=torch.Generator().manual_seed(0), flow_limit=50, begins=begins,
        until=begins + 2e9,
    )  # fmt: skip
    part, start, skeleton, _ = draw_skeletons(learned.starts, 3, request)
    assert set(part.tolist()) == {0, 1, 2}
    assert (start >= begins[part]).all()
    assert (start < begins[part] + 2e9).all()
    assert skeleton.shape == (part.numel(), 4)
