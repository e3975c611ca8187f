"""Whether synthetic series are worth putting beside real ones, for the sake of the rarest class."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from series_sets import ENDS, cluster_like

from netsynth.dataset import SeriesDataset, join_datasets
from netsynth.generate import SeriesGenerator
from netsynth.series.learning import RareScore, telling

RARE = "EVICT"
SHARES = (0.25, 0.5, 1.0)  # of the real jobs that are kept


def measure_augmentation(
    fit: Callable[[SeriesDataset, int], SeriesGenerator], *, fits: int, size: int, judged: int
) -> None:
    """Print how well classifiers tell the rarest end, with and without made jobs beside real ones.

    How well one sample of real jobs teaches is a matter of its few jobs of that end. So each
    figure is the mean of `fits` samples of `size` jobs, each with a generator learned from it, and
    what is added is compared with the same real jobs alone: a difference, with its standard error.
    The scores are means of five classifiers.

    Args:
        fit: Learns a generator from jobs, by a seed.
        fits: Samples of jobs, and fits.
        size: Jobs of a sample.
        judged: Other jobs that judge.
    """
    test = cluster_like(judged, seed=1000)
    tables: dict[str, list[RareScore]] = {}
    for number in range(fits):
        real = cluster_like(size, seed=number)
        generator = fit(real, number)
        for name, learned in _sources(real, generator, seed=number).items():
            score = telling(learned, test, label="end", value=RARE, seed=number)
            tables.setdefault(name, []).append(score)
        print(f"sample {number + 1} of {fits}", flush=True)
    print(f"telling {RARE} among {judged:,} jobs, learned from; {fits} samples of {size:,} jobs")
    print(f"{'':<44}{'recall':>18}{'over real alone':>20}{'F1':>18}{'over real alone':>20}")
    for name, scores in tables.items():
        alone = tables[name.split(" + ")[0]]
        cells = ""
        for part in ("recall", "f1"):
            own, beside = (np.array([getattr(s, part) for s in t]) for t in (scores, alone))
            cells += f"{_with_error(own):>18}"
            cells += f"{_with_error(own - beside) if scores is not alone else '':>20}"
        print(f"{name:<44}{cells}", flush=True)


def _sources(
    real: SeriesDataset, generator: SeriesGenerator, *, seed: int
) -> dict[str, SeriesDataset]:
    """What is learned from; names that hold a plus begin with what stands alone beside them."""
    made = join_datasets(list(generator.sample(len(real), seed=seed)))
    code = ENDS.index(RARE)
    order = np.random.default_rng(seed).permutation(len(real))
    found = {"as many other real jobs": cluster_like(len(real), seed=7000 + seed), "made": made}
    for share in SHARES:
        kept = real.take(np.sort(order[: round(share * len(real))]))
        count = np.bincount(kept.metadata[:, 0].astype(np.int64), minlength=len(ENDS))
        lacking = int(count.max() - count[code])
        wanted = np.full((lacking, 1), float(code))
        rare = join_datasets(list(generator.sample(lacking, seed=seed + 1, metadata=wanted)))
        name = f"{share:.0%} of the real"
        found[name] = kept
        found[f"{name} + as many made as real in all"] = _beside(kept, made)
        found[f"{name} + {RARE} made, to balance"] = _beside(kept, rare)
    return found


def _beside(one: SeriesDataset, other: SeriesDataset) -> SeriesDataset:
    return join_datasets([one, other])


def _with_error(values: Any) -> str:
    """Mean, and its standard error."""
    if values.size < 2:
        return f"{values.mean():+.4f}"
    return f"{values.mean():.4f} +- {values.std(ddof=1) / np.sqrt(values.size):.4f}"
