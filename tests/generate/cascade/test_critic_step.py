"""Gradients of critics written out by hand, against those that autograd takes twice."""

import copy
import math

import pytest
import torch
from cascade_fits import SMALL, fresh
from torch import nn

from netsynth.generate.cascade.critic_step import critic_gradients
from netsynth.generate.cascade.networks import Critic
from netsynth.generate.cascade.training import Phase, Savings
from netsynth.generate.cascade.wgan import critic_loss

BATCH, WIDTH = 24, 9


def pairs(common: int, *, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Real and made pairs, equal in their leading columns."""
    random = torch.Generator().manual_seed(seed)
    real = torch.randn(BATCH, WIDTH, generator=random)
    made = torch.randn(BATCH, WIDTH, generator=random) + 0.5
    made[:, :common] = real[:, :common]
    return real, made


@pytest.mark.parametrize("layers", [2, 3, 5])
@pytest.mark.parametrize(("common", "mixed"), [(0, BATCH), (4, BATCH), (4, 7), (4, 0), (8, 1)])
def test_the_gradients_are_those_of_autograd(layers: int, common: int, mixed: int) -> None:
    torch.manual_seed(layers)
    critic = Critic(WIDTH, width=16, layers=layers)
    with torch.no_grad():
        for weight in critic.parameters():
            weight.mul_(2.5)  # so that the gradient's norm is far from 1 on both sides
    real, made = pairs(common)
    share = torch.rand(mixed, 1)
    wanted, seen = critic_loss(critic, real, made, share, penalty=10.0)
    wanted.backward()  # type: ignore[no-untyped-call]
    expected = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
    critic.zero_grad()
    loss, distance = critic_gradients(critic.layers, real, made, share, common=common, penalty=10.0)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5, abs=1e-6)
    assert distance.item() == pytest.approx(seen.item(), rel=1e-5, abs=1e-6)
    for weight, gradient in zip(critic.parameters(), expected, strict=True):
        assert weight.grad is not None
        torch.testing.assert_close(weight.grad, gradient, rtol=1e-4, atol=2e-5)


def test_the_penalty_of_one_neuron_is_that_of_pencil_and_paper() -> None:
    """Of w2 GELU(w1 x), all biases 0, at x = 0: GELU'(0) = 1/2, GELU''(0) = sqrt(2 / pi)."""
    first, last = nn.Linear(1, 1), nn.Linear(1, 1)
    with torch.no_grad():
        for layer, weight in ((first, 3.0), (last, 4.0)):
            layer.weight.fill_(weight)
            layer.bias.zero_()
    zero = torch.zeros(1, 1)
    loss, distance = critic_gradients(
        [first, last], zero, zero, torch.ones(1, 1), common=0, penalty=10.0
    )
    norm = 3 * 4 / 2
    assert distance.item() == 0
    assert loss.item() == pytest.approx(10 * (norm - 1) ** 2)
    pull = 10 * 2 * (norm - 1)  # d loss / d norm
    assert first.weight.grad is not None
    assert last.weight.grad is not None
    assert first.bias.grad is not None
    assert first.weight.grad.item() == pytest.approx(pull * 4 / 2)
    assert last.weight.grad.item() == pytest.approx(pull * 3 / 2)
    bend = math.sqrt(2 / math.pi)
    assert first.bias.grad.item() == pytest.approx(pull * 3 * 4 * bend)


@pytest.mark.parametrize("alone", [True, False])
@pytest.mark.parametrize("name", ["tuples", "series", "records"])
def test_a_critic_step_by_hand_moves_weights_as_one_by_autograd(name: str, alone: bool) -> None:
    _, batches = fresh()
    critic = batches.cascade.critic(name)
    before = copy.deepcopy(critic.state_dict())
    first = nn.utils.parameters_to_vector(critic.parameters()).detach().clone()
    moves = []
    for by_hand in (True, False):
        critic.load_state_dict(before)
        torch.manual_seed(1)
        Phase(
            batches, (name,), alone=alone, config=SMALL, savings=Savings(by_hand=by_hand)
        ).step_critics()
        after = nn.utils.parameters_to_vector(critic.parameters()).detach()
        moves.append(after - first)
    ours, autograds = moves
    assert autograds.abs().max() > 1e-3
    # Adam divides by the gradient's size: where that is next to 0, rounding decides a sign
    assert (ours - autograds).norm() < 0.02 * autograds.norm()
