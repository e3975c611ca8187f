"""Room 2: packets to flows, both directions in one row, and actions back to packets."""

from netsynth.demux.assemble import DemuxConfig, assemble_flows
from netsynth.demux.census import ENDS, FlowCensus, census_of, count_flows
from netsynth.demux.compile import CompiledPackets, compile_flows
from netsynth.demux.labels import LabelTable, assign_labels, read_labels
from netsynth.demux.neighbours import Neighbours
from netsynth.demux.windows import spread_windows

__all__ = [
    "ENDS",
    "CompiledPackets",
    "DemuxConfig",
    "FlowCensus",
    "LabelTable",
    "Neighbours",
    "assemble_flows",
    "assign_labels",
    "census_of",
    "compile_flows",
    "count_flows",
    "read_labels",
    "spread_windows",
]
