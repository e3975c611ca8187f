"""Targets: where each line passes and where it fails."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from verify_packets import Packet, flows_of

from netsynth.analysers import NdpiFindings, SuricataFindings
from netsynth.errors import ConfigError
from netsynth.verify import (
    FileFacts,
    Findings,
    Line,
    as_dict,
    choose_programs,
    examine,
    judge,
    verdict_table,
)

OPENING = [Packet("S", 0), Packet("SA", 0, 1, reverse=True), Packet("A", 1, 1)]
FACTS = FileFacts(path=Path("out.pcap"), frames=3, late=0, cut=0, bad_checksums=0)
SURICATA = SuricataFindings(
    invalid=0,
    bad_checksums=0,
    tcp_packets=1000,
    tcp_flows=100,
    gaps=0,
    alerts={},
    events={},
    end_states={"closed": 96, "established": 4},
    applications={"http": 80},
    undetected=20,
)
NDPI = NdpiFindings(flows=100, inspected=50, by_port=50)


def findings() -> Findings:
    found = examine(flows_of(OPENING), FACTS)
    return replace(found, talking=100, suricata=SURICATA, ndpi=NDPI)


def outcome(capture: Findings, text: str, real: Findings | None = None) -> str:
    return line(capture, text, real).outcome


def line(capture: Findings, text: str, real: Findings | None = None) -> Line:
    found = [each for each in judge(capture, real).lines if text in each.text]
    assert len(found) == 1, text
    return found[0]


def test_a_capture_passes_beside_itself() -> None:
    report = judge(findings(), findings())
    assert report.passed
    assert {each.outcome for each in report.lines} == {"pass", "missing", "told"}


@pytest.mark.parametrize("name", ["late", "cut", "bad_checksums"])
def test_what_must_not_be_fails_whatever_the_real_capture_has(name: str) -> None:
    flawed = replace(findings(), facts=replace(FACTS, **{name: 1}))
    assert not judge(flawed).passed
    assert not judge(flawed, flawed).passed


def test_stream_alerts_may_be_two_or_twice_the_real_ones() -> None:
    def with_alerts(count: int) -> Findings:
        alerts = {"SURICATA STREAM bad": count, "SURICATA HTTP bad": 50}
        return replace(findings(), suricata=replace(SURICATA, alerts=alerts))

    text = "stream alerts"
    assert outcome(with_alerts(2), text) == "pass"
    assert outcome(with_alerts(3), text) == "fail"
    assert outcome(with_alerts(3), text, with_alerts(1)) == "fail"
    assert outcome(with_alerts(8), text, with_alerts(4)) == "pass"
    assert outcome(with_alerts(9), text, with_alerts(4)) == "fail"
    assert "9 STREAM bad" in line(with_alerts(9), text).note


def test_end_states_lie_within_five_points() -> None:
    def with_closed(count: int) -> Findings:
        states = {"closed": count, "established": 100 - count}
        return replace(findings(), suricata=replace(SURICATA, end_states=states))

    assert outcome(with_closed(91), "ending closed", findings()) == "pass"
    assert outcome(with_closed(90), "ending closed", findings()) == "fail"
    assert outcome(with_closed(90), "ending closed") == "told"


def test_nine_tenths_of_the_applications_are_detected() -> None:
    def with_detected(count: int) -> Findings:
        found = replace(SURICATA, applications={"http": count}, undetected=100 - count)
        return replace(findings(), suricata=found)

    assert examine(flows_of(OPENING, [*OPENING, Packet("PA", 1, 1, 9)]), FACTS).talking == 1
    text = "whose application is detected"
    assert outcome(with_detected(72), text, findings()) == "pass"
    assert outcome(with_detected(71), text, findings()) == "fail"
    by_port = replace(findings(), ndpi=NdpiFindings(flows=100, inspected=44, by_port=56))
    assert outcome(by_port, "known by payload", findings()) == "fail"


def test_frames_may_be_as_long_as_the_real_ones() -> None:
    long = replace(findings(), longest=9000, long_packets=1)
    assert outcome(long, "longest IP packet") == "fail"
    assert outcome(long, "longest IP packet", long) == "pass"


def test_a_program_that_fails_on_the_capture_fails_it() -> None:
    failed = replace(findings(), suricata=None, failures={"suricata": "exit status 1: no"})
    assert not judge(failed).passed
    assert judge(findings(), replace(failed, tshark=None)).passed  # the real one's own affair


def test_programs_that_are_not_installed_are_named_with_the_way_to_get_them() -> None:
    report = judge(replace(findings(), suricata=None))
    missing = [each for each in report.lines if each.outcome == "missing"]
    assert {each.source for each in missing} == {"capinfos", "tcpprep", "tshark", "suricata"}
    assert "apt-get install suricata" in next(n.note for n in missing if n.source == "suricata")
    assert "not asked: capinfos, tcpprep, tshark, suricata" in verdict_table(report)


def test_an_answer_before_its_question_is_counted() -> None:
    question, answer = Packet("", 0, payload=30), Packet("", 0, payload=60, reverse=True)
    good, bad = ([question, answer], [answer, question])
    found = examine(flows_of(good, bad, protocol=17, port=53), FACTS)
    assert (found.exchanges, found.answers_first) == (2, 1)


def test_json_and_table_say_the_same() -> None:
    report = judge(replace(findings(), longest=1501), findings())
    data = json.loads(json.dumps(as_dict(report), allow_nan=False))
    assert data["passed"] is False
    failed = [each["text"] for each in data["lines"] if each["outcome"] == "fail"]
    assert failed == ["bytes of the longest IP packet"]
    table = verdict_table(report)
    assert table.count("FAIL") == 2  # its line, and the verdict
    assert table.endswith("out.pcap: FAILED")


def test_wanted_programs_must_exist() -> None:
    with pytest.raises(ConfigError, match="no analyser snort"):
        choose_programs(["snort"], [])
    assert choose_programs([], ["capinfos", "tcpprep", "tshark", "suricata", "ndpiReader"]) == []
