"""Which charts a family of measures gets, from the details of one or more reports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from netsynth.report.charts import bar_chart, curve_chart, distribution_chart, load_chart
from netsynth.report.fidelity import FidelityReport

FLAG_LETTERS = "FSRPAUEC"  # FIN, SYN, RST, PSH, ACK, URG, ECE, CWR, lowest bit first
PROTOCOLS = {"6": "TCP", "17": "UDP"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawing:
    """A chart: its name, for a file, its SVG text, and whether it wants the page's width."""

    name: str
    svg: str
    broad: bool = False


def draw(reports: Sequence[FidelityReport], family: str) -> list[Drawing]:
    """Draw what a family of measures shows, the real capture and each synthetic one together."""
    found = []
    texts = {f.name: f.text for report in reports for f in report.family(family)}
    for name, text in texts.items():
        drawn = [r for r in reports if name in r.details.get("curves", {})]
        if drawn:
            curves = [report.details["curves"][name] for report in drawn]
            svg = _curve_drawing(name, text, curves, _names(drawn))
            found.append(Drawing(name=name, svg=svg))
    if family == "ACF":
        found += _details_drawing(reports, "acf")
    if family == "bursts":
        found = _details_drawing(reports, "utilisation") + found
    return found


def _names(reports: Sequence[FidelityReport]) -> list[str]:
    """The real capture's name, and those of the synthetic ones."""
    names = [str(reports[0].details.get("real", "real"))]
    return names + [str(report.details.get("synthetic", "synthetic")) for report in reports]


def _curve_drawing(name: str, text: str, curves: Sequence[Any], names: Sequence[str]) -> str:
    first = curves[0]
    title = f"{name}: {text}"
    if first["kind"] == "quantiles":
        rows = [first["real"], *(curve["synthetic"] for curve in curves)]
        return distribution_chart(title=title, unit=first["unit"], names=names, quantiles=rows)
    labels = list(dict.fromkeys(label for curve in curves for label in curve["labels"]))
    real = {k: v for curve in curves for k, v in zip(curve["labels"], curve["real"], strict=True)}
    rows = [[real.get(label, 0.0) for label in labels]]
    for curve in curves:
        shares = dict(zip(curve["labels"], curve["synthetic"], strict=True))
        rows.append([shares.get(label, 0.0) for label in labels])
    if first["kind"] == "ranks":
        labels, rows = labels[:20], [row[:20] for row in rows]
        shown = [f"rank {label}" for label in labels]
    else:
        shown = [label_text(name, label) for label in labels]
    return bar_chart(title=title, labels=shown, names=names, shares=rows)


def label_text(figure: str, label: str) -> str:
    """Write a category: flags by letter, protocols by name, ports as they are."""
    if figure == "FL":
        bits = int(label)
        return "".join(c for i, c in enumerate(FLAG_LETTERS) if bits >> i & 1) or "none"
    if figure == "PR":
        return PROTOCOLS.get(label, label)
    return label


def _details_drawing(reports: Sequence[FidelityReport], key: str) -> list[Drawing]:
    drawn = [report for report in reports if key in report.details]
    if not drawn:
        return []
    found, names = [report.details[key] for report in drawn], _names(drawn)
    rows = [found[0]["real"], *(entry["synthetic"] for entry in found)]
    if key == "acf":
        svg = curve_chart(
            title="Autocorrelation of bytes per interval",
            names=names,
            series=rows,
            ends=("lag 1", f"lag {len(rows[0])}"),
            low=min(-0.2, *(min(row) for row in rows)),
            high=1.0,
        )
        return [Drawing(name="ACF", svg=svg)]
    svg = load_chart(title="Utilisation over the trace", names=names, series=rows)
    return [Drawing(name="utilisation", svg=svg, broad=True)]
