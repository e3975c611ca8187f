"""Gaps that a capture left, by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scapy.all import IP, TCP, Ether, wrpcap  # type: ignore[attr-defined]

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.encode.losses import fit_losses, mend_losses
from netsynth.tables import AHEAD, IN_ORDER, FlowTable


def dialogues(path: Path, *, filled: int, lost: int) -> FlowTable:
    """Connections whose server skips 100 bytes, which it sends 0.2 s later, or never."""
    packets = []
    for number in range(filled + lost):
        steps = [
            (0, "C", "S", 0, 0), (0.1, "S", "SA", 0, 0), (0.2, "C", "A", 1, 0),
            (0.3, "S", "A", 1, 100), (0.4, "S", "A", 201, 100), (0.5, "C", "A", 1, 0),
        ]  # fmt: skip
        if number < filled:
            steps.append((0.6, "S", "A", 101, 100))
        for seconds, side, flags, seq, size in steps:
            ends = ("10.0.0.1", "10.0.0.2") if side == "C" else ("10.0.0.2", "10.0.0.1")
            ports = (40000 + number, 80) if side == "C" else (80, 40000 + number)
            tcp = TCP(sport=ports[0], dport=ports[1], flags=flags, seq=1000 + seq, ack=1001)
            packet = Ether() / IP(src=ends[0], dst=ends[1]) / tcp / (b"x" * size)
            packet.time = 1_700_000_000 + 10 * number + seconds
            packets.append(packet)
    wrpcap(str(path), packets)
    return assemble_flows(read_capture(path)[0])


@pytest.mark.parametrize(("filled", "lost", "share"), [(3, 0, 0.0), (0, 2, 1.0), (3, 1, 0.25)])
def test_the_share_of_holes_that_nothing_fills(
    tmp_path: Path, filled: int, lost: int, share: float
) -> None:
    flows = dialogues(tmp_path / "a.pcap", filled=filled, lost=lost)
    assert int((flows.segment == AHEAD).sum()) == filled + lost
    assert fit_losses([flows]) == share


def test_connections_have_no_more_gaps_than_learned(tmp_path: Path) -> None:
    flows = dialogues(tmp_path / "a.pcap", filled=4, lost=16)
    rng = np.random.default_rng(1)
    none = mend_losses(flows, 0.0, rng)
    assert fit_losses([none]) == 0
    assert int((none.segment == AHEAD).sum()) == 4  # those that are filled stay
    changed = none.segment != flows.segment
    assert (none.segment[changed] == IN_ORDER).all()
    some = mend_losses(flows, 0.4, rng)  # of the twenty, eight
    assert int((some.segment == AHEAD).sum()) == 4 + 8
    assert mend_losses(flows, 0.8, rng) is flows


def test_connections_that_began_before_are_as_they_are(tmp_path: Path) -> None:
    flows = dialogues(tmp_path / "a.pcap", filled=0, lost=1)
    begun = replace(flows.packets, tcp_flags=flows.packets.tcp_flags & np.uint8(0xFD))
    flows = replace(flows, packets=begun)
    assert mend_losses(flows, 0.0, np.random.default_rng(0)) is flows
    assert fit_losses([flows]) == 0
