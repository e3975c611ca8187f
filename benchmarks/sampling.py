"""How long sampling takes, in how much memory, and where the time goes.

    python benchmarks/sampling.py office.netsynth                     # 1e5 and 1e6 packets
    python benchmarks/sampling.py trace.pcap --sizes 100 1e5 1e6 1e7  # fits the trace first

Each size is a process of its own, `netsynth sample`, measured from its start to its end: seconds,
CPU seconds of all threads, and the largest resident memory. The share of each stage is that of the
CPU time of one thread, in this process. The first run after an installation also compiles the
loops, so one small sample goes before.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

STAGES_PACKETS = 200_000


def measure(model: Path, packets: int, folder: Path, threads: int | None) -> tuple[float, ...]:
    """Sample in a process: seconds, CPU seconds, peak resident MB, and MB written."""
    output = folder / "sample.pcap"
    command = [sys.executable, "-c", "from netsynth_cli.main import main; main()", "sample",
               str(output), "-n", str(packets), "--model", str(model), "--quiet"]  # fmt: skip
    environment = dict(os.environ)
    if threads is not None:
        environment["OMP_NUM_THREADS"] = str(threads)
    began = time.monotonic()
    process = subprocess.Popen(command, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"netsynth sample ended with {process.returncode}")
    size = output.stat().st_size / 1e6
    output.unlink()
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, size


def timed(spent: dict[str, float], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return `function`, its CPU time added to spent[name]."""

    def call(*args: Any, **settings: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **settings)
        finally:
            spent[name] += time.thread_time() - began

    return call


def stages(model_path: Path, folder: Path) -> dict[str, float]:
    """CPU seconds of each stage of a sample, on one thread."""
    import torch

    import netsynth.capture
    import netsynth.demux
    import netsynth.encode
    from netsynth import Model
    from netsynth.generate.transformer import cpu_sampling, generator

    torch.set_num_threads(1)
    spent: dict[str, float] = defaultdict(float)
    places = {
        "pack the networks": (cpu_sampling.CpuSampler, "__init__"),
        "flows": (cpu_sampling.CpuSampler, "draw_flows"),
        "totals": (generator, "draw_totals"),
        "series": (cpu_sampling.CpuSampler, "draw_series"),
        "records": (cpu_sampling.CpuSampler, "draw_records"),
        "decode": (netsynth.encode, "decode"),
        "compile": (netsynth.demux, "compile_flows"),
        "write": (netsynth.capture.CaptureWriter, "write"),
    }
    began = time.process_time()
    model = Model.load(model_path)
    spent["load"] = time.process_time() - began
    for name, (owner, function) in places.items():
        setattr(owner, function, timed(spent, name, getattr(owner, function)))
    began = time.process_time()
    model.sample(folder / "stages.pcap", packets=STAGES_PACKETS)
    everything = time.process_time() - began + spent["load"]
    spent["everything else"] = everything - sum(spent.values())
    return dict(spent)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="a model, or a capture to fit first")
    parser.add_argument("--sizes", nargs="+", default=["1e5", "1e6"], metavar="N")
    parser.add_argument("--minutes", type=float, default=5, help="bound of the fit")
    parser.add_argument("--threads", type=int, help="threads, default: one a core")
    parser.add_argument("--folder", type=Path, help="where samples go, default: a temporary one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder, model = Path(name), options.source
        if model.suffix != ".netsynth":
            import netsynth

            model = folder / "fitted.netsynth"
            netsynth.fit(options.source, output=model, minutes=options.minutes)
        measure(model, 100, folder, options.threads)
        print("| packets | seconds | CPU seconds | packets/s | peak MB | MB written |")
        print("|---|---|---|---|---|---|")
        for text in options.sizes:
            packets = int(float(text))
            seconds, cpu, memory, size = measure(model, packets, folder, options.threads)
            print(
                f"| {packets:,} | {seconds:.1f} | {cpu:.1f} | {packets / seconds:,.0f} "
                f"| {memory:,.0f} | {size:,.0f} |",
                flush=True,
            )
        spent = stages(model, folder)
    print(f"\n| stage of {STAGES_PACKETS:,} packets | CPU seconds | share |\n|---|---|---|")
    for stage, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"| {stage} | {seconds:.2f} | {seconds / sum(spent.values()):.0%} |")


if __name__ == "__main__":
    main()
