"""Do synthetic sessions sit closer to the real ones than fresh traffic would?"""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.c2st import area_under_curve, resampled_auc
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import REPLICATES, interval_about
from netsynth.report.sessions import session_features
from netsynth.report.trace import Trace

MOST, MOST_QUICK = 3_000, 1_000  # sessions whose neighbours are looked for
POOL = 20_000  # sessions they are looked for among
FEWEST = 20
LEFT_OUT = ("forward source port",)  # drawn anew by every host

DCR_TEXT = (
    "distance to the closest real session, over that of unseen real traffic; 1 or more is safe"
)
MIA_TEXT = "AUC of telling training sessions from held-out ones by their synthetic neighbours"


def neighbour_figures(pair: Pair) -> list[Figure]:
    """Measure the DCR ratio and the AUC of membership inference.

    Unseen traffic is the held-out capture where there is one, and else each real session in
    turn, whose closest other one is looked for. Membership inference needs a held-out capture.

    References:
        Zhao et al., "CTAB-GAN", ACML 2021, section 4.1 (distance to closest record);
        Hilprecht et al., "Monte Carlo and Reconstruction Membership Inference Attacks against
        Generative Models", PETS 2019 (distance to the synthetic sample).
    """
    dcr = Figure(family="privacy", name="DCR ratio", text=DCR_TEXT)
    mia = Figure(family="privacy", name="membership AUC", text=MIA_TEXT)
    real, held_out = pair.real.trace, pair.real.held_out
    rng = pair.rng("neighbours")
    most = MOST_QUICK if pair.quick else MOST
    if min(real.session_count, pair.synthetic.session_count) < 2 * FEWEST:
        note = f"one capture has fewer than {2 * FEWEST} TCP or UDP sessions"
        return [dcr.measured(note=note), mia.measured(note=note)]
    pool = _points(real)
    scale = _scale(pool)
    pool = _some(pool / scale, POOL, rng)
    members = pool[:most]
    written = _some(_points(pair.synthetic) / scale, POOL, rng)
    fresh = written[:most]
    if held_out is None or held_out.session_count < FEWEST:
        far = nearest(members, pool, among_themselves=True)
        note = "needs real traffic that was held out of training"
        return [_dcr_figure(pair, dcr, nearest(fresh, pool), far, rng=rng), mia.measured(note=note)]
    unseen = _some(_points(held_out) / scale, most, rng)
    near, far = nearest(fresh, pool), nearest(unseen, pool)
    figures = [_dcr_figure(pair, dcr, near, far, rng=rng)]
    # among all that were written: a copy that is not looked at cannot betray its original
    scores = -np.concatenate([nearest(members, written), nearest(unseen, written)])
    known = np.repeat([1, 0], [len(members), len(unseen)])
    raw = area_under_curve(scores, known)
    interval = None
    if not pair.quick:
        interval = interval_about(raw, resampled_auc(scores, known, rng=rng), most=1.0)
    return [*figures, mia.measured(raw=raw, interval=interval)]


def _dcr_figure(
    pair: Pair, figure: Figure, near: FloatArray, far: FloatArray, *, rng: np.random.Generator
) -> Figure:
    middle: Any = np.median
    note = ""
    if float(np.median(far)) == 0:  # most sessions have an equal twin
        middle, note = np.mean, "means, as the median distance of unseen traffic is 0"
    if float(middle(far)) == 0:
        return figure.measured(note="every unseen real session has an equal among the real ones")
    raw = float(middle(near) / middle(far))
    if pair.quick:
        return figure.measured(raw=raw, note=note)
    found = []
    for _ in range(REPLICATES):
        one, other = (d[rng.integers(0, d.size, d.size)] for d in (near, far))
        if float(middle(other)) > 0:
            found.append(float(middle(one) / middle(other)))
    return figure.measured(raw=raw, note=note, interval=interval_about(raw, np.array(found)))


def _points(trace: Trace) -> FloatArray:
    """Sessions as points, float64 [S, K]: features as log(1 + value), -1 where missing."""
    features = {k: v for k, v in session_features(trace).items() if k not in LEFT_OUT}
    matrix = np.column_stack(list(features.values()))
    return np.where(np.isnan(matrix), -1.0, np.log1p(np.maximum(np.nan_to_num(matrix), 0.0)))


def _scale(points: FloatArray) -> FloatArray:
    """Standard deviation of each column; 1 for one that is constant but for rounding."""
    spread = points.std(axis=0)
    return np.where(spread > 1e-9 * (1 + np.abs(points).max(axis=0)), spread, 1.0)


def _some(points: FloatArray, most: int, rng: np.random.Generator) -> FloatArray:
    """At most so many of the points, in random order."""
    return points[rng.permutation(len(points))[:most]]


def nearest(points: FloatArray, pool: FloatArray, *, among_themselves: bool = False) -> FloatArray:
    """Euclidean distance of each point to the closest of a pool.

    Args:
        points: float64 [M, K].
        pool: float64 [P, K].
        among_themselves: The points are rows of the pool, and a row is not its own neighbour.

    Returns:
        float64 [M].
    """
    from sklearn.neighbors import NearestNeighbors

    rank = int(among_themselves)
    search: Any = NearestNeighbors(n_neighbors=rank + 1, algorithm="brute").fit(pool)
    rows = search.kneighbors(points, return_distance=False)[:, rank]
    # anew from the coordinates: the search loses 1e-7 of a distance of 0 to rounding
    return np.asarray(np.sqrt(((points - pool[rows]) ** 2).sum(axis=1)), dtype=np.float64)
