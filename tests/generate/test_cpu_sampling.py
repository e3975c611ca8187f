"""What the compiled loops draw is what the networks say, on any number of threads."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from generate_traces import check_trace, fill_weights, layout, office

from netsynth.generate.transformer import TransformerConfig, TransformerGenerator
from netsynth.generate.transformer.choosing import likely
from netsynth.generate.transformer.cpu_sampling import CpuRecords
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.field_arrays import pack_allowed, pack_fields
from netsynth.generate.transformer.field_kernel import PlanArrays, draw_fields
from netsynth.generate.transformer.fields import FieldDecoder
from netsynth.generate.transformer.flow_arrays import pack_flow_level
from netsynth.generate.transformer.flow_kernel import draw_skeletons, start_windows
from netsynth.generate.transformer.flow_level import SKELETON, FlowLevel, clock_features
from netsynth.generate.transformer.kernels import next_uniform, seed_streams
from netsynth.generate.transformer.plan import WindowPlans
from netsynth.generate.transformer.plan_left import Left
from netsynth.generate.transformer.record_level import RecordLevel, strays
from netsynth.generate.transformer.time_room import TimeColumns, TimeRoom, time_columns
from netsynth.tables import EncodedTrace

SMALL = TransformerConfig(
    width=16, hidden=20, layers=2, heads=2, flow_context=6, record_width=24, record_history=3
)
NEAR = 1e-4


@pytest.fixture(scope="module")
def generator() -> TransformerGenerator:
    """Untrained, but counts are those of the trace and no output is flat: all inputs matter."""
    trace = office()[1]
    made = TransformerGenerator(layout=layout(), config=SMALL, seed=0)
    flows, records = made.levels["flows"], made.levels["records"]
    assert isinstance(flows, FlowLevel)
    assert isinstance(records, RecordLevel)
    torch.manual_seed(0)
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))
    flows.set_counts(tokens, choose=False)
    share = torch.as_tensor(trace.start_ns / trace.window_ns)
    edges = torch.tensor([0.3, 0.7, 1.0], dtype=torch.float64)
    flows.plans.learn([(flows.plans.classes(tokens), share, edges)])
    for decoder in (flows.skeleton, flows.details):
        fill_weights(decoder.heads, std=0.3)
    fill_weights([*records.heads, *records.gaps.heads], std=0.3)
    made.largest_window = len(trace)
    flows.couplings.weights[:, :, :4, 2:5] = 0.05
    made.levels.eval()
    return made


@pytest.fixture(scope="module")
def flow_level(generator: TransformerGenerator) -> FlowLevel:
    level = generator.levels["flows"]
    assert isinstance(level, FlowLevel)
    return level


@pytest.fixture
def two_threads() -> Iterator[None]:
    count = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(count)


def check_columns(
    decoder: FieldDecoder,
    given: torch.Tensor,
    left: Left | None,
    left_ns: torch.Tensor | None = None,
) -> None:
    """Assert that torch's distributions give, for the same random numbers, the same tokens."""
    rows, count = 64, len(decoder.fields)
    state = torch.randn(rows, SMALL.width, generator=torch.Generator().manual_seed(1))
    arrays = pack_fields(decoder)
    tokens = np.zeros((rows, given.shape[1] + count), dtype=np.int64)
    tokens[:, : given.shape[1]] = given
    none, nobody = np.zeros((0, 0), np.float32), np.zeros((0, 3), np.int64)
    plan = PlanArrays(none[None], np.zeros(0, np.int64), -1, -1, -1, none, nobody)
    if left is not None:
        plan = PlanArrays(
            left.left.numpy(), left.plans.outcome.numpy(), *left.plans.places, left.large.numpy(),
            left.plans.large.numpy(),
        )  # fmt: skip
    allowed = pack_allowed(arrays, [f.name for f in decoder.fields], {})
    streams = seed_streams(5, np.arange(rows))
    numbers = streams.copy()
    everything = (*decoder.given, *decoder.fields)
    endless = np.full(rows, np.inf) if left_ns is None else left_ns.numpy()
    nowhere = TimeColumns(np.full(4, -1), np.zeros((4, 1)), 0, np.ones((1, 2)))
    quantiles = np.full((rows, count), -1.0)
    told = np.random.default_rng(2).random(rows)
    quantiles[:, count - 1] = np.where(told < 0.5, told, -1.0)  # of every other row
    times = nowhere if left_ns is None else time_columns(everything)
    draw_fields(
        arrays, state.numpy().copy(), tokens, given.shape[1], rows, allowed, plan, times, endless,
        quantiles, streams,
    )  # fmt: skip
    room = left.room if left is not None else lambda *_: None
    if left_ns is not None:
        room = TimeRoom(everything, left_ns).room
    seen = torch.as_tensor(tokens)
    for place, item in enumerate(decoder.fields):
        if item.size == 1:
            continue
        uniform = np.array([next_uniform(numbers, row) for row in range(rows)])
        uniform = np.where(quantiles[:, place] >= 0, quantiles[:, place], uniform)
        before = seen[:, : given.shape[1] + place]
        with torch.no_grad():
            logits = decoder.logits(place, state, before)
            if item.name in decoder.categories:
                met = decoder.priors[place].seen(decoder._parents(place, before))
                logits = logits.masked_fill(~met, -1e8)
            possible = room(item.name, before)
            if possible is not None:
                logits = logits.masked_fill(~possible, -1e8)
            if item.name in decoder.sharp:
                logits = likely(logits)
            until = logits.double().softmax(1).cumsum(1).numpy()
        chosen = tokens[:, given.shape[1] + place]
        above = until[np.arange(rows), chosen]
        below = np.where(chosen > 0, until[np.arange(rows), chosen - 1], 0.0)
        assert (below - NEAR <= uniform).all(), item.name
        assert (uniform <= above + NEAR).all(), item.name
        state = state + decoder.embed[place](torch.as_tensor(chosen)).detach()


