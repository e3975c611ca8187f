"""Level 2: the active steps of a flow, coarse counts in time, given the flow's columns.

Idle steps are not emitted one by one: the step after the next is drawn as a skip, the run length
of the zero-inflation gate. The last step and what is left for it follow from the flow's duration
and totals, so the series always ends where and how the flow level said.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from netsynth.generate.transformer.attention import Cache, CausalTransformer
from netsynth.generate.transformer.choosing import draw
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.fields import FieldEmbedding
from netsynth.generate.transformer.neighbours import NEAR, NEAR_OUT, blur_rows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.tables import TokenField

PHASES = 24  # buckets of where in its step a flow starts and ends
REACH, FINENESS = 16, 4  # classes either side of a part's share, and of them an octave
GUIDES = (-1, -1, 1, 1, 2)  # the part drawn before that tells of what share of the rest goes
BOTH, ALONE, KEEPS = 0, 1, 2  # in a first step; the last keeps a packet for after the answer
SYN_SENT = 1  # of the state bits of shapes, see encode's STATE_SYN
PARTS = ("skip", "packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse")


class SeriesLevel(nn.Module):
    """Draw the active steps of flows that last longer than one step."""

    def __init__(
        self,
        flow_fields: tuple[TokenField, ...],
        fields: tuple[TokenField, ...],
        config: TransformerConfig,
    ) -> None:
        super().__init__()
        width = config.width
        self.flow_embed = FieldEmbedding(flow_fields, width=width)
        skip, packets, size = fields
        assert skip.number
        assert packets.number
        assert size.number
        self.skip = NumberTable(skip.number)
        self.packets = NumberTable(packets.number)
        self.bytes = NumberTable(size.number)
        self.tables = (self.skip, self.packets, self.packets, self.bytes, self.bytes)
        self.flow = nn.Linear(config.width, width)
        # what came before, and what is left: steps, packets and bytes either way
        self.embed_before = nn.ModuleList(nn.Embedding(t.size + 1, width) for t in self.tables)
        self.embed_left = nn.ModuleList(nn.Embedding(t.size, width) for t in self.tables)
        self.embed_phase = nn.ModuleList(nn.Embedding(PHASES, width) for _ in range(2))
        for embedding in [*self.embed_before, *self.embed_left, *self.embed_phase]:
            nn.init.normal_(embedding.weight, std=0.15)
        self.transformer = CausalTransformer(
            width=width,
            heads=config.heads,
            layer_count=1,
            context=256,
            dropout=config.dropout,
        )
        self.embed = nn.ModuleList(nn.Embedding(t.size, width) for t in self.tables)
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.ModuleList(nn.Linear(width, config.hidden) for _ in self.tables)
        self.heads = nn.ModuleList(nn.Linear(config.hidden, t.size) for t in self.tables)
        for module in [*self.embed, *self.heads]:
            nn.init.normal_(module.weight, std=0.05)
        self._blur()
        # what speaks for and against amounts by how far they are off the part's share
        self.off_share = nn.Parameter(torch.zeros(len(PARTS), 2 * REACH + 1))
        for part, table in enumerate(self.tables):
            self.register_buffer(f"octave_{part}", _octave(table.values()), False)
        self.dropout = nn.Dropout(config.dropout)
        shape = next(f for f in flow_fields if f.name == "shape")
        self.shape_place = [f.name for f in flow_fields].index("shape")
        opens = torch.as_tensor(shape.groups["state"]) & SYN_SENT > 0
        self.register_buffer("opens", opens, persistent=False)
        self.opens: Tensor

    def begins_with_syn(self, tokens: Tensor) -> Tensor:
        """Tell which flows [F, K] begin with a SYN: bool [F]."""
        return self.opens[tokens[:, self.shape_place]]

    def _blur(self) -> None:
        """Have rows that belong to near numbers resemble each other."""
        for part, table in enumerate(self.tables):
            values = table.values()
            told = torch.cat([values.new_full((1,), torch.nan), values])  # 0: none
            blur_rows(self.embed_before[part], [told], reach=NEAR)
            blur_rows(self.embed_left[part], [values], reach=NEAR)
            blur_rows(self.embed[part], [values], reach=NEAR)
            blur_rows(self.heads[part], [table.values(atoms=False)], reach=NEAR_OUT)

    def flow_vector(self, tokens: Tensor, room: Tensor, reach: Tensor) -> Tensor:
        """Summarise flows for this level: [F, H].

        Args:
            tokens: int64 [F, K].
            room: float64 [F], share of its first step that is left when the flow starts.
            reach: float64 [F], share of its last step that is gone when the flow ends.
        """
        x = nn.functional.gelu(self.dropout(self.flow_embed(tokens)))
        x = x + self.embed_phase[0](_phase_bucket(room))
        return x + self.embed_phase[1](_phase_bucket(reach))  # type: ignore[no-any-return]

    def inputs(self, flow: Tensor, before: Tensor, left: Tensor) -> Tensor:
        """Embed flow [..., H], tokens before [..., 5] (0: none) and amounts left [..., 5]."""
        x = self.flow(flow)
        for part, table in enumerate(self.tables):
            x = x + self.embed_before[part](before[..., part])
            x = x + self.embed_left[part](table.bucket(left[..., part].clamp(min=0)))
        return x  # type: ignore[no-any-return]

    def loss(
        self, flow: Tensor, tokens: Tensor, left: Tensor, valid: Tensor, first: Tensor
    ) -> Tensor:
        """Negative log-likelihood of the series of B flows, padded to T active steps.

        Args:
            flow: float32 [B, H].
            tokens: int64 [B, T, 5], PARTS of each active step.
            left: float64 [B, T, 5], steps to the last one, packets and bytes left, all before
                the step; the skip is counted from the step before.
            valid: bool [B, T], steps to learn from (not padding, and not the last step, which
                is known).
            first: bool [B, T], the first step of a flow, whose skip is 0 and known.
        """
        before = torch.cat([torch.zeros_like(tokens[:, :1]), tokens[:, :-1] + 1], dim=1)
        x = self.inputs(flow[:, None].expand(-1, tokens.shape[1], -1), before, left)
        zero = torch.zeros(tokens.shape[0], dtype=torch.int64, device=flow.device)
        state = self.transformer(self.dropout(x), first_position=zero)
        value = (left - torch.cat([left[:, 1:], left[:, -1:]], dim=1))[valid]
        state, tokens = state[valid], tokens[valid]
        left, first = left[valid], first[valid]
        total = torch.zeros(state.shape[0], device=flow.device)
        for part in range(len(PARTS)):
            share = expected_share(part, value, left)
            logits = self._logits(part, state, left[:, part], share)
            loss = torch.nn.functional.cross_entropy(logits, tokens[:, part], reduction="none")
            if part == 0:
                loss = loss.masked_fill(first, 0.0)
            total = total + loss
            state = state + self.dropout(self.embed[part](tokens[:, part]))
        return total

    def set_prior(self, tokens: Tensor, value: Tensor, left: Tensor, first: Tensor) -> None:
        """Start the outputs at the frequencies of tokens, and of how far off shares they are.

        Args:
            tokens: int64 [S, 5], of the steps to learn from.
            value: float64 [S, 5], packets and bytes of the steps.
            left: float64 [S, 5].
            first: bool [S], first steps of flows, whose skip is known and tells nothing.
        """
        with torch.no_grad():
            for part, head in enumerate(self.heads):
                share = expected_share(part, value, left)
                told = ~first if part == 0 else torch.ones_like(first)
                if not bool(told.any()):
                    continue
                size = self.tables[part].size
                count = torch.bincount(tokens[told, part], minlength=size).double()
                usual = (count + 0.05) / (count + 0.05).sum()
                head.bias.copy_(usual.log())  # type: ignore[operator]
                known = torch.nonzero(told & (share >= 0))[:, 0]
                if known.numel() == 0:
                    continue
                classes = self._off_share(part, share[known])  # [S, size]
                seen = classes.gather(1, tokens[known, part][:, None])[:, 0]
                seen = torch.bincount(seen, minlength=2 * REACH + 1).double()
                place = torch.arange(size, device=classes.device) * (2 * REACH + 1)
                often = torch.bincount(
                    (classes + place).flatten(), minlength=size * (2 * REACH + 1)
                ).reshape(size, -1)
                chance = usual @ often.double()
                self.off_share[part] = ((seen + 0.5) / (chance + 0.5)).log()

    def _off_share(self, part: int, share: Tensor) -> Tensor:
        """Class of how far each token is off shares [M]: int64 [M, size]."""
        octave: Tensor = getattr(self, f"octave_{part}")
        off = octave[None] - _octave(share)[:, None]
        return REACH + torch.floor(FINENESS * off + 0.5).long().clamp(-REACH, REACH)

    def _logits(self, part: int, state: Tensor, left: Tensor, share: Tensor) -> Tensor:
        """Logits [M, size] of a part, tokens beyond what is left [M] excluded.

        `share` [M] is what `expected_share` says.
        """
        inner = torch.nn.functional.gelu(self.hidden[part](self.norm(state)))
        logits: Tensor = self.heads[part](inner)
        table = self.tables[part]
        logits = logits.float()
        off = self.off_share[part][self._off_share(part, share.clamp(min=0))]
        logits = logits + off.masked_fill(share[:, None] < 0, 0.0)
        return logits.masked_fill(table.rows[:, 0] > left[:, None], -1e9)

    @torch.no_grad()
    def sample(
        self,
        flow: Tensor,
        totals: Tensor,
        first_step: Tensor,
        last_step: Tensor,
        *,
        opening: Tensor,
        random: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the series of F flows.

        Args:
            flow: float32 [F, H].
            totals: int64 [F, 4], packets and bytes per direction.
            first_step: int64 [F].
            last_step: int64 [F]; must be first_step where the flow has one packet.
            opening: int64 [F], BOTH, ALONE or KEEPS: who sends in the first step.
            random: Source of randomness.

        Returns:
            (row of the flow [S], step [S], values [S, 4]), unsorted; values sum to totals.
        """
        device = flow.device
        single = first_step >= last_step
        rows = torch.nonzero(single)[:, 0]
        out = [(rows, first_step[rows], totals[rows])]
        rows = torch.nonzero(~single)[:, 0]
        step, end, left = first_step[rows], last_step[rows], totals[rows].clone()
        flow = flow[rows]
        before = torch.zeros(rows.numel(), len(PARTS), dtype=torch.int64, device=device)
        cache = self.transformer.start()
        begins: Tensor | None = opening[rows]
        while rows.numel():
            token, step, value, left, done = self._step(
                flow, before, step, end, left, cache, begins, random
            )
            out.append((rows, step, value))
            begins = None
            go = torch.nonzero(~done)[:, 0]
            rows, flow, before = rows[go], flow[go], token[go] + 1
            step, end, left = step[go], end[go], left[go]
            cache.keep(go)
        row, step, value = (torch.cat(part) for part in zip(*out, strict=True))
        return row, step, value

    def _step(
        self,
        flow: Tensor,
        before: Tensor,
        step: Tensor,
        end: Tensor,
        left: Tensor,
        cache: Cache,
        opening: Tensor | None,
        random: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Draw one active step of each flow: tokens, step, values, what is left, done.

        `opening` [F] is given for the first step; see `sample`.
        """
        ahead = end - step
        amounts = torch.cat([ahead[:, None], left], dim=1).double()
        state = self.transformer.step(self.inputs(flow, before, amounts), cache)
        tokens = torch.zeros_like(before)
        if opening is None:
            most = amounts[:, 0].clamp(min=1)
            token = draw(self._logits(0, state, most, most), random)
            skip = self.skip.draw(token, random).round().long().clamp(min=1)
            alone = left[:, 0] + left[:, 1] <= 1  # one packet left: it is the last step's
            skip = torch.where(alone, ahead, torch.minimum(skip, ahead))
            tokens[:, 0] = self.skip.bucket(skip)
            step = step + skip
        else:
            tokens[:, 0] = self.skip.bucket(torch.zeros_like(step))
        state = state + self.embed[0](tokens[:, 0])
        value = torch.zeros_like(left)
        for part in range(1, len(PARTS)):
            share = expected_share(part, nn.functional.pad(value, (1, 0)), amounts)
            token = draw(self._logits(part, state, amounts[:, part], share), random)
            drawn = self.tables[part].draw(token, random).round().long()
            value[:, part - 1] = torch.minimum(drawn, left[:, part - 1])
            state = state + self.embed[part](token)
        if opening is not None:
            _open(value, left, opening)
        value = _mend(value, left, last=step >= end)
        for part in range(1, len(PARTS)):
            tokens[:, part] = self.tables[part].bucket(value[:, part - 1])
        return tokens, step, value, left - value, step >= end


def expected_share(part: int, value: Tensor, left: Tensor) -> Tensor:
    """What a step has of a part if it has the same share of the rest as of the part's guide; all
    of the rest where there is no guide.

    Args:
        part: Place in PARTS.
        value: [M, 5], what the step has of the parts before.
        left: [M, 5], what is left before the step.

    Returns:
        float64 [M], -1 where nothing tells.
    """
    guide = GUIDES[part]
    if guide < 0:
        return left[:, part].double()
    whole = left[:, guide].double()
    share = value[:, guide].double() * left[:, part].double() / whole.clamp(min=1)
    return share.masked_fill(whole <= 0, -1.0)


def _octave(amount: Tensor) -> Tensor:
    """Binary logarithm of amounts, half a one added: float64."""
    return torch.log2(amount.double() + 0.5)


def _phase_bucket(share: Tensor) -> Tensor:
    """Two buckets an octave, down from the whole step."""
    octaves = -2 * torch.log2(share.clamp(min=1e-9))
    return octaves.long().clamp(0, PHASES - 1)


def _open(value: Tensor, left: Tensor, opening: Tensor) -> None:
    """Let the initiator begin, where it sends at all; alone, if the answer comes later."""
    rows = torch.arange(value.shape[0], device=value.device)
    side = (left[:, 0] <= 0).long()
    alone = opening != BOTH
    value[rows[alone], 1 - side[alone]] = 0
    value[rows[alone], 3 - side[alone]] = 0
    most = left[rows, side] - (opening == KEEPS).long()
    value[rows, side] = torch.minimum(value[rows, side], most).clamp(min=1)


def _mend(value: Tensor, left: Tensor, *, last: Tensor) -> Tensor:
    """Make the counts of a step possible: at least a packet, one kept back for the last step."""
    value = value.clone()
    larger = (left[:, 1] > left[:, 0]).long()
    empty = (value[:, 0] + value[:, 1] == 0) & ~last
    value[empty, larger[empty]] = 1
    greedy = (value[:, 0] + value[:, 1] >= left[:, 0] + left[:, 1]) & ~last
    side = (value[:, 1] >= value[:, 0]).long()  # the initiator's stays: it may have to begin
    value[greedy, side[greedy]] -= 1
    for direction in (0, 1):
        none = value[:, direction] == 0
        value[none, 2 + direction] = 0
        spent = (value[:, direction] == left[:, direction]) & ~none
        value[spent, 2 + direction] = left[spent, 2 + direction]
    return torch.where(last[:, None], left, value)
