"""Plans of windows: what is left of them, and that no more is drawn than they hold."""

import numpy as np
import pytest
import torch
from generate_traces import layout, office

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnTotals
from netsynth.generate.transformer.flow_drawing import draw_flows
from netsynth.generate.transformer.flow_fit import CHUNK, FlowData, flow_data
from netsynth.generate.transformer.flow_level import FlowLevel
from netsynth.generate.transformer.plan import (
    FEW,
    Plans,
    WindowPlans,
    _anywhere,
    part_edges,
    parts_of,
)
from netsynth.generate.transformer.plan_left import Left, counts_before, fit_to_parts, left_after
from netsynth.generate.transformer.total_drawing import draw_lasting_ns, draw_totals, fit_to_room
from netsynth.steps import REST

SMALL = TransformerConfig(width=16, hidden=16, layers=1, heads=2, flow_context=8)
CPU = torch.device("cpu")


def flows_of(level: FlowLevel) -> FlowData:
    random = np.random.default_rng(0)
    return flow_data(level.plans, office()[1], share=0.1, random=random, device=CPU)


@pytest.fixture(scope="module")
def level() -> FlowLevel:
    torch.manual_seed(0)
    made = FlowLevel(layout().token_fields, SMALL).eval()
    data = flows_of(made)
    made.plans.learn([(data.classes, data.share, data.edges)])
    made.set_counts(data.tokens, choose=False)
    return made


def test_what_is_left_by_hand() -> None:
    """Of 3, 1 and 2 flows, after one of class 0, one of 2 and one of 0."""
    left = left_after(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([0, 2, 0]))
    assert left.tolist() == [[2, 1, 2], [2, 1, 1], [1, 1, 1]]


def test_counts_before_every_second_flow_by_hand() -> None:
    counts = counts_before(torch.tensor([0, 2, 2, 1, 0]), 3, every=2)
    assert counts.tolist() == [[0, 0, 0], [1, 0, 1], [1, 1, 2]]


def test_plans_tell_flows_apart_by_volume_and_ending() -> None:
    plans = Plans(layout().token_fields)
    shape = layout().token_fields[plans.places[1]]
    pairs = list(zip(shape.groups["volume"].tolist(), shape.groups["ending"].tolist(), strict=True))
    assert [sorted(set(pairs)).index(pair) for pair in pairs] == plans.outcome.tolist()
    assert len(set(pairs)) > len(set(shape.groups["volume"].tolist()))


def test_parts_are_of_equal_time_but_where_flows_are_few() -> None:
    """Of 32 parts the first, the third and the last have enough flows."""
    per_part = [FEW, 5, FEW, *[0] * 28, FEW]
    start = torch.cat([(k + torch.arange(n) / n) / 32 for k, n in enumerate(per_part)]).double()
    edges = part_edges(start, windows=1)
    assert (edges * 32).tolist() == [1, 3, 32]
    assert torch.bincount(parts_of(start, edges)).tolist() == [FEW, FEW + 5, FEW]
    few = part_edges(start[:5], windows=1)
    assert few.tolist() == [1]
    assert part_edges(torch.zeros(0, dtype=torch.float64), windows=1).tolist() == [1]
    many = torch.linspace(0, 1, 10_001, dtype=torch.float64)[:-1]
    assert part_edges(many, windows=1).numel() == 32
    assert part_edges(many, windows=1000).numel() == 8


def test_flows_behind_the_last_full_part_belong_to_it() -> None:
    start = torch.cat([torch.linspace(0, 0.4, FEW), torch.tensor([0.9, 0.95])]).double()
    edges = part_edges(start, windows=1)
    assert edges[-1] == 1
    assert torch.bincount(parts_of(start, edges)).min() >= FEW


def test_a_chunk_is_told_what_is_left_of_its_part(level: FlowLevel) -> None:
    """Of every row: the flows of the part that goes on behind it which come after it."""
    data, plans = flows_of(level), level.plans
    count = data.tokens.shape[0]
    part = parts_of(data.share, data.edges)
    assert part.max() >= 4
    total = plans.width - 2  # the place of the log of all that is left
    _, _, first, _, _ = data.chunk(plans, 0, 5)
    width = first.numel() - plans.width
    told = float(first[width + total])
    assert told == pytest.approx(np.log1p(int((part == part[0]).sum())) / 4)
    assert CHUNK < 140 == count - 60
    for at in (0, 60, 140):
        _, situation, _, _, real = data.chunk(plans, at, 60)
        for row in range(max(at - 1, 0), at + 60):
            going_on = part[min(row + 1, count - 1)]
            left = int((part[row + 1 :] == going_on).sum())
            told = float(situation[row - at + 1, width + total])
            assert told == pytest.approx(np.log1p(left) / 4, abs=1e-6)
            service = int(data.classes[row, 0])
            same = (part == going_on) & (data.classes[:, 0] == service)
            told = float(situation[row - at + 1, width + service])
            assert told == pytest.approx(np.log1p(int(same[row + 1 :].sum())) / 4, abs=1e-6)
        assert bool(real[1:].all())


