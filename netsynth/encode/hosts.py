"""Hosts as tokens, and addresses bit by bit.

A host that returns is a token of its own: its popularity, role and habits are learned. Hosts seen
once are told apart by IP version alone and their addresses drawn bit by bit.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, IntArray

RARE_V4, RARE_V6 = 0, 1  # tokens of hosts that are not in the vocabulary
SPECIAL = 2
V4_PREFIX = np.array([0] * 10 + [255, 255], dtype=np.uint8)  # RFC 4291 section 2.5.5.2


@dataclass(frozen=True, kw_only=True, slots=True)
class HostCodec:
    """Addresses as tokens.

    Attributes:
        addresses: uint8 [V, 16]; token v + SPECIAL is addresses[v].
        networks: uint8 [P, 16], the /24 (IPv4) and /64 (IPv6) networks of hosts without a token,
            host part 0.
        network_counts: int64 [P], how many such hosts each has.
    """

    addresses: NDArray[np.uint8]
    networks: NDArray[np.uint8] = field(default_factory=lambda: np.zeros((0, 16), np.uint8))
    network_counts: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self.addresses.shape[0]) + SPECIAL

    @property
    def ip_version(self) -> IntArray:
        """IP version of each token, int64 [size]."""
        version = np.where(is_v4(self.addresses), 4, 6)
        return np.concatenate([[4, 6], version]).astype(np.int64)

    def encode(self, addresses: NDArray[np.uint8]) -> IntArray:
        """Return the token of each address [M, 16]: int64 [M]."""
        rare = np.where(is_v4(addresses), RARE_V4, RARE_V6).astype(np.int64)
        if self.addresses.shape[0] == 0 or addresses.shape[0] == 0:
            return rare
        known = as_keys(self.addresses)
        order = np.argsort(known, kind="stable")
        keys = as_keys(addresses)
        token = order[np.minimum(np.searchsorted(known[order], keys), known.size - 1)]
        return np.where(known[token] == keys, token + SPECIAL, rare).astype(np.int64)

    def draw_rare(self, tokens: IntArray, rng: np.random.Generator) -> NDArray[np.uint8]:
        """Draw an address for each token RARE_V4 or RARE_V6: uint8 [M, 16].

        The network is drawn as the capture's were, the host part at random; where no network of
        the version was seen, one of 198.18.0.0/15 (RFC 2544) or 2001:db8::/32 (RFC 3849).
        """
        result = np.zeros((tokens.size, 16), dtype=np.uint8)
        network_is_v4 = is_v4(self.networks)
        for token, fallback, first in (
            (RARE_V4, [0] * 10 + [255, 255, 198, 18, 0, 0], 15),
            (RARE_V6, [0x20, 1, 0xD, 0xB8] + [0] * 12, 8),
        ):
            rows = np.flatnonzero(tokens == token)
            known = np.flatnonzero(network_is_v4 == (token == RARE_V4))
            if known.size:
                weight = self.network_counts[known] / self.network_counts[known].sum()
                result[rows] = self.networks[rng.choice(known, rows.size, p=weight)]
            else:
                result[rows] = np.array(fallback, dtype=np.uint8)
            host = rng.integers(0, 256, (rows.size, 16 - first), dtype=np.uint8)
            if token == RARE_V4:
                host = np.clip(host, 1, 254)  # neither the network nor its broadcast address
            result[rows, first:] = host
        return result


def fit_host_codec(
    addresses: NDArray[np.uint8], flow_count: IntArray, *, limit: int, all_below: int
) -> HostCodec:
    """Choose the hosts that get a token.

    Args:
        addresses: uint8 [A, 16], distinct.
        flow_count: int64 [A], flows each takes part in.
        limit: Most hosts to keep.
        all_below: Captures with fewer hosts than this keep all; others those of two flows or more.
    """
    wanted = flow_count >= (1 if int((flow_count > 0).sum()) < all_below else 2)
    order = np.argsort(-flow_count, kind="stable")
    order = order[wanted[order]][:limit]
    rare = np.ones(addresses.shape[0], dtype=np.bool_)
    rare[order] = False
    networks = addresses[rare & (flow_count > 0)].copy()
    v4 = is_v4(networks)
    networks[v4, 15] = 0
    networks[~v4, 8:] = 0
    distinct, counts = np.unique(networks, axis=0, return_counts=True)
    return HostCodec(
        addresses=np.ascontiguousarray(addresses[order]),
        networks=distinct.reshape(-1, 16),
        network_counts=counts.astype(np.int64),
    )


def is_v4(addresses: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Tell IPv4-mapped addresses [M, 16] from IPv6: bool [M]."""
    return np.asarray((addresses[:, :12] == V4_PREFIX).all(axis=1), dtype=np.bool_)


def to_bits(addresses: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write addresses [M, 16] bit by bit, most significant first: uint8 [M, 128]."""
    return np.unpackbits(addresses, axis=1)


def from_bits(bits: Array) -> NDArray[np.uint8]:
    """Inverse of `to_bits`: uint8 [M, 16]."""
    return np.packbits(np.asarray(bits, dtype=np.uint8), axis=1)


def as_keys(addresses: NDArray[np.uint8]) -> Array:
    """One opaque, comparable key an address."""
    rows = np.ascontiguousarray(addresses)
    return rows.view(np.dtype((np.void, 16))).ravel()
