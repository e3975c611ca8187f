"""95 % intervals: the same figure when the flows had been others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray
from netsynth.report.distances import jsd, rank_jsd
from netsynth.report.samples import Kind, Sample

REPLICATES = 100
_AT_ONCE = 20  # replicates whose weights are held together
_BINS = 4096  # values told apart when an EMD is resampled


def interval_about(
    estimate: float, replicates: FloatArray, *, least: float = 0.0, most: float = np.inf
) -> tuple[float, float] | None:
    """95 % interval about an estimate, from the spread of its replicates.

    Resampling adds noise, and so distance, to both sides; the replicates are therefore centred
    on the estimate before their quantiles are read.

    Args:
        estimate: The figure itself.
        replicates: The figure of each resampling, float64 [B].
        least: Smallest value the figure can have.
        most: Largest.

    Returns:
        Low and high, or None for fewer than 20 replicates.
    """
    if replicates.size < 20:
        return None
    shifts = np.quantile(replicates, [0.025, 0.975]) - float(replicates.mean())
    low, high = np.clip(estimate + shifts, least, most)
    return float(min(low, estimate)), float(max(high, estimate))


def weight_batches(
    groups: int, *, rng: np.random.Generator, count: int = REPLICATES
) -> Iterator[NDArray[np.float32]]:
    """Weights of `groups` resampled groups, float32 [at most 20, G], `count` rows in all.

    Each is Poisson of mean 1: a bootstrap whose number of groups varies as the traffic does.

    References:
        Hanley and MacGibbon, "Creating non-parametric bootstrap samples using Poisson
        frequencies", Computer Methods and Programs in Biomedicine 83, 2006.
    """
    for start in range(0, count, _AT_ONCE):
        yield rng.poisson(1.0, (min(_AT_ONCE, count - start), groups)).astype(np.float32)


def resampled_distances(
    kind: Kind, real: Sample, synthetic: Sample, *, rng: np.random.Generator
) -> FloatArray:
    """Distance of two samples when the groups of both are resampled, float64 [<= REPLICATES].

    EMD is taken over at most 4096 bins of equal count, each at the mean of its values.
    """
    joint = np.concatenate([real.values, synthetic.values])
    places, codes = _bins(joint) if kind == "emd" else _categories(joint)
    count = int(codes.max()) + 1
    ours = _counts_by_group(real, codes[: real.values.size], count)
    theirs = _counts_by_group(synthetic, codes[real.values.size :], count)
    found: list[float] = []
    for one, other in zip(
        weight_batches(real.group_count, rng=rng),
        weight_batches(synthetic.group_count, rng=rng),
        strict=True,
    ):
        first, second = (ours @ one.T).T, (theirs @ other.T).T  # [<= 20, K]
        for p, q in zip(first.astype(np.float64), second.astype(np.float64), strict=True):
            if p.any() and q.any():
                found.append(_distance(kind, places, p, q))
    return np.array(found)


def _distance(kind: Kind, places: FloatArray, p: FloatArray, q: FloatArray) -> float:
    if kind == "emd":
        apart = np.abs(np.cumsum(p / p.sum() - q / q.sum())[:-1])
        return float(apart @ np.diff(places))
    return jsd(p, q) if kind == "jsd" else rank_jsd(p, q)


def _bins(values: FloatArray) -> tuple[FloatArray, Array]:
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if distinct.size <= _BINS:
        return distinct, codes
    # values in order are dealt to bins of equal count; a value is never split
    cell = (np.cumsum(counts) - 1) * _BINS // values.size
    _, cell = np.unique(cell, return_inverse=True)
    places = np.bincount(cell, distinct * counts) / np.bincount(cell, counts)
    return places, cell[codes]


def _categories(values: Array) -> tuple[FloatArray, Array]:
    _, codes = np.unique(values, return_inverse=True)
    return np.zeros(0), codes


def _counts_by_group(sample: Sample, codes: Array, count: int) -> Any:
    """Sparse counts of each code in each group, transposed: float32 [count, G]."""
    from scipy.sparse import coo_matrix

    ones = np.ones(codes.size, dtype=np.float32)
    return coo_matrix((ones, (codes, sample.group)), shape=(count, sample.group_count)).tocsr()


def resampled_share(
    wanted: NDArray[np.bool_], group: Array, group_count: int, *, rng: np.random.Generator
) -> FloatArray:
    """Share of True among [M] values when their groups are resampled, float64 [<= REPLICATES]."""
    hits = np.bincount(group, wanted, minlength=group_count).astype(np.float32)
    sizes = np.bincount(group, minlength=group_count).astype(np.float32)
    found = []
    for weights in weight_batches(group_count, rng=rng):
        totals = weights @ sizes
        found.append((weights @ hits)[totals > 0] / totals[totals > 0])
    return np.concatenate(found).astype(np.float64)
