"""Level 0 as arrays, for the compiled loop over its flows (`start_kernel.py`)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import nn

from netsynth.generate.cascade.start_drawing import StartRequest
from netsynth.generate.cascade.start_level import SKELETON, StartLevel
from netsynth.generate.transformer.field_arrays import (
    SIZE,
    FieldArrays,
    as_float32,
    embedding_table,
    pack_fields,
)
from netsynth.generate.transformer.number_arrays import NumberArrays, pack_numbers
from netsynth.numbers import Array

FORWARD, REVERSE = (SKELETON.index(n) for n in ("packets_forward", "packets_reverse"))
COLUMNS = len(SKELETON)


class StartArrays(NamedTuple):
    """A StartLevel as arrays, and what its draws are weighted by."""

    table: Array  # float32 [sum of sizes, H], embeddings of the flows before
    starts: Array  # int64 [8 x 4], first row of each column's
    clock: Array  # float32 [CLOCK_WIDTH, H]
    clock_bias: Array  # float32 [H]
    mix: Array  # float32 [H, H]
    mix_bias: Array  # float32 [H]
    skeleton: FieldArrays
    gap: NumberArrays
    boosts: Array  # float32 [4, largest size], logs added to the logits of each column
    pairs: Array  # float32 [forward, reverse], the same of packets reverse by those forward
    forward: Array  # int64 [size], octave of each token of packets forward
    reverse: Array  # int64 [size]
    share: Array  # float32 [A, B], learned share of each pair of octaves


class StartLanes(NamedTuple):
    """Windows whose flows are being drawn; those that end move out of the first `alive` rows."""

    alive: Array  # int64 [1]
    window: Array  # int64 [W], number of the window
    drawn: Array  # int64 [W], flows so far
    time: Array  # float64 [W], of the last flow
    until: Array  # float64 [W], when a window without a plan ends
    before: Array  # int64 [W, 8 x 4], flows before, tokens + 1, newest first
    left: Array  # float32 [W, A, B], of the plan; empty without one
    streams: Array  # uint64 [W]


class Drawn(NamedTuple):
    """Flows in the order in which they were drawn."""

    window: Array  # int64 [F]
    start_ns: Array  # float64 [F]
    tokens: Array  # int64 [F, 4]
    state: Array  # float32 [F, H]


def pack_starts(level: StartLevel, request: StartRequest) -> StartArrays:
    """Copy what `level` learned, and the weights that `request` asks for, to arrays."""
    table, starts = embedding_table(level.embed)
    mix = level.mix[1]
    assert isinstance(mix, nn.Linear)
    skeleton = pack_fields(level.skeleton)
    boosts = np.zeros((COLUMNS, int(skeleton.fields[:, SIZE].max())), dtype=np.float32)
    sizes = skeleton.fields[:, SIZE]
    pairs = np.zeros((sizes[FORWARD], sizes[REVERSE]), dtype=np.float32)
    for name, boost in request.boosts.items():
        if boost.dim() == 2:
            pairs += as_float32(boost)
        else:
            boosts[SKELETON.index(name), : boost.numel()] += as_float32(boost)
    left = request.left
    nothing = np.zeros(0, dtype=np.int64)
    return StartArrays(
        table=table,
        starts=starts,
        clock=as_float32(level.clock.weight.T),
        clock_bias=as_float32(level.clock.bias),
        mix=as_float32(mix.weight.T),
        mix_bias=as_float32(mix.bias),
        skeleton=skeleton,
        gap=pack_numbers((level.number("gap"),)),
        boosts=boosts,
        pairs=pairs,
        forward=left.forward.cpu().numpy() if left else nothing,
        reverse=left.reverse.cpu().numpy() if left else nothing,
        share=as_float32(left.share) if left else np.zeros((0, 0), dtype=np.float32),
    )
