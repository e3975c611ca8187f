"""Room 2: packets to flows, both directions in one row, and actions back to packets."""

from netsynth.demux.assemble import DemuxConfig, assemble_flows
from netsynth.demux.compile import CompiledPackets, compile_flows
from netsynth.demux.labels import LabelTable, assign_labels, read_labels

__all__ = [
    "CompiledPackets",
    "DemuxConfig",
    "LabelTable",
    "assemble_flows",
    "assign_labels",
    "compile_flows",
    "read_labels",
]
