"""From two samples to a figure: distance, scale, floor between real halves, interval."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray
from netsynth.report.distances import (
    count_categories,
    deviation,
    emd,
    emd_sorted,
    jsd,
    rank_jsd,
)
from netsynth.report.fidelity import Figure, Side
from netsynth.report.pair import Pair
from netsynth.report.resample import interval_about, resampled_distances
from netsynth.report.samples import Measure, Sample, Sampler

CURVE_POINTS = 101
TOP_CATEGORIES = 12

Replicate = Callable[[Measure], FloatArray]


def distance_figures(
    pair: Pair,
    *,
    family: str,
    measures: Sequence[Measure],
    of_sessions: Sampler | None = None,
    of_trace: Sampler | None = None,
    replicate: Replicate | None = None,
) -> tuple[list[Figure], dict[str, Any]]:
    """Measure a family of distances.

    Args:
        pair: What is compared.
        family: Its name.
        measures: Its measures.
        of_sessions: Gives the samples whose floor is taken between halves of the sessions.
        of_trace: Gives those whose floor is taken between the time halves.
        replicate: Gives a measure's raw distance in each resampling, where resampling the groups
            of its samples would not do.

    Returns:
        One Figure a measure, and the curve of each for drawing.
    """
    samplers = [sampler for sampler in (of_sessions, of_trace) if sampler is not None]
    real, synthetic, early, late = (
        _sampled(trace, samplers if both else [of_trace] if of_trace else [])
        for trace, both in (
            (pair.real.trace, True),
            (pair.synthetic, True),
            (pair.real.early, False),
            (pair.real.late, False),
        )
    )
    figures, curves = [], {}
    for measure in measures:
        ours, theirs = real[measure.name], synthetic[measure.name]
        if ours.values.size == 0 or theirs.values.size == 0:
            side: Side = "real" if ours.values.size == 0 else "synthetic"
            figures.append(figure_of(measure, family).unmeasured(side, f"has no {measure.text}"))
            continue
        floor = (
            floor_between(measure, early[measure.name], late[measure.name])
            if measure.over_time
            else floor_between_sessions(measure, ours, pair.real.halves)
        )
        figure, scale = scaled_figure(
            measure, family=family, real=ours, synthetic=theirs, floor=floor
        )
        if not pair.quick and scale > 0 and figure.raw is not None:
            rng = pair.rng(f"{family} {measure.name}")
            replicates = (
                replicate(measure)
                if replicate
                else resampled_distances(measure.kind, ours, theirs, rng=rng)
            )
            most = np.inf if measure.kind == "emd" else 1.0
            interval = interval_about(figure.raw / scale, replicates / scale, most=most)
            figure = figure.with_interval(interval)
        figures.append(figure)
        if measure.drawn:
            curves[measure.name] = curve_of(measure, ours.values, theirs.values)
    return figures, {"curves": curves}


def _sampled(trace: Any, samplers: Sequence[Sampler]) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for sampler in samplers:
        found |= sampler(trace)
    return found


def figure_of(measure: Measure, family: str) -> Figure:
    """The figure of a measure, without its value."""
    return Figure(
        family=family,
        name=measure.name,
        text=measure.text,
        unit=measure.unit,
        in_mean=measure.in_mean,
    )


def scaled_figure(
    measure: Measure, *, family: str, real: Sample, synthetic: Sample, floor: float | None
) -> tuple[Figure, float]:
    """Compare two samples of at least one value each.

    Args:
        measure: What is compared, and how.
        family: Family the figure belongs to.
        real: Sample of the real trace.
        synthetic: Sample of the synthetic trace.
        floor: Raw distance between halves of the real trace; None where not measurable.

    Returns:
        A Figure without interval, and what its raw distance was divided by.
    """
    raw = distance(measure, real.values, synthetic.values)
    scale = deviation(real.values) if measure.kind == "emd" else 1.0
    notes = []
    scaled: float | None = 0.0 if raw == 0 else None
    if scale > 0:
        scaled = raw / scale
    elif raw > 0:
        notes.append("every real value is 0, so there is no scale")
    if floor is None:
        notes.append("one half of the real capture shows none, so there is no floor")
    scaled_floor = floor / scale if floor is not None and scale > 0 else floor
    figure = replace(
        figure_of(measure, family),
        raw=raw,
        scaled=scaled,
        floor=scaled_floor,
        scale=scale if measure.kind == "emd" else None,
        ratio=scaled / scaled_floor if scaled is not None and scaled_floor else None,
        note="; ".join(notes),
    )
    return figure, scale


def distance(measure: Measure, real: Array, synthetic: Array) -> float:
    """Distance of two samples of values, at least one each, in the measure's unit."""
    if measure.kind == "emd":
        return emd(real, synthetic)
    counts = count_categories(real, synthetic)
    return jsd(*counts) if measure.kind == "jsd" else rank_jsd(*counts)


