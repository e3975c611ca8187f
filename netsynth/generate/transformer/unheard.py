"""Segments that the other side has not acknowledged yet, counted from what the records tell.

Whether an acknowledgement is due, and whether one would only repeat the last, hangs on this
number, which may have grown over more records than the record level looks back on.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.kernels import borrowing, compiled
from netsynth.numbers import Array, IntArray
from netsynth.tables import ACK_ALL, ACK_PART


@borrowing
def hear(unheard: Array, way: int, brings: int, ack_class: int) -> None:
    """Let a record of direction `way` change `unheard` [2], forward and reverse.

    An acknowledgement of part of what came leaves half.
    """
    if ack_class == ACK_ALL:
        unheard[1 - way] = 0
    elif ack_class == ACK_PART:
        unheard[1 - way] = (unheard[1 - way] + 1) // 2
    unheard[way] += brings


def hear_all(unheard: Tensor, reverse: Tensor, brings: Tensor, ack_class: Tensor) -> Tensor:
    """`hear` of M records, int64 [M] each; what is unheard after them, int64 [M, 2]."""
    side = torch.stack([1 - reverse, reverse], dim=1)
    part = torch.where((ack_class == ACK_PART)[:, None], (unheard + 1) // 2, unheard)
    other = torch.where((ack_class == ACK_ALL)[:, None], 0, part)
    return torch.where(side > 0, unheard, other) + side * brings[:, None]


def unheard_before(
    first: IntArray, reverse: IntArray, brings: IntArray, ack_class: IntArray
) -> IntArray:
    """Count what is unheard before each record.

    Args:
        first: First record of the flow of each record, int64 [N].
        reverse: int64 [N], 1 where it goes from responder to initiator.
        brings: int64 [N], 1 where it brings what is to be acknowledged and was not sent before.
        ack_class: int64 [N], see `FlowTable.ack_class`.

    Returns:
        Segments forward and reverse, int64 [N, 2].
    """
    before = np.zeros((first.size, 2), dtype=np.int64)
    _count(first, reverse, brings, ack_class, before)
    return before


@compiled
def _count(first: Array, reverse: Array, brings: Array, ack_class: Array, before: Array) -> None:
    unheard = np.zeros(2, dtype=np.int64)
    for i in range(first.size):
        if first[i] == i:
            unheard[:] = 0
        before[i] = unheard
        hear(unheard, reverse[i], brings[i], ack_class[i])
