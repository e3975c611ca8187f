"""Other people's protocol analysers, where they are installed: what they say of a capture."""

from netsynth.analysers.ndpi import NdpiFindings, ask_ndpi, read_ndpi
from netsynth.analysers.programs import INSTALL, Program, find_program
from netsynth.analysers.suricata import SuricataFindings, ask_suricata, read_eve
from netsynth.analysers.whole_frames import fill_frames
from netsynth.analysers.wireshark import (
    PACKETS,
    ask_capinfos,
    ask_tcpprep,
    ask_tshark,
    read_expert,
)

__all__ = [
    "INSTALL",
    "PACKETS",
    "NdpiFindings",
    "Program",
    "SuricataFindings",
    "ask_capinfos",
    "ask_ndpi",
    "ask_suricata",
    "ask_tcpprep",
    "ask_tshark",
    "fill_frames",
    "find_program",
    "read_eve",
    "read_expert",
    "read_ndpi",
]
