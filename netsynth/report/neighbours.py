"""Do synthetic sessions sit closer to the real ones than fresh traffic would?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.report.c2st import area_under_curve, resampled_auc
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import REPLICATES, interval_about

MOST, MOST_QUICK = 100_000, 2_000  # sessions whose closest is looked for, among all
MOST_OF_HALVES = 3_000  # and for each floor
FEWEST = 20
LEFT_OUT = ("forward source port",)  # drawn anew by every host

DCR_TEXT = (
    "distance to the closest real session, over that of unseen real traffic; 1 or more is safe"
)
MIA_TEXT = "AUC of telling training sessions from held-out ones by their synthetic neighbours"

Middle = Callable[[FloatArray], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """Sessions as points, distinct ones in a tree, so that the closest is the closest of all.

    Attributes:
        rows: Distinct points, float64 [U, K].
        place: int64 [S]; row of each session.
        count: int64 [U]; sessions at each point.
        tree: k-d tree over the rows.
    """

    rows: FloatArray
    place: IntArray
    count: IntArray
    tree: Any

    def __len__(self) -> int:
        return int(self.place.size)


def points_of(sessions: FloatArray) -> Points:
    """Sort sessions, float64 [S, K], into distinct points and a tree over them."""
    from scipy.spatial import cKDTree

    rows, place, count = np.unique(sessions, axis=0, return_inverse=True, return_counts=True)
    tree = cKDTree(rows, leafsize=32, balanced_tree=False)
    return Points(rows=rows, place=place.reshape(-1), count=count, tree=tree)


def nearest(points: FloatArray, pool: Points) -> FloatArray:
    """Euclidean distance of each point, float64 [M, K], to the closest of a pool: float64 [M]."""
    return np.asarray(pool.tree.query(points)[0], dtype=np.float64)


def nearest_others(pool: Points, chosen: IntArray) -> FloatArray:
    """Distance of sessions of a pool, rows [M], to the closest other session of it, [M].

    Infinite where the pool holds no other.
    """
    place = pool.place[chosen]
    if pool.rows.shape[0] == 1:
        apart = np.full(place.size, np.inf)
    else:
        apart = pool.tree.query(pool.rows[place], k=2)[0][:, 1]
    return np.asarray(np.where(pool.count[place] > 1, 0.0, apart), dtype=np.float64)


def neighbour_figures(pair: Pair) -> list[Figure]:
    """Measure the DCR ratio and the AUC of membership inference.

    Unseen traffic is the held-out capture where there is one, and else each real session in
    turn, whose closest other one is looked for. Membership inference needs a held-out capture.
    The floor of either sets one half of the real sessions in the generator's place: fresh
    traffic of the same kind, and no copy of the other half.

    References:
        Zhao et al., "CTAB-GAN", ACML 2021, section 4.1 (distance to closest record);
        Hilprecht et al., "Monte Carlo and Reconstruction Membership Inference Attacks against
        Generative Models", PETS 2019 (distance to the synthetic sample).
    """
    dcr = Figure(family="privacy", name="DCR ratio", text=DCR_TEXT)
    mia = Figure(family="privacy", name="membership AUC", text=MIA_TEXT)
    real, held_out = pair.real.trace, pair.real.held_out
    side = pair.lacks(lambda trace: trace.session_count >= 2 * FEWEST, everywhere=True)
    if side:
        note = f"has fewer than {2 * FEWEST} TCP or UDP sessions"
        return [figure.unmeasured(side, note) for figure in (dcr, mia)]
    rng = pair.rng("neighbours")
    ours = _logs(pair.features(real))
    scale = _scale(ours)
    ours /= scale
    theirs = _logs(pair.features(pair.everything)) / scale
    pool, written = points_of(ours), points_of(theirs)
    members, fresh = _some(len(pool), pair, rng), _some(len(written), pair, rng)
    near = nearest(theirs[fresh], pool)
    unseen = None
    if held_out is not None and held_out.session_count >= FEWEST:
        unseen = _logs(pair.features(held_out)) / scale
        unseen = unseen[_some(len(unseen), pair, rng)]
    far = nearest_others(pool, members) if unseen is None else nearest(unseen, pool)
    halves = [
        _half_distances(ours, first, unseen, rng=rng)
        for first in pair.real.halves[: 1 if pair.quick else None]
    ]
    looked = _looked_at(fresh, written, members, pool)
    figures = [_dcr_figure(pair, dcr, near, far, halves, looked, rng=rng)]
    if unseen is None:
        note = "needs real traffic that was held out of training (--held-out)"
        return [*figures, mia.measured(note=note)]
    # among all that were written: a copy that is not looked at cannot betray its original
    scores = -np.concatenate([nearest(ours[members], written), nearest(unseen, written)])
    known = np.repeat([1, 0], [len(members), len(unseen)])
    return [*figures, _membership_figure(pair, mia, scores, known, halves, rng=rng)]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Half:
    """One half of the real sessions in the place of training data, the other in the generator's.

    Attributes:
        near: Distance of the other half's sessions to this one's, float64.
        far: Distance of unseen sessions to this one's.
        auc: AUC of telling this half's sessions from unseen ones by their closest of the other
            half; None without held-out traffic.
    """

    near: FloatArray
    far: FloatArray
    auc: float | None


def _half_distances(
    ours: FloatArray, first: Array, unseen: FloatArray | None, *, rng: np.random.Generator
) -> _Half:
    trained, other = points_of(ours[first]), ours[~first]
    fresh = other[rng.permutation(len(other))[:MOST_OF_HALVES]]
    near = nearest(fresh, trained)
    members = rng.permutation(len(trained))[:MOST_OF_HALVES]
    if unseen is None:
        return _Half(near=near, far=nearest_others(trained, members), auc=None)
    unseen = unseen[:MOST_OF_HALVES]
    writer = points_of(other)
    apart = nearest(ours[first][members], writer), nearest(unseen, writer)
    known = np.repeat([1, 0], [side.size for side in apart])
    auc = area_under_curve(-np.concatenate(apart), known)
    return _Half(near=near, far=nearest(unseen, trained), auc=auc)


def _dcr_figure(
    pair: Pair,
    figure: Figure,
    near: FloatArray,
    far: FloatArray,
    halves: list[_Half],
    looked: str,
    *,
    rng: np.random.Generator,
) -> Figure:
    """`scaled` is how much closer than unseen traffic, 0 (no closer) to 1 (equal)."""
    middle: Middle = np.median
    notes = [looked] if looked else []
    if float(np.median(far)) == 0:  # most sessions have an equal twin
        middle = np.mean
        notes.append("means, as the median distance of unseen traffic is 0")
    raw = _closeness(near, far, middle)
    if raw is None:
        return figure.measured(note="every unseen real session has an equal among the real ones")
    found = []
    for _ in range(0 if pair.quick else REPLICATES):
        one, other = (d[rng.integers(0, d.size, d.size)] for d in (near, far))
        again = _closeness(one, other, middle)
        if again is not None:
            found.append(max(1 - again, 0.0))
    scaled = max(1 - raw, 0.0)
    known = [c for half in halves if (c := _closeness(half.near, half.far, middle)) is not None]
    return figure.scaled_to(
        raw=raw,
        scaled=scaled,
        floor=float(np.mean([max(1 - c, 0.0) for c in known])) if known else None,
        real=float(np.mean(known)) if known else None,
        interval=interval_about(scaled, np.array(found), most=1.0),
        note="; ".join(notes),
    )


def _closeness(near: FloatArray, far: FloatArray, middle: Middle) -> float | None:
    """Middle distance over that of unseen traffic; None where that is 0 or unknown."""
    known = far[np.isfinite(far)]
    beside = float(middle(known)) if known.size else 0.0
    return float(middle(near)) / beside if beside > 0 and near.size else None


def _membership_figure(
    pair: Pair,
    figure: Figure,
    scores: FloatArray,
    known: IntArray,
    halves: list[_Half],
    *,
    rng: np.random.Generator,
) -> Figure:
    """`scaled` is the attacker's advantage over guessing, 0 (none) to 1 (always right)."""
    raw = area_under_curve(scores, known)
    interval = None
    scaled = max(2 * raw - 1, 0.0)
    if not pair.quick:
        again = np.maximum(2 * resampled_auc(scores, known, rng=rng) - 1, 0.0)
        interval = interval_about(scaled, again, most=1.0)
    of_halves = [half.auc for half in halves if half.auc is not None]
    return figure.scaled_to(
        raw=raw,
        scaled=scaled,
        floor=float(np.mean([max(2 * auc - 1, 0.0) for auc in of_halves])),
        real=float(np.mean(of_halves)),
        interval=interval,
    )


