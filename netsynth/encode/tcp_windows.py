"""TCP windows of records: what each packet advertises, and who ever advertised none.

A window of 0 stops the other side (RFC 9293 section 3.8.6.1). Most captures hold it in resets
alone, where it means nothing, so it is left to the kinds of packets that were seen with it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.records import RecordCodec, fill_forward
from netsynth.numbers import Array, IntArray


def decode_windows(
    codec: RecordCodec, records: Array, lane: IntArray, is_tcp: NDArray[np.bool_]
) -> IntArray:
    """Return the window of each record, int64 [N], 0 outside TCP.

    A changed one is drawn, the others repeat the lane's last. Where that is 0 and the record's
    kind never had it, the lane's window before is kept, else that behind, else the usual one.

    Args:
        codec: Tells what tokens stand for.
        records: int32 [N, 3], kind, length and window tokens.
        lane: int64 [N], a number for each flow and direction.
        is_tcp: bool [N].
    """
    token = records[:, 2].astype(np.int64)
    known = (token > 0) & is_tcp
    values = np.zeros(token.size, dtype=np.int64)
    middle = np.full(int(known.sum()), 0.5)
    drawn = codec.window.decode(np.maximum(token[known] - 1, 0), middle)
    values[known] = np.clip(np.round(drawn), 0, 65535).astype(np.int64)
    told = fill_forward(lane, values, known)
    is_open = known & (values > 0)
    before = fill_forward(lane, values, is_open)
    behind = fill_forward(lane[::-1], values[::-1], is_open[::-1])[::-1]
    usual = int(np.median(values[is_open])) if is_open.any() else 0
    other = np.where(before > 0, before, np.where(behind > 0, behind, usual))
    closed = (told == 0) & ~codec.closes[records[:, 0]]
    return np.where(is_tcp, np.where(closed, other, told), 0)
