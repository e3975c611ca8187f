"""compare: a real and a synthetic capture in, a FidelityReport out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from netsynth.errors import ConfigError
from netsynth.report import bursts, statistical, temporal
from netsynth.report.c2st import tell_apart
from netsynth.report.copies import copy_figures
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.measure import (
    Halves,
    distance_figure,
    floor_between,
    floor_between_sessions,
    halve_sessions,
)
from netsynth.report.samples import Measure, Sample
from netsynth.report.trace import Trace, time_halves, trace_of
from netsynth.report.validity import validity_figures
from netsynth.tables import FlowTable, PacketTable

FAMILIES = ("temporal", "statistical", "bursts", "ACF", "C2ST", "privacy", "validity")


def compare(
    real: FlowTable | PacketTable,
    synthetic: FlowTable | PacketTable,
    *,
    families: Sequence[str] | None = None,
    seed: int = 0,
) -> FidelityReport:
    """Measure how close a synthetic capture is to a real one.

    Args:
        real: The real capture; a PacketTable is taken to be in file order.
        synthetic: The synthetic capture.
        families: Families of measures, of FAMILIES; None for all.
        seed: Seed of the halves of the real capture and of the classifiers.

    Returns:
        One row a figure; what cannot be measured says why.

    Raises:
        ConfigError: If a family is unknown.
    """
    wanted = FAMILIES if families is None else tuple(families)
    for family in wanted:
        if family not in FAMILIES:
            raise ConfigError(f"family {family} is unknown; take one of {', '.join(FAMILIES)}")
    one, other = trace_of(real), trace_of(synthetic)
    halves = halve_sessions(one.session_count, rng=np.random.default_rng(seed))
    early, late = time_halves(one)
    figures: list[Figure] = []
    details: dict[str, Any] = {"packets": {"real": len(one), "synthetic": len(other)}}
    for family in FAMILIES:
        if family not in wanted:
            continue
        if family == "C2ST":
            figure, details["telling_features"] = tell_apart(one, other, seed=seed)
            figures.append(figure)
        elif family == "privacy":
            figures += copy_figures(one, other, halves=halves)
        elif family == "validity":
            figures += validity_figures(one, other, real, synthetic)
        elif family == "ACF":
            figures.append(acf_figure(one, other, early, late))
        else:
            figures += distance_figures(family, one, other, halves=halves, early=early, late=late)
    return FidelityReport(figures=tuple(figures), details=details)


Sampler = Callable[[Trace], dict[str, Sample]]


def _trace_gaps(trace: Trace) -> dict[str, Sample]:
    return {"IT": temporal.gaps_of_trace(trace)}


# family -> measures, names in the mean, samplers of sessions, samplers of the whole trace
_DISTANCES: dict[str, tuple[tuple[Measure, ...], tuple[str, ...], list[Sampler], list[Sampler]]] = {
    "temporal": (
        temporal.MEASURES,
        tuple(measure.name for measure in temporal.MEASURES),
        [temporal.temporal_samples],
        [_trace_gaps],
    ),
    "statistical": (
        statistical.MEASURES,
        statistical.IN_MEAN,
        [statistical.statistical_samples],
        [],
    ),
    "bursts": (
        bursts.MEASURES,
        tuple(measure.name for measure in bursts.MEASURES),
        [],
        [bursts.burst_samples],
    ),
}


def _sampled(trace: Trace, samplers: list[Sampler]) -> dict[str, Sample]:
    found: dict[str, Sample] = {}
    for sampler in samplers:
        found |= sampler(trace)
    return found


def distance_figures(
    family: str, real: Trace, synthetic: Trace, *, halves: Halves, early: Trace, late: Trace
) -> list[Figure]:
    """Figures of a family of distances; `early` and `late` are the time halves of `real`."""
    measures, in_mean, of_sessions, of_trace = _DISTANCES[family]
    samplers = of_sessions + of_trace
    ours, theirs = _sampled(real, samplers), _sampled(synthetic, samplers)
    first, second = _sampled(early, of_trace), _sampled(late, of_trace)
    return [
        distance_figure(
            measure,
            family=family,
            in_mean=measure.name in in_mean,
            real=ours[measure.name],
            synthetic=theirs[measure.name],
            floor=floor_between(measure, first[measure.name], second[measure.name])
            if measure.over_time
            else floor_between_sessions(measure, ours[measure.name], halves),
        )
        for measure in measures
    ]


def acf_figure(real: Trace, synthetic: Trace, early: Trace, late: Trace) -> Figure:
    """Mean squared error of the autocorrelation of bytes, beside that of the time halves."""
    text = "mean squared error of the autocorrelation of bytes per 1/1000 of the trace"
    for trace, which in ((real, "real"), (synthetic, "synthetic")):
        if trace.duration_ns == 0:
            note = f"the {which} capture has no duration"
            return Figure(family="ACF", name="ACF", text=text, note=note)

    def error(one: Trace, other: Trace) -> float:
        return float(np.mean((temporal.acf_of(one) - temporal.acf_of(other)) ** 2))

    raw = error(real, synthetic)
    floor = error(early, late) if early.duration_ns and late.duration_ns else None
    return Figure(
        family="ACF",
        name="ACF",
        text=text,
        raw=raw,
        scaled=raw,
        floor=floor,
        ratio=raw / floor if floor else None,
        note="" if floor else "the halves of the real capture have no duration",
    )
