"""compare: a real and a synthetic capture in, a FidelityReport out."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from netsynth.errors import ConfigError
from netsynth.progress import Progress, Silence
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.pair import CaptureFacts, Pair, Reference, pair_up, refer_to
from netsynth.report.trace import Traffic

# Family -> module with `figures(pair)`, imported when the family is measured.
FAMILIES = {
    "temporal": "netsynth.report.temporal",
    "statistical": "netsynth.report.statistical",
    "bursts": "netsynth.report.bursts",
    "microbursts": "netsynth.report.microbursts",
    "ACF": "netsynth.report.acf",
    "throughput": "netsynth.report.throughput",
    "anomaly": "netsynth.report.anomaly",
    "labels": "netsynth.report.labels",
    "C2ST": "netsynth.report.c2st",
    "privacy": "netsynth.report.privacy",
    "validity": "netsynth.report.validity",
}
LEARNED = ("throughput", "anomaly", "labels", "C2ST", "privacy")  # they train with scikit-learn
SLOW = ("throughput", "anomaly")  # left out of a quick report


def compare(
    real: Traffic | Reference,
    synthetic: Traffic,
    *,
    families: Sequence[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    held_out: Traffic | None = None,
    real_facts: CaptureFacts | None = None,
    synthetic_facts: CaptureFacts | None = None,
    progress: Progress | None = None,
) -> FidelityReport:
    """Measure how close a synthetic capture is to a real one.

    Args:
        real: The real capture; a `Reference` from `refer_to` where it is compared several times.
        synthetic: The synthetic capture.
        families: Families of measures, of FAMILIES; None for all (without SLOW, if quick).
        seed: Seed of the halves of the real capture, of resampling and of the classifiers.
        quick: Leave out the slow families and the intervals, and look at fewer sessions.
        held_out: Real traffic that no model saw; membership inference needs it.
        real_facts: What else is known of the real capture, such as its MAC addresses.
        synthetic_facts: And of the synthetic one.
        progress: Told of each family as it begins.

    Returns:
        One row a figure; what cannot be measured says why.

    Raises:
        ConfigError: If a family is unknown.
    """
    wanted = [name for name in FAMILIES if not (quick and name in SLOW)]
    if families is not None:
        wanted = list(families)
    for family in wanted:
        if family not in FAMILIES:
            raise ConfigError(f"family {family} is unknown; take one of {', '.join(FAMILIES)}")
    progress = progress or Silence()
    progress.start("comparing", total=len(wanted) + 1, unit="families")
    if not isinstance(real, Reference):
        real = refer_to(real, seed=seed, facts=real_facts, held_out=held_out)
    pair = pair_up(real, synthetic, seed=seed, quick=quick, facts=synthetic_facts)
    figures: list[Figure] = []
    details: dict[str, Any] = {
        "real": real.facts.name,
        "synthetic": pair.facts.name,
        "packets": [len(real.trace), len(pair.everything)],
        "sessions": [real.trace.session_count, pair.everything.session_count],
        "seconds": [real.trace.duration_s, pair.everything.duration_s],
        "notes": list(pair.notes),
        "seed": seed,
        "quick": quick,
    }
    for done, family in enumerate(name for name in FAMILIES if name in wanted):
        progress.update(done + 1, note=family)
        rows, found = _measure(family, pair)
        figures += rows
        for key, value in found.items():
            if isinstance(value, dict):
                details.setdefault(key, {}).update(value)
            else:
                details[key] = value
    progress.finish()
    return FidelityReport(figures=tuple(figures), details=details)


def _measure(family: str, pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Measure one family, each numeric library on one thread.

    The models are small: on a busy machine threads that wait for each other make them ten times
    slower.
    """
    from threadpoolctl import threadpool_limits

    module = importlib.import_module(FAMILIES[family])
    if family in LEARNED:
        importlib.import_module("sklearn.ensemble")  # the limit holds for what is loaded by then
    with threadpool_limits(limits=1):
        rows, details = module.figures(pair)
    return rows, details
