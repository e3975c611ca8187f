"""The network as published: its size, its masks, its memory, and that it trains."""

import numpy as np
import pytest
import torch
from tst_datasets import SCHEMA, jobs

from netsynth.errors import ConfigError
from netsynth.generate.tst import PublishedConfig, TstConfig, TstGenerator
from netsynth.generate.tst.published import (
    PublishedNetwork,
    draw_published,
    guard_memory,
    masked_error,
    needed_bytes,
)

SMALL = PublishedConfig(preset="small", learning_rate=1e-3, max_epochs=8, batch=16)


def test_as_many_parameters_as_published() -> None:
    with torch.device("meta"):
        network = PublishedNetwork(inputs=11, config=PublishedConfig())
    assert sum(p.numel() for p in network.parameters()) == 12_635_659
    assert network.blocks.norm is None


def test_masks_hide_the_future_and_the_padding() -> None:
    torch.manual_seed(0)
    network = PublishedNetwork(inputs=4, config=SMALL).eval()
    records, lengths = torch.rand(2, 9, 4), torch.tensor([9, 5])
    before = network(records, lengths)
    later, padded = records.clone(), records.clone()
    later[:, 6:] = 0.5
    padded[1, 5:] = 7.0
    assert torch.allclose(network(later, lengths)[:, :6], before[:, :6], atol=1e-6)
    after = network(padded, lengths)
    assert torch.allclose(after[1, :5], before[1, :5], atol=1e-6)
    assert torch.allclose(
        masked_error(network, records, lengths), masked_error(network, padded, lengths), atol=1e-6
    )


def test_the_error_by_hand() -> None:
    """Sigmoids of zero are 0.5: (0.5 - 0)^2 and (0.5 - 1)^2 are 0.25 whatever the record."""
    network = PublishedNetwork(inputs=3, config=SMALL)
    torch.nn.init.zeros_(network.leave.weight)
    torch.nn.init.zeros_(network.leave.bias)
    records = torch.tensor(
        [[[0.0, 1, 0], [1, 0, 1], [1, 1, 1]], [[0, 0, 0], [0.5, 0.5, 0.5], [9, 9, 9]]]
    )
    assert masked_error(network, records[:1], torch.tensor([3])).item() == pytest.approx(0.25)
    # the second series ends after two records: its one successor is met exactly
    assert masked_error(network, records, torch.tensor([3, 2])).item() == pytest.approx(0.5 / 3)


def test_a_series_ends_where_the_second_flag_is_larger() -> None:
    network = PublishedNetwork(inputs=3, config=SMALL).eval()
    torch.nn.init.zeros_(network.leave.weight)
    seeds, lengths = (
        torch.tensor([[[0.1, 1, 0], [0.2, 1, 0]]]).repeat(2, 1, 1),
        torch.tensor([2, 1]),
    )
    for flags, expected in (([3.0, -3.0], [6, 1]), ([-3.0, 3.0], [3, 1])):
        with torch.no_grad():
            network.leave.bias.copy_(torch.tensor([0.0, *flags]))
        made, ends = draw_published(network, seeds, lengths, window=6)
        assert ends.tolist() == expected
        assert torch.equal(made[:, :2], seeds)


def test_a_step_too_large_for_the_memory_is_refused() -> None:
    with torch.device("meta"):
        network = PublishedNetwork(inputs=11, config=PublishedConfig())
    whole = needed_bytes(network, batch=64, steps=400, config=PublishedConfig())
    assert 10e9 < whole < 20e9  # 14 GB were measured
    small = PublishedNetwork(inputs=11, config=SMALL)
    guard_memory(small, batch=2, steps=20, config=SMALL)
    with pytest.raises(ConfigError, match=r"takes about .* GB.*published\.preset=small"):
        guard_memory(small, batch=10**6, steps=400, config=SMALL)


def test_it_trains_and_samples() -> None:
    config = TstConfig(mode="published", published=SMALL)
    made = TstGenerator(schema=SCHEMA, config=config, seed=0)
    errors: list[str] = []
    made.fit(jobs(120), seed=0, report=lambda _l, _s, text: errors.append(text))
    assert float(errors[-1].split()[-1]) < 0.6 * float(errors[0].split()[-1])
    header, arrays = made.to_parts()
    again = TstGenerator.from_parts(header, arrays, schema=SCHEMA)
    (one,), (other,) = (list(g.sample(30, seed=3)) for g in (made, again))
    assert np.array_equal(one.values, other.values)
    assert len(one) == 30
    with pytest.raises(ConfigError, match="knows no metadata"):
        list(made.sample(2, seed=0, lengths=np.array([3, 3])))