def test_skeletons_are_drawn_from_the_decoders_distributions(flow_level: FlowLevel) -> None:
    plans = flow_level.plans.draw(64, torch.Generator().manual_seed(2))
    plans.counts[..., 1:] = 0  # some classes are used up
    plans.counts[plans.counts.sum((2, 3)) == 0] = 1
    left = Left(flow_level.plans, plans, strict=True)
    check_columns(flow_level.skeleton, torch.zeros(64, 0, dtype=torch.int64), left)


def test_details_are_drawn_from_the_decoders_distributions(flow_level: FlowLevel) -> None:
    given = torch.as_tensor(office()[1].tokens[:64, : len(SKELETON)].astype(np.int64))
    check_columns(flow_level.details, given, None)


def test_times_that_end_after_the_window_are_not_drawn(flow_level: FlowLevel) -> None:
    given = torch.as_tensor(office()[1].tokens[:64, : len(SKELETON)].astype(np.int64))
    left_ns = torch.logspace(2, 10, 64, dtype=torch.float64)
    check_columns(flow_level.details, given, None, left_ns)


@pytest.mark.parametrize("strict", [True, False])
def test_the_loop_over_flows_passes_through_the_transformers_states(
    flow_level: FlowLevel, strict: bool
) -> None:
    window_ns = layout().window_ns
    arrays = pack_flow_level(flow_level)
    plans = flow_level.plans.draw(3, torch.Generator().manual_seed(3))
    plans.counts[:, 0] = plans.counts[:, 0].clamp(max=1)
    plans.counts[:, 0].flatten(1)[:, plans.counts[:, 0].flatten(1).sum(0).cumsum(0) > 20] = 0
    plans.counts[1, 1] = 0
    plans.edges[:, 0] = 0.001
    numbers = np.arange(3)
    lanes = start_windows(
        arrays, numbers, plans.counts.numpy(), plans.edges.numpy(), plans.large.numpy(),
        seed_streams(1, numbers), window_ns, is_strict=strict,
    )  # fmt: skip
    allowed = pack_allowed(arrays.skeleton, [], {})
    drawn = draw_skeletons(
        arrays, lanes, steps=30, window_ns=window_ns, latest_ns=4 * window_ns, allowed=allowed,
        is_strict=strict,
    )  # fmt: skip
    if strict:
        assert set(drawn.part[drawn.window == 1].tolist()) == {0, 2}
    for window in range(3):
        rows = drawn.window == window
        tokens = torch.as_tensor(drawn.tokens[rows])
        start = torch.cat([torch.zeros(1), torch.as_tensor(drawn.start_ns[rows])])
        classes = flow_level.plans.classes(tokens)
        some = slice(window, window + 1)
        one = WindowPlans(
            counts=plans.counts[some], edges=plans.edges[some], spans=plans.spans[some],
            large=plans.large[some],
        )  # fmt: skip
        left = Left(flow_level.plans, one, strict=strict)
        share = start.double() / window_ns
        told, parts = [left.features(share[:1])], []
        for flow in range(tokens.shape[0]):
            parts.append(int(left.part))
            left.take(classes[flow : flow + 1], share[flow + 1 : flow + 2])
            told.append(left.features(share[flow + 1 : flow + 2]))
        assert drawn.part[rows].tolist() == parts
        situation = torch.cat([clock_features(start, window_ns), torch.cat(told)], dim=1)
        with torch.no_grad():
            first = flow_level.begin + flow_level.clock(situation[:1])
            x = torch.cat([first, flow_level.inputs(tokens, situation[1:])])[None, :-1]
            state = flow_level.transformer(x, first_position=torch.tensor([0]))[0]
        assert np.abs(state.numpy() - drawn.state[rows]).max() < NEAR


