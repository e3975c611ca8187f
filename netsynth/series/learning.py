"""Are synthetic series as good to learn from as real ones, and worth putting beside them?

References:
    Lin et al., IMC 2020, section 5.2 (train on synthetic, test on real; rank of classifiers);
    TST, arXiv 2506.07312, section 6 (synthetic beside a share of real).
"""

from __future__ import annotations

import itertools
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsynth.dataset import SeriesDataset
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.series.measures import describe_samples

MOST_SAMPLES = 4000  # that a classifier learns from or is judged by
REAL_SHARE = 0.5  # of the real samples that are put beside the synthetic ones
CLEAR = 2.0  # standard errors between accuracies that are no matter of chance
Table = tuple[FloatArray, IntArray]  # what describes samples, and their values of the label
CLASSIFIERS = ("MLP", "naive Bayes", "logistic regression", "decision tree", "linear SVM")


SOURCES = {
    "real": "real",
    "synthetic": "synthetic",
    "half": "half of the real",
    "half, synthetic": "half of the real and synthetic",
    "real, synthetic": "real and synthetic",
    "real, rare": "real and synthetic {rare}",
}  # what the rarest value is learned from, and its name for people


@dataclass(frozen=True, kw_only=True, slots=True)
class RareScore:
    """How well a value is told from all others, means of the CLASSIFIERS, each 0..1; best 1.

    Attributes:
        recall: Share of its samples that are told.
        f1: Harmonic mean of that and of the share of right ones among those told to be it.
    """

    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningResult:
    """How classifiers do that predict a metadata column of real samples they never saw.

    Attributes:
        label: The column.
        real: Accuracy by classifier, learned from real samples.
        synthetic: Accuracy by classifier, learned from as many synthetic ones.
        rank_correlation: Spearman's, of both orders of the classifiers.
        rank_floor: The same between the real samples and as many drawn from them with replacement:
            below 1 where classifiers are so nearly as good as each other that chance orders them.
        order_kept: Share of the pairs of classifiers whose accuracies from real samples lie two
            standard errors apart or more that synthetic samples put in the same order; 1 where
            there is no such pair.
        rare: The rarest value with ten samples at least.
        rare_scores: How well it is told, by what was learned from, see SOURCES.
    """

    label: str
    real: dict[str, float]
    synthetic: dict[str, float]
    rank_correlation: float
    rank_floor: float
    order_kept: float
    rare: str
    rare_scores: dict[str, RareScore]

    @property
    def ratio(self) -> float:
        """Smallest share of the real accuracy that a classifier keeps."""
        return min(self.synthetic[name] / max(self.real[name], 1e-9) for name in self.real)


def choose_label(dataset: SeriesDataset) -> str | None:
    """Name the schema's label, or the first category of 2 to 20 values, or None."""
    if dataset.schema.label is not None:
        return dataset.schema.label
    for place, column in enumerate(dataset.schema.metadata):
        used = np.unique(dataset.metadata[:, place]).size
        if column.is_categorical and 2 <= used <= 20:
            return column.name
    return None


def compare_learning(
    train: SeriesDataset, test: SeriesDataset, synthetic: SeriesDataset, *, label: str, seed: int
) -> LearningResult:
    """Learn from real and from synthetic samples, and judge both by other real ones.

    Args:
        train: Real samples to learn from.
        test: Other real samples.
        synthetic: Synthetic samples, of which as many are taken.
        label: Metadata column to predict.
        seed: Of what is taken, and of the classifiers.
    """
    random = np.random.default_rng(seed)
    parts = [_some(data, random) for data in (train, test, synthetic)]
    parts[2] = parts[2].take(random.permutation(len(parts[2]))[: len(parts[0])])
    place = train.schema.metadata_place(label)
    (x, y), (tx, ty), (sx, sy) = (_examples(data, place) for data in parts)
    shift, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    x, tx, sx = ((part - shift) / spread for part in (x, tx, sx))
    rare = _rarest(y, ty)
    tables = _sources((x, y), (sx, sy), rare, random)
    answers = {name: _answers(*table, tx, seed) for name, table in tables.items()}
    real, made = (_accuracies(answers[name], ty) for name in ("real", "synthetic"))
    again = random.integers(len(y), size=len(y))
    redrawn = _accuracies(_answers(x[again], y[again], tx, seed), ty)
    return LearningResult(
        label=label,
        real=real,
        synthetic=made,
        rank_correlation=_rank_correlation(real, made),
        rank_floor=_rank_correlation(real, redrawn),
        order_kept=order_kept(real, made, judged=len(ty)),
        rare=train.schema.metadata[place].values[rare],
        rare_scores={name: rare_score(found, ty, rare) for name, found in answers.items()},
    )


def _sources(
    real: Table, synthetic: Table, rare: int, random: np.random.Generator
) -> dict[str, Table]:
    """What the rarest value is learned from, by the names of SOURCES.

    Of synthetic samples of that value alone, no more are taken than balance it with the commonest.
    """
    (x, y), (sx, sy) = real, synthetic
    half = random.permutation(len(y))[: round(REAL_SHARE * len(y))]
    lacking = np.bincount(y).max() - (y == rare).sum()
    alike = np.flatnonzero(sy == rare)[:lacking]

    def joined(rows: IntArray, added: IntArray) -> Table:
        return np.concatenate([x[rows], sx[added]]), np.concatenate([y[rows], sy[added]])

    every, all_made = np.arange(len(y)), np.arange(len(sy))
    return {
        "real": real,
        "synthetic": synthetic,
        "half": (x[half], y[half]),
        "half, synthetic": joined(half, all_made),
        "real, synthetic": joined(every, all_made),
        "real, rare": joined(every, alike),
    }


