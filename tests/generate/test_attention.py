"""No position sees the future, or padding; the cache gives what the full pass gives."""

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office
from torch import Tensor

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.attention import CausalTransformer, sinusoids
from netsynth.generate.transformer.flow_fit import flow_data
from netsynth.generate.transformer.flow_level import SKELETON, FlowLevel
from netsynth.generate.transformer.plan_left import left_after
from netsynth.generate.transformer.series_level import PARTS, SeriesLevel

SMALL = TransformerConfig(width=16, hidden=16, layers=2, heads=2, flow_context=6)


def make_transformer(*, context: int, layer_count: int = 2) -> CausalTransformer:
    torch.manual_seed(0)
    made = CausalTransformer(
        width=16, heads=2, layer_count=layer_count, context=context, dropout=0.0
    )
    return made.eval()


@pytest.fixture(scope="module")
def flow_level() -> FlowLevel:
    """Untrained, but with heads that are not zero: all inputs matter."""
    torch.manual_seed(0)
    level = FlowLevel(layout().token_fields, SMALL).eval()
    for decoder in (level.skeleton, level.details):
        fill_weights(decoder.heads, std=0.5)
    return level


def flow_losses(level: FlowLevel, tokens: Tensor) -> Tensor:
    """Losses [T, K] of the flows after the first of tokens [T + 1, K]."""
    trace = office()[1]
    data = flow_data(
        level.plans, trace, share=0.1, random=np.random.default_rng(0), device=torch.device("cpu")
    )
    count = tokens.shape[0]
    classes = level.plans.classes(tokens)
    left = [left_after(data.until[i][-1], classes[:, i]) for i in (0, 1)]
    told = level.plans.features(left[0], left[1], (1 - data.share[:count]).float())
    situation = torch.cat([data.clock[:count], told], dim=1)[None]
    with torch.no_grad():
        skeleton, details = level.loss(
            tokens[None], situation, situation[:, 0], torch.tensor([False]), torch.tensor([0])
        )
    return torch.cat([skeleton, details], dim=2)[0]


def flow_tokens(count: int) -> Tensor:
    return torch.as_tensor(office()[1].tokens[:count].astype(np.int64))


def test_a_later_flow_moves_no_earlier_loss(flow_level: FlowLevel) -> None:
    tokens = flow_tokens(20)
    changed = tokens.clone()
    changed[12] = flow_tokens(40)[35]  # row 12 is the flow of loss row 11
    assert (changed[12, : len(SKELETON)] != tokens[12, : len(SKELETON)]).any()
    before, after = flow_losses(flow_level, tokens), flow_losses(flow_level, changed)
    assert torch.equal(before[:11], after[:11])
    assert not torch.allclose(before[11], after[11])
    assert not torch.allclose(before[12], after[12])  # the next one does see it


def test_a_later_column_moves_no_earlier_loss(flow_level: FlowLevel) -> None:
    """Columns are drawn in order, so column k's loss must not know column k + 1."""
    tokens = flow_tokens(2)
    fields = layout().token_fields
    for place in range(1, len(fields)):
        changed = tokens.clone()
        changed[1, place] = (changed[1, place] + 1) % fields[place].size
        before, after = flow_losses(flow_level, tokens), flow_losses(flow_level, changed)
        assert torch.equal(before[0, :place], after[0, :place]), fields[place].name


def test_a_flow_beyond_the_context_is_not_seen() -> None:
    transformer = make_transformer(context=4, layer_count=1)
    x = torch.randn(1, 12, 16)
    changed = x.clone()
    changed[0, 2] += 1
    first = torch.zeros(1, dtype=torch.int64)
    with torch.no_grad():
        before = transformer(x, first_position=first)
        after = transformer(changed, first_position=first)
    moved = (before - after).abs().amax(dim=2)[0] > 1e-7
    assert moved.tolist() == [2 <= place < 6 for place in range(12)]  # itself and three after


@pytest.mark.parametrize("context", [3, 8, 40])
def test_a_step_with_the_cache_is_the_full_pass(context: int) -> None:
    """One layer: the ring forgets what the mask hides; 20 positions wrap it."""
    transformer = make_transformer(context=context, layer_count=1)
    x = torch.randn(5, 20, 16)
    cache = transformer.start()
    with torch.no_grad():
        whole = transformer(x, first_position=torch.zeros(5, dtype=torch.int64))
        steps = torch.stack([transformer.step(x[:, t], cache) for t in range(20)], dim=1)
    assert torch.allclose(whole, steps, atol=1e-5)


def test_two_layers_agree_with_the_cache_too() -> None:
    transformer = make_transformer(context=5)
    x = torch.randn(2, 17, 16)
    cache = transformer.start()
    with torch.no_grad():
        whole = transformer(x, first_position=torch.zeros(2, dtype=torch.int64))
        steps = torch.stack([transformer.step(x[:, t], cache) for t in range(17)], dim=1)
    assert torch.allclose(whole, steps, atol=1e-5)


def test_sequences_that_end_leave_the_cache() -> None:
    transformer = make_transformer(context=8)
    x = torch.randn(3, 6, 16)
    alone, together = transformer.start(), transformer.start()
    with torch.no_grad():
        for t in range(6):
            expected = transformer.step(x[1:2, t], alone)
            if t == 3:
                together.keep(torch.tensor([1, 2]))
            made = transformer.step(x[:, t] if t < 3 else x[1:, t], together)
    assert torch.allclose(made[0], expected[0], atol=1e-6)


def test_sinusoids_are_those_of_the_paper() -> None:
    """Position 3, width 4: sin 3, cos 3, sin 0.03, cos 0.03."""
    made = sinusoids(torch.tensor([3]), 4)[0].tolist()
    assert made == pytest.approx([0.14112, -0.98999, 0.0299955, 0.99955], abs=1e-5)


def test_padding_and_later_steps_move_no_loss_of_a_series() -> None:
    torch.manual_seed(0)
    level = SeriesLevel(layout().token_fields, layout().series_fields, SMALL).eval()
    sizes = torch.tensor([table.size for table in level.tables])
    tokens = (torch.rand(2, 6, len(PARTS)) * sizes).long()
    left = torch.full((2, 6, len(PARTS)), 1e12, dtype=torch.float64)
    valid = torch.tensor([[True] * 5 + [False], [True] * 3 + [False] * 3])
    first = torch.zeros_like(valid)
    first[:, 0] = True
    flow = torch.randn(2, 16)
    changed = tokens.clone()
    changed[1, 3:] = 0  # padding of the second
    changed[0, 4] = (changed[0, 4] + 1) % sizes  # the first one's last step
    with torch.no_grad():
        before = level.loss(flow, tokens, left, valid, first)
        after = level.loss(flow, changed, left, valid, first)
    assert before.shape == (8,)  # five and three valid steps
    assert torch.equal(before[:4], after[:4])
    assert torch.equal(before[5:], after[5:])
    assert before[4] != after[4]
