"""Let connections that close on both sides close in full: the last FIN is acknowledged."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.jit import compiled
from netsynth.numbers import IntArray

_FIN_MOVED = 17  # row of dialogue.REPAIRS


@compiled
def repair_closings(
    offsets: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    tcp_flags: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    segment: NDArray[np.uint8],
    ack_class: NDArray[np.uint8],
    repairs: IntArray,
) -> None:
    """Move the last FIN of a flow forward where nobody is left to acknowledge it, in place.

    Both sides have sent FIN, none a reset, and the side that closed first is silent after the
    other's FIN. That FIN moves to its side's last packet before the peer's last one, if it has
    no new data after that; so the peer's last packet acknowledges it, and where the FIN stood
    remains the acknowledgement of the peer's own.

    References:
        RFC 9293 section 3.6 (the same states, whichever side closes first).
    """
    for f in range(offsets.size - 1):
        first, end = offsets[f], offsets[f + 1]
        if protocol[first] != 6 or tcp_flags[first] & 2 == 0:
            continue
        fin = np.full(2, -1, dtype=np.int64)
        last = np.full(2, -1, dtype=np.int64)
        has_reset = False
        for i in range(first, end):
            side = 1 if reverse[i] else 0
            has_reset = has_reset or tcp_flags[i] & 4 != 0
            if tcp_flags[i] & 1 != 0 and fin[side] < 0:
                fin[side] = i
            last[side] = i
        if has_reset or fin[0] < 0 or fin[1] < 0:
            continue
        side = 0 if fin[0] > fin[1] else 1  # who closes last
        stood, heard = fin[side], last[1 - side]
        if heard > stood or payload_length[stood] > 0:
            continue
        target: Any = -1
        is_free = True
        for i in range(stood - 1, first, -1):
            if (1 if reverse[i] else 0) != side:
                continue
            if i < heard:
                if tcp_flags[i] & 18 == 16 and segment[i] == 0:
                    target = i
                break
            if payload_length[i] > 0 and segment[i] % 3 == 0:
                is_free = False
                break
        if target < 0 or not is_free:
            continue
        tcp_flags[target] |= 1
        tcp_flags[stood] &= 0xF6  # neither FIN nor PSH
        segment[stood] = 0
        ack_class[stood] = 1
        ack_class[heard] = 1
        for i in range(target + 1, end):  # nothing new after FIN
            if (1 if reverse[i] else 0) == side and tcp_flags[i] & 1 != 0:
                tcp_flags[i] &= 0xFE
        repairs[_FIN_MOVED] += 1
