"""Plans of windows: what is left of them, and that no more is drawn than they hold."""

import numpy as np
import pytest
import torch
from generate_traces import layout, office

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.flow_fit import CHUNK, flow_data
from netsynth.generate.transformer.flow_level import FlowLevel
from netsynth.generate.transformer.plan import Left, Plans, counts_before, left_after
from netsynth.generate.transformer.sampling import (
    DrawnFlows,
    DrawnTotals,
    draw_flows,
    draw_lasting_ns,
    draw_totals,
    fit_to_room,
    fit_to_window,
)
from netsynth.steps import REST

SMALL = TransformerConfig(width=16, hidden=16, layers=1, heads=2, flow_context=8)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def level() -> FlowLevel:
    torch.manual_seed(0)
    made = FlowLevel(layout().token_fields, SMALL).eval()
    trace = office()[1]
    data = flow_data(made.plans, trace, share=0.1, random=np.random.default_rng(0), device=CPU)
    made.plans.learn([data.plan], [0.9])
    made.set_counts(data.tokens, choose=False)
    return made


def test_what_is_left_by_hand() -> None:
    """Of 3, 1 and 2 flows, after one of class 0, one of 2 and one of 0."""
    left = left_after(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0, 2, 0]))
    assert left.tolist() == [[2, 1, 2], [2, 1, 1], [1, 1, 1]]


def test_counts_before_every_second_flow_by_hand() -> None:
    counts = counts_before(torch.tensor([0, 2, 2, 1, 0]), 3, every=2)
    assert counts.tolist() == [[0, 0, 0], [1, 0, 1], [1, 1, 2]]


def test_the_whole_plan_is_left_at_the_start_and_nothing_at_the_end(level: FlowLevel) -> None:
    trace = office()[1]
    plans = level.plans
    data = flow_data(plans, trace, share=0.1, random=np.random.default_rng(0), device=CPU)
    assert data.plan.sum() == len(trace)
    _, _, first, _, _ = data.chunk(plans, 0, 5)
    total = plans.width - 2  # the place of the log of all that is left
    width = first.numel() - plans.width
    assert float(first[width + total]) == pytest.approx(np.log1p(len(trace)) / 4)
    at = len(trace) - 5
    _, situation, _, _, real = data.chunk(plans, at, 5)
    assert bool(real.all())
    left = [len(trace) - 1 - row for row in range(at - 1, at + 5)]
    assert situation[:, width + total].tolist() == pytest.approx((np.log1p(left) / 4).tolist())


def test_chunks_count_alike_wherever_they_start(level: FlowLevel) -> None:
    """Row 150 is told the same in a chunk that starts at 140 as in one that starts at 60."""
    trace = office()[1]
    assert 60 < CHUNK < 140 < len(trace)
    data = flow_data(level.plans, trace, share=0.1, random=np.random.default_rng(0), device=CPU)
    one = data.chunk(level.plans, 140, 20)[1][11]
    other = data.chunk(level.plans, 60, 120)[1][91]
    assert torch.equal(one, other)


def test_drawn_plans_are_whole_and_close_to_the_learned(level: FlowLevel) -> None:
    random = torch.Generator().manual_seed(1)
    drawn, ends = level.plans.draw(200, random)
    assert (ends == 0.9).all()
    learned = level.plans.counts[0]
    assert torch.equal(drawn, drawn.round())
    assert bool((drawn[:, learned == 0] == 0).all())
    assert torch.allclose(drawn.mean(0), learned, atol=0.2, rtol=0.02)


def test_no_more_is_drawn_than_the_plan_holds(level: FlowLevel) -> None:
    """An untrained network draws from the counts alone, far from any order: the plan holds."""
    flows = draw_flows(
        level, window_count=3, window_ns=layout().window_ns,
        random=torch.Generator().manual_seed(2), flow_limit=100_000,
    )  # fmt: skip
    learned = level.plans.counts[0]
    for window in range(3):
        tokens = flows.tokens[flows.window == window]
        made = level.plans.count(level.plans.classes(tokens))
        assert bool((made <= torch.ceil(learned * 1.2) + 1).all())
        assert bool((made[learned == 0] == 0).all())
        last = float(flows.start_ns[flows.window == window].max())
        assert last == pytest.approx(0.9 * layout().window_ns, abs=2)


def test_conditions_lift_the_plan() -> None:
    plans = Plans(layout().token_fields)
    left = Left(plans, torch.zeros(2, *plans.counts.shape[1:]), strict=False)
    assert left.room("service", torch.zeros(2, 2, dtype=torch.int64)) is None
    assert left.over().tolist() == [False, False]
    strict = Left(plans, torch.zeros(2, *plans.counts.shape[1:]), strict=True)
    assert strict.over().tolist() == [True, True]


