"""How nDPI comes to know the applications of a capture: by their payload, or by port alone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from netsynth.analysers.programs import run_program

_CONFIDENCE = re.compile(r"^\s*Confidence:?\s+(.+?)\s+(\d+)\s+\(flows\)", re.MULTILINE)
_FLOWS = re.compile(r"^\s*Unique flows:\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class NdpiFindings:
    """What nDPI says of the flows of a capture.

    Attributes:
        flows: Flows of any kind.
        inspected: Those whose application the payload told (deep packet inspection).
        by_port: Those whose port alone did.
    """

    flows: int
    inspected: int
    by_port: int

    @property
    def inspected_share(self) -> float:
        """Flows known by payload, of those known at all, 0..1; 0 where none is."""
        return self.inspected / max(self.inspected + self.by_port, 1)


def ask_ndpi(path: Path) -> NdpiFindings:
    """Let nDPI look at a whole capture.

    Raises:
        subprocess.SubprocessError: If ndpiReader fails or takes too long.
        ValueError: If its summary cannot be read.
    """
    return read_ndpi(run_program(["ndpiReader", "-i", str(path)]).stdout)


def read_ndpi(text: str) -> NdpiFindings:
    """Read the summary that ndpiReader 4 prints.

    Raises:
        ValueError: If it says nothing of flows.
    """
    flows = _FLOWS.search(text)
    if flows is None:
        raise ValueError("ndpiReader printed no number of flows")
    counts = {name.lower(): int(count) for name, count in _CONFIDENCE.findall(text)}
    return NdpiFindings(
        flows=int(flows[1]),
        inspected=sum(count for name, count in counts.items() if name.startswith("dpi")),
        by_port=sum(count for name, count in counts.items() if "port" in name),
    )
