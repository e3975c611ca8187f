"""Series for tests of TST."""

import numpy as np

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema

SCHEMA = SeriesSchema(
    metadata=(
        Column(name="end", kind=CATEGORICAL, values=("FINISH", "KILL")),
        Column(name="rate", kind=NUMERIC, low=0, high=10),
    ),
    measurements=(
        Column(name="packets", kind=COUNT, low=0, high=200),
        Column(name="load", kind=NUMERIC, low=0, high=50),
        Column(name="state", kind=CATEGORICAL, values=("up", "down")),
    ),
    max_length=12,
)


def jobs(count: int = 300) -> SeriesDataset:
    """A fifth are killed: long, busy and mostly down; the others short, with idle steps."""
    random = np.random.default_rng(0)
    killed = (np.arange(count) % 5 == 0).astype(np.int64)
    lengths = np.where(killed == 1, random.integers(9, 13, count), random.integers(1, 4, count))
    of = np.repeat(killed, lengths)
    packets = np.where(of == 1, random.integers(60, 200, of.size), random.integers(0, 6, of.size))
    load = np.exp(random.normal(np.where(of == 1, 2, 0), 0.4)).clip(0, 50) * (packets > 0)
    state = (random.random(of.size) < np.where(of == 1, 0.9, 0.1)).astype(np.int64)
    return SeriesDataset(
        schema=SCHEMA,
        metadata=np.stack([killed, random.random(count) * 10], axis=1),
        values=np.stack([packets, load, state], axis=1).astype(np.float64),
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )
