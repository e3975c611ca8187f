"""Nothing but a SYN is sent before the SYN-ACK, and what answers it comes in its own step."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from generate_traces import layout, office
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.generate.transformer import TransformerConfig, TransformerGenerator
from netsynth.generate.transformer.cpu_sampling import CpuSampler
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.series_drawing import (
    _bring,
    _merged,
    draw_series,
    hold_handshakes,
)
from netsynth.generate.transformer.series_level import SeriesLevel
from netsynth.numbers import Array, IntArray

SMALL = TransformerConfig(width=16, heads=2, layers=1, hidden=16)
STEPS, STEP_NS = 20, 100_000_000  # of 0.1 s
SYN_ROW = [1, 0, 0, 0]


@dataclass
class Flow:
    """One flow to draw: times in s, -1 where none; rows of step and values."""

    rows: list[tuple[int, list[int]]]
    start: float
    answer: float
    reply: float
    opens: bool = True


@pytest.fixture(scope="module")
def level() -> SeriesLevel:
    return SeriesLevel(layout().token_fields, layout().series_fields, SMALL)


def tokens_of(level: SeriesLevel, opens: Array) -> torch.Tensor:
    """Tokens of flows, the shape's one of those that begin with a SYN or not: int64 [F, K]."""
    shape = next(f for f in layout().token_fields if f.name == "shape")
    state = shape.groups["state"] & 1
    shapes = [int(np.flatnonzero(state == value)[0]) for value in (0, 1)]
    tokens = torch.zeros(opens.size, len(layout().token_fields), dtype=torch.int64)
    tokens[:, level.shape_place] = torch.tensor([shapes[int(value)] for value in opens])
    return tokens


def hold(level: SeriesLevel, *flows: Flow) -> list[list[tuple[int, list[int]]]]:
    """Rows of the flows behind `hold_handshakes`, in steps of 0.1 s."""
    rows = [row for flow in flows for row in flow.rows]
    series = DrawnSeries(
        offsets=np.cumsum([0, *(len(flow.rows) for flow in flows)]).astype(np.int64),
        step=np.array([step for step, _ in rows], dtype=np.int64),
        values=np.array([values for _, values in rows], dtype=np.int64).reshape(-1, 4),
    )
    before = series.values.copy(), series.step.copy()
    start, answer, reply = (
        torch.tensor([getattr(f, name) * 1e9 if getattr(f, name) >= 0 else -1.0 for f in flows])
        .double()
        .round()
        for name in ("start", "answer", "reply")
    )
    sums = torch.tensor([np.sum([v for _, v in f.rows], axis=0).tolist() for f in flows])
    rest = torch.full_like(start, STEPS * STEP_NS - 1) - start
    made = hold_handshakes(
        series,
        level,
        DrawnFlows(
            window=torch.zeros(len(flows), dtype=torch.int64),
            start_ns=start,
            tokens=tokens_of(level, np.array([f.opens for f in flows])),
        ),
        DrawnTotals(
            packets_and_bytes=sums,
            answer_ns=answer,
            reply_ns=reply,
            duration_ns=rest,
            longest_ns=rest,
        ),
        scale=1 / STEP_NS,
        step_count=STEPS,
    )
    assert (series.values == before[0]).all(), "what was drawn is left as it was"
    assert (series.step == before[1]).all()
    assert made.offsets.size == len(flows) + 1
    return [
        list(zip(made.step[a:b].tolist(), made.values[a:b].tolist(), strict=True))
        for a, b in zip(made.offsets[:-1], made.offsets[1:], strict=True)
    ]


def test_packets_before_the_answer_come_with_the_reply(level: SeriesLevel) -> None:
    """SYN at 0.05 s, SYN-ACK due at 0.35 s, its acknowledgement at 0.55 s. Of what was drawn in
    steps 0 to 2 the SYN alone stays; the one packet back of steps 4 and 5 has data, so of step 7
    comes a bare SYN-ACK."""
    flow = Flow(
        rows=[(0, [3, 1, 20, 9]), (2, [1, 0, 5, 0]), (4, [0, 1, 0, 8]), (7, [2, 3, 90, 70])],
        start=0.05, answer=0.3, reply=0.2,
    )  # fmt: skip
    (made,) = hold(level, flow)
    assert made == [
        (0, SYN_ROW),
        (3, [0, 1, 0, 0]),
        (4, [0, 1, 0, 8]),
        (5, [3, 1, 25, 9]),
        (7, [2, 2, 90, 70]),
    ]


