"""Copies, neighbours and what reappears."""

import numpy as np
import pytest
from report_tables import address_table, dialogues, packet_table
from sklearn.metrics import pairwise_distances

from netsynth.report import CaptureFacts, FidelityReport, Figure, compare, shortfalls
from netsynth.report.copies import session_keys, share_between_halves, share_of_late
from netsynth.report.judges import leaks
from netsynth.report.neighbours import MOST_QUICK, nearest, nearest_others, points_of
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
    assert report.figure("privacy", "session copies").interval == (1.0, 1.0)


def test_new_endpoints_hide_records_but_not_sessions() -> None:
    real = dialogues(1)
    report = compare(real, moved(real, hosts=100, ports=777), families=["privacy"])
    assert report.figure("privacy", "record copies").raw == 0.0
    assert report.figure("privacy", "session copies").raw == 1.0
    assert report.figure("privacy", "DCR ratio").raw == 0.0
    assert report.figure("privacy", "IP addresses").raw == 0


def test_a_copy_stretched_by_a_few_percent_is_a_leak_still() -> None:
    """No session is the same to a tenth of a millisecond, and each lies beside its own."""
    real = dialogues(1)
    other = moved(real, hosts=100, ports=777)
    first = other.time_ns.min()
    other.time_ns[:] = first + ((other.time_ns - first) * 1.03).astype(np.int64)
    report = compare(real, other, families=["privacy"])
    assert report.figure("privacy", "session copies").raw < 0.1  # type: ignore[operator]
    assert report.figure("privacy", "DCR ratio").raw < 0.5  # type: ignore[operator]
    assert any("closer to real ones" in why and "a leak" in why for why in leaks(report))
    assert any("a leak" in why for why in shortfalls(report, limit=1e9))


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
    pool[40:50] = pool[20:30]  # twins
    apart = pairwise_distances(points, pool).min(axis=1)
    assert nearest(points, points_of(pool)) == pytest.approx(apart)
    others = pairwise_distances(pool) + np.diag(np.full(60, np.inf))
    chosen = np.arange(15, 55)
    found = nearest_others(points_of(pool), chosen)
    assert found == pytest.approx(others.min(axis=1)[chosen], abs=1e-7)
    assert (found == 0).sum() == 20  # exactly, not to rounding


def test_one_point_has_no_neighbour_but_its_twins() -> None:
    same = np.ones((3, 4))
    assert nearest_others(points_of(same), np.arange(3)).tolist() == [0, 0, 0]
    assert nearest_others(points_of(same[:1]), np.arange(1)).tolist() == [np.inf]


def test_the_closest_is_looked_for_among_all_sessions() -> None:
    """One real session in more than 20,000 is the twin of the one session that is asked for."""
    rng = np.random.default_rng(1)
    pool = rng.normal(size=(25_000, 5)) + 10
    pool[24_999] = 0.0
    assert nearest(np.full((1, 5), 1e-9), points_of(pool))[0] < 1e-6


def test_what_halves_of_the_real_capture_share_is_the_floor_of_copies() -> None:
    keys = np.array([1, 2, 1, 3, 2, 4], dtype=np.uint64)
    session = np.array([0, 0, 1, 2, 3, 3])
    halves = np.array([[True, True, False, False], [True, False, True, False]])
    # {1, 2, 1} against {3, 2, 4}: one of three; {1, 2, 3} against {1, 2, 4}: two of three
    assert share_between_halves(keys, session, halves) == pytest.approx((1 / 3 + 2 / 3) / 2)
    assert share_between_halves(keys, session, np.ones((1, 4), dtype=bool)) is None


def test_records_that_go_on_in_the_second_half_of_the_time_are_the_floor() -> None:
    keys = np.array([1, 2, 3, 1, 1, 4], dtype=np.uint64)
    assert share_of_late(keys, early=3) == pytest.approx(2 / 3)
    assert share_of_late(keys, early=0) is None
    assert share_of_late(keys, early=6) is None


def test_a_copy_of_traffic_that_repeats_itself_is_still_a_leak() -> None:
    def report(share: float, own: float) -> FidelityReport:
        row = Figure(family="privacy", name="session copies", text="", raw=share, real=own)
        return FidelityReport(figures=(row,))

    assert leaks(report(1.0, 0.95)) != []
    assert leaks(report(0.96, 0.95)) == []
    assert leaks(report(0.02, 0.0)) != []
    assert leaks(report(0.004, 0.0)) == []


def test_distance_and_membership_stand_beside_those_of_real_halves() -> None:
    real, unseen = dialogues(1), dialogues(9)
    report = compare(real, dialogues(2), families=["privacy"], held_out=unseen)
    dcr, mia = (report.figure("privacy", name) for name in ("DCR ratio", "membership AUC"))
    for figure in (dcr, mia):
        assert figure.floor is not None
        assert figure.scaled is not None
        assert figure.interval is not None
        assert figure.interval[0] <= figure.scaled <= figure.interval[1]
    assert dcr.real == pytest.approx(1.0, abs=0.15)  # halves are fresh traffic to each other
    assert mia.real == pytest.approx(0.5, abs=0.1)
    copied = compare(real, moved(real, hosts=100, ports=777), families=["privacy"], quick=True)
    assert copied.figure("privacy", "DCR ratio").scaled == 1.0
    assert copied.figure("privacy", "session copies").ratio is None  # halves share none
    note = copied.figure("privacy", "session copies").note
    sessions = sum(np.bincount(trace_of(real).session) >= 4)
    assert note == f"{sessions} of {sessions} sessions"


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
