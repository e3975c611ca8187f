"""Do synthetic sessions sit closer to the real ones than fresh traffic would?"""

from __future__ import annotations

from typing import Any

import numpy as np

from netsynth.numbers import FloatArray
from netsynth.report.c2st import area_under_curve
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import REPLICATES, interval_about
from netsynth.report.sessions import session_features
from netsynth.report.trace import Trace

MOST, MOST_QUICK = 4_000, 1_500  # sessions a side
FEWEST = 20
LEFT_OUT = ("forward source port",)  # drawn anew by every host

DCR_TEXT = (
    "distance to the closest real session, over that of unseen real traffic; 1 or more is safe"
)
MIA_TEXT = "AUC of telling training sessions from held-out ones by their synthetic neighbours"


def neighbour_figures(pair: Pair) -> list[Figure]:
    """Measure the DCR ratio and the AUC of membership inference.

    The pool of real sessions and the unseen ones are the two halves of the real capture, or the
    real and the held-out capture where there is one. Membership inference needs a held-out one.

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
    ours = _points(real)
    scale = _scale(ours)
    rows = rng.permutation(len(ours))
    pool, unseen = ours[rows[: len(rows) // 2]], ours[rows[len(rows) // 2 :]]
    if held_out is not None and held_out.session_count >= FEWEST:
        pool, unseen = ours[rows], _points(held_out)
    pool, unseen, fresh = (
        _shrunk(points, scale, most=most, rng=rng)
        for points in (pool, unseen, _points(pair.synthetic))
    )
    near, far = nearest(fresh, pool), nearest(unseen, pool)
    figures = [_dcr_figure(pair, dcr, near, far, rng=rng)]
    if held_out is None or held_out.session_count < FEWEST:
        note = "needs real traffic that was held out of training"
        return [*figures, mia.measured(note=note)]
    members, others = -nearest(pool, fresh), -nearest(unseen, fresh)
    scores = np.concatenate([members, others])
    known = np.repeat([1, 0], [members.size, others.size])
    return [*figures, mia.measured(raw=area_under_curve(scores, known))]


def _dcr_figure(
    pair: Pair, figure: Figure, near: FloatArray, far: FloatArray, *, rng: np.random.Generator
) -> Figure:
    middle: Any = np.median
    note = ""
    if float(np.median(far)) == 0:  # most sessions have an equal twin
        middle, note = np.mean, "means, as the median distance of unseen traffic is 0"
    if float(middle(far)) == 0:
        return figure.measured(note="every unseen real session has an equal in the other half")
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
    spread = points.std(axis=0)
    return np.where(spread > 0, spread, 1.0)


def _shrunk(
    points: FloatArray, scale: FloatArray, *, most: int, rng: np.random.Generator
) -> FloatArray:
    if len(points) > most:
        points = points[rng.choice(len(points), most, replace=False)]
    return points / scale


def nearest(points: FloatArray, pool: FloatArray) -> FloatArray:
    """Euclidean distance of each point [M, K] to the closest of a pool [P, K], float64 [M]."""
    from sklearn.neighbors import NearestNeighbors

    search: Any = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(pool)
    distances: FloatArray = search.kneighbors(points)[0][:, 0]
    return distances
