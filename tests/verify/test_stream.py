"""Connections by hand: those of RFC 9293's figures pass, and each fault is named once."""

from __future__ import annotations

from pathlib import Path

import pytest
from verify_packets import Packet, flows_of

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows
from netsynth.verify import COMPLAINTS, ENDS, StreamFindings, check_streams

SYN, SYN_ACK = Packet("S", 0), Packet("SA", 0, 1, reverse=True)
OPENING = [SYN, SYN_ACK, Packet("A", 1, 1)]
DATA = [Packet("PA", 1, 1, 100), Packet("A", 1, 101, reverse=True)]
CLOSING = [
    Packet("FA", 101, 1),
    Packet("FA", 1, 102, reverse=True),
    Packet("A", 102, 2),
]
STAMPS = {"option_bits": 8}


def found(*connections: list[Packet]) -> StreamFindings:
    return check_streams(flows_of(*connections))


def complaints(connection: list[Packet]) -> dict[str, int]:
    return {kind: count for kind, count in found(connection).complaints.items() if count}


def test_a_whole_connection_is_in_order() -> None:
    result = found([*OPENING, *DATA, *CLOSING], [*OPENING, *DATA, *CLOSING])
    assert not any(result.complaints.values())
    assert (result.flows, result.packets, result.retransmitted) == (2, 16, 0)
    assert result.ends == {end: 2 * (end == "closed") for end in ENDS}


FAULTS: dict[str, tuple[str, list[Packet]]] = {
    "acknowledges more than was sent": (
        "unsent",
        [*OPENING, Packet("PA", 1, 1, 100), Packet("A", 1, 102, reverse=True)],
    ),
    "leaves out 50 bytes": ("missing", [*OPENING, Packet("PA", 51, 1, 100)]),
    "overruns a window of 1000": (
        "window",
        [*OPENING, Packet("A", 1, 1, 600), Packet("A", 601, 1, 401)],
    ),
    "overruns the MSS": (
        "mss",
        [SYN, SYN_ACK._replace(option_bits=1, mss=536), OPENING[2], Packet("A", 1, 1, 537)],
    ),
    "answers another SYN": ("handshake", [SYN, SYN_ACK._replace(ack=0)]),
    "sends on after FIN": ("after FIN", [*OPENING, Packet("FA", 1, 1), Packet("A", 2, 1, 9)]),
    "sends on after its reset": ("after RST", [*OPENING, Packet("R", 1), Packet("A", 1, 1)]),
    "echoes the future": (
        "echo",
        [SYN._replace(**STAMPS, ts_val=5), SYN_ACK._replace(**STAMPS, ts_val=9, ts_ecr=6)],
    ),
    "turns its clock back": (
        "clock",
        [SYN._replace(**STAMPS, ts_val=5), SYN._replace(**STAMPS, ts_val=4)],
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_once(name: str) -> None:
    kind, connection = FAULTS[name]
    if kind == "missing":
        connection = [*connection, Packet("A", 1, 1, reverse=True)]
    assert complaints(connection) == {kind: 1}


def test_every_complaint_has_its_fault() -> None:
    assert {kind for kind, _ in FAULTS.values()} == set(COMPLAINTS)


def test_a_scaled_window_holds_more() -> None:
    offer = {"option_bits": 2, "scale": 3}
    opening = [SYN._replace(**offer), SYN_ACK._replace(**offer), Packet("A", 1, 1)]
    server = Packet("A", 1, 1, reverse=True)  # its 1000 are 8000 from now on
    fits = [Packet("A", 1 + 1000 * k, 1, 1000) for k in range(8)]
    assert complaints([*opening, server, *fits]) == {}
    assert complaints([*opening, server, *fits, Packet("A", 8001, 1, 1)]) == {"window": 1}


def test_a_hole_is_none_once_filled_or_acknowledged() -> None:
    late = [*OPENING, Packet("A", 51, 1, 100), Packet("A", 1, 1, 50)]
    assert complaints([*late, Packet("A", 1, 151, reverse=True)]) == {}
    missed = [*OPENING, Packet("A", 51, 1, 100), Packet("A", 1, 151, reverse=True)]
    assert complaints(missed) == {}  # the receiver got it, the capture did not


def test_retransmissions_are_counted() -> None:
    result = found([*OPENING, Packet("A", 1, 1, 100), Packet("A", 1, 1, 100)])
    assert result.retransmitted == 1
    assert not any(result.complaints.values())


REFUSAL = Packet("RA", 0, 1, reverse=True)
ENDINGS = {
    "reset": [*OPENING, Packet("R", 1)],
    "refused": [SYN, REFUSAL],
    "unanswered": [SYN, SYN],
    "half-open": [SYN, SYN_ACK, SYN_ACK],
    "half-closed": [*OPENING, Packet("FA", 1, 1), Packet("A", 1, 2, reverse=True)],
    "open": [*OPENING, *DATA],
    "partial": DATA,
}


@pytest.mark.parametrize("end", ENDINGS)
def test_ends_are_told_apart(end: str) -> None:
    assert found(ENDINGS[end]).ends[end] == 1


def test_the_last_fin_must_be_acknowledged() -> None:
    assert found([*OPENING, *DATA, *CLOSING[:2]]).ends["half-closed"] == 1


def test_a_capture_of_linux_hosts_is_free_of_faults() -> None:
    """They kept to the RFC, so whatever is found here is the checker's fault."""
    path = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
    result = check_streams(assemble_flows(read_capture(path)[0]))
    assert not any(result.complaints.values())
    assert result.packets == 44_320
    assert result.ends["partial"] == 0