def drawn_windows(generator: TransformerGenerator, count: int) -> list[EncodedTrace]:
    return list(generator.sample(count, seed=4))


def test_windows_keep_what_every_window_keeps(generator: TransformerGenerator) -> None:
    for trace in drawn_windows(generator, 2):
        check_trace(trace)


def test_threads_change_nothing(generator: TransformerGenerator, two_threads: None) -> None:
    on_two = drawn_windows(generator, 3)
    torch.set_num_threads(1)
    for one, two in zip(drawn_windows(generator, 3), on_two, strict=True):
        for item in fields(one):
            first, second = getattr(one, item.name), getattr(two, item.name)
            if isinstance(first, np.ndarray):
                assert (first == second).all(), item.name


def test_flows_that_do_not_end_as_told_are_drawn_again(generator: TransformerGenerator) -> None:
    """With retries, more flows show all their flags and carry the bytes that are told exactly."""
    flows, records = generator.levels["flows"], generator.levels["records"]
    assert isinstance(flows, FlowLevel)
    assert isinstance(records, RecordLevel)
    sampler = CpuRecords(records)
    trace = office()[1]
    some = np.flatnonzero(np.diff(trace.record_offsets) <= 12)[:200]
    tokens = torch.as_tensor(trace.tokens[some].astype(np.int64))
    drawn = DrawnFlows(
        window=torch.zeros(some.size, dtype=torch.int64),
        start_ns=torch.as_tensor(trace.start_ns[some].astype(np.float64)),
        tokens=tokens,
    )
    totals = DrawnTotals(
        packets_and_bytes=torch.as_tensor(trace.totals[some]),
        answer_ns=torch.full((some.size,), -1.0, dtype=torch.float64),
        reply_ns=torch.full((some.size,), -1.0, dtype=torch.float64),
        duration_ns=torch.as_tensor(trace.duration_ns[some].astype(np.float64)),
        longest_ns=torch.as_tensor(trace.duration_ns[some].astype(np.float64)),
    )
    counts = np.diff(trace.series_offsets)[some]
    rows = np.concatenate([np.arange(*trace.series_offsets[i : i + 2]) for i in some])
    series = DrawnSeries(
        offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        step=trace.series_step[rows].astype(np.int64),
        values=trace.series_values[rows],
    )
    exact = records.exact(tokens).numpy()
    state = records.shape_state[tokens[:, records.shape_place]].numpy()
    strayed = []
    for retries in (0, 5):
        made = sampler.draw_records(
            drawn, totals, series, first_flow=0, window_ns=trace.window_ns,
            step_count=trace.step_count, seed=1, retries=retries,
        )  # fmt: skip
        of = np.repeat(np.arange(some.size), np.diff(made.offsets))
        kind = made.tokens[:, 0]
        back = records.kind_reverse.numpy()[kind]
        sums = np.stack(
            [np.bincount(of, made.size_bytes * (back == way), some.size) for way in (0, 1)], axis=1
        )
        shown = np.zeros(some.size, dtype=np.int64)
        np.bitwise_or.at(shown, of, records.kind_state.numpy()[kind])
        owed = torch.as_tensor(state & ~shown)
        left = torch.as_tensor(trace.totals[some, 2:] - sums.astype(np.int64))
        found = strays(owed, left, torch.as_tensor(exact))
        assert (found.numpy() == (((left.numpy() != 0) & exact).any(1) | (owed.numpy() != 0))).all()
        strayed.append(int(found.sum()))
    assert 0 < strayed[1] < strayed[0] - 5
