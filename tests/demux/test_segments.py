"""Classes of segments and acknowledgements, by hand from RFC 9293's sequence arithmetic."""

from __future__ import annotations

import pytest
from demux_reading import row_of, table_of

from netsynth.demux import assemble_flows
from netsynth.tables import (
    ACK,
    ACK_ALL,
    ACK_NONE,
    ACK_PART,
    ACK_SAME,
    AHEAD,
    FIN,
    IN_ORDER,
    KEEP_ALIVE,
    RETRANSMIT,
    RST,
    SYN,
    TCP,
)

TOP = 2**32
Row = tuple[str, int, int, int, int]  # direction, flags, seq, ack, payload


def classes(rows: list[Row], *, client: int = 0, server: int = 0) -> list[tuple[int, int]]:
    """Assemble one flow whose numbers are shifted by each side's initial number."""
    addresses: dict[bytes, int] = {}
    ends = [(row_of(addresses, "10.0.0.1"), 40000), (row_of(addresses, "10.0.0.2"), 80)]
    shift = (client, server)
    made = []
    for time, (direction, flags, seq, ack, payload) in enumerate(rows):
        side = int(direction == "<")
        made.append(
            {
                "time_ns": time,
                "src": ends[side][0],
                "dst": ends[1 - side][0],
                "src_port": ends[side][1],
                "dst_port": ends[1 - side][1],
                "protocol": TCP,
                "ip_version": 4,
                "tcp_flags": flags,
                "seq": (seq + shift[side]) % TOP,
                "ack": (ack + shift[1 - side]) % TOP if flags & ACK else 0,
                "payload_length": payload,
            }
        )
    flows = assemble_flows(table_of(made, addresses))
    assert len(flows) == 1
    return list(zip(flows.segment.tolist(), flows.ack_class.tolist(), strict=True))


HANDSHAKE: list[Row] = [(">", SYN, 0, 0, 0), ("<", SYN | ACK, 0, 1, 0), (">", ACK, 1, 1, 0)]
STARTED = [(IN_ORDER, ACK_NONE), (IN_ORDER, ACK_ALL), (IN_ORDER, ACK_ALL)]
ALL, SAME, PART = (IN_ORDER, ACK_ALL), (IN_ORDER, ACK_SAME), (IN_ORDER, ACK_PART)
CASES: dict[str, tuple[list[Row], list[tuple[int, int]]]] = {
    "data and its acknowledgement": (
        [(">", ACK, 1, 1, 100), ("<", ACK, 1, 101, 0)],
        [ALL, ALL],
    ),
    "a part of what was sent": (
        [(">", ACK, 1, 1, 100), (">", ACK, 101, 1, 100), ("<", ACK, 1, 101, 0)],
        [ALL, ALL, PART],
    ),
    "the same again while more is on its way": (
        [(">", ACK, 1, 1, 100), ("<", ACK, 1, 1, 0), ("<", ACK, 1, 101, 0)],
        [ALL, SAME, ALL],
    ),
    "an older one counts as the same": (
        [(">", ACK, 1, 1, 100), ("<", ACK, 1, 101, 0), (">", ACK, 101, 1, 9), ("<", ACK, 1, 51, 0)],
        [ALL, ALL, ALL, SAME],
    ),
    "a retransmission": (
        [(">", ACK, 1, 1, 100), (">", ACK, 1, 1, 100)],
        [ALL, (RETRANSMIT, ACK_ALL)],
    ),
    "a retransmission that goes on": (
        [(">", ACK, 1, 1, 100), (">", ACK, 51, 1, 100), (">", ACK, 151, 1, 10)],
        [ALL, (RETRANSMIT, ACK_ALL), ALL],
    ),
    "keep-alives, with a byte and without": (
        [(">", ACK, 1, 1, 9), (">", ACK, 9, 1, 0), (">", ACK, 9, 1, 1), ("<", ACK, 1, 10, 0)],
        [ALL, (KEEP_ALIVE, ACK_ALL), (KEEP_ALIVE, ACK_ALL), ALL],
    ),
    "a hole, duplicate acknowledgements, and its filling": (
        [
            (">", ACK, 1, 1, 100),
            (">", ACK, 201, 1, 100),
            ("<", ACK, 1, 101, 0),
            (">", ACK, 301, 1, 50),
            ("<", ACK, 1, 101, 0),
            (">", ACK, 101, 1, 100),
            ("<", ACK, 1, 301, 0),
            ("<", ACK, 1, 351, 0),
        ],
        [ALL, (AHEAD, ACK_ALL), ALL, ALL, ALL, (RETRANSMIT, ACK_ALL), PART, ALL],
    ),
    "a hole that only the capture has": (
        [
            (">", ACK, 1, 1, 100),
            (">", ACK, 201, 1, 100),
            ("<", ACK, 1, 301, 0),
            (">", ACK, 301, 1, 10),
            ("<", ACK, 1, 301, 0),
        ],
        [ALL, (AHEAD, ACK_ALL), ALL, ALL, SAME],
    ),
    "FINs count one": (
        [(">", FIN | ACK, 1, 1, 0), ("<", ACK, 1, 1, 0), ("<", FIN | ACK, 1, 2, 0)],
        [ALL, SAME, ALL],
    ),
    "a repeated FIN": (
        [(">", FIN | ACK, 1, 1, 5), (">", FIN | ACK, 1, 1, 5), (">", ACK, 7, 1, 0)],
        [ALL, (RETRANSMIT, ACK_ALL), ALL],
    ),
    "a reset of an older number is none of these": (
        [(">", ACK, 1, 1, 100), (">", RST, 50, 0, 0)],
        [ALL, (IN_ORDER, ACK_NONE)],
    ),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize(("client", "server"), [(0, 0), (TOP - 60, 17), (2**31, TOP - 1)])
def test_classes_after_a_handshake(name: str, client: int, server: int) -> None:
    rows, expected = CASES[name]
    assert classes(HANDSHAKE + rows, client=client, server=server) == STARTED + expected


def test_a_repeated_syn_is_a_retransmission_and_another_number_a_start() -> None:
    rows: list[Row] = [(">", SYN, 0, 0, 0), (">", SYN, 0, 0, 0), (">", SYN, 5000, 0, 0)]
    assert [segment for segment, _ in classes(rows)] == [IN_ORDER, RETRANSMIT, IN_ORDER]


def test_the_first_packet_defines_the_start_of_a_flow_seen_midway() -> None:
    rows: list[Row] = [
        (">", ACK, 700, 300, 10),
        ("<", ACK, 300, 700, 5),
        ("<", ACK, 305, 710, 0),
        (">", ACK, 710, 303, 0),
        (">", ACK, 710, 305, 0),
    ]
    assert classes(rows) == [ALL, PART, ALL, PART, ALL]


def test_other_protocols_have_no_classes() -> None:
    addresses: dict[bytes, int] = {}
    row = {"src": row_of(addresses, "10.0.0.1"), "dst": row_of(addresses, "10.0.0.2")}
    row |= {"protocol": 17, "ip_version": 4, "payload_length": 9, "tcp_flags": 0}
    flows = assemble_flows(table_of([row, row], addresses))
    assert flows.segment.tolist() == [IN_ORDER] * 2
    assert flows.ack_class.tolist() == [ACK_NONE] * 2
