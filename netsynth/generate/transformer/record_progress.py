"""Where a flow is before a record, as columns of tokens: what is left of it, and what it owes."""

from __future__ import annotations

import torch
from torch import Tensor

from netsynth.generate.transformer.fields import number_values, values_or_none
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.record_context import (
    BALANCES,
    COUNT_BUCKETS,
    PRESSURES,
    SIZE_BUCKETS,
    RecordContext,
    balance,
    count_bucket,
    mean_payload,
    pressure,
    size_bucket,
)
from netsynth.tables import TokenField
from netsynth.tcp_windows import NOT_SET

STATES = 64  # combinations of state bits


def progress_tokens(
    context: RecordContext,
    gap: NumberTable,
    per_delay: NumberTable,
    length: NumberTable,
    window: NumberTable,
) -> Tensor:
    """Tokens of the columns that tell where M records' flows are: int64 [M, C].

    Args:
        context: Of the M records.
        gap: Numbers of times in ns.
        per_delay: Of times in units of a delay.
        length: Of payloads.
        window: Of TCP windows.
    """
    trip = context.delays.clamp(min=0).sum(1)
    return torch.stack(
        [
            count_bucket(context.position),
            *(count_bucket(c) for c in context.left.unbind(1)),
            *(count_bucket(c) for c in context.step_left.unbind(1)),
            *(length.bucket(b.clamp(0, 65535)) for b in context.bytes_left.unbind(1)),
            *(size_bucket(b) for b in context.bytes_left.unbind(1)),
            *(size_bucket(b) for b in context.step_bytes.unbind(1)),
            gap.bucket(context.time_left),
            gap.bucket(context.time_left / context.left.sum(1).clamp(min=1)),
            gap.bucket(context.due_left.clamp(min=0)),
            *(gap.bucket(d.clamp(min=0)) for d in context.delays.unbind(1)),
            gap.bucket(context.gap_low),
            gap.bucket(context.gap_high),
            gap.bucket(context.gap_high / context.step_left.sum(1).clamp(min=1)),
            *(
                (1 + gap.bucket(r.clamp(min=0))).masked_fill(r < 0, 0)
                for r in context.recent.unbind(1)
            ),
            per_delay_token(per_delay, context.time_left, trip),
            per_delay_token(per_delay, context.gap_high, trip),
            context.due_reply.long(),
            context.owed,
            *(
                (1 + window.bucket(w)).masked_fill(w == NOT_SET, 0)
                for w in context.windows.unbind(1)
            ),
            *context.lengths.unbind(1),
            *(count_bucket(c) for c in context.unheard.unbind(1)),
            balance(context.step_left),
            balance(context.left),
            *(pressure(context, side) for side in (0, 1)),
            *(length.bucket(b) for b in mean_payload(context.bytes_left, context.left)),
            *(length.bucket(b) for b in mean_payload(context.step_bytes, context.step_left)),
        ],
        dim=1,
    )


def progress_values(
    gap: TokenField, per_delay: TokenField, length: TokenField, window: TokenField
) -> list[Tensor]:
    """Values of the tokens of each column of `progress_tokens`, see `neighbours.blur_rows`."""
    count = torch.arange(COUNT_BUCKETS, dtype=torch.float64)
    size = torch.arange(SIZE_BUCKETS, dtype=torch.float64)
    time, payload = number_values(gap), number_values(length)
    assert window.number is not None
    windows = torch.full((1 + window.number.size,), torch.nan, dtype=torch.float64)  # of stacks
    flags = [torch.full((n,), torch.nan, dtype=torch.float64) for n in (2, STATES)]
    share = torch.arange(BALANCES, dtype=torch.float64)
    pressed = torch.arange(PRESSURES, dtype=torch.float64)
    pressed[0] = torch.nan  # no packets, or data left
    return [
        *[count] * 5,
        *[payload] * 2,
        *[size] * 4,
        *[time] * 8,
        *[values_or_none(gap)] * 3,
        *[values_or_none(per_delay)] * 2,
        *flags,
        *[windows] * 2,
        *[values_or_none(length)] * 2,
        *[count] * 2,
        *[share] * 2,
        *[pressed] * 2,
        *[payload] * 4,
    ]


def per_delay_token(table: NumberTable, time: Tensor, delay: Tensor) -> Tensor:
    """Token, plus 1, of times in units of `delay`; 0 where that is not positive."""
    token = 1 + table.bucket(time / delay.clamp(min=1))
    return token.masked_fill(delay <= 0, 0)
