# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Numbers into bytes and back, compiled: one access each, at any address.

Written byte by byte, neighbours were put together by the compiler in vector registers, which cost
more than anything else in a record of headers.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

FEW = 64  # bytes that are not worth a vector loop


def _make_store(bits: int, *, order: str) -> Any:
    """Return a function of (uint8 array, place, number) that stores the number's low bits."""
    swap = order != sys.byteorder and bits > 8

    @intrinsic
    def store(_typing, array, at, value):
        def generate(context, builder, signature, arguments):
            kind = ir.IntType(bits)
            data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
            place = builder.bitcast(builder.gep(data, [arguments[1]]), kind.as_pointer())
            number = arguments[2]
            if number.type.width > bits:
                number = builder.trunc(number, kind)
            if swap:
                number = builder.bswap(number)
            builder.store(number, place, align=1)
            return context.get_dummy_value()

        return types.void(array, at, value), generate

    return store


put8 = _make_store(8, order="big")
put16 = _make_store(16, order="big")
put32 = _make_store(32, order="big")
put32_le = _make_store(32, order="little")
put64_le = _make_store(64, order="little")


@intrinsic
def get64_le(_typing, array, at):
    """Return the little-endian number of 64 bits at a place, uint64."""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        number = builder.load(builder.bitcast(place, ir.IntType(64).as_pointer()), align=1)
        return builder.bswap(number) if sys.byteorder == "big" else number

    return types.uint64(array, at), generate


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
