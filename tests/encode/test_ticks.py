"""Ticks of the clock that captures were recorded by: what all their times are multiples of."""

import pytest
from encode_flows import make_flows

from netsynth.encode.fit import LONGEST_TICK_NS, _tick_ns

BASE_NS = 1_700_000_000 * 10**9  # whole seconds, so a multiple of 256 ns and of 10 ms as well


@pytest.mark.parametrize(
    ("captures", "tick_ns"),
    [
        ([[0, 1000, 3000, 8000]], 1000),
        ([[0, 1000, 3001]], 1),
        ([[256, 512, 1280]], 256),  # seconds since the epoch in double precision
        ([[4000, 8000], [6000]], 2000),  # of both captures
        ([[0, 2 * 10**9, 3 * 10**9]], LONGEST_TICK_NS),  # whole seconds
        ([[0, 15 * 10**6, 45 * 10**6]], 5 * 10**6),  # 15 ms, but no more than a part of 10
        ([[0]], LONGEST_TICK_NS),
        ([[7]], 1),
    ],
)
def test_a_tick_is_what_all_times_are_multiples_of(captures: list[list[int]], tick_ns: int) -> None:
    tables = [make_flows([{}], [[(BASE_NS + t, 0, 9) for t in times]]) for times in captures]
    assert _tick_ns(tables) == tick_ns


def test_times_of_nothing_but_0_have_a_tick() -> None:
    assert _tick_ns([make_flows([{}], [[(0, 0, 9), (0, 1, 9)]])]) == LONGEST_TICK_NS
