"""What each part of the cascade gives, and what each saving saves.

python benchmarks/cascade.py ablation capture.pcap [--steps 300] [--fits 2] [--samples 3]
                                      [--only NAME ...]
python benchmarks/cascade.py cost capture.pcap [--iterations 5]

`ablation` fits the default and one variant a switch, samples each some times, and prints the mean
scaled distances over the capture's own floor, and the share of packets that the largest flows
carry: the mean over all fits and samples, and the least and largest of them, without which no row
can be told from the default. All take the same steps in place of the same time, so that a busy
machine changes nothing but the CPU time of a fit, which is printed too.

`cost` prints CPU time of a training iteration by pair, per flow or record seen, from the published
setting to the default one, each row with one more saving than the row before; rows take turns, and
the shortest of their iterations counts, since other work on a machine makes all the others longer.
Below it stands what a critic step and sample costs, which is an iteration's cost over its critic
steps. Both run on one thread.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
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
from netsynth.generate.cascade.training import Phase, Savings
from netsynth.model import Model, layout_of
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
    series_chunk=1, batch=128, critic_steps=5, penalty_every=1, penalty_rows=512,
    kind_likelihood=0.0,
)  # fmt: skip
DEFAULT = CascadeConfig()
SETTINGS = frozenset(field.name for field in dataclasses.fields(CascadeConfig))
SAVINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("as published, critic steps with the generator's graph", {}),
    ("generator detached in critic steps", {"detached": True}),
    ("series in chunks of 8 steps", {"series_chunk": DEFAULT.series_chunk}),
    ("recurrent width of the default", {"series_width": DEFAULT.series_width}),
    ("T of the capture", {"series_steps": 0}),
    ("batch of the default", {"batch": DEFAULT.batch}),
    ("width of the default", {"width": DEFAULT.width, "noise": DEFAULT.noise}),
    ("critics of the default depth", {"critic_layers": DEFAULT.critic_layers}),
    ("penalty on 128 pairs of a batch", {"penalty_rows": DEFAULT.penalty_rows}),
    ("critic steps of the default", {"critic_steps": DEFAULT.critic_steps}),
    ("pairs of all critic steps in one pass", {"one_pass": True}),
    ("critics' gradients by hand", {"by_hand": True}),
)
THEIRS_S = {
    "tuples": 0.47,
    "series": 2.02,
    "records": 0.44,
    "joint": 2.70,
}  # detached, 128, 5 steps


def main() -> None:
    """Choose between the two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("table", choices=["ablation", "cost"])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--steps", type=int, default=300, help="of each pair's generator, at most")
    parser.add_argument("--fits", type=int, default=1, help="seeds that each variant is fitted by")
    parser.add_argument("--samples", type=int, default=3, help="seeds that each fit is sampled by")
    parser.add_argument("--only", nargs="*", help="variants to fit; default: all")
    parser.add_argument("--iterations", type=int, default=5, help="to measure")
    choice = parser.parse_args()
    torch.set_num_threads(1)
    if choice.table == "cost":
        print_costs(choice.capture, iterations=choice.iterations)
    else:
        print_ablation(
            choice.capture, steps=choice.steps, fits=choice.fits, samples=choice.samples,
            only=choice.only,
        )  # fmt: skip


