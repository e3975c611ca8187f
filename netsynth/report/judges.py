"""Judges: from the figures of a family to its badness, the number to show, and words."""

from __future__ import annotations

from collections.abc import Callable

from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.wording import NOTICEABLE, describe, sentence, times

GOOD, FAIR = 1.5, 3.0  # mean ratio to the floor
LEAST_GAP = 0.05  # a distance this small is no difference worth a sentence

Judgement = tuple[float | None, str, str]  # badness, or None where nothing could be measured


def judge_distances(report: FidelityReport, family: str) -> Judgement:
    """Mean ratio to the floor, and the figures that lie furthest above theirs."""
    scaled, floor = report.mean_scaled(family), report.mean_floor(family)
    if scaled is None or floor is None:
        rows = [f for f in report.family(family) if f.ratio is not None]
        if not rows:
            return None, "", ""
        badness = sum(f.ratio for f in rows if f.ratio is not None) / len(rows)
        shown = f"{times(badness)} the floor"
    else:
        badness, shown = _over_floor(scaled, floor)
    curves = report.details.get("curves", {})
    worst = [
        f for f in _worst_first(report.family(family)) if (f.ratio or 0) > GOOD and f.name in curves
    ]
    told = [f for f in worst if (f.scaled or 0) > LEAST_GAP] or worst[: badness > GOOD]
    said = "; ".join(describe(f.name, curves[f.name]) for f in told[:2])
    if badness > GOOD:
        default = "further from the real capture than its halves are from each other"
        return badness, shown, sentence(said or default)
    if scaled == 0:
        return badness, shown, "Equal to the real capture."
    if not said:
        return badness, shown, "As close as real traffic is to itself."
    way = "but" if stands_out(report, family) else "furthest off:"
    return badness, shown, f"On average as close as real traffic is to itself; {way} {said}."


def stands_out(report: FidelityReport, family: str) -> bool:
    """Whether a figure that counts is so far above its floor that a good mean would mislead."""
    return any(
        f.in_mean and (f.ratio or 0) > FAIR and (f.scaled or 0) > LEAST_GAP
        for f in report.family(family)
    )


def _over_floor(scaled: float, floor: float) -> tuple[float, str]:
    """Badness of a distance and the number to show; over a floor of 0 no ratio can be shown."""
    if floor > 0:
        shown = f"{times(scaled / floor)} the floor" if scaled else "no difference"
        return scaled / floor, shown
    if scaled == 0:
        return 1.0, "0, as the floor"
    return FAIR * 2, f"{scaled:.2g}, floor 0"


def _worst_first(figures: tuple[Figure, ...]) -> list[Figure]:
    """Figures by how far their scaled distance lies above its floor, largest first."""
    return sorted(figures, key=lambda f: (f.scaled or 0.0) - (f.floor or 0.0), reverse=True)


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
        "Detectors trained on it call the same real flows anomalous as those trained on real"
        f" traffic with F1 {1 - scaled:.2f}; trained on real halves, {1 - floor:.2f}."
    )
    return badness, shown, words


def _judge_throughput(report: FidelityReport, family: str) -> Judgement:
    known = [f for f in report.family(family) if f.raw is not None]
    if not known:
        return None, "", ""
    mean = sum(f.raw or 0.0 for f in known) / len(known)
    worst = max(known, key=lambda f: f.raw or 0.0)
    words = f"Forecasters trained on it err {mean:.2f} times as much as those trained on real"
    if worst.raw is not None and worst.raw > NOTICEABLE * mean:
        words += f" (worst: {worst.name}, {worst.raw:.2f})"
    ratio, floor = report.mean_ratio(family), report.mean_floor(family)
    if ratio is None or floor is None:
        return max(mean, 1.0), f"{mean:.2f}x the error", f"{words}."
    words += f"; trained on the other half of the real capture, {floor:.2f} times."
    return ratio, f"{mean:.2f}x the error", words


def _judge_c2st(report: FidelityReport, family: str) -> Judgement:
    figure = report.family(family)[0]
    auc = figure.raw
    if auc is None:
        return None, "", ""
    # 0.65 is where good ends, 0.8 where fair does
    apart = max(auc, 1 - auc)
    badness = 1 + max(apart - 0.525, 0.0) * 4 if apart < 0.65 else GOOD + (apart - 0.65) * 10
    telling = report.details.get("telling_features", [])
    words = "It cannot tell synthetic sessions from real ones."
    if auc >= 0.65:
        named = ", ".join(row["feature"] for row in telling[:3])
        words = f"It tells synthetic sessions from real ones, mostly by {named}."
    elif auc >= 0.55:
        named = ", ".join(row["feature"] for row in telling[:2])
        words = f"It has a slight advantage, by {named}." if named else "It has a slight advantage."
    elif auc <= 0.35:
        words = "It errs more often than by chance, as synthetic sessions are twins of real ones."
    beside = f" (halves {figure.real:.2f})" if figure.real is not None else ""
    return badness, f"AUC {auc:.2f}{beside}", words


def leaks(report: FidelityReport) -> list[str]:
    """What of the real capture is in the synthetic one, more than its own halves are in each other:
    copies, or sessions so close to single real ones that they are as good as copies."""
    near = [f"{words}: a leak" for badness, words in _near(report) if badness > FAIR]
    return [*_copied(report), *near]


