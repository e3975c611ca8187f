"""What a capture must be like to be taken as live traffic, each line beside the real one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from netsynth.analysers import INSTALL, PACKETS, Program
from netsynth.verify.examine import Findings
from netsynth.verify.lines import Line, judge_ends, judge_rate, judge_share, judge_zero
from netsynth.verify.stream import COMPLAINTS, ENDS

MOST_ALERTS = 2.0  # per 1,000 TCP packets
MOST_COMPLAINTS = 1.0  # per 1,000 packets


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """The verdict on a capture.

    Attributes:
        capture: Its findings.
        real: Those of the real capture, or None.
        lines: What was looked at.
    """

    capture: Findings
    real: Findings | None
    lines: tuple[Line, ...]

    @property
    def passed(self) -> bool:
        """Whether no line fails."""
        return all(line.outcome != "fail" for line in self.lines)


def judge(capture: Findings, real: Findings | None = None) -> VerifyReport:
    """Hold the findings against the targets; many need the real capture's beside them."""
    lines = [
        *_file_lines(capture, real),
        *_stream_lines(capture, real),
        *_cause_lines(capture, real),
        *_tool_lines(capture, real),
        *_suricata_lines(capture, real),
        *_ndpi_lines(capture, real),
    ]
    return VerifyReport(capture=capture, real=real, lines=tuple(lines))


def _file_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    here, there = capture.facts, real.facts if real else None
    own = "netsynth"
    yield judge_zero(own, "frames out of order in time", here.late, there.late if there else None)
    yield judge_zero(
        own, "wrong checksums", here.bad_checksums, there.bad_checksums if there else None
    )
    cut_note = "sampled with --snaplen or --payload none?" if here.cut else ""
    yield judge_zero(own, "frames cut short", here.cut, there.cut if there else None, cut_note)
    most = max(1500, real.longest if real and real.long_packets else 0)
    yield Line(
        source=own,
        text="bytes of the longest IP packet",
        value=capture.longest,
        real=real.longest if real else None,
        target=f"at most {most}",
        outcome="pass" if capture.longest <= most else "fail",
        note=f"{capture.long_packets} are longer than 1500" if capture.long_packets else "",
    )


def _stream_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    def rate(findings: Findings, kind: str) -> float:
        return 1000 * findings.streams.complaints[kind] / max(findings.streams.packets, 1)

    for kind, text in COMPLAINTS.items():
        example = capture.streams.examples.get(kind)
        yield judge_rate(
            "netsynth",
            f"{text}, per 1,000 TCP packets",
            rate(capture, kind),
            rate(real, kind) if real else None,
            MOST_COMPLAINTS,
            f"first: flow {example[0]}, packet {example[1]}" if example else "",
        )

    def shares(findings: Findings) -> dict[str, float]:
        count = max(findings.streams.flows, 1)
        return {end: number / count for end, number in findings.streams.ends.items() if number}

    yield from judge_ends("netsynth", shares(capture), shares(real) if real else None, ENDS)


def _cause_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    def early(findings: Findings) -> float:
        return 1000 * findings.answers_first / max(findings.exchanges, 1)

    yield judge_rate(
        "netsynth",
        "UDP and echo exchanges that begin with the answer, per 1,000",
        early(capture),
        early(real) if real else None,
        MOST_COMPLAINTS,
    )
    yield Line(
        source="netsynth",
        text="TCP connections within 5 s of a DNS answer to their opener",
        value=round(capture.lookups / max(capture.openings, 1), 4),
        real=round(real.lookups / max(real.openings, 1), 4) if real else None,
    )


def _missing(name: Program, capture: Findings, real: Findings | None) -> Line:
    """Say that an analyser was not asked, or failed."""
    failures = [
        (each.facts.path.name, each.failures[name])
        for each in (capture, real)
        if each is not None and name in each.failures
    ]
    has_failed_here = name in capture.failures
    note = "; ".join(f"{path}: {text}" for path, text in failures)
    return Line(
        source=name,
        text="could not read a capture" if failures else "not asked",
        value=None,
        outcome="fail" if has_failed_here else "missing",
        note=note or f"not installed, or left out; {INSTALL[name]}",
    )


