# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Packets that are decoded together: their headers as columns of 32-bit words.

The compiled decoder takes BATCH records at a time. Once it is known where their IP headers are, the
64 bytes from there on (IP, TCP and its options) are turned from rows to columns, sixteen packets
at once. What follows are loops over columns, in which nothing depends on what a packet is but
numbers: the compiler makes one instruction do the work for eight or sixteen packets.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BATCH = 256  # records; their bytes and columns stay in the processor's first caches
GROUP = 16  # packets turned at once

# Columns of `sheet`, uint32 [SHEET_COLUMNS * BATCH]. They are numbers of numpy's, as numba compiles
# a function again for each number of Python's that it is called with. The first 16 are the words
# from the byte 20 bytes before the transport header on: the IP header, where it is IPv4 without
# options.
VERSION_LENGTH, ID_FRAGMENT, LIFE_PROTOCOL, SOURCE, TARGET = map(np.int64, range(5))
PORTS, SEQ_WORD, ACK_WORD, CONTROL_WINDOW, CHECK_URGENT = map(np.int64, range(5, 10))
OPTION_1, OPTION_2, OPTION_3, OPTION_4, OPTION_5 = map(np.int64, range(10, 15))
BASES = np.int64(16)  # where these words begin
ROOMS = np.int64(17)  # bytes there are of the transport header and what follows
KINDS = np.int64(18)  # KIND_*
SUMMED = np.int64(19)  # bytes that the checksum covers, 0 where it cannot be checked
SUM_MORE = np.int64(20)  # what else goes into the sum
ORIGINS = np.int64(21)  # the packet's record in the batch
SIXES = np.int64(22)  # list of the packets with IPv6 headers
SHEET_COLUMNS = 23

KIND_OTHER, KIND_UDP, KIND_TCP, KIND_ICMP = map(np.uint32, range(4))


@intrinsic
def seldom(_typing, condition):
    """Return a condition, and tell the compiler that it is nearly always False."""

    def generate(context, builder, signature, arguments):
        bit = ir.IntType(1)
        expect = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(bit, [bit, bit]), "llvm.expect.i1"
        )
        return builder.call(expect, [arguments[0], bit(0)])

    return types.boolean(types.boolean), generate


@intrinsic
def _turn_group(_typing, data, sheet, first):
    """Turn the 64 bytes at each of BASES first:first + GROUP to columns of big-endian words."""

    def generate(context, builder, signature, arguments):
        number, lanes = ir.IntType(32), ir.VectorType(ir.IntType(32), GROUP)
        source = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        target = context.make_array(signature.args[1])(context, builder, arguments[1]).data
        begin = context.cast(builder, arguments[2], signature.args[2], types.int64)

        def place(column):
            return builder.gep(target, [builder.add(begin, begin.type(column * BATCH))])

        rows = []
        for index in range(GROUP):
            base = builder.load(builder.gep(place(BASES), [begin.type(index)]))
            start = builder.gep(source, [builder.zext(base, begin.type)])
            rows.append(builder.load(builder.bitcast(start, lanes.as_pointer()), align=1))
        half = GROUP // 2
        mask = ir.VectorType(number, GROUP)
        low = [x for k in range(half) for x in (k, k + GROUP)]
        high = [x + half for x in low]
        for _ in range(GROUP.bit_length() - 1):  # each round interleaves the halves
            rows = [
                builder.shuffle_vector(rows[k], rows[k + half], ir.Constant(mask, order))
                for k in range(half)
                for order in (low, high)
            ]
        swap = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(lanes, [lanes]), f"llvm.bswap.v{GROUP}i32"
        )
        for column, words in enumerate(rows):
            big = builder.call(swap, [words]) if sys.byteorder == "little" else words
            builder.store(big, builder.bitcast(place(column), lanes.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(data, sheet, first), generate


@njit(cache=True)
def turn(data: Any, sheet: Any, count: int) -> None:
    """Turn the headers of `count` packets to columns; up to 15 more are turned, wherever they are.

    Args:
        data: uint8, the buffer.
        sheet: uint32 [SHEET_COLUMNS * BATCH]; BASES is read, the first 16 columns are set.
        count: Packets.
    """
    for first in range(0, count, GROUP):
        _turn_group(data, sheet, first)


@njit(cache=True)
def column(sheet: Any, which: int) -> Any:
    """Return a column of the sheet, uint32 [BATCH]."""
    return sheet[which * BATCH : (which + 1) * BATCH]


@intrinsic
def _pointer(_typing, address):
    """Return an address as a pointer."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(types.int64), generate


@njit(cache=True)
def packet_columns(addresses: Any, rows: int) -> Any:
    """Return the columns of packets, in the order of `PACKET_COLUMNS`.

    A call from Python with so many arrays costs as much as decoding four full frames.

    Args:
        addresses: int64 [C], where each column lies in memory.
        rows: Rows of each.
    """
    return (
        carray(_pointer(addresses[0]), rows, np.int64),
        carray(_pointer(addresses[1]), rows, np.int32),
        carray(_pointer(addresses[2]), rows, np.int32),
        carray(_pointer(addresses[3]), rows, np.uint16),
        carray(_pointer(addresses[4]), rows, np.uint16),
        carray(_pointer(addresses[5]), rows, np.uint8),
        carray(_pointer(addresses[6]), rows, np.uint8),
        carray(_pointer(addresses[7]), rows, np.uint8),
        carray(_pointer(addresses[8]), rows, np.uint8),
        carray(_pointer(addresses[9]), rows, np.uint8),
        carray(_pointer(addresses[10]), rows, np.uint16),
        carray(_pointer(addresses[11]), rows, np.uint16),
        carray(_pointer(addresses[12]), rows, np.uint32),
        carray(_pointer(addresses[13]), rows, np.uint16),
        carray(_pointer(addresses[14]), rows, np.uint8),
        carray(_pointer(addresses[15]), rows, np.uint32),
        carray(_pointer(addresses[16]), rows, np.uint32),
        carray(_pointer(addresses[17]), rows, np.uint16),
        carray(_pointer(addresses[18]), rows, np.uint8),
        carray(_pointer(addresses[19]), rows, np.uint16),
        carray(_pointer(addresses[20]), rows, np.uint8),
        carray(_pointer(addresses[21]), rows, np.uint32),
        carray(_pointer(addresses[22]), rows, np.uint32),
        carray(_pointer(addresses[23]), rows, np.uint16),
        carray(_pointer(addresses[24]), rows, np.uint16),
        carray(_pointer(addresses[25]), rows, np.uint8),
    )