def print_ablation(
    capture: Path, *, steps: int, fits: int, samples: int, only: list[str] | None
) -> None:
    """Fit, sample and compare every variant."""
    real, _ = read_capture(capture)
    print("mean (least .. largest) of multiples of the floor")
    print(f"{'variant':24} {'CPU s':>6} " + " ".join(f"{n:>24}" for n in (*FAMILIES, "top 1 %")))
    print(f"{'real':31} " + " ".join(f"{c:>24}" for c in ("", "", "", f"{top_share(real):.3f}")))
    for name, changes in ABLATIONS.items():
        if only and name not in only:
            continue
        strategies = STRATEGIES if name == "default" else STRATEGIES[:1]
        found: dict[str, list[list[float]]] = {strategy: [] for strategy in strategies}
        spent = 0.0
        for seed in range(fits):
            begun = time.process_time()
            model = pipeline.fit(
                capture,
                generator="cascade",
                seed=seed,
                settings={f"cascade.{k}": v for k, v in ({"most_steps": steps} | changes).items()},
            )
            spent += (time.process_time() - begun) / fits
            for strategy in strategies:
                found[strategy] += [
                    measure(real, model, seed=1 + k, strategy=strategy) for k in range(samples)
                ]
        for strategy, rows in found.items():
            label = name if strategy == "ml" else f"{name}, {strategy.upper()}"
            columns = np.array(rows).T
            cells = [f"{c.mean():.2f} ({c.min():.2f} .. {c.max():.2f})" for c in columns[:-1]]
            cells.append(f"{columns[-1].mean():.3f}")
            print(f"{label:24} {spent:6.0f} " + " ".join(f"{c:>24}" for c in cells), flush=True)


def measure(real: PacketTable, model: Model, *, seed: int, strategy: str) -> list[float]:
    """Sample once: the families' multiples of the floor, then the share of the largest flows."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.pcap"
        model.sample(made, seed=seed, timestamps=strategy)
        table, _ = read_capture(made)
    report = compare(real, table, quick=True, families=FAMILIES)
    return [*(report.mean_ratio(f) or math.nan for f in FAMILIES), top_share(table)]


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
    labels = [*PAIRS, "joint"]
    config, savings = PUBLISHED, Savings(detached=False, one_pass=False, by_hand=False)
    rows: list[tuple[str, CascadeConfig, list[Phase]]] = []
    for label, changes in SAVINGS:
        settings = {k: v for k, v in changes.items() if k in SETTINGS}
        config = dataclasses.replace(config, **settings)
        savings = dataclasses.replace(
            savings, **{k: v for k, v in changes.items() if k not in SETTINGS}
        )
        generator = CascadeGenerator(layout=layout_of(codec), config=config)
        generator.fit(traces, seed=0, stop=lambda: True)
        assert generator.learned is not None
        batches = Fitting(
            generator.learned, traces, config, seed=0, device=torch.device("cpu")
        ).batches
        phases = [
            Phase(batches, names, alone=len(names) == 1, config=config, savings=savings)
            for names in (*((name,) for name in PAIRS), PAIRS)
        ]
        rows.append((label, config, phases))
    costs = np.full((len(rows), len(labels)), np.inf)  # ms a sample
    for turn in range(iterations + 1):
        for row, (_, config, phases) in enumerate(rows):
            for column, phase in enumerate(phases):
                cost = 1e3 * iteration_s(phase) / config.batch
                if turn:  # the first one warms up
                    costs[row, column] = min(costs[row, column], cost)
    print("CPU ms an iteration and flow or record of the batch")
    print(f"{'':56} " + " ".join(f"{label:>9}" for label in labels))
    for (label, _, _), cells in zip(rows, costs, strict=True):
        print(f"{label:56} " + " ".join(f"{cost:9.3f}" for cost in cells))
    theirs = np.array([1e3 * THEIRS_S[label] / PUBLISHED.batch for label in labels])
    fewer = DEFAULT.critic_steps / PUBLISHED.critic_steps
    for label, before in (("the detached row", costs[1]), ("the authors' detached code", theirs)):
        gain = before / costs[-1]
        print(f"{'an iteration, over ' + label:56} " + " ".join(f"{g:9.1f}" for g in gain))
        gain = gain * fewer
        print(f"{'a critic step, over ' + label:56} " + " ".join(f"{g:9.1f}" for g in gain))


def iteration_s(phase: Phase) -> float:
    """CPU seconds of an iteration: the critics' steps and one of the generators."""
    begun = time.process_time()
    phase.step_critics()
    phase.step_generators()
    return time.process_time() - begun


if __name__ == "__main__":
    main()
