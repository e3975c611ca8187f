"""Packets drawn before the reply is due wait for it."""

import numpy as np
import torch

from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.series_drawing import wait_for_replies


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_steps_before_the_reply_join_its_step() -> None:
    """Steps of 10 ns. Flow 0: answer at 5, reply at 95; flow 1 has none; flow 2 replies at once.

    Flow 0 was drawn active in steps 0, 3 (forward), 5 (reverse alone) and 9; step 3 joins step 9.
    """
    flows = DrawnFlows(
        window=torch.zeros(3, dtype=torch.int64),
        start_ns=column(0, 0, 40),
        tokens=torch.zeros(3, 1, dtype=torch.int64),
    )
    totals = DrawnTotals(
        packets_and_bytes=torch.tensor([[40, 40, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]]),
        answer_ns=column(5, -1, 2),
        reply_ns=column(90, -1, 3),
        duration_ns=column(95, 50, 50),
        longest_ns=column(95, 50, 50),
    )
    series = DrawnSeries(
        offsets=np.array([0, 4, 6, 8]),
        step=np.array([0, 3, 5, 9, 0, 5, 4, 8]),
        values=np.array(
            [[1, 1, 7, 8], [2, 0, 3, 0], [0, 4, 0, 5], [1, 1, 1, 1]] + [[1, 0, 0, 0]] * 4
        ),
    )
    made = wait_for_replies(series, flows, totals, scale=0.1, step_count=10)
    assert made.offsets.tolist() == [0, 3, 5, 7]
    assert made.step.tolist() == [0, 5, 9, 0, 5, 4, 8]
    assert made.values[:3].tolist() == [[1, 1, 7, 8], [0, 4, 0, 5], [3, 1, 4, 1]]
    assert (made.values.sum(axis=0) == series.values.sum(axis=0)).all()
    totals.packets_and_bytes[0, :2] = 5  # few packets: the reverse ones wait, too
    made = wait_for_replies(series, flows, totals, scale=0.1, step_count=10)
    assert made.step.tolist() == [0, 9, 0, 5, 4, 8]
    assert made.values[1].tolist() == [3, 5, 4, 6]


def test_the_initiators_last_packet_waits_for_the_answer() -> None:
    """SYN in step 1, its acknowledgement drawn in step 2, the SYN-ACK in step 4: the reply waits
    until it is due in step 5. A second flow has a packet left for its reply: its early one may
    repeat the SYN. In a third one the answer is late as well, and comes when due in step 4."""
    flows = DrawnFlows(
        window=torch.zeros(3, dtype=torch.int64),
        start_ns=column(10, 10, 10),
        tokens=torch.zeros(3, 1, dtype=torch.int64),
    )
    totals = DrawnTotals(
        packets_and_bytes=torch.tensor([[2, 1, 0, 0], [3, 1, 0, 0], [2, 1, 0, 0]]),
        answer_ns=column(35, 35, 35),
        reply_ns=column(9, 9, 9),
        duration_ns=column(44, 44, 44),
        longest_ns=column(44, 44, 44),
    )
    one, answer = [1, 0, 0, 0], [0, 1, 0, 0]
    series = DrawnSeries(
        offsets=np.array([0, 3, 7, 10]),
        step=np.array([1, 2, 4, 1, 2, 4, 5, 1, 2, 7]),
        values=np.array([one, one, answer, one, one, answer, one, one, one, answer]),
    )
    made = wait_for_replies(series, flows, totals, scale=0.1, step_count=10)
    assert made.step.tolist() == [1, 4, 5, 1, 2, 4, 5, 1, 4, 5]
    assert made.values.tolist() == [one, answer, one, one, one, answer, one, one, answer, one]


def test_one_packet_alone_is_kept_for_the_reply() -> None:
    """The answer stays in step 4, and so do nine of ten packets that the initiator sent there."""
    flows = DrawnFlows(
        window=torch.zeros(1, dtype=torch.int64),
        start_ns=column(0),
        tokens=torch.zeros(1, 1, dtype=torch.int64),
    )
    totals = DrawnTotals(
        packets_and_bytes=torch.tensor([[11, 30, 107, 900]]),
        answer_ns=column(45),
        reply_ns=column(50),
        duration_ns=column(99),
        longest_ns=column(99),
    )
    series = DrawnSeries(
        offsets=np.array([0, 3]),
        step=np.array([0, 4, 12]),
        values=np.array([[1, 0, 7, 0], [10, 1, 100, 30], [0, 29, 0, 870]]),
    )
    made = wait_for_replies(series, flows, totals, scale=0.1, step_count=20)
    assert made.step.tolist() == [0, 4, 9, 12]
    assert made.values[:3].tolist() == [[1, 0, 7, 0], [9, 1, 90, 30], [1, 0, 10, 0]]