def _looked_at(fresh: IntArray, written: Points, members: IntArray, pool: Points) -> str:
    """Say where not every session was judged; those that were, were set beside all others."""
    parts = [
        f"{some.size:,} of {len(every):,} {which} sessions"
        for some, every, which in ((fresh, written, "synthetic"), (members, pool, "real"))
        if some.size < len(every)
    ]
    return f"judged by {' and '.join(parts)}, each beside all" if parts else ""


def _logs(features: dict[str, FloatArray]) -> FloatArray:
    """Sessions as points, float64 [S, K]: features as log(1 + value), -1 where missing."""
    matrix = np.column_stack([v for k, v in features.items() if k not in LEFT_OUT])
    return np.where(np.isnan(matrix), -1.0, np.log1p(np.maximum(np.nan_to_num(matrix), 0.0)))


def _scale(points: FloatArray) -> FloatArray:
    """Standard deviation of each column; 1 for one that is constant but for rounding."""
    spread = points.std(axis=0)
    return np.where(spread > 1e-9 * (1 + np.abs(points).max(axis=0)), spread, 1.0)


def _some(count: int, pair: Pair, rng: np.random.Generator) -> IntArray:
    """Rows of the sessions that are judged, in random order where not all are."""
    most = MOST_QUICK if pair.quick else MOST
    if count <= most:
        return np.arange(count, dtype=np.int64)
    return rng.permutation(count)[:most].astype(np.int64)
