"""Time and memory of `netsynth report` on two large captures, whole process, and by family.

    netsynth sample -n 1e6 -m trace.netsynth --seed 1 --snaplen 128 one.pcap
    netsynth sample -n 1e6 -m trace.netsynth --seed 2 --snaplen 128 two.pcap
    python benchmarks/report.py one.pcap two.pcap             # --quick, then all families
    python benchmarks/report.py one.pcap two.pcap --families  # CPU seconds of each family

Wall time counts on an idle machine only, so the load average stands beside; CPU time is that of the
process and of the analysers that it starts. Memory is the largest resident set of the process.
"""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from netsynth.progress import Silence
from netsynth.reading import read_traffic
from netsynth.report import FAMILIES, compare, refer_to
from netsynth.report.compare import SLOW

LIMITS = {"quick": 30, "full": 180}  # seconds, on two idle cores
POLL_S = 0.05
# The command of this environment, else the first on the path.
NETSYNTH = shutil.which("netsynth", path=str(Path(sys.executable).parent)) or "netsynth"


def run(real: str, synthetic: str, *, quick: bool) -> None:
    """Run the command once and print what it took."""
    with tempfile.TemporaryDirectory() as folder:
        command = [NETSYNTH, "report", real, synthetic, "-q", "-o", folder]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.perf_counter()
        process = subprocess.Popen(
            [*command, *(["--quick"] if quick else [])], stdout=subprocess.DEVNULL
        )
        largest = 0
        while process.poll() is None:
            largest = max(largest, _resident_kib(process.pid))
            time.sleep(POLL_S)
        wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    name = "quick" if quick else "full"
    print(
        f"{name}: {wall:.1f} s wall (limit {LIMITS[name]}), {cpu:.1f} CPU s,"
        f" {largest / 1024:,.0f} MiB, load {os.getloadavg()[0]:.1f}, status {process.returncode}"
    )


def _resident_kib(pid: int) -> int:
    """Largest resident set of a process so far, KiB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    found = [int(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return found[0] if found else 0


def families(real: str, synthetic: str) -> None:
    """Print the CPU seconds of each family, of a full and a quick report."""
    (ours, about), (theirs, other) = (
        read_traffic(path, None, salvage=False, progress=Silence()) for path in (real, synthetic)
    )
    reference = refer_to(ours, seed=0, facts=about)
    for family in FAMILIES:
        used = []
        for quick in (True, False):
            if quick and family in SLOW:
                used.append(0.0)
                continue
            start = time.process_time()
            compare(reference, theirs, families=[family], quick=quick, synthetic_facts=other)
            used.append(time.process_time() - start)
        print(f"{family:<12} quick {used[0]:6.1f}   full {used[1]:6.1f} CPU s")


def main() -> int:
    """Run what the command line asks for."""
    match sys.argv[1:]:
        case [real, synthetic, "--families"]:
            families(real, synthetic)
        case [real, synthetic]:
            for quick in (True, False):
                run(real, synthetic, quick=quick)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
