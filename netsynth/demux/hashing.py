"""Random words that depend on who talks and when, and on nothing else.

Whatever is drawn for a flow is derived from them, so that a trace compiled in pieces gets the
numbers it would get in one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.tables import FlowTable

Words = NDArray[np.uint64]


def mix(words: Words, seed: int) -> Words:
    """Return a well-mixed word for each word, uint64 of the same shape.

    References:
        Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
    """
    z = words + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def hash_addresses(addresses: NDArray[np.uint8], seed: int) -> Words:
    """Return a word for each address [A, 16], uint64 [A]."""
    halves = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)  # [A, 2]
    return mix(mix(halves[:, 0], seed) ^ halves[:, 1], seed)


def hash_flows(flows: FlowTable, seed: int) -> Words:
    """Return a word for each flow, of its start, endpoints and protocol, uint64 [F]."""
    ends = hash_addresses(flows.packets.addresses, seed)
    ports = flows.initiator_port.astype(np.uint64) << np.uint64(16)
    word = mix(flows.start_ns.astype(np.uint64), seed)
    word = mix(word ^ ends[flows.initiator], 1)
    word = mix(word ^ ends[flows.responder], 2)
    ports = (ports | flows.responder_port) << np.uint64(8) | flows.protocol
    return mix(word ^ ports, 3)
