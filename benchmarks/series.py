"""How close generators of series come, and what they cost.

    python benchmarks/series.py costs                          # a minute: CPU s a step, series/s
    python benchmarks/series.py equal office.pcap --seconds 120  # all generators at equal CPU time
    python benchmarks/series.py mba fcc_mba_data_train.npz     # totals of DSL and cable users
    python benchmarks/series.py web --samples 50000            # simulated page views
    python benchmarks/series.py cluster --samples 20000        # simulated cluster jobs
    python benchmarks/series.py augment --draws 5              # made jobs beside real ones
    python benchmarks/series.py web --real data_train.npz      # the real ones, for who has them

`mba` reads DoppelGANger's file of the FCC's Measuring Broadband America (600 users, 56 steps of six
hours) and compares, for 20,000 made users, the distribution of the traffic of two weeks with all
600, and two random halves of the real users with each other.

`web` is a simulation of the Wikipedia page views that DoppelGANger was measured on (550 days; 9, 3
and 2 categories), see `web_like`; `cluster` one of the Google cluster usage traces (9 measurements,
four ends), see `cluster_like`. The real files: kaggle.com/c/web-traffic-time-series-forecasting
and github.com/google/cluster-data (2011); DoppelGANger's authors link theirs, already as .npz, in
the README of github.com/fjxmlzn/DoppelGANger.

`equal` learns the packets that flows of a capture send in steps of 50 ms from half of those
flows, each generator for the same CPU seconds, and compares what it makes with the other half,
beside the same flows with their steps shuffled: who loses to a shuffle is no generator.

Times are CPU times (user and system) of one thread.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from series_augment import measure_augmentation
from series_order import measure_order
from series_sets import cluster_like, flows_of, shuffled, web_like

from netsynth.dataset import SeriesDataset, join_datasets
from netsynth.generate import SeriesGenerator, find_config, find_series_generator
from netsynth.generate.doppelganger.generator import DoppelgangerGenerator
from netsynth.generate.tst import PublishedConfig
from netsynth.generate.tst.published import PublishedNetwork
from netsynth.series import compare_series, read_series
from netsynth.series.measures import autocorrelation_error, earth_movers
from netsynth.series.privacy import copy_share

DSL, CABLE = 0, 3  # values of the second metadata column of the FCC's file


def fit_and_draw(
    name: str,
    dataset: SeriesDataset,
    count: int,
    *,
    minutes: float | None,
    seed: int = 0,
    **settings: Any,
) -> tuple[SeriesDataset, dict[str, Any], float]:
    """Fit a generator, draw `count` samples; also its outcomes, and CPU seconds of the fit."""
    made, spent = fit(name, dataset, minutes=minutes, seed=seed, **settings)
    drawn = join_datasets(list(made.sample(count, seed=seed)))
    return drawn, made.to_parts()[0]["outcomes"], spent


def fit(
    name: str, dataset: SeriesDataset, *, minutes: float | None, seed: int = 0, **settings: Any
) -> tuple[SeriesGenerator, float]:
    """Fit a generator; also the CPU seconds that it took."""
    config = find_config(name)(**settings)
    made = find_series_generator(name)(schema=dataset.schema, config=config, seed=seed)
    began = time.process_time()
    made.fit(
        dataset, seed=seed, report=lambda *_: None, stop=lambda: False, minutes=minutes,
        checkpoint=lambda: None,
    )  # fmt: skip
    return made, time.process_time() - began


def measure_mba(path: Path, *, count: int, minutes: float | None, generators: list[str]) -> None:
    """Print the Wasserstein-1 distance of DSL and cable users' totals, in GB."""
    real = read_series(path)
    random = np.random.default_rng(0)
    print(f"{'':<14}{'DSL GB':>8}{'cable GB':>10}{'ACF MSE':>10}{'CPU s':>8}")
    floors: list[list[float]] = [[], []]
    for _ in range(50):
        order = random.permutation(len(real))
        one, other = (real.take(order[a::2]) for a in (0, 1))
        for group, code in enumerate((DSL, CABLE)):
            floors[group].append(total_distance(one, other, code))
    print(f"{'real halves':<14}{np.mean(floors[0]):>8.2f}{np.mean(floors[1]):>10.2f}")
    # the authors train 17,000 epochs of these users, and make 1, 4 or 8 records a step
    settings: dict[str, dict[str, Any]] = {
        "tst": {},
        "doppelganger": {
            "auto_normalise": False,
            "alpha": 0.0,
            "average": 0.999,
            "patch": 8,
            "max_epochs": 3333,
        },
    }
    for name in generators or settings:
        changes = settings[name]
        made, _, spent = fit_and_draw(name, real, count, minutes=minutes, **changes)
        near = [total_distance(real, made, code) for code in (DSL, CABLE)]
        error = autocorrelation_error(real, made, 0)
        print(f"{name:<14}{near[0]:>8.2f}{near[1]:>10.2f}{error:>10.5f}{spent:>8.0f}")


