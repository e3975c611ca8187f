"""Anomaly detection: does a detector trained on synthetic flows judge real ones alike?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray
from netsynth.report import detectors
from netsynth.report.fidelity import Figure, Side
from netsynth.report.pair import Pair
from netsynth.report.representations import NAMES, Flows, flows_of, represent, shape_of
from netsynth.report.resample import REPLICATES, interval_about

FEWEST = 40  # flows of two packets or more
MOST = 1_500  # flows a detector is trained on, and judges

Verdicts = NDArray[np.bool_]  # [flows judged], True where anomalous


def figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Train six detectors on six representations of either trace; both judge the real flows.

    A detector calls the strangest tenth of its training flows anomalous. `raw` of a figure is
    the F1 score of the *anomalous* class, verdicts of the detector trained on real flows being
    taken as true, averaged over the detectors; `scaled` is 1 - F1, and its floor comes from
    detectors trained on the two halves of the real sessions. Details hold the F1 of both
    classes for each of the 36.

    References:
        CascadeNet, section 7.3.
    """
    real, synthetic = flows_of(pair.real.trace), flows_of(pair.synthetic)
    few = [flows.starts.size < FEWEST for flows in (real, synthetic)]
    if any(few):
        side: Side = "real" if few[0] else "synthetic"
        note = f"has fewer than {FEWEST} flows of two packets or more"
        return [_figure(name).unmeasured(side, note) for name in NAMES], {}
    shape = shape_of(real)
    ours, theirs = represent(real, shape), represent(synthetic, shape)
    chosen = _choose(pair, real, synthetic)
    rows, details = [], {}
    for name in NAMES:
        if name not in ours:
            note = "three in ten real flows have no duration, so samples have none"
            rows.append(_figure(name).measured(note=note))
            continue
        figure, details[name] = _representation(pair, name, ours[name], theirs[name], chosen)
        rows.append(figure)
    return rows, {"anomaly": details}


def _figure(name: str) -> Figure:
    text = f"F1 of detectors trained on synthetic flows against those trained on real, {name}"
    return Figure(family="anomaly", name=name, text=text, in_mean=True)


def _choose(pair: Pair, real: Flows, synthetic: Flows) -> dict[str, NDArray[np.int64]]:
    """Rows of the flows that are judged and that each side trains on, at most MOST.

    Each side draws from the same seed, so that equal traces train on equal rows.
    """

    def some(rows: NDArray[Any]) -> NDArray[np.int64]:
        return np.sort(pair.rng("anomaly").permutation(rows)[:MOST]).astype(np.int64)

    first = pair.real.halves[0][real.session]
    judged = some(np.arange(real.starts.size))
    return {
        "judged": judged,
        "real": judged,
        "synthetic": some(np.arange(synthetic.starts.size)),
        "half": some(np.flatnonzero(first)),
        "other half": some(np.flatnonzero(~first)),
    }


def _representation(
    pair: Pair,
    name: str,
    real: FloatArray,
    synthetic: FloatArray,
    chosen: dict[str, NDArray[np.int64]],
) -> tuple[Figure, dict[str, Any]]:
    judged = real[chosen["judged"]]
    halves = [chosen[side] for side in ("half", "other half")]
    floor_known = min(map(len, halves)) >= FEWEST // 4
    by_real, by_synthetic, floors, found = [], [], [], {}
    for detector in detectors.NAMES:

        def verdicts(rows: FloatArray, detector: str = detector) -> Verdicts:
            return detectors.train_detector(detector, rows, seed=pair.seed)(judged)

        one = verdicts(real[chosen["real"]])
        other = verdicts(synthetic[chosen["synthetic"]])
        by_real.append(one)
        by_synthetic.append(other)
        found[detector] = {"anomalous": f1(one, other), "normal": f1(~one, ~other)}
        if floor_known:
            floors.append(f1(*(verdicts(real[half]) for half in halves)))
            found[detector]["floor"] = floors[-1]
    truth, answer = np.stack(by_real), np.stack(by_synthetic)  # [6, flows]
    raw = float(np.mean([f1(a, b) for a, b in zip(truth, answer, strict=True)]))
    floor = 1 - float(np.mean(floors)) if floors else None
    interval = None
    if not pair.quick:
        again = resampled_f1(truth, answer, rng=pair.rng(name))
        interval = interval_about(1 - raw, 1 - again, most=1.0)
    figure = _figure(name).scaled_to(raw=raw, scaled=1 - raw, floor=floor, interval=interval)
    return figure, found


def f1(truth: Verdicts, answer: Verdicts) -> float:
    """F1 score of True, 0 to 1 (best); 1 where neither says True."""
    both = int((truth & answer).sum())
    either = int(truth.sum()) + int(answer.sum())
    return 2 * both / either if either else 1.0


def resampled_f1(truth: Verdicts, answer: Verdicts, *, rng: np.random.Generator) -> FloatArray:
    """Mean F1 over detectors, [D, flows] each, when the flows are resampled; [REPLICATES]."""
    weights = rng.poisson(1.0, (REPLICATES, truth.shape[1])).astype(np.float64)
    both = weights @ (truth & answer).T  # [REPLICATES, D]
    either = weights @ truth.T + weights @ answer.T
    scores = np.where(either > 0, 2 * both / np.maximum(either, 1), 1.0)
    return np.asarray(scores.mean(axis=1), dtype=np.float64)
