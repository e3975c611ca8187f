"""Are synthetic series as good to learn from as real ones?

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
CLASSIFIERS = ("MLP", "naive Bayes", "logistic regression", "decision tree", "linear SVM")


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
        rare_recall: Recall on it by what was learned from: "real", "synthetic", and "both", which
            is synthetic beside half of the real ones; decision trees.
    """

    label: str
    real: dict[str, float]
    synthetic: dict[str, float]
    rank_correlation: float
    rank_floor: float
    order_kept: float
    rare: str
    rare_recall: dict[str, float]

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
    scores = [_scores(a, b, tx, ty, seed) for a, b in ((x, y), (sx, sy))]
    again = random.integers(len(y), size=len(y))
    redrawn = _scores(x[again], y[again], tx, ty, seed)
    rare = _rarest(y, ty)
    half = random.permutation(len(y))[: round(REAL_SHARE * len(y))]
    both = np.concatenate([sx, x[half]]), np.concatenate([sy, y[half]])
    recall = {
        name: _recall(a, b, tx, ty, rare, seed)
        for name, (a, b) in {"real": (x, y), "synthetic": (sx, sy), "both": both}.items()
    }
    return LearningResult(
        label=label,
        real=scores[0],
        synthetic=scores[1],
        rank_correlation=_rank_correlation(*scores),
        rank_floor=_rank_correlation(scores[0], redrawn),
        order_kept=order_kept(*scores, judged=len(ty)),
        rare=train.schema.metadata[place].values[rare],
        rare_recall=recall,
    )


def accuracies(
    train: SeriesDataset, test: SeriesDataset, *, label: str, seed: int
) -> dict[str, float]:
    """Accuracy, 0..1, of each of CLASSIFIERS learned from `train` that predicts `test`'s label."""
    place = train.schema.metadata_place(label)
    (x, y), (tx, ty) = (_examples(data, place) for data in (train, test))
    shift, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    return _scores((x - shift) / spread, y, (tx - shift) / spread, ty, seed)


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


def _scores(x: Array, y: Array, tx: Array, ty: Array, seed: int) -> dict[str, float]:
    """Accuracy of each classifier learned from x, y on tx, ty."""
    if np.unique(y).size < 2:
        return dict.fromkeys(CLASSIFIERS, float((ty == y[0]).mean()))
    scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of classifiers that would go on a little
        for name, classifier in zip(CLASSIFIERS, _classifiers(seed), strict=True):
            scores[name] = float((classifier.fit(x, y).predict(tx) == ty).mean())
    return scores


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


def _recall(x: Array, y: Array, tx: Array, ty: Array, rare: int, seed: int) -> float:
    """Mean recall on the rare class of ten trees that see bootstraps of x, y."""
    from sklearn.ensemble import BaggingClassifier
    from sklearn.tree import DecisionTreeClassifier

    if np.unique(y).size < 2:
        return float(y[0] == rare)
    tree = DecisionTreeClassifier(min_samples_leaf=3, class_weight="balanced", random_state=seed)
    made = BaggingClassifier(tree, n_estimators=10, random_state=seed).fit(x, y)
    return float((made.predict(tx[ty == rare]) == rare).mean())
