"""How close is SYNTHETIC to REAL? Prints the fidelity table of two captures.

python benchmarks/fidelity.py real.pcap synthetic.pcap [--quick] [--json]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from netsynth.capture import read_capture
from netsynth.report import compare

QUICK = ("temporal", "statistical", "bursts", "ACF", "C2ST", "privacy", "validity")


def main() -> None:
    """Read both captures, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("--quick", action="store_true", help="distances, C2ST and copies alone")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seed", type=int, default=0)
    choice = parser.parse_args()
    begun = time.perf_counter()
    tables = [read_capture(path)[0] for path in (choice.real, choice.synthetic)]
    read = time.perf_counter()
    report = compare(*tables, families=QUICK if choice.quick else None, seed=choice.seed)
    if choice.json:
        print(report.to_json())
        return
    print(report.summary())
    print(f"read in {read - begun:.1f} s, compared in {time.perf_counter() - read:.1f} s")


if __name__ == "__main__":
    main()
