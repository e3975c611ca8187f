# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Bytes into bytes, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

PIECE = 64  # bytes copied at once


def _make_move(size: int) -> Any:
    """Return a function of (array, place, array, place) that copies `size` bytes to the first."""

    @intrinsic
    def move(_typing, out, at, source, start):
        def generate(context, builder, signature, arguments):
            kind = ir.VectorType(ir.IntType(8), size).as_pointer()
            places = []
            for index in (0, 2):
                array = context.make_array(signature.args[index])
                data = array(context, builder, arguments[index]).data
                place = context.cast(
                    builder, arguments[index + 1], signature.args[index + 1], types.int64
                )
                places.append(builder.bitcast(builder.gep(data, [place]), kind))
            builder.store(builder.load(places[1], align=1), places[0], align=1)
            return context.get_dummy_value()

        return types.void(out, at, source, start), generate

    return move


move_16, move_32, move_64 = _make_move(16), _make_move(32), _make_move(64)


@njit(cache=True)
def copy(out: Any, at: int, source: Any, start: int, count: int) -> None:
    """Copy `count` bytes, none if it is negative."""
    to = np.uint64(at)
    take = np.uint64(start)
    for k in range(np.uint64(max(count, 0))):
        out[to + k] = source[take + k]


@njit(cache=True)
def copy_loosely(out: Any, at: int, source: Any, start: int, count: int) -> None:
    """Copy `count` bytes, none if it is negative; up to PIECE more may be copied.

    Both arrays must have as many bytes more.
    """
    move_64(out, at, source, start)  # unasked: most payloads are short, and which is hard to guess
    for k in range(PIECE, count, PIECE):
        move_64(out, at + k, source, start + k)