def test_the_answer_and_the_reply_come_from_later_steps(level: SeriesLevel) -> None:
    """Two packets without data, of the next steps that have one; the rest stays."""
    flow = Flow(
        rows=[(0, SYN_ROW), (6, [2, 0, 30, 0]), (8, [1, 2, 4, 7]), (9, [0, 5, 0, 900])],
        start=0.0, answer=0.12, reply=0.1,
    )  # fmt: skip
    (made,) = hold(level, flow)
    assert made == [
        (0, SYN_ROW),
        (1, [0, 1, 0, 0]),
        (2, [1, 0, 0, 0]),
        (6, [1, 0, 30, 0]),
        (8, [1, 1, 4, 7]),
        (9, [0, 5, 0, 900]),
    ]


def test_a_packet_with_all_the_data_of_its_step_is_the_last_choice(level: SeriesLevel) -> None:
    """Of step 5 a lone packet with data could come, but step 8 has one without; with step 5
    alone, it comes with its data, and no empty step is left."""
    lone, spare = (5, [0, 1, 0, 70]), (8, [0, 1, 0, 0])
    (made,) = hold(level, Flow(rows=[(0, SYN_ROW), lone, spare], start=0, answer=0.2, reply=-1))
    assert made == [(0, SYN_ROW), (2, [0, 1, 0, 0]), lone]
    (made,) = hold(level, Flow(rows=[(0, SYN_ROW), lone], start=0, answer=0.2, reply=-1))
    assert made == [(0, SYN_ROW), (2, [0, 1, 0, 70])]


def test_the_syn_itself_is_no_reply(level: SeriesLevel) -> None:
    """All in one step: the SYN is there, another packet of the initiator comes from step 9."""
    rows = [(0, [1, 1, 0, 0]), (9, [2, 0, 0, 0])]
    (made,) = hold(level, Flow(rows=rows, start=0, answer=0.01, reply=0.01))
    assert made == [(0, [2, 1, 0, 0]), (9, [1, 0, 0, 0])]
    (made,) = hold(level, Flow(rows=rows[:1], start=0, answer=0.01, reply=0.01))
    assert made == rows[:1]


def test_a_syn_hands_its_data_on(level: SeriesLevel) -> None:
    """To the initiator's next packets, where there are some; else it keeps them."""
    rows = [(0, [1, 1, 40, 9]), (2, [0, 1, 0, 0]), (6, [2, 0, 7, 0])]
    (made,) = hold(level, Flow(rows=rows, start=0, answer=0.2, reply=0.1))
    assert made[0] == (0, SYN_ROW)
    assert sum(values[2] for _, values in made) == 47
    assert all(values[0] > 0 for _, values in made if values[2] > 0)
    (made,) = hold(level, Flow(rows=[(0, [1, 1, 40, 9])], start=0, answer=0.2, reply=-1))
    assert made == [(0, [1, 0, 40, 0]), (2, [0, 1, 0, 9])]


@pytest.mark.parametrize(
    "changed", [{"opens": False}, {"answer": -1.0}, {"answer": 0.9}, {"answer": 1.2}]
)
def test_other_flows_are_left_alone(level: SeriesLevel, changed: dict[str, float]) -> None:
    """Those that begin otherwise, have no answer, or wait so long that the SYN is repeated."""
    rows = [(0, [2, 1, 5, 3]), (1, [1, 0, 9, 0]), (15, [4, 4, 0, 0])]
    told: dict[str, float] = {"start": 0.0, "answer": 0.3, "reply": 0.1, **changed}
    held = Flow(rows=rows, start=0.0, answer=0.3, reply=0.1)
    made, other = hold(level, Flow(rows=rows, **told), held)
    assert made == rows
    assert other != rows


def test_flows_without_steps_stay_empty(level: SeriesLevel) -> None:
    (made,) = hold_nothing(level)
    assert made == 0


def hold_nothing(level: SeriesLevel) -> list[int]:
    empty = torch.zeros(1, dtype=torch.float64)
    series = DrawnSeries(
        offsets=np.zeros(2, dtype=np.int64),
        step=np.zeros(0, dtype=np.int64),
        values=np.zeros((0, 4), dtype=np.int64),
    )
    flows = DrawnFlows(
        window=torch.zeros(1, dtype=torch.int64), start_ns=empty,
        tokens=tokens_of(level, np.ones(1)),
    )  # fmt: skip
    totals = DrawnTotals(
        packets_and_bytes=torch.zeros(1, 4, dtype=torch.int64), answer_ns=empty, reply_ns=empty,
        duration_ns=empty, longest_ns=empty,
    )  # fmt: skip
    made = hold_handshakes(series, level, flows, totals, scale=1 / STEP_NS, step_count=STEPS)
    return np.diff(made.offsets).tolist()


