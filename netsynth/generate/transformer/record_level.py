"""Level 3: the packets of a flow one after the other, given its columns and the series around.

A feed-forward net over the last few records: what is left of the flow and of the step (packets,
bytes, time) tells it where it is, in buckets, so that no flow can be known by heart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.transformer.choosing import draw
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.fields import FieldEmbedding, number_values, values_or_none
from netsynth.generate.transformer.followers import DEPTH, UNSEEN, Followers
from netsynth.generate.transformer.gap_range import NARROW, OCTAVES, GapRange, gap_octaves
from netsynth.generate.transformer.gaps import GapDecoder
from netsynth.generate.transformer.neighbours import NEAR, blur_rows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.pace import RUNS
from netsynth.generate.transformer.record_context import AROUND, RecordContext
from netsynth.generate.transformer.record_progress import (
    per_delay_token,
    progress_tokens,
    progress_values,
)
from netsynth.tables import TokenField
from netsynth.tcp_windows import ADD, MOST_WINDOW, NOT_SET, SET

STRANGE = 15.0  # nats taken from kinds that the flow's state, bytes or flags owed speak against
ANY_BYTES = 1 << 40  # more than any record has
FORWARD_STATES, REVERSE_STATES = 1 | 4 | 16, 2 | 8 | 32  # SYN, FIN, RST; see encode's STATE_*
KIND, GAP, LENGTH, WINDOW = 0, 1, 2, 3
TOLD = 4  # column of targets: how the length is told
REMAINDERS = 24  # amounts of bytes left that lengths may be told by
FEWEST = 4  # records that leave one; what fewer leave is theirs alone, as with atoms of numbers
RETRIES = 5  # times that a flow is drawn again which does not end as its tokens say
RETRIED = 120  # packets of it drawn in vain at most


class RecordLevel(nn.Module):
    """Predict kind, length, gap and window of the next record, in this order."""

    def __init__(
        self,
        flow_fields: tuple[TokenField, ...],
        record_fields: tuple[TokenField, ...],
        config: TransformerConfig,
    ) -> None:
        super().__init__()
        kind, length, window, *rulers = record_fields
        gap, per_delay = rulers
        assert length.number
        assert window.number
        assert window.windows is not None
        codecs = tuple(r.number for r in rulers if r.number)
        wide = config.record_width
        self.gaps = GapDecoder(codecs, kinds=kind.size, width=wide, hidden=config.hidden)
        self.gap, self.per_delay = self.gaps.table(0), self.gaps.table(1)
        self.gap_range = GapRange(kinds=kind.size)
        self.gap_after = GapRange(kinds=kind.size, widest=NARROW)  # behind a gap of an octave
        self.register_buffer("gap_octaves", gap_octaves(self.gap), persistent=False)
        self.gap_octaves: Tensor
        self.length_range = GapRange(kinds=kind.size + 2)  # and none, and any
        self.next_kinds = Followers(kinds=kind.size, size=kind.size + 1)  # the last: it ends
        self.next_windows = Followers(kinds=kind.size, size=window.size)
        self.length, self.window = NumberTable(length.number), NumberTable(window.number)
        self.register_buffer("windows", torch.as_tensor(window.windows), persistent=False)
        self.windows: Tensor  # what window tokens set and add
        self.sizes = (kind.size, gap.size, length.size, window.size)
        self.flow_fields = flow_fields
        self.flow_embed = FieldEmbedding(flow_fields, width=config.width)
        self.flow_mix = nn.Sequential(nn.GELU(), nn.Linear(config.width, config.width), nn.GELU())
        self.flow_out = nn.Linear(config.width, wide)
        widths = (24, 16, 24, 8, 16)
        self.history_embed = nn.ModuleList(
            nn.Embedding(size + 1, w)
            for size, w in zip((*self.sizes, per_delay.size), widths, strict=True)
        )
        self.history_out = nn.Linear(config.record_history * sum(widths), wide)
        self.around_out = nn.Linear(AROUND, wide)
        values = progress_values(gap, per_delay, length, window)
        self.progress = FieldEmbedding(
            tuple(TokenField(name=str(i), size=v.numel()) for i, v in enumerate(values)),
            width=wide,
            values=values,
        )
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(wide), nn.Linear(wide, wide), nn.GELU(), nn.Linear(wide, wide)
            )
            for _ in range(2)
        )
        self.norm = nn.LayerNorm(wide)
        self.embed = nn.ModuleList(nn.Embedding(size, wide) for size in self.sizes)
        others = (kind.size, length.size + REMAINDERS, window.size)
        self.hidden = nn.ModuleList(nn.Linear(wide, config.hidden) for _ in others)
        self.heads = nn.ModuleList(nn.Linear(config.hidden, size) for size in others)
        for module in self.history_embed:
            nn.init.normal_(module.weight, std=0.5)  # type: ignore[arg-type]
        for module in [*self.embed, *self.heads]:
            nn.init.normal_(module.weight, std=0.05)
        named = replace(window, number=None)  # a window names a stack
        for place, item in enumerate((kind, gap, length, named, per_delay)):
            blur_rows(self.history_embed[place], [values_or_none(item)], reach=NEAR)
            if place < len(self.embed):
                blur_rows(self.embed[place], [number_values(item)], reach=NEAR)
        self.dropout = nn.Dropout(config.dropout)
        service = next(f for f in flow_fields if f.name == "service")
        self.service_place = [f.name for f in flow_fields].index("service")
        protocols = torch.as_tensor(service.groups["protocol"])
        kinds = torch.as_tensor(kind.groups["protocol"])
        self.register_buffer("of_protocol", protocols[:, None] == kinds[None], persistent=False)
        self.register_buffer("kind_reverse", torch.as_tensor(kind.groups["reverse"]).bool(), False)
        self.register_buffer("kind_payload", torch.as_tensor(kind.groups["payload"]).bool(), False)
        self.register_buffer("service_tcp", protocols == 6, persistent=False)
        shape = next(f for f in flow_fields if f.name == "shape")
        self.shape_place = [f.name for f in flow_fields].index("shape")
        names = [f.name for f in flow_fields]
        self.opening_places = [names.index(f"opening_{way}") for way in ("forward", "reverse")]
        scales = [
            flow_fields[place].groups[f"scales_{way}"]
            for place, way in zip(self.opening_places, ("forward", "reverse"), strict=True)
        ]
        self.register_buffer("scales", torch.as_tensor(np.stack(scales)) > 0, persistent=False)
        self.scales: Tensor  # bool [2, openings]
        self.bytes_places = [names.index(f"bytes_{way}") for way in ("forward", "reverse")]
        number = flow_fields[self.bytes_places[0]].number
        assert number is not None
        is_exact = torch.as_tensor(number.low == number.high)
        self.register_buffer("is_exact", is_exact, persistent=False)
        self.is_exact: Tensor
        self.register_buffer("shape_state", torch.as_tensor(shape.groups["state"]), False)
        self.register_buffer("kind_state", torch.as_tensor(kind.groups["state"]), False)
        for name in ("brings", "ack_class"):
            self.register_buffer(f"kind_{name}", torch.as_tensor(kind.groups[name]), False)
        self.register_buffer("remainders", torch.full((REMAINDERS,), -1))
        self.remainders: Tensor  # bytes that records leave of their direction's; -1: none
        self.register_buffer("most_payload", torch.zeros(service.size, dtype=torch.int64))
        self.most_payload: Tensor  # of a record of each service
        runs = torch.zeros(service.size, RUNS, dtype=torch.float64)
        self.register_buffer("fastest_runs", runs)
        self.fastest_runs: Tensor  # ns, see pace.fastest_runs
        self.register_buffer("by_delay", torch.ones(service.size, kind.size, dtype=torch.bool))
        self.by_delay: Tensor  # whose gaps may be told in units of a delay, see rulers
        self.shape_state: Tensor
        self.kind_state: Tensor
        self.kind_brings: Tensor  # 1 where it brings what is to be acknowledged
        self.kind_ack_class: Tensor
        self.of_protocol: Tensor
        self.kind_reverse: Tensor
        self.kind_payload: Tensor
        self.service_tcp: Tensor

    def set_prior(self, counts: list[Tensor]) -> None:
        """Start the outputs at the frequencies `counts` (kind, gap, length, window)."""
        heads = [self.heads[0], self.gaps.heads[0], *self.heads[1:]]
        with torch.no_grad():
            for head, count in zip(heads, counts, strict=True):
                share = (count.float() + 0.05) / (count.sum() + 0.05 * count.numel())
                head.bias.copy_(share.log())

    def flow_vector(self, tokens: Tensor) -> Tensor:
        """Summarise the flow tokens [F, K] for this level: [F, H]."""
        return self.flow_mix(self.dropout(self.flow_embed(tokens)))  # type: ignore[no-any-return]

    def stack(self, tokens: Tensor) -> Tensor:
        """Number of the service and of whether both sides scale windows: int64 [F].

        References:
            RFC 7323 section 2.2.
        """
        sides = [s[tokens[:, p]] for s, p in zip(self.scales, self.opening_places, strict=True)]
        stack: Tensor = 2 * tokens[:, self.service_place] + (sides[0] & sides[1])
        return stack

    def exact(self, tokens: Tensor) -> Tensor:
        """Tell which flows [F, K] have tokens that tell their bytes exactly: bool [F, 2]."""
        return self.is_exact[tokens[:, self.bytes_places]]

    def state(self, flow: Tensor, context: RecordContext) -> Tensor:
        """Map flow vectors [M, H] and contexts to the state [M, W] of the decoder."""
        buckets = progress_tokens(context, self.gap, self.per_delay, self.length, self.window)
        history = torch.cat(
            [embed(context.history[..., i]) for i, embed in enumerate(self.history_embed)], dim=-1
        ).flatten(1)
        x = self.flow_out(flow) + self.history_out(self.dropout(history))
        x = x + self.around_out(context.around) + self.progress(buckets)
        for block in self.blocks:
            x = x + self.dropout(block(x))
        return x  # type: ignore[no-any-return]

    def _logits(self, part: int, state: Tensor) -> Tensor:
        place = part - (part > GAP)
        inner = functional.gelu(self.hidden[place](self.norm(state)))
        logits: Tensor = self.heads[place](self.dropout(inner))
        return logits.float()

    def _kind_logits(
        self, state: Tensor, service: Tensor, shape: Tensor, context: RecordContext
    ) -> Tensor:
        """Logits of kinds; those the flow's protocol, state, step or bytes rule out excluded."""
        reverse = self.kind_reverse
        room = torch.where(reverse, context.step_left[:, 1:] > 0, context.step_left[:, :1] > 0)
        more = (context.bytes_left > 0) | ~context.exact
        data = torch.where(reverse, more[:, 1:], more[:, :1])
        allowed = self.of_protocol[service] & room
        strange = (self.kind_state & ~self.shape_state[shape][:, None]) > 0
        with_data = allowed & (data | ~self.kind_payload) & ~strange
        late = [
            context.left[:, way] <= _bit_count(context.owed & bits)
            for way, bits in enumerate((FORWARD_STATES, REVERSE_STATES))
        ]
        due = torch.where(reverse, late[1][:, None], late[0][:, None])
        with_data &= ~due | ((self.kind_state & context.owed[:, None]) > 0)
        kept = (context.due_left >= 0) & ~context.due_reply & (context.delays[:, 1] >= 0)
        first = context.first_reverse.long()[:, None]
        kept &= (context.position > 0) & (context.left.gather(1, first)[:, 0] <= 1)
        with_data &= ~(kept[:, None] & (reverse == (first > 0)))  # the reply is still to come
        allowed = torch.where(with_data.any(dim=1, keepdim=True), with_data, allowed)
        logits = self._logits(KIND, state)
        logits = logits.masked_fill(~(self.of_protocol[service] & room), -2e4)
        return torch.where(allowed, logits, logits - STRANGE)

    def loss(
        self, flow_tokens: Tensor, context: RecordContext, targets: Tensor, gap_ns: Tensor
    ) -> Tensor:
        """Negative log-likelihood of records.

        Args:
            flow_tokens: int64 [M, K].
            context: Of the M records.
            targets: int64 [M, 5], kind, gap, length and window tokens (columns as in `history`),
                and how the length is told, see `length_told`.
            gap_ns: float64 [M].

        Returns:
            Loss of each record [M, 4] (kind, length, gap, window) in nats, 0 where known.
        """
        state = self.state(self.flow_vector(flow_tokens), context)
        service = flow_tokens[:, self.service_place]
        shape = flow_tokens[:, self.shape_place]
        kind, gap, length, window, told = targets.unbind(1)
        bytes_left = self._most_bytes(kind, context)
        losses = [_nll(self._kind_logits(state, service, shape, context), kind)]
        state = state + self.dropout(self.embed[KIND](kind))
        logits = self._length_logits(state, service, bytes_left)
        losses.append(_nll(logits, told).masked_fill(~self.kind_payload[kind], 0))
        state = state + self.dropout(self.embed[LENGTH](length))
        known = (context.position == 0) | self._is_due(kind, context) | _ends_pair(context)
        units = self._units(service, kind, self._delay(kind, context))
        loss = self.gaps.nll(self.norm(state), gap_ns, context.gap_low, context.gap_high, units)
        losses.append(loss.masked_fill(known, 0))
        state = state + self.dropout(self.embed[GAP](gap))
        loss = _nll(self._window_logits(state, kind, context), window)
        losses.append(loss.masked_fill(~self.service_tcp[service], 0))
        return torch.stack(losses, dim=1)

    def _is_due(self, kind: Tensor, context: RecordContext) -> Tensor:
        """Tell which records are the awaited answer or reply: bool [M]."""
        opposite = self.kind_reverse[kind] != context.first_reverse
        return (opposite != context.due_reply) & (context.due_left >= 0) & (context.position > 0)

    def _delay(self, kind: Tensor, context: RecordContext) -> Tensor:
        """Delay of the side that sends, 0 where there is none: float64 [M] ns."""
        answers = self.kind_reverse[kind] != context.first_reverse
        return torch.where(answers, context.delays[:, 0], context.delays[:, 1]).clamp(min=0)

    def _units(self, service: Tensor, kind: Tensor, delay: Tensor) -> Tensor:
        """Return ns of a unit of each ruler of gaps, 0 where it is not used: float64 [M, 2]."""
        unit = delay.masked_fill(~self.by_delay[service, kind], 0.0)
        return torch.stack([torch.ones_like(delay), unit], dim=1)

    def _most_bytes(self, kind: Tensor, context: RecordContext) -> Tensor:
        """Bytes that records may have at most: int64 [M]."""
        way = self.kind_reverse[kind].long()[:, None]
        left, exact = (c.gather(1, way)[:, 0] for c in (context.bytes_left, context.exact))
        return torch.where(exact, left, ANY_BYTES)

    def _length_logits(self, state: Tensor, service: Tensor, bytes_left: Tensor) -> Tensor:
        """Logits of lengths, and behind them of lengths that leave one of the remainders."""
        logits = self._logits(LENGTH, state)
        low = self.length.rows[:, 0]
        too_long = (low > bytes_left.clamp(min=1)[:, None]) | (self.length.rows[:, -1] < 1)
        size = bytes_left[:, None] - self.remainders
        leaves = (self.remainders >= 0) & (bytes_left < ANY_BYTES)[:, None]
        leaves &= (size >= 1) & (size <= self.most_payload[service][:, None])
        nothing_fits = too_long.all(dim=1) & ~leaves.any(dim=1)
        too_long &= ~nothing_fits[:, None]  # any length then, cut to what is left
        return logits.masked_fill(torch.cat([too_long, ~leaves], dim=1), -1e4)

    def _is_unseen_length(
        self, service: Tensor, last: Tensor, kind: Tensor, bytes_left: Tensor
    ) -> Tensor:
        """Tell which lengths are far from all between those kinds, the first plus 1 (0: none):
        bool [M, lengths + REMAINDERS]."""
        low = torch.ones_like(bytes_left, dtype=torch.float64)
        high = torch.full_like(low, ANY_BYTES)
        for before in (torch.full_like(last, self.sizes[KIND] + 1), last):
            low, high = self.length_range.narrow(service, before, kind, low, high)
        low, high = low[:, None], high[:, None]
        size = (bytes_left[:, None] - self.remainders).double()
        rows = self.length.rows
        lengths = (rows[:, -1] < low) | (rows[:, 0] > high)
        return torch.cat([lengths, (size < low) | (size > high)], dim=1)

    def learn_lengths(self, service: Tensor, last: Tensor, kind: Tensor, size: Tensor) -> None:
        """Learn how short and long records with data [M] are; kinds as in `_is_unseen_length`."""
        any_kind = torch.full_like(last, self.sizes[KIND] + 1)
        columns = (
            torch.cat([service, service]),
            torch.cat([last, any_kind]),
            torch.cat([kind, kind]),
        )
        self.length_range.learn(*columns, size.double().repeat(2))

    def _window_logits(
        self, state: Tensor, kind: Tensor, context: RecordContext, *, drawing: bool = False
    ) -> Tensor:
        """Logits of windows; changes of what is not known excluded, in `drawing` those out of
        range as well (a change is told in bins, the true one may be less)."""
        way = self.kind_reverse[kind].long()[:, None]
        before = context.windows.gather(1, way)  # [M, 1]
        sets = self.windows[:, SET] != NOT_SET
        possible = sets | (before != NOT_SET)
        if drawing:
            behind = before + self.windows[:, ADD]
            possible &= (
                sets | ((behind >= 0) & (behind <= MOST_WINDOW)) | (self.windows[:, ADD] == 0)
            )
        return self._logits(WINDOW, state).masked_fill(~possible, -1e4)

    def learn_remainders(
        self, kind: Tensor, service: Tensor, size: Tensor, left: Tensor, exact: Tensor
    ) -> None:
        """Learn what records with data [M] leave of their direction's bytes, where it is commoner
        than their lengths.

        Before a connection ends there often is a message that always is as long: what goes before
        it has to leave exactly that many bytes.
        """
        rest, is_told = self._rest(kind, service, size, left, exact)
        self.most_payload = self.most_payload.scatter_reduce(0, service, size, "amax")
        values, counts = torch.unique(rest[is_told], return_counts=True)
        values, counts = values[counts >= FEWEST], counts[counts >= FEWEST]
        chosen = values[torch.argsort(counts, descending=True, stable=True)[:REMAINDERS]]
        self.remainders = functional.pad(chosen, (0, REMAINDERS - chosen.numel()), value=-1)

    def length_told(
        self, kind: Tensor, service: Tensor, size: Tensor, left: Tensor, exact: Tensor
    ) -> Tensor:
        """How lengths [M] are told: by the token of a length, or behind those, of a remainder.

        Of a length and what it leaves, the commoner of the service is told, see `learn_remainders`.
        """
        rest, is_told = self._rest(kind, service, size, left, exact)
        values, order = torch.sort(self.remainders)
        place = torch.searchsorted(values, rest).clamp(max=REMAINDERS - 1)
        is_told &= values[place] == rest
        return torch.where(is_told, self.length.size + order[place], self.length.bucket(size))

    def _rest(
        self, kind: Tensor, service: Tensor, size: Tensor, left: Tensor, exact: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Bytes that records leave of those `left` [M, 2], and whether they are known and commoner
        in the service than the record's length: int64 and bool [M]."""
        way = self.kind_reverse[kind].long()[:, None]
        rest, is_exact = left.gather(1, way)[:, 0] - size, exact.gather(1, way)[:, 0]
        known = self.kind_payload[kind] & is_exact & (rest >= 0)
        service = service[known]
        commoner = _count(service, rest[known]) > _count(service, size[known])
        return rest, known.masked_scatter(known, commoner)

    @torch.no_grad()
    def sample(
        self,
        flow: Tensor,
        service: Tensor,
        shape: Tensor,
        stack: Tensor,
        context: RecordContext,
        room: Tensor,
        *,
        random: torch.Generator,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw the next record of M flows, of which each has `room` [M] ns left for it.

        Returns:
            Tokens int64 [M, 5] (as `history`, without the 1 added), gap in ns float64 [M],
            payload in bytes int64 [M].
        """
        state = self.state(flow, context)
        behind = last_kinds(context.history)
        logits = self._kind_logits(state, service, shape, context)
        unseen = ~self.next_kinds.seen(service, behind)[:, :-1]
        kind = draw(logits - UNSEEN * unseen, random)
        state = state + self.embed[KIND](kind)
        left = self._most_bytes(kind, context)
        logits = self._length_logits(state, service, left)
        unseen = self._is_unseen_length(service, behind[:, -1], kind, left)
        told = draw(logits - UNSEEN * unseen, random)
        length = told.clamp(max=self.length.size - 1)
        size = self.length.draw(length, random).round().long().clamp(min=1)
        size = torch.where(left > 0, torch.minimum(size, left), size)
        rest = left - self.remainders[(told - self.length.size).clamp(min=0)]
        size = torch.where(told >= self.length.size, rest, size)
        size = size.masked_fill(~self.kind_payload[kind], 0)
        length = self.length.bucket(size)
        state = state + self.embed[LENGTH](length)
        low, high = context.gap_low, context.gap_high
        delay = self._delay(kind, context)
        units = self._units(service, kind, delay)
        before = (behind[:, -1] - 1).clamp(min=0)
        seen = self.gap_range.narrow(service, before, kind, low, high)
        last_gap = self.gap_octaves[context.history[:, 0, GAP]]
        seen = self.gap_after.narrow(service * OCTAVES + last_gap, before, kind, *seen, room)
        gap = self.gaps.sample(
            self.norm(state), *seen, units, service=service, kind=kind, random=random
        )
        due = torch.minimum(torch.maximum(context.due_left, low), high)
        gap = torch.where(self._is_due(kind, context), due, gap)
        whole = torch.minimum(torch.maximum(context.time_left, low), high)
        gap = torch.where(_ends_pair(context), whole, gap)
        begins = context.position == 0
        gap = gap.masked_fill(begins, 0.0)
        token = self.gap.bucket(gap)
        state = state + self.embed[GAP](token)
        logits = self._window_logits(state, kind, context, drawing=True)
        behind_it = torch.cat([behind[:, 1:], kind[:, None] + 1], dim=1)
        window = draw(logits - UNSEEN * ~self.next_windows.seen(stack, behind_it), random)
        window = window.masked_fill(~self.service_tcp[service], 0)
        ruled = per_delay_token(self.per_delay, gap, delay) - 1
        return torch.stack([kind, token, length, window, ruled], dim=1), gap, size


def _count(service: Tensor, value: Tensor) -> Tensor:
    """How many rows share a row's service and value: int64 [M]."""
    code = service * ANY_BYTES + value
    _, place, counts = torch.unique(code, return_inverse=True, return_counts=True)
    shared: Tensor = counts[place]
    return shared


def _ends_pair(context: RecordContext) -> Tensor:
    """Tell which records are the last of two in one direction, which come when their flow ends:
    bool [M]."""
    last = (context.position == 1) & (context.left.sum(1) == 1)
    return last & (context.delays[:, 0] < 0)


def last_kinds(history: Tensor) -> Tensor:
    """Kinds plus 1 of the last DEPTH records, oldest first, 0: none; of history [M, R, 5]."""
    kinds = functional.pad(history[:, :DEPTH, KIND], (0, max(DEPTH - history.shape[1], 0)))
    return kinds.flip(1)


def _nll(logits: Tensor, target: Tensor) -> Tensor:
    return functional.cross_entropy(logits, target, reduction="none")


def _bit_count(bits: Tensor) -> Tensor:
    """Bits set among the lowest six."""
    return torch.stack([(bits >> place) & 1 for place in range(6)]).sum(0)


def strays(owed: Tensor, bytes_left: Tensor, exact: Tensor) -> Tensor:
    """Tell which flows end otherwise than their tokens say: bool [M].

    What was learned showed all its flags (owed, int64 [M]) and had none of the bytes left (int64
    [M, 2]) that are told exactly (bool [M, 2]); drawing such a flow again until it does, too, is
    drawing records given what the levels above say.
    """
    return (owed != 0) | ((bytes_left != 0) & exact).any(dim=1)
