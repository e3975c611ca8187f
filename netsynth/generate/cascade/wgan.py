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
    critic: Critic, real: Tensor, fake: Tensor, *, penalty: float
) -> tuple[Tensor, Tensor]:
    """Loss of a critic, and the distance it sees.

    Args:
        critic: Maps [B, D] to scores [B].
        real: float32 [B, D].
        fake: float32 [B, D], without a graph: the generator learns nothing in this step.
        penalty: Weight of the gradient penalty; 0 leaves it out.

    Returns:
        The loss, and mean score of real minus that of fake (the Wasserstein estimate).
    """
    scores = critic(torch.cat([real, fake])).float()  # [2 B], in one pass
    distance = scores[: real.shape[0]].mean() - scores[real.shape[0] :].mean()
    loss = -distance
    if penalty > 0:
        share = torch.rand(real.shape[0], 1, device=real.device)
        loss = loss + penalty * gradient_penalty(critic, real, fake, share)
    return loss, distance.detach()
