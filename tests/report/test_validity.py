"""Validity by pencil, and the tables of protocol analysers."""

import shutil
from pathlib import Path

import pytest
from report_tables import OFFICE, packet_table

import netsynth
from netsynth.analysers import ask_tshark
from netsynth.report import CaptureFacts, compare
from netsynth.report.analysers import _without_places
from netsynth.tables import (
    ACK,
    CHECKSUM_IP_BAD,
    CHECKSUM_L4_BAD,
    CHECKSUM_L4_UNKNOWN,
    FIN,
    RST,
    SYN,
    PacketTable,
)


def talk(port: int, plan: list[tuple[int, int, int, int]], start: int = 0) -> list[dict[str, int]]:
    """Rows of (side, flags, seq, payload) on one connection."""
    return [
        {
            "time_ns": start + place * 1000,
            "src": 1 + side,
            "dst": 2 - side,
            "src_port": 80 if side else port,
            "dst_port": port if side else 80,
            "tcp_flags": flags,
            "seq": seq,
            "payload_length": size,
            "ip_length": 40 + size,
        }
        for place, (side, flags, seq, size) in enumerate(plan)
    ]


WHOLE = [
    (0, SYN, 0xFFFFFFFF, 0),
    (1, SYN | ACK, 500, 0),
    (0, ACK, 0, 0),
    (0, ACK, 0, 10),
    (1, ACK, 501, 5),
    (0, FIN | ACK, 10, 0),
    (0, ACK, 11, 0),
]
REFUSED = [(0, SYN, 1, 0), (1, RST | ACK, 0, 0)]
HALF_SEEN = [(0, ACK, 7, 3), (0, ACK, 99, 3)]


def shares(packets: PacketTable) -> dict[str, float | None]:
    report = compare(packets, packets, families=["validity"])
    return {figure.name: figure.raw for figure in report.family("validity")}


def test_handshakes_directions_and_sequence_numbers() -> None:
    rows = talk(4000, WHOLE) + talk(4001, REFUSED) + talk(4002, HALF_SEEN)
    found = shares(packet_table(rows))
    assert found["two-way"] == pytest.approx(2 / 3)
    assert found["handshake"] == pytest.approx(1 / 2)  # of the two that start with SYN
    # followers: four forward and one backward of the first, one wrong of the third
    assert found["sequence"] == pytest.approx(5 / 6)


def test_checksums_that_cannot_be_told_are_not_judged() -> None:
    packets = packet_table(talk(4000, WHOLE))
    packets.checksums[:4] = [CHECKSUM_IP_BAD, CHECKSUM_L4_BAD, CHECKSUM_L4_UNKNOWN, 0]
    found = shares(packets)
    assert found["IP checksum"] == pytest.approx(6 / 7)
    assert found["L4 checksum"] == pytest.approx(5 / 6)


def test_order_is_that_of_the_file() -> None:
    packets = packet_table(talk(4000, WHOLE))
    packets.time_ns[3] = 0
    assert shares(packets)["order"] == pytest.approx(5 / 6)
    facts = CaptureFacts(out_of_order_count=2, frame_count=8)
    report = compare(
        packets, packets, families=["validity"], real_facts=facts, synthetic_facts=facts
    )
    assert report.figure("validity", "order").raw == 0.75


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_is_asked() -> None:
    found = ask_tshark(OFFICE)
    assert found["Warn: TCP: Connection reset (RST)"] > 1000  # the port scan and SYN flood


@pytest.mark.parametrize("analyser", ["tshark", "suricata"])
def test_analysers_find_what_was_broken(analyser: str, tmp_path: Path) -> None:
    """Ten TCP checksums made wrong, of 400 frames: ten more complaints than of the real ones."""
    if shutil.which(analyser) is None:
        pytest.skip(f"{analyser} is not installed")
    data = bytearray(OFFICE.read_bytes())
    at, broken, real = 24, 0, bytearray()
    for place in range(400):
        size = int.from_bytes(data[at + 8 : at + 12], "little")
        frame = at + 16
        if place == 0:
            real = bytearray(data[:24])
        real += data[at : frame + size]
        if broken < 10 and data[frame + 12 : frame + 14] == b"\x08\x00" and data[frame + 23] == 6:
            data[frame + 50] ^= 0x55
            broken += 1
        at = frame + size
    paths = [tmp_path / "real.pcap", tmp_path / "broken.pcap"]
    paths[0].write_bytes(real)
    paths[1].write_bytes(data[:at])
    found = netsynth.compare(*paths, families=["validity"])
    figure = found.figure("validity", analyser)
    kinds = found.details["analysers"][analyser]
    assert figure.raw == pytest.approx(1000 * sum(pair[1] for pair in kinds.values()) / 400)
    wrong = [pair for kind, pair in kinds.items() if "checksum" in kind.lower()]
    assert [sum(column) for column in zip(*wrong, strict=True)] == [0, 10]
    assert list(kinds.values()) == sorted(kinds.values(), key=sum, reverse=True)
    several = netsynth.compare([paths[0], paths[1]], paths[1], families=["validity"])
    assert analyser not in {row.name for row in several.figures}


def test_complaints_that_name_frames_are_one_kind() -> None:
    found = _without_places({"Warn: DNS: Original request in frame 7": 1, "Warn: DNS: frame 9": 2,
                             "Warn: DNS: Original request in frame 123": 3})  # fmt: skip
    assert found == {"Warn: DNS: Original request in frame": 4, "Warn: DNS: frame": 2}
