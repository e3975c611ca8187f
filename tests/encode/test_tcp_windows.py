"""Windows of records by hand: what is told of them, and which may be 0."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from netsynth.encode.tcp_windows import (
    SAME_WINDOW,
    WindowCodec,
    decode_windows,
    fit_window_codec,
)
from netsynth.numbers import IntArray

ACK_KIND, RST_KIND = 0, 1
CLOSES = np.array([False, True])
NONE, COMMON, OTHER = -1, 8192, 65535


def pairs() -> tuple[IntArray, IntArray]:
    """Windows before and after: 50 raised by 500, 10 by 700 and 50 lowered by 300, from anywhere;
    40 set to 8192, 45 to 65535 and 20 to 0, from anywhere; 60 first ones of 1024."""
    count = np.arange(60)
    before = [
        10_000 + 13 * count[:50], 20_011 + 37 * count[:10], 30_000 + 17 * count[:50],
        40_000 + 111 * count[:40], 1_000 + 101 * count[:45], 3_000 + 211 * count[:20],
        np.full(60, NONE),
    ]  # fmt: skip
    after = [before[0] + 500, before[1] + 700, before[2] - 300]
    after += [np.full(n, window) for n, window in ((40, COMMON), (45, OTHER), (20, 0), (60, 1024))]
    return np.concatenate(before).astype(np.int64), np.concatenate(after).astype(np.int64)


@pytest.fixture(scope="module")
def codec() -> WindowCodec:
    return fit_window_codec(*pairs())


def told(codec: WindowCodec, before: int, window: int) -> list[int]:
    """What the token of a window sets and adds."""
    token = codec.encode(np.array([before]), np.array([window]))
    found: list[int] = codec.windows()[token[0]].tolist()
    return found


def test_what_comes_more_often_is_told(codec: WindowCodec) -> None:
    """500 more came 50 times, 8192 came 40 times, and 700 more 10 times."""
    assert told(codec, 12_345, 12_845) == [NONE, 500]
    assert told(codec, 33_333, 33_033) == [NONE, -300]
    assert told(codec, 51_234, COMMON) == [COMMON, 0]
    assert told(codec, COMMON - 500, COMMON) == [NONE, 500]
    assert told(codec, COMMON - 700, COMMON) == [COMMON, 0]
    assert told(codec, 15_000, 15_700) == [NONE, 700]
    assert told(codec, 4_000, 0) == [0, 0]


def test_of_what_is_rare_a_small_change_is_told(codec: WindowCodec) -> None:
    """8000 is less than a quarter of 32,100, and 8025 is one of it: that is the limit."""
    assert told(codec, 24_100, 32_100)[0] == NONE
    assert told(codec, 24_100, 32_100)[1] > 0
    assert told(codec, 24_075, 32_100)[0] >= 0
    assert told(codec, 40_100, 32_100)[1] < 0
    assert told(codec, 40_125, 32_100)[0] >= 0


def test_a_first_window_is_always_set(codec: WindowCodec) -> None:
    """Of 1024, met as a first one alone, no change can be told; nor of 499, which is 500 more
    than "-1"."""
    assert told(codec, NONE, 1024) == [1024, 0]
    assert told(codec, NONE, 499)[0] >= 0
    assert told(codec, NONE, 0) == [0, 0]
    assert 1024 not in codec.common_windows[:, 0]  # of those that could be told either way


def test_a_window_that_stays_is_told_so(codec: WindowCodec) -> None:
    before = np.array([0, 77, COMMON, 65535])
    assert codec.encode(before, before).tolist() == [SAME_WINDOW] * 4
    assert codec.windows()[SAME_WINDOW].tolist() == [NONE, 0]


def test_counts_are_of_later_windows_met_four_times_or_more(codec: WindowCodec) -> None:
    assert codec.common_windows.tolist() == [[0, 20], [COMMON, 40], [OTHER, 45]]
    assert codec.common_changes.tolist() == [[-300, 50], [500, 50], [700, 10]]
    three = fit_window_codec(np.array([10, 1_000, 9_000]), np.array([5_000] * 3))
    assert three.common_windows.shape == (0, 2)
    four = fit_window_codec(np.array([10, 1_000, 9_000, 3_000]), np.array([5_000] * 4))
    assert four.common_windows.tolist() == [[5_000, 4]]


def test_each_token_sets_or_adds_what_its_codec_has(codec: WindowCodec) -> None:
    windows = codec.windows()
    assert windows.shape == (codec.size, 2)
    less, more = codec.less.size, codec.more.size
    assert (windows[: 1 + less + more, 0] == NONE).all()
    assert (windows[1 : 1 + less, 1] < 0).all()
    assert (windows[1 + less : 1 + less + more, 1] > 0).all()
    assert (windows[1 + less + more :, 0] >= 0).all()
    assert (windows[1 + less + more :, 0] <= 65535).all()
    assert (windows[1 + less + more :, 1] == 0).all()


def test_arrays_give_the_same_codec(codec: WindowCodec) -> None:
    arrays = codec.to_arrays("records.window")
    assert all(name.startswith("records.window.") for name in arrays)
    again = WindowCodec.from_arrays("records.window", arrays)
    before, window = pairs()
    assert (again.encode(before, window) == codec.encode(before, window)).all()
    assert (again.windows() == codec.windows()).all()


def test_of_no_windows_any_can_be_told() -> None:
    """A capture without TCP: one amount less, one more, and one window."""
    nothing = np.zeros(0, dtype=np.int64)
    codec = fit_window_codec(nothing, nothing)
    codec = WindowCodec.from_arrays("w", codec.to_arrays("w"))
    assert codec.size == 4
    token = codec.encode(np.array([NONE, 9_000, 9_000]), np.array([5, 9_000, 9_100]))
    assert token.tolist() == [3, SAME_WINDOW, 2]


MOVES = st.sampled_from([("more", 500), ("more", 700), ("more", -300), ("more", 0),
                         ("set", COMMON), ("set", OTHER), ("set", 0)])  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), MOVES), min_size=1, max_size=40))
def test_windows_come_back(moves: list[tuple[int, tuple[str, int]]]) -> None:
    """Of three directions that do what often was seen, which is told to the byte."""
    codec = fit_window_codec(*pairs())
    last, rows = {0: NONE, 1: NONE, 2: NONE}, []
    for lane, (how, amount) in moves:
        window = amount if how == "set" else last[lane] + amount
        if last[lane] == NONE:
            window = COMMON
        if 0 <= window <= 65535:
            rows.append((lane, last[lane], window))
            last[lane] = window
    lane, before, window = np.array(rows).T
    records = np.zeros((len(rows), 3), dtype=np.int32)
    records[:, 0], records[:, 2] = RST_KIND, codec.encode(before, window)
    ones = np.ones(len(rows), dtype=np.bool_)
    found = decode_windows(codec.windows(), CLOSES, records, lane, ones)
    assert found.tolist() == window.tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.integers(0, 2), st.booleans(), st.booleans()), min_size=1
    )
)
def test_decoded_windows_fit_the_header(rows: list[tuple[int, int, bool, bool]]) -> None:
    """Whatever tokens follow each other; 0 outside TCP, and in it for kinds that had it alone."""
    windows = np.array([[NONE, 0], [NONE, -9_000], [NONE, 9_000], [NONE, -1]])
    sets = np.array([[v, 0] for v in (0, 1, 500, 30_000, 60_000, 65_535)])
    table = np.concatenate([windows, sets])
    token, lane, closes, is_tcp = (np.array(column) for column in zip(*rows, strict=True))
    records = np.zeros((token.size, 3), dtype=np.int32)
    records[:, 0], records[:, 2] = closes, token
    found = decode_windows(table, CLOSES, records, lane, is_tcp)
    assert ((found >= 0) & (found <= 65535)).all()
    assert (found[~is_tcp] == 0).all()
    assume((is_tcp & (token > 5)).any())
    assert (found[is_tcp & ~closes] > 0).all()


def windows(codec: WindowCodec, kinds: list[int], values: list[int | None]) -> list[int]:
    """Windows of the records of one lane that are told `values`, None: the same as before."""
    token = [
        SAME_WINDOW if v is None else int(codec.encode(np.array([NONE]), np.array([v]))[0])
        for v in values
    ]
    records = np.array([[k, 0, t] for k, t in zip(kinds, token, strict=True)], dtype=np.int32)
    ones = np.ones(len(kinds), dtype=np.bool_)
    lane = np.zeros(len(kinds), dtype=np.int64)
    return decode_windows(codec.windows(), CLOSES, records, lane, ones).tolist()


def test_a_window_stays_until_another_is_told(codec: WindowCodec) -> None:
    found = windows(codec, [ACK_KIND] * 4, [COMMON, None, OTHER, None])
    assert found == [COMMON, COMMON, OTHER, OTHER]


def test_a_reset_may_close_its_window_and_no_other(codec: WindowCodec) -> None:
    found = windows(codec, [ACK_KIND, RST_KIND, ACK_KIND], [COMMON, 0, None])
    assert found == [COMMON, 0, COMMON]


def test_a_kind_never_seen_with_none_keeps_the_one_before(codec: WindowCodec) -> None:
    assert windows(codec, [ACK_KIND] * 3, [OTHER, 0, None]) == [OTHER] * 3


def test_a_lane_that_begins_without_a_window_takes_the_next(codec: WindowCodec) -> None:
    assert windows(codec, [ACK_KIND] * 3, [None, None, COMMON]) == [COMMON] * 3
    assert windows(codec, [RST_KIND], [None]) == [0]


def test_a_lane_without_any_takes_the_usual_one(codec: WindowCodec) -> None:
    """Lane 0 tells 1024 once, lane 1 tells 8192 twice, and says so; lane 2 nothing."""
    said = [(0, 1024), (1, COMMON), (1, OTHER), (1, COMMON)]
    token = codec.encode(np.full(4, NONE), np.array([window for _, window in said]))
    records = np.zeros((6, 3), dtype=np.int32)
    records[:4, 2] = token
    lane = np.array([0, 1, 1, 1, 1, 2])
    found = decode_windows(codec.windows(), CLOSES, records, lane, np.ones(6, dtype=np.bool_))
    assert found.tolist() == [1024, COMMON, OTHER, COMMON, COMMON, COMMON]


def test_outside_tcp_there_is_none(codec: WindowCodec) -> None:
    records = np.array([[ACK_KIND, 0, codec.size - 1]], dtype=np.int32)
    lane = np.zeros(1, dtype=np.int64)
    no = np.zeros(1, dtype=np.bool_)
    assert decode_windows(codec.windows(), CLOSES, records, lane, no).tolist() == [0]
