"""How gaps lie inside a ruler's bins, by service and kind of packet.

A bin of the ruler holds the gaps of all services, a timer's often narrow among them: a SYN is
repeated after 3.00 s, and not anywhere between 2.7 and 3.6 s.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import KNOTS

LEAST = 6  # gaps to tell a timer by
NARROW = 0.5  # of the bin's middle half that the middle half of a timer's gaps fills, at most
MANY = 48  # gaps that tell how they lie in a bin, narrow or not


class Timers(nn.Module):
    """Inverse distribution functions of gaps inside bins, where they are narrow or many.

    Args:
        table: The ruler, in ns.
        kinds: Number of kinds of packets.
    """

    def __init__(self, table: NumberTable, *, kinds: int) -> None:
        super().__init__()
        self.kinds = kinds
        self.size = table.size
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("rows", torch.zeros(0, KNOTS, dtype=torch.float64))
        self.keys: Tensor  # int64 [K], ascending
        self.rows: Tensor  # float64 [K, KNOTS], ns

    def learn(self, table: NumberTable, service: Tensor, kind: Tensor, gap_ns: Tensor) -> None:
        """Learn from gaps [M]: of the service alone, and of the kind of packet behind them."""
        token = table.bucket(gap_ns)
        wide = table.rows[token, 0] < table.rows[token, -1]
        service, kind, token, gap_ns = (x[wide] for x in (service, kind, token, gap_ns))
        any_kind = torch.full_like(kind, self.kinds)
        keys = torch.cat([self._code(service, any_kind, token), self._code(service, kind, token)])
        gaps = gap_ns.double().repeat(2)
        order = torch.argsort(gaps)
        order = order[torch.argsort(keys[order], stable=True)]
        keys, gaps = keys[order], gaps[order]
        known, counts = torch.unique_consecutive(keys, return_counts=True)
        first = counts.cumsum(0) - counts
        places = torch.linspace(0, 1, KNOTS, dtype=torch.float64, device=keys.device)
        place = first[:, None] + places * (counts - 1)[:, None]  # [K, KNOTS]
        low = place.floor().long()
        high = (low + 1).clamp(max=max(gaps.numel() - 1, 0))
        rows = gaps[low] + (gaps[high] - gaps[low]) * (place - low)
        bins = table.rows[known % self.size]
        quarter = KNOTS // 4
        middle, whole = (r[:, -1 - quarter] - r[:, quarter] for r in (rows, bins))
        kept = ((counts >= LEAST) & (middle <= NARROW * whole)) | (counts >= MANY)
        self.keys, self.rows = known[kept], rows[kept]

    def _code(self, service: Tensor, kind: Tensor, token: Tensor) -> Tensor:
        return (service * (self.kinds + 1) + kind) * self.size + token

    def knots(self, table: NumberTable, service: Tensor, kind: Tensor, token: Tensor) -> Tensor:
        """Inverse distribution functions of gaps of tokens [M]: float64 [M, KNOTS]."""
        found = table.rows[token]
        for own in (torch.full_like(kind, self.kinds), kind):
            code = self._code(service, own, token)
            place = torch.searchsorted(self.keys, code).clamp(max=max(self.keys.numel() - 1, 0))
            if self.keys.numel():
                found = torch.where((self.keys[place] == code)[:, None], self.rows[place], found)
        return found

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take as many timers as the model file has."""
        for name in ("keys", "rows"):
            if prefix + name in state_dict:
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
