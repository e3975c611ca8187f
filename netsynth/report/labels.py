"""Labels: does a classifier trained on synthetic sessions know the real classes?"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from netsynth.numbers import FloatArray, IntArray
from netsynth.report.classifiers import JUDGE, classifiers
from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.resample import REPLICATES, interval_about
from netsynth.report.trace import Trace
from netsynth.report.validity import share_figure

FEWEST = 8  # sessions of a class in the real capture
MOST = 20_000  # sessions a side
TRAINED = 0.7  # share of the real sessions that real-trained classifiers may see
SHARED = 0.2  # of those, what augmentation starts from
LEFT_OUT = ("forward source port",)


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Train on synthetic sessions, test on held-out real ones (TSTR); and beside real ones.

    Accuracy and macro F1 of each figure stand beside those of the same classifier trained on
    real sessions (real). Augmentation adds the synthetic sessions to a fifth of the real ones;
    its `real` is that fifth alone.

    References:
        Lin et al., "Using GANs for Sharing Networked Time Series Data", IMC 2020, section 5.2.
    """
    figure = Figure(family="labels", name="TSTR accuracy", text=_TEXT)
    side = pair.lacks(lambda trace: bool(trace.label.any()), everywhere=True)
    if side:
        return [figure.unmeasured(side, _UNLABELLED[side])], {}
    if len(class_names(pair)) < 2:
        note = f"has fewer than two classes with {FEWEST} sessions each"
        return [figure.unmeasured("real", note)], {}
    names = class_names(pair)
    rng = pair.rng("labels")
    (x, y), (x_synthetic, y_synthetic) = (
        labelled(trace, pair.features(trace), names, rng=rng)
        for trace in (pair.real.trace, pair.everything)
    )
    test = held_out_rows(y, rng=rng)
    train = np.flatnonzero(~test)
    some = rng.permutation(train)[: max(int(SHARED * train.size), 2 * len(names))]
    halved = rng.permutation(train)
    half, other = halved[: train.size // 2], halved[train.size // 2 :]
    answers: dict[str, dict[str, IntArray]] = {}
    sources = {
        "real": (x[train], y[train]),
        "synthetic": (x_synthetic, y_synthetic),
        "some": (x[some], y[some]),
        "augmented": (
            np.concatenate([x[some], x_synthetic]),
            np.concatenate([y[some], y_synthetic]),
        ),
        "half": (x[half], y[half]),
        "other half": (x[other], y[other]),
    }
    for classifier in classifiers(0):
        answers[classifier] = {}
        for source, (rows, labels) in sources.items():
            model = classifiers(labels.size)[classifier]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a solver may stop early; it still answers
                answers[classifier][source] = model.fit(rows, labels).predict(x[test])
    return _judge(pair, names, y[test], answers)


_TEXT = "accuracy of a classifier trained on synthetic sessions, on held-out real ones"


_UNLABELLED = {
    "real": "has no labels (--labels)",
    "synthetic": "has no labels (--synthetic-labels)",
}


def session_labels(trace: Trace) -> IntArray:
    """Label of each session, that of its first packet: row of label_names, int64 [S]."""
    _, first = np.unique(trace.session, return_index=True)
    return trace.label[first].astype(np.int64)


def class_names(pair: Pair) -> list[str]:
    """Labels that enough real sessions have; "" is traffic without a label."""
    counts = np.bincount(
        session_labels(pair.real.trace), minlength=len(pair.real.trace.label_names)
    )
    return [
        name
        for name, count in zip(pair.real.trace.label_names, counts, strict=True)
        if count >= FEWEST
    ]


def labelled(
    trace: Trace,
    features: dict[str, FloatArray],
    names: list[str],
    *,
    rng: np.random.Generator,
) -> tuple[FloatArray, IntArray]:
    """Features [M, K] (NaN as -1) and class [M] of the sessions of the named classes."""
    place = np.array([names.index(n) if n in names else -1 for n in trace.label_names])
    label = place[session_labels(trace)]
    features = {k: v for k, v in features.items() if k not in LEFT_OUT}
    rows = np.flatnonzero(label >= 0)
    if rows.size > MOST:
        rows = rng.choice(rows, MOST, replace=False)
    return np.nan_to_num(np.column_stack(list(features.values()))[rows], nan=-1.0), label[rows]


def held_out_rows(y: IntArray, *, rng: np.random.Generator) -> Any:
    """Draw 30 % of each class, at least one row, to be tested on: bool [M]."""
    test = np.zeros(y.size, dtype=np.bool_)
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        test[rows[: max(1, round((1 - TRAINED) * rows.size))]] = True
    return test


def _judge(
    pair: Pair, names: list[str], truth: IntArray, answers: dict[str, dict[str, IntArray]]
) -> tuple[list[Figure], dict[str, Any]]:
    once = np.ones((1, truth.size))
    draws = np.zeros((0, truth.size))
    if not pair.quick:
        draws = pair.rng("labels again").poisson(1.0, (REPLICATES, truth.size)).astype(np.float64)
        draws = draws[draws.sum(axis=1) > 0]
    count = len(names)
    accuracy, macro = (
        {
            source: np.stack([score(truth, a[source], count, once) for a in answers.values()])
            for source in ("real", "synthetic", "some", "augmented")
        }
        for score in (_accuracies, _macro_f1)
    )  # [classifiers, 1] each
    rows = [
        _score_figure(name, text, truth, answers, ways, draws, count=count)
        for name, text, ways in (
            ("TSTR accuracy", _TEXT, (_accuracies, "synthetic", "real")),
            ("TSTR F1", "macro F1 of the same", (_macro_f1, "synthetic", "real")),
            (
                "augmented accuracy",
                "accuracy with synthetic added",
                (_accuracies, "augmented", "some"),
            ),
            (
                "augmented F1",
                "macro F1 with synthetic sessions added",
                (_macro_f1, "augmented", "some"),
            ),
        )
    ]
    judge = answers[JUDGE]
    ours, theirs = (class_f1(truth, judge[source], count) for source in ("real", "synthetic"))
    again = weighted_f1(truth, judge["synthetic"], count, draws)  # [B, classes]
    for label, name in enumerate(names):
        shown = name or "(no label)"
        figure = Figure(
            family="labels",
            name=f"F1 {shown}",
            text=f"F1 of {shown}, {JUDGE} trained on synthetic sessions",
        )
        interval = interval_about(theirs[label], again[:, label], most=1.0)
        rows.append(share_figure(figure, theirs[label], ours[label], interval))
    rows.append(_rank_figure(truth, answers, draws))
    table = {
        name: {source: [float(accuracy[source][i, 0]), float(macro[source][i, 0])]
               for source in accuracy}
        for i, name in enumerate(answers)
    }  # fmt: skip
    return rows, {"classifiers": table}


Score = Callable[[IntArray, IntArray, int, FloatArray], FloatArray]


def _score_figure(
    name: str,
    text: str,
    truth: IntArray,
    answers: dict[str, dict[str, IntArray]],
    ways: tuple[Score, str, str],
    draws: FloatArray,
    *,
    count: int,
) -> Figure:
    """Mean score over the classifiers of one training source, beside another, with an interval."""
    score, source, beside = ways

    def mean(of: str, weights: FloatArray) -> FloatArray:
        found = [score(truth, answer[of], count, weights) for answer in answers.values()]
        return np.asarray(np.mean(found, axis=0), dtype=np.float64)

    once = np.ones((1, truth.size))
    raw = float(mean(source, once)[0])
    return share_figure(
        Figure(family="labels", name=name, text=text),
        raw,
        float(mean(beside, once)[0]),
        interval_about(raw, mean(source, draws), most=1.0),
    )


def _accuracies(truth: IntArray, answer: IntArray, _: int, weights: FloatArray) -> FloatArray:
    """Share of right answers under each row of weights, [B, M]: float64 [B]."""
    return np.asarray(weights @ (truth == answer) / weights.sum(axis=1), dtype=np.float64)


def _macro_f1(truth: IntArray, answer: IntArray, count: int, weights: FloatArray) -> FloatArray:
    """Mean F1 over the classes under each row of weights, [B, M]: float64 [B]."""
    return np.asarray(weighted_f1(truth, answer, count, weights).mean(axis=1), dtype=np.float64)


def weighted_f1(truth: IntArray, answer: IntArray, count: int, weights: FloatArray) -> FloatArray:
    """F1 of each of `count` classes when rows count as often as their weights say.

    Args:
        truth: Classes, int64 [M].
        answer: What was answered, int64 [M].
        count: Classes, K.
        weights: float64 [B, M].

    Returns:
        float64 [B, K], 0 to 1 (best); 0 where a class neither occurs nor is answered.
    """
    classes = np.arange(count)
    is_true, is_said = truth[:, None] == classes, answer[:, None] == classes  # [M, K]
    both = weights @ (is_true & is_said)
    either = weights @ is_true + weights @ is_said
    return np.asarray(2 * both / np.where(either > 0, either, 1.0), dtype=np.float64)


def class_f1(truth: IntArray, answer: IntArray, count: int) -> list[float]:
    """F1 of each of `count` classes, 0 to 1 (best); 0 where a class is never answered right."""
    found: list[float] = weighted_f1(truth, answer, count, np.ones((1, truth.size)))[0].tolist()
    return found


def _rank_figure(
    truth: IntArray, answers: dict[str, dict[str, IntArray]], draws: FloatArray
) -> Figure:
    text = "Spearman rank correlation of the classifiers' accuracies; 1 is the same order"
    figure = Figure(family="labels", name="rank correlation", text=text)
    weights = np.concatenate([np.ones((1, truth.size)), draws])

    def orders(one: str, other: str) -> list[float | None]:
        """Rank correlation of two training sources, as drawn and in each resampling."""
        both = [
            np.stack([_accuracies(truth, a[source], 0, weights) for a in answers.values()], axis=1)
            for source in (one, other)
        ]  # [1 + B, classifiers] each
        return [
            rank_correlation(a, b) if np.ptp(a) and np.ptp(b) else None
            for a, b in zip(*both, strict=True)
        ]

    found, beside = orders("real", "synthetic"), orders("half", "other half")[0]
    if found[0] is None:
        return figure.measured(note="all classifiers do equally well, so there is no order")
    again = np.array([1 - value for value in found[1:] if value is not None])
    return figure.scaled_to(
        raw=found[0],
        scaled=1 - found[0],
        floor=None if beside is None else 1 - beside,
        real=beside,
        interval=interval_about(1 - found[0], again, most=2.0),
        note="" if beside is not None else "trained on real halves, all do equally well",
    )


def rank_correlation(first: FloatArray, second: FloatArray) -> float:
    """Spearman rank correlation of two series of unlike values, -1 to 1.

    References:
        Spearman, "The Proof and Measurement of Association between Two Things", American Journal
        of Psychology 15, 1904.
    """
    from scipy.stats import rankdata

    one, other = rankdata(first), rankdata(second)
    return float(np.corrcoef(one, other)[0, 1])