def total_distance(one: SeriesDataset, other: SeriesDataset, technology: int) -> float:
    """Wasserstein-1 distance of the totals of users of a technology, in GB."""
    totals = [data.totals(0)[data.metadata[:, 1] == technology] / 1e9 for data in (one, other)]
    return earth_movers(*totals)


def measure_web(
    real: SeriesDataset, *, count: int, minutes: float | None, generators: list[str]
) -> None:
    """Print the error of the mean autocorrelation, and how far training went."""
    half = np.random.default_rng(0).permutation(len(real))
    floor = autocorrelation_error(real.take(half[::2]), real.take(half[1::2]), 0)
    print(f"real halves: ACF MSE {floor:.6f}")
    published = 400 * len(real) // 100  # steps of DoppelGANger's own training
    settings: dict[str, dict[str, Any]] = {"doppelganger": {"log_counts": True}, "tst": {}}
    for name in generators or settings:
        changes = settings[name]
        made, outcomes, spent = fit_and_draw(name, real, count, minutes=minutes, **changes)
        error = autocorrelation_error(real, made, 0)
        steps = int(outcomes["series"]["steps"])
        share = f" ({steps / published:.1%} of the paper's)" if name == "doppelganger" else ""
        text = f"{name}: ACF MSE {error:.6f} after {steps:,} steps{share}, {spent:,.0f} CPU s"
        print(f"{text}; {len(made):,} made", flush=True)


def measure_cluster(
    real: SeriesDataset, *, minutes: float | None, name: str, draws: int, is_simulated: bool
) -> None:
    """Print the whole report of series, and the order of classifiers where jobs are simulated."""
    fitted, spent = fit(name, real, minutes=minutes)
    made = join_datasets(list(fitted.sample(len(real), seed=0)))
    outcomes = fitted.to_parts()[0]["outcomes"]
    print(f"{name}, {spent:,.0f} CPU s, {outcomes['series']['steps']:,} steps", flush=True)
    held_out = cluster_like(len(real), seed=1) if is_simulated else None
    other = None if held_out is None else _within(held_out, real)
    print(compare_series(real, _within(made, real), held_out=other).summary(), flush=True)
    if is_simulated:
        measure_order(fitted, draws=draws, size=min(len(real), 4000), judged=40_000)


def measure_equal(capture: Path, *, seconds: float) -> None:
    """Print how near each generator comes to flows held out, at equal CPU time."""
    data = flows_of(capture)
    random = np.random.default_rng(0)
    order = random.permutation(len(data))
    train, test = data.take(np.sort(order[::2])), data.take(np.sort(order[1::2]))
    print(f"{len(train)} flows learned, {len(test)} held out, {seconds:.0f} CPU s each")
    print(f"{'':<22}{'total':>8}{'steps':>8}{'CV':>8}{'ACF MSE':>10}{'distinct':>10}{'copies':>8}")
    _print_row("real, held out", test, train, train)
    _print_row("shuffled steps", shuffled(train, random), test, train)
    small = PublishedConfig(preset="small", max_epochs=10**6)
    plans: dict[str, tuple[str, dict[str, Any]]] = {
        "tst": ("tst", {}),
        "tst published, small": ("tst", {"mode": "published", "published": small}),
        "doppelganger": (
            "doppelganger", {"log_counts": True, "average": 0.999, "max_epochs": 10**6},
        ),
    }  # fmt: skip
    for name, (generator, changes) in plans.items():
        config = find_config(generator)(**changes)
        made = find_series_generator(generator)(schema=data.schema, config=config, seed=0)
        began = time.process_time()
        made.fit(
            train, seed=0, report=lambda *_: None, minutes=None, checkpoint=lambda: None,
            stop=lambda began=began: time.process_time() - began > seconds,
        )  # fmt: skip
        drawn = join_datasets(list(made.sample(len(test), seed=0)))
        _print_row(name, drawn, test, train)


def _print_row(name: str, made: SeriesDataset, test: SeriesDataset, train: SeriesDataset) -> None:
    """Print distances of `made` from `test`: log10 of totals, lengths, CV, autocorrelation."""
    parts = [
        (np.log10(1 + d.totals(0)), d.lengths.astype(float), _variation(d)) for d in (made, test)
    ]
    near = [earth_movers(one, other) for one, other in zip(*parts, strict=True)]
    error = autocorrelation_error(made, test, 0)
    rows = {made.values[a:b, 0].tobytes() for a, b in itertools.pairwise(made.offsets)}
    print(
        f"{name:<22}{near[0]:>8.3f}{near[1]:>8.2f}{near[2]:>8.3f}{error:>10.5f}"
        f"{len(rows) / len(made):>10.2f}{copy_share(train, made):>8.2f}",
        flush=True,
    )


def _variation(data: SeriesDataset) -> Any:
    """Standard deviation over mean of each series."""
    mean = data.totals(0) / data.lengths
    square = np.add.reduceat(data.values[:, 0] ** 2, data.offsets[:-1]) / data.lengths
    spread = np.sqrt(np.maximum(square - mean**2, 0))
    return np.divide(spread, mean, out=np.zeros_like(mean), where=mean > 0)


