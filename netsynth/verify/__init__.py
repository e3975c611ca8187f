"""Last room: would a network take a capture as live traffic? Own checks, and other people's."""

from netsynth.verify.examine import (
    PROGRAMS,
    FileFacts,
    Findings,
    choose_programs,
    count_lookups,
    count_talking,
    examine,
)
from netsynth.verify.lines import Line
from netsynth.verify.stream import COMPLAINTS, ENDS, StreamFindings, check_streams
from netsynth.verify.table import verdict_table
from netsynth.verify.targets import VerifyReport, as_dict, judge

__all__ = [
    "COMPLAINTS",
    "ENDS",
    "PROGRAMS",
    "FileFacts",
    "Findings",
    "Line",
    "StreamFindings",
    "VerifyReport",
    "as_dict",
    "check_streams",
    "choose_programs",
    "count_lookups",
    "count_talking",
    "examine",
    "judge",
    "verdict_table",
]