def _near(report: FidelityReport) -> list[tuple[float, str]]:
    """Badness and words of sessions that lie too close to real ones, or give them away."""
    rows = {f.name: f for f in report.family("privacy")}
    judged = [
        judge(rows[name])
        for name, judge in (("DCR ratio", _closer), ("membership AUC", _told))
        if name in rows
    ]
    return [found for found in judged if found is not None]


def _copied(report: FidelityReport) -> list[str]:
    """What of the real capture is copied more often than its own halves copy each other."""
    found = []
    for figure, what in _copies(report):
        own, share = figure.real or 0.0, figure.raw or 0.0
        if share > max(own + 0.005, min(2 * own, (1 + own) / 2)):
            many = figure.note.removesuffix(f" {what.split()[-1]}") or f"{share:.1%}"
            found.append(f"{many} {what} are copies of real ones: a leak")
    return found


def _copies(report: FidelityReport) -> list[tuple[Figure, str]]:
    rows = {f.name: f for f in report.family("privacy")}
    names = (("session copies", "sessions"), ("record copies", "packets"))
    return [(rows[n], what) for n, what in names if n in rows and rows[n].raw is not None]


def _judge_privacy(report: FidelityReport, family: str) -> Judgement:
    rows = {f.name: f for f in report.family(family)}
    copied = _copies(report)
    if not copied:
        return None, "", ""
    alarms, badness = _copied(report), 1.0
    for figure, _ in copied if alarms else []:
        own, share = figure.real or 0.0, figure.raw or 0.0
        plain = share > own + min(0.05, (1 - own) / 2)
        badness = max(badness, FAIR + 7 * share if plain else GOOD + 0.5)
    near = _near(report)
    badness = max(badness, *(b for b, _ in near), 1.0)
    alarms += [why for _, why in near]
    for name in ("IP addresses", "MAC addresses"):
        again = rows.get(name)
        if again and again.raw:
            alarms.append(f"{again.raw:.0f} of {again.real:.0f} real {name} appear in it")
            badness = max(badness, GOOD + 0.5)
    share = max(f.raw or 0.0 for f, _ in copied)
    beside = ", ".join(f"{f.real:.1%} of {what}" for f, what in copied if f.real is not None)
    usual = f"no more copies than real traffic has of itself (halves share {beside})"
    words = sentence("; ".join(alarms) or (usual if beside else "no copies worth a word"))
    shown = "too close" if any(b > FAIR for b, _ in near) else "no copies"
    return badness, f"{share:.1%} copied" if share else shown, words


def _closer(figure: Figure) -> tuple[float, str] | None:
    """Badness and words where sessions sit closer to real ones than fresh traffic does."""
    dcr = figure.raw
    if dcr is None or dcr >= 0.8 * min(figure.real or 1.0, 1.0):
        return None
    badness = GOOD + 0.5 if dcr > 0.5 else FAIR + 1
    if dcr == 0:
        return badness, "a typical session has an exact twin among the real ones"
    return (
        badness,
        f"its sessions lie {times(1 / dcr)} closer to real ones than unseen traffic does",
    )


def _told(figure: Figure) -> tuple[float, str] | None:
    """Badness and words where training sessions give themselves away."""
    auc = figure.raw
    if auc is None or auc <= max(0.5, figure.real or 0.5) + 0.05:
        return None
    badness = GOOD + 0.5 if auc < 0.65 else FAIR + 1
    return badness, f"it tells which sessions it was trained on with AUC {auc:.2f}"


SHARES = {
    "two-way": "TCP sessions run both ways",
    "handshake": "TCP handshakes are complete",
    "sequence": "TCP segments continue the last",
    "IP checksum": "IPv4 header checksums are right",
    "L4 checksum": "TCP, UDP and ICMP checksums are right",
    "order": "frames are in time order",
}


def _judge_validity(report: FidelityReport, family: str) -> Judgement:
    rows = [f for f in report.family(family) if f.raw is not None and f.real is not None]
    shares = [f for f in rows if f.name in SHARES]
    if not shares:
        return None, "", ""
    lost = {f.name: (f.real or 0.0) - (f.raw or 0.0) for f in shares}
    name = max(lost, key=lambda key: lost[key])
    worst = max(lost[name], 0.0)
    wrong = [
        f"{f.raw:.1%} of {SHARES[f.name]} (real {f.real:.1%})"
        for f in shares
        if lost[f.name] > 0.02
    ]
    loud = [
        f"{f.name} complains {f.raw:.3g} times per 1,000 frames (real {f.real:.3g})"
        for f in rows
        if f.name not in SHARES and (f.raw or 0.0) > 2 * (f.real or 0.0) + 1
    ]
    shown = f"{name} -{100 * worst:.1f} points" if worst >= 0.0005 else "shares as real"
    if wrong or not loud:
        words = sentence("; ".join(wrong + loud)) or "As valid as the real capture."
    else:
        words = f"No share is off by 2 points, but {'; '.join(loud)}."
    return 1 + worst * 25, shown, words


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


JUDGES: dict[str, Callable[[FidelityReport, str], Judgement]] = {
    "ACF": _judge_acf,
    "anomaly": _judge_anomaly,
    "throughput": _judge_throughput,
    "C2ST": _judge_c2st,
    "privacy": _judge_privacy,
    "validity": _judge_validity,
    "labels": _judge_labels,
}
