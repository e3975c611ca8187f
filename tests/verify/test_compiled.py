"""What the compiler writes, judged by the analysers that are installed, beside what it learned."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from netsynth.capture import CaptureWriter, read_capture
from netsynth.demux import assemble_flows, compile_flows
from netsynth.tables import TCP, UDP
from netsynth.verify import FileFacts, VerifyReport, choose_programs, examine, judge

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> VerifyReport:
    """The shipped capture, its payloads and numbers made anew, beside itself."""
    path = tmp_path_factory.mktemp("compiled") / "anew.pcap"
    packets, real_info = read_capture(OFFICE)
    flows = assemble_flows(packets)
    compiled = compile_flows(flows, seed=1)
    with CaptureWriter(path) as writer:
        writer.write(
            compiled.packets,
            prefix=compiled.prefix,
            prefix_start=compiled.prefix_start,
            prefix_length=compiled.prefix_length,
            fill_seed=1,
            fill="random",
        )
    anew, info = read_capture(path)
    programs = choose_programs([], [])
    found = []
    for table, each, name in ((anew, info, path), (packets, real_info, OFFICE)):
        facts = FileFacts(
            path=name,
            frames=each.frame_count,
            late=each.out_of_order_count,
            cut=each.truncated_count,
            bad_checksums=each.bad_ip_checksum_count + each.bad_l4_checksum_count,
        )
        is_real = name == OFFICE
        found.append(examine(assemble_flows(table), facts, programs=programs, is_real=is_real))
    assert {int(p) for p in set(packets.protocol.tolist())} == {TCP, UDP}
    return judge(*found)


def test_a_compiled_capture_passes_every_check(report: VerifyReport) -> None:
    assert [line for line in report.lines if line.outcome == "fail"] == []


def test_its_connections_are_as_faultless_as_those_recorded(report: VerifyReport) -> None:
    assert report.real is not None
    assert report.capture.streams.complaints == report.real.streams.complaints
    assert report.capture.streams.ends == report.real.streams.ends


@pytest.mark.skipif(shutil.which("suricata") is None, reason="suricata is not installed")
def test_suricata_raises_no_stream_alert_and_finds_the_same_applications(
    report: VerifyReport,
) -> None:
    assert report.real is not None
    found, real = report.capture.suricata, report.real.suricata
    assert found is not None
    assert real is not None
    assert found.stream_alerts == {}
    assert found.end_states == real.end_states
    assert found.applications == real.applications
