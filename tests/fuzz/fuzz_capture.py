"""Read damaged captures by the million: no crash, no hang, no growth, both engines agree.

    python tests/fuzz/fuzz_capture.py --inputs 1000000

Set NUMBA_BOUNDSCHECK=1 and a NUMBA_CACHE_DIR of its own to have compiled code check every index.
The compiler needs more memory than reading does: where nothing is cached yet, run --inputs 0 first.
The input of a failure is kept and named; one that hangs ends the run by SIGPROF, and lies in the
folder named at the start.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "capture"))

from capture_checks import check_input
from capture_corpus import corpus, damage

LIMIT_S = 1.0  # CPU time of an input
HANG_S = 20.0
LIMIT_MIB = 300e6 / (1 << 20)
SHARED_MEMORY = "/dev/shm"  # no disk is written, where there is one


def main() -> int:
    """Run the inputs; 0 if none failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--thorough", type=int, default=20, help="compare engines on every n-th")
    arguments = parser.parse_args()
    files = corpus()
    random = np.random.default_rng(arguments.seed)
    where = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="fuzz", dir=where))
    path = folder / "input"
    print(f"inputs lie in {path}", file=sys.stderr)
    for data in files:  # compile before the clock runs
        path.write_bytes(data)
        check_input(path)
    packets, slowest_s, started_s = 0, 0.0, time.monotonic()
    base_mib = peak_memory_mib()
    for number in range(arguments.inputs):
        data = damage(files[int(random.integers(len(files)))], files, random)
        path.write_bytes(data)
        begun_s = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        try:
            thorough = number % arguments.thorough == 0
            packets += check_input(path, decapsulate=number % 3 == 0, thorough=thorough)
            taken_s = time.process_time() - begun_s
            slowest_s = max(slowest_s, taken_s)
            assert taken_s < LIMIT_S, f"took {taken_s:.1f} s"
        except Exception:
            kept = folder / f"failure-{arguments.seed}-{number}"
            kept.write_bytes(data)
            print(f"input {number} failed; kept as {kept}", file=sys.stderr)
            raise
        if number % 1000 == 999:
            report(number + 1, packets, slowest_s, started_s, base_mib)
    print(file=sys.stderr)
    path.unlink()
    folder.rmdir()
    return 0


def peak_memory_mib() -> float:
    """Most memory this program ever had; getrusage would count that of whoever started it."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = [line.split() for line in status.read_text().splitlines()]
        return next(int(words[1]) / 1024 for words in lines if words[0] == "VmHWM:")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def report(count: int, packets: int, slowest_s: float, started_s: float, base_mib: float) -> None:
    """Print where the run is, and stop it where it needs too much memory."""
    peak_mib = peak_memory_mib()
    print(
        f"\r{count} inputs, {packets} packets, {count / (time.monotonic() - started_s):.0f}/s, "
        f"slowest {slowest_s * 1e3:.0f} ms, peak {peak_mib:.0f} MiB (+{peak_mib - base_mib:.0f})",
        end="",
        file=sys.stderr,
    )
    assert peak_mib < LIMIT_MIB, "memory grew"


if __name__ == "__main__":
    sys.exit(main())
