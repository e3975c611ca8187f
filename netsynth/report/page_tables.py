"""Tables of report.html: the figures of a family, and what stands beside them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from netsynth.report.charts import format_value
from netsynth.report.fidelity import FidelityReport, Figure

MOST_COMPLAINTS = 20  # kinds shown of each analyser


def capture_name(report: FidelityReport) -> str:
    """Name of the synthetic capture of a report."""
    return str(report.details.get("synthetic", "synthetic"))


def figure_table(reports: Sequence[FidelityReport], family: str) -> str:
    rows = list(dict.fromkeys(f.name for report in reports for f in report.family(family)))
    every = [f for report in reports for f in report.family(family)]
    with_floor = any(f.floor is not None for f in every)
    with_real = any(f.real is not None for f in every)
    with_scaled = any(f.scaled is not None for f in every)
    heads = ["Figure", "What"]
    if with_floor:
        heads.append("Floor")
    if with_real:
        heads.append("Real")
    own = ["Raw", "Scaled", "Ratio"] if with_scaled else ["Raw"]
    head = "".join(_head(text, number=i > 1) for i, text in enumerate(heads + own * len(reports)))
    above = ""
    if len(reports) > 1:
        spans = "".join(
            f'<th scope="colgroup" colspan="{len(own)}">{escape(capture_name(r))}</th>'
            for r in reports
        )
        above = f'<tr><td colspan="{len(heads)}"></td>{spans}</tr>'
    body = []
    for name in rows:
        found = [next((f for f in r.family(family) if f.name == name), None) for r in reports]
        known = next(f for f in found if f is not None)
        star = "" if known.in_mean or not with_scaled else " *"
        cells = [
            f'<th scope="row">{escape(name)}{star}</th>'
            f'<td class="what">{escape(known.text)}{_notes(reports, found)}</td>'
        ]
        if with_floor:
            cells.append(_cell(known.floor))
        if with_real:
            cells.append(_cell(known.real))
        for figure in found:
            cells.append(_raw_cell(figure, bare=not with_scaled))
            if with_scaled:
                cells.append(_scaled_cell(figure))
                ratio = figure.ratio if figure else None
                over = " over" if ratio is not None and ratio > 3 else ""
                cells.append(_cell(ratio, digits=".2f", css=f"n{over}"))
        body.append(f"<tr>{''.join(cells)}</tr>")
    star_note = (
        " * does not count in the mean."
        if with_scaled and any(not f.in_mean for f in every) and any(f.in_mean for f in every)
        else ""
    )
    return (
        f'{_means(reports, family)}<div class="wide"><table><caption>Figures of this family;'
        f" choose a heading to sort by it.{star_note}</caption><thead>{above}<tr>{head}</tr>"
        f"</thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _means(reports: Sequence[FidelityReport], family: str) -> str:
    parts = []
    for report in reports:
        scaled, floor = report.mean_scaled(family), report.mean_floor(family)
        ratio = report.mean_ratio(family)
        if scaled is not None and floor is not None:
            over = f", ratio {ratio:.2f}" if ratio is not None else ""
            parts.append(
                f"<li>{escape(capture_name(report))}: mean scaled {scaled:.3f},"
                f" mean floor {floor:.3f}{over}</li>"
            )
    return f"<ul>{''.join(parts)}</ul>" if parts else ""


def named_note(note: str, report: FidelityReport, *, alone: bool) -> str:
    """Name the synthetic capture that a note speaks of, where there are several."""
    return note if alone else note.replace("the synthetic capture", capture_name(report))


def _notes(reports: Sequence[FidelityReport], figures: Sequence[Figure | None]) -> str:
    notes = dict.fromkeys(
        named_note(figure.note, report, alone=len(reports) == 1)
        for report, figure in zip(reports, figures, strict=True)
        if figure is not None and figure.note
    )
    return "".join(f'<br><span class="soft">{escape(note)}</span>' for note in notes)


def _cell(value: float | None, *, digits: str = ".4g", css: str = "n") -> str:
    if value is None:
        return f'<td class="{css}" data-v="">–</td>'
    return f'<td class="{css}" data-v="{value!r}">{value:{digits}}</td>'


def _raw_cell(figure: Figure | None, *, bare: bool) -> str:
    if figure is None or figure.raw is None:
        return _cell(None)
    shown = format_value(figure.raw, figure.unit)
    interval = f"<br>{_interval(figure)}" if bare and figure.interval else ""
    return f'<td class="n" data-v="{figure.raw!r}">{escape(shown)}{interval}</td>'


def _scaled_cell(figure: Figure | None) -> str:
    if figure is None or figure.scaled is None:
        return _cell(None)
    interval = f" {_interval(figure)}" if figure.interval else ""
    return f'<td class="n" data-v="{figure.scaled!r}">{figure.scaled:.3f}{interval}</td>'


def _interval(figure: Figure) -> str:
    assert figure.interval is not None
    low, high = figure.interval
    return f'<span class="soft">[{low:.3g}, {high:.3g}]</span>'


def extra_tables(reports: Sequence[FidelityReport], family: str) -> str:
    parts = []
    for report in reports:
        of = f" · {capture_name(report)}" if len(reports) > 1 else ""
        if family == "C2ST" and report.details.get("telling_features"):
            parts.append(f"<h3>What gives it away{escape(of)}</h3>{_telling(report)}")
        if family == "privacy" and report.details.get("reappear"):
            found = {k: v for k, v in report.details["reappear"].items() if v}
            items = "".join(
                f"<li>{escape(kind)}: {escape(', '.join(values))}</li>"
                for kind, values in found.items()
            )
            if items:
                parts.append(f"<h3>First that reappear{escape(of)}</h3><ul>{items}</ul>")
        if family == "anomaly" and report.details.get("anomaly"):
            parts.append(
                f"<h3>F1 of the anomalous (normal) class{escape(of)}</h3>{_matrix(report)}"
            )
        if family == "validity" and report.details.get("analysers"):
            parts.append(f"<h3>Protocol analysers{escape(of)}</h3>{_complaints(report)}")
    return "".join(parts)


def _telling(report: FidelityReport) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(r["feature"])}</th>{_cell(r["alone"], digits=".3f")}'
        f"{_cell(r['importance'], digits='.3f')}{_cell(r['real'])}{_cell(r['synthetic'])}</tr>"
        for r in report.details["telling_features"]
    )
    heads = ("Feature", "AUC alone", "Importance", "Median, real", "Median, synthetic")
    return _plain_table(heads, rows)


def _matrix(report: FidelityReport) -> str:
    table = report.details["anomaly"]
    names = list(next(iter(table.values())))
    rows = "".join(
        f'<tr><th scope="row">{escape(kind)}</th>'
        + "".join(
            f'<td class="n" data-v="{row[n]["anomalous"]!r}">{row[n]["anomalous"]:.2f}'
            f' <span class="soft">({row[n]["normal"]:.2f})</span></td>'
            for n in names
        )
        + "</tr>"
        for kind, row in table.items()
    )
    return _plain_table(("Representation", *names), rows)


def _complaints(report: FidelityReport) -> str:
    """One table an analyser, its most frequent complaints; the rest are in report.json."""
    parts = []
    for name, kinds in report.details["analysers"].items():
        rows = "".join(
            f'<tr><th scope="row">{escape(kind)}</th>{_cell(real)}{_cell(synthetic)}</tr>'
            for kind, (real, synthetic) in list(kinds.items())[:MOST_COMPLAINTS]
        )
        if not rows:
            parts.append(f"<p>{escape(name)} has nothing to complain of.</p>")
            continue
        more = len(kinds) - MOST_COMPLAINTS
        left = f"<p>And {more} kinds that are less frequent: see report.json.</p>" * (more > 0)
        parts.append(_plain_table((f"Complaint of {name}", "Real", "Synthetic"), rows) + left)
    return "".join(parts)


def _plain_table(heads: Sequence[str], rows: str) -> str:
    head = "".join(_head(text, number=i > 0) for i, text in enumerate(heads))
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _head(text: str, *, number: bool) -> str:
    css = ' class="n"' if number else ""
    return f'<th scope="col"{css}><button type="button">{escape(text)}</button></th>'
