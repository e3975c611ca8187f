"""Classifier two-sample test: can a classifier tell synthetic sessions from real ones?"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray
from netsynth.report.fidelity import Figure
from netsynth.report.sessions import session_features
from netsynth.report.trace import Trace, hash_columns

FAMILY = "C2ST"
FOLDS = 5
FEWEST = 20  # sessions a capture
MOST = 20_000  # sessions a capture; more are sampled
TOLD = 8  # features named


def tell_apart(
    real: Trace, synthetic: Trace, *, seed: int, most: int = MOST, explain: bool = True
) -> tuple[Figure, list[dict[str, Any]]]:
    """Cross-validate a gradient-boosted classifier told to separate the sessions of two traces.

    Args:
        real: The real trace.
        synthetic: The synthetic trace.
        seed: Seed of folds, classifier and sampling.
        most: Sessions a trace that are looked at.
        explain: False leaves the telling features out.

    Returns:
        The figure, AUC from 0.5 (indistinguishable, best) to 1, and the most telling features:
        permutation importance (loss of AUC), AUC of the feature alone, medians.

    References:
        Lopez-Paz and Oquab, "Revisiting Classifier Two-Sample Tests", ICLR 2017.
    """
    text = "AUC of a classifier that tells synthetic sessions from real ones; 0.5 is best"
    few = [trace.session_count < FEWEST for trace in (real, synthetic)]
    if any(few):
        which = "real" if few[0] else "synthetic"
        note = f"the {which} capture has fewer than {FEWEST} TCP or UDP sessions"
        return Figure(family=FAMILY, name="AUC", text=text, note=note), []
    rng = np.random.default_rng(seed)
    tables = [session_features(trace) for trace in (real, synthetic)]
    names = list(tables[0])
    matrices = [_sample(np.column_stack(list(t.values())), most=most, rng=rng) for t in tables]
    x = np.concatenate(matrices)
    y = np.repeat([0, 1], [len(m) for m in matrices])
    aucs, importance = _cross_validate(x, y, seed=seed, explain=explain)
    auc = float(np.mean(aucs))
    half = 1.96 * float(np.std(aucs, ddof=1)) / np.sqrt(FOLDS)
    figure = Figure(
        family=FAMILY,
        name="AUC",
        text=text,
        raw=auc,
        interval=(max(auc - half, 0.0), min(auc + half, 1.0)),
    )
    telling = [
        {
            "feature": names[column],
            "importance": float(importance[column]),
            "alone": lone_auc(x[:, column], y),
            "real": _median(matrices[0][:, column]),
            "synthetic": _median(matrices[1][:, column]),
        }
        for column in np.argsort(-importance, kind="stable")[:TOLD]
        if importance[column] > 0
    ]
    return figure, telling


def _sample(matrix: FloatArray, *, most: int, rng: np.random.Generator) -> FloatArray:
    if len(matrix) <= most:
        return matrix
    return matrix[rng.choice(len(matrix), most, replace=False)]


def _cross_validate(
    x: FloatArray, y: NDArray[np.int64], *, seed: int, explain: bool
) -> tuple[list[float], FloatArray]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(seed)
    aucs: list[float] = []
    importance = np.zeros(x.shape[1])
    folds = fold_rows(x, y, rng=rng)
    for fold in range(FOLDS):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # columns of NaN alone have no bins
            model.fit(x[train], y[train])
        auc = float(roc_auc_score(y[test], model.predict_proba(x[test])[:, 1]))
        aucs.append(auc)
        if not explain or len(aucs) > 1:
            continue
        for column in range(x.shape[1]):
            shuffled = x[test].copy()
            shuffled[:, column] = rng.permutation(shuffled[:, column])
            found = roc_auc_score(y[test], model.predict_proba(shuffled)[:, 1])
            importance[column] = auc - float(found)
    return aucs, importance


def fold_rows(
    x: FloatArray, y: NDArray[np.int64], *, rng: np.random.Generator
) -> NDArray[np.int64]:
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


def lone_auc(values: FloatArray, y: NDArray[np.int64]) -> float:
    """AUC of one feature [M] by itself, whichever way it points: 0.5..1; NaN ranks lowest."""
    from scipy.stats import rankdata

    ranks = rankdata(np.where(np.isnan(values), -np.inf, values))
    positive = y == 1
    count, rest = int(positive.sum()), int((~positive).sum())
    auc = (float(ranks[positive].sum()) - count * (count + 1) / 2) / (count * rest)
    return max(auc, 1 - auc)


def _median(values: FloatArray) -> float:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if known.size else 0.0
