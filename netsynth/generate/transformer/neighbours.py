"""Rows of weights that belong to numbers: near numbers have nearly the same ones.

What a network learns of a gap of 20 ms holds of one of 21 ms as well. With rows of their own, each
learns it anew, from few examples, and soon knows those by heart.

Rows are mixed anew whenever they are read, as training wants it; who draws keeps them by
`parametrize.cached`, which holds for the whole process: nothing may be trained beside it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

NEAR = 5.0  # places along the numbers over which rows of inputs resemble each other
NEAR_OUT = 3.0  # and rows of outputs


class _Blur(nn.Module):
    """Mixes rows with those of near numbers; squares of the shares of a row sum to 1."""

    def __init__(self, values: list[Tensor], reach: float) -> None:
        super().__init__()
        self.sizes = [v.numel() for v in values]
        for place, of_column in enumerate(values):
            known = torch.nonzero(~of_column.isnan())[:, 0]
            shares = None
            if known.numel() > 1:
                shares = torch.eye(of_column.numel())
                shares[known[:, None], known[None]] = _shares(of_column[known], reach)
            self.register_buffer(f"shares_{place}", shares, persistent=False)

    def forward(self, rows: Tensor) -> Tensor:
        """Mix the rows [size, W] of all columns, one behind the other."""
        mixed = []
        for place, column in enumerate(torch.split(rows, self.sizes)):
            shares = getattr(self, f"shares_{place}")
            mixed.append(column if shares is None else shares @ column)
        return torch.cat(mixed) if len(mixed) > 1 else mixed[0]


def _shares(values: Tensor, reach: float) -> Tensor:
    place = torch.argsort(torch.argsort(values, stable=True)).double()
    shares = torch.exp(-0.5 * ((place[:, None] - place[None]) / reach).square())
    return (shares / shares.square().sum(1, keepdim=True).sqrt()).float()


def blur_rows(module: nn.Module, values: list[Tensor], *, reach: float) -> None:
    """Have the rows of the weight of `module` resemble those of near numbers, from now on.

    Args:
        module: An embedding or a linear map; its weight is [size, W], of all columns one behind
            the other. What it holds is mixed as well, and keeps its spread.
        values: Of each column, float64 [its size], increasing with what the rows stand for; NaN
            where a row stands for itself.
            Columns of nothing but NaN stay as they are.
        reach: Places in the order of the values over which rows resemble each other.
    """
    if not all(bool(v.isnan().all()) for v in values):
        parametrize.register_parametrization(module, "weight", _Blur(values, reach))
