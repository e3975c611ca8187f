"""What is known before a record: of its flow, its step and the records before, and its classes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

AROUND = 17  # numbers that describe the series around the record
COUNT_BUCKETS, SIZE_BUCKETS = 48, 48
BALANCES = 33  # classes of how many packets either way there are to one the other way
PRESSURES = 8  # classes of how many acknowledgements there are for what is to come
RECENT = (8, 32, 128)  # records whose pace is told
PASSED = 1.001  # steps from where one begins that only a timer gets to; others stop at its end


@dataclass(slots=True)
class RecordContext:
    """What is known before each of M records.

    Attributes:
        position: int64 [M], records of the flow so far.
        owed: int64 [M], bits of the flow's TCP state (SYN, FIN, RST either way) not yet shown.
        left: int64 [M, 2], packets left in the flow, forward and reverse.
        step_left: int64 [M, 2], the same in the step the record falls in.
        step_bytes: int64 [M, 2], bytes left in that step; may be below 0.
        bytes_left: int64 [M, 2], as well as the flow's tokens tell it; may be below 0.
        exact: bool [M, 2], they tell the bytes of the direction exactly: none are left over.
        time_left: float64 [M], ns until the flow ends, as well as its tokens tell it.
        delays: float64 [M, 2], ns from the flow's first packet to its answer and from that to
            the reply (see encode's FlowColumns), -1 where none comes.
        due_left: float64 [M], ns until the answer, then the reply, is due; -1 where they came or
            never come. Unless a timer does (see `GapRange`), no gap passes it, and what is due
            comes when it is due.
        due_reply: bool [M], it is the reply that is due.
        first_reverse: bool [M], direction of the flow's first record.
        gap_low: float64 [M], smallest gap that reaches the record's step, ns.
        gap_high: float64 [M], largest gap that stays in it and in the flow, ns, and leaves time
            for the records behind it (see `pace`). Where a timer passed the record's step, it is
            the step that the flow is in.
        recent: float64 [M, 3], mean gap of the last RECENT records, -1 where there are fewer: a
            sender that is held to a rate pauses when it has sent a lot.
        windows: int64 [M, 2], last TCP window in each direction, NOT_SET where none is known.
        lengths: int64 [M, 2], length token plus 1 of the last record with data in each direction,
            0 where there was none.
        unheard: int64 [M, 2], segments of each direction not acknowledged yet, see `unheard.py`.
        around: float32 [M, AROUND].
        history: int64 [M, R, 5], tokens of the last R records plus 1, newest first, 0: none; the
            last column tells their gaps in units of the delay of the side that sent them.
    """

    position: Tensor
    owed: Tensor
    left: Tensor
    step_left: Tensor
    step_bytes: Tensor
    bytes_left: Tensor
    exact: Tensor
    time_left: Tensor
    delays: Tensor
    due_left: Tensor
    due_reply: Tensor
    first_reverse: Tensor
    gap_low: Tensor
    gap_high: Tensor
    recent: Tensor
    windows: Tensor
    lengths: Tensor
    unheard: Tensor
    around: Tensor
    history: Tensor

    def take(self, rows: Tensor) -> RecordContext:
        """Return the contexts `rows`."""
        return RecordContext(*(getattr(self, name)[rows] for name in self.__slots__))

    def to(self, device: torch.device) -> RecordContext:
        """Return the contexts on `device`."""
        return RecordContext(*(getattr(self, name).to(device) for name in self.__slots__))


def count_bucket(count: Tensor) -> Tensor:
    """0..16 exactly, then buckets that grow by 30 %."""
    wide = 17 + torch.floor(torch.log(count.clamp(min=17) / 17.0) / math.log(1.3)).long()
    return torch.where(count <= 16, count, wide).clamp(0, COUNT_BUCKETS - 1)


def size_bucket(size: Tensor) -> Tensor:
    """Two buckets an octave."""
    return (
        torch.floor(2 * torch.log2(size.clamp(min=0).double() + 1))
        .long()
        .clamp(0, SIZE_BUCKETS - 1)
    )


def balance(counts: Tensor) -> Tensor:
    """Class of forward to reverse of counts [M, 2], a third of an octave each: int64 [M]."""
    forward, reverse = (counts.clamp(min=0).double() + 0.5).unbind(1)
    place = torch.floor(3 * torch.log2(forward / reverse) + 0.5).long()
    return BALANCES // 2 + place.clamp(-(BALANCES // 2), BALANCES // 2)


def pressure(context: RecordContext, side: int) -> Tensor:
    """Class of how many packets more than the other's a side has left without data: int64 [M].

    Each can acknowledge a packet that the other has still to send in the step, and one what is
    unheard; 0 where the side has data left in the step, or no packets.
    """
    more = context.step_left[:, side] - context.step_left[:, 1 - side]
    more = more - (context.unheard[:, 1 - side] > 0).long()
    none = (context.step_bytes[:, side] > 0) | (context.step_left[:, side] <= 0)
    return (5 + more.clamp(-4, 2)).masked_fill(none, 0)


def mean_payload(size: Tensor, count: Tensor) -> list[Tensor]:
    """Bytes left [M, 2] for each packet left [M, 2] of a direction: float64 [M] each."""
    share = size.clamp(min=0).double() / count.clamp(min=1)
    return list(share.clamp(max=65535).T.contiguous().unbind(0))  # torch asks for whole rows
