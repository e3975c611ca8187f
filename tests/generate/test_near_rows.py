"""Rows of near numbers: what is mixed, what stays apart, and what it is good for."""

from __future__ import annotations

import math

import pytest
import torch
from generate_traces import layout
from torch import nn

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.fields import number_values
from netsynth.generate.transformer.flow_level import FlowLevel
from netsynth.generate.transformer.neighbours import blur_rows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.record_level import RecordLevel
from netsynth.generate.transformer.record_progress import progress_values
from netsynth.generate.transformer.series_level import SeriesLevel
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


def mixed(module: nn.Module) -> list[str]:
    """Names of the weights of `module` whose rows are mixed."""
    marks = ".parametrizations.weight.original"
    return [name.removesuffix(marks) for name in module.state_dict() if name.endswith(marks)]


def test_which_weights_of_records_are_mixed() -> None:
    level = RecordLevel(layout().token_fields, layout().record_fields, TransformerConfig())
    gap, length, per_delay = 1, 2, 4  # of kind, gap, length, window, gap in units of a delay
    read = [f"history_embed.{place}" for place in (gap, length, per_delay)]
    assert set(mixed(level)) == {
        "gaps.heads.0",
        "gaps.heads.1",
        "flow_embed.table",
        "progress.table",
        *read,
        "embed.1",
        "embed.2",
    }


def test_which_columns_of_progress_have_an_order() -> None:
    _, length, window, gap, per_delay = layout().record_fields
    columns = progress_values(gap, per_delay, length, window)
    names = [place for place, v in enumerate(columns) if bool(v.isnan().all())]
    assert names == [24, 25, 26, 27]  # whether the reply is due, flags owed, windows either way
    with_none = [place for place, v in enumerate(columns) if int(v.isnan().sum()) == 1]
    # paces, delays' units, last lengths, pressures
    assert with_none == [19, 20, 21, 22, 23, 28, 29, 34, 35]


def test_which_columns_of_flows_are_mixed() -> None:
    level = FlowLevel(layout().token_fields, TransformerConfig())
    numbers = {f.name for f in layout().token_fields if f.number is not None}
    assert numbers >= {"gap", "packets_forward", "bytes_reverse", "answer", "stretch", "duration"}
    embeds = {name for name in mixed(level) if name.startswith("details.embed.")}
    told = [f.name for f in level.details.fields]
    assert {told[int(name.rpartition(".")[2])] for name in embeds} == numbers - {"gap"}


def test_every_part_of_series_is_mixed() -> None:
    level = SeriesLevel(layout().token_fields, layout().series_fields, TransformerConfig())
    names = mixed(level)
    for part, table in enumerate(level.tables):
        for kind in ("embed_before", "embed_left", "embed"):
            assert f"{kind}.{part}" in names
        assert (f"heads.{part}" in names) == (table.size > table.atom_count)
