# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Numbers at any address and sums over any stretch, compiled: one access each.

Written byte by byte, neighbours were put together by the compiler in vector registers, which cost
more than anything else in a record of headers. A sum takes 64 bytes in each step, the last ones
under a mask, as a loop over single words costs more than all other work on a short packet.

References:
    RFC 1071, sections 1 and 2 (the sum does not depend on the width of its words).
"""

from __future__ import annotations

import sys
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 8  # 64-bit words summed at once
WIDTH = 8 * LANES  # bytes of them


def _place(
    context: Any, builder: Any, signature: Any, arguments: Any, index: int, kind: Any
) -> Any:
    """Return a pointer to argument `index`, an array, at the number that follows it."""
    array = context.make_array(signature.args[index])(context, builder, arguments[index])
    at = context.cast(builder, arguments[index + 1], signature.args[index + 1], types.int64)
    return builder.bitcast(builder.gep(array.data, [at]), kind.as_pointer())


def make_load(bits: int, *, order: str) -> Any:
    """Return a function of (uint8 array, place) that gives a number: int64, or uint64 of 64 bits.

    Args:
        bits: Width of the number, 8 to 64.
        order: "little" or "big".
    """
    swap = order != sys.byteorder and bits > 8

    @intrinsic
    def load(_typing, array, at):
        def generate(context, builder, signature, arguments):
            kind = ir.IntType(bits)
            place = _place(context, builder, signature, arguments, 0, kind)
            number = builder.load(place, align=1)
            if swap:
                number = builder.bswap(number)
            return number if bits == 64 else builder.zext(number, ir.IntType(64))

        return (types.uint64 if bits == 64 else types.int64)(array, at), generate

    return load


def make_store(bits: int, *, order: str) -> Any:
    """Return a function of (uint8 array, place, number) that stores the number's low bits."""
    swap = order != sys.byteorder and bits > 8

    @intrinsic
    def store(_typing, array, at, value):
        def generate(context, builder, signature, arguments):
            kind = ir.IntType(bits)
            place = _place(context, builder, signature, arguments, 0, kind)
            number = arguments[2]
            if number.type.width > bits:
                number = builder.trunc(number, kind)
            if swap:
                number = builder.bswap(number)
            builder.store(number, place, align=1)
            return context.get_dummy_value()

        return types.void(array, at, value), generate

    return store


@intrinsic
def sum_stretch(_typing, data, begin, count):
    """Sum `count` bytes, at least 0, as little-endian numbers of 32 bits; 63 more may be read.

    Args:
        data: uint8.
        begin: First byte.
        count: Bytes.

    Returns:
        uint64, equal to the sum of 16-bit little-endian words up to a multiple of 65535.
    """

    def generate(context, builder, signature, arguments):
        word, lanes = ir.IntType(64), ir.VectorType(ir.IntType(64), LANES)
        octets = ir.VectorType(ir.IntType(8), WIDTH)
        low = ir.Constant(lanes, [0xFFFFFFFF] * LANES)
        half = ir.Constant(lanes, [32] * LANES)
        place = _place(context, builder, signature, arguments, 0, ir.IntType(8))
        left = context.cast(builder, arguments[2], signature.args[2], types.int64)

        def add(total, bytes_, numbers):
            if bytes_ is not None:
                numbers = builder.bitcast(bytes_, lanes)
            total = builder.add(total, builder.and_(numbers, low))
            return builder.add(total, builder.lshr(numbers, half))

        entry = builder.block
        loop = builder.append_basic_block("whole")
        tail = builder.append_basic_block("tail")
        begin_total = ir.Constant(lanes, [0] * LANES)
        wide = ir.Constant(word, WIDTH)
        builder.cbranch(builder.icmp_signed(">", left, wide), loop, tail)
        builder.position_at_end(loop)
        total, at, rest = builder.phi(lanes), builder.phi(place.type), builder.phi(word)
        numbers = builder.load(builder.bitcast(at, lanes.as_pointer()), align=1)
        next_total = add(total, None, numbers)
        next_at = builder.gep(at, [wide])
        next_rest = builder.sub(rest, wide)
        for phi, first, later in (
            (total, begin_total, next_total),
            (at, place, next_at),
            (rest, left, next_rest),
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, loop)
        builder.cbranch(builder.icmp_signed(">", next_rest, wide), loop, tail)
        builder.position_at_end(tail)
        total, at, rest = builder.phi(lanes), builder.phi(place.type), builder.phi(word)
        for phi, first, later in (
            (total, begin_total, next_total),
            (at, place, next_at),
            (rest, left, next_rest),
        ):
            phi.add_incoming(first, entry)
            phi.add_incoming(later, loop)
        found = builder.load(builder.bitcast(at, octets.as_pointer()), align=1)
        short = builder.trunc(rest, ir.IntType(8))  # 0 to 64
        splat = builder.insert_element(ir.Constant(octets, ir.Undefined), short, ir.IntType(32)(0))
        indices = ir.VectorType(ir.IntType(32), WIDTH)
        splat = builder.shuffle_vector(
            splat, ir.Constant(octets, ir.Undefined), ir.Constant(indices, [0] * WIDTH)
        )
        inside = builder.icmp_unsigned("<", ir.Constant(octets, list(range(WIDTH))), splat)
        found = builder.select(inside, found, ir.Constant(octets, [0] * WIDTH))
        total = add(total, found, None)
        reduce = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(word, [lanes]), f"llvm.vector.reduce.add.v{LANES}i64"
        )
        return builder.call(reduce, [total])

    return types.uint64(data, begin, count), generate


get8 = make_load(8, order="big")
get16 = make_load(16, order="big")
get16_le = make_load(16, order="little")
get32 = make_load(32, order="big")
get32_le = make_load(32, order="little")
get64 = make_load(64, order="big")
get64_le = make_load(64, order="little")
put8 = make_store(8, order="big")
put16 = make_store(16, order="big")
put32 = make_store(32, order="big")
put32_le = make_store(32, order="little")
put64_le = make_store(64, order="little")
