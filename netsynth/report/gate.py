"""The gate of `--fail-over`: why a synthetic capture does not pass."""

from __future__ import annotations

from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.judges import leaks
from netsynth.report.verdicts import verdicts, why_unknown


def _lacking(family: str, figures: list[Figure]) -> list[str]:
    """Say which figures of a family are lacking, those of a reason together."""
    names: dict[str, list[str]] = {}
    for figure in figures:
        names.setdefault(figure.note, []).append(figure.name)
    return [f"{family} lacks {', '.join(own)}: {why}" for why, own in names.items()]


def shortfalls(report: FidelityReport, *, limit: float) -> list[str]:
    """Say why a synthetic capture fails a limit on ratios to the floor.

    It fails where a family's ratio (of a family without one, the number of its verdict: 1 is as
    good as real) exceeds the limit; whatever the limit, where it copies the real capture more
    than that copies itself, where a figure that counts has no value because the synthetic capture
    lacks what the real one has, and where nothing at all could be measured.

    Args:
        report: The comparison.
        limit: Largest ratio that passes, over 0.

    Returns:
        One reason each, in words; none where it passes.
    """
    found = verdicts(report)
    if all(v.badness is None for v in found):
        why = why_unknown(report, report.families[0]) if report.families else "no family"
        return [f"nothing could be measured: {why}"]
    reasons: list[str] = []
    unknown: dict[str, list[str]] = {}  # reason -> families
    for verdict in found:
        family = verdict.family
        ratio, scaled = report.mean_ratio(family), report.mean_scaled(family)
        if ratio is not None:
            if ratio > limit:
                reasons.append(f"{family} is {ratio:.2f} times the floor")
        elif scaled and report.mean_floor(family) == 0:  # more than any multiple of it
            reasons.append(f"{family} is {scaled:.2g}, and the floor is 0")
        elif verdict.badness is not None and verdict.badness > limit:
            reasons.append(f"{family} counts as {verdict.badness:.2f} ({verdict.figure})")
        missing = [f for f in report.family(family) if f.lacking == "synthetic"]
        if missing and verdict.badness is None:
            unknown.setdefault(why_unknown(report, family), []).append(family)
        elif ratio is not None or scaled is not None:
            reasons += _lacking(family, [f for f in missing if f.in_mean])
        else:
            reasons += _lacking(family, [f for f in missing if f.real is not None])
    for why, families in unknown.items():
        reasons.append(f"{', '.join(families)} could not be measured: {why}")
    return [*leaks(report), *reasons]
