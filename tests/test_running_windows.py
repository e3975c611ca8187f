"""Windows of packets by their tokens: lane by lane, as one would read them out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.tcp_windows import NOT_SET, running_windows

SAME, LESS, MORE, SMALL, LARGE = range(5)
WINDOWS = np.array([[NOT_SET, 0], [NOT_SET, -30], [NOT_SET, 7], [100, 0], [65535, 0]])


def running(token: list[int], lane: list[int]) -> list[int]:
    return running_windows(np.array(token, dtype=np.int64), np.array(lane), WINDOWS).tolist()


def test_changes_add_up_from_what_was_set_last() -> None:
    found = running([SMALL, MORE, SAME, LESS, LARGE, LESS, MORE], [3] * 7)
    assert found == [100, 107, 107, 77, 65535, 65505, 65512]


def test_nothing_is_known_before_a_window_is_set() -> None:
    assert running([SAME, MORE, LESS, SMALL, MORE], [0] * 5) == [-1, -1, -1, 100, 107]


def test_lanes_do_not_touch_each_other() -> None:
    """Lane 5 sets a window first; lane 2, between its packets, never does."""
    found = running([LARGE, MORE, LESS, SAME, SMALL], [5, 2, 5, 2, 5])
    assert found == [65535, -1, 65505, -1, 100]


def test_sums_of_changes_stay_windows_and_known() -> None:
    """100 - 4 * 30 = -20, then + 3 * 7 = 1: what is below 0 is shown as 0, not taken as unset; and
    65535 + 7 - 30 = 65512."""
    low = running([SMALL, LESS, LESS, LESS, LESS, MORE, MORE, MORE], [0] * 8)
    assert low == [100, 70, 40, 10, 0, 0, 0, 1]
    assert running([LARGE, MORE, LESS], [0] * 3) == [65535, 65535, 65512]


def test_a_sum_that_equals_the_mark_of_no_window_is_a_window() -> None:
    windows = np.array([[NOT_SET, NOT_SET - 5], [5, 0]])
    token, lane = np.array([1, 0]), np.zeros(2, dtype=np.int64)
    assert running_windows(token, lane, windows).tolist() == [5, 0]


def test_no_packets_have_no_windows() -> None:
    assert running([], []) == []


PACKETS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), max_size=40)


@settings(max_examples=150, deadline=None)
@given(PACKETS)
def test_windows_are_those_of_one_packet_after_the_other(packets: list[tuple[int, int]]) -> None:
    last: dict[int, int] = {}
    expected = []
    for token, lane in packets:
        sets, adds = WINDOWS[token].tolist()
        if sets >= 0:
            last[lane] = sets
        elif lane in last:
            last[lane] += adds
        expected.append(min(max(last[lane], 0), 65535) if lane in last else -1)
    assert running([t for t, _ in packets], [lane for _, lane in packets]) == expected
