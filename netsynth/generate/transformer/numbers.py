"""Number codecs on the device that samples: buckets, draws and truncated draws as tensors."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netsynth.numbers import KNOTS, NumberCodec


class NumberTable(nn.Module):
    """A NumberCodec as tensors; see there for atoms, edges and knots."""

    def __init__(self, codec: NumberCodec) -> None:
        super().__init__()
        self.size = codec.size
        self.atom_count = int(codec.atoms.size)
        rows = torch.cat(
            [
                torch.as_tensor(codec.atoms)[:, None].expand(-1, KNOTS),
                torch.as_tensor(codec.knots),
            ]
        )
        self.register_buffer("atoms", torch.as_tensor(codec.atoms), persistent=False)
        self.register_buffer("edges", torch.as_tensor(codec.edges), persistent=False)
        self.register_buffer("rows", rows.contiguous(), persistent=False)  # [size, KNOTS]
        self.atoms: Tensor
        self.edges: Tensor
        self.rows: Tensor

    def values(self, *, atoms: bool = True) -> Tensor:
        """Middle of each token's numbers, NaN for atoms without `atoms`: float64 [size]."""
        values = self.rows[:, [0, -1]].mean(1)
        if not atoms:
            values[: self.atom_count] = torch.nan
        return values

    def bucket(self, values: Tensor) -> Tensor:
        """Return the token of each value: int64, same shape."""
        values = values.double().contiguous()
        bins = torch.searchsorted(self.edges, values, right=True) - 1
        last = max(self.size - self.atom_count - 1, 0)
        tokens = bins.clamp(0, last) + self.atom_count
        if self.atom_count:
            near = torch.searchsorted(self.atoms, values).clamp(max=self.atom_count - 1)
            exact = self.atoms[near] == values
            if self.size == self.atom_count:
                below = (near - 1).clamp(min=0)
                closer = (self.atoms[below] - values).abs() < (self.atoms[near] - values).abs()
                return torch.where(closer, below, near)
            tokens = torch.where(exact, near, tokens)
        return tokens

    def draw(self, tokens: Tensor, random: torch.Generator, knots: Tensor | None = None) -> Tensor:
        """Draw a value of each token: float64, same shape.

        `knots` [..., KNOTS] stand for those of the tokens' bins.
        """
        uniform = torch.rand(
            tokens.shape, generator=random, device=tokens.device, dtype=torch.float64
        )
        rows = self.rows[tokens] if knots is None else knots  # [..., KNOTS]
        place = uniform * (KNOTS - 1)
        left = place.long().clamp(max=KNOTS - 2)
        low = rows.gather(-1, left[..., None])[..., 0]
        high = rows.gather(-1, left[..., None] + 1)[..., 0]
        return low + (high - low) * (place - left)

    def share_within(self, low: Tensor, high: Tensor) -> Tensor:
        """Log of the share of each token that lies in low..high [M]: float32 [M, size]."""
        start, stop = self.rows[:, 0], self.rows[:, -1]
        width = (stop - start).clamp(min=1e-9)
        inside = torch.minimum(stop, high[:, None]) - torch.maximum(start, low[:, None])
        share = torch.where(
            stop > start,
            (inside / width).clamp(0, 1),
            ((start >= low[:, None]) & (start <= high[:, None])).double(),
        )
        return share.clamp(min=1e-13).log().float()

    def draw_within(
        self,
        tokens: Tensor,
        low: Tensor,
        high: Tensor,
        random: torch.Generator,
        knots: Tensor | None = None,
    ) -> Tensor:
        """Draw a value of each token [M] inside low..high [M]: float64 [M]; see `draw`."""
        value = self.draw(tokens, random, knots)
        start = torch.maximum(self.rows[tokens, 0], low)
        stop = torch.minimum(self.rows[tokens, -1], high)
        start, stop = torch.minimum(start, high), torch.maximum(stop, low)
        uniform = torch.rand(
            tokens.shape, generator=random, device=tokens.device, dtype=torch.float64
        )
        inside = (value >= low) & (value <= high)
        return torch.where(inside, value, start + (stop - start).clamp(min=0) * uniform)
