"""Segments that come again in ways that analysers take for new data: tshark reads them all."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from demux_actions import STEP_NS, Action, flow_table
from demux_writing import malformed, write

from netsynth.demux import CompiledPackets, compile_flows
from netsynth.tables import ACK_PART, ACK_SAME, KEEP_ALIVE, RETRANSMIT

needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
OPENING = [(0, Action("S")), (1, Action("SA", True)), (50, Action("A"))]
OPENING += [(1, Action("PA", False, 90)), (1, Action("PA", True, 100)), (1, Action("A"))]
OPENING += [(1, Action("PA", False, 90))]
FIVE = [(1, Action("A", True, 1448)) for _ in range(4)] + [(1, Action("PA", True, 700))]
AGAIN = Action("A", True, 1448, segment=RETRANSMIT)
ENDINGS = {  # milliseconds since the packet before, and the packet
    "out_of_order": [(1, Action("A", ack_class=ACK_PART)), (1, AGAIN), (1, AGAIN)],
    "fast_retransmission": [
        (1, Action("A", ack_class=ACK_PART)),
        *[(1, Action("A", ack_class=ACK_SAME))] * 3,
        (1, AGAIN),
    ],
    "keep_alive": [(1, Action("A")), (1500, Action("A", True, 1, segment=KEEP_ALIVE))],
    "retransmission": [(1, Action("A", ack_class=ACK_PART)), (400, AGAIN)],
    "out_of_order in the middle": [
        (1, Action("A", ack_class=ACK_PART)),
        (1, AGAIN),
        (1, Action("PA", True, 800)),
    ],
}


def transfer(name: str, port: int) -> CompiledPackets:
    """Compile an answer of five segments, of which some come again as `name` says."""
    timed = [*OPENING, *FIVE, *ENDINGS[name], (90, Action("A"))]
    times_ns = np.cumsum([wait for wait, _ in timed]) * STEP_NS
    flows = flow_table([[each for _, each in timed]], port=port, times_ns=[times_ns.tolist()])
    return compile_flows(flows, seed=1)


@needs_tshark
@pytest.mark.parametrize("port", [80, 443, 6379, 445, 53])
@pytest.mark.parametrize("name", ENDINGS)
def test_what_comes_again_is_put_together_once(name: str, port: int, tmp_path: Path) -> None:
    path = write(transfer(name, port), tmp_path / "again.pcap")
    command = ["tshark", "-r", str(path), "-Y", f"tcp.analysis.{name.split()[0]}"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert seen.count("\n") >= 1, "the flow does not show what it is meant to"
    assert malformed(path) == []


def payload(made: CompiledPackets, row: int) -> bytes:
    start = made.prefix_start[row]
    return made.prefix[start : start + made.prefix_length[row]].tobytes()


def test_a_segment_mistaken_for_new_is_a_message_of_its_own() -> None:
    """The acknowledgement before the first copy covers the first half of the five segments."""
    made = transfer("out_of_order", 80)
    heads = [payload(made, row)[:12] == b"HTTP/1.1 200" for row in range(7, 12)]
    sent = made.packets.seq.tolist()
    copied = [sent[7:12].index(number) for number in sent[13:15]]
    after = {place + 1 for place in copied} - {5}
    assert [place for place in range(5) if heads[place]] == sorted({0, *copied, *after})
    for row, place in zip((13, 14), copied, strict=True):
        assert payload(made, row) == payload(made, 7 + place)


def test_a_plain_retransmission_leaves_its_message_whole() -> None:
    made = transfer("retransmission", 80)
    assert [payload(made, row)[:5] == b"HTTP/" for row in range(7, 12)] == [True] + [False] * 4