def floor_between_sessions(
    measure: Measure, real: Sample, halves: NDArray[np.bool_]
) -> float | None:
    """Mean raw distance between random halves of the real sessions; None if a half is empty.

    Args:
        measure: What is compared, and how.
        real: Sample of the real trace, grouped by session.
        halves: Sessions of the first half in each split, bool [splits, S].
    """
    between = _emd_between(real) if measure.kind == "emd" else _jsd_between(measure, real)
    found = [between(first[real.group]) for first in halves]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _emd_between(real: Sample) -> Callable[[NDArray[np.bool_]], float | None]:
    order = np.argsort(real.values, kind="stable")
    values: FloatArray = real.values[order]

    def between(first: NDArray[np.bool_]) -> float | None:
        if first.all() or not first.any():
            return None
        return emd_sorted(values, first[order])

    return between


def _jsd_between(measure: Measure, real: Sample) -> Callable[[NDArray[np.bool_]], float | None]:
    _, codes = np.unique(real.values, return_inverse=True)
    count = int(codes.max()) + 1
    compare = jsd if measure.kind == "jsd" else rank_jsd

    def between(first: NDArray[np.bool_]) -> float | None:
        if first.all() or not first.any():
            return None
        one = np.bincount(codes[first], minlength=count).astype(np.float64)
        other = np.bincount(codes[~first], minlength=count).astype(np.float64)
        return compare(one, other)

    return between


def floor_between(measure: Measure, early: Sample, late: Sample) -> float | None:
    """Raw distance between the samples of two time halves; None if one is empty."""
    if early.values.size == 0 or late.values.size == 0:
        return None
    return distance(measure, early.values, late.values)


def curve_of(measure: Measure, real: Array, synthetic: Array) -> dict[str, Any]:
    """What a chart of a measure draws, as plain values.

    Returns:
        For EMD the 101 quantiles 0 %, 1 %, ..., 100 % of both samples; for JSD the shares of the
        12 most frequent categories; for ranks the shares of the 50 first ranks. Means and
        standard deviations of the samples of an EMD stand beside.
    """
    if measure.kind == "emd":
        levels = np.linspace(0, 1, CURVE_POINTS)
        return {
            "kind": "quantiles",
            "subject": measure.subject,
            "text": measure.text,
            "more": measure.more,
            "less": measure.less,
            "unit": measure.unit,
            "real": np.quantile(real, levels).tolist(),
            "synthetic": np.quantile(synthetic, levels).tolist(),
            "mean": [float(real.mean()), float(synthetic.mean())],
            "std": [float(real.std()), float(synthetic.std())],
        }
    categories = np.unique(np.concatenate([real, synthetic]))
    shares = np.stack(
        [
            np.bincount(np.searchsorted(categories, x), minlength=categories.size) / x.size
            for x in (real, synthetic)
        ]
    )
    if measure.kind == "rank":
        ranked = np.sort(shares, axis=1)[:, ::-1][:, :50]
        kind, labels = "ranks", [str(rank + 1) for rank in range(ranked.shape[1])]
        shares = ranked
    else:
        top = np.argsort(-shares.sum(axis=0), kind="stable")[:TOP_CATEGORIES]
        kind, labels = "categories", [str(value) for value in categories[top].tolist()]
        shares = shares[:, top]
    return {
        "kind": kind,
        "subject": measure.subject,
        "text": measure.text,
        "labels": labels,
        "real": shares[0].tolist(),
        "synthetic": shares[1].tolist(),
    }
