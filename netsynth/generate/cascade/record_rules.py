"""Which kinds of records may occur where: by protocol, direction, what a flow shows and owes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from netsynth.generate.cascade.record_data import Place
from netsynth.tables import TokenField

FORWARD_STATES, REVERSE_STATES = 1 | 4 | 16, 2 | 8 | 32  # SYN, FIN, RST; see encode's STATE_*
STRANGE = 12.0  # nats taken from kinds that the flow's state or bytes speak against


@dataclass(frozen=True, kw_only=True, slots=True)
class KindRules:
    """What kinds of records may occur where; tensors [K] but the first.

    Attributes:
        of_protocol: bool [P, K], kinds by the protocol they belong to.
        protocols: int64 [P].
    """

    of_protocol: Tensor
    protocols: Tensor
    reverse: Tensor
    payload: Tensor
    state: Tensor

    @staticmethod
    def of(kind: TokenField, device: torch.device) -> KindRules:
        """Read them from the groups of the field."""
        group = {name: torch.as_tensor(value, device=device) for name, value in kind.groups.items()}
        protocols = torch.unique(group["protocol"])
        return KindRules(
            of_protocol=group["protocol"][None] == protocols[:, None],
            protocols=protocols,
            reverse=group["reverse"].bool(),
            payload=group["payload"].bool(),
            state=group["state"],
        )

    def mask(self, logits: Tensor, protocol: Tensor, state: Tensor, place: Place) -> Tensor:
        """Take from logits [M, K] what protocol, direction, state or bytes speak against."""
        row = torch.searchsorted(self.protocols, protocol).clamp(max=self.protocols.numel() - 1)
        reverse = self.reverse
        room = torch.where(reverse, place.step_left[:, 1:] > 0, place.step_left[:, :1] > 0)
        data = torch.where(reverse, place.bytes_left[:, 1:] > 0, place.bytes_left[:, :1] > 0)
        fits = self.of_protocol[row] & room
        likely = fits & (data | ~self.payload) & ((self.state & ~state[:, None]) == 0)
        # the last packets of a direction must show the flags that it owes
        late = torch.stack(
            [
                place.left[:, way] <= _bit_count(place.owed & bits)
                for way, bits in enumerate((FORWARD_STATES, REVERSE_STATES))
            ],
            dim=1,
        )
        due = torch.where(reverse, late[:, 1:], late[:, :1])
        likely &= ~due | ((self.state & place.owed[:, None]) > 0)
        # and the last of those with bytes left must carry them
        ends = torch.where(reverse, place.left[:, 1:] == 1, place.left[:, :1] == 1)
        bare = likely & ends & data & ~self.payload
        logits = logits.masked_fill(bare, -STRANGE)
        likely = torch.where(likely.any(dim=1, keepdim=True), likely, fits)
        logits = logits.masked_fill(~room, -2e4)
        logits = torch.where(self.of_protocol[row], logits, logits - 2000.0)
        return torch.where(likely, logits, logits - 4 * STRANGE)


def _bit_count(bits: Tensor) -> Tensor:
    """Bits set among the lowest six."""
    return torch.stack([(bits >> place) & 1 for place in range(6)]).sum(0)