def rare_score(answers: dict[str, IntArray], truth: IntArray, value: int) -> RareScore:
    """Score `value` in the answers [F] of several classifiers, by the truth [F]."""
    recall, f1 = [], []
    for told in answers.values():
        hits = int(((told == value) & (truth == value)).sum())
        held, said = int((truth == value).sum()), int((told == value).sum())
        recall.append(hits / max(held, 1))
        f1.append(2 * hits / max(held + said, 1))
    return RareScore(recall=float(np.mean(recall)), f1=float(np.mean(f1)))


def accuracies(
    train: SeriesDataset, test: SeriesDataset, *, label: str, seed: int
) -> dict[str, float]:
    """Accuracy, 0..1, of each of CLASSIFIERS learned from `train` that predicts `test`'s label."""
    found, truth = _judge(train, test, label, seed)
    return _accuracies(found, truth)


def telling(
    train: SeriesDataset, test: SeriesDataset, *, label: str, value: str, seed: int
) -> RareScore:
    """How well classifiers learned from `train` tell a value of `label` in `test`."""
    found, truth = _judge(train, test, label, seed)
    column = train.schema.metadata[train.schema.metadata_place(label)]
    return rare_score(found, truth, column.values.index(value))


def _judge(
    train: SeriesDataset, test: SeriesDataset, label: str, seed: int
) -> tuple[dict[str, IntArray], IntArray]:
    """What classifiers learned from `train` say of `test`, and its label [F]."""
    place = train.schema.metadata_place(label)
    (x, y), (tx, ty) = (_examples(data, place) for data in (train, test))
    shift, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    return _answers((x - shift) / spread, y, (tx - shift) / spread, seed), ty


def _rank_correlation(real: dict[str, float], synthetic: dict[str, float]) -> float:
    """Spearman's; 1 where all real scores are equal, so that there is no order to keep."""
    from scipy.stats import spearmanr

    order = [[score[name] for name in CLASSIFIERS] for score in (real, synthetic)]
    if len(set(order[0])) == 1:
        return 1.0
    return 0.0 if len(set(order[1])) == 1 else float(spearmanr(*order).statistic)


def order_kept(real: dict[str, float], synthetic: dict[str, float], *, judged: int) -> float:
    """Share of clearly different pairs that keep their order, 0..1; best 1.

    Args:
        real: Accuracy by classifier, learned from real samples.
        synthetic: The same, learned from synthetic ones.
        judged: Samples that the accuracies are of.
    """
    kept = pairs = 0
    for better, worse in itertools.permutations(real, 2):
        apart = real[better] - real[worse]
        error = math.sqrt(sum(real[n] * (1 - real[n]) for n in (better, worse)) / judged)
        if apart > 0 and apart >= CLEAR * error:
            pairs += 1
            kept += synthetic[better] > synthetic[worse]
    return kept / pairs if pairs else 1.0


def _some(dataset: SeriesDataset, random: np.random.Generator) -> SeriesDataset:
    if len(dataset) <= MOST_SAMPLES:
        return dataset
    return dataset.take(np.sort(random.choice(len(dataset), MOST_SAMPLES, replace=False)))


def _examples(dataset: SeriesDataset, place: int) -> tuple[FloatArray, IntArray]:
    return describe_samples(dataset), dataset.metadata[:, place].astype(np.int64)


def _answers(x: Array, y: IntArray, tx: Array, seed: int) -> dict[str, IntArray]:
    """What each classifier learned from x, y says of tx: int64 [F] by classifier."""
    if np.unique(y).size < 2:
        return {name: np.full(len(tx), y[0]) for name in CLASSIFIERS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classifiers that would go on a little
        return {
            name: np.asarray(classifier.fit(x, y).predict(tx), dtype=np.int64)
            for name, classifier in zip(CLASSIFIERS, _classifiers(seed), strict=True)
        }


def _accuracies(answers: dict[str, IntArray], truth: IntArray) -> dict[str, float]:
    return {name: float((told == truth).mean()) for name, told in answers.items()}


def _classifiers(seed: int) -> list[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neural_network import MLPClassifier
    from sklearn.svm import LinearSVC
    from sklearn.tree import DecisionTreeClassifier

    return [
        MLPClassifier((50,), max_iter=150, random_state=seed),
        GaussianNB(var_smoothing=1e-3),
        LogisticRegression(max_iter=300),
        DecisionTreeClassifier(min_samples_leaf=5, random_state=seed),
        LinearSVC(random_state=seed),
    ]


def _rarest(y: Array, ty: Array) -> int:
    """Rarest class with ten samples to be judged by, or the rarest there is."""
    classes, count = np.unique(ty, return_counts=True)
    enough = classes[count >= 10]
    enough = enough if enough.size else classes
    share = [(y == value).sum() for value in enough]
    return int(enough[int(np.argmin(share))])
