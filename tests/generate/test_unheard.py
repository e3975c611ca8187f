"""What is not acknowledged yet, by hand, and the same one by one and side by side."""

import numpy as np
import torch

from netsynth.encode.records import brings_news
from netsynth.generate.transformer.unheard import hear_all, unheard_before
from netsynth.tables import (
    ACK,
    ACK_ALL,
    ACK_NONE,
    ACK_PART,
    ACK_SAME,
    AHEAD,
    FIN,
    IN_ORDER,
    KEEP_ALIVE,
    RETRANSMIT,
    SYN,
    TCP,
    UDP,
)


def test_a_dialogue_by_hand() -> None:
    """SYN, SYN-ACK, ACK; a request; an answer of three segments, half of them acknowledged, then
    all, then an acknowledgement that repeats; behind it, another flow."""
    rows = [
        (0, 1, ACK_NONE, (0, 0)), (1, 1, ACK_ALL, (1, 0)), (0, 0, ACK_ALL, (0, 1)),
        (0, 1, ACK_ALL, (0, 0)), (1, 1, ACK_ALL, (1, 0)), (1, 1, ACK_ALL, (0, 1)),
        (1, 1, ACK_SAME, (0, 2)), (0, 0, ACK_PART, (0, 3)), (0, 0, ACK_ALL, (0, 2)),
        (0, 0, ACK_SAME, (0, 0)), (1, 1, ACK_NONE, (0, 0)), (0, 0, ACK_NONE, (0, 1)),
    ]  # fmt: skip
    reverse, brings, ack_class = (np.array([row[i] for row in rows]) for i in range(3))
    first = np.array([0] * 10 + [10] * 2)
    unheard = unheard_before(first, reverse, brings, ack_class)
    assert [tuple(pair) for pair in unheard.tolist()] == [row[3] for row in rows]


def test_side_by_side_as_one_by_one() -> None:
    random = np.random.default_rng(3)
    flows, count = 40, 30
    reverse, brings = random.integers(0, 2, (2, count, flows))
    ack_class = random.integers(0, 4, (count, flows))
    unheard = torch.zeros(flows, 2, dtype=torch.int64)
    found = []
    for i in range(count):
        found.append(unheard)
        columns = (torch.as_tensor(c[i]) for c in (reverse, brings, ack_class))
        unheard = hear_all(unheard, *columns)
    first = np.repeat(np.arange(flows) * count, count)
    expected = unheard_before(first, *(c.T.ravel() for c in (reverse, brings, ack_class)))
    assert torch.stack(found, dim=1).reshape(-1, 2).tolist() == expected.tolist()


def test_what_is_to_be_acknowledged() -> None:
    cases = [
        (TCP, 1, ACK, IN_ORDER, 1), (TCP, 1, ACK, AHEAD, 1), (TCP, 1, ACK, RETRANSMIT, 0),
        (TCP, 1, ACK, KEEP_ALIVE, 0), (TCP, 0, ACK, IN_ORDER, 0), (TCP, 0, SYN, IN_ORDER, 1),
        (TCP, 0, FIN | ACK, IN_ORDER, 1), (UDP, 1, 0, IN_ORDER, 0),
    ]  # fmt: skip
    rows = [(p, 0, size, flags, segment, 0, 0, 0, 0) for p, size, flags, segment, _ in cases]
    assert brings_news(np.array(rows)).tolist() == [case[4] for case in cases]
