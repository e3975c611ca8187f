"""Details of a flow that go together beyond what the network knows.

Normal scores of a network that missed nothing would be independent. What it misses of how the
delay of the answer, that of the reply and the flow's duration hang together is found in them, and
drawn with them: as a Gaussian copula of the flow's details within each service.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.numbers import FloatArray

CERTAIN = 4.0  # standard errors below which two details are taken for independent
CLOSEST = 0.95  # correlation of two details of a flow at most
ROOM = 0.98  # of the way to where a covariance would no longer be one


def correlations(score: FloatArray, spread: FloatArray) -> FloatArray:
    """Correlations between the details of flows, beyond chance: float64 [D, D], diagonal 1.

    Args:
        score: float64 [F, D], normal scores about their mean.
        spread: float64 [F, D], mean squares that they have under their distributions.
    """
    found = np.eye(score.shape[1])
    for d in range(score.shape[1]):
        for e in range(d):
            product = score[:, d] * score[:, e]
            whole = float((spread[:, d] * spread[:, e]).sum())
            if abs(product.sum()) > CERTAIN * np.sqrt(np.square(product).sum()) and whole > 0:
                found[d, e] = np.clip(product.sum() / whole, -CLOSEST, CLOSEST)
                found[e, d] = found[d, e]
    return shrunk_to_fit(found, np.ones(score.shape[1]))


def shrunk_to_fit(matrix: FloatArray, variance: FloatArray) -> FloatArray:
    """Make the symmetric `matrix` [D, D] a covariance with `variance` [D] on its diagonal.

    No pair may be closer than CLOSEST; then what lies beside the diagonal is multiplied by the
    largest number up to 1 that does so.
    """
    deviation = np.sqrt(np.maximum(variance, 0.0))
    beside = matrix * (1 - np.eye(variance.size))
    both = np.outer(deviation, deviation)
    relative = np.divide(beside, both, out=np.zeros_like(beside), where=both > 0)
    relative = np.clip(relative, -CLOSEST, CLOSEST)
    lowest = float(np.linalg.eigvalsh(relative)[0]) if variance.size else 0.0
    share = min(1.0, -ROOM / lowest) if lowest < 0 else 1.0
    return np.asarray(share * relative * both + np.diag(deviation**2))


def roots(covariance: Tensor) -> Tensor:
    """Symmetric square roots of covariances [..., D, D], float64."""
    values, vectors = torch.linalg.eigh(covariance.double())
    whole = (vectors * values.clamp(min=0).sqrt()[..., None, :]) @ vectors.mT
    diagonal = covariance.double().diagonal(dim1=-2, dim2=-1)
    plain = torch.diag_embed(diagonal.clamp(min=0).sqrt())
    is_plain = (covariance.double() == torch.diag_embed(diagonal)).all(-1).all(-1)
    return torch.where(is_plain[..., None, None], plain, whole)


def mixed(root: Tensor, service: Tensor, noise: dict[int, Tensor], detail: int) -> Tensor:
    """Sum of `noise` [F] by detail, weighted by row `detail` of each flow's root [services, D, D].

    Args:
        root: float64 [services, D, D].
        service: int64 [F].
        noise: By detail, float64 [F]; that of `detail` is among them.
        detail: Which.
    """
    total = root[service, detail, detail] * noise[detail]
    for other, values in noise.items():
        share = root[:, detail, other]
        if other != detail and bool((share != 0).any()):
            total = total + share[service] * values
    return total
