"""Steps of flows: totals met, answers and replies in the steps where they are due."""

import numpy as np
import torch

from netsynth.dataset import COUNT, Column, SeriesDataset, SeriesSchema
from netsynth.generate.flow_series.steps import draw_steps, first_and_spans
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.tables import SERIES_CHANNELS

WINDOW_NS, STEPS = 1000, 10  # 100 ns a step


def flow(
    totals: list[int], *, start: float, duration: float, answer: float = -1, reply: float = -1
) -> tuple[DrawnFlows, DrawnTotals]:
    flows = DrawnFlows(
        window=torch.zeros(1, dtype=torch.int64),
        start_ns=torch.tensor([start], dtype=torch.float64),
        tokens=torch.zeros(1, 1, dtype=torch.int64),
    )
    return flows, DrawnTotals(
        packets_and_bytes=torch.tensor([totals]),
        answer_ns=torch.tensor([answer], dtype=torch.float64),
        reply_ns=torch.tensor([reply], dtype=torch.float64),
        duration_ns=torch.tensor([duration], dtype=torch.float64),
        longest_ns=torch.tensor([duration], dtype=torch.float64),
    )


def steps(values: list[list[float]], flows: DrawnFlows, totals: DrawnTotals) -> DrawnSeries:
    schema = SeriesSchema(
        metadata=(),
        measurements=tuple(Column(name=n, kind=COUNT, high=1e6) for n in SERIES_CHANNELS),
        max_length=STEPS,
    )
    drawn = SeriesDataset(
        schema=schema, metadata=np.zeros((1, 0)), values=np.array(values, dtype=np.float64),
        offsets=np.array([0, len(values)]),
    )  # fmt: skip
    grid = {"window_ns": WINDOW_NS, "step_count": STEPS}
    first, spans = first_and_spans(flows, totals, **grid)
    rng = np.random.default_rng(0)
    return draw_steps(drawn, first, spans, flows, totals, rng=rng, **grid)


def test_totals_are_shared_out_over_the_steps_that_were_drawn() -> None:
    flows, totals = flow([6, 0, 600, 0], start=210, duration=400)
    made = steps([[1, 0, 9, 0], [0, 0, 0, 0], [4, 0, 40, 0], [0, 0, 0, 0], [1, 0, 9, 0]],
                 flows, totals)  # fmt: skip
    assert made.step.tolist() == [2, 4, 6]
    assert made.values.sum(axis=0).tolist() == [6, 0, 600, 0]
    assert (made.values[:, 0] >= 1).all()
    assert made.values[1, 0] == made.values[:, 0].max()


def test_no_answer_comes_before_it_is_due() -> None:
    flows, totals = flow([2, 2, 20, 20], start=10, duration=600, answer=250, reply=200)
    made = steps([[0, 5, 0, 5]] + [[0, 0, 0, 0]] * 5 + [[1, 1, 5, 5]], flows, totals)
    rows = dict(zip(made.step.tolist(), made.values.tolist(), strict=True))
    assert rows[0][0] >= 1  # who asks begins
    assert rows[0][1] == 0
    assert rows[2][1] >= 1  # 10 + 250 ns
    assert rows[4][0] >= 1  # 10 + 250 + 200 ns
    assert made.values.sum(axis=0).tolist() == [2, 2, 20, 20]


def test_a_packet_alone_is_one_step() -> None:
    flows, totals = flow([1, 0, 30, 0], start=999, duration=0)
    made = steps([[3, 1, 2, 2]], flows, totals)
    assert (made.step.tolist(), made.values.tolist()) == ([9], [[1, 0, 30, 0]])


def test_series_that_end_too_early_reach_the_last_step_all_the_same() -> None:
    flows, totals = flow([5, 0, 0, 0], start=0, duration=950)
    made = steps([[2, 0, 0, 0], [1, 0, 0, 0]], flows, totals)
    assert made.step.tolist() == [0, 1, 9]
