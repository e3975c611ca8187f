"""The losses of WGAN-GP against values worked out by hand."""

import pytest
import torch
from torch import Tensor

from netsynth.generate.cascade.wgan import critic_loss, gradient_penalty


def linear(x: Tensor) -> Tensor:
    """Gradient (3, 4) everywhere: its norm is 5."""
    return 3 * x[:, 0] + 4 * x[:, 1]


def bowl(x: Tensor) -> Tensor:
    """Gradient x: its norm is |x|."""
    return x.square().sum(dim=1) / 2


def test_a_gradient_of_norm_five_costs_sixteen() -> None:
    real, fake = torch.randn(7, 2), torch.randn(7, 2)
    penalty = gradient_penalty(linear, real, fake, torch.rand(7, 1))
    assert penalty.item() == pytest.approx((5 - 1) ** 2)


@pytest.mark.parametrize(
    ("share", "cost"), [(0.0, 1.0), (0.25, 0.0), (0.5, 1.0), (1.0, 9.0)]
)  # |x| is 0, 1, 2, 4
def test_the_penalty_is_taken_between_real_and_fake(share: float, cost: float) -> None:
    real, fake = torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])
    penalty = gradient_penalty(bowl, real, fake, torch.tensor([[share]]))
    assert penalty.item() == pytest.approx(cost, abs=1e-5)


def test_the_penalty_teaches_the_critic() -> None:
    slope = torch.tensor(3.0, requires_grad=True)
    penalty = gradient_penalty(
        lambda x: slope * x[:, 0], torch.ones(4, 1), torch.zeros(4, 1), torch.rand(4, 1)
    )
    penalty.backward()
    assert slope.grad is not None
    assert slope.grad.item() == pytest.approx(2 * (3 - 1))  # of (slope - 1)^2


def test_the_loss_is_what_fake_scores_above_real() -> None:
    real = torch.tensor([[1.0, 0.0], [3.0, 0.0]])  # scores 3 and 9
    fake = torch.tensor([[0.0, 1.0], [0.0, 0.0]])  # scores 4 and 0
    loss, distance = critic_loss(linear, real, fake, torch.rand(0, 1), penalty=10.0)
    assert distance.item() == pytest.approx(6 - 2)
    assert loss.item() == pytest.approx(-4)
    loss, _ = critic_loss(linear, real, fake, torch.rand(2, 1), penalty=10.0)
    assert loss.item() == pytest.approx(-4 + 10 * 16)
