"""The buffer hands out a stream's bytes, all and in order, wherever its pieces end."""

import gzip
import threading
from pathlib import Path

import numpy as np
import pytest
import zstandard
from capture_files import START_S, pcap, save
from numpy.typing import NDArray

from netsynth.capture import iter_capture, read_ahead
from netsynth.capture.buffer import PADDING, RecordBuffer
from netsynth.capture.records import END, POS, STATE_SIZE
from netsynth.capture.sources import ByteStream
from netsynth.errors import CaptureError


def text(count: int) -> bytes:
    """Return bytes that compress, but not by much."""
    return np.random.default_rng(5).integers(0, 64, count, dtype=np.uint8).tobytes()


def buffer_of(path: Path, size: int) -> tuple[RecordBuffer, NDArray[np.int64], ByteStream]:
    state = np.zeros(STATE_SIZE, dtype=np.int64)

    def fail(error: CaptureError, place: int) -> None:
        raise CaptureError(f"{error} at {place}")

    stream = ByteStream(path)
    return RecordBuffer(stream, state, size=size, on_failure=fail), state, stream


PACKERS = {"plain": bytes, "gzip": gzip.compress, "zstd": zstandard.compress}


@pytest.mark.parametrize("kind", PACKERS)
@pytest.mark.parametrize("size", [104, 4096, 70_000])
def test_all_bytes_come_once(tmp_path: Path, kind: str, size: int) -> None:
    data = text(300_000)
    buffer, state, stream = buffer_of(save(tmp_path / "a", PACKERS[kind](data)), size)
    random = np.random.default_rng(size)
    found = bytearray()
    while True:
        wanted = int(random.integers(1, size // 2))
        has = buffer.require(wanted)
        assert buffer.offset == len(found)
        assert buffer.data.size >= state[END] + PADDING
        assert np.shares_memory(buffer.data, buffer.words)
        taken = buffer.peek(wanted)
        assert len(taken) == (wanted if has else buffer.left)
        state[POS] += len(taken)
        found += taken
        if not has:
            break
    assert found == data
    assert not buffer.refill()
    buffer.report_failure()
    assert buffer.close()
    stream.close()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_what_comes_before_a_cut_is_held_first(tmp_path: Path, kind: str) -> None:
    data = text(300_000)
    packed = PACKERS[kind](data)
    buffer, _, stream = buffer_of(save(tmp_path / "a", packed[: len(packed) // 2]), 4096)
    count = 0
    while buffer.refill():
        rest = buffer.rest().tobytes()
        assert rest == data[count : count + len(rest)]
        count += len(rest)
        buffer.skip(len(rest))
    assert 50_000 < count < 200_000
    with pytest.raises(CaptureError, match=rf"compressed data .* at {count}$"):
        buffer.report_failure()
    assert buffer.close()
    stream.close()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_capture_that_is_not_read_to_its_end_leaves_no_thread(
    tmp_path: Path, pack: object
) -> None:
    frame = bytes.fromhex("02" * 12 + "0800" + "4500002e000000004011") + bytes(36)
    count = 300_000
    path = save(tmp_path / "a", pack(pcap([frame] * count, times_s=[START_S] * count)))  # type: ignore[operator]
    before = threading.active_count()
    chunks = iter_capture(path)
    next(chunks)
    assert threading.active_count() == before + 1
    del chunks
    assert threading.active_count() == before


def test_memory_that_cannot_be_had_is_an_error_and_no_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(size: int) -> None:
        raise OSError(12, "Cannot allocate memory")

    monkeypatch.setattr(read_ahead, "_private_memory", none_left)
    path = save(tmp_path / "a.pcap.gz", gzip.compress(text(5000)))
    buffer, _, stream = buffer_of(path, 4096)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        buffer.require(100)
    buffer.close()
    stream.close()
