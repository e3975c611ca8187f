"""What analysers print is read as it was meant."""

import shutil
from pathlib import Path

import pytest

from netsynth.analysers import (
    NdpiFindings,
    ask_capinfos,
    ask_ndpi,
    ask_suricata,
    ask_tcpprep,
    read_eve,
    read_expert,
    read_ndpi,
)

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
EXPERT = """
Errors (12)
=============
   Frequency      Group           Protocol  Summary
          10  Malformed                TCP  New fragment overlaps old data (retransmission?)
           2   Protocol                SSH  Invalid key length: 1190
           1   Checksum               IPv4  Bad checksum [should be 0x1234]

Warns (3)
=============
   Frequency      Group           Protocol  Summary
           3   Sequence                TCP  Connection reset (RST)

Notes (5)
=============
   Frequency      Group           Protocol  Summary
           5   Sequence                TCP  This frame is a (suspected) retransmission
"""
STATS = (
    '{"event_type":"stats","stats":{"decoder":{"pkts":70,"tcp":50,"invalid":1,"event":{"ipv4":'
    '{"trunc_pkt":4,"opt_pad_required":0}}},"tcp":{"invalid_checksum":2,"reassembly_gap":3},'
    '"stream":{"est_invalid_ack":6,"pkt_spurious_retransmission":9,"fin_but_no_session":8},'
    '"flow":{"tcp":10,"end":{"tcp_state":{"closed":9,"syn_sent":1,"none":0}}},'
    '"app_layer":{"flow":{"http":6,"dns_udp":3,"ftp":0,"failed_tcp":1,"failed_udp":2}}}}'
)


def test_expert_information_is_read_by_kind() -> None:
    assert read_expert(EXPERT) == {
        "Malformed: TCP: New fragment overlaps old data (retransmission?)": 10,
        "Error: SSH: Invalid key length: 1190": 2,
        "Checksum: IPv4: Bad checksum [should be 0x1234]": 1,
        "Warn: TCP: Connection reset (RST)": 3,
    }


def test_suricatas_statistics_are_those_of_its_last_word() -> None:
    first = '{"event_type":"stats","stats":{"decoder":{"invalid":9}}}'
    alerts = [
        '{"event_type":"alert","alert":{"signature":"SURICATA STREAM ESTABLISHED invalid ack"}}',
        '{"event_type":"alert","alert":{"signature":"SURICATA HTTP unknown error"}}',
    ]
    lines = [first, alerts[0], '{"event_type":"flow"}', alerts[1], alerts[0], STATS]
    found = read_eve(lines)
    assert found.complaints == {
        "decoder invalid": 1,
        "decoder ipv4 trunc_pkt": 4,
        "stream est_invalid_ack": 6,  # retransmissions are no fault
        "tcp invalid_checksum": 2,
    }
    assert found.stream_alerts == {"SURICATA STREAM ESTABLISHED invalid ack": 2}
    assert found.stream_alerts_per_thousand == 1000 * 2 / 50
    assert found.gaps == 3
    assert found.applications == {"http": 6, "dns_udp": 3}
    assert (found.detected, found.undetected) == (9, 3)
    assert found.end_shares == {"closed": 0.9, "syn_sent": 0.1}


def test_without_rules_the_counters_of_stream_events_stand_in() -> None:
    found = read_eve([STATS], has_rules=False)
    assert found.stream_alerts == {"stream est_invalid_ack": 6}
    assert found.stream_alerts_per_thousand == 1000 * 6 / 50


def test_a_log_without_statistics_is_no_answer() -> None:
    with pytest.raises(ValueError, match="no statistics"):
        read_eve(['{"event_type":"flow"}'])


def test_ndpis_confidence_is_read() -> None:
    text = (
        "\tUnique flows:          5458         \n"
        "\tConfidence: Unknown    1940          (flows)\n"
        "\tConfidence: Match by port 1074          (flows)\n"
        "\tConfidence: DPI (cache) 4            (flows)\n"
        "\tConfidence: DPI        2444          (flows)\n"
    )
    assert read_ndpi(text) == NdpiFindings(flows=5458, inspected=2448, by_port=1074)
    assert read_ndpi(text).inspected_share == 2448 / (2448 + 1074)
    with pytest.raises(ValueError, match="no number of flows"):
        read_ndpi("ndpiReader: no such file")


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@needs("capinfos")
def test_capinfos_finds_the_shipped_capture_in_order() -> None:
    assert ask_capinfos(OFFICE)


@needs("tcpprep")
def test_tcpprep_tells_clients_from_servers() -> None:
    assert sum(ask_tcpprep(OFFICE)) == 45_255  # its frames, ARP included


@needs("suricata")
def test_suricata_takes_the_shipped_capture_as_it_was_recorded() -> None:
    found = ask_suricata(OFFICE)
    assert (found.invalid, found.bad_checksums, found.gaps) == (0, 0, 0)
    assert found.tcp_packets == 44_320
    assert found.end_shares["closed"] > 0.999
    assert set(found.applications) == {"http", "ssh", "mqtt", "dns_udp"}


@needs("ndpiReader")
def test_ndpi_knows_most_of_the_shipped_capture_by_payload() -> None:
    assert 0.5 < ask_ndpi(OFFICE).inspected_share < 1
