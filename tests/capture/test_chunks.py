"""Reading in chunks gives what reading at once does, in bounded memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from capture_checks import check_equal
from capture_files import START_S, pcap, save
from capture_oracles import OFFICE

from netsynth.capture import CaptureWriter, iter_capture, read_capture
from netsynth.capture.read import CHUNK_ROWS, HELD_ROWS
from netsynth.errors import CaptureError
from netsynth.tables import PACKET_COLUMNS, PacketTable

COUNT = 3 * CHUNK_ROWS + 12_345


def joined(chunks: list[PacketTable]) -> PacketTable:
    columns = {n: np.concatenate([getattr(c, n) for c in chunks]) for n in PACKET_COLUMNS}
    return PacketTable(addresses=chunks[-1].addresses, **columns)


@pytest.fixture(scope="module")
def long_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """400 thousand packets: those of the office, over and over."""
    packets, _ = read_capture(OFFICE)
    many = packets.take(np.arange(COUNT) % len(packets))
    many.time_ns[:] = START_S * 10**9 + np.arange(COUNT) * 1000
    many.ip_id[:] = np.arange(COUNT) % 65536
    path = tmp_path_factory.mktemp("chunks") / "long.pcap"
    with CaptureWriter(path, snaplen=94) as writer:
        writer.write(many)
    return path


def test_chunks_make_up_the_whole(long_capture: Path) -> None:
    chunks = iter_capture(long_capture)
    tables = list(chunks)
    assert [len(table) for table in tables[:-1]] == [CHUNK_ROWS] * (len(tables) - 1)
    check_equal((joined(tables), chunks.info()), read_capture(long_capture))
    for table in tables:  # rows of addresses keep their numbers
        assert np.array_equal(table.addresses, tables[-1].addresses[: len(table.addresses)])


def shuffled(tmp_path: Path, late_by: int) -> Path:
    """One packet of a long capture comes `late_by` packets late."""
    frame = bytes(60)
    times = list(range(2 * CHUNK_ROWS + HELD_ROWS))
    times.insert(late_by + 10, times.pop(10))
    frame = bytes.fromhex("02" * 12 + "0800" + "4500002e000000004011") + bytes(36)
    data = pcap([frame] * len(times), times_s=[START_S + t // 1000 for t in times])
    table = bytearray(data)
    words = np.frombuffer(table, dtype=np.uint8)[24:].reshape(len(times), 16 + len(frame))
    words[:, 4:8] = (np.array(times) % 1000 * 10**6).astype("<u4").view(np.uint8).reshape(-1, 4)
    return save(tmp_path / "shuffled.pcap", bytes(table))


def test_a_packet_late_within_bounds_is_sorted_in(tmp_path: Path) -> None:
    path = shuffled(tmp_path, HELD_ROWS - 20)
    chunks = iter_capture(path)
    table = joined(list(chunks))
    assert (np.diff(table.time_ns) > 0).all()
    assert chunks.info().out_of_order_count == 1


def test_a_packet_later_than_that_is_an_error_or_skipped(tmp_path: Path) -> None:
    path = shuffled(tmp_path, 2 * CHUNK_ROWS)
    with pytest.raises(CaptureError, match=r"1 packets are up to .* s late.*reordercap"):
        list(iter_capture(path))
    chunks = iter_capture(path, salvage=True)
    table = joined(list(chunks))
    assert (np.diff(table.time_ns) > 0).all()
    assert len(table) == chunks.info().packet_count - 1
    assert "1 packets" in chunks.info().skipped_reasons[0]
    assert (np.diff(read_capture(path)[0].time_ns) > 0).all()


MEASURE = """
import resource, sys
from netsynth.capture import iter_capture
next(iter_capture(sys.argv[1]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(4):
    count = sum(len(chunk) for chunk in iter_capture(sys.argv[1]))
print(count, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


def test_memory_does_not_grow_with_the_capture(long_capture: Path) -> None:
    command = [sys.executable, "-c", MEASURE, str(long_capture)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    count, grown_mib = map(int, result.stdout.split())
    assert count == COUNT
    assert grown_mib < 40
