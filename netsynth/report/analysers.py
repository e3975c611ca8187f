"""What protocol analysers that are installed say of both captures: tshark and Suricata."""

from __future__ import annotations

import logging
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from netsynth.analysers import PACKETS, ask_suricata, ask_tshark, find_program
from netsynth.report.fidelity import Figure
from netsynth.report.pair import CaptureFacts, Pair

MOST = {"tshark": PACKETS, "suricata": None}  # frames that each looks at
_PLACE = re.compile(r"frame \d+")
_LOG = logging.getLogger(__name__)


def analyser_figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Ask each analyser about both captures, where each is one file and the report is not quick.

    Returns:
        Per analyser its complaints per 1,000 frames, and in details how often each was made.
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
            real, synthetic = _both(ask, files[0], files[1])
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            _LOG.warning("%s could not judge the captures: %s", name, error)
            continue
        of_real = _per_thousand(pair.real.facts.frame_count, real, most=MOST[name])
        of_synthetic = _per_thousand(pair.facts.frame_count, synthetic, most=MOST[name])
        figures.append(
            Figure(
                family="validity",
                name=name,
                text=f"complaints of {name} per 1,000 frames",
            ).scaled_to(
                raw=of_synthetic,
                scaled=of_synthetic / 1000,
                floor=of_real / 1000,
                real=of_real,
                interval=None,
            )
        )
        details[name] = _beside(_without_places(real), _without_places(synthetic))
    return figures, {"analysers": details} if details else {}


def _both(
    ask: Callable[[Path], dict[str, int]], real: Path, synthetic: Path
) -> tuple[dict[str, int], dict[str, int]]:
    """Complaints of both captures, asked for side by side; of one file, once."""
    if real == synthetic:
        found = ask(real)
        return found, found
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(ask, (real, synthetic))
    return first, second


def _only_file(facts: CaptureFacts) -> Path | None:
    """The file of a capture that is one file, which an analyser can read again."""
    if len(facts.paths) != 1 or not facts.paths[0].is_file():
        return None
    return facts.paths[0]


def _per_thousand(frames: int, complaints: dict[str, int], *, most: int | None) -> float:
    """Complaints per 1,000 of the frames that the analyser looked at, all or at most `most`."""
    seen = frames if most is None else min(frames, most)
    return 1000 * sum(complaints.values()) / max(seen, 1)


def _without_places(complaints: dict[str, int]) -> dict[str, int]:
    """Join complaints that differ only in the frame that they name."""
    found: dict[str, int] = {}
    for kind, count in complaints.items():
        name = _PLACE.sub("frame", kind)
        found[name] = found.get(name, 0) + count
    return found


def _beside(real: dict[str, int], synthetic: dict[str, int]) -> dict[str, list[int]]:
    """Counts of both captures by kind, most frequent first."""
    kinds = sorted(set(real) | set(synthetic))
    both = {kind: [real.get(kind, 0), synthetic.get(kind, 0)] for kind in kinds}
    return dict(sorted(both.items(), key=lambda item: -sum(item[1])))


def _suricata_complaints(path: Path) -> dict[str, int]:
    return ask_suricata(path).complaints
