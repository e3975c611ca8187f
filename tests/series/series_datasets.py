"""Small datasets for tests, and files of them."""

import numpy as np

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema

CSV = """user,plan,rate,bytes,loss
a,home,1.5,10,0
a,home,1.5,20,0.25
b,work,2.5,0,0.5
a,home,1.5,30,0
b,work,2.5,7,1
"""


def small_dataset() -> SeriesDataset:
    """What CSV says: two series, of three records and of two."""
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=(
                Column(name="plan", kind=CATEGORICAL, values=("home", "work")),
                Column(name="rate", kind=NUMERIC, low=1.5, high=2.5),
            ),
            measurements=(
                Column(name="bytes", kind=COUNT, low=0, high=30),
                Column(name="loss", kind=NUMERIC, low=0, high=1),
            ),
            max_length=3,
            id_column="user",
        ),
        metadata=np.array([[0, 1.5], [1, 2.5]]),
        values=np.array([[10, 0], [20, 0.25], [30, 0], [0, 0.5], [7, 1]], dtype=np.float64),
        offsets=np.array([0, 3, 5]),
    )


def same_dataset(one: SeriesDataset, other: SeriesDataset) -> bool:
    """Whether two datasets hold the same cells."""
    return (
        np.array_equal(one.offsets, other.offsets)
        and np.allclose(one.metadata, other.metadata, rtol=1e-12, atol=0)
        and np.allclose(one.values, other.values, rtol=1e-12, atol=0)
    )
