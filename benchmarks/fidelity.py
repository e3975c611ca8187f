"""How close is SYNTHETIC to REAL? Prints the fidelity table of two captures.

python benchmarks/fidelity.py real.pcap synthetic.pcap [--quick] [--json]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from netsynth.capture import read_capture
from netsynth.report import CaptureFacts, compare


def main() -> None:
    """Read both captures, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("real", type=Path)
    parser.add_argument("synthetic", type=Path)
    parser.add_argument("--quick", action="store_true", help="no intervals, throughput or anomaly")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--seed", type=int, default=0)
    choice = parser.parse_args()
    begun = time.perf_counter()
    tables, facts = [], []
    for path in (choice.real, choice.synthetic):
        table, info = read_capture(path)
        tables.append(table)
        facts.append(
            CaptureFacts(
                name=path.name,
                paths=(path,),
                macs=info.macs,
                out_of_order_count=info.out_of_order_count,
                frame_count=info.frame_count,
            )
        )
    read = time.perf_counter()
    report = compare(
        *tables,
        quick=choice.quick,
        seed=choice.seed,
        real_facts=facts[0],
        synthetic_facts=facts[1],
    )
    if choice.json:
        print(report.to_json())
        return
    print(report.summary())
    print(f"read in {read - begun:.1f} s, compared in {time.perf_counter() - read:.1f} s")


if __name__ == "__main__":
    main()
