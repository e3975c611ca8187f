"""Classifier two-sample test: can a classifier tell synthetic sessions from real ones?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray, IntArray
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import REPLICATES, interval_about
from netsynth.report.trace import hash_columns

FOLDS = 5
FEWEST = 20  # sessions a capture
MOST, MOST_QUICK = 20_000, 5_000  # sessions a capture; more are sampled
HALVED, HALVED_QUICK = 2, 1  # splits of the real sessions that the floor is averaged over
SHUFFLED = 2_000  # rows of each fold that importance is measured on
TOLD = 8  # features named by either count
MISSING = -1.0  # stands for a statistic that a session lacks; every other value is at least 0
CLEAR = 0.55  # AUC of a feature alone that is worth a word
TEXT = "AUC of a classifier told to separate synthetic sessions from real ones; 0.5 is best"


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Cross-validate a gradient-boosted classifier of sessions.

    Returns:
        The figure, AUC from 0.5 (indistinguishable, best) to 1, beside that of telling one half
        of the real sessions from the other (`scaled` is |2 AUC - 1|); and the most telling
        features: permutation importance (loss of AUC), AUC of the feature alone, medians.

    References:
        Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
    """
    real, synthetic = pair.real.trace, pair.synthetic
    figure = Figure(family="C2ST", name="AUC", text=TEXT)
    side = pair.lacks(lambda trace: trace.session_count >= FEWEST)
    if side:
        return [figure.unmeasured(side, f"has fewer than {FEWEST} TCP or UDP sessions")], {}
    rng = pair.rng("C2ST")
    most = MOST_QUICK if pair.quick else MOST
    tables = [pair.features(trace) for trace in (real, synthetic)]
    names = list(tables[0])
    ours, theirs = (np.column_stack(list(table.values())) for table in tables)
    matrices = [_sample(matrix, most=most, rng=rng) for matrix in (ours, theirs)]
    x, y = _joined(*matrices)
    auc, scores, importance = _cross_validate(x, y, explained=1 if pair.quick else 2, rng=rng)
    beside = _between_halves(pair, ours, most=most)
    scaled = _advantage(auc)
    interval = None
    if not pair.quick:
        again = 2 * resampled_auc(scores, y, rng=rng) - 1
        interval = interval_about(scaled, again, most=1.0)
    alone = np.array([lone_auc(column, y) for column in x.T])
    named = set(np.argsort(-importance, kind="stable")[:TOLD]) & set(np.flatnonzero(importance > 0))
    named |= set(np.argsort(-alone, kind="stable")[:TOLD]) & set(np.flatnonzero(alone > CLEAR))
    telling = [
        {
            "feature": names[column],
            "importance": float(importance[column]),
            "alone": float(alone[column]),
            "real": _median(matrices[0][:, column]),
            "synthetic": _median(matrices[1][:, column]),
        }
        for column in sorted(named, key=lambda c: (-alone[c] - importance[c], c))
    ]
    figure = figure.scaled_to(
        raw=auc,
        scaled=scaled,
        floor=float(np.mean([_advantage(a) for a in beside])) if beside else None,
        interval=interval,
        real=float(np.mean(beside)) if beside else None,
        note="" if beside else "the real halves have too few sessions for a floor",
    )
    return [figure], {"telling_features": telling}


def _between_halves(pair: Pair, sessions: FloatArray, *, most: int) -> list[float]:
    """AUC of telling one half of the real sessions from the other; none where they are few."""
    rng = pair.rng("C2ST of halves")
    found = []
    for first in pair.real.halves[: HALVED_QUICK if pair.quick else HALVED]:
        if min(first.sum(), (~first).sum()) < FEWEST // 2:
            continue
        matrices = [_sample(sessions[part], most=most, rng=rng) for part in (first, ~first)]
        found.append(_cross_validate(*_joined(*matrices), explained=0, rng=rng)[0])
    return found


def _joined(real: FloatArray, synthetic: FloatArray) -> tuple[FloatArray, IntArray]:
    """Rows of both, what is missing as MISSING; and 0 for real, 1 for synthetic rows."""
    x = np.nan_to_num(np.concatenate([real, synthetic]), nan=MISSING)
    return x, np.repeat([0, 1], [len(real), len(synthetic)])


