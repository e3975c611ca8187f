"""A real short training, and what can be asked of the model then."""

import numpy as np
import pytest

from netsynth.dataset import CATEGORICAL, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.doppelganger import DoppelgangerConfig, DoppelgangerGenerator

SCHEMA = SeriesSchema(
    metadata=(Column(name="size", kind=CATEGORICAL, values=("small", "large")),),
    measurements=(Column(name="x", kind=NUMERIC, low=0, high=100),),
    max_length=8,
)


def learned() -> SeriesDataset:
    """400 series: a quarter large, at about 80 and 8 records; small ones at about 20 and 4."""
    random = np.random.default_rng(0)
    large = (np.arange(400) % 4 == 0).astype(np.int64)
    lengths = np.where(large == 1, 8, 4)
    level = np.repeat(np.where(large == 1, 80.0, 20.0), lengths)
    return SeriesDataset(
        schema=SCHEMA,
        metadata=large[:, None].astype(np.float64),
        values=(level + random.normal(0, 3, level.size)).clip(0, 100)[:, None],
        offsets=np.concatenate(([0], np.cumsum(lengths))),
    )


@pytest.fixture(scope="module")
def fitted() -> DoppelgangerGenerator:
    config = DoppelgangerConfig(
        max_epochs=150, auto_normalise=False, average=0.99, retrain_steps=300
    )
    made = DoppelgangerGenerator(schema=SCHEMA, config=config, seed=1)
    reports: list[float] = []
    made.fit(learned(), seed=1, report=lambda _, share, __: reports.append(share))
    assert len(reports) == 600
    assert made.outcomes["series"]["steps"] == 600
    return made


def one(made: DoppelgangerGenerator, count: int, **wanted: object) -> SeriesDataset:
    (part,) = made.sample(count, seed=5, **wanted)  # type: ignore[arg-type]
    return part


def test_it_learns_what_goes_with_what(fitted: DoppelgangerGenerator) -> None:
    made = one(fitted, 1000)
    large = made.metadata[:, 0] == 1
    mean = made.totals(0) / made.lengths
    assert 0.1 < large.mean() < 0.45
    assert np.median(mean[large]) == pytest.approx(80, abs=10)
    assert np.median(mean[~large]) == pytest.approx(20, abs=10)
    assert np.median(made.lengths[large]) == 8
    assert np.median(made.lengths[~large]) == 4


def test_the_same_seed_draws_the_same(fitted: DoppelgangerGenerator) -> None:
    first, again = one(fitted, 50), one(fitted, 50)
    assert np.array_equal(first.values, again.values)
    (other,) = fitted.sample(50, seed=6)
    assert not np.array_equal(first.metadata, other.metadata) or first.values.size != (
        other.values.size
    )


def test_metadata_and_lengths_as_wished(fitted: DoppelgangerGenerator) -> None:
    wanted = np.repeat([[0.0], [1.0]], 30, axis=0)
    made = one(fitted, 60, metadata=wanted, lengths=np.full(60, 6))
    assert np.array_equal(made.metadata, wanted)
    assert (made.lengths == 6).all()
    assert made.totals(0)[30:].mean() > 2 * made.totals(0)[:30].mean()
    free = one(fitted, 40, metadata=np.full((40, 1), np.nan))
    assert set(free.metadata[:, 0]) == {0, 1}


def test_metadata_alone_learn_another_distribution(fitted: DoppelgangerGenerator) -> None:
    again = DoppelgangerGenerator.from_parts(*fitted.to_parts(), schema=SCHEMA)
    wanted = np.array([[1.0]] * 9 + [[0.0]])
    before = {k: v.clone() for k, v in again.networks.state_dict().items()}
    again.retrain_metadata(wanted, seed=0)
    changed = {k for k, v in again.networks.state_dict().items() if not v.equal(before[k])}
    assert changed
    assert all(name.startswith("generators.metadata.") for name in changed)
    made = one(again, 1000)
    assert 0.75 < made.metadata.mean() < 1


def test_parts_restore_it(fitted: DoppelgangerGenerator) -> None:
    header, arrays = fitted.to_parts()
    again = DoppelgangerGenerator.from_parts(header, arrays, schema=SCHEMA)
    assert np.array_equal(one(again, 20).values, one(fitted, 20).values)
    del arrays["generators.record.weight"]
    with pytest.raises(ModelError, match="fit it again"):
        DoppelgangerGenerator.from_parts(header, arrays, schema=SCHEMA)


@pytest.mark.parametrize(("alpha", "is_trained"), [(0.0, False), (1.0, True)])
def test_without_weight_the_auxiliary_critic_is_not_trained(alpha: float, is_trained: bool) -> None:
    config = DoppelgangerConfig(max_epochs=1, auto_normalise=False, alpha=alpha)
    made = DoppelgangerGenerator(schema=SCHEMA, config=config, seed=1)
    before = {name: weight.clone() for name, weight in made.networks.state_dict().items()}
    made.fit(learned(), seed=1)
    changed = {n for n, weight in made.networks.state_dict().items() if (weight != before[n]).any()}
    assert "critic.first.weight" in changed
    assert ("auxiliary.first.weight" in changed) == is_trained


def test_what_cannot_be_is_said() -> None:
    for settings in ({"batch": 1}, {"average": 1.0}, {"output": "relu"}, {"patch": -1}):
        with pytest.raises(ConfigError, match="but must be"):
            DoppelgangerConfig(**settings)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="2 samples at least, not 1"):
        DoppelgangerGenerator(schema=SCHEMA, config=DoppelgangerConfig()).fit(
            learned().take(np.array([0])), seed=0
        )
