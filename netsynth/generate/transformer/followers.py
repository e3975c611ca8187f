"""What was seen behind packets: kinds behind two kinds, windows behind one, of each service.

A network leaves a little chance to everything. Where twenty packets have come behind the same
two, all of them of a few kinds, another one is drawn only if nothing else can be: a SYN-ACK is
acknowledged before a request is sent, in every flow.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ENOUGH = 20  # packets behind the same ones that tell what comes
UNSEEN = 8.0  # nats taken from what did not come
UNSEEN_SHARE = math.exp(-UNSEEN)


class Followers(nn.Module):
    """Tokens seen under a service and two tokens of kinds, or where too few were, under the second.

    Args:
        kinds: Number of kinds of packets.
        size: Number of tokens of what follows.
    """

    def __init__(self, *, kinds: int, size: int) -> None:
        super().__init__()
        self.any_kind, self.size = kinds + 1, size
        self.register_buffer("keys", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("rows", torch.zeros(0, size, dtype=torch.bool))
        self.keys: Tensor  # int64 [K], ascending, see `_code`
        self.rows: Tensor  # bool [K, size]

    def learn(self, service: Tensor, first: Tensor, second: Tensor, token: Tensor) -> None:
        """Learn from tokens [M] behind the kinds `first` and `second`, plus 1, 0: none."""
        any_kind = torch.full_like(first, self.any_kind)
        codes = [self._code(service, kind, second) for kind in (first, any_kind)]
        keys, place, counts = torch.unique(
            torch.cat(codes), return_inverse=True, return_counts=True
        )
        rows = torch.zeros(keys.numel(), self.size, dtype=torch.bool, device=keys.device)
        rows[place, token.repeat(2)] = True
        self.keys, self.rows = keys[counts >= ENOUGH], rows[counts >= ENOUGH]

    def _code(self, service: Tensor, first: Tensor, second: Tensor) -> Tensor:
        base = self.any_kind + 1
        return (service * base + first) * base + second

    def seen(self, service: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Tell which tokens came behind those kinds, all where too little did: bool [M, size]."""
        found = torch.ones(service.numel(), self.size, dtype=torch.bool, device=service.device)
        if self.keys.numel() == 0:
            return found
        for kind in (torch.full_like(first, self.any_kind), first):
            code = self._code(service, kind, second)
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
