"""Windows of records by hand; a window of 0 is for the kinds that were seen with it."""

import numpy as np
import pytest

from netsynth.encode.records import RecordCodec
from netsynth.encode.tcp_windows import decode_windows
from netsynth.encode.vocabulary import Vocabulary
from netsynth.numbers import fit_number_codec

ACK_KIND, RST_KIND = 0, 1
SAME = 0


@pytest.fixture(scope="module")
def codec() -> RecordCodec:
    windows = fit_number_codec(
        np.repeat([0.0, 1000.0, 2000.0], 100), bin_count=4, atom_count=3, atom_share=0.1
    )
    number = fit_number_codec(np.ones(1), bin_count=4, atom_count=1)
    kinds = Vocabulary(rows=np.zeros((2, 9), dtype=np.int64), counts=np.ones(2, dtype=np.int64))
    return RecordCodec(
        kinds=kinds, length=number, window=windows, gap=number, gap_per_delay=number,
        closes=np.array([False, True]),
    )  # fmt: skip


def windows(codec: RecordCodec, kinds: list[int], told: list[int | None]) -> list[int]:
    """Windows of the records of one lane that tell `told`, None: the same as before."""
    token = [
        SAME if value is None else 1 + int(codec.window.encode(np.array([float(value)]))[0])
        for value in told
    ]
    records = np.array([[k, 0, t] for k, t in zip(kinds, token, strict=True)], dtype=np.int32)
    ones = np.ones(len(kinds), dtype=np.bool_)
    return decode_windows(codec, records, np.zeros(len(kinds), dtype=np.int64), ones).tolist()


def test_a_window_stays_until_another_is_told(codec: RecordCodec) -> None:
    found = windows(codec, [ACK_KIND] * 4, [1000, None, 2000, None])
    assert found == [1000, 1000, 2000, 2000]


def test_a_reset_may_close_its_window_and_no_other(codec: RecordCodec) -> None:
    found = windows(codec, [ACK_KIND, RST_KIND, ACK_KIND], [1000, 0, None])
    assert found == [1000, 0, 1000]


def test_a_kind_never_seen_with_none_keeps_the_one_before(codec: RecordCodec) -> None:
    assert windows(codec, [ACK_KIND] * 3, [2000, 0, None]) == [2000, 2000, 2000]


def test_a_lane_that_begins_without_a_window_takes_the_next(codec: RecordCodec) -> None:
    assert windows(codec, [ACK_KIND] * 3, [None, None, 1000]) == [1000, 1000, 1000]
    assert windows(codec, [RST_KIND], [None]) == [0]


def test_outside_tcp_there_is_none(codec: RecordCodec) -> None:
    records = np.array([[ACK_KIND, 0, 2]], dtype=np.int32)
    lane = np.zeros(1, dtype=np.int64)
    assert decode_windows(codec, records, lane, np.zeros(1, dtype=np.bool_)).tolist() == [0]
