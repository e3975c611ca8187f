"""Verdicts: what a comparison says of each family, in words a network engineer reads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from netsynth.report.fidelity import FidelityReport, Figure

Grade = Literal["good", "fair", "poor", "unknown"]

GOOD, FAIR = 1.5, 3.0  # mean ratio to the floor
LEAST_GAP = 0.05  # a distance this small is no difference worth a sentence

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
        grade: "good", "fair", "poor", or "unknown" where nothing could be measured.
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


def _verdict(report: FidelityReport, family: str) -> Verdict:
    judge = _JUDGES.get(family, _judge_distances)
    badness, figure, words = judge(report, family)
    grade: Grade = "unknown"
    if badness is not None:
        grade = "good" if badness <= GOOD else "fair" if badness <= FAIR else "poor"
    else:
        notes = sorted({f.note for f in report.family(family) if f.note})
        words = f"Not measured: {notes[0] if notes else 'no figure'}."
        figure = "–"
    return Verdict(
        family=family,
        title=TITLES.get(family, family),
        grade=grade,
        badness=badness,
        figure=figure,
        words=words,
    )


Judgement = tuple[float | None, str, str]


def _judge_distances(report: FidelityReport, family: str) -> Judgement:
    scaled, floor = report.mean_scaled(family), report.mean_floor(family)
    if scaled is None or floor is None:
        rows = [f for f in report.family(family) if f.ratio is not None]
        if not rows:
            return None, "", ""
        badness = sum(f.ratio for f in rows if f.ratio is not None) / len(rows)
        shown = f"{_times(badness)} the floor"
    else:
        badness, shown = _over_floor(scaled, floor)
    curves = report.details.get("curves", {})
    worst = [
        f for f in worst_first(report.family(family)) if (f.ratio or 0) > GOOD and f.name in curves
    ]
    told = [f for f in worst if (f.scaled or 0) > LEAST_GAP] or worst[: badness > GOOD]
    said = _sentence("; ".join(describe(curves[f.name]) for f in told[:2]))
    words = "As close as real traffic is to itself." if badness <= GOOD else "Further than that."
    return badness, shown, said or words


def _over_floor(scaled: float, floor: float) -> tuple[float, str]:
    """Badness of a distance and the number to show; over a floor of 0 no ratio can be shown."""
    if floor > 0:
        return scaled / floor, f"{_times(scaled / floor)} the floor"
    if scaled == 0:
        return 1.0, "0, as the floor"
    return FAIR * 2, f"{scaled:.2g}, floor 0"


def worst_first(figures: tuple[Figure, ...]) -> list[Figure]:
    """Figures by how far their scaled distance lies above its floor, largest first."""
    return sorted(figures, key=lambda f: (f.scaled or 0.0) - (f.floor or 0.0), reverse=True)


def describe(curve: dict[str, Any]) -> str:
    """Say how a figure differs, from its curve: "gaps inside flows are 3x too regular"."""
    subject = str(curve["subject"])
    verb = "is" if subject.startswith("the popularity") else "are"
    if curve["kind"] != "quantiles":
        return f"{subject} {'differs' if verb == 'is' else 'differ'}{_most_wrong(curve)}"
    (mean, mean_s), (std, std_s) = curve["mean"], curve["std"]
    by_mean, by_spread = _factor(mean_s, mean), _factor(std_s, std)
    if by_mean is not None and max(by_mean, 1 / by_mean) >= 1.2:
        way = curve["more"] if by_mean > 1 else curve["less"]
        return f"{subject} {verb} {_times(max(by_mean, 1 / by_mean))} too {way}"
    if by_spread is not None and max(by_spread, 1 / by_spread) >= 1.2:
        way = "irregular" if by_spread > 1 else "regular"
        return f"{subject} {verb} {_times(max(by_spread, 1 / by_spread))} too {way}"
    return f"{subject} have about the right mean and spread but another distribution"


def _most_wrong(curve: dict[str, Any]) -> str:
    apart = [s - r for r, s in zip(curve["real"], curve["synthetic"], strict=True)]
    if not apart:
        return ""
    place = max(range(len(apart)), key=lambda i: abs(apart[i]))
    if abs(apart[place]) < 0.01 or curve["kind"] == "ranks":
        return ""
    real, synthetic = curve["real"][place], curve["synthetic"][place]
    return f": {curve['labels'][place]} is {synthetic:.1%} instead of {real:.1%}"


def _factor(synthetic: float, real: float) -> float | None:
    return synthetic / real if synthetic > 0 and real > 0 else None


def _times(factor: float) -> str:
    return f"{factor:.0f}x" if factor >= 10 else f"{factor:.2g}x"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _judge_acf(report: FidelityReport, family: str) -> Judgement:
    figure = report.family(family)[0]
    if figure.scaled is None or figure.floor is None:
        return None, "", ""
    badness, shown = _over_floor(figure.scaled, figure.floor)
    words = "Load follows load as in real traffic."
    if badness > GOOD:
        words = (
            f"The autocorrelation of its load is {figure.scaled**0.5:.2g} off on average; that of"
            f" the real capture's own halves {figure.floor**0.5:.2g}."
        )
    return badness, shown, words


def _judge_anomaly(report: FidelityReport, family: str) -> Judgement:
    scaled, floor = report.mean_scaled(family), report.mean_floor(family)
    if scaled is None or floor is None:
        return None, "", ""
    badness, shown = _over_floor(scaled, floor)
    words = (
        f"Detectors trained on it find the anomalies that real-trained ones do with F1"
        f" {1 - scaled:.2f}; detectors trained on real halves, {1 - floor:.2f}."
    )
    return badness, shown, words


def _judge_throughput(report: FidelityReport, family: str) -> Judgement:
    known = [(f.raw, f.name) for f in report.family(family) if f.raw is not None]
    if not known:
        return None, "", ""
    mean = sum(raw for raw, _ in known) / len(known)
    worst, name = max(known)
    words = (
        f"Forecasters trained on it err {mean:.2f} times as much as those trained on real traffic"
    )
    tail = f" (worst: {name}, {worst:.2f})." if worst > 1.2 else "."
    return max(mean, 1.0), f"{mean:.2f} of real", words + tail


def _judge_c2st(report: FidelityReport, family: str) -> Judgement:
    auc = report.family(family)[0].raw
    if auc is None:
        return None, "", ""
    # 0.65 is where good ends, 0.8 where fair does
    badness = 1 + max(abs(auc - 0.5) - 0.025, 0.0) * 4 if auc < 0.65 else GOOD + (auc - 0.65) * 10
    telling = report.details.get("telling_features", [])
    words = "It cannot tell synthetic sessions from real ones."
    if auc >= 0.65:
        named = ", ".join(row["feature"] for row in telling[:3])
        words = f"It tells synthetic sessions from real ones, mostly by {named}."
    elif auc >= 0.55:
        named = ", ".join(row["feature"] for row in telling[:2])
        words = f"It has a slight advantage, by {named}." if named else "It has a slight advantage."
    return badness, f"AUC {auc:.2f}", words


def _judge_privacy(report: FidelityReport, family: str) -> Judgement:
    rows = {f.name: f for f in report.family(family)}
    copied, records = rows["session copies"], rows["record copies"]
    dcr, mia = rows["DCR ratio"].raw, rows["membership AUC"].raw
    alarms, badness = [], 1.0
    for figure, what in ((copied, "sessions"), (records, "packet records")):
        own, share = figure.real or 0.0, figure.raw or 0.0
        if share > max(2 * own, own + 0.005):
            alarms.append(f"{share:.1%} of its {what} are copies of real ones: a leak")
            badness = max(badness, FAIR + 7 * share if share > own + 0.05 else GOOD + 0.5)
    if dcr is not None and dcr < 0.8:
        near = (
            f"sit {_times(1 / dcr)} closer to real ones than" if dcr else "equal real ones, unlike"
        )
        alarms.append(f"its sessions {near} unseen traffic")
        badness = max(badness, GOOD + 0.5 if dcr > 0.5 else FAIR + 1)
    if mia is not None and mia > 0.55:
        alarms.append(f"training sessions can be told with AUC {mia:.2f}")
        badness = max(badness, GOOD + 0.5 if mia < 0.65 else FAIR + 1)
    again = rows.get("IP addresses")
    if again and again.raw:
        alarms.append(f"{again.raw:.0f} of {again.real:.0f} real IP addresses appear in it")
        badness = max(badness, GOOD + 0.5)
    known = [f for f in (copied, records) if f.raw is not None]
    if not known:
        return None, "", ""
    share = max(f.raw or 0.0 for f in known)
    words = _sentence("; ".join(alarms)) or "No more copies than real traffic has of itself."
    return badness, f"{share:.1%} copies", words


def _judge_validity(report: FidelityReport, family: str) -> Judgement:
    worst, name, wrong = 0.0, "", []
    rows = [f for f in report.family(family) if f.raw is not None and f.real is not None]
    shares = [f for f in rows if f.name not in ("tshark", "suricata")]
    if not shares:
        return None, "", ""
    for figure in shares:
        assert figure.raw is not None
        assert figure.real is not None
        less = figure.real - figure.raw
        if less > worst:
            worst, name = less, figure.name
        if less > 0.02:
            wrong.append(f"{figure.name} {figure.raw:.1%} against {figure.real:.1%} of the real")
    badness = 1 + worst * 25
    words = _sentence("; ".join(wrong)) or "As valid as the real capture."
    shown = f"-{100 * worst:.1f} points ({name})" if worst >= 0.0005 else "as real"
    return badness, shown, words


def _judge_labels(report: FidelityReport, family: str) -> Judgement:
    rows = {f.name: f for f in report.family(family)}
    figure = rows.get("TSTR F1")
    if figure is None or figure.raw is None or figure.real is None:
        return None, "", ""
    lost = max(figure.real - figure.raw, 0.0)
    words = (
        f"Classifiers trained on it reach a macro F1 of {figure.raw:.2f} on real sessions;"
        f" trained on real ones, {figure.real:.2f}."
    )
    return 1 + lost * 10, f"F1 {figure.raw:.2f} of {figure.real:.2f}", words


_JUDGES: dict[str, Callable[[FidelityReport, str], Judgement]] = {
    "ACF": _judge_acf,
    "anomaly": _judge_anomaly,
    "throughput": _judge_throughput,
    "C2ST": _judge_c2st,
    "privacy": _judge_privacy,
    "validity": _judge_validity,
    "labels": _judge_labels,
}
