"""A verdict as text: one line a thing looked at, capture beside real, and what to do."""

from __future__ import annotations

from netsynth.verify.lines import Line
from netsynth.verify.targets import VerifyReport

_MARKS = {"pass": "ok", "fail": "FAIL", "told": "", "missing": "-"}
_LONGEST_NOTE = 160


def verdict_table(report: VerifyReport) -> str:
    """Write the lines as a table, and the verdict under it."""
    heads = ("who", "what", "capture", *(("real",) if report.real else ()), "target", "")
    rows = [_row(line, with_real=report.real is not None) for line in report.lines]
    widths = [max(len(row[i]) for row in [heads, *rows]) for i in range(len(heads))]
    lines = [_format(heads, widths), "  ".join("-" * width for width in widths)]
    for line, row in zip(report.lines, rows, strict=True):
        lines.append(_format(row, widths))
        if line.note and line.outcome in ("fail", "missing"):
            lines.append(" " * (widths[0] + 4) + line.note[:_LONGEST_NOTE])
    return "\n".join([*lines, "", _verdict(report)])


def _verdict(report: VerifyReport) -> str:
    name = report.capture.facts.path.name
    failed = [line for line in report.lines if line.outcome == "fail"]
    judged = sum(line.outcome in ("pass", "fail") for line in report.lines)
    missing = [line.source for line in report.lines if line.outcome == "missing"]
    text = f"{name}: {judged - len(failed)} of {judged} checks pass"
    if missing:
        text += f"; not asked: {', '.join(missing)}"
    if report.real is None:
        text += "; with --against REAL, shares are judged, too"
    return f"{text}\n{name}: {'FAILED' if failed else 'passed'}"


def _row(line: Line, *, with_real: bool) -> tuple[str, ...]:
    real = (_show(line.real),) if with_real else ()
    return (
        line.source,
        line.text,
        _show(line.value),
        *real,
        line.target,
        _MARKS[line.outcome],
    )


def _show(value: float | str | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:,.10g}"


def _format(cells: tuple[str, ...], widths: list[int]) -> str:
    parts = [
        cell.rjust(width) if 2 <= place < len(widths) - 2 else cell.ljust(width)
        for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(parts).rstrip()