WAY = st.tuples(st.integers(0, 4), st.integers(0, 3000)).map(lambda p: (p[0], p[1] * (p[0] > 0)))
VALUES = st.tuples(WAY, WAY).map(lambda w: [w[0][0], w[1][0], w[0][1], w[1][1]])
SOME = VALUES.filter(lambda v: v[0] + v[1] > 0)


@st.composite
def drawn_flow(draw: st.DrawFn) -> Flow:
    """A flow as the series level draws it: its initiator begins, bytes come with packets."""
    start = draw(st.integers(0, 10))
    steps = sorted(draw(st.sets(st.integers(start + 1, STEPS - 1), max_size=5)))
    first = draw(VALUES.filter(lambda v: v[0] > 0))
    answer = draw(st.sampled_from([-1.0, 0.0, 0.01, 0.1, 0.25, 0.5, 0.89, 0.9, 1.5]))
    reply = draw(st.sampled_from([-1.0, 0.0, 0.01, 0.1, 0.3])) if answer >= 0 else -1.0
    return Flow(
        rows=[(start, first), *((step, draw(SOME)) for step in steps)],
        start=start / 10 + draw(st.sampled_from([0.0, 0.03, 0.09])),
        answer=answer, reply=reply, opens=draw(st.booleans()),
    )  # fmt: skip