def test_starts_end_where_the_plan_says_on_any_number_of_threads() -> None:
    """Many rows of one window, more than one thread writes them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        window = torch.arange(2).repeat_interleave(200_000)
        start = torch.arange(1.0, 200_001, dtype=torch.float64).repeat(2)
        ends = torch.tensor([100_000.0, 400_000.0], dtype=torch.float64)
        fitted = fit_to_window(window, start, ends)
    finally:
        torch.set_num_threads(threads)
    assert fitted[199_999].item() == 100_000
    assert fitted[-1].item() == 400_000
    assert fitted[1].item() == 1


def _drawn(starts: list[float], durations: list[float]) -> tuple[DrawnFlows, DrawnTotals]:
    """Flows of windows 0 and 1 in turn, told by their token; ten packets either way."""
    count = len(starts)
    duration = torch.tensor(durations, dtype=torch.float64)
    flows = DrawnFlows(
        window=torch.arange(count) * 2 // count,
        start_ns=torch.tensor(starts, dtype=torch.float64),
        tokens=torch.arange(count)[:, None],
    )
    return flows, DrawnTotals(
        packets_and_bytes=torch.full((count, 4), 10),
        answer_ns=duration / 4,
        reply_ns=duration / 4,
        duration_ns=duration,
        longest_ns=duration,
    )


def test_flows_begin_early_enough_to_end_in_their_window() -> None:
    """Of 1001 ns: one that lasts 400 begins up to 600; from 900 it goes to 600 * 900 / 1000."""
    flows, totals = _drawn([500, 900, 950, 1000], [100, 400, 600, 0])
    flows, totals, _ = fit_to_room(flows, totals, window_ns=1001)
    assert flows.tokens[:, 0].tolist() == [0, 1, 2, 3]
    assert flows.start_ns.tolist() == [500, 540, 380, 1000]
    assert totals.duration_ns.tolist() == [100, 400, 600, 0]
    assert (totals.packets_and_bytes == 10).all()


def test_flows_that_begin_earlier_come_earlier_in_their_window() -> None:
    flows, totals = _drawn([100, 200, 300, 400], [0, 900, 0, 950])
    flows, totals, order = fit_to_room(flows, totals, window_ns=1001)
    assert order.tolist() == [1, 0, 3, 2]
    assert flows.window.tolist() == [0, 0, 1, 1]
    assert flows.tokens[:, 0].tolist() == [1, 0, 3, 2]
    assert flows.start_ns.tolist() == [20, 100, 20, 300]
    assert totals.duration_ns.tolist() == [900, 0, 950, 0]


def test_flows_longer_than_their_window_lose_packets_in_proportion() -> None:
    flows, totals = _drawn([700, 800], [2000, 10])
    flows, totals, _ = fit_to_room(flows, totals, window_ns=1001)
    assert flows.start_ns.tolist() == [0, 800]
    assert totals.packets_and_bytes.tolist() == [[5] * 4, [10] * 4]
    assert totals.duration_ns.tolist() == [1000, 10]


def test_every_flow_fits_its_window_with_a_packet_at_least(level: FlowLevel) -> None:
    window_ns = layout().window_ns
    trace = office()[1]
    flows = DrawnFlows(
        window=torch.zeros(len(trace), dtype=torch.int64),
        start_ns=torch.full((len(trace),), window_ns - 1, dtype=torch.float64),
        tokens=torch.as_tensor(trace.tokens.astype(np.int64)),
    )
    random = torch.Generator().manual_seed(0)
    totals = draw_totals(level, flows, window_ns=window_ns, largest_payload=1460, random=random)
    flows, totals, _ = fit_to_room(flows, totals, window_ns=window_ns)
    assert (totals.packets_and_bytes[:, :2].sum(1) >= 1).all()
    assert (flows.start_ns + totals.duration_ns <= window_ns - 1).all()


def test_flows_that_last_leave_a_share_of_the_rest() -> None:
    """Tokens 1 and 6 of the column leave less than a hundredth, and a fifth to a third."""
    token = torch.tensor([1, 6]).repeat(500)
    room = torch.full((1000,), 1e9, dtype=torch.float64)
    drawn = draw_lasting_ns(token, room, torch.Generator().manual_seed(0)).view(500, 2) / 1e9
    assert REST[5:7].tolist() == [0.2, 0.35]
    assert drawn[:, 0].min() > 0.99
    assert drawn[:, 1].min() >= 0.65
    assert drawn[:, 1].max() <= 0.8
    assert abs(float(drawn[:, 1].mean()) - 0.725) < 0.01


def test_a_condition_on_services_leaves_their_part_of_a_plan(level: FlowLevel) -> None:
    plans, _ = level.plans.draw(3, torch.Generator().manual_seed(0))
    services = torch.zeros(plans.shape[1], dtype=torch.bool)
    services[int(plans[0].sum(1).argmax())] = True
    left, binds = level.plans.under(plans, {"service": services})
    assert binds
    assert (left[:, services] == plans[:, services]).all()
    assert left[:, ~services].sum() == 0
    plans[1] = 0  # a window that happens to have none gets as many as windows usually have
    left, binds = level.plans.under(plans, {"service": services})
    assert binds
    assert (left.sum((1, 2)) > 0).all()


def test_plans_do_not_bind_under_other_conditions(level: FlowLevel) -> None:
    plans, _ = level.plans.draw(2, torch.Generator().manual_seed(0))
    assert level.plans.under(plans, {})[1]
    label = {"label": torch.ones(2, dtype=torch.bool)}
    assert not level.plans.under(plans, label)[1]
    nothing = {"service": torch.zeros(plans.shape[1], dtype=torch.bool)}
    assert not level.plans.under(plans, nothing)[1]


def test_a_window_of_one_service_has_as_many_of_its_flows_as_planned(level: FlowLevel) -> None:
    plans, _ = level.plans.draw(1, torch.Generator().manual_seed(5))
    services = torch.zeros(plans.shape[1], dtype=torch.bool)
    services[int(plans[0].sum(1).argmax())] = True
    drawn = draw_flows(
        level,
        window_count=1,
        window_ns=layout().window_ns,
        random=torch.Generator().manual_seed(5),
        allowed={"service": services},
        flow_limit=2000,
    )
    assert drawn.start_ns.numel() == int(plans[0, services].sum())
    assert services[drawn.tokens[:, level.plans.places[0]]].all()
