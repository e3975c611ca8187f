"""Maps that give what G3 makes the learned distribution, kind by kind."""

import numpy as np
import pytest
import torch
from cascade_fits import fresh
from scipy.stats import wasserstein_distance

from netsynth.generate.cascade.number_maps import (
    FEWEST,
    KNOTS,
    NumberMaps,
    compare_numbers,
    fit_number_maps,
    no_maps,
)

COUNT = 4000


def test_maps_keep_ranks_and_take_the_values_of_each_kind() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 2], COUNT)
    made = rng.uniform(-0.1, 0.1, (2 * COUNT, 2)).astype(np.float32)
    real = np.concatenate([rng.uniform(0.5, 1, (COUNT, 2)), rng.uniform(-1, -0.5, (COUNT, 2))])
    none = np.zeros_like(kind)
    maps = compare_numbers(none, kind, made, real.astype(np.float32), services=1, kinds=3)
    mapped = maps.apply(*map(torch.as_tensor, (none, kind, made))).numpy()
    for some in (slice(0, COUNT), slice(COUNT, None)):
        for column in range(2):
            # uniform over 0.5: the k-th smallest of 4,000 is off by 0.5 sqrt(q (1 - q) / 4000)
            assert wasserstein_distance(mapped[some, column], real[some, column]) < 0.01
            order = np.argsort(made[some, column])
            assert (np.diff(mapped[some, column][order]) >= 0).all()


def test_a_kind_seldom_met_goes_by_all_kinds() -> None:
    kind = np.array([0] * 1000 + [1] * (FEWEST - 1))
    real = np.where(kind == 0, 0.25, 0.75)[:, None].repeat(2, axis=1).astype(np.float32)
    none = np.zeros_like(kind)
    maps = compare_numbers(none, kind, np.zeros_like(real), real, services=1, kinds=2)
    assert (maps.real[:, maps.rows[0, 0]] == 0.25).all()
    assert set(np.unique(maps.real[:, maps.rows[0, 1]])) == {0.25, 0.75}


def test_services_go_by_maps_of_their_own_where_they_are_known() -> None:
    """One kind, made alike: a service near by, one far away, one seldom met, one never met."""
    service = np.array([0] * 1000 + [1] * 1000 + [2] * (FEWEST - 1))
    kind = np.zeros_like(service)
    real = np.select([service == 0, service == 1], [-0.5, 0.5], 0.0)[:, None].repeat(2, axis=1)
    made = np.linspace(-1, 1, service.size)[:, None].repeat(2, axis=1)
    maps = compare_numbers(service, kind, made, real, services=3, kinds=1)
    asked = torch.arange(4)  # service 3 was never met
    low = maps.apply(asked, torch.zeros_like(asked), torch.full((4, 2), -1.0))
    assert low[:, 0].tolist() == [-0.5, 0.5, -0.5, -0.5]


def test_without_maps_nothing_changes() -> None:
    image = torch.linspace(-1, 1, 500)[:, None].repeat(1, 2)
    kind = torch.arange(500) % 4
    assert torch.allclose(no_maps(4).apply(kind, kind, image), image, atol=1e-6)
    again = NumberMaps.from_arrays(no_maps(4).to_arrays())
    assert again.made.shape == (2, 1, KNOTS)
    assert again.rows.shape == (1, 4)


@pytest.mark.parametrize("column", [0, 1], ids=["payload", "gap"])
def test_even_an_untrained_g3_makes_the_frequent_kinds_numbers(column: int) -> None:
    learned, batches = fresh()
    maps = fit_number_maps(batches, seed=0)
    data, most = batches.data, int(torch.bincount(batches.data.kind).argmax())
    rows = torch.nonzero(data.kind == most)[:, 0]
    flow = data.flow[rows]
    torch.manual_seed(9)
    with torch.no_grad():
        state, _ = learned.cascade.read_records(
            data.conditions[flow], data.tuples[flow], batches.windows.of(data.row[rows]),
            data.place.take(rows),
        )  # fmt: skip
        hot = torch.nn.functional.one_hot(data.kind[rows], learned.cascade.record_parts[0].stop)
        made = learned.cascade.g3.numbers(state, hot.float())
    real = data.numbers[rows, column].numpy()
    before = wasserstein_distance(made[:, column].numpy(), real)
    after = wasserstein_distance(
        maps.apply(data.service[flow], data.kind[rows], made)[:, column].numpy(), real
    )
    assert after < 0.2 * before  # 0.08 to 0.17 by the network's random start
