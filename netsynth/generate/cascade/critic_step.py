"""A critic's loss and its gradients by hand: what two passes of autograd give, in fewer products.

A critic is an MLP, so its gradient at a pair is a chain of products, and so is what the penalty on
that gradient asks of the weights. By hand, real, made and interpolated pairs go through every layer
in one product, what real and made have in common goes through the first layer once, and no graph is
kept. Nothing is differentiated twice, so that the step can be compiled as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

ROOT_HALF, ROOT_TWO_PI = 0.7071067811865476, 0.3989422804014327  # 1 / sqrt(2), 1 / sqrt(2 pi)


@torch.no_grad()
def critic_gradients(
    layers: Sequence[nn.Linear],
    real: Tensor,
    made: Tensor,
    share: Tensor,
    *,
    common: int,
    penalty: float,
) -> tuple[Tensor, Tensor]:
    """Set the gradients of a critic's weights to those of `critic_loss` (`wgan.py`).

    Args:
        layers: Linear layers with GELU between them, two or more; the last has one output.
        real: float32 [B, D], pairs of condition and sample.
        made: float32 [B, D].
        share: float32 [P, 1], 0..1: the first P pairs of real and made are mixed, `share` of the
            real one; the penalty is taken there. P may be 0.
        common: Leading columns in which real and made are equal, 0 where they are not.
        penalty: Weight of the penalty.

    Returns:
        The loss, and mean score of real minus that of made.

    References:
        Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, algorithm 1.
        Hendrycks and Gimpel, "Gaussian Error Linear Units (GELUs)", 2016: x Phi(x).
    """
    batch, mixed = real.shape[0], share.shape[0]
    own = torch.cat([real[:, common:], made[:, common:]])  # (2 B, D - common)
    own = torch.cat([own, torch.lerp(made[:mixed, common:], real[:mixed, common:], share)])
    ways = _Ways(batch=batch, mixed=mixed)
    raw, outputs = _forward(layers, real[:, :common], own, ways)
    top = layers[-1]
    spread = outputs[-1][:batch].mean(0) - outputs[-1][batch : 2 * batch].mean(0)  # (H,)
    distance = (spread * top.weight[0]).sum()  # a product would be rounded under autocast
    last = -spread  # of the last layer's weights
    slopes: list[tuple[Tensor, Tensor]] = []
    cost = torch.zeros((), device=real.device)
    if mixed and penalty > 0:
        slopes = [_slopes(h[2 * batch :]) for h in raw]
        cost, second, more = _penalty(layers, slopes, weight=penalty)
        last = last + more
        bends, products = second
    top.weight.grad, top.bias.grad = last[None], torch.zeros_like(top.bias)
    sign = torch.tensor([-1.0, 1.0], device=real.device).repeat_interleave(batch) / batch
    error = sign[:, None] * top.weight  # (2 B, H), of the last hidden outputs
    error = torch.cat([error, error.new_zeros(mixed, error.shape[1])])
    for index in range(len(layers) - 2, -1, -1):
        error = torch.ops.aten.gelu_backward(error, raw[index])
        if slopes:
            error[2 * batch :] += bends[index]
        layer = layers[index]
        layer.bias.grad = error.sum(0)
        if index:
            gradient = _product(error.t(), outputs[index - 1])
            error = _product(error, layer.weight)
        else:
            whole = _product(ways.join(error).t(), real[:, :common])
            gradient = torch.cat([whole, _product(error.t(), own)], dim=1)
        layer.weight.grad = gradient + products[index] if slopes else gradient
    return penalty * cost - distance, distance


class _Ways:
    """Rows of real, made and mixed pairs, one after the other."""

    def __init__(self, *, batch: int, mixed: int) -> None:
        self.batch, self.mixed = batch, mixed

    def share_out(self, rows: Tensor) -> Tensor:
        """What [B, H] have in common, for all ways: [2 B + P, H]."""
        return torch.cat([rows, rows, rows[: self.mixed]])

    def join(self, rows: Tensor) -> Tensor:
        """Inverse for gradients: [2 B + P, H] summed to [B, H]."""
        total = rows[: self.batch] + rows[self.batch : 2 * self.batch]
        total[: self.mixed] += rows[2 * self.batch :]
        return total


def _forward(
    layers: Sequence[nn.Linear], common: Tensor, own: Tensor, ways: _Ways
) -> tuple[list[Tensor], list[Tensor]]:
    """Hidden layers before and after GELU, each float32 [2 B + P, H]."""
    first, columns = layers[0], common.shape[1]
    base = nn.functional.linear(common, first.weight[:, :columns], first.bias).float()
    raw = [ways.share_out(base) + _product(own, first.weight[:, columns:].t())]
    outputs = [nn.functional.gelu(raw[0])]
    for layer in layers[1:-1]:
        raw.append(nn.functional.linear(outputs[-1], layer.weight, layer.bias).float())
        outputs.append(nn.functional.gelu(raw[-1]))
    return raw, outputs


def _penalty(
    layers: Sequence[nn.Linear], slopes: list[tuple[Tensor, Tensor]], *, weight: float
) -> tuple[Tensor, tuple[list[Tensor], list[Tensor]], Tensor]:
    """Mean squared distance from 1 of the gradient's norm, and what it asks of the weights.

    Args:
        layers: Of the critic.
        slopes: Per hidden layer the first and second derivative of GELU, float32 [P, H].
        weight: The gradients' factor.

    Returns:
        The penalty, unweighted; per hidden layer what goes back by its raw outputs [P, H], and by
        its weights; and what the last layer's weights get [H].
    """
    hidden = len(slopes)
    back: list[Tensor] = [layers[-1].weight.expand_as(slopes[-1][0])]  # by outputs, from the top
    stems: list[Tensor] = []  # by raw outputs
    for index in range(hidden - 1, -1, -1):
        stems.append(back[-1] * slopes[index][0])
        back.append(_product(stems[-1], layers[index].weight))
    gradient = back.pop()  # (P, D)
    back, stems = back[::-1], stems[::-1]
    norm = (gradient.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()
    cost = (norm - 1).square().mean()
    ask = gradient * (2 * weight / gradient.shape[0] * (norm - 1) / norm)  # (P, D)
    bends, products = [], []
    for index in range(hidden):
        products.append(_product(stems[index].t(), ask))
        by_stem = _product(ask, layers[index].weight.t())  # (P, H)
        slope, bend = slopes[index]
        bends.append(by_stem * back[index] * bend)
        ask = by_stem * slope
    return cost, (bends, products), ask.sum(0)


def _slopes(raw: Tensor) -> tuple[Tensor, Tensor]:
    """First and second derivative of GELU: Phi + x phi, and (2 - x^2) phi."""
    square = raw * raw
    density = torch.exp(-0.5 * square) * ROOT_TWO_PI
    below = 0.5 * (1 + torch.erf(raw * ROOT_HALF))
    return below + raw * density, (2 - square) * density


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Matrix product in the precision of the context, as float32."""
    return (left @ right).float()
