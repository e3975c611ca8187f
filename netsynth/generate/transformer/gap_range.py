"""How short and how long a gap may be: as seen between two kinds of packets of a service.

A network that has seen packets follow each other at once in one service gives that a chance in all
of them: one flow in twenty shows it, where none of the capture does. Some gaps follow from the one
before: an unanswered SYN is repeated after twice the time that it was before.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from netsynth.generate.transformer.numbers import NumberTable

ENOUGH = 20  # gaps that tell how short and long they may be
SLACK = 1.25  # and by how much they may be shorter or longer still
NARROW = 4.0  # times the shortest that the longest behind a gap may be, to tell of a rule
OCTAVES = 64  # powers of two that gaps in ns are told by, and none


class GapRange(nn.Module):
    """Shortest and longest gap by service, kind of packet and kind of the packet before.

    Args:
        kinds: Number of kinds of packets.
        widest: Ranges whose ends differ by more than this factor are not kept.
    """

    def __init__(self, *, kinds: int, widest: float = math.inf) -> None:
        super().__init__()
        self.kinds, self.widest = kinds, widest
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("rows", torch.zeros(0, 2, dtype=torch.float64))
        self.keys: Tensor  # int64 [K], ascending, see `code`
        self.rows: Tensor  # float64 [K, 2], ns

    def code(self, service: Tensor, before: Tensor, kind: Tensor) -> Tensor:
        """One number for services, kinds before and kinds [M]: int64 [M]."""
        return (service * self.kinds + before) * self.kinds + kind

    def learn(self, service: Tensor, before: Tensor, kind: Tensor, gap_ns: Tensor) -> None:
        """Learn from gaps [M] float64 between the kinds `before` and `kind`."""
        keys, place, counts = torch.unique(
            self.code(service, before, kind), return_inverse=True, return_counts=True
        )
        rows = gap_ns.new_zeros(keys.numel(), 2)
        for column, how in enumerate(("amin", "amax")):
            found = gap_ns.new_zeros(keys.numel())
            rows[:, column] = found.scatter_reduce(0, place, gap_ns, how, include_self=False)
        kept = (counts >= ENOUGH) & (rows[:, 1] / self.widest <= rows[:, 0])
        self.keys = keys[kept]
        self.rows = rows[kept] * rows.new_tensor([1 / SLACK, SLACK])

    def narrow(
        self,
        service: Tensor,
        before: Tensor,
        kind: Tensor,
        low: Tensor,
        high: Tensor,
        room: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Narrow the gaps that are possible, `low` to `high` [M] ns, to those that were seen.

        Where none of those were, the gap is one that was seen all the same if it is shorter than
        `room` [M] ns: a packet in the next step is less strange than a timer that runs otherwise.
        Else, and without `room`, they are left as they are.
        """
        if self.keys.numel() == 0:
            return low, high
        code = self.code(service, before, kind)
        place = torch.searchsorted(self.keys, code).clamp(max=self.keys.numel() - 1)
        shortest, longest = self.rows[place].unbind(1)
        is_known = self.keys[place] == code
        overlaps = (shortest < high) & (longest > low)
        within = is_known & overlaps
        found = torch.where(within, torch.maximum(low, shortest), low)
        limit = torch.where(within, torch.minimum(high, longest), high)
        if room is None:
            return found, limit
        instead = is_known & ~overlaps & (shortest < room)
        found = torch.where(instead, shortest, found)
        return found, torch.where(instead, torch.minimum(longest, room), limit)

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take as many ranges as the model file has."""
        for name in ("keys", "rows"):
            if prefix + name in state_dict:
                setattr(self, name, state_dict[prefix + name].clone())
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)


def gap_octaves(table: NumberTable) -> Tensor:
    """Nearest power of two of each token's gap in ns plus 1, after a 0 for none: int64 [size + 1].

    As numbers below OCTAVES; index with tokens plus 1, as histories hold them.
    """
    nearest = table.values().clamp(min=1).log2().round().long()
    octaves: Tensor = torch.cat([nearest.new_zeros(1), nearest.clamp(max=OCTAVES - 2) + 1])
    return octaves
