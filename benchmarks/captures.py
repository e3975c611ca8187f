"""How good a fit with default settings is, for one capture after the other.

    python benchmarks/captures.py office.pcap iot-house.pcap -o results/
    python benchmarks/captures.py office.pcap --generator doppelganger -o results-doppelganger/

Each capture is fitted and sampled by the installed command, as many packets as it has, and compared
with the sample: `netsynth fit`, `sample` and the library's `compare`. Printed are the means of the
scaled distances over the floor (docs/METRICS.md: what halves of the real capture score), the
classifier's AUC, copies, validity, tshark's malformed packets, and the seconds each step took. The
machine and the versions are named, and everything goes to results/captures.json as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

TARGETS = {"temporal": 1.5, "statistical": 1.2, "bursts": 1.5}
AUC_TARGET = 0.65
COLUMNS = ("temporal", "statistical", "bursts", "C2ST", "copies", "real", "sequence", "real",
           "handshake", "real", "malformed", "fit s", "sample s")  # fmt: skip


def run(arguments: list[str]) -> float:
    """Run netsynth, and return the seconds it took."""
    command = shutil.which("netsynth", path=str(Path(sys.executable).parent)) or "netsynth"
    began = time.monotonic()
    subprocess.run([command, *arguments], check=True)
    return time.monotonic() - began


def malformed(capture: Path) -> int | None:
    """Packets that tshark calls malformed; None where it is not installed."""
    tshark = shutil.which("tshark")
    if tshark is None:
        return None
    command = [
        tshark,
        "-r",
        str(capture),
        "-Y",
        "_ws.malformed",
        "-T",
        "fields",
        "-e",
        "frame.number",
    ]
    found = subprocess.run(command, check=True, capture_output=True, text=True)
    return len(found.stdout.split())


def measure(
    trace: Path,
    folder: Path,
    *,
    generator: str,
    seed: int,
    minutes: float | None,
    fitted_s: float | None,
) -> dict[str, Any]:
    """Fit, sample and compare `trace`; not fit where that took `fitted_s` before."""
    from netsynth.capture import read_capture
    from netsynth.report import compare

    model, output = folder / f"{trace.stem}.netsynth", folder / f"{trace.stem}.again.pcap"
    limit = [] if minutes is None else ["--minutes", str(minutes)]
    chosen = ["--generator", generator, "--seed", str(seed), *limit]
    if fitted_s is None:
        fitted_s = run(["fit", str(trace), "-o", str(model), *chosen])
    sample_s = run(["sample", str(output), "-m", str(model), "--seed", str(seed), "--quiet"])
    real, synthetic = read_capture(trace)[0], read_capture(output)[0]
    report = compare(
        real,
        synthetic,
        families=["temporal", "statistical", "bursts", "C2ST", "privacy", "validity"],
    )
    row: dict[str, Any] = {family: report.mean_ratio(family) for family in TARGETS}
    row["C2ST"] = report.figure("C2ST", "AUC").raw
    for name, family, figure in (
        ("copies", "privacy", "session copies"),
        ("sequence", "validity", "sequence"),
        ("handshake", "validity", "handshake"),
    ):
        found = report.figure(family, figure)
        row[name], row[f"real {name}"] = found.raw, found.real
    row |= {"malformed": malformed(output), "fit s": fitted_s, "sample s": sample_s}
    row |= {"packets": len(real), "report": report.to_dict()}
    return row


def line(name: str, row: dict[str, Any]) -> str:
    """A line of the table, in Markdown."""
    shown = [
        *(f"{row[family]:.2f}x" for family in TARGETS),
        f"{row['C2ST']:.2f}",
        *(
            "-" if row[key] is None else f"{row[key]:.3f}"
            for name in ("copies", "sequence", "handshake")
            for key in (name, f"real {name}")
        ),
        "-" if row["malformed"] is None else str(row["malformed"]),
        f"{row['fit s']:.0f}",
        f"{row['sample s']:.0f}",
    ]
    return f"| {name} ({row['packets']:,}) | " + " | ".join(shown) + " |"


def main() -> None:
    """Measure each capture and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, default=Path("results"))
    parser.add_argument("--generator", default="transformer", help="as of netsynth fit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=None, help="bound of each fit")
    parser.add_argument("--sample-again", action="store_true", help="from the models in --output")
    choice = parser.parse_args()
    choice.output.mkdir(parents=True, exist_ok=True)
    known = choice.output / "captures.json"
    before = json.loads(known.read_text()) if choice.sample_again else {}
    rows: dict[str, dict[str, Any]] = {}
    for trace in choice.captures:
        row = measure(
            trace,
            choice.output,
            generator=choice.generator,
            seed=choice.seed,
            minutes=choice.minutes,
            fitted_s=before.get(trace.stem, {}).get("fit s"),
        )
        rows[trace.stem] = row
        print(line(trace.stem, row), flush=True)
        known.write_text(json.dumps(rows, indent=1, default=str))
    print(f"\n{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}\n")
    print("| capture (packets) | " + " | ".join(COLUMNS) + " |")
    print("|---" * (len(COLUMNS) + 1) + "|")
    print("\n".join(line(name, row) for name, row in rows.items()))
    targets = ", ".join(f"{family} {most}x" for family, most in TARGETS.items())
    print(f"\nTargets: {targets}, C2ST {AUC_TARGET}, copies no more than real halves share.")


if __name__ == "__main__":
    main()
