"""Cells as tokens and numbers, and back: values worked out by hand."""

import numpy as np
import pytest

from netsynth.dataset import COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.generate.tst import TstConfig
from netsynth.generate.tst.values import ValueCodec, fit_value_codec, series_means

CELLS = np.array([100.0, 300.0, 0.0, 10_000.0, 30_000.0, 20_000.0])
OFFSETS = np.array([0, 3, 6])
MIDDLE = np.full(6, 0.5)


def dataset(kind: str) -> SeriesDataset:
    column = Column(name="views", kind=kind, low=0, high=30_000)
    schema = SeriesSchema(metadata=(), measurements=(column,), max_length=3)
    return SeriesDataset(
        schema=schema, metadata=np.zeros((2, 0)), values=CELLS[:, None], offsets=OFFSETS
    )


def test_the_mean_of_a_series_stands_at_each_of_its_records() -> None:
    means = series_means(dataset(COUNT), 0)
    assert means == pytest.approx([400 / 3] * 3 + [20_000] * 3)


@pytest.mark.parametrize("kind", [COUNT, NUMERIC])
def test_numbers_of_series_are_told_over_their_mean(kind: str) -> None:
    data = dataset(kind)
    means = series_means(data, 0)
    usual_length = 550 if kind == COUNT else 3
    codec = fit_value_codec(
        data.schema.measurements[0], CELLS, means, TstConfig(), usual_length=usual_length
    )
    assert codec.has_number
    alone = fit_value_codec(data.schema.measurements[0], CELLS, means, TstConfig(), usual_length=1)
    assert not alone.is_relative
    token, number = codec.encode(CELLS, means, MIDDLE)
    assert token.tolist() == [1, 1, 0, 1, 1, 1]
    told = number * codec.spread + codec.mean
    # 100 of 133.3 is ln 0.75; 10,000 of 20,000 ln 0.5; the scale of a series is gone
    assert told[[0, 1, 3, 4, 5]] == pytest.approx(np.log([0.75, 2.25, 0.5, 1.5, 1.0]))
    assert codec.decode(token, number, means, MIDDLE) == pytest.approx(CELLS)
    half = codec.decode(token, number, means / 2, MIDDLE)
    assert half == pytest.approx(CELLS / 2)


def test_short_series_and_small_counts_keep_their_tokens() -> None:
    data = dataset(COUNT)
    means, column = series_means(data, 0), data.schema.measurements[0]
    short = fit_value_codec(column, CELLS, means, TstConfig(), usual_length=3)
    assert short.counts is not None
    small = np.array([0.0, 1.0, 2.0, 1.0, 0.0, 40.0])
    codec = fit_value_codec(column, small, means, TstConfig(), usual_length=550)
    assert codec.counts is not None
    token, number = codec.encode(small, means, MIDDLE)
    assert codec.decode(token, number, means, MIDDLE)[:5].tolist() == small[:5].tolist()


def test_counts_are_spread_over_the_unit_they_fill_and_come_back_whole() -> None:
    column = Column(name="views", kind=COUNT, low=0, high=1000)
    cells = np.array([20.0, 400.0, 900.0])
    ones = np.ones(3)
    codec = fit_value_codec(column, cells, ones * 440, TstConfig(), usual_length=30)
    _, low = codec.encode(cells, ones * 440, np.zeros(3))
    _, high = codec.encode(cells, ones * 440, np.full(3, 0.999))
    assert (low[:-1] < high[:-1]).all()
    for number in (low, high):
        made = codec.decode(np.ones(3, dtype=np.int64), number, ones * 440, MIDDLE)
        assert made[1] in (399, 400, 401)


def test_what_was_never_zero_is_never_drawn_as_zero() -> None:
    column = Column(name="share", kind=NUMERIC, low=0, high=8)
    cells, ones = np.array([1.0, 2.0, 4.0]), np.ones(3)
    codec = fit_value_codec(column, cells, ones, TstConfig(), usual_length=1)
    again = ValueCodec.from_row(codec.to_row(), column=column, counts=None)
    made = again.decode(np.array([0, 1]), np.zeros(2), ones[:2], MIDDLE[:2])
    assert made == pytest.approx([7 / 3, 7 / 3])  # a number of 0 is the mean
    some = fit_value_codec(column, np.array([0.0, 2, 4]), ones, TstConfig(), usual_length=1)
    again = ValueCodec.from_row(some.to_row(), column=column, counts=None)
    assert again.decode(np.array([0, 1]), np.zeros(2), ones[:2], MIDDLE[:2]).tolist() == [0, 3]
