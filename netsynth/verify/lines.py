"""One line of a verdict, and the ways to judge a figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "told", "missing"]
END_POINTS = 0.05  # how far shares of TCP end states may be apart
APPLICATION_SHARE = 0.9  # of the real capture's share
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One thing that was looked at.

    Attributes:
        source: Who looked: "netsynth" or an analyser.
        text: What at.
        value: What was found; None where it could not be told.
        real: The same of the real capture; None where there is none.
        target: What it must be, in words; "" where it is told only.
        outcome: "pass", "fail", "told" (no target without a real capture), "missing" (not asked).
        note: What to do, or an example.
    """

    source: str
    text: str
    value: float | str | None
    real: float | str | None = None
    target: str = ""
    outcome: Outcome = "told"
    note: str = ""


def judge_zero(source: str, text: str, value: int, real: int | None, note: str = "") -> Line:
    """Judge a count that must be 0."""
    outcome: Outcome = "pass" if value == 0 else "fail"
    return Line(
        source=source, text=text, value=value, real=real, target="0", outcome=outcome, note=note
    )


def judge_rate(
    source: str, text: str, value: float, real: float | None, most: float, note: str = ""
) -> Line:
    """Judge a rate that may be `most`, or twice the real one."""
    limit = max(most, 2 * real) if real is not None else most
    return Line(
        source=source,
        text=text,
        value=round(value, 3),
        real=None if real is None else round(real, 3),
        target=f"at most {limit:.3g}",
        outcome="pass" if value <= limit else "fail",
        note=note,
    )


def judge_share(source: str, text: str, value: float, real: float | None) -> Line:
    """Judge a share that must come near the real one."""
    if real is None:
        return Line(source=source, text=text, value=round(value, 4))
    least = APPLICATION_SHARE * real
    return Line(
        source=source,
        text=text,
        value=round(value, 4),
        real=round(real, 4),
        target=f"at least {least:.3f}",
        outcome="pass" if value >= least - _ROUNDING else "fail",
    )


def judge_ends(
    source: str, capture: dict[str, float], real: dict[str, float] | None, names: dict[str, str]
) -> Iterator[Line]:
    """Judge the shares of TCP end states, those that either capture has."""
    for state in {**capture, **(real or {})}:
        value = capture.get(state, 0.0)
        text = f"TCP flows ending {names.get(state, state)}"
        if real is None:
            yield Line(source=source, text=text, value=round(value, 4))
            continue
        beside = real.get(state, 0.0)
        is_near = abs(value - beside) <= END_POINTS + _ROUNDING
        yield Line(
            source=source,
            text=text,
            value=round(value, 4),
            real=round(beside, 4),
            target=f"within {END_POINTS}",
            outcome="pass" if is_near else "fail",
        )
