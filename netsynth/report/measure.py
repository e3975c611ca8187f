"""From two samples to a figure: distance, scale, floor between real halves, interval."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from netsynth.report.fidelity import Figure
from netsynth.report.samples import Measure, Sample

SPLITS = 5  # random halvings of the real sessions that a floor is averaged over


@dataclass(frozen=True, kw_only=True, slots=True)
class Halves:
    """The real capture halved: for each of SPLITS splits the sessions of the first half.

    Attributes:
        first: bool [SPLITS, S].
    """

    first: NDArray[np.bool_]


def halve_sessions(session_count: int, *, rng: np.random.Generator) -> Halves:
    """Draw SPLITS random halves of `session_count` sessions."""
    first = np.zeros((SPLITS, session_count), dtype=np.bool_)
    for row in first:
        row[rng.permutation(session_count)[: session_count // 2]] = True
    return Halves(first=first)


def distance_figure(
    measure: Measure,
    *,
    family: str,
    in_mean: bool,
    real: Sample,
    synthetic: Sample,
    floor: float | None,
) -> Figure:
    """Compare two samples of one measure.

    Args:
        measure: What is compared, and how.
        family: Family the figure belongs to.
        in_mean: True where it counts in the family's mean.
        real: Sample of the real trace.
        synthetic: Sample of the synthetic trace.
        floor: Raw distance between halves of the real trace; None where not measurable.

    Returns:
        A Figure without interval.
    """
    if real.values.size == 0 or synthetic.values.size == 0:
        which = "real" if real.values.size == 0 else "synthetic"
        return Figure(
            family=family,
            name=measure.name,
            text=measure.text,
            unit=measure.unit,
            note=f"the {which} capture shows no {measure.text}",
            in_mean=in_mean,
        )
    raw = distance(measure, real.values, synthetic.values)
    scale = deviation(real.values) if measure.kind == "emd" else 1.0
    note = ""
    scaled: float | None
    if scale > 0:
        scaled = raw / scale
    else:
        scaled = 0.0 if raw == 0 else None
        note = "" if raw == 0 else "every real value is 0, so there is no scale"
    scaled_floor = floor / scale if floor is not None and scale > 0 else floor
    if floor is None:
        note = note or "too few real sessions for a floor"
    return Figure(
        family=family,
        name=measure.name,
        text=measure.text,
        unit=measure.unit,
        raw=raw,
        scaled=scaled,
        floor=scaled_floor,
        ratio=scaled / scaled_floor if scaled is not None and scaled_floor else None,
        in_mean=in_mean,
        note=note,
    )


def distance(measure: Measure, real: Array, synthetic: Array) -> float:
    """Distance of two samples of values, at least one each, in the measure's unit."""
    if measure.kind == "emd":
        return emd(real, synthetic)
    counts = count_categories(real, synthetic)
    return jsd(*counts) if measure.kind == "jsd" else rank_jsd(*counts)


def floor_between_sessions(measure: Measure, real: Sample, halves: Halves) -> float | None:
    """Mean distance between two random halves of the real sessions; None if a half is empty."""
    if real.values.size == 0:
        return None
    between = _emd_between(real) if measure.kind == "emd" else _jsd_between(measure, real)
    found = [between(first[real.group]) for first in halves.first]
    known = [value for value in found if value is not None]
    return float(np.mean(known)) if known else None


def _emd_between(real: Sample) -> Callable[[NDArray[np.bool_]], float | None]:
    order = np.argsort(real.values, kind="stable")
    values: FloatArray = real.values[order]

    def between(first: NDArray[np.bool_]) -> float | None:
        count = int(first.sum())
        if count in (0, first.size):
            return None
        return emd_sorted(values, first[order])

    return between


def _jsd_between(measure: Measure, real: Sample) -> Callable[[NDArray[np.bool_]], float | None]:
    _, codes = np.unique(real.values, return_inverse=True)
    count = int(codes.max()) + 1
    compare = jsd if measure.kind == "jsd" else rank_jsd

    def between(first: NDArray[np.bool_]) -> float | None:
        one = np.bincount(codes[first], minlength=count).astype(np.float64)
        other = np.bincount(codes[~first], minlength=count).astype(np.float64)
        return compare(one, other) if one.any() and other.any() else None

    return between


def floor_between(measure: Measure, early: Sample, late: Sample) -> float | None:
    """Distance between the samples of two time halves; None if one is empty."""
    if early.values.size == 0 or late.values.size == 0:
        return None
    return distance(measure, early.values, late.values)
