"""How close is a synthetic capture to its real one? Two FlowTables in, a FidelityReport out."""

from netsynth.report.compare import FAMILIES, compare
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.pair import CaptureFacts, Reference, refer_to

__all__ = [
    "FAMILIES",
    "CaptureFacts",
    "FidelityReport",
    "Figure",
    "Reference",
    "compare",
    "refer_to",
]
