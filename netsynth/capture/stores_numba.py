# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Bytes into bytes, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

FEW = 64  # bytes that are not worth a vector loop


@intrinsic
def _move_eight(_typing, out, at, source, start):
    """Copy eight bytes."""

    def generate(context, builder, signature, arguments):
        kind = ir.IntType(64).as_pointer()
        places = []
        for index in (0, 2):
            data = context.make_array(signature.args[index])(context, builder, arguments[index])
            place = builder.gep(data.data, [arguments[index + 1]])
            places.append(builder.bitcast(place, kind))
        builder.store(builder.load(places[1], align=1), places[0], align=1)
        return context.get_dummy_value()

    return types.void(out, at, source, start), generate


@njit(cache=True)
def copy(out: Any, at: int, source: Any, start: int, count: int) -> None:
    """Copy `count` bytes, none if it is negative."""
    to = np.uint64(at)
    take = np.uint64(start)
    for k in range(np.uint64(max(count, 0))):
        out[to + k] = source[take + k]


@njit(cache=True)
def copy_loosely(out: Any, at: int, source: Any, start: int, count: int) -> None:
    """Copy `count` bytes, none if it is negative; up to seven more may be copied.

    Both arrays must have seven bytes more.
    """
    if count > FEW:
        copy(out, at, source, start, count)
        return
    for k in range(0, count, 8):
        _move_eight(out, at + k, source, start + k)
