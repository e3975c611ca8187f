"""The flow level as flat arrays, for the kernels that sample on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.generate.transformer.attention_kernel import (
    AttentionArrays,
    pack_attention,
)
from netsynth.generate.transformer.field_arrays import (
    FieldArrays,
    as_float32,
    embedding_table,
    pack_fields,
)
from netsynth.generate.transformer.flow_level import FlowLevel
from netsynth.generate.transformer.number_arrays import NumberArrays, pack_numbers
from netsynth.generate.transformer.time_room import TimeColumns, time_columns
from netsynth.numbers import Array


class FlowArrays(NamedTuple):
    """A FlowLevel as arrays."""

    attention: AttentionArrays
    skeleton: FieldArrays
    details: FieldArrays
    table: Array  # float32 [sum of sizes, H], embeddings of the skeleton
    starts: Array  # int64 [6], first row of each column's
    clock: Array  # float32 [CLOCK_WIDTH + P, H], P numbers tell what is left of the plan
    clock_bias: Array  # float32 [H]
    begin: Array  # float32 [H]
    gap: NumberArrays
    detail_table: Array
    detail_starts: Array
    detail_clock: Array
    detail_clock_bias: Array
    join: Array  # float32 [H, H]
    join_bias: Array  # float32 [H]
    outcome: Array  # int64 [shapes], outcome of each shape
    service_column: int
    shape_column: int
    responder_column: int
    book: Array  # int64 [K, 3], see `plan.Plans.large`
    times: TimeColumns


def pack_flow_level(level: FlowLevel) -> FlowArrays:
    """Copy what `level` learned to arrays."""
    table, starts = embedding_table(level.embed)
    detail_table, detail_starts = embedding_table(level.detail_embed)
    return FlowArrays(
        attention=pack_attention(level.transformer),
        skeleton=pack_fields(level.skeleton),
        details=pack_fields(level.details),
        table=table,
        starts=starts,
        clock=as_float32(level.clock.weight.T),
        clock_bias=as_float32(level.clock.bias),
        begin=as_float32(level.begin),
        gap=pack_numbers((level.gap,)),
        detail_table=detail_table,
        detail_starts=detail_starts,
        detail_clock=as_float32(level.detail_clock.weight.T),
        detail_clock_bias=as_float32(level.detail_clock.bias),
        join=as_float32(level.join.weight.T),
        join_bias=as_float32(level.join.bias),
        outcome=level.plans.outcome.cpu().numpy().astype(np.int64),
        service_column=level.plans.places[0],
        shape_column=level.plans.places[1],
        responder_column=level.plans.places[2],
        book=level.plans.large.cpu().numpy(),
        times=time_columns(level.fields),
    )
