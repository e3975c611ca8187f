"""report.html: one file that opens anywhere, offline."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from netsynth.report.drawings import Drawing, draw
from netsynth.report.fidelity import FidelityReport
from netsynth.report.page_style import CSS, SCRIPT
from netsynth.report.page_tables import (
    capture_name,
    extra_tables,
    figure_table,
    named_note,
)
from netsynth.report.verdicts import TITLES, Verdict, headline, verdicts

MARKS = {
    "good": "✓ good",
    "fair": "≈ fair",
    "poor": "✗ poor",
    "unknown": "– unknown",
    "floor": "= floor",
}
EXPLAIN = {
    "temporal": "Distances of times and rates of directed flows (5-tuples over the whole trace).",
    "statistical": "Distances of packet fields and flow sizes. SA and DA do not count in the mean:"
    " they are 1 where addresses are fresh on purpose.",
    "bursts": "The trace in 1000 intervals; a burst is a run of intervals over half the peak.",
    "microbursts": "Runs of milliseconds that each hold over half the bytes of the busiest one.",
    "ACF": "How load now tells of load later, lags 1 to 199 of 1000 intervals.",
    "throughput": "Error of a forecaster trained on synthetic traffic over that of one trained on"
    " real traffic, both forecasting the last tenth of the real trace. 1 is best; the floor is"
    " that of training on the other half of the real trace's time.",
    "anomaly": "F1 of the anomalous class: verdicts on real flows of detectors trained on"
    " synthetic flows, against those trained on real ones. Scaled is 1 - F1.",
    "labels": "Trained on synthetic, tested on real sessions; beside trained on real ones. Scaled"
    " is what is lacking to 1.",
    "C2ST": "A gradient-boosted classifier of sessions, cross-validated. Scaled runs from 0, for a"
    " guess (AUC 0.5), to 1; the floor is between halves of the real sessions.",
    "privacy": "What of the real capture stands in the synthetic one. Real: the same between the"
    " halves of the real capture, or how many there are. Scaled: 0 where nothing leaks.",
    "validity": "Shares of what is in order, beside those of the real capture. Scaled is the share"
    " that is not, floor that of the real capture.",
}


def render_page(reports: Sequence[FidelityReport], *, version: str) -> str:
    """Write the HTML report of one or more comparisons with the same real capture.

    Args:
        reports: At least one; their `details` name the captures.
        version: Version of netsynth, for the foot of the page.

    Returns:
        The text of one self-contained HTML file.
    """
    real = str(reports[0].details.get("real", "real"))
    title = f"How close to {real}?"
    families = list(dict.fromkeys(f for report in reports for f in report.families))
    links = "".join(
        f'<li><a href="#{_slug(f)}">{escape(TITLES.get(f, f))}</a></li>' for f in families
    )
    return "".join(
        [
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title><style>{CSS}</style></head><body>",
            '<a class="skip" href="#summary">Skip to the summary</a>',
            f"<header><h1>{escape(title)}</h1>{_captures(reports)}</header>",
            f'<nav aria-label="Families of measures"><ul>{links}</ul></nav><main>',
            _summary(reports),
            *(_section(reports, family) for family in families),
            "</main>",
            f"<footer><p>{_READING}</p><p>netsynth {escape(version)}, seed"
            f" {escape(str(reports[0].details.get('seed', 0)))}.</p></footer>",
            f"<script>{SCRIPT}</script></body></html>\n",
        ]
    )


_READING = (
    "<b>Raw</b> is a distance in its unit (JSD in bits). <b>Scaled</b> is an earth mover's"
    " distance over the mean absolute deviation of the real values about their median: 0 is"
    " equal, 1 as wrong as every value at the median. <b>Floor</b> is the same between two halves"
    " of the real capture, which is what a perfect generator would score; <b>ratio</b> is scaled"
    " over floor. Brackets hold 95 % intervals from resampled flows. A family's ratio is its mean"
    " scaled distance over its mean floor."
)


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() else "-" for c in text.lower())


def _captures(reports: Sequence[FidelityReport]) -> str:
    first = reports[0].details
    rows = [(str(first.get("real", "real")), first, 0)]
    rows += [(capture_name(report), report.details, 1) for report in reports]
    items = []
    for name, details, side in rows:
        packets, sessions, seconds = (
            details.get(key, [0, 0])[side] for key in ("packets", "sessions", "seconds")
        )
        if details.get("floor") and side == 1:
            continue  # no capture of its own
        role = "real" if side == 0 else "synthetic"
        items.append(
            f"<li><b>{escape(name)}</b> ({role}): {packets:,} TCP and UDP packets in"
            f" {sessions:,} sessions, {seconds:.4g} s</li>"
        )
    notes = dict.fromkeys(
        named_note(note, report, alone=len(reports) == 1)
        for report in reports
        for note in report.details.get("notes", [])
    )
    text = "".join(f"<p>{escape(_begin(note))}.</p>" for note in notes)
    return f"<ul>{''.join(items)}</ul>" + (f'<div class="notes">{text}</div>' if text else "")


def _begin(note: str) -> str:
    """Begin a sentence with a capital, but leave names of files as they are."""
    return note[:1].upper() + note[1:] if note.startswith(("the ", "this ")) else note


def _summary(reports: Sequence[FidelityReport]) -> str:
    judged = [verdicts(report) for report in reports]
    names = [capture_name(report) for report in reports]
    if len(reports) == 1:
        heads = '<th scope="col" class="n">Figure</th><th scope="col">Verdict</th>'
        rows = [
            f'{_family(v)}<td class="n">{escape(v.figure)}</td><td>{_grade(v)}'
            f" {escape(v.words)}</td>"
            for v in judged[0]
        ]
        words = ""
    else:
        heads = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
        by_family = [{v.family: v for v in found} for found in judged]
        order = dict.fromkeys(v.family for found in judged for v in found)
        rows = []
        for family in order:
            found = [verdict.get(family) for verdict in by_family]
            cells = "".join(
                f"<td>{_grade(v)} {escape(v.figure)}</td>" if v else "<td></td>" for v in found
            )
            rows.append(_family(next(v for v in found if v)) + cells)
        words = "".join(map(_in_words, names, judged))
    heads_up = "".join(
        f'<p class="lead">{f"<b>{escape(name)}</b>: " * (len(names) > 1)}{escape(text)}</p>'
        for name, verdict in zip(names, judged, strict=True)
        if (text := headline(verdict))
    )
    return (
        f'<section id="summary"><h2>Summary</h2>{heads_up}<div class="wide"><table>'
        "<caption>Worst first. 1x is as good as real traffic.</caption><thead><tr>"
        f'<th scope="col">Family</th>{heads}</tr></thead><tbody>'
        f"{''.join(f'<tr>{row}</tr>' for row in rows)}</tbody></table></div>{words}</section>"
    )


def _family(verdict: Verdict) -> str:
    link = f'<a href="#{_slug(verdict.family)}">{escape(verdict.title)}</a>'
    return f'<th scope="row">{link}</th>'


def _grade(verdict: Verdict) -> str:
    return f'<span class="grade {verdict.grade}">{MARKS[verdict.grade]}</span>'


def _in_words(name: str, found: Sequence[Verdict]) -> str:
    items = "".join(
        f"<li><b>{escape(v.title)}</b>: {escape(v.words)}</li>"
        for v in found
        if v.grade in ("fair", "poor", "floor")
    )
    return f"<h3>{escape(name)}</h3><ul>{items or '<li>Nothing to remark.</li>'}</ul>"


def _section(reports: Sequence[FidelityReport], family: str) -> str:
    drawings = draw(reports, family)
    broad = [d for d in drawings if d.broad]
    small = [d for d in drawings if not d.broad]
    return (
        f'<section id="{_slug(family)}"><h2>{escape(TITLES.get(family, family))}</h2>'
        f'<p class="soft">{escape(EXPLAIN.get(family, ""))}</p>'
        f"{figure_table(reports, family)}{extra_tables(reports, family)}"
        + (f'<div class="charts broad">{"".join(map(_figure, broad))}</div>' if broad else "")
        + (f'<div class="charts">{"".join(map(_figure, small))}</div>' if small else "")
        + "</section>"
    )


def _figure(drawing: Drawing) -> str:
    return f'<figure data-name="{escape(drawing.name, quote=True)}">{drawing.svg}</figure>'
