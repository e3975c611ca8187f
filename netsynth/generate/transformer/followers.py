"""What was seen behind packets of a service: kinds behind three kinds, windows behind two.

A network leaves a little chance to everything. Where twenty packets have come behind the same
ones, all of them of a few kinds, another one is drawn only if nothing else can be: a SYN-ACK is
acknowledged before a request is sent, in every flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

DEPTH = 3  # kinds that what follows is looked up under
ENOUGH = 20  # packets behind the same ones that tell what comes
UNSEEN = 8.0  # nats taken from what did not come
UNSEEN_SHARE = math.exp(-UNSEEN)


class Followers(nn.Module):
    """Tokens seen under a service and three tokens of kinds, or the last two or one of them.

    The most that were met often enough count.

    Args:
        kinds: Number of kinds of packets.
        size: Number of tokens of what follows.
    """

    def __init__(self, *, kinds: int, size: int) -> None:
        super().__init__()
        self.any_kind, self.size = kinds + 1, size
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("rows", torch.zeros(0, size, dtype=torch.bool))
        self.keys: Tensor  # int64 [K], ascending, see `_codes`
        self.rows: Tensor  # bool [K, size]

    def learn(self, service: Tensor, kinds: Tensor, token: Tensor) -> None:
        """Learn from tokens [M] under kinds [M, 3], oldest first, plus 1, 0: none."""
        found = [self._often(code, token) for code in self._codes(service, kinds)]
        keys, rows = (torch.cat(parts) for parts in zip(*found, strict=True))
        order = torch.argsort(keys)  # none twice: each number of kinds has its own
        self.keys, self.rows = keys[order], rows[order]

    def _often(self, code: Tensor, token: Tensor) -> tuple[Tensor, Tensor]:
        """Codes [M] met ENOUGH times, ascending, and which tokens [M] came: bool [K, size]."""
        keys, place, counts = torch.unique(code, return_inverse=True, return_counts=True)
        often = counts >= ENOUGH
        kept = often[place]
        row = (often.cumsum(0) - 1)[place[kept]]
        rows = torch.zeros(int(often.sum()), self.size, dtype=torch.bool, device=code.device)
        rows[row, token[kept]] = True
        return keys[often], rows

    def _codes(self, service: Tensor, kinds: Tensor) -> list[Tensor]:
        """Numbers [M] of a service and kinds [M, 3], of the last one alone, two, and all."""
        base, codes = self.any_kind + 1, []
        for known in range(1, DEPTH + 1):
            code = service
            for place in range(DEPTH):
                kind = kinds[:, place] if place >= DEPTH - known else self.any_kind
                code = code * base + kind
            codes.append(code)
        return codes

    def seen(self, service: Tensor, kinds: Tensor) -> Tensor:
        """Tell which tokens came under those kinds, all where too little did: bool [M, size]."""
        found = torch.ones(service.numel(), self.size, dtype=torch.bool, device=service.device)
        if self.keys.numel() == 0:
            return found
        for code in self._codes(service, kinds):
            place = torch.searchsorted(self.keys, code).clamp(max=self.keys.numel() - 1)
            found = torch.where((self.keys[place] == code)[:, None], self.rows[place], found)
        return found

    def _load_from_state_dict(
        self, state_dict: dict[str, Tensor], prefix: str, *args: object, **kwargs: object
    ) -> None:
        """Take as many rows as the model file has."""
        for name in ("keys", "rows"):
            if prefix + name in state_dict:
                setattr(self, name, state_dict[prefix + name].clone().to(getattr(self, name).dtype))
        super()._load_from_state_dict(state_dict, prefix, *args, **kwargs)
