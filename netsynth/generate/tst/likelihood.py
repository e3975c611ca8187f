"""The likelihood model: values of a series, given its prefix and the records before.

The sequence is BOS, the tokens of the prefix, then one position a patch of records; the position
before a patch tells how many records the patch holds (fewer than all: the series ends in it) and,
record by record and measurement by measurement, what they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.transformer.attention import sinusoids
from netsynth.generate.tst.config import TstConfig
from netsynth.generate.tst.layers import Block, Cache, NumberHead, draw, number_head
from netsynth.generate.tst.rhythm import Rhythm
from netsynth.generate.tst.tokens import SeriesTokens

NUMBER_FEATURES = 4
LAGS = 8  # records just before that a record sees unsqueezed


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """B series side by side, T being a multiple of the patch; what lies behind an end is ignored.

    Attributes:
        prefix: int64 [B, P].
        tokens: int64 [B, T, K].
        numbers: float [B, T, K], standardised.
        lengths: int64 [B].
        within: int64 [B, 2], fewest and most records that the prefix allows.
        progress: float [B, T / patch, G], see `progress_features`, before each patch.
    """

    prefix: Tensor
    tokens: Tensor
    numbers: Tensor
    lengths: Tensor
    within: Tensor
    progress: Tensor


class SeriesTransformer(nn.Module):
    """Patches of records, one after the other."""

    def __init__(self, tokens: SeriesTokens, config: TstConfig) -> None:
        super().__init__()
        width, self.patch = config.width, tokens.patch
        self.heads_count = config.heads
        self.bos = nn.Parameter(torch.randn(width) * 0.1)
        self.prefix = nn.ModuleList(nn.Embedding(f.size, width) for f in tokens.prefix_fields)
        self.is_number = [value.has_number for value in tokens.values]
        self.values = nn.ModuleList(
            nn.Linear(NUMBER_FEATURES, width) if v.has_number else nn.Embedding(v.size, width)
            for v in tokens.values
        )
        self.squeeze = nn.Linear(self.patch * width, width)
        self.steer = nn.Linear(2 + len(tokens.totalled), width)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=config.heads, dropout=config.dropout)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)
        self.end = nn.Linear(width, self.patch + 1)
        steps = -(-tokens.schema.max_length // self.patch) * self.patch
        self.place = nn.Parameter(torch.randn(steps, width) * 0.05)  # of records, by their step
        self.rhythm = Rhythm(tokens.periods, steps=steps, width=width) if tokens.periods else None
        self.lags = nn.Parameter(torch.randn(LAGS, width) * 0.3)
        self.before = nn.Linear(width, width, bias=False)
        self.beside = nn.Linear(width, width, bias=False)
        self.decode_norm = nn.ModuleList(nn.LayerNorm(width) for _ in tokens.values)
        self.hidden = nn.ModuleList(nn.Linear(width, config.hidden) for _ in tokens.values)
        self.heads = nn.ModuleList(
            number_head(v, config) if v.has_number else nn.Linear(config.hidden, v.size)
            for v in tokens.values
        )
        self.dropout = nn.Dropout(config.dropout)
        for part in (*self.prefix, *self.values):
            if isinstance(part, nn.Embedding):
                nn.init.normal_(part.weight, std=0.2)

    def set_prior(self, counts: list[Tensor | None]) -> None:
        """Start the heads of tokens at the frequencies `counts` [size] of each measurement."""
        with torch.no_grad():
            for head, count in zip(self.heads, counts, strict=True):
                if count is not None and isinstance(head, nn.Linear):
                    head.weight.mul_(0.1)
                    share = (count.float() + 0.1) / (count.sum() + 0.1 * count.numel())
                    head.bias.copy_(share.log())

    def loss(self, batch: Batch) -> Tensor:
        """Negative log-likelihood in nats of each series' values and end, [B]."""
        steps = batch.tokens.shape[1]
        active = torch.arange(steps, device=batch.lengths.device) < batch.lengths[:, None]
        embedded = [
            self._embed(place, batch.tokens[..., place], batch.numbers[..., place])
            for place in range(len(self.heads))
        ]  # K x [B, T, H]
        record = sum(embedded[1:], start=embedded[0]) * active[..., None]  # [B, T, H]
        state = self._states(batch.prefix, record, batch.progress)  # [B, T/S, H]
        loss = self._end_loss(state, batch)
        at = active.nonzero(as_tuple=True)  # records that exist
        spread = state.repeat_interleave(self.patch, dim=1)[at]  # [M, H]
        spread = spread + self._beat(at[1], self.kinds(batch.prefix)[at[0]])
        earlier = functional.pad(record, (0, 0, LAGS, 0))  # [B, T + LAGS, H]
        mixed = sum(
            (earlier[:, LAGS - back : LAGS - back + steps] * self.lags[back - 1])
            for back in range(1, LAGS + 1)
        )
        assert isinstance(mixed, Tensor)
        spread = spread + self.before(mixed[at])
        beside = torch.zeros_like(spread)
        for place in range(len(self.heads)):
            hidden = self._hidden(place, spread, beside)
            token, number = batch.tokens[..., place][at], batch.numbers[..., place][at]
            head = self.heads[place]
            if isinstance(head, NumberHead):
                nll = head.loss(hidden, token, number)
            else:
                nll = functional.cross_entropy(head(hidden).float(), token, reduction="none")
            loss = loss.index_add(0, at[0], nll)
            beside = beside + embedded[place][at]
        return loss

    def _hidden(self, place: int, state: Tensor, beside: Tensor) -> Tensor:
        """State of a measurement's head, [M, hidden]; `beside` sums the record's cells so far."""
        x = self.decode_norm[place](state + self.beside(beside))
        return functional.gelu(self.hidden[place](self.dropout(x)))

    def _embed(self, place: int, token: Tensor, number: Tensor) -> Tensor:
        """Map tokens and numbers [...] of a measurement to [..., H]."""
        if not self.is_number[place]:
            return self.values[place](token)  # type: ignore[no-any-return]
        number, exists = number.clamp(-8, 8), (token > 0).float()
        features = torch.stack([exists, number, number.tanh(), number.abs()], dim=-1)
        return self.values[place](features)  # type: ignore[no-any-return]

    def kinds(self, prefix: Tensor) -> Tensor:
        """What rhythms depend on, of prefixes [B, P]: [B, H]."""
        parts = self._head_of_sequence(prefix)[:, 1:]
        return parts[:, 0] if self.rhythm is None else self.rhythm.kind_of(parts)

    def _beat(self, place: Tensor, kind: Tensor) -> Tensor:
        """What is known of records [M] by their place in the series, and kinds [M, H]."""
        known = self.place[place]
        return known if self.rhythm is None else known + self.rhythm(place, kind)

    def _head_of_sequence(self, prefix: Tensor) -> Tensor:
        """BOS and the prefix's tokens, [B, 1 + P, H]."""
        parts = [self.bos.expand(prefix.shape[0], -1)]
        parts += [embed(prefix[:, place]) for place, embed in enumerate(self.prefix)]
        return torch.stack(parts, dim=1)

    def _states(self, prefix: Tensor, record: Tensor, progress: Tensor) -> Tensor:
        """What is known before each patch, [B, T/S, H]."""
        count, steps, width = record.shape
        patches = self.squeeze(record.reshape(count, steps // self.patch, -1))  # [B, T/S, H]
        head = self._head_of_sequence(prefix)
        x = torch.cat([head, patches[:, :-1] + self.steer(progress[:, 1:])], dim=1)
        x = self.dropout(x + _positions(0, x.shape[1], width, x))
        for block in self.blocks:
            x = block(x)
        states: Tensor = self.norm(x[:, head.shape[1] - 1 :])
        return states

    def _end_loss(self, state: Tensor, batch: Batch) -> Tensor:
        """Negative log-likelihood of how many records each patch holds, [B]."""
        count, patches, _ = state.shape
        first = torch.arange(patches, device=state.device) * self.patch  # [T/S]
        held = (batch.lengths[:, None] - first).clamp(max=self.patch)  # [B, T/S]
        # The patch after a series' last record says that none follows, unless none can.
        exists = (held >= 0) & (first < batch.within[:, 1:])
        logits = self._end_logits(state, first[None, :], batch.within[:, None])
        nll = functional.cross_entropy(
            logits.flatten(0, 1), held.clamp(min=0).flatten(), reduction="none"
        )
        return (nll.view(count, patches) * exists).sum(dim=1)

    def _end_logits(self, state: Tensor, first: Tensor, within: Tensor) -> Tensor:
        """Logits [..., S + 1] of the records a patch holds; what the prefix rules out excluded.

        Args:
            state: float [..., H].
            first: int64 [...], records before the patch.
            within: int64 [..., 2], fewest and most records of the series.
        """
        held = torch.arange(self.patch + 1, device=state.device)
        total = first[..., None] + held  # [..., S + 1]
        fits = (total >= within[..., :1]) & (total <= within[..., 1:])
        goes_on = (held == self.patch) & (total <= within[..., 1:])
        allowed = (fits | goes_on) & (total > 0)  # no series ends before its first record
        logits: Tensor = self.end(state)
        return logits.float().masked_fill(~allowed, -1e9)

    @torch.no_grad()
    def start(self, prefix: Tensor, room: int) -> tuple[Tensor, Cache]:
        """Read prefixes [B, P]; return what is known before the first patch [B, H], and a cache."""
        x = self._head_of_sequence(prefix)
        cache = Cache(
            layers=len(self.blocks),
            batch=len(prefix),
            heads=self.heads_count,
            room=x.shape[1] + room,
            like=x,
        )
        return self._advance(x, cache), cache

    @torch.no_grad()
    def step(self, record: Tensor, progress: Tensor, cache: Cache) -> Tensor:
        """Read a patch [B, S, H] and the progress [B, G] after it; return what is known [B, H]."""
        x = self.squeeze(record.flatten(1)) + self.steer(progress)
        return self._advance(x[:, None], cache)

    def _advance(self, x: Tensor, cache: Cache) -> Tensor:
        steps, width = x.shape[1:]
        x = x + _positions(cache.length, steps, width, x)
        for layer, block in enumerate(self.blocks):
            x = block(x, cache=cache, layer=layer)
        cache.length += steps
        state: Tensor = self.norm(x[:, -1])
        return state

    @torch.no_grad()
    def draw_end(
        self, state: Tensor, first: int, within: Tensor, random: torch.Generator
    ) -> Tensor:
        """Draw how many records the next patch holds, int64 [B]."""
        return draw(self._end_logits(state, torch.full_like(within[:, 0], first), within), random)

    @torch.no_grad()
    def draw_record(
        self,
        state: Tensor,
        kind: Tensor,
        place: int,
        earlier: list[Tensor],
        random: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a record.

        Args:
            state: float [B, H], before the patch.
            kind: float [B, H], see `kinds`.
            place: Of the record in its series.
            earlier: Embedded records [B, H], the last first; LAGS are looked at.
            random: Of the draw.

        Returns:
            Tokens int64 [B, K], numbers float [B, K], and the embedded record [B, H].
        """
        state = state + self._beat(torch.full_like(kind[:, 0], place, dtype=torch.int64), kind)
        mixed = torch.zeros_like(state)
        for weight, record in zip(self.lags, earlier, strict=False):
            mixed = torch.addcmul(mixed, record, weight)
        state = state + self.before(mixed)
        beside = torch.zeros_like(state)
        tokens = torch.zeros(len(state), len(self.heads), dtype=torch.int64, device=state.device)
        numbers = torch.zeros(len(state), len(self.heads), device=state.device)
        for index, head in enumerate(self.heads):
            hidden = self._hidden(index, state, beside)
            if isinstance(head, NumberHead):
                tokens[:, index], numbers[:, index] = head.sample(hidden, random)
            else:
                tokens[:, index] = draw(head(hidden).float(), random)
            beside = beside + self._embed(index, tokens[:, index], numbers[:, index])
        return tokens, numbers, beside


def progress_features(
    done: Tensor, step: Tensor, expected: Tensor, *, is_steered: Tensor
) -> Tensor:
    """Say how far a series is, and how large its next records must be to reach its totals.

    Args:
        done: float [..., M], totals so far.
        step: float [...], records so far.
        expected: float [..., 1 + M], records and totals that the prefix stands for.
        is_steered: bool [M], totals that never fall.

    Returns:
        float [..., 2 + M]: share of the records done, log of how many are left, and log of what
        a record must hold from here over what it must hold on average.
    """
    length, totals = expected[..., :1], expected[..., 1:]
    left = (length - step[..., None]).clamp(min=0.5)
    mean = totals / length
    needed = (totals - done).clamp(min=0) / left
    floor = mean.abs() * 1e-2 + 1e-12
    ratio = ((needed + floor) / (mean.clamp(min=0) + floor)).log().clamp(-5, 5) * is_steered
    return torch.cat([(step[..., None] / length).clamp(0, 2), left.log() / 4, ratio], dim=-1)


def _positions(first: int, count: int, width: int, like: Tensor) -> Tensor:
    return sinusoids(torch.arange(first, first + count, device=like.device), width) * 0.3
