"""The gap before a record, told by two rulers at once.

Some gaps follow a clock (a timer, a period), some the round trip of their flow. Each ruler is a
number codec: of the gap in ns, and in units of the delay of the side that sends. The net says how
likely each ruler is and, on each, which token; a gap's likelihood is the sum over the rulers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.transformer.choosing import draw, likely
from netsynth.generate.transformer.neighbours import NEAR_OUT, blur_rows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.timers import Timers
from netsynth.numbers import NumberCodec

NEVER = -1e4  # logit of a ruler that has no unit here


class GapDecoder(nn.Module):
    """Mixture of truncated number codecs.

    Args:
        codecs: Of gaps in ns, and in other units.
        kinds: Number of kinds of records.
        width: Of the states it reads.
        hidden: Of the layer before the outputs.
        tick_ns: Resolution of times; what a density is turned into a probability with.
    """

    def __init__(
        self,
        codecs: tuple[NumberCodec, ...],
        *,
        kinds: int,
        width: int,
        hidden: int,
        tick_ns: float = 1000.0,
    ) -> None:
        super().__init__()
        self.tables = nn.ModuleList(NumberTable(c) for c in codecs)
        self.timers = Timers(self.table(0), kinds=kinds)
        self.inner = nn.Linear(width, hidden)
        self.heads = nn.ModuleList(nn.Linear(hidden, c.size) for c in codecs)
        self.choice = nn.Linear(hidden, len(codecs))
        self.log_tick = math.log(tick_ns)
        for head in [*self.heads, self.choice]:
            nn.init.normal_(head.weight, std=0.05)
        for place, head in enumerate(self.heads):
            blur_rows(head, [self.table(place).values(atoms=False)], reach=NEAR_OUT)

    def table(self, index: int) -> NumberTable:
        """Return ruler `index`."""
        table = self.tables[index]
        assert isinstance(table, NumberTable)
        return table

    def _choice(self, inner: Tensor, units: Tensor) -> Tensor:
        logits: Tensor = self.choice(inner).float()
        return torch.log_softmax(logits.masked_fill(units <= 0, NEVER), dim=1)

    def nll(self, state: Tensor, gap: Tensor, low: Tensor, high: Tensor, units: Tensor) -> Tensor:
        """Negative log-likelihood of gaps, each rounded to a tick: [M] nats.

        Args:
            state: [M, W].
            gap: float64 [M], ns.
            low: float64 [M], smallest gap possible.
            high: float64 [M], largest.
            units: float64 [M, R], ns of a unit of each ruler, 0 where it has none.
        """
        inner = functional.gelu(self.inner(state))
        chosen = self._choice(inner, units)
        parts = []
        for index, head in enumerate(self.heads):
            table, unit = self.table(index), units[:, index].clamp(min=1.0)
            value, start, stop = gap / unit, low / unit, high / unit
            token = table.bucket(value)
            logits = head(inner).float() + table.share_within(start, stop)
            found = -functional.cross_entropy(logits, token, reduction="none")
            first = torch.maximum(table.rows[token, 0], start)
            last = torch.minimum(table.rows[token, -1], stop)
            wide = ((last - first) * unit).clamp(min=1e-3).log() - self.log_tick
            parts.append(chosen[:, index] + found - wide.clamp(min=0).float())
        return -torch.logsumexp(torch.stack(parts, dim=1), dim=1)

    def sample(
        self,
        state: Tensor,
        low: Tensor,
        high: Tensor,
        units: Tensor,
        *,
        service: Tensor,
        kind: Tensor,
        random: torch.Generator,
    ) -> Tensor:
        """Draw gaps in ns between `low` and `high`, float64 [M]; see `nll`.

        `service` and `kind`, int64 [M], tell the timers of the records behind the gaps.
        """
        inner = functional.gelu(self.inner(state))
        ruler = draw(self._choice(inner, units), random)
        gap = torch.zeros_like(low)
        for index, head in enumerate(self.heads):
            rows = torch.nonzero(ruler == index)[:, 0]
            table, unit = self.table(index), units[rows, index].clamp(min=1.0)
            start, stop = low[rows] / unit, high[rows] / unit
            token = draw(likely(head(inner[rows]) + table.share_within(start, stop)), random)
            knots = None
            if index == 0:  # the only one in ns
                knots = self.timers.knots(table, service[rows], kind[rows], token)
            gap[rows] = table.draw_within(token, start, stop, random, knots) * unit
        return torch.minimum(torch.maximum(gap, low), high)