def step_of(time_s: float) -> int:
    return min(int(round(time_s * 1e9) // STEP_NS), STEPS - 1)


@settings(max_examples=300, deadline=None)
@given(flows=st.lists(drawn_flow(), min_size=1, max_size=4))
def test_whatever_was_drawn(level: SeriesLevel, flows: list[Flow]) -> None:
    for flow, rows in zip(flows, hold(level, *flows), strict=True):
        steps = [step for step, _ in rows]
        values = np.array([v for _, v in rows])
        drawn = np.array([v for _, v in flow.rows])
        assert steps == sorted(set(steps)), "steps ascend, each once"
        assert steps[0] >= 0
        assert steps[-1] < STEPS
        assert (values >= 0).all()
        assert (values[:, :2].sum(axis=1) > 0).all(), "no step is empty"
        assert (values.sum(axis=0) == drawn.sum(axis=0)).all(), "totals are kept"
        assert (values[:, :2][values[:, 2:] > 0] > 0).all(), "data come with packets"
        if not flow.opens or not 0 <= flow.answer < 0.9:
            assert rows == flow.rows
            continue
        answered = step_of(flow.start + flow.answer)
        due = step_of(flow.start + flow.answer + max(flow.reply, 0))
        early = [(step, v) for step, v in rows if step < answered]
        if flow.rows[0][0] < answered:
            alone = drawn[:, 0].sum() == 1  # its data can go nowhere
            size = int(drawn[0, 2]) if alone else 0
            assert early == [(flow.rows[0][0], [1, 0, size, 0])], "a SYN alone"
        else:
            assert early == []
        in_step = dict(rows)
        back = sum(v[1] for step, v in rows if step >= answered)
        assert back == 0 or in_step[answered][1] > 0, "a SYN-ACK in the answer's step"
        if flow.reply >= 0:
            spare = sum(v[0] for step, v in rows if step >= due) - (steps[0] == due)
            own = in_step.get(due, [0])[0] - (steps[0] == due)
            assert spare == 0 or own > 0, "a reply in its step"


def test_merging_puts_the_same_steps_of_a_flow_together() -> None:
    """Flow 1 has none; steps come in any order, and step 3 of two flows stays apart."""
    flow, step = np.array([2, 0, 0, 2, 0]), np.array([3, 5, 3, 1, 5])
    values = np.arange(20).reshape(5, 4)
    made = _merged(flow, step, values, 4)
    assert made.offsets.tolist() == [0, 2, 2, 4, 4]
    assert made.step.tolist() == [3, 5, 1, 3]
    expected = [values[2], values[1] + values[4], values[3], values[0]]
    assert made.values.tolist() == [row.tolist() for row in expected]


def series_of(*rows: tuple[int, list[int]]) -> DrawnSeries:
    return DrawnSeries(
        offsets=np.array([0, len(rows)]),
        step=np.array([step for step, _ in rows]),
        values=np.array([values for _, values in rows]),
    )


def rows_of(series: DrawnSeries) -> list[tuple[int, list[int]]]:
    return list(zip(series.step.tolist(), series.values.tolist(), strict=True))


def test_bringing_takes_from_asked_flows_and_later_steps_alone() -> None:
    rows = [(0, SYN_ROW), (2, [0, 2, 0, 5]), (6, [1, 0, 0, 0])]
    every: IntArray = np.array([0])
    made = _bring(series_of(*rows), np.zeros(0, dtype=np.int64), 1, np.array([1]))
    assert rows_of(made) == rows, "not asked"
    assert rows_of(_bring(series_of(*rows), every, 1, np.array([2]))) == rows, "has one there"
    assert rows_of(_bring(series_of(*rows), every, 1, np.array([3]))) == rows, "none comes later"
    made = _bring(series_of(*rows), every, 1, np.array([1]))
    assert rows_of(made) == [rows[0], (1, [0, 1, 0, 0]), (2, [0, 1, 0, 5]), rows[2]]
    made = _bring(series_of(*rows), every, 0, np.array([2]))
    assert rows_of(made) == [rows[0], (2, [1, 2, 0, 5])], "an empty step is gone"


def test_flows_that_begin_with_a_syn_are_those_of_the_capture(level: SeriesLevel) -> None:
    """Of each flow of the office, by the flags of its initiator's packets."""
    codec, trace = office()
    kinds = codec.records.kinds.rows[trace.records[:, 0]]
    is_syn = (kinds[:, 0] == 6) & (kinds[:, 1] == 0) & ((kinds[:, 3] & 0x12) == 0x02)
    expected = np.logical_or.reduceat(is_syn, trace.record_offsets[:-1])
    found = level.begins_with_syn(torch.as_tensor(trace.tokens.astype(np.int64))).numpy()
    assert 0 < expected.sum() < expected.size
    assert (found == expected).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_drawn_series_wait_for_the_syn_ack(compiled: bool) -> None:
    """Of 300 flows of 3 s and up to 20 packets either way, answered after 0.25 s or at once: by
    both ways of drawing, and behind all else that moves packets."""
    generator = TransformerGenerator(layout=layout(), config=SMALL, seed=0)
    levels = [generator.levels.eval()[name] for name in ("flows", "series", "records")]
    series = levels[1]
    assert isinstance(series, SeriesLevel)
    count, random = 300, np.random.default_rng(5)
    packets = random.integers(1, 21, (count, 2))
    sums = np.concatenate([packets, packets * random.integers(0, 900, (count, 2))], axis=1)
    answer = random.choice([0.0, 0.25], count) * 1e9
    opens = np.arange(count) % 3 > 0
    start = random.uniform(0, 9e9, count)
    flows = DrawnFlows(
        window=torch.zeros(count, dtype=torch.int64),
        start_ns=torch.as_tensor(start),
        tokens=tokens_of(series, opens),
    )
    duration = torch.full((count,), 3e9, dtype=torch.float64)
    totals = DrawnTotals(
        packets_and_bytes=torch.as_tensor(sums),
        answer_ns=torch.as_tensor(answer),
        reply_ns=torch.full_like(duration, 2e8),
        duration_ns=duration,
        longest_ns=duration,
    )
    size = {"window_ns": 128 * STEP_NS, "step_count": 128}
    if compiled:
        drawn = CpuSampler(*levels).draw_series(flows, totals, first_flow=0, seed=1, **size)
    else:
        drawn = draw_series(series, flows, totals, random=torch.Generator().manual_seed(1), **size)
    assert (np.add.reduceat(drawn.values, drawn.offsets[:-1], axis=0) == sums).all()
    alone = 0
    for flow in np.flatnonzero(opens):
        here = slice(drawn.offsets[flow], drawn.offsets[flow + 1])
        step, values = drawn.step[here], drawn.values[here]
        assert (np.diff(step) > 0).all()
        answered = int((start[flow] + answer[flow]) // STEP_NS)
        early = values[step < answered].tolist()
        assert len(early) <= 1
        if early:
            assert early[0][:2] == [1, 0]
            assert early[0][2] == 0 or sums[flow, 0] == 1
            alone += 1
        assert values[step == answered, 1].sum() > 0, "there is a SYN-ACK in its step"
    assert alone > 50
