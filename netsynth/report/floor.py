"""What real traffic scores against itself: the report of a capture's own halves."""

from __future__ import annotations

from dataclasses import replace

from netsynth.progress import Progress
from netsynth.report.compare import FAMILIES, SLOW, compare
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.pair import CaptureFacts, Reference
from netsynth.report.trace import some_sessions

SHARED = ("IP addresses", "MAC addresses", "ports")  # which halves of one capture share
DISTANCES = ("temporal", "statistical", "bursts", "microbursts", "ACF")


def floor_report(
    real: Reference, *, seed: int = 0, quick: bool = False, progress: Progress | None = None
) -> FidelityReport:
    """Report what one half of a real capture scores against the other.

    Distances are the floors themselves, between halves of the sessions or of the time; every
    other family compares one random half of the sessions with the other.

    Args:
        real: The real capture.
        seed: Seed of the halves.
        quick: As in `compare`.
        progress: As in `compare`.
    """
    others = [f for f in FAMILIES if f not in DISTANCES and not (quick and f in SLOW)]
    whole = compare(real, real.table, families=DISTANCES, seed=seed, quick=True, progress=progress)
    first = real.halves[0]
    halves = [some_sessions(real.trace, part) for part in (first, ~first)]
    name = real.facts.name
    between = compare(
        *halves,
        families=others,
        seed=seed,
        quick=quick,
        real_facts=CaptureFacts(name=f"{name}, one half"),
        synthetic_facts=CaptureFacts(name=f"{name}, other half"),
        progress=progress,
    )
    figures = tuple(map(_as_floor, whole.figures))
    figures += tuple(figure for figure in between.figures if figure.name not in SHARED)
    details = {
        k: v
        for k, v in whole.details.items()
        if k not in ("curves", "utilisation", "acf", "reappear")
    }
    for key, value in between.details.items():
        if key != "reappear":
            details.setdefault(key, value)
    details |= {"real": name, "synthetic": "its other half", "notes": [_NOTE]}
    return FidelityReport(figures=figures, details=details)


_NOTE = "this is the floor: the real capture's halves compared with each other"


def _as_floor(figure: Figure) -> Figure:
    if figure.floor is None:
        return replace(figure, raw=None, scaled=None)
    return replace(
        figure,
        raw=figure.floor * (figure.scale or 1.0),
        scaled=figure.floor,
        ratio=1.0 if figure.floor else None,
    )