def test_chunks_count_alike_wherever_they_start(level: FlowLevel) -> None:
    """Row 150 is told the same in a chunk that starts at 140 as in one that starts at 60."""
    assert 60 < CHUNK < 140 < len(office()[1])
    data = flows_of(level)
    one = data.chunk(level.plans, 140, 20)[1][11]
    other = data.chunk(level.plans, 60, 120)[1][91]
    assert torch.equal(one, other)


def test_drawn_plans_are_whole_and_close_to_the_learned(level: FlowLevel) -> None:
    drawn = level.plans.draw(200, torch.Generator().manual_seed(1))
    learned = level.plans.learned
    assert torch.equal(drawn.edges, learned.edges.expand(200, -1))
    assert torch.equal(drawn.counts, drawn.counts.round())
    assert bool((drawn.counts[:, learned.counts[0] == 0] == 0).all())
    assert torch.allclose(drawn.counts.mean(0), learned.counts[0], atol=0.2, rtol=0.02)


def test_parts_begin_and_end_by_a_mean_gap_elsewhere_but_inside_of_them(level: FlowLevel) -> None:
    drawn = level.plans.draw(200, torch.Generator().manual_seed(1))
    learned = level.plans.learned.spans[0]
    flows = level.plans.learned.counts[0].sum((1, 2)).double()
    gap = ((learned[:, 1] - learned[:, 0]) / flows)[:, None]
    apart = (drawn.spans - learned).abs()
    assert int(flows.min()) >= FEW
    assert bool((apart <= gap + 1e-12).all())
    assert float(apart.mean()) > float(gap.mean()) / 8  # that of no single flow is kept
    ends = torch.cat([torch.zeros(1), level.plans.learned.edges[0]])
    assert bool((drawn.spans >= ends[:-1, None]).all())
    assert bool((drawn.spans <= ends[1:, None]).all())
    assert bool((drawn.spans[..., 0] <= drawn.spans[..., 1]).all())


def test_each_part_has_the_flows_of_its_plan(level: FlowLevel) -> None:
    """An untrained network draws from the counts alone, far from any order: the plan holds."""
    random = torch.Generator().manual_seed(2)
    window_ns = layout().window_ns
    flows = draw_flows(
        level, window_count=3, window_ns=window_ns, random=random, flow_limit=100_000
    )
    plans = level.plans.draw(3, torch.Generator().manual_seed(2))
    for window in range(3):
        rows = flows.window == window
        share = flows.start_ns[rows] / window_ns
        classes = level.plans.classes(flows.tokens[rows])
        assert torch.equal(level.plans.count(classes), plans.counts[window].sum(0))
        ends = torch.cumsum(plans.counts[window].sum((1, 2)), 0).long()
        for part, (first, last) in enumerate(zip([0, *ends.tolist()], ends.tolist(), strict=False)):
            assert torch.equal(level.plans.count(classes[first:last]), plans.counts[window, part])
            if last > first:
                span = share[first:last].min(), share[first:last].max()
                assert float(span[0]) == pytest.approx(float(plans.spans[window, part, 0]))
                assert float(span[1]) <= float(plans.spans[window, part, 1]) + 1e-9


def test_plans_of_windows_with_fewer_parts_end_empty() -> None:
    plans = Plans(layout().token_fields)
    classes = torch.tensor([[0, 0, 0], [1, 0, 0], [1, 1, 0]])
    share = torch.tensor([0.1, 0.2, 0.8], dtype=torch.float64)
    halves, whole = torch.tensor([0.5, 1.0]).double(), torch.ones(1).double()
    plans.learn([(classes, share, halves), (classes[:1], share[:1], whole)])
    assert plans.counts.shape[:2] == (2, 2)
    assert plans.counts.sum((2, 3)).tolist() == [[2, 1], [1, 0]]
    assert plans.edges.tolist() == [[0.5, 1], [1, 1]]
    assert plans.spans.tolist() == [[[0.1, 0.2], [0.8, 0.8]], [[0.1, 0.1], [1, 1]]]
    again = Plans(layout().token_fields)
    again.load_state_dict(plans.state_dict())
    assert torch.equal(again.counts, plans.counts)


def _two_parts(plans: Plans, counts: list[int]) -> WindowPlans:
    """Plans of a window each, as many flows of class (0, 0) in its parts."""
    made = torch.zeros(1, len(counts), *plans.sizes)
    made[0, :, 0, 0] = torch.tensor(counts, dtype=torch.float32)
    edges = torch.arange(1, len(counts) + 1, dtype=torch.float64)[None] / len(counts)
    return WindowPlans(counts=made, edges=edges, spans=torch.stack([edges, edges], -1),
                       large=torch.zeros(1, 0))  # fmt: skip


