"""How close generators of series come, and what they cost.

    python benchmarks/series.py costs                          # a minute: CPU s a step, series/s
    python benchmarks/series.py mba fcc_mba_data_train.npz     # totals of DSL and cable users
    python benchmarks/series.py web --samples 50000            # simulated page views
    python benchmarks/series.py cluster --samples 20000        # simulated cluster jobs
    python benchmarks/series.py web --real data_train.npz      # the real ones, for who has them

`mba` reads DoppelGANger's file of the FCC's Measuring Broadband America (600 users, 56 steps of six
hours) and compares, for 20,000 made users, the distribution of the traffic of two weeks with all
600, and two random halves of the real users with each other.

`web` is a simulation of the Wikipedia page views that DoppelGANger was measured on (550 days; 9, 3
and 2 categories), see `web_like`; `cluster` one of the Google cluster usage traces (9 measurements,
four ends), see `cluster_like`. The real files: kaggle.com/c/web-traffic-time-series-forecasting
and github.com/google/cluster-data (2011); DoppelGANger's authors link theirs, already as .npz, in
the README of github.com/fjxmlzn/DoppelGANger.

Times are CPU times (user and system) of one thread.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from netsynth.dataset import (
    CATEGORICAL,
    COUNT,
    NUMERIC,
    Column,
    SeriesDataset,
    SeriesSchema,
    join_datasets,
)
from netsynth.generate import find_config, find_series_generator
from netsynth.generate.doppelganger.generator import DoppelgangerGenerator
from netsynth.series import compare_series, read_series
from netsynth.series.measures import autocorrelation_error, earth_movers

DSL, CABLE = 0, 3  # values of the second metadata column of the FCC's file
ENDS = ("FINISH", "KILL", "FAIL", "EVICT")


def web_like(count: int, *, length: int = 550, seed: int = 0) -> SeriesDataset:
    """Simulate page views: a heavy-tailed scale, a week, a year, and days that resemble the last.

    Views are exp(s + w sin(2 pi (t - p) / 7) + y cos(2 pi t / 365) + e_t), rounded. The scale s is
    normal with deviation 2 (its mean depends on the site), w is 0.3, 0.15 or 0.45 by access, y is
    0.3, p one of seven days by site, and e_t is autoregressive of order one: e_t = 0.6 e_(t-1) +
    noise of deviation 0.25, so that its autocorrelation at lag k is 0.6^k.
    """
    random = np.random.default_rng(seed)
    sizes = (9, 3, 2)
    metadata = np.stack([random.integers(0, size, count) for size in sizes], axis=1)
    scale = random.normal(3 + 0.3 * metadata[:, 0], 2, count)
    week = np.array([0.3, 0.15, 0.45])[metadata[:, 1]]
    day = np.arange(length)
    noise = random.normal(0, 0.25, (count, length)).astype(np.float32)
    noise[:, 0] /= 0.8  # the deviation of e_t is 0.25 / sqrt(1 - 0.36)
    for t in range(1, length):
        noise[:, t] += 0.6 * noise[:, t - 1]
    rhythm = week[:, None] * np.sin(2 * np.pi * (day - metadata[:, :1] % 7) / 7)
    views = np.exp(scale[:, None] + rhythm + 0.3 * np.cos(2 * np.pi * day / 365) + noise)
    names = ("site", "access", "agent")
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=tuple(
                Column(name=name, kind=CATEGORICAL, values=tuple(map(str, range(size))))
                for name, size in zip(names, sizes, strict=True)
            ),
            measurements=(
                Column(name="views", kind=COUNT, low=0, high=float(np.round(views.max()))),
            ),
            max_length=length,
        ),
        metadata=metadata.astype(np.float64),
        values=np.round(views).astype(np.float64).reshape(-1, 1),
        offsets=np.arange(count + 1) * length,
    )


def cluster_like(count: int, *, seed: int = 0) -> SeriesDataset:
    """Simulate cluster jobs: 1 to 2,500 records of nine usages, and how they end.

    Ends are FINISH 63 %, KILL 28 %, FAIL 7 %, EVICT 2 %. Lengths have two modes: 1 to 4 records,
    or about 15 (log-normal, deviation 0.9), the long mode for 20, 60, 40 and 50 % of the ends.
    Usages are log-normal around a level of the job that depends on the end, and follow the
    record before by half.
    """
    random = np.random.default_rng(seed)
    end = random.choice(4, count, p=(0.63, 0.28, 0.07, 0.02))
    is_long = random.random(count) < np.array([0.2, 0.6, 0.4, 0.5])[end]
    long_lengths = np.exp(random.normal(np.log(15), 0.9, count))
    lengths = np.where(is_long, long_lengths, random.integers(1, 5, count)).astype(np.int64)
    lengths = np.clip(lengths, 1, 2500)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    place = np.random.default_rng(1).normal(0, 1, (4, 9))  # of the ends, the same for all seeds
    level = place[end] + random.normal(0, 0.5, (count, 9))
    usage = random.normal(0, 0.3, (int(offsets[-1]), 9))
    step = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    for t in range(1, int(lengths.max())):
        rows = np.flatnonzero(step == t)
        usage[rows] += 0.5 * usage[rows - 1]
    values = np.exp(np.repeat(level, lengths, axis=0) + usage)
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=(Column(name="end", kind=CATEGORICAL, values=ENDS),),
            measurements=tuple(
                Column(name=f"usage_{k}", kind=NUMERIC, low=0, high=float(values[:, k].max()))
                for k in range(9)
            ),
            max_length=int(lengths.max()),
            label="end",
        ),
        metadata=end[:, None].astype(np.float64),
        values=values,
        offsets=offsets,
    )


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
    config = find_config(name)(**settings)
    made = find_series_generator(name)(schema=dataset.schema, config=config, seed=seed)
    began = time.process_time()
    made.fit(
        dataset, seed=seed, report=lambda *_: None, stop=lambda: False, minutes=minutes,
        checkpoint=lambda: None,
    )  # fmt: skip
    spent = time.process_time() - began
    drawn = join_datasets(list(made.sample(count, seed=seed)))
    return drawn, made.to_parts()[0]["outcomes"], spent


def measure_mba(path: Path, *, count: int, minutes: float | None) -> None:
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
    settings: dict[str, dict[str, Any]] = {
        "tst": {},
        "doppelganger": {"auto_normalise": False, "average": 0.999},
    }
    for name, changes in settings.items():
        made, _, spent = fit_and_draw(name, real, count, minutes=minutes, **changes)
        near = [total_distance(real, made, code) for code in (DSL, CABLE)]
        error = autocorrelation_error(real, made, 0)
        print(f"{name:<14}{near[0]:>8.2f}{near[1]:>10.2f}{error:>10.5f}{spent:>8.0f}")


def total_distance(one: SeriesDataset, other: SeriesDataset, technology: int) -> float:
    """Wasserstein-1 distance of the totals of users of a technology, in GB."""
    totals = [data.totals(0)[data.metadata[:, 1] == technology] / 1e9 for data in (one, other)]
    return earth_movers(*totals)


def measure_web(real: SeriesDataset, *, count: int, minutes: float | None) -> None:
    """Print the error of the mean autocorrelation, and how far training went."""
    half = np.random.default_rng(0).permutation(len(real))
    floor = autocorrelation_error(real.take(half[::2]), real.take(half[1::2]), 0)
    print(f"real halves: ACF MSE {floor:.6f}")
    published = 400 * len(real) // 100  # steps of DoppelGANger's own training
    for name, changes in (("doppelganger", {"log_counts": True}), ("tst", {})):
        made, outcomes, spent = fit_and_draw(name, real, count, minutes=minutes, **changes)
        error = autocorrelation_error(real, made, 0)
        steps = int(outcomes["series"]["steps"])
        share = f" ({steps / published:.1%} of the paper's)" if name == "doppelganger" else ""
        print(f"{name}: ACF MSE {error:.6f} after {steps:,} steps{share}, {spent:,.0f} CPU s")


def measure_cluster(real: SeriesDataset, *, minutes: float | None, name: str) -> None:
    """Print the whole report of series."""
    made, _, spent = fit_and_draw(name, real, len(real), minutes=minutes)
    held_out = cluster_like(len(real), seed=1)
    print(f"{name}, {spent:,.0f} CPU s")
    print(compare_series(real, _within(made, real), held_out=_within(held_out, real)).summary())


def _within(data: SeriesDataset, like: SeriesDataset) -> SeriesDataset:
    """The same columns as `like`, whatever their ranges."""
    rows = data.lengths <= like.schema.max_length
    kept = data.take(rows)
    return SeriesDataset(
        schema=like.schema, metadata=kept.metadata, values=kept.values, offsets=kept.offsets
    )


def measure_costs() -> None:
    """Print CPU seconds of a DoppelGANger step and series made a second, by both generators."""
    data = web_like(300)
    config = find_config("doppelganger")(patch=11)
    made = DoppelgangerGenerator(schema=data.schema, config=config)
    trainer, encoded = made.trainer(seed=0), made.encoding.encode(data)
    random = np.random.default_rng(0)

    def step() -> None:
        rows = random.permutation(300)[:100]
        batch = (encoded.metadata[rows], encoded.ranges[rows], encoded.batch(rows, 550))
        trainer.step(*(torch.as_tensor(part) for part in batch))

    print(f"doppelganger, batch 100, T 550, S 11: {cpu_seconds(step, 20):.3f} CPU s a step")
    spent = cpu_seconds(lambda: list(made.sample(4000, seed=0)), 1)
    print(f"doppelganger: {4000 / spent:,.0f} series/s of 550 records")
    short = web_like(600, length=64)
    tst = find_series_generator("tst")(
        schema=short.schema, config=find_config("tst")(max_epochs=1), seed=0
    )
    tst.fit(
        short, seed=0, report=lambda *_: None, stop=lambda: False, minutes=None,
        checkpoint=lambda: None,
    )  # fmt: skip
    spent = cpu_seconds(lambda: list(tst.sample(4096, seed=0)), 1)
    print(f"tst, with its cache: {4096 / spent:,.0f} series/s of 64 records")


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
    parser.add_argument("part", choices=["costs", "mba", "web", "cluster"])
    parser.add_argument("file", nargs="?", type=Path, help="of mba")
    parser.add_argument("--real", type=Path, help="real file, in place of a simulation")
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--minutes", type=float, default=None, help="of each training, at most")
    parser.add_argument("--generator", default="tst", help="of cluster")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "costs":
        measure_costs()
    elif arguments.part == "mba":
        if arguments.file is None:
            parser.error("mba needs the file fcc_mba_data_train.npz")
        measure_mba(arguments.file, count=arguments.samples, minutes=arguments.minutes)
    elif arguments.part == "web":
        given = arguments.real
        real = read_series(given) if given else web_like(arguments.samples)
        measure_web(real, count=min(len(real), 20_000), minutes=arguments.minutes)
    else:
        given = arguments.real
        real = read_series(given) if given else cluster_like(arguments.samples)
        measure_cluster(real, minutes=arguments.minutes, name=arguments.generator)


if __name__ == "__main__":
    main()
