"""Does a synthetic dataset give away the samples it was learned from?

References:
    Lin et al., IMC 2020, section 5.3.1: at 200 training samples a membership attack succeeds in
    99.5 % of cases, at tens of thousands it is close to guessing.
"""

from __future__ import annotations

import numpy as np

from netsynth.dataset import SeriesDataset
from netsynth.numbers import FloatArray
from netsynth.series.measures import describe_samples

FEW_SAMPLES = 1000  # below which a dataset is small enough to warn
MOST_SAMPLES = 3000
DIGITS = 6  # of a value that make it the same


def copy_share(learned: SeriesDataset, made: SeriesDataset) -> float:
    """Share of series in `made`, of two records or more, that stand in `learned`; best near 0.

    Values count as equal when their first six digits are; metadata are not looked at.
    """
    known = _fingerprints(learned)
    mine = [print_ for print_, n in zip(_fingerprints(made), made.lengths, strict=True) if n > 1]
    if not mine:
        return 0.0
    lookup = set(known)
    return sum(print_ in lookup for print_ in mine) / len(mine)


def nearest_distances(of: SeriesDataset, to: SeriesDataset, scale: FloatArray) -> FloatArray:
    """Distance of each sample of `of` to the closest in `to`, over what describes them, [F]."""
    from scipy.spatial import cKDTree

    tree = cKDTree(describe_samples(to) / scale)
    distance, _ = tree.query(describe_samples(of) / scale)
    return np.asarray(distance, dtype=np.float64)


def closeness(
    learned: SeriesDataset, other: SeriesDataset, made: SeriesDataset, *, seed: int
) -> float:
    """Median distance of `made` to `learned`, over that of other real samples.

    Below 1, synthetic samples sit closer to those learned from than fresh real ones do.

    Args:
        learned: Real samples that the generator may have learned from.
        other: Other real samples, as many at most.
        made: Synthetic samples.
        seed: Of what is taken where there are many.
    """
    random = np.random.default_rng(seed)
    size = min(len(learned), MOST_SAMPLES)
    some = [_some(data, size, random) for data in (learned, other, made)]
    scale = _scale(some[0])
    fresh = float(np.median(nearest_distances(some[1], some[0], scale)))
    return float(np.median(nearest_distances(some[2], some[0], scale))) / max(fresh, 1e-12)


def membership_auc(
    learned: SeriesDataset, held_out: SeriesDataset, made: SeriesDataset, *, seed: int
) -> float:
    """How well the distance to the nearest synthetic sample tells learned from held-out samples.

    Returns:
        Area under the curve, 0..1; 0.5 is safe.
    """
    random = np.random.default_rng(seed)
    size = min(len(learned), len(held_out), MOST_SAMPLES)
    inside, outside = (_some(data, size, random) for data in (learned, held_out))
    some = _some(made, 5 * MOST_SAMPLES, random)
    scale = _scale(inside)
    near, far = (nearest_distances(data, some, scale) for data in (inside, outside))
    order = np.sort(far)
    above = order.size - np.searchsorted(order, near, side="right")
    ties = np.searchsorted(order, near, side="right") - np.searchsorted(order, near)
    return float((above + ties / 2).mean() / order.size)


def size_warning(learned: SeriesDataset) -> str | None:
    """Warn where so few samples were learned from that they may be told."""
    if len(learned) >= FEW_SAMPLES:
        return None
    return (
        f"only {len(learned)} real series: a generator learned from few tells who was among "
        "them (DoppelGANger's authors: at 200, an attack is right in 99.5 % of cases); learn "
        "from more, or publish nothing that must stay private"
    )


def _some(dataset: SeriesDataset, size: int, random: np.random.Generator) -> SeriesDataset:
    if len(dataset) <= size:
        return dataset
    return dataset.take(np.sort(random.choice(len(dataset), size, replace=False)))


def _scale(dataset: SeriesDataset) -> FloatArray:
    """Spread of each thing that describes samples; 1 where it is always the same."""
    spread = describe_samples(dataset).std(axis=0)
    return np.asarray(np.where(spread > 1e-6, spread, 1.0))


def _fingerprints(dataset: SeriesDataset) -> list[bytes]:
    """What each series holds, to six digits, as bytes."""
    cell = dataset.values
    with np.errstate(divide="ignore"):
        power = np.where(cell == 0, 0, np.floor(np.log10(np.abs(cell))))
    rounded = np.round(cell / 10.0**power * 10 ** (DIGITS - 1)) * 10.0 ** (power - DIGITS + 1)
    exact = rounded.astype(np.float32) + np.float32(0)  # no negative zeros
    return [
        exact[a:b].tobytes() for a, b in zip(dataset.offsets, dataset.offsets[1:], strict=False)
    ]
