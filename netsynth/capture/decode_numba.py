# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type"
"""Frames to columns, compiled: batches of records, one short loop after another.

TCP, UDP and ICMP whose headers are there, over IP without options, extensions or fragments, go
through loops of their own; all else goes through `frames_numba.read_frame`, which costs several
times as much. `decode_numpy.decode` gives the same results without a compiler.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from netsynth.capture.batch_numba import BATCH, SHEET_COLUMNS, packet_columns, turn
from netsynth.capture.hashes_numba import rehash
from netsynth.capture.header_loops_numba import (
    add_sixes,
    check_sums,
    plan_sums,
    tell_kinds,
    write_headers,
    write_options,
    write_sixes,
)
from netsynth.capture.loads_numba import FIELD_COUNT
from netsynth.capture.network_loop_numba import find_headers, number_addresses
from netsynth.capture.records import (
    ADDRESS_HEADROOM,
    ADDRESSES,
    ADDRESSES_FULL,
    DECAPSULATE,
    FULL,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    ROW,
    ROW_LIMIT,
)
from netsynth.capture.records_numba import find_records

__all__ = ["decode", "rehash"]


@njit(cache=True, nogil=True)
def decode(
    data: Any,
    words: Any,
    state: Any,
    counts: Any,
    interfaces: Any,
    addresses: Any,
    slots: Any,
    keys: Any,
    mac_slots: Any,
    pairs: Any,
    seed: Any,
) -> int:
    """Decode records of a buffer from `state[POS]` on.

    Args:
        data: uint8 [B + 128], the buffer; `state[END]` bytes of it are filled.
        words: The same memory, uint64 [B / 8 + 16].
        state: int64 [STATE_SIZE], see `records`; read and updated.
        counts: int64 [COUNT_SIZE], frames without IP by kind; updated.
        interfaces: int64 [I, INTERFACE_COLUMNS].
        addresses: int64 [C], where the columns of `PACKET_COLUMNS` lie, in order; their rows
            ROW:ROW_LIMIT are filled.
        slots: int32 [2^k], hash table of rows of `keys`, -1 where free.
        keys: uint64 [A, 2], addresses as two native words of their 16 bytes.
        mac_slots: uint64 [MAC_SLOTS + MAC_LIMIT], hash set of MAC addresses + 1, then a list.
        pairs: uint64 [PAIR_COUNT * 4], see `network_loop_numba`; zeros at first.
        seed: uint64, salt of the hash, so that no capture can be built to make it slow.

    Returns:
        FULL, MORE, or what `records` lists; `state[POS]` is at the record in question.
    """
    columns = packet_columns(addresses, state[ROW_LIMIT])
    fields = np.zeros(FIELD_COUNT, dtype=np.int64)
    starts = np.empty(BATCH, dtype=np.uint32)
    limits = np.empty(BATCH, dtype=np.uint32)
    links = np.empty(BATCH, dtype=np.uint8)
    times_ns = np.empty(BATCH, dtype=np.int64)
    wires = np.empty(BATCH, dtype=np.uint32)
    sheet = np.zeros(SHEET_COLUMNS * BATCH, dtype=np.uint32)
    is_six = np.zeros(BATCH, dtype=np.uint8)
    vxlan = 4789 if state[DECAPSULATE] != 0 else -1
    status = FULL
    while status == FULL and state[ROW] < state[ROW_LIMIT]:
        if state[ADDRESSES] + ADDRESS_HEADROOM > keys.shape[0]:
            return ADDRESSES_FULL
        row = state[ROW]
        most = min(state[ROW_LIMIT] - row, BATCH)
        found, status = find_records(
            data, state, interfaces, fields, starts, limits, links, times_ns, wires, most
        )
        count, six_count = find_headers(
            data,
            state,
            counts,
            fields,
            starts,
            limits,
            links,
            times_ns,
            wires,
            columns,
            mac_slots,
            pairs,
            seed,
            sheet,
            found,
            row,
        )
        wide = min((count + 63) & -64, state[ROW_LIMIT] - row)  # loops like whole steps
        turn(data, sheet, count)
        write_sixes(data, sheet, is_six, six_count)
        tell_kinds(sheet, vxlan, wide)
        checks = columns[25][row : row + wide]
        write_headers(sheet, columns, row, wide)
        write_options(data, fields, sheet, columns, row, wide)
        plan_sums(sheet, checks, wide)
        add_sixes(data, sheet, columns, row, six_count)
        number_addresses(
            data,
            words,
            state,
            fields,
            starts,
            limits,
            links,
            columns,
            slots,
            keys,
            pairs,
            seed,
            sheet,
            is_six,
            count,
            row,
        )
        check_sums(data, sheet, checks, count)
        if six_count:
            is_six[:] = 0
        wrong_ip = 0
        wrong = 0
        unknown = 0
        for k in range(count):
            wrong_ip += checks[k] & 1
            wrong += (checks[k] >> 1) & 1
            unknown += checks[k] >> 2
        state[IP_BAD] += wrong_ip
        state[L4_BAD] += wrong
        state[L4_UNKNOWN] += unknown
        state[ROW] = row + count
    return status
