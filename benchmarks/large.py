"""Memory and time of captures that are larger than the memory: make one, and run a command on it.

    python benchmarks/large.py make 2e7 large.pcap          # the shipped capture again and again
    python benchmarks/large.py run netsynth inspect large.pcap
    (ulimit -d 4000000; python benchmarks/large.py run netsynth fit large.pcap --minutes 1)

`make` cuts frames at 78 bytes; each copy follows the one before it, from other client ports, so
that flows are as many as in that much traffic. `run` prints CPU time, the largest resident memory
(pages of files that the system can drop among it) and the largest memory of the process's own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from netsynth.capture import CaptureWriter, read_capture

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"
EPHEMERAL, RANGE = 32_768, 28_000
POLL_S = 0.02


def make(count: int, path: str) -> None:
    """Write `count` packets."""
    packets, _ = read_capture(OFFICE)
    span_ns = int(packets.time_ns[-1] - packets.time_ns[0]) + 1_000_000
    done = copies = 0
    with CaptureWriter(path, snaplen=78) as writer:
        while done < count:
            some = packets.take(np.arange(min(len(packets), count - done)))
            some.time_ns[:] += span_ns * copies
            for ports in (some.src_port, some.dst_port):
                client = ports >= EPHEMERAL
                shifted = ports[client].astype(np.int64) - EPHEMERAL + 509 * copies
                ports[client] = EPHEMERAL + shifted % RANGE
            writer.write(some, fill="zero")
            done += len(some)
            copies += 1


def run(command: list[str]) -> int:
    """Run a command to its end and print what it needed; return its exit status."""
    process = subprocess.Popen(command)
    largest = {"VmHWM": 0, "RssAnon": 0}
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        for name, _, value in (line.partition(":") for line in lines):
            if name in largest:
                largest[name] = max(largest[name], int(value.split()[0]))
        time.sleep(POLL_S)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"CPU {used.ru_utime + used.ru_stime:.1f} s, resident {largest['VmHWM'] / 1024:,.0f} MiB,"
        f" of its own {largest['RssAnon'] / 1024:,.0f} MiB",
        file=sys.stderr,
    )
    return process.wait()


def main() -> int:
    """Run what the command line asks for."""
    match sys.argv[1:]:
        case ["make", count, path]:
            make(int(float(count)), path)
            return 0
        case ["run", *command] if command:
            return run(command)
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