def _advantage(auc: float) -> float:
    """How far an AUC lies from guessing: 0 (guesses) to 1 (always told)."""
    return abs(2 * auc - 1)


def _sample(matrix: FloatArray, *, most: int, rng: np.random.Generator) -> FloatArray:
    if len(matrix) <= most:
        return matrix
    return matrix[rng.choice(len(matrix), most, replace=False)]


def _cross_validate(
    x: FloatArray, y: IntArray, *, explained: int, rng: np.random.Generator
) -> tuple[float, FloatArray, FloatArray]:
    """Mean AUC of the folds, score of each row by a model that has not seen it, importance.

    Importance of each column is averaged over the first `explained` folds.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    folds = fold_rows(x, y, rng=rng)
    scores, importance = np.zeros(y.size), np.zeros(x.shape[1])
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = HistGradientBoostingClassifier(early_stopping=False, random_state=fold)
        model.fit(x[train], y[train])
        scores[test] = model.predict_proba(x[test])[:, 1]
        if fold >= explained:
            continue
        some = rng.permutation(test)[:SHUFFLED]
        whole = area_under_curve(scores[some], y[some])
        for column in range(x.shape[1]):
            shuffled = x[some]
            shuffled[:, column] = rng.permutation(shuffled[:, column])
            left = area_under_curve(model.predict_proba(shuffled)[:, 1], y[some])
            importance[column] += (whole - left) / explained
    auc = [area_under_curve(scores[folds == f], y[folds == f]) for f in range(FOLDS)]
    return float(np.mean(auc)), scores, importance


def fold_rows(x: FloatArray, y: IntArray, *, rng: np.random.Generator) -> IntArray:
    """Draw the fold of each row, each class spread evenly; a copy goes where its original goes.

    A row of one class that equals a row of the other teaches the classifier the wrong answer if
    it is trained on one and asked for the other: copies would push the AUC below 0.5 and hide
    what else is wrong. Rows that recur more often than there are folds are common, not copied,
    and are spread.

    Args:
        x: Features, float64 [M, K].
        y: Classes, 0 or 1, int64 [M].
        rng: Source of the draw.

    Returns:
        int64 [M], 0..FOLDS-1.
    """
    folds = np.zeros(y.size, dtype=np.int64)
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        folds[rows] = np.arange(rows.size) % FOLDS
    keys = hash_columns(*(np.ascontiguousarray(column).view(np.uint64) for column in x.T))
    _, first, group, size = np.unique(
        keys, return_index=True, return_inverse=True, return_counts=True
    )
    return np.where(size[group] <= FOLDS, folds[first][group], folds)


def area_under_curve(scores: FloatArray, y: NDArray[Any]) -> float:
    """Chance that a row of class 1 scores above a row of class 0, ties counting half.

    Args:
        scores: float64 [M].
        y: 0 or 1 (or bool), [M]; at least one row of each class.

    Returns:
        0 to 1; 0.5 where scores say nothing.

    References:
        Mann and Whitney, "On a test of whether one of two random variables is stochastically
        larger than the other", Annals of Mathematical Statistics 18, 1947.
    """
    from scipy.stats import rankdata

    positive = y == 1
    count, rest = int(positive.sum()), int((~positive).sum())
    above = float(rankdata(scores)[positive].sum()) - count * (count + 1) / 2
    return above / (count * rest)


def resampled_auc(scores: FloatArray, y: IntArray, *, rng: np.random.Generator) -> FloatArray:
    """AUC when the rows of each class are resampled, float64 [REPLICATES]."""
    sides = [scores[y == label] for label in (0, 1)]
    found = []
    for _ in range(REPLICATES):
        drawn = [side[rng.integers(0, side.size, side.size)] for side in sides]
        labels = np.repeat([0, 1], [side.size for side in drawn])
        found.append(area_under_curve(np.concatenate(drawn), labels))
    return np.array(found)


def lone_auc(values: FloatArray, y: IntArray) -> float:
    """AUC of one feature [M] by itself, whichever way it points: 0.5..1."""
    auc = area_under_curve(values, y)
    return max(auc, 1 - auc)


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else 0.0
