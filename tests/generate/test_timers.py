"""Timers: gaps narrower than the ruler's bins, by service and kind of packet."""

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.timers import LEAST, Timers
from netsynth.numbers import fit_number_codec

KINDS = 3


def ruler() -> NumberTable:
    """Bins over 1 .. 5 s, evenly used."""
    gaps = np.random.default_rng(0).integers(1_000_000_000, 5_000_000_000, 4000)
    return NumberTable(fit_number_codec(gaps, bin_count=7, atom_count=0))


def drawn(table: NumberTable, timers: Timers, service: int, kind: int, token: int) -> Tensor:
    places = (torch.full((500,), value) for value in (service, kind, token))
    knots = timers.knots(table, *places)
    tokens = torch.full((500,), token)
    random = torch.Generator().manual_seed(0)
    low, high = torch.zeros(500).double(), torch.full((500,), 9e9).double()
    return table.draw_within(tokens, low, high, random, knots) / 1e9


def test_a_timer_keeps_its_time_for_its_service_and_kind() -> None:
    """Service 1 repeats packets of kind 2 after 3.00 s, those of kind 0 come at any time."""
    table, random = ruler(), np.random.default_rng(1)
    token = int(table.bucket(torch.tensor(3_000_000_000)))
    edges = table.rows[token, 0].item() / 1e9, table.rows[token, -1].item() / 1e9
    assert edges[0] < 2.98 < 3.02 < edges[1]
    timer = random.uniform(2.999e9, 3.001e9, 40)
    others = random.uniform(edges[0] * 1e9, edges[1] * 1e9, 400)
    timers = Timers(table, kinds=KINDS)
    timers.learn(
        table,
        torch.ones(440, dtype=torch.int64),
        torch.tensor([2] * 40 + [0] * 400),
        torch.as_tensor(np.concatenate([timer, others])),
    )
    own = drawn(table, timers, 1, 2, token)
    assert own.min() >= 2.999
    assert own.max() <= 3.001
    for service, kind in ((1, 0), (0, 2)):
        spread = drawn(table, timers, service, kind, token)
        assert float(spread.std()) > 0.2 * (edges[1] - edges[0])


def test_a_service_of_one_timer_lends_it_to_all_its_kinds() -> None:
    table = ruler()
    token = int(table.bucket(torch.tensor(3_000_000_000)))
    timers = Timers(table, kinds=KINDS)
    gaps = torch.full((LEAST,), 3.0e9).double()
    ones = torch.ones(LEAST, dtype=torch.int64)
    timers.learn(table, ones, ones, gaps)
    assert drawn(table, timers, 1, 0, token).tolist() == [3.0] * 500
    assert timers.keys.numel() == 2
    again = Timers(table, kinds=KINDS)
    again.load_state_dict(timers.state_dict())
    assert torch.equal(again.rows, timers.rows)


def test_too_few_gaps_are_no_timer() -> None:
    table = ruler()
    timers = Timers(table, kinds=KINDS)
    ones = torch.ones(LEAST - 1, dtype=torch.int64)
    timers.learn(table, ones, ones, torch.full((LEAST - 1,), 3.0e9).double())
    assert timers.keys.numel() == 0


def test_knots_are_quantiles_of_the_gaps() -> None:
    """Of 9 gaps 2.99 .. 3.07 s, each is a knot."""
    table = ruler()
    timers = Timers(table, kinds=KINDS)
    gaps = torch.arange(299, 308).double() * 1e7
    token = table.bucket(gaps)
    assert (token == token[0]).all()
    ones = torch.ones(9, dtype=torch.int64)
    timers.learn(table, ones, ones, gaps.flip(0))
    assert timers.rows[0].tolist() == gaps.tolist()
