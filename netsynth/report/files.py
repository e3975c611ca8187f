"""Write a report to a folder: report.html, report.json and figures/."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from netsynth import __version__
from netsynth.errors import ConfigError
from netsynth.report.drawings import draw
from netsynth.report.fidelity import SCHEMA, FidelityReport
from netsynth.report.page import render_page
from netsynth.report.verdicts import headline, verdicts


def report_dict(reports: Sequence[FidelityReport], *, brief: bool = False) -> dict[str, Any]:
    """Reports on one real capture as plain values: docs/report-schema.md.

    Args:
        reports: At least one.
        brief: Leave out figures and details: the summary that `--json` prints.
    """
    captures = []
    for report in reports:
        plain = report.to_dict()
        del plain["schema"]
        entry: dict[str, Any] = {
            "name": report.details.get("synthetic", "synthetic"),
            "verdicts": [asdict(verdict) for verdict in verdicts(report)],
        }
        captures.append(entry | ({"means": plain["means"]} if brief else plain))
    return {
        "schema": SCHEMA,
        "netsynth": __version__,
        "real": reports[0].details.get("real", "real"),
        "captures": captures,
    }


def write_report(reports: Sequence[FidelityReport], folder: Path | str) -> Path:
    """Write reports on one real capture to a folder, which is made where it is missing.

    Args:
        reports: At least one.
        folder: Where to; files of an earlier report there are replaced.

    Returns:
        Path of report.html.

    Raises:
        ConfigError: If the folder cannot be made or written to.
    """
    folder = Path(folder)
    page = folder / "report.html"
    try:
        (folder / "figures").mkdir(parents=True, exist_ok=True)
        page.write_text(render_page(reports, version=__version__), encoding="utf-8")
        text = json.dumps(report_dict(reports), indent=1, allow_nan=False)
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        for family in dict.fromkeys(f for report in reports for f in report.families):
            for drawing in draw(reports, family):
                path = folder / "figures" / f"{drawing.name}.svg"
                path.write_text(drawing.svg, encoding="utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"{error.filename or folder}: {reason}; choose another folder") from error
    return page


def verdict_text(reports: Sequence[FidelityReport]) -> str:
    """Verdicts as lines for a terminal, worst first, one block a synthetic capture."""
    blocks = []
    for report in reports:
        lines = [f"{report.details.get('synthetic')} against {report.details.get('real')}"]
        lines += [f"  note: {note}" for note in report.details.get("notes", [])]
        found = verdicts(report)
        if headline(found):
            lines.append(f"  {headline(found)}")
        lines += [f"  {v.grade:<8}{v.title:<27}{v.figure:<24} {v.words}" for v in found]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
