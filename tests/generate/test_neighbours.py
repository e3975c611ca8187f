"""Rows of near numbers: what is mixed, what stays apart, and what it is good for."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from netsynth.generate.transformer.fields import number_values
from netsynth.generate.transformer.neighbours import blur_rows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import fit_number_codec
from netsynth.tables import TokenField

NONE = math.nan


def embedding(rows: list[list[float]], *columns: list[float], reach: float) -> nn.Embedding:
    made = nn.Embedding(len(rows), len(rows[0]))
    with torch.no_grad():
        made.weight.copy_(torch.tensor(rows))
    values = [torch.tensor(column, dtype=torch.float64) for column in columns]
    blur_rows(made, values, reach=reach)
    return made


def test_rows_are_mixed_by_their_distance_in_order() -> None:
    made = embedding([[1.0], [0.0], [0.0]], [10.0, 20.0, 5000.0], reach=1.0)
    near, far = math.exp(-1 / 2), math.exp(-4 / 2)
    ends = math.sqrt(1 + near**2 + far**2)
    middle = math.sqrt(1 + 2 * near**2)
    assert made.weight[:, 0].tolist() == pytest.approx([1 / ends, near / middle, far / ends])


def test_order_is_that_of_the_values() -> None:
    made = embedding([[1.0], [0.0], [0.0]], [1.0, 9.0, 2.0], reach=0.5)
    assert made.weight[2, 0] > made.weight[1, 0]


def test_what_is_no_number_stays_by_itself() -> None:
    rows = [[3.0], [1.0], [1.0], [7.0]]
    made = embedding(rows, [NONE, 1.0, 2.0, NONE], reach=5.0)
    assert made.weight[[0, 3], 0].tolist() == [3.0, 7.0]
    assert made.weight[1, 0].item() == pytest.approx(
        math.sqrt(2), rel=0.02
    )  # both by the same share


def test_columns_do_not_touch_each_other() -> None:
    made = embedding([[1.0], [1.0], [0.0], [0.0]], [1.0, 2.0], [1.0, 2.0], reach=3.0)
    assert made.weight[2:, 0].tolist() == [0.0, 0.0]


def test_a_column_without_numbers_is_left_as_it_was() -> None:
    made = embedding([[1.0], [2.0]], [NONE, NONE], reach=3.0)
    assert list(made.state_dict()) == ["weight"]


def test_what_rows_spread_is_kept() -> None:
    torch.manual_seed(0)
    made = nn.Embedding(200, 64)
    blur_rows(made, [torch.arange(200, dtype=torch.float64)], reach=5.0)
    assert float(made.weight.detach().std()) == pytest.approx(1.0, rel=0.1)


def test_saved_weights_give_the_same_rows() -> None:
    made = embedding([[1.0], [2.0], [4.0]], [1.0, 2.0, 3.0], reach=2.0)
    other = embedding([[0.0], [0.0], [0.0]], [1.0, 2.0, 3.0], reach=2.0)
    other.load_state_dict(made.state_dict())
    assert torch.equal(other.weight, made.weight)


@pytest.mark.parametrize("blurred", [False, True])
def test_what_is_learned_of_a_number_holds_of_those_between(blurred: bool) -> None:
    torch.manual_seed(0)
    tokens = torch.arange(40)
    wanted = torch.sin(tokens / 8.0)[:, None]
    made = nn.Embedding(40, 1)
    if blurred:
        blur_rows(made, [tokens.double()], reach=2.0)
    optimiser = torch.optim.Adam(made.parameters(), lr=0.1)
    for _ in range(300):
        optimiser.zero_grad()
        (made(tokens[::2]) - wanted[::2]).square().mean().backward()
        optimiser.step()
    never_seen = float((made(tokens[1::2]) - wanted[1::2]).square().mean().detach())
    assert (never_seen < 0.02) == blurred


def test_atoms_are_told_from_bins() -> None:
    values = torch.cat([torch.full((500,), 20.0), torch.arange(100, 2000).double()]).numpy()
    codec = fit_number_codec(values)
    item = TokenField(name="any", size=codec.size + 1, number=codec)
    atoms = codec.atoms.size
    assert atoms > 0
    told = number_values(item, atoms=False).isnan()
    assert told.tolist() == [True] * (1 + atoms) + [False] * (codec.size - atoms)
    assert number_values(item).isnan().tolist() == [True] + [False] * codec.size
    table = NumberTable(codec)
    assert table.values(atoms=False).isnan().tolist() == told[1:].tolist()
    assert not table.values().isnan().any()
