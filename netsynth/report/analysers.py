"""What protocol analysers that are installed say of both captures: tshark and Suricata."""

from __future__ import annotations

import json
import logging
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair

_LOG = logging.getLogger(__name__)
PACKETS = 200_000  # that tshark looks at; it takes a second for some 20,000
TIMEOUT_S = 120
_EXPERT = re.compile(r"^\s*(\d+)\s+(\S+)\s+(\S+)\s+(.*)$")


def analyser_figures(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Ask each analyser about both files, where files are known and the report is not quick.

    Returns:
        Per analyser its complaints per 1,000 packets, and in details how often each was made.
    """
    if pair.quick:
        return [], {}
    figures, details = [], {}
    ways: dict[str, Callable[[Path], dict[str, int]]] = {
        "tshark": ask_tshark,
        "suricata": ask_suricata,
    }
    for name, ask in ways.items():
        if shutil.which(name) is None:
            continue
        if not pair.real.facts.paths or not pair.facts.paths:
            continue
        try:
            real, synthetic = ask(pair.real.facts.paths[0]), ask(pair.facts.paths[0])
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


def _per_thousand(frames: int, complaints: dict[str, int]) -> float:
    return 1000 * sum(complaints.values()) / max(min(frames, PACKETS), 1)


def ask_tshark(path: Path) -> dict[str, int]:
    """Count the errors and warnings of tshark's expert information over the first packets.

    Raises:
        subprocess.SubprocessError: If tshark fails or takes longer than two minutes.
    """
    command = ["tshark", "-n", "-r", str(path), "-c", str(PACKETS), "-q", "-z", "expert,warn"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True, errors="replace"
    )
    return read_expert(done.stdout)


def read_expert(text: str) -> dict[str, int]:
    """Read tshark's expert table: "Errors: TCP: summary" -> how often."""
    found: dict[str, int] = {}
    severity = ""
    for line in text.splitlines():
        if line.startswith(("Errors", "Warns")):
            severity = line.split(" ")[0].rstrip("s")
        elif line.startswith(("Notes", "Chats")):
            severity = ""
        elif severity and (match := _EXPERT.match(line)):
            kind = f"{severity}: {match[3]}: {match[4].strip()}"
            found[kind] = found.get(kind, 0) + int(match[1])
    return found


def ask_suricata(path: Path) -> dict[str, int]:
    """Count the decoder and stream anomalies that Suricata meets in a whole file.

    Raises:
        subprocess.SubprocessError: If Suricata fails or takes longer than two minutes.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = ["suricata", "-r", str(path), "-l", folder, "-S", "/dev/null", "-k", "all"]
        subprocess.run(command, capture_output=True, timeout=TIMEOUT_S, check=True)
        return read_eve((Path(folder) / "eve.json").read_text(errors="replace"))


def read_eve(text: str) -> dict[str, int]:
    """Read the last statistics of an eve.json: events of decoder and stream -> how often."""
    counts: dict[str, int] = {}
    for line in text.splitlines():
        if '"event_type":"stats"' not in line:
            continue
        stats = json.loads(line)["stats"]
        counts = _leaves(stats.get("decoder", {}).get("event", {}), "decoder")
        counts["decoder invalid"] = int(stats.get("decoder", {}).get("invalid", 0))
        counts |= _leaves(
            stats.get("tcp", {}), "tcp", only=("invalid_checksum", "pkt_on_wrong_thread")
        )
        counts |= _leaves(stats.get("stream", {}).get("event", {}), "stream")
    return {kind: count for kind, count in counts.items() if count}


def _leaves(tree: dict[str, Any], path: str, only: tuple[str, ...] = ()) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{path} {key}", only)
        elif isinstance(value, int) and (not only or key in only):
            found[f"{path} {key}"] = value
    return found
