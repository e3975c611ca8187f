"""Who asks for whose address, by RFC 826 and by hand."""

from __future__ import annotations

import numpy as np

from netsynth.demux import Neighbours
from netsynth.tables import UDP, PacketTable

SECOND = 10**9


def packets_of(*sent: tuple[float, str, str], version: int = 4) -> PacketTable:
    """Return packets of (second, source, target)."""
    names = sorted({name for _, a, b in sent for name in (a, b)})
    addresses = np.zeros((len(names), 16), dtype=np.uint8)
    addresses[:, 10:12] = 255
    addresses[:, 12:] = [[int(part) for part in name.split(".")] for name in names]
    table = PacketTable.zeros(len(sent), addresses)
    table.time_ns[:] = [int(second * SECOND) for second, _, _ in sent]
    table.src[:] = [names.index(a) for _, a, _ in sent]
    table.dst[:] = [names.index(b) for _, _, b in sent]
    table.protocol[:] = UDP
    table.ip_version[:] = version
    return table


A, B, C = "10.1.2.3", "10.1.2.4", "10.1.2.5"


def test_the_first_packet_of_a_pair_is_preceded_by_an_exchange() -> None:
    found = Neighbours().find_questions(
        packets_of((1, A, B), (1.5, B, A), (2, C, A), (3, A, C), (4, A, B))
    )
    assert found.rows.tolist() == [0, 2]
    assert (found.request_ns < found.answer_ns).all()
    assert (found.answer_ns < np.array([SECOND, 2 * SECOND])).all()


def test_an_answer_is_forgotten_after_a_minute_of_silence() -> None:
    neighbours = Neighbours()
    first = neighbours.find_questions(packets_of((0, A, B), (59, B, A), (118, A, B), (179, B, A)))
    assert first.rows.tolist() == [0, 3]
    again = neighbours.find_questions(packets_of((200, A, B), (200, A, C)))
    assert again.rows.tolist() == [1]


def test_none_is_before_the_packet_before() -> None:
    neighbours = Neighbours()
    neighbours.find_questions(packets_of((1, A, B)))
    found = neighbours.find_questions(packets_of((1, A, C)))
    assert found.request_ns.tolist() == found.answer_ns.tolist() == [SECOND]


def test_only_neighbours_are_asked_for() -> None:
    far = packets_of(
        (1, A, "10.1.3.4"),  # another segment
        (1, A, "10.1.2.255"),  # all of it
        (1, A, "224.0.0.251"),
        (1, "198.51.100.1", "198.51.100.2"),  # routed
        (1, "172.32.0.1", "172.32.0.2"),  # just past RFC 1918's 172.16/12
    )
    assert Neighbours().find_questions(far).rows.size == 0
    near = packets_of((1, "172.31.0.1", "172.31.0.2"), (1, "192.168.9.1", "192.168.9.2"))
    assert Neighbours().find_questions(near).rows.tolist() == [0, 1]
    assert Neighbours().find_questions(packets_of((1, A, B), version=6)).rows.size == 0
    assert Neighbours().find_questions(packets_of((1, A, B)).take(np.zeros(0, int))).rows.size == 0