def test_what_binds_ends_when_used_up_and_what_does_not_when_its_time_is_over() -> None:
    plans = Plans(layout().token_fields)
    one, class_ = torch.tensor([0.1], dtype=torch.float64), torch.zeros(1, 3, dtype=torch.int64)
    strict = Left(plans, _two_parts(plans, [0, 2, 0, 1]), strict=True)
    assert strict.part.tolist() == [1]
    strict.take(class_, one)
    assert strict.part.tolist() == [1]
    strict.take(class_, one)
    assert strict.part.tolist() == [3]
    assert not strict.over()[0]
    strict.take(class_, one)
    assert strict.over()[0]
    loose = Left(plans, _two_parts(plans, [0, 2, 0, 1]), strict=False)
    assert loose.part.tolist() == [0]
    loose.take(class_, 3 * one)
    assert loose.part.tolist() == [1]
    loose.take(class_, 8 * one)
    assert loose.part.tolist() == [3]
    assert not loose.over()[0]
    assert loose.room("service", class_) is None


def test_starts_go_where_their_part_began_and_ended_on_any_number_of_threads() -> None:
    """Many rows of one window, more than one thread writes them."""
    threads = torch.get_num_threads()
    torch.set_num_threads(4)
    try:
        window = torch.arange(2).repeat_interleave(200_000)
        part = torch.arange(2).repeat_interleave(100_000).repeat(2)
        start = torch.arange(1.0, 200_001, dtype=torch.float64).repeat(2)
        span = torch.tensor([[[1, 50_000], [60_000, 160_000]], [[1, 1e9], [1e9, 2e9]]])
        fitted = fit_to_parts(window, part, start, span.double())
    finally:
        torch.set_num_threads(threads)
    assert fitted[[0, 99_999, 100_000, 199_999]].tolist() == [1, 50_000, 60_000, 160_000]
    # at most twice as long as drawn
    assert fitted[[200_000, 299_999, 300_000, 399_999]].tolist() == [1, 199_999, 1e9, 1e9 + 199_998]


def test_a_pause_that_is_too_long_does_not_hasten_a_scan() -> None:
    """100 flows 1 us apart, then pauses of 1, 2 and 3 ms where all is to last 3.099 ms."""
    gaps = [1000.0] * 99 + [1e6, 2e6, 3e6]
    start = torch.tensor([0.0, *gaps]).double().cumsum(0)
    nothing = torch.zeros(start.numel(), dtype=torch.int64)
    span = torch.tensor([[[0.0, 3_099_000.0]]]).double()
    fitted = fit_to_parts(nothing, nothing, start, span)
    assert fitted.diff()[:99].tolist() == [1000.0] * 99
    assert fitted.diff()[99:].tolist() == [500_000.0, 1_000_000.0, 1_500_000.0]


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
    random = torch.Generator().manual_seed(0)
    plans = level.plans.draw(3, random)
    services = torch.zeros(level.plans.sizes[0], dtype=torch.bool)
    services[int(plans.counts[0].sum((0, 2)).argmax())] = True
    left, binds = level.plans.under(plans, {"service": services}, random)
    assert binds
    assert (left.counts[:, :, services] == plans.counts[:, :, services]).all()
    assert left.counts[:, :, ~services].sum() == 0
    ends = torch.cat([torch.zeros(3, 1), plans.edges], dim=1)
    assert bool((left.spans >= ends[:, :-1, None]).all())
    assert bool((left.spans <= ends[:, 1:, None]).all())
    plans.counts[1] = 0  # a window that happens to have none gets as many as one learned from
    left, binds = level.plans.under(plans, {"service": services}, random)
    assert binds
    learned = level.plans.counts[0]
    assert torch.equal(left.counts[1][:, services], learned[:, services])


def test_plans_do_not_bind_under_other_conditions(level: FlowLevel) -> None:
    random = torch.Generator().manual_seed(0)
    plans = level.plans.draw(2, random)
    assert level.plans.under(plans, {}, random)[1]
    label = {"label": torch.ones(2, dtype=torch.bool)}
    assert not level.plans.under(plans, label, random)[1]
    nothing = {"service": torch.zeros(level.plans.sizes[0], dtype=torch.bool)}
    assert not level.plans.under(plans, nothing, random)[1]


