"""Checksums over stretches of a buffer, beside sums of 16-bit words one by one (RFC 1071)."""

import numpy as np
import pytest

from netsynth.capture.sums import sum_stretches


def plain_sum(data: bytes, begin: int, stop: int) -> int:
    """Sum bytes as little-endian words that begin at even places of the buffer."""
    return sum(data[at] << (8 if at & 1 else 0) for at in range(begin, stop))


@pytest.mark.parametrize("gap", [0, 1, 40, 500])  # dense, and so far apart that gaps are left out
def test_stretches_beside_words_one_by_one(gap: int) -> None:
    random = np.random.default_rng(gap)
    size = random.integers(8, 90, 60)
    begin = np.cumsum(size + random.integers(0, gap + 1, 60) + 8) - size
    stop = begin + size
    data = np.frombuffer(random.bytes(int(stop[-1] + 16) // 8 * 8), dtype=np.uint8)
    data = np.where(np.arange(data.size) % 5 == 0, 255, data).astype(np.uint8)
    sums = sum_stretches(data, begin, stop)
    expected = [plain_sum(data.tobytes(), a, b) for a, b in zip(begin, stop, strict=True)]
    assert (sums % np.uint64(65535)).tolist() == [number % 65535 for number in expected]


def test_a_single_stretch_of_one_word() -> None:
    data = np.arange(24, dtype=np.uint8)
    (found,) = sum_stretches(data, np.array([8]), np.array([16]))
    assert found % np.uint64(65535) == 0x0908 + 0x0B0A + 0x0D0C + 0x0F0E
