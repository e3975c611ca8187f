"""A keyed map from the capture's addresses to fresh ones that keeps their structure.

Bit i of the image is bit i of the address, flipped or not as a keyed function of the i bits before
it decides (Crypto-PAn, Xu et al. 2002). So two addresses share exactly as long a prefix after the
map as before: a /24 stays a /24, a /64 a /64.

Where a flip would carry addresses into or out of a block with a meaning of its own (RFC 6890), it
is left out: 10.0.0.0/8 maps onto itself, and public space onto public space. Two addresses that
differ early in such a neighbourhood therefore keep more of their leading bits. Likewise the host
part of an IPv4 address keeps its run of leading zeros or ones, so that .0 and .255 stay .0 and
.255 (and .1, the usual gateway, stays .1).

References:
    Xu, Fan, Ammar, Moon, "Prefix-Preserving IP Address Anonymization", ICNP 2002, section 3.
    RFC 6890, section 2.2 (special-purpose addresses).
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.siphash import siphash
from netsynth.errors import TableError
from netsynth.numbers import IntArray

Bytes = NDArray[np.uint8]
Words = NDArray[np.uint64]

LOG = logging.getLogger(__name__)
RETRIES = 64  # keys tried per block until no learned address comes out
SAMPLE = 1024  # addresses a key is tried on before all
LARGEST_WORK = 1_500_000  # addresses mapped in search of a key, at most; some seconds
CHUNK = 1 << 16  # bits worked on at once
V4_BIT = 96  # an IPv4 address is the last 32 bits of ::ffff:0:0/96 (RFC 4291, section 2.5.5.2)


@dataclass(frozen=True, slots=True)
class Block:
    """A block that maps onto itself; inside, the first `kept` bits of an address stay.

    Attributes:
        network: What it holds, such as "10.0.0.0/8".
        kept: Leading bits that stay inside; None: as many as the block's prefix has.
    """

    network: str
    kept: int | None = None

    def bits(self) -> tuple[int, int, int]:
        """Return (address as a 128-bit number, prefix length, bits kept), counted from bit 0."""
        network = ipaddress.ip_network(self.network)
        length, value = network.prefixlen, int(network.network_address)
        kept = length if self.kept is None else self.kept
        if network.version == 4:
            value |= 0xFFFF << 32
            length, kept = length + V4_BIT, kept + V4_BIT
        return value, length, kept


# The first two are what is public; the rest are special in them or beside them.
BLOCKS = (
    Block("0.0.0.0/0"),
    Block("2000::/3"),
    Block("0.0.0.0/8", kept=32),  # "this network", and the unspecified address
    Block("10.0.0.0/8"),
    Block("100.64.0.0/10"),  # shared by carriers
    Block("127.0.0.0/8", kept=32),  # loopback
    Block("169.254.0.0/16"),  # link-local
    Block("172.16.0.0/12"),
    Block("192.0.0.0/24"),  # IETF protocol assignments
    Block("192.0.2.0/24"),  # documentation
    Block("192.168.0.0/16"),
    Block("198.18.0.0/15"),  # benchmarks
    Block("198.51.100.0/24"),  # documentation
    Block("203.0.113.0/24"),  # documentation
    Block("224.0.0.0/4", kept=32),  # multicast
    Block("240.0.0.0/4"),  # reserved
    Block("255.255.255.255/32"),  # limited broadcast
    Block("::/3", kept=128),  # unspecified, loopback and unassigned
    Block("64:ff9b::/96"),  # IPv4 behind NAT64
    Block("2001::/23"),  # IETF protocol assignments
    Block("2001:db8::/32"),  # documentation
    Block("2002::/16"),  # 6to4
    Block("3fff::/20"),  # documentation (RFC 9637)
    Block("4000::/2"),  # unassigned
    Block("8000::/1"),  # unassigned, but for those below
    Block("fc00::/7"),  # unique local
    Block("fe80::/10", kept=64),  # link-local: the interface identifier maps
    Block("ff00::/8", kept=128),  # multicast
)
BLOCK_BITS = tuple(block.bits() for block in BLOCKS)
# Row i keeps the first i bits of an address, uint64 [129, 2].
MASKS = np.array(
    [divmod(2**128 - 2 ** (128 - length), 2**64) for length in range(129)], dtype=np.uint64
)


class AddressMap:
    """A prefix-preserving map of IP addresses under a key.

    Args:
        key: Any whole number; the same key (and the same `avoid`) gives the same map.
        avoid: uint8 [A, 16], learned addresses, IPv4 as IPv4-mapped IPv6. None of them comes out
            of `map`, except those of blocks that stay as they are (multicast, loopback ...) and
            of blocks so full that it cannot be had, which `crowded` names.

    Attributes:
        crowded: Blocks in which some learned addresses map to learned addresses.

    Raises:
        TableError: If `avoid` is not uint8 [A, 16].
    """

    def __init__(self, key: int, avoid: Bytes) -> None:
        learned = np.unique(_as_words(avoid), axis=0)  # [A, 2], in order
        digest = hashlib.blake2b(str(key).encode(), digest_size=16, person=b"netsynth-address")
        self._key = np.frombuffer(digest.digest(), dtype="<u8").astype(np.uint64)  # [2]
        self._learned = learned
        self._tweaks = np.zeros(len(BLOCKS), dtype=np.uint64)
        block = _block_of(learned)  # [A]
        crowded = []
        for row in np.unique(block):
            inside = learned[block == row]
            if _kept_bits(inside).min() < 128 and self._choose_tweak(int(row), inside):
                crowded.append(BLOCKS[row].network)
        self.crowded: tuple[str, ...] = tuple(crowded)
        if crowded:
            LOG.warning("some learned addresses map to learned ones in %s", ", ".join(crowded))

    def map(self, addresses: Bytes) -> Bytes:
        """Map addresses.

        An address that was not learned, but whose image was, is mapped once more; only there (one
        address in block size / learned addresses) are prefixes not kept exactly.

        Args:
            addresses: uint8 [M, 16].

        Returns:
            uint8 [M, 16].

        Raises:
            TableError: If `addresses` is not uint8 [M, 16].
        """
        words = _as_words(addresses)  # [M, 2]
        if not len(words):
            return addresses.copy()
        unique, inverse = np.unique(words, axis=0, return_inverse=True)  # [U, 2], [M]
        images = self._permute(unique)
        foreign = ~_is_in(unique, self._learned)
        for _ in range(RETRIES):
            again = foreign & _is_in(images, self._learned) & (images != unique).any(axis=1)
            if not again.any():
                break
            images[again] = self._permute(images[again])
        return _as_bytes(images[inverse.reshape(-1)])

    def _choose_tweak(self, row: int, inside: Words) -> bool:
        """Find the tweak of block `row` whose images of `inside` clash least; True if any do."""
        movable = inside[_kept_bits(inside) < 128]
        sample = movable[:: max(1, len(movable) // SAMPLE)]
        fewest, best, work = 1.0, 0, 0
        for tweak in range(RETRIES):
            self._tweaks[row] = tweak
            for part in (sample, movable):
                clashes = float(_is_in(self._permute(part), self._learned).mean())
                work += len(part)
                if clashes > 0:
                    break
            else:
                return False
            if clashes < fewest:
                fewest, best = clashes, tweak
            if work > LARGEST_WORK:
                break
        self._tweaks[row] = best
        return True

    def _permute(self, words: Words) -> Words:
        """Flip each free bit as the keyed function of the bits before it says; [M, 2] -> same."""
        kept = _kept_bits(words)  # [M]
        tweaks = self._tweaks[_block_of(words)] << np.uint64(8)
        images = words.copy()
        first = int(kept.min(initial=128))
        width = max(1, CHUNK // max(1, len(words)))  # bits at a time
        for start in range(first, 128, width):
            bits = np.arange(start, min(start + width, 128))  # [W]
            rows, columns = np.nonzero((kept[:, None] <= bits) & _host_bit_is_free(words, bits))
            bit = bits[columns]
            prefix = words[rows] & MASKS[bit]  # [R, 2]
            # The last word of a 23-byte message: bit, tweak, and the length on top.
            last = bit.astype(np.uint64) | tweaks[rows] | np.uint64(23 << 56)
            flip = siphash(self._key, [prefix[:, 0], prefix[:, 1], last]) & np.uint64(1)
            mask = flip << (np.uint64(63) - bit.astype(np.uint64) % np.uint64(64))
            np.bitwise_xor.at(images, (rows, bit // 64), mask)
        return images


def _shared_bits(words: Words, value: int) -> IntArray:
    """Count the leading bits each address shares with `value`, int64 [M], 0..128."""
    high = words[:, 0] ^ np.uint64(value >> 64)
    low = words[:, 1] ^ np.uint64(value & (2**64 - 1))
    return np.where(high != 0, 64 - _bit_length(high), 128 - _bit_length(low))


def _bit_length(words: Words) -> IntArray:
    """Return the position of the highest bit set, counted from 1; 0 for 0."""
    length = np.zeros(words.size, dtype=np.int64)
    rest = words.copy()
    for step in (32, 16, 8, 4, 2, 1):
        large = rest >= np.uint64(1 << step)
        length[large] += step
        rest[large] >>= np.uint64(step)
    return np.asarray(length + (rest != 0), dtype=np.int64)


def _block_of(words: Words) -> IntArray:
    """Find the narrowest block that holds each address, a row of BLOCKS, int64 [M]."""
    block = np.zeros(len(words), dtype=np.int64)
    narrowest = np.full(len(words), -1, dtype=np.int64)
    for row, (value, length, _) in enumerate(BLOCK_BITS):
        better = (_shared_bits(words, value) >= length) & (length > narrowest)
        block[better], narrowest[better] = row, length
    return block


def _kept_bits(words: Words) -> IntArray:
    """Count the leading bits of each address that no key may flip, int64 [M].

    A node of the binary tree of addresses may swap its halves if no block starts below it. Below
    the root, the nodes on the way to an address that are also on the way to a block are those as
    deep as the prefix the two share.
    """
    kept = np.zeros(len(words), dtype=np.int64)
    own = _block_of(words)
    for row, (value, length, inside) in enumerate(BLOCK_BITS):
        shared = _shared_bits(words, value)
        kept = np.maximum(kept, np.where(shared < length, shared + 1, length))
        kept = np.where(own == row, np.maximum(kept, inside), kept)
    return kept


def _host_bit_is_free(words: Words, bits: IntArray) -> NDArray[np.bool_]:
    """Say which `bits` may flip though .0 and .255 of an IPv4 /24 must stay, bool [M, W]."""
    is_v4 = _shared_bits(words, 0xFFFF << 32) >= V4_BIT  # [M]
    length = np.maximum(bits - 120, 0)  # host bits ahead of each bit
    host = (words[:, 1] & np.uint64(0xFF)).astype(np.int64)
    before = host[:, None] >> (8 - length)  # [M, W]
    uniform = (before == 0) | (before == (1 << length) - 1)
    return np.asarray(~(is_v4[:, None] & uniform & (bits >= 120)), dtype=np.bool_)


def _is_in(words: Words, table: Words) -> NDArray[np.bool_]:
    """Say which addresses stand in `table`, bool [M]."""
    pairs = np.dtype([("high", np.uint64), ("low", np.uint64)])
    rows = np.ascontiguousarray(words).view(pairs).reshape(-1)
    return np.isin(rows, np.ascontiguousarray(table).view(pairs).reshape(-1))


def _as_words(addresses: Bytes) -> Words:
    """View addresses as (high, low) numbers, uint64 [M, 2]."""
    if addresses.ndim != 2 or addresses.shape[1] != 16 or addresses.dtype != np.uint8:
        raise TableError(
            f"addresses are {addresses.dtype} {addresses.shape}, but must be uint8 [M, 16]"
        )
    return np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)


def _as_bytes(words: Words) -> Bytes:
    return np.ascontiguousarray(words.astype(">u8")).view(np.uint8).reshape(-1, 16)