def test_a_window_of_one_service_has_as_many_of_its_flows_as_planned(level: FlowLevel) -> None:
    plans = level.plans.draw(1, torch.Generator().manual_seed(5)).counts[0].sum((0, 2))
    services = torch.zeros(plans.shape[0], dtype=torch.bool)
    services[int(plans.argmax())] = True
    drawn = draw_flows(
        level,
        window_count=1,
        window_ns=layout().window_ns,
        random=torch.Generator().manual_seed(5),
        allowed={"service": services},
        flow_limit=2000,
    )
    assert drawn.start_ns.numel() == int(plans[services].sum())
    assert services[drawn.tokens[:, level.plans.places[0]]].all()


def test_responders_of_large_flows_are_shared_out(level: FlowLevel) -> None:
    """Three large flows of a class went to two hosts; small ones go where they like."""
    plans = Plans(layout().token_fields)
    outcome = plans.least_large
    assert outcome < plans.sizes[1]
    classes = torch.tensor([[4, outcome, 9], [4, 0, 8], [4, outcome, 7], [4, outcome, 9]])
    share = torch.linspace(0.1, 0.9, 4, dtype=torch.float64)
    plans.learn([(classes, share, torch.ones(1).double())])
    assert plans.large.tolist() == [[4, outcome, 7], [4, outcome, 9]]
    assert plans.large_counts.tolist() == [[1, 2]]
    left = Left(plans, plans.learned, strict=True)
    large, small = (
        int(torch.nonzero(plans.outcome == v)[0]) for v in (outcome, int(plans.outcome.min()))
    )
    seen = torch.zeros(1, 4, dtype=torch.int64)
    seen[0, plans.places[0]] = 4
    seen[0, plans.places[1]] = large

    def allowed() -> list[int]:
        room = left.room("responder", seen)
        assert room is not None
        return torch.nonzero(room[0])[:, 0].tolist()

    assert allowed() == [7, 9]
    time = torch.tensor([0.2], dtype=torch.float64)
    left.take(classes[2:3], time)
    assert allowed() == [9]
    left.take(classes[:1], time)
    left.take(classes[3:], time)
    assert len(allowed()) == plans.hosts  # used up: no more than counts and network say
    fresh = Left(plans, plans.learned, strict=True)
    seen[0, plans.places[1]] = small
    room = fresh.room("responder", seen)
    assert room is not None
    assert bool(room.all())


def test_windows_have_the_large_flows_of_their_plan_by_responder(level: FlowLevel) -> None:
    flows = draw_flows(
        level, window_count=2, window_ns=layout().window_ns,
        random=torch.Generator().manual_seed(4), flow_limit=100_000,
    )  # fmt: skip
    plans = level.plans
    assert plans.large.shape[0] > 0
    for window in range(2):
        classes = plans.classes(flows.tokens[flows.window == window])
        for row, count in zip(plans.large, plans.large_counts[0].tolist(), strict=True):
            same_class = (classes[:, :2] == row[:2]).all(1)
            made = int((classes[same_class, 2] == row[2]).sum())
            learned = int(plans.large_counts[0][(plans.large[:, :2] == row[:2]).all(1)].sum())
            assert made == count or int(same_class.sum()) != learned


def test_few_flows_of_a_condition_begin_anywhere_in_their_part() -> None:
    """One flow a part, then two: the first of n even draws lies at 1 / (n + 1) on average."""
    edges = torch.tensor([[0.5, 1.0]]).double().expand(4000, 2)
    flows = torch.tensor([[1.0, 2.0]]).double().expand(4000, 2)
    spans = _anywhere(flows, edges, torch.Generator().manual_seed(0))
    assert torch.equal(spans[:, 0, 0], spans[:, 0, 1])
    mean = spans.mean(0)
    assert float(mean[0, 0]) == pytest.approx(0.25, abs=0.01)
    assert float(mean[1, 0]) == pytest.approx(0.5 + 0.5 / 3, abs=0.01)
    assert float(mean[1, 1]) == pytest.approx(0.5 + 1.0 / 3, abs=0.01)


def test_a_window_without_a_service_takes_the_whole_plan_of_one_that_has_it() -> None:
    """Of a window of one part and one of two, with the service in the second of those."""
    plans = Plans(layout().token_fields)
    one = torch.tensor([[0, 0, 0], [0, 0, 0]])
    two = torch.tensor([[0, 0, 0], [1, 0, 0]])
    share = torch.tensor([0.1, 0.8], dtype=torch.float64)
    plans.learn(
        [(one, share, torch.ones(1).double()), (two, share, torch.tensor([0.5, 1]).double())]
    )
    drawn = plans.learned
    services = torch.zeros(plans.sizes[0], dtype=torch.bool)
    services[1] = True
    left, binds = plans.under(drawn, {"service": services}, torch.Generator().manual_seed(0))
    assert binds
    assert left.edges.tolist() == [[0.5, 1], [0.5, 1]]
    assert left.counts.sum((2, 3)).tolist() == [[0, 1], [0, 1]]
    assert bool((left.spans[:, 1] > 0.5).all())
