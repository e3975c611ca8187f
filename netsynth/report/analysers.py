"""What protocol analysers that are installed say of both captures: tshark and Suricata."""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netsynth.analysers import PACKETS, ask_suricata, ask_tshark, find_program
from netsynth.report.fidelity import Figure
from netsynth.report.pair import CaptureFacts, Pair

_LOG = logging.getLogger(__name__)


def analyser_figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Ask each analyser about both captures, where each is one file and the report is not quick.

    Returns:
        Per analyser its complaints per 1,000 packets, and in details how often each was made.
    """
    if pair.quick:
        return [], {}
    figures, details = [], {}
    ways: dict[str, Callable[[Path], dict[str, int]]] = {
        "tshark": ask_tshark,
        "suricata": _suricata_complaints,
    }
    for name, ask in ways.items():
        if find_program(name) is None:
            continue
        files = [_only_file(facts) for facts in (pair.real.facts, pair.facts)]
        if files[0] is None or files[1] is None:
            continue
        try:
            real, synthetic = ask(files[0]), ask(files[1])
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            _LOG.warning("%s could not judge the captures: %s", name, error)
            continue
        rates = [_per_thousand(pair.real.facts.frame_count, real)]
        rates.append(_per_thousand(pair.facts.frame_count, synthetic))
        figures.append(
            Figure(
                family="validity",
                name=name,
                text=f"complaints of {name} per 1,000 packets",
                raw=rates[1],
                real=rates[0],
            )
        )
        kinds = sorted(set(real) | set(synthetic))
        details[name] = {kind: [real.get(kind, 0), synthetic.get(kind, 0)] for kind in kinds}
    return figures, {"analysers": details} if details else {}


def _only_file(facts: CaptureFacts) -> Path | None:
    """The file of a capture that is one file, which an analyser can read again."""
    if len(facts.paths) != 1 or not facts.paths[0].is_file():
        return None
    return facts.paths[0]


def _per_thousand(frames: int, complaints: dict[str, int]) -> float:
    return 1000 * sum(complaints.values()) / max(min(frames, PACKETS), 1)


def _suricata_complaints(path: Path) -> dict[str, int]:
    return ask_suricata(path).complaints
