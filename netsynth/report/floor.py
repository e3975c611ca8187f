"""What real traffic scores against itself: the report of a capture's own halves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netsynth.progress import Progress
from netsynth.report.compare import compare
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.pair import Reference

# Figures of one file, and what is not of its halves.
OF_WHOLE = ("IP addresses", "MAC addresses", "ports")
KEPT = ("real", "packets", "sessions", "seconds", "seed", "quick")
NOTE = (
    "this is the floor: what the real capture's own halves score against each other, and what a"
    " perfect generator would score"
)


def floor_report(
    real: Reference,
    *,
    families: Sequence[str] | None = None,
    seed: int = 0,
    quick: bool = False,
    progress: Progress | None = None,
) -> FidelityReport:
    """Report what one half of a real capture scores against the other.

    The figures are the floors that every synthetic capture is measured by: between halves of the
    sessions or of the time, or of the capture's own validity and labels. Their `ratio` is 1.

    Args:
        real: The real capture.
        families: As in `compare`.
        seed: Seed of the halves.
        quick: As in `compare`.
        progress: As in `compare`.
    """
    whole = compare(
        real, real.table, families=families, seed=seed, quick=quick, synthetic_facts=real.facts,
        progress=progress,
    )  # fmt: skip
    details = {key: value for key, value in whole.details.items() if key in KEPT}
    details |= {"synthetic": "its own halves", "notes": [NOTE], "floor": True}
    figures = tuple(_as_floor(figure) for figure in whole.figures if figure.name not in OF_WHOLE)
    return FidelityReport(figures=figures, details=details)


def _as_floor(figure: Figure) -> Figure:
    """The figure with its floor in the place of its value."""
    if figure.floor is None:
        note = figure.note if figure.raw is None else "the halves of the real capture have none"
        return replace(
            figure, raw=None, scaled=None, interval=None, real=None, ratio=None, note=note
        )
    raw = figure.floor * (figure.scale or 1.0) if figure.real is None else figure.real
    if figure.family == "anomaly":
        raw = 1 - figure.floor
    return replace(
        figure,
        raw=raw,
        scaled=figure.floor,
        interval=None,
        ratio=1.0 if figure.floor else None,
        note="",
    )
