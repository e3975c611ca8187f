"""How a figure differs, in words: from its curve to "gaps inside flows are 3x too regular"."""

from __future__ import annotations

from typing import Any

from netsynth.report.drawings import label_text

NOTICEABLE = 1.2  # a factor of a mean or spread that is worth a word


def describe(name: str, curve: dict[str, Any]) -> str:
    """Say how a figure differs, from its curve: "gaps inside flows are 3x too regular"."""
    subject = str(curve["subject"])
    if curve["kind"] != "quantiles":
        verb = "differs" if subject.startswith("the popularity") else "differ"
        return f"{subject} {verb}{_most_wrong(name, curve)}"
    (mean, mean_s), (std, std_s) = curve["mean"], curve["std"]
    if mean > 0 and mean_s == 0:
        return f"{subject} are far too {curve['less']}"
    if std > 0 and std_s == 0:
        regular = subject.startswith(("gaps", "pauses"))
        return f"{subject} are perfectly regular" if regular else f"{subject} do not vary at all"
    if std == 0 and std_s > 0:
        return f"{subject} vary, and the real ones do not"
    by_mean, by_spread = _factor(mean_s, mean), _factor(std_s, std)
    if by_mean is not None and max(by_mean, 1 / by_mean) >= NOTICEABLE:
        way = curve["more"] if by_mean > 1 else curve["less"]
        return f"{subject} are {times(max(by_mean, 1 / by_mean))} too {way}"
    if by_spread is not None and max(by_spread, 1 / by_spread) >= NOTICEABLE:
        factor = times(max(by_spread, 1 / by_spread))
        if subject.startswith(("gaps", "pauses")):
            return f"{subject} are {factor} too {'irregular' if by_spread > 1 else 'regular'}"
        return f"{subject} vary {factor} too {'much' if by_spread > 1 else 'little'}"
    return f"{curve['text']}: mean and spread are about right, the distribution is not"


def _most_wrong(name: str, curve: dict[str, Any]) -> str:
    apart = [s - r for r, s in zip(curve["real"], curve["synthetic"], strict=True)]
    if not apart:
        return ""
    place = max(range(len(apart)), key=lambda i: abs(apart[i]))
    if abs(apart[place]) < 0.01 or curve["kind"] == "ranks":
        return ""
    real, synthetic = curve["real"][place], curve["synthetic"][place]
    label = label_text(name, curve["labels"][place])
    return f": {label} is {synthetic:.1%} instead of {real:.1%}"


def _factor(synthetic: float, real: float) -> float | None:
    return synthetic / real if synthetic > 0 and real > 0 else None


def times(factor: float) -> str:
    """A factor as it is read: 0.84x, 2.1x, 48x."""
    return f"{factor:.0f}x" if factor >= 10 else f"{factor:.2g}x"


def sentence(text: str) -> str:
    """Text with a capital and a full stop; "" stays empty."""
    return f"{text[:1].upper()}{text[1:]}." if text else ""
