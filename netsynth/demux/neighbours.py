"""Which packets hosts of a segment ask for an address before."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import IntArray
from netsynth.tables import PacketTable

STALE_NS = 60_000_000_000  # what was not used for as long is asked again (RFC 1122 section 2.3.2.1)
ANSWER_NS = 150_000  # from a request to its answer, and from that to the packet


class Questions(NamedTuple):
    """Q exchanges of address resolution.

    Attributes:
        rows: int64 [Q], the packets that they precede, ascending.
        request_ns: int64 [Q], time of each request, not before the packet before.
        answer_ns: int64 [Q].
    """

    rows: IntArray
    request_ns: IntArray
    answer_ns: IntArray


class Neighbours:
    """What the hosts of a segment know of each other, as a stream of packets goes by.

    Hosts share a segment where both addresses are IPv4, for private use and of the same 256. Who
    asks tells its own address with the question, so that an exchange serves both.

    References:
        RFC 826 (Packet Reception); RFC 1918 section 3.
    """

    def __init__(self) -> None:
        self._used_ns: dict[bytes, int] = {}  # when each pair last spoke
        self._last_ns = -(1 << 62)

    def find_questions(self, packets: PacketTable) -> Questions:
        """Find the packets that begin a conversation of neighbours, or go on after a minute.

        Args:
            packets: The next ones of the stream, in time order.
        """
        rows = np.flatnonzero(_is_local(packets))
        low = np.minimum(packets.src[rows], packets.dst[rows]).astype(np.int64)
        high = np.maximum(packets.src[rows], packets.dst[rows]).astype(np.int64)
        pairs, pair = np.unique(low << 32 | high, return_inverse=True)  # [P], [R]
        ends_of = packets.addresses[
            np.stack([pairs >> 32, pairs & 0xFFFFFFFF], axis=1)
        ]  # [P, 2, 16]
        keys = [min(a + b, b + a) for a, b in ((x.tobytes(), y.tobytes()) for x, y in ends_of)]
        order = np.lexsort((rows, pair))
        times_ns = packets.time_ns[rows[order]]
        before_ns = np.empty(rows.size, dtype=np.int64)
        before_ns[1:] = times_ns[:-1]
        starts = np.flatnonzero(np.diff(pair[order], prepend=-1))
        before_ns[starts] = [self._used_ns.get(key, -(1 << 61)) for key in keys]
        asked = np.sort(rows[order[times_ns - before_ns > STALE_NS]])
        ends = np.append(starts, rows.size)[1:] - 1  # each pair's last packet
        self._used_ns.update(zip(keys, times_ns[ends].tolist(), strict=True))
        earlier_ns = np.append(self._last_ns, packets.time_ns[:-1])[asked]
        times_ns = packets.time_ns[asked]
        self._last_ns = int(packets.time_ns[-1]) if len(packets) else self._last_ns
        return Questions(
            asked,
            np.maximum(earlier_ns, times_ns - 2 * ANSWER_NS),
            np.maximum(earlier_ns, times_ns - ANSWER_NS),
        )


def _is_local(packets: PacketTable) -> NDArray[np.bool_]:
    """Say which packets stay on a segment, from one host to one other, bool [N]."""
    numbers = packets.addresses[:, 12:].astype(np.int64) @ np.array([1 << 24, 1 << 16, 1 << 8, 1])
    is_private = (numbers >> 24 == 10) | (numbers >> 20 == 0xAC1) | (numbers >> 16 == 0xC0A8)
    is_host = is_private & (numbers & 255 != 255) & (numbers & 255 != 0)
    source, target = numbers[packets.src], numbers[packets.dst]
    is_pair = (packets.ip_version == 4) & is_host[packets.src] & is_host[packets.dst]
    is_local: NDArray[np.bool_] = is_pair & (source >> 8 == target >> 8) & (source != target)
    return is_local
