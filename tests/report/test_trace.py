"""Flows and sessions of a trace, by pencil and with a dictionary."""

import numpy as np
import pytest
from report_tables import address_table, dialogues, packet_table

from netsynth.report.pair import pair_up, refer_to
from netsynth.report.series import bytes_per_interval, intervals_of, resampled_series
from netsynth.report.trace import address_codes, mix, time_halves, trace_of
from netsynth.tables import ICMP, IP_FRAGMENT, PACKET_COLUMNS, PacketTable

TALK = [
    {"time_ns": 30, "src": 2, "dst": 1, "src_port": 80, "dst_port": 5000},
    {"time_ns": 10, "src": 1, "dst": 2, "src_port": 5000, "dst_port": 80},
    {"time_ns": 20, "src": 1, "dst": 2, "src_port": 5001, "dst_port": 80},
    {"time_ns": 40, "src": 1, "dst": 2, "src_port": 5000, "dst_port": 80, "protocol": 17},
    {"time_ns": 50, "src": 1, "dst": 2, "protocol": ICMP},
    {"time_ns": 60, "src": 1, "dst": 2, "protocol": 17, "ip_flags": IP_FRAGMENT},
    {"time_ns": 9_000_000_000_000, "src": 1, "dst": 2, "src_port": 5000, "dst_port": 80},
]


def test_flows_are_one_way_sessions_both_and_neither_ends_by_timeout() -> None:
    trace = trace_of(packet_table(TALK))
    assert len(trace) == 5
    assert trace.left_out == 2
    assert trace.session_count == 3
    assert trace.flow_count == 4
    by_port = trace.packets.time_ns.tolist()
    assert by_port == sorted(by_port)
    first, last = trace.session[0], trace.session[4]
    assert first == last == trace.session[2]
    assert trace.flow[0] == trace.flow[4] != trace.flow[2]
    assert trace.forward.tolist() == [True, True, False, True, True]
    assert (trace.flow_session[trace.flow] == trace.session).all()


def test_sessions_are_those_that_a_dictionary_finds() -> None:
    packets = dialogues(3)
    trace = trace_of(packets)
    keys = [
        frozenset([(s, sp), (d, dp)]) | {p}
        for s, sp, d, dp, p in zip(
            trace.packets.src.tolist(),
            trace.packets.src_port.tolist(),
            trace.packets.dst.tolist(),
            trace.packets.dst_port.tolist(),
            trace.packets.protocol.tolist(),
            strict=True,
        )
    ]
    assert trace.session_count == len(set(keys))
    assert len(set(zip(keys, trace.session.tolist(), strict=True))) == len(set(keys))


def test_an_address_has_one_code_wherever_its_row_is() -> None:
    table = address_table(5)
    assert (address_codes(table[[3, 1]]) == address_codes(table)[[3, 1]]).all()
    assert np.unique(address_codes(table)).size == 5
    assert np.unique(mix(np.arange(10_000))).size == 10_000


def test_every_packet_lies_in_an_interval_the_last_in_the_last() -> None:
    rows = [{"time_ns": t, "ip_length": 40} for t in (0, 1, 999, 1000)]
    trace = trace_of(packet_table(rows))
    assert intervals_of(trace, 10).tolist() == [0, 0, 9, 9]
    assert bytes_per_interval(trace, 10).tolist() == [80, 0, 0, 0, 0, 0, 0, 0, 0, 80]
    assert [len(half) for half in time_halves(trace)] == [2, 2]


def test_resampling_flows_keeps_the_load_on_average() -> None:
    trace = trace_of(dialogues(1))
    found = list(resampled_series(trace, 5, rng=np.random.default_rng(0), replicates=400))
    assert np.mean(found, axis=0) == pytest.approx(bytes_per_interval(trace, 5), rel=0.1)


def test_a_longer_capture_is_judged_by_as_long_a_stretch_and_says_so() -> None:
    real = dialogues(1)
    late = dialogues(2)
    late.time_ns[:] += 60_000_000_000
    columns = {n: np.concatenate([getattr(real, n), getattr(late, n)]) for n in PACKET_COLUMNS}
    longer = PacketTable(addresses=real.addresses, **columns)
    pair = pair_up(refer_to(real, seed=0), longer, seed=0, quick=True)
    assert len(pair.synthetic) == len(real)
    assert len(pair.everything) == len(longer)
    assert "judged by its first" in pair.notes[0]
