"""How close is a synthetic capture to its real one? Two FlowTables in, a FidelityReport out."""

from netsynth.report.baselines import baseline_captures
from netsynth.report.compare import FAMILIES, compare
from netsynth.report.fidelity import FidelityReport, Figure
from netsynth.report.files import report_dict, verdict_text, write_report
from netsynth.report.floor import floor_report
from netsynth.report.gate import shortfalls
from netsynth.report.pair import CaptureFacts, Reference, refer_to
from netsynth.report.verdicts import Verdict, verdicts

__all__ = [
    "FAMILIES",
    "CaptureFacts",
    "FidelityReport",
    "Figure",
    "Reference",
    "Verdict",
    "baseline_captures",
    "compare",
    "floor_report",
    "refer_to",
    "report_dict",
    "shortfalls",
    "verdict_text",
    "verdicts",
    "write_report",
]