def _within(data: SeriesDataset, like: SeriesDataset) -> SeriesDataset:
    """The same columns as `like`, whatever their ranges."""
    rows = data.lengths <= like.schema.max_length
    kept = data.take(rows)
    return SeriesDataset(
        schema=like.schema, metadata=kept.metadata, values=kept.values, offsets=kept.offsets
    )


def measure_costs() -> None:
    """Print parameters, CPU seconds of a DoppelGANger step, and series made a second."""
    data = web_like(300)
    config = find_config("doppelganger")(patch=11)
    made = DoppelgangerGenerator(schema=data.schema, config=config)
    trainer, encoded = made.trainer(seed=0), made.encoding.encode(data)
    random = np.random.default_rng(0)

    sizes = {n: sum(p.numel() for p in net.parameters()) for n, net in made.networks.items()}
    with torch.device("meta"):
        published = PublishedNetwork(inputs=11, config=PublishedConfig())
    sizes["tst published, 11 columns"] = sum(p.numel() for p in published.parameters())
    print("parameters:", ", ".join(f"{name} {size:,}" for name, size in sizes.items()))

    def step() -> None:
        rows = random.permutation(300)[:100]
        batch = (encoded.metadata[rows], encoded.ranges[rows], encoded.batch(rows, 550))
        trainer.step(*(torch.as_tensor(part) for part in batch))

    print(f"doppelganger, batch 100, T 550, S 11: {cpu_seconds(step, 20):.3f} CPU s a step")
    spent = cpu_seconds(lambda: list(made.sample(4000, seed=0)), 1)
    print(f"doppelganger: {4000 / spent:,.0f} series/s of 550 records")
    short = web_like(600, length=64)
    plain = DoppelgangerGenerator(schema=short.schema, config=find_config("doppelganger")())
    faster = 4096 / cpu_seconds(lambda: list(plain.sample(4096, seed=0)), 1)
    print(f"doppelganger: {faster:,.0f} series/s of 64 records")
    tst = find_series_generator("tst")(
        schema=short.schema, config=find_config("tst")(max_epochs=1), seed=0
    )
    tst.fit(
        short, seed=0, report=lambda *_: None, stop=lambda: False, minutes=None,
        checkpoint=lambda: None,
    )  # fmt: skip
    spent = cpu_seconds(lambda: list(tst.sample(4096, seed=0)), 1)
    print(f"tst, with its cache: {4096 / spent:,.0f} series/s of 64 records", end="; ")
    print(f"doppelganger is {faster * spent / 4096:.1f} times faster")


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """CPU seconds of one call, after one that does not count."""
    work()
    began = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - began) / times


def main() -> None:
    """Run the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("part", choices=["costs", "equal", "mba", "web", "cluster", "augment"])
    parser.add_argument("file", nargs="?", type=Path, help="of mba, or the capture of equal")
    parser.add_argument("--real", type=Path, help="real file, in place of a simulation")
    parser.add_argument("--samples", type=int, default=20_000, help="simulated; made, of mba")
    parser.add_argument("--made", type=int, default=20_000, help="series drawn, at most, of web")
    parser.add_argument("--draws", type=int, default=8, help="samples, of cluster and augment")
    parser.add_argument("--minutes", type=float, default=None, help="of each training, at most")
    parser.add_argument("--seconds", type=float, default=120, help="of CPU, of equal")
    parser.add_argument("--generator", action="append", default=[], help="may be repeated")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "costs":
        measure_costs()
    elif arguments.part == "equal":
        if arguments.file is None:
            parser.error("equal needs a capture")
        measure_equal(arguments.file, seconds=arguments.seconds)
    elif arguments.part == "mba":
        if arguments.file is None:
            parser.error("mba needs the file fcc_mba_data_train.npz")
        measure_mba(
            arguments.file,
            count=arguments.samples,
            minutes=arguments.minutes,
            generators=arguments.generator,
        )
    elif arguments.part == "augment":
        measure_augmentation(
            lambda jobs, seed: fit("tst", jobs, minutes=arguments.minutes, seed=seed)[0],
            fits=arguments.draws,
            size=min(arguments.samples, 4000),
            judged=40_000,
        )
    elif arguments.part == "web":
        given = arguments.real
        real = read_series(given) if given else web_like(arguments.samples)
        measure_web(
            real,
            count=min(len(real), arguments.made),
            minutes=arguments.minutes,
            generators=arguments.generator,
        )
    else:
        given = arguments.real
        real = read_series(given) if given else cluster_like(arguments.samples)
        for name in arguments.generator or ["tst"]:
            measure_cluster(
                real,
                minutes=arguments.minutes,
                name=name,
                draws=arguments.draws,
                is_simulated=given is None,
            )


if __name__ == "__main__":
    main()
