"""Verdicts: what a comparison says of each family, in words a network engineer reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from netsynth.report.fidelity import FidelityReport
from netsynth.report.floor_words import floor_judgement
from netsynth.report.judges import FAIR, GOOD, JUDGES, judge_distances, stands_out

Grade = Literal["good", "fair", "poor", "unknown", "floor"]

TITLES = {
    "temporal": "Timing of flows",
    "statistical": "Packet and flow statistics",
    "bursts": "Bursts",
    "microbursts": "Microbursts",
    "ACF": "Autocorrelation of load",
    "throughput": "Throughput prediction",
    "anomaly": "Anomaly detection",
    "labels": "Labelled classes",
    "C2ST": "Can a classifier tell?",
    "privacy": "Diversity and privacy",
    "validity": "Validity",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """What to think of one family.

    Attributes:
        family: Its name.
        title: Its name in words.
        grade: "good", "fair", "poor", "unknown" where nothing could be measured, or "floor" where
            the real capture's own halves are compared.
        badness: Ratio to the floor, or what stands for it: 1 is as good as real traffic. None
            where unknown.
        figure: The number to show, as text.
        words: One or two sentences.
    """

    family: str
    title: str
    grade: Grade
    badness: float | None
    figure: str
    words: str


def verdicts(report: FidelityReport) -> list[Verdict]:
    """One verdict a family, worst first, unknown last."""
    found = [_verdict(report, family) for family in report.families]
    return sorted(found, key=lambda v: -1e9 if v.badness is None else v.badness, reverse=True)


def headline(found: Sequence[Verdict]) -> str:
    """How many families are how good, those that are not by name: the first thing to read."""
    grades = {grade: [v.title for v in found if v.grade == grade] for grade in ("poor", "fair")}
    good, unknown = (sum(v.grade == grade for v in found) for grade in ("good", "unknown"))
    if any(v.grade == "floor" for v in found):
        return ""
    if not good and not any(grades.values()):
        return "Nothing could be measured." if unknown else ""
    parts = [
        f"{len(titles)} {grade} ({', '.join(titles)})" for grade, titles in grades.items() if titles
    ]
    parts.append(f"{good} good")
    if unknown:
        parts.append(f"{unknown} not measured")
    return f"{', '.join(parts)}."


def _verdict(report: FidelityReport, family: str) -> Verdict:
    judge = JUDGES.get(family, judge_distances)
    badness, figure, words = judge(report, family)
    if badness is None:
        grade: Grade = "unknown"
        figure, words = "–", f"Not measured: {why_unknown(report, family)}."
    elif report.details.get("floor"):
        grade = "floor"
        badness, figure, words = floor_judgement(report, family)
    else:
        grade = "good" if badness <= GOOD else "fair" if badness <= FAIR else "poor"
        if grade == "good" and family not in JUDGES and stands_out(report, family):
            grade = "fair"  # a mean must not hide a figure that is far off
    return Verdict(
        family=family,
        title=TITLES.get(family, family),
        grade=grade,
        badness=badness,
        figure=figure,
        words=words,
    )


def why_unknown(report: FidelityReport, family: str) -> str:
    """The first reason why nothing of a family could be measured; an empty capture before all."""
    rows = report.family(family)
    counts = dict(zip(("real", "synthetic"), report.details.get("packets", ()), strict=False))
    for side in ("real", "synthetic"):
        if counts.get(side) == 0 and any(f.lacking == side for f in rows):
            return f"the {side} capture holds no TCP or UDP packet"
    return next((f.note for f in rows if f.note), "no figure")
