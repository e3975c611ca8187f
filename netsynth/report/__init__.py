"""How close is a synthetic capture to its real one? Two FlowTables in, a FidelityReport out."""

from netsynth.report.compare import FAMILIES, compare
from netsynth.report.fidelity import FidelityReport, Figure

__all__ = ["FAMILIES", "FidelityReport", "Figure", "compare"]
