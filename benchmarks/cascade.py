"""What each part of the cascade gives, and what each saving saves.

python benchmarks/cascade.py ablation capture.pcap [--steps 300] [--only NAME ...]
python benchmarks/cascade.py cost capture.pcap [--iterations 5]

`ablation` fits the default and one variant a switch, samples each, and prints the mean scaled
distances over the capture's own floor, and the share of packets that the largest flows carry. All
take the same steps in place of the same time, so that a busy machine changes nothing but the CPU
time, which is printed too. `cost` prints CPU time of a training iteration by pair, per flow or
record seen, from the published setting to the default one, each row with one more saving than the
row before. Both run on one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsynth import pipeline
from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.encode import EncodeConfig, fit_codec
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.fitting import Fitting
from netsynth.generate.cascade.generator import CascadeGenerator
from netsynth.generate.cascade.pairs import PAIRS
from netsynth.generate.cascade.training import Phase
from netsynth.model import layout_of
from netsynth.report import compare
from netsynth.tables import PacketTable

ABLATIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "no zero inflation": {"zero_inflation": False},
    "no conditions": {"conditions": False},
    "G2 GRU": {"series_backbone": "gru"},
    "G2 MLP": {"series_backbone": "mlp"},
    "G3 LSTM": {"record_backbone": "lstm"},
    "T 20": {"series_steps": 20},
    "T 200": {"series_steps": 200},
    "no likelihood of kinds": {"kind_likelihood": 0.0},
    "no joint phase": {"joint_share": 0.0},
}
STRATEGIES = ("ml", "sp", "eq")
FAMILIES = ("temporal", "statistical", "bursts")
PUBLISHED = CascadeConfig(
    width=512, series_width=512, critic_layers=5, generator_layers=3, noise=100, series_steps=200,
    series_chunk=1, batch=128, critic_steps=5, penalty_every=1, kind_likelihood=0.0,
)  # fmt: skip
DEFAULT = CascadeConfig()
SAVINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as published, critic steps with the generator's graph", {}),
    ("generator detached in critic steps", {}),
    ("series in chunks of 8 steps", {"series_chunk": DEFAULT.series_chunk}),
    ("recurrent width of the default", {"series_width": DEFAULT.series_width}),
    ("T of the capture", {"series_steps": 0}),
    ("batch of the default", {"batch": DEFAULT.batch}),
    ("width of the default", {"width": DEFAULT.width, "noise": DEFAULT.noise}),
    ("critics of the default depth", {"critic_layers": DEFAULT.critic_layers}),
    ("penalty in every other critic step", {"penalty_every": DEFAULT.penalty_every}),
    ("critic steps of the default", {"critic_steps": DEFAULT.critic_steps}),
)


def main() -> None:
    """Choose between the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", choices=["ablation", "cost"])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--steps", type=int, default=300, help="of each pair's generator, at most")
    parser.add_argument("--only", nargs="*", help="variants to fit; default: all")
    parser.add_argument("--iterations", type=int, default=5, help="to measure")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    if choice.table == "cost":
        print_costs(choice.capture, iterations=choice.iterations)
    else:
        print_ablation(choice.capture, steps=choice.steps, only=choice.only)


def print_ablation(capture: Path, *, steps: int, only: list[str] | None) -> None:
    """Fit, sample and compare every variant."""
    real, _ = read_capture(capture)
    bound = {"most_steps": steps}
    print(f"{'variant':24} {'CPU s':>6} " + " ".join(f"{n:>18}" for n in (*FAMILIES, "top 1 %")))
    print(f"{'real':31} " + " ".join(f"{c:>18}" for c in ("", "", "", f"{top_share(real):.3f}")))
    with tempfile.TemporaryDirectory() as folder:
        for name, changes in ABLATIONS.items():
            if only and name not in only:
                continue
            begun = time.process_time()
            model = pipeline.fit(
                capture,
                generator="cascade",
                settings={f"cascade.{k}": v for k, v in (bound | changes).items()},
            )
            spent = time.process_time() - begun
            for strategy in STRATEGIES if name == "default" else STRATEGIES[:1]:
                made = Path(folder) / "made.pcap"
                model.sample(made, seed=1, timestamps=strategy)
                table, _ = read_capture(made)
                report = compare(real, table, quick=True, families=FAMILIES)
                cells = [
                    f"{report.mean_scaled(f) or 0:7.3f} ({report.mean_ratio(f) or 0:6.2f}x)"
                    for f in FAMILIES
                ]
                cells.append(f"{top_share(table):.3f}")
                label = name if strategy == "ml" else f"{name}, {strategy.upper()}"
                print(f"{label:24} {spent:6.0f} " + " ".join(f"{c:>18}" for c in cells), flush=True)


def top_share(packets: PacketTable) -> float:
    """Share of the packets that the 1 % of flows of most packets carry.

    Of 150 flows these are the largest and half of the second, and never less than one.
    """
    counts = np.sort(np.diff(assemble_flows(packets).offsets))[::-1]
    part = np.clip(max(0.01 * counts.size, 1.0) - np.arange(counts.size), 0.0, 1.0)
    return float((part * counts).sum() / counts.sum())


def print_costs(capture: Path, *, iterations: int) -> None:
    """Measure an iteration of each pair, saving after saving."""
    packets, _ = read_capture(capture)
    flows = assemble_flows(packets)
    codec = fit_codec([flows], config=EncodeConfig(), seed=0, static=True)
    traces = codec.encode(flows, static=True)
    config = PUBLISHED
    phases = [*((name,) for name in PAIRS), PAIRS]
    labels = [*PAIRS, "joint"]
    print("CPU ms an iteration and flow or record of the batch")
    print(f"{'':56} " + " ".join(f"{label:>9}" for label in labels))
    for index, (label, changes) in enumerate(SAVINGS):
        config = dataclasses.replace(config, **changes)
        generator = CascadeGenerator(layout=layout_of(codec), config=config)
        generator.fit(traces, seed=0, stop=lambda: True)
        assert generator.learned is not None
        batches = Fitting(
            generator.learned, traces, config, seed=0, device=torch.device("cpu")
        ).batches
        cells = []
        for names in phases:
            phase = Phase(batches, names, alone=len(names) == 1, config=config, detached=index > 0)
            cells.append(
                f"{1e3 * iteration_s(phase, config, steps=iterations) / config.batch:9.3f}"
            )
        print(f"{label:56} " + " ".join(cells), flush=True)


def iteration_s(phase: Phase, config: CascadeConfig, *, steps: int) -> float:
    """CPU seconds of an iteration: the critic's steps and one of the generator."""
    for warm in (True, False):
        begun = time.process_time()
        for _ in range(1 if warm else steps):
            for _ in range(config.critic_steps):
                phase.step_critics()
            phase.step_generators()
    return (time.process_time() - begun) / steps


if __name__ == "__main__":
    main()
