"""Without numba the same loops run as plain Python and give the same result bit for bit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
CODE = """
import hashlib, sys, warnings
warnings.simplefilter("error")
if sys.argv[3] == "absent":
    sys.modules["numba"] = None
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from demux_actions import Action, dialogue, flow_table
from demux_reading import read_with_dpkt
from netsynth.demux import assemble_flows, compile_flows
from netsynth.tables import PACKET_COLUMNS
flows = assemble_flows(read_with_dpkt(Path(sys.argv[2]), limit=1500))
echoes = [Action("", False, 56, icmp=2048), Action("", True, 56, icmp=0)]
digest = hashlib.sha256()
long = dialogue(65000, 65000) + [Action("A", option_bits=8)] * 400
for table in (flows, flow_table([long]), flow_table([echoes], protocol=1)):
    for name in ("offsets", "reverse", "segment", "ack_class", "initiator"):
        digest.update(getattr(table, name).tobytes())
    made = compile_flows(table, seed=3)
    for name in PACKET_COLUMNS:
        digest.update(getattr(made.packets, name).tobytes())
    for column in (made.prefix, made.prefix_start, made.prefix_length):
        digest.update(column.tobytes())
print(digest.hexdigest(), "numba" in sys.modules and sys.modules["numba"] is not None)
"""


def run(mode: str) -> list[str]:
    command = [sys.executable, "-c", CODE, str(Path(__file__).parent), str(OFFICE), mode]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_results_are_the_same_without_numba() -> None:
    compiled, plain = run("present"), run("absent")
    assert compiled[1] == "True"
    assert plain == [compiled[0], "False"]


def test_importing_the_room_does_not_load_numba() -> None:
    code = "import sys, netsynth.demux; print('numba' in sys.modules)"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "False\n"
