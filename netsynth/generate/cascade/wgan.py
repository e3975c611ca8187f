"""Wasserstein GANs with gradient penalty: one critic's and one generator's losses.

References:
    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, algorithm 1.
    CascadeNet appendix C: L2 and L3 penalise on interpolates of (condition, sample).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]


def gradient_penalty(critic: Critic, real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Mean squared distance from 1 of the critic's gradient norm between real and fake.

    Args:
        critic: Maps [B, D] to scores [B].
        real: float32 [B, D], pairs of condition and sample.
        fake: float32 [B, D].
        share: float32 [B, 1], how real each interpolate is, 0..1.

    Returns:
        mean((|grad critic(x)| - 1)^2) at x = share real + (1 - share) fake; a scalar >= 0.
    """
    between = (share * real + (1 - share) * fake).detach().requires_grad_(True)
    score = critic(between).float().sum()
    (gradient,) = torch.autograd.grad(score, between, create_graph=True)
    norm = (gradient.float().square().sum(dim=1) + 1e-12).sqrt()  # [B]
    return (norm - 1).square().mean()


def critic_loss(
    critic: Critic, real: Tensor, made: Tensor, share: Tensor, *, penalty: float
) -> tuple[Tensor, Tensor]:
    """Loss of a critic, and the distance it sees; `critic_gradients` is the same by hand.

    Args:
        critic: Maps [B, D] to scores [B].
        real: float32 [B, D].
        made: float32 [B, D], without a graph: the generator learns nothing in this step.
        share: float32 [P, 1], how real the mixtures of the first P pairs are; P may be 0.
        penalty: Weight of the gradient penalty.

    Returns:
        The loss, and mean score of real minus that of made (the Wasserstein estimate).
    """
    scores = critic(torch.cat([real, made])).float()  # [2 B], in one pass
    distance = scores[: real.shape[0]].mean() - scores[real.shape[0] :].mean()
    loss = -distance
    mixed = share.shape[0]
    if mixed:
        loss = loss + penalty * gradient_penalty(critic, real[:mixed], made[:mixed], share)
    return loss, distance.detach()
