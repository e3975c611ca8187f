"""Scaling, auto-normalisation and flags, with values worked out by hand."""

import numpy as np
import pytest

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.generate.doppelganger.encoding import SeriesEncoding, denormalise, normalise


def dataset() -> SeriesDataset:
    """Two series, of three records and of one; a number from 0 to 10, a count, a category."""
    schema = SeriesSchema(
        metadata=(
            Column(name="kind", kind=CATEGORICAL, values=("a", "b", "c")),
            Column(name="rate", kind=NUMERIC, low=-1, high=3),
        ),
        measurements=(
            Column(name="x", kind=NUMERIC, low=0, high=10),
            Column(name="n", kind=COUNT, low=0, high=7),
            Column(name="state", kind=CATEGORICAL, values=("up", "down")),
        ),
        max_length=4,
    )
    values = [[2, 0, 0], [8, 1, 1], [5, 7, 0], [10, 3, 1]]
    return SeriesDataset(
        schema=schema,
        metadata=np.array([[2, 0], [0, 3]], dtype=np.float64),
        values=np.array(values, dtype=np.float64),
        offsets=np.array([0, 3, 4]),
    )


def test_a_series_is_normalised_by_its_own_active_range() -> None:
    # 0.2, 0.8, 0.5 lie in 0.2 .. 0.8: middle 0.5, half 0.3. The second series, 1 alone, has half 0.
    scaled = np.array([0.2, 0.8, 0.5, 1.0])
    share, middle, half = normalise(scaled, np.array([0, 3, 4]), False)
    assert share == pytest.approx([0, 1, 0.5, 0])
    assert middle == pytest.approx([0.5, 1])
    assert half == pytest.approx([0.3, 0])
    spread = np.array([0, 0, 0, 1])
    assert denormalise(share, middle[spread], half[spread], False) == pytest.approx(scaled)


def test_normalised_around_zero_for_tanh() -> None:
    share, middle, half = normalise(np.array([-0.5, 0.5, 0.0]), np.array([0, 3]), True)
    assert share == pytest.approx([-1, 1, 0])
    assert (middle[0], half[0]) == pytest.approx((0, 0.5))
    assert denormalise(share, middle, half, True) == pytest.approx([-0.5, 0.5, 0])


def test_a_dataset_as_numbers() -> None:
    config = DoppelgangerConfig(log_counts=True)
    encoded = SeriesEncoding(dataset().schema, config).encode(dataset())
    assert encoded.metadata == pytest.approx(np.array([[0, 0, 1, 0.25], [1, 0, 0, 1]]))
    # x: 0.2 0.8 0.5; n: log 1, log 2 and log 8 of log 8: 0, 1/3, 1; then log 4 / log 8 = 2/3
    assert encoded.ranges == pytest.approx(np.array([[0.5, 0.3, 0.5, 0.5], [1, 0, 2 / 3, 0]]))
    records = [[0, 0, 1, 0], [1, 1 / 3, 0, 1], [0.5, 1, 1, 0], [0, 0, 0, 1]]
    assert encoded.records == pytest.approx(np.array(records), abs=1e-6)


def test_flags_go_on_end_and_fall_silent() -> None:
    encoding = SeriesEncoding(dataset().schema, DoppelgangerConfig())
    batch = encoding.encode(dataset()).batch(np.array([1, 0]), 4)  # [B, T, W + 2]
    assert batch.shape == (2, 4, 6)
    assert batch[0, :, -2:].tolist() == [[0, 1], [0, 0], [0, 0], [0, 0]]
    assert batch[1, :, -2:].tolist() == [[1, 0], [1, 0], [0, 1], [0, 0]]
    assert not batch[0, 1:].any()
    assert batch[1, 1, :4] == pytest.approx([1, 1 / 7, 0, 1])


@pytest.mark.parametrize("output", ["sigmoid", "tanh"])
@pytest.mark.parametrize("auto_normalise", [False, True])
@pytest.mark.parametrize("log_counts", [False, True])
def test_what_is_encoded_decodes(output: str, auto_normalise: bool, log_counts: bool) -> None:
    config = DoppelgangerConfig(
        output=output,  # type: ignore[arg-type]
        auto_normalise=auto_normalise,
        log_counts=log_counts,
    )
    data, encoding = dataset(), SeriesEncoding(dataset().schema, config)
    encoded = encoding.encode(data)
    batch = encoded.batch(np.array([0, 1]), 4)
    again = encoding.decode(encoded.metadata, encoded.ranges, batch, data.lengths)
    assert again.metadata == pytest.approx(data.metadata, abs=1e-5)
    assert again.values == pytest.approx(data.values, abs=1e-5)
    assert again.offsets.tolist() == [0, 3, 4]


def test_what_lies_outside_comes_back_within_the_range() -> None:
    encoding = SeriesEncoding(dataset().schema, DoppelgangerConfig(auto_normalise=False))
    series = np.full((1, 4, 6), 2.0, dtype=np.float32)
    metadata = np.array([[0.1, 0.7, 0.2, -3]], dtype=np.float32)
    made = encoding.decode(metadata, np.zeros((1, 0), np.float32), series, np.array([2]))
    assert made.metadata.tolist() == [[1, -1]]
    assert made.values[:, :2].tolist() == [[10, 7], [10, 7]]
