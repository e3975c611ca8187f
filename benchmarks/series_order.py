"""Whether classifiers come in the same order, learned from made series as from real ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from series_sets import cluster_like

from netsynth.dataset import join_datasets
from netsynth.generate import SeriesGenerator
from netsynth.series.learning import CLASSIFIERS, accuracies


def measure_order(made: SeriesGenerator, *, draws: int, size: int, judged: int) -> None:
    """Print the order of classifiers learned from simulated and from made jobs.

    One sample of each orders classifiers by chance that are nearly as good as each other. So each
    accuracy is the mean of `draws` samples of `size` jobs, judged by `judged` others; and both
    orders are drawn again 2,000 times from those samples, to say how sure they are. The second
    real row is of other real samples: what a perfect generator would score.
    """
    test = cluster_like(judged, seed=1000)
    tables: dict[str, list[list[float]]] = {"real": [], "other real": [], "made": []}
    for draw in range(draws):
        samples = {
            "real": cluster_like(size, seed=2000 + draw),
            "other real": cluster_like(size, seed=3000 + draw),
            "made": join_datasets(list(made.sample(size, seed=4000 + draw))),
        }
        for name, sample in samples.items():
            score = accuracies(sample, test, label="end", seed=draw)
            tables[name].append([score[classifier] for classifier in CLASSIFIERS])
    print(f"accuracy of classifiers on {judged:,} jobs, means of {draws} samples of {size:,}")
    print(f"{'':<12}" + "".join(f"{name:>21}" for name in CLASSIFIERS) + "   rank correlation")
    real = np.array(tables["real"])
    random = np.random.default_rng(0)
    for name, rows in tables.items():
        table = np.array(rows)  # [draws, classifiers]
        error = 1.96 * table.std(axis=0, ddof=1) / np.sqrt(draws)
        cells = [f"{m:.4f} +- {e:.4f}" for m, e in zip(table.mean(axis=0), error, strict=True)]
        again = [
            _spearman(*(t[random.integers(draws, size=draws)].mean(axis=0) for t in (real, table)))
            for _ in range(2000)
        ]
        low, high = np.quantile(again, [0.025, 0.975])
        found = _spearman(real.mean(axis=0), table.mean(axis=0))
        sure = "" if name == "real" else f"   {found:.2f} ({low:.2f} .. {high:.2f})"
        print(f"{name:<12}" + "".join(f"{cell:>21}" for cell in cells) + sure, flush=True)


def _spearman(one: Any, other: Any) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)
