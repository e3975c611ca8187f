"""What the ids, times and addresses in a message are derived from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.hashing import Words, mix
from netsynth.numbers import IntArray

_NTP_EPOCH_S = 2_208_988_800  # from 1900 to 1970


class Keys(NamedTuple):
    """What the ids of a message are derived from."""

    flows: Words  # [M], a word of each message's flow
    own: Words  # [M], place of the message in its flow
    exchange: Words  # [M], place of the message that began the exchange
    time_ns: IntArray  # [M], when it begins
    asked_ns: IntArray  # [M], when the exchange began
    is_client: NDArray[np.bool_]  # [M], whether a client sends it

    def ntp_times(self, source: str) -> NDArray[np.uint8]:
        """Return the times of "time" or "asked_time" as NTP writes them, uint8 [M, 8].

        References:
            RFC 5905 section 6.
        """
        seconds, rest_ns = np.divmod(self.time_ns if source == "time" else self.asked_ns, 10**9)
        whole = (seconds + _NTP_EPOCH_S).astype(np.uint64) << np.uint64(32)
        times = whole | (rest_ns.astype(np.uint64) << np.uint64(32)) // np.uint64(10**9)
        return times.astype(">u8").view(np.uint8).reshape(-1, 8)

    def of(self, source: str) -> Words:
        """Return a random word for each message, uint64 [M], the same where the source is."""
        if source == "message":
            return mix(self.flows ^ self.own, 1)
        return mix(self.flows ^ self.exchange, 2) if source == "exchange" else mix(self.flows, 3)
