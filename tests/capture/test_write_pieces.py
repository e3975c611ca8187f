"""Files are written in whole pieces, streams as packets come."""

import struct
import subprocess
import sys
from pathlib import Path

import dpkt
import numpy as np
import pytest
from capture_oracles import OFFICE
from test_write import random_packets

from netsynth.capture import CaptureWriter, read_capture


@pytest.mark.parametrize("suffix", ["pcap", "pcapng"])
def test_files_of_several_mebibytes(tmp_path: Path, suffix: str) -> None:
    """Pieces of a mebibyte are written: nothing is lost or repeated where one ends."""
    table = random_packets(7, 700)
    table.payload_length[::7] = 60_000
    odd = bytes(range(60)) * 25
    for engine in ("numba", "numpy"):
        with CaptureWriter(tmp_path / f"{engine}.{suffix}", engine=engine) as writer:  # type: ignore[arg-type]
            for begin in range(0, 700, 50):
                writer.write(table.take(np.arange(begin, begin + 50)))
                writer.write_frame(odd, time_ns=int(table.time_ns[begin + 49]))
    first, second = (
        (tmp_path / f"{engine}.{suffix}").read_bytes() for engine in ("numba", "numpy")
    )
    assert len(first) > 6 << 20
    assert first == second
    with (tmp_path / f"numba.{suffix}").open("rb") as file:
        reader = dpkt.pcap.Reader(file) if suffix == "pcap" else dpkt.pcapng.Reader(file)
        frames_read = [bytes(data) for _, data in reader]
    assert frames_read[50::51] == [odd] * 14
    packets, _ = read_capture(tmp_path / f"numba.{suffix}")
    assert packets.seq[packets.protocol == 6].tolist() == table.seq[table.protocol == 6].tolist()
    assert not packets.checksums.any()


WAIT = """
import sys
import numpy as np
from netsynth.capture import CaptureWriter, read_capture
packets, _ = read_capture(sys.argv[1])
with CaptureWriter("-") as writer:
    writer.write(packets.take(np.arange(1)))
    sys.stdin.read()
"""


def test_a_pipe_gets_packets_as_they_are_written() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WAIT, str(OFFICE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        head = process.stdout.read(40)  # of the file and of its first record
        process.stdout.read(struct.unpack("<I", head[32:36])[0])  # would wait, were it held back
        process.stdin.close()
        assert process.stdout.read() == b""
