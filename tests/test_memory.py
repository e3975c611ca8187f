"""Columns larger than the memory that is allowed lie in files, and hold the same."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from netsynth import memory
from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.errors import CaptureError
from netsynth.numbers import Array
from netsynth.tables import PACKET_COLUMNS

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"


def lies_in_a_file(column: Array) -> bool:
    """Whether a mapped file is behind a column."""
    address = column.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        bounds, _, _, _, inode = line.split()[:5]
        begin, stop = (int(bound, 16) for bound in bounds.split("-"))
        if begin <= address < stop:
            return inode != "0"
    raise AssertionError(f"nothing is mapped at {address:x}")


@pytest.fixture
def many_packets(tmp_path: Path) -> Path:
    """The shipped capture twelve times over, later copies before earlier ones."""
    data = OFFICE.read_bytes()
    path = tmp_path / "many.pcap"
    path.write_bytes(data[:24] + data[24:] * 12)
    return path


def test_a_capture_that_is_large_for_its_memory(
    many_packets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory, _ = read_capture(many_packets)
    flows = assemble_flows(in_memory)
    assert not lies_in_a_file(flows.packets.seq)
    monkeypatch.setattr(memory, "memory_limit", lambda: 8 * len(in_memory))
    on_disk, _ = read_capture(many_packets)
    others = assemble_flows(on_disk)
    for name in PACKET_COLUMNS:
        assert lies_in_a_file(getattr(on_disk, name)), name
        assert lies_in_a_file(getattr(others.packets, name)), name
        assert np.array_equal(getattr(on_disk, name), getattr(in_memory, name)), name
        assert np.array_equal(getattr(others.packets, name), getattr(flows.packets, name)), name
    assert np.array_equal(others.reverse, flows.reverse)
    assert np.array_equal(others.segment, flows.segment)


def test_the_least_limit_counts() -> None:
    code = "from netsynth.memory import memory_limit; print(memory_limit())"

    def limit(environment: dict[str, str], data_bytes: int | None) -> int:
        def restrict() -> None:
            if data_bytes is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))

        result = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **environment},
            preexec_fn=restrict,
            capture_output=True,
            text=True,
            check=True,
        )
        return int(result.stdout)

    whole = limit({}, None)
    assert 0 < whole <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert limit({"NETSYNTH_MEMORY": "1000000"}, None) == 1_000_000
    assert limit({"NETSYNTH_MEMORY": "nonsense"}, 1 << 29) == 1 << 29


def test_a_full_disk_is_said_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with pytest.raises(CaptureError, match=r"cannot hold 1152921504\.6 GB of columns .* TMPDIR"):
        memory.new_array(1 << 60, np.uint8, in_file=True)
    assert not any(tmp_path.iterdir())
    monkeypatch.setenv("TMPDIR", str(tmp_path / "nowhere"))
    with pytest.raises(CaptureError, match="No such file"):
        memory.new_array(10, np.uint8, in_file=True)
