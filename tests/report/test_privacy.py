"""Copies, neighbours and what reappears."""

import numpy as np
import pytest
from report_tables import address_table, dialogues, packet_table
from sklearn.metrics import pairwise_distances

from netsynth.report import CaptureFacts, compare
from netsynth.report.copies import session_keys
from netsynth.report.neighbours import MOST_QUICK, nearest
from netsynth.report.reappear import mac_text
from netsynth.report.trace import trace_of
from netsynth.tables import PACKET_COLUMNS, PacketTable


def moved(packets: PacketTable, *, hosts: int, ports: int) -> PacketTable:
    """The same dialogues between other hosts and client ports, a day later."""
    columns = {name: getattr(packets, name).copy() for name in PACKET_COLUMNS}
    for name in ("src_port", "dst_port"):
        columns[name][columns[name] > 1024] += np.uint16(ports)
    columns["time_ns"] += 86_400_000_000_000
    addresses = address_table(len(packets.addresses) + hosts)[hosts:]
    return PacketTable(addresses=addresses, **columns)


def test_a_capture_against_itself_is_a_full_copy() -> None:
    real = dialogues(1)
    report = compare(real, real, families=["privacy"])
    assert report.figure("privacy", "record copies").raw == 1.0
    assert report.figure("privacy", "session copies").raw == 1.0
    assert report.figure("privacy", "record copies").real == 0.0
    assert report.figure("privacy", "session copies").interval == (1.0, 1.0)


def test_new_endpoints_hide_records_but_not_sessions() -> None:
    real = dialogues(1)
    report = compare(real, moved(real, hosts=100, ports=777), families=["privacy"])
    assert report.figure("privacy", "record copies").raw == 0.0
    assert report.figure("privacy", "session copies").raw == 1.0
    assert report.figure("privacy", "DCR ratio").raw == 0.0
    assert report.figure("privacy", "IP addresses").raw == 0


def test_other_traffic_of_the_same_kind_is_no_copy() -> None:
    report = compare(dialogues(1), dialogues(2), families=["privacy"])
    assert report.figure("privacy", "session copies").raw == 0.0
    assert report.figure("privacy", "DCR ratio").raw == pytest.approx(1.0, abs=0.15)


TALK = [(0, 0, 40, 2), (20_000_000, 1, 44, 18), (41_000_000, 0, 40, 16), (60_000_000, 0, 99, 24)]


def keys_of(talk: list[tuple[int, int, int, int]]) -> list[int]:
    rows = [
        {
            "time_ns": time,
            "src": 1 + side,
            "dst": 2 - side,
            "src_port": 80 if side else 4000,
            "dst_port": 4000 if side else 80,
            "ip_length": length,
            "tcp_flags": flags,
        }
        for time, side, length, flags in talk
    ]
    found: list[int] = session_keys(trace_of(packet_table(rows)))[0].tolist()
    return found


def test_a_session_is_its_directions_lengths_flags_and_gaps_to_a_tenth_of_a_millisecond() -> None:
    original = keys_of(TALK)
    assert keys_of([(t + 5_000_000_000, *rest) for t, *rest in TALK]) == original
    nudged = [TALK[0], (20_040_000, 1, 44, 18), *TALK[2:]]  # gaps 20.04 and 20.96 ms
    assert keys_of(nudged) == original
    for changed in ((20_400_000, 1, 44, 18), (20_000_000, 0, 44, 18), (20_000_000, 1, 44, 16)):
        assert keys_of([TALK[0], changed, *TALK[2:]]) != original
    assert keys_of(TALK[:3]) == []  # too short to be called a copy


def test_the_nearest_neighbour_is_that_of_all_distances() -> None:
    rng = np.random.default_rng(0)
    points, pool = rng.normal(size=(50, 7)), rng.normal(size=(60, 7))
    assert nearest(points, pool) == pytest.approx(pairwise_distances(points, pool).min(axis=1))
    others = pairwise_distances(pool) + np.diag(np.full(60, np.inf))
    found = nearest(pool[:9], pool, among_themselves=True)
    assert found == pytest.approx(others.min(axis=1)[:9])


def test_membership_needs_held_out_traffic_and_finds_a_memoriser() -> None:
    real, unseen = dialogues(1), dialogues(9)
    blind = compare(real, dialogues(2), families=["privacy"], quick=True)
    assert blind.figure("privacy", "membership AUC").raw is None
    assert "held out" in blind.figure("privacy", "membership AUC").note
    replay = moved(real, hosts=100, ports=777)
    found = compare(real, replay, families=["privacy"], quick=True, held_out=unseen)
    auc = found.figure("privacy", "membership AUC").raw
    assert auc is not None
    assert auc > 0.95
    fresh = compare(real, dialogues(2), families=["privacy"], quick=True, held_out=unseen)
    assert fresh.figure("privacy", "membership AUC").raw == pytest.approx(0.5, abs=0.1)


def test_a_memoriser_is_found_in_more_sessions_than_are_judged() -> None:
    real, unseen = dialogues(1, sessions=3 * MOST_QUICK), dialogues(9)
    replay = moved(real, hosts=100, ports=777)
    found = compare(real, replay, families=["privacy"], quick=True, held_out=unseen)
    auc = found.figure("privacy", "membership AUC").raw
    assert auc is not None
    assert auc > 0.95


def test_real_addresses_macs_and_ports_that_reappear_are_listed() -> None:
    rows = [{"src": 1, "dst": 2, "src_port": 443, "dst_port": 50_000, "ip_length": 40}]
    rows += [{"src": 1, "dst": 3, "src_port": 25, "dst_port": 50_001, "ip_length": 40}]
    real = packet_table(rows)
    real.addresses[3, 12:] = (224, 0, 0, 251)  # a group belongs to nobody
    synthetic = packet_table([rows[0] | {"src": 2, "dst": 4}])
    macs = np.array([0x02AABBCCDDEE, 0x333300000001, 0x0400000000FF], dtype=np.uint64)
    report = compare(
        real,
        synthetic,
        families=["privacy"],
        real_facts=CaptureFacts(macs=macs),
        synthetic_facts=CaptureFacts(macs=macs[:2]),
    )
    found = {f.name: (f.raw, f.real) for f in report.family("privacy")}
    assert found["IP addresses"] == (1, 2)
    assert found["MAC addresses"] == (1, 2)  # 33:33:... is a group, too
    assert found["ports"] == (1, 2)
    assert report.details["reappear"] == {
        "IP addresses": ["10.0.0.2"],
        "MAC addresses": ["02:aa:bb:cc:dd:ee"],
        "ports": ["443"],
    }
    assert mac_text(0x0400000000FF) == "04:00:00:00:00:ff"
