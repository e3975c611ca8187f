# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Columns to frames, compiled: batches of packets, one short loop after another.

`encode_numpy.encode` writes the same bytes without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.batch_numba import packet_columns
from netsynth.capture.encode_headers_numba import (
    mend_sixes,
    write_ip,
    write_options,
    write_transport,
)
from netsynth.capture.encode_layout_numba import (
    find_fillers,
    lay_out,
    mix_addresses,
    place_records,
    write_front,
    write_macs,
)
from netsynth.capture.encode_place_numba import put_records, sum_payloads
from netsynth.capture.encode_sheet_numba import BATCH, GROUP, ROW, SHEET_COLUMNS, WIDE_COLUMNS
from netsynth.capture.frames import MAC_KEY, ROWS


@njit(cache=True, nogil=True)
def encode(
    addresses: Any,
    keys: Any,
    first_row: int,
    out: Any,
    settings: Any,
    pool: Any,
    pool_sums: Any,
    prefix: Any,
    prefix_start: Any,
    prefix_length: Any,
    crc_table: Any,
) -> Any:
    """Write records from `first_row` on until packets or room end.

    Args:
        addresses: int64 [C], where the columns of `PACKET_COLUMNS` lie, in order.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        first_row: Row to begin with.
        out: uint8 [O], filled from its front.
        settings: int64, see `frames`.
        pool: uint8 [2P + SPARE], filler, the second half equal to the first.
        pool_sums: uint32 [2P / 8 + 1], sum of the bytes before each eighth, as 16-bit
            little-endian words, modulo 65535.
        prefix: uint8, beginnings of payloads.
        prefix_start: int64 [N] or [0], where each begins.
        prefix_length: int64 [N] or [0], bytes of each.
        crc_table: uint32 [256], CRC32c.

    Returns:
        The next row and the bytes written.
    """
    columns = packet_columns(addresses, settings[ROWS])
    sheet = np.zeros(SHEET_COLUMNS * BATCH, dtype=np.uint32)
    wide = np.zeros(WIDE_COLUMNS * BATCH, dtype=np.uint64)
    rows = np.zeros(4 * GROUP * ROW, dtype=np.uint8)
    key = np.uint64(settings[MAC_KEY])
    row = first_row
    used = 0
    while row < settings[ROWS]:
        wanted = min(settings[ROWS] - row, BATCH)
        lay_out(columns, prefix_length, settings, sheet, row, wanted)
        count = place_records(settings, sheet, used, wanted)
        if count:
            write_front(columns, settings, sheet, row, count)
            mix_addresses(columns, keys, key, wide, row, count)
            write_macs(sheet, wide, count)
            write_ip(columns, sheet, wide, row, count)
            mend_sixes(columns, settings, sheet, wide, row, count)
            find_fillers(columns, settings, sheet, wide, row, count)
            sum_payloads(sheet, pool, pool_sums, prefix, prefix_start, row, count)
            write_options(columns, sheet, row, count)
            write_transport(columns, sheet, row, count)
            used = put_records(
                columns,
                settings,
                sheet,
                wide,
                rows,
                out,
                pool,
                prefix,
                prefix_start,
                crc_table,
                row,
                count,
            )
            row += count
        if count < wanted:
            break
    return row, used
