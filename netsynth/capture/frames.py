"""What a frame's builder needs beside the packets: the filler pool and the settings' places.

References:
    RFC 1071 (checksum), RFC 3309 (CRC32c).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Places in `settings`, int64.
OUT_SIZE, RESOLUTION, CUT, PCAPNG_OUT, FILL_MASK, MAC_KEY, ROWS = range(7)
SETTINGS_SIZE = 7

POOL_SIZE = 65_536  # P; the filler of a stream repeats after as many bytes
SPARE = 64  # bytes that may be read behind a pool's end
MAX_FRAME = 28 + 18 + 48 + 65_535 + 8 + 128  # bytes of the longest record, and some
FRAGMENT_UNITS = 185  # offset of fragments but the first: 1480 bytes, an Ethernet frame's share
CARD_BYTE = 0x02  # first byte of MAC addresses: unicast, locally administered (IEEE 802)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """Filler bytes and the sums that make their checksums cheap.

    Attributes:
        data: uint8 [2P + SPARE], the second half equal to the first.
        sums: uint32 [2P / 8 + 1], sum of the bytes before each eighth, taken as 16-bit
            little-endian words, modulo 65535.
    """

    data: NDArray[np.uint8]
    sums: NDArray[np.uint32]


def make_pool(seed: int, *, zero: bool) -> Pool:
    """Make the filler of a seed, or one of zeros."""
    data = np.zeros(2 * POOL_SIZE + SPARE, dtype=np.uint8)
    if not zero:
        once = np.frombuffer(np.random.Generator(np.random.PCG64(seed)).bytes(POOL_SIZE), np.uint8)
        data[: 2 * POOL_SIZE] = np.tile(once, 2)
    words = data[: 2 * POOL_SIZE].view("<u2").astype(np.int64)  # [P]
    totals = np.concatenate(([0], np.cumsum(words)))[::4] % 65535  # [2P / 8 + 1]
    return Pool(data=data, sums=totals.astype(np.uint32))


def make_crc_table() -> NDArray[np.uint32]:
    """Tabulate CRC32c (polynomial 0x1EDC6F41, bits reversed) for single bytes, uint32 [256]."""
    table: NDArray[np.uint32] = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        odd = (table & np.uint32(1)).astype(bool)
        table = (table >> np.uint32(1)) ^ np.where(odd, np.uint32(0x82F63B78), np.uint32(0))
    return table
