# mypy: disable-error-code="untyped-decorator, no-untyped-def, no-untyped-call, no-any-return, misc"
"""Packets that are written together: the words of their headers as columns, and as rows.

The compiled writer takes BATCH packets at a time. Loops over columns, in which nothing depends on
what a packet is but numbers, find the words of all headers; the compiler makes one instruction do
the work for eight or sixteen packets. Then sixteen packets at once are turned from columns to
rows, which are the bytes of their headers.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

BATCH = 128  # packets; their columns stay in the processor's first cache
GROUP = 16  # packets turned at once
FRONT, BLOCK = 8, 16  # words of a row: a record's first 32 bytes; 64 bytes from IPv4 on
ROW = FRONT + BLOCK

# Columns of `sheet`, uint32 [SHEET_COLUMNS * BATCH]. They are numbers of numpy's, as numba compiles
# a function again for each number of Python's that it is called with. First the words of rows: a
# pcap record's header (little-endian), addresses and type of Ethernet (big-endian, like all that
# follows),
SECONDS, FRACTION, CAPTURED, WIRE, MAC_1, MAC_2, MAC_3, TYPE = map(np.int64, range(8))
# the IPv4 header, the transport header (TCP's, or the first words for UDP and ICMP), TCP options.
VERSION_LENGTH, ID_FRAGMENT, LIFE_CHECK, SOURCE, TARGET = map(np.int64, range(8, 13))
WORD_1, WORD_2, WORD_3, WORD_4, WORD_5 = map(np.int64, range(13, 18))
# (the row's last word is unused)
OPTION_1, OPTION_2, OPTION_3, OPTION_4, OPTION_5 = map(np.int64, range(18, 23))
HEADS = np.int64(24)  # bytes of the transport header that are built
NETWORKS = np.int64(25)  # bytes of the IP header, with a fragment header
PAYLOADS = np.int64(26)  # bytes of payload, shortened where IP cannot hold them, or of SACK blocks
BLOCKS = np.int64(27)  # bytes of SACK blocks, which stand where a payload would
TAKEN = np.int64(28)  # bytes of the payload that come from its prefix
OFFSETS = np.int64(29)  # where in the pool the rest of it begins
SUMS = np.int64(30)  # what the payload adds to the checksum
PSEUDO = np.int64(31)  # what the addresses add
LABELS = np.int64(32)  # flow labels
PLACES = np.int64(33)  # where in the buffer the record begins
SHEET_COLUMNS = 34

# Columns of `wide`, uint64 [WIDE_COLUMNS * BATCH]: addresses and their hashes.
SOURCE_A, SOURCE_B, TARGET_A, TARGET_B, SOURCE_MIX, TARGET_MIX = map(np.int64, range(6))
WIDE_COLUMNS = 6


@njit(cache=True)
def column(sheet: Any, which: int) -> Any:
    """Return a column of the sheet, [BATCH]."""
    return sheet[which * BATCH : (which + 1) * BATCH]


def _make_turn(lanes: int, first_column: int, little: int) -> Any:
    """Return a function of (sheet, first packet, rows, word) that turns columns to rows.

    Args:
        lanes: Columns, and packets turned at once.
        first_column: The first of them.
        little: Columns whose numbers are little-endian in rows; those after them are big-endian.
    """

    @intrinsic
    def turn(_typing, sheet, first, rows, word):
        def generate(context, builder, signature, arguments):
            number = ir.IntType(32)
            vector, mask = ir.VectorType(number, lanes), ir.VectorType(number, lanes)
            source, target = (
                context.make_array(signature.args[index])(context, builder, arguments[index]).data
                for index in (0, 2)
            )
            first_packet, first_word = (
                context.cast(builder, arguments[index], signature.args[index], types.int64)
                for index in (1, 3)
            )
            swap = cgutils.get_or_insert_function(
                builder.module, ir.FunctionType(vector, [vector]), f"llvm.bswap.v{lanes}i32"
            )
            columns = []
            for index in range(lanes):
                place = builder.add(first_packet, ir.IntType(64)((first_column + index) * BATCH))
                pointer = builder.bitcast(builder.gep(source, [place]), vector.as_pointer())
                words = builder.load(pointer, align=4)
                if (index >= little) == (sys.byteorder == "little"):
                    words = builder.call(swap, [words])
                columns.append(words)
            half = lanes // 2
            low = [x for k in range(half) for x in (k, k + lanes)]
            high = [x + half for x in low]
            for _ in range(lanes.bit_length() - 1):  # each round interleaves the halves
                columns = [
                    builder.shuffle_vector(columns[k], columns[k + half], ir.Constant(mask, order))
                    for k in range(half)
                    for order in (low, high)
                ]
            for index, words in enumerate(columns):
                place = builder.add(first_word, ir.IntType(64)(index * ROW))
                pointer = builder.bitcast(builder.gep(target, [place]), vector.as_pointer())
                builder.store(words, pointer, align=4)
            return context.get_dummy_value()

        return types.void(sheet, first, rows, word), generate

    return turn


_turn_front = _make_turn(FRONT, int(SECONDS), 4)
_turn_block = _make_turn(BLOCK, int(VERSION_LENGTH), 0)


@njit(cache=True)
def turn_to_rows(sheet: Any, first: int, rows: Any) -> None:
    """Turn packets first:first + GROUP to rows.

    Args:
        sheet: uint32 [SHEET_COLUMNS * BATCH].
        first: A multiple of GROUP.
        rows: uint32 [GROUP * ROW], set.
    """
    _turn_front(sheet, first, rows, 0)
    _turn_front(sheet, first + FRONT, rows, FRONT * ROW)
    _turn_block(sheet, first, rows, FRONT)


@njit(cache=True)
def fold(value: Any) -> Any:
    """Reduce a sum of 16-bit words to 16 bits, carries added back (RFC 1071), uint32."""
    low, half = np.uint32(0xFFFF), np.uint32(16)
    value = np.uint32(value & low) + np.uint32(value >> half)
    value = np.uint32(value & low) + np.uint32(value >> half)
    return np.uint32(value & low) + np.uint32(value >> half)


@njit(cache=True)
def swap_word(value: Any) -> Any:
    """Turn the bytes of a 32-bit number around, uint32."""
    value = np.uint32(value)
    outer = np.uint32(value << np.uint32(24)) | np.uint32(value >> np.uint32(24))
    inner = np.uint32(value & np.uint32(0xFF00)) << np.uint32(8)
    return np.uint32(
        outer | inner | np.uint32(np.uint32(value >> np.uint32(8)) & np.uint32(0xFF00))
    )
