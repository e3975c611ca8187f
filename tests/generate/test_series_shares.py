"""What packets of one side tell of the other's: by hand, and the same compiled."""

import numpy as np
import pytest
import torch
from generate_traces import layout

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.series_kernel import _add_off_share, pack_series_level
from netsynth.generate.transformer.series_kernel import _open as open_compiled
from netsynth.generate.transformer.series_level import (
    ALONE,
    BOTH,
    KEEPS,
    PARTS,
    SeriesLevel,
    _open,
    expected_share,
)

SMALL = TransformerConfig(width=16, heads=2, layers=1, hidden=16)


def test_expected_shares_by_hand() -> None:
    """Of 10 packets forward 4 are sent: so are two fifths of 20 packets back and 500 bytes."""
    value = torch.tensor([[0, 4, 6, 0, 0], [0, 0, 6, 0, 0]])
    left = torch.tensor([[7, 10, 20, 500, 3000], [7, 0, 20, 0, 3000]])
    shares = [expected_share(part, value, left).tolist() for part in range(len(PARTS))]
    assert shares == [[7, 7], [10, 0], [8, -1], [200, -1], [900, 900]]


@pytest.fixture(scope="module")
def level() -> SeriesLevel:
    torch.manual_seed(1)
    return SeriesLevel(layout().token_fields, layout().series_fields, SMALL).eval()


def test_a_level_starts_with_both_sides_in_proportion(level: SeriesLevel) -> None:
    """Steps of 1 to 12 packets with as many back: untrained, it draws them about alike."""
    random = np.random.default_rng(2)
    packets = random.integers(1, 13, 4000)
    left = np.stack([np.full(4000, 50), *[packets * random.integers(2, 9, 4000)] * 2], axis=1)
    left = np.concatenate([left, left[:, 1:] * 100], axis=1)
    value = np.stack([np.ones(4000), packets, packets, packets * 100, packets * 100], axis=1)
    tokens = torch.stack(
        [level.tables[i].bucket(torch.as_tensor(value[:, i].copy())) for i in range(len(PARTS))],
        dim=1,
    )
    first = torch.zeros(4000, dtype=torch.bool)
    level.set_prior(tokens, torch.as_tensor(value), torch.as_tensor(left).double(), first)
    state = torch.zeros(1, level.flow.out_features)
    what_is_left = torch.tensor([[50.0, 40, 40, 4000, 4000]], dtype=torch.float64)
    for forward in (2, 10):
        sent = torch.tensor([[0.0, forward, 0, 0, 0]])
        share = expected_share(2, sent, what_is_left)
        with torch.no_grad():
            chance = torch.softmax(level._logits(2, state, what_is_left[:, 2], share)[0], dim=0)
        middle = level.packets.rows[:, [0, -1]].mean(1)
        near = (middle >= forward / 1.5) & (middle <= forward * 1.5)
        assert chance[near].sum() > 0.7


def test_first_steps_tell_nothing_of_skips(level: SeriesLevel) -> None:
    """Half of the steps begin a flow, and have no skip; the others come right behind."""
    first = torch.arange(200) % 2 == 0
    value = torch.ones(200, len(PARTS), dtype=torch.float64)
    value[:, 0] = (~first).double()
    left = torch.full((200, len(PARTS)), 50.0, dtype=torch.float64)
    tokens = torch.stack(
        [level.tables[i].bucket(value[:, i].contiguous()) for i in range(len(PARTS))], dim=1
    )
    level.set_prior(tokens, value, left, first)
    state = torch.zeros(1, level.flow.out_features)
    with torch.no_grad():
        logits = level._logits(0, state, left[:1, 0], left[:1, 0])
    assert torch.softmax(logits[0], dim=0)[level.skip.bucket(torch.ones(()).double())] > 0.9


def test_compiled_shares_are_those_of_the_network(level: SeriesLevel) -> None:
    random = np.random.default_rng(3)
    torch.nn.init.normal_(level.off_share)
    arrays = pack_series_level(level)
    for _ in range(50):
        left = random.choice([0, 1, 3, 40, 900], 4)
        value = np.minimum(random.choice([0, 1, 2, 30, 900], 4), left)
        amounts = torch.as_tensor(np.concatenate([[17], left]))[None]
        values = torch.as_tensor(np.concatenate([[0], value]))[None]
        for part in range(len(PARTS)):
            share = expected_share(part, values, amounts)
            off = level.off_share[part][level._off_share(part, share.clamp(min=0))][0]
            expected = off.detach().numpy() * float(share[0] >= 0)
            made = np.zeros(level.tables[part].size, dtype=np.float32)
            _add_off_share(arrays, part, float(amounts[0, part]), value, left, made)
            assert np.array_equal(made, expected.astype(np.float32))


def test_who_sends_in_a_first_step() -> None:
    """The initiator does; alone until the answer comes, and never all where it replies to that."""
    value = [[3, 2, 90, 80], [0, 2, 0, 80], [3, 2, 90, 80], [3, 2, 90, 80], [0, 2, 0, 9]]
    left = [[3, 9, 90, 900], [3, 9, 90, 900], [3, 9, 90, 900], [3, 9, 90, 900], [0, 9, 0, 900]]
    opening = [BOTH, BOTH, ALONE, KEEPS, KEEPS]
    expected = [[3, 2], [1, 2], [3, 0], [2, 0], [0, 2]]
    made = torch.tensor(value)
    _open(made, torch.tensor(left), torch.tensor(opening))
    assert made[:, :2].tolist() == expected
    assert made[:, 2:].tolist() == [[90, 80], [0, 80], [90, 0], [90, 0], [0, 9]]
    for row, rest, code, wanted in zip(value, left, opening, made.tolist(), strict=True):
        compiled = np.array(row)
        open_compiled(compiled, np.array(rest), code)
        assert compiled.tolist() == wanted