def _tool_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    if capture.capinfos is None:
        yield _missing("capinfos", capture, real)
    else:
        yield Line(
            source="capinfos",
            text="strict time order",
            value=_yes(capture.capinfos),
            real=None if real is None or real.capinfos is None else _yes(real.capinfos),
            target="yes",
            outcome="pass" if capture.capinfos else "fail",
        )
    if capture.tcpprep is None:
        yield _missing("tcpprep", capture, real)
    else:
        yield Line(
            source="tcpprep",
            text="packets of clients",
            value=round(_clients(capture.tcpprep), 4),
            real=None if real is None or not real.tcpprep else round(_clients(real.tcpprep), 4),
            target="told apart",
            outcome="pass",
        )
    if capture.tshark is None:
        yield _missing("tshark", capture, real)
        return
    checksums, malformed = (_tshark_kinds(capture, group) for group in ("Checksum", "Malformed"))
    beside = sum(_tshark_kinds(real, "Checksum").values()) if real and real.tshark else None
    yield judge_zero("tshark", "wrong checksums", sum(checksums.values()), beside)
    worst = max(malformed, key=malformed.__getitem__, default="")
    yield judge_rate(
        "tshark",
        "malformed packets, per 1,000",
        _tshark_rate(capture, malformed),
        _tshark_rate(real, _tshark_kinds(real, "Malformed")) if real and real.tshark else None,
        MOST_COMPLAINTS,
        f"mostly {worst.split(': ', 1)[1]}" if worst else "",
    )


def _tshark_kinds(findings: Findings, group: str) -> dict[str, int]:
    """Complaints of a group; RFC 1624's other zero, which some cards write, is none."""
    found = findings.tshark or {}
    return {k: n for k, n in found.items() if k.startswith(group) and "RFC 1624" not in k}


def _tshark_rate(findings: Findings, kinds: dict[str, int]) -> float:
    return 1000 * sum(kinds.values()) / max(min(findings.facts.frames, PACKETS), 1)


def _suricata_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    found, beside = capture.suricata, real.suricata if real else None
    if found is None:
        yield _missing("suricata", capture, real)
        return

    def line(text: str, name: str) -> Line:
        there = None if beside is None else int(getattr(beside, name))
        return judge_zero("suricata", text, int(getattr(found, name)), there)

    yield line("packets that its decoder refuses", "invalid")
    yield line("TCP packets with a wrong checksum", "bad_checksums")
    alerts = found.stream_alerts
    kinds = ", ".join(f"{n} {kind.removeprefix('SURICATA ')}" for kind, n in alerts.items())
    yield judge_rate(
        "suricata",
        "stream alerts per 1,000 TCP packets",
        found.stream_alerts_per_thousand,
        None if beside is None else beside.stream_alerts_per_thousand,
        MOST_ALERTS,
        kinds,
    )
    yield judge_rate(
        "suricata",
        "gaps in streams per 1,000 TCP packets",
        1000 * found.gaps / max(found.tcp_packets, 1),
        None if beside is None else 1000 * beside.gaps / max(beside.tcp_packets, 1),
        MOST_COMPLAINTS,
    )
    yield from judge_ends(
        "suricata", found.end_shares, None if beside is None else beside.end_shares, {}
    )
    yield judge_share(
        "suricata",
        "flows with payload whose application is detected",
        min(found.detected / max(capture.talking, 1), 1.0),
        None
        if beside is None or real is None
        else min(beside.detected / max(real.talking, 1), 1.0),
    )


def _ndpi_lines(capture: Findings, real: Findings | None) -> Iterator[Line]:
    if capture.ndpi is None:
        yield _missing("ndpiReader", capture, real)
        return
    yield judge_share(
        "ndpiReader",
        "flows known by payload, of those not known by port",
        capture.ndpi.inspected_share,
        real.ndpi.inspected_share if real and real.ndpi else None,
    )


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _clients(sides: tuple[int, int]) -> float:
    return sides[0] / max(sum(sides), 1)


def as_dict(report: VerifyReport) -> dict[str, Any]:
    """Return the report as what JSON can hold."""
    found = report.capture.suricata
    return {
        "capture": str(report.capture.facts.path),
        "against": str(report.real.facts.path) if report.real else None,
        "passed": report.passed,
        "lines": [
            {name: getattr(line, name) for name in Line.__dataclass_fields__}
            for line in report.lines
        ],
        "suricata_alerts": found.alerts if found else None,
        "suricata_applications": found.applications if found else None,
        "tshark": report.capture.tshark,
    }
