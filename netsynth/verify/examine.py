"""Everything that is known of one capture: its file, its dialogues, and what analysers say."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from netsynth.analysers import (
    NdpiFindings,
    Program,
    SuricataFindings,
    ask_capinfos,
    ask_ndpi,
    ask_suricata,
    ask_tcpprep,
    ask_tshark,
    fill_frames,
    find_program,
)
from netsynth.errors import ConfigError
from netsynth.progress import Progress, Silence
from netsynth.tables import ICMP, ICMPV6, SYN, TCP, UDP, FlowTable
from netsynth.verify.stream import StreamFindings, check_streams

ETHERNET_MTU = 1500  # bytes of an IP packet, RFC 894
DNS_PORTS = (53,)
LOOKUP_NS = 5_000_000_000  # a connection this soon after a DNS answer counts as looked up
PROGRAMS: dict[Program, Callable[[Path], Any]] = {
    "capinfos": ask_capinfos,
    "tcpprep": ask_tcpprep,
    "tshark": ask_tshark,
    "suricata": ask_suricata,
    "ndpiReader": ask_ndpi,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FileFacts:
    """What the reader counted; see `netsynth.capture.CaptureInfo`.

    Attributes:
        path: The file.
        frames: Frames of any kind.
        late: Frames with a time before that of an earlier one.
        cut: Frames of which not all bytes were captured.
        bad_checksums: IP, TCP, UDP or ICMP checksums that are wrong.
    """

    path: Path
    frames: int
    late: int
    cut: int
    bad_checksums: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What is known of one capture.

    Attributes:
        facts: Of its file.
        packets: IP packets.
        long_packets: Those longer than 1,500 bytes, the MTU of Ethernet.
        longest: Bytes of the longest one.
        streams: What is wrong with its TCP connections.
        talking: TCP and UDP flows with payload.
        exchanges: UDP and ICMP echo flows with packets both ways.
        answers_first: Those of them whose first packet is the answer.
        lookups: TCP connections opened within 5 s of a DNS answer to the host that opens them.
        openings: TCP connections whose SYN was seen.
        capinfos: Whether frames are in strict order of time; None where it was not asked.
        tcpprep: Packets of clients and servers.
        tshark: Errors and warnings by kind.
        suricata: What Suricata says.
        ndpi: How nDPI knows the applications.
        failures: Analysers that could not judge the capture, and why.
    """

    facts: FileFacts
    packets: int
    long_packets: int
    longest: int
    streams: StreamFindings
    talking: int
    exchanges: int
    answers_first: int
    lookups: int
    openings: int
    capinfos: bool | None = None
    tcpprep: tuple[int, int] | None = None
    tshark: dict[str, int] | None = None
    suricata: SuricataFindings | None = None
    ndpi: NdpiFindings | None = None
    failures: dict[str, str] = field(default_factory=dict)


def choose_programs(wanted: Collection[str], unwanted: Collection[str]) -> list[Program]:
    """Return the analysers to ask: those installed, without the unwanted, with all wanted.

    Raises:
        ConfigError: If a name is unknown, or one that is wanted is not installed.
    """
    for name in (*wanted, *unwanted):
        if name not in PROGRAMS:
            raise ConfigError(f"there is no analyser {name}; there are {', '.join(PROGRAMS)}")
    for name in wanted:
        if find_program(name) is None:
            raise ConfigError(f"{name} is wanted but not installed")
    return [name for name in PROGRAMS if name not in unwanted and find_program(name)]


def examine(
    flows: FlowTable,
    facts: FileFacts,
    *,
    programs: Collection[Program] = (),
    is_real: bool = False,
    progress: Progress | None = None,
) -> Findings:
    """Find out all about one capture.

    Args:
        flows: Its flows.
        facts: Of its file, which the programs read themselves.
        programs: Analysers to ask, see `choose_programs`.
        is_real: It is what others are held against: Suricata overlooks wrong checksums and fills
            frames that were cut, which would hide from it what the traffic is like.
        progress: Told what is done.
    """
    progress = progress or Silence()
    p = flows.packets
    progress.start(f"following the connections of {facts.path.name}")
    lookups, openings = count_lookups(flows)
    exchanges, answers_first = _count_answers(flows)
    found: dict[str, Any] = {}
    failures: dict[str, str] = {}
    streams = check_streams(flows)
    for name in PROGRAMS:
        if name not in programs:
            continue
        progress.start(f"{name} reads {facts.path.name}")
        ask = PROGRAMS[name]
        if is_real and name == "suricata":
            ask = partial(_ask_of_real, is_cut=facts.cut > 0)
        try:
            found["ndpi" if name == "ndpiReader" else name] = ask(facts.path)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            failures[name] = _explain(error)
    progress.finish()
    return Findings(
        facts=facts,
        packets=len(p),
        long_packets=int(np.count_nonzero(p.ip_length > ETHERNET_MTU)),
        longest=int(p.ip_length.max(initial=0)),
        streams=streams,
        talking=count_talking(flows),
        exchanges=exchanges,
        answers_first=answers_first,
        lookups=lookups,
        openings=openings,
        failures=failures,
        **found,
    )


def count_talking(flows: FlowTable) -> int:
    """Count the TCP and UDP flows with payload."""
    p = flows.packets
    has_payload = np.isin(p.protocol, (TCP, UDP)) & (p.payload_length > 0)
    return int(np.unique(flows.flow_of_packet[has_payload]).size)


def count_lookups(flows: FlowTable) -> tuple[int, int]:
    """Count the TCP connections that follow a DNS answer to their initiator, and all opened."""
    p = flows.packets
    first = flows.offsets[:-1]
    is_opened = (flows.protocol == TCP) & (p.tcp_flags[first] & SYN != 0)
    is_answer = (p.protocol == UDP) & np.isin(p.src_port, DNS_PORTS)
    asker, answer_ns = p.dst[is_answer].astype(np.int64), p.time_ns[is_answer]
    order = np.lexsort((answer_ns, asker))
    asker, answer_ns = asker[order], answer_ns[order]
    host, start_ns = flows.initiator[is_opened].astype(np.int64), flows.start_ns[is_opened]
    base = int(answer_ns.min(initial=0)) if answer_ns.size else 0
    span = int(max(p.time_ns.max(initial=0) - base, 0)) + 1
    if asker.size == 0 or span > (1 << 62) // (int(asker.max()) + 2):
        return 0, int(host.size)
    keys = asker * span + (answer_ns - base)
    wanted = host * span + np.maximum(start_ns - base, 0)
    place = np.searchsorted(keys, wanted, side="right") - 1
    is_near = (place >= 0) & (asker[np.maximum(place, 0)] == host)
    is_near &= (start_ns - answer_ns[np.maximum(place, 0)] <= LOOKUP_NS) & (start_ns >= base)
    return int(np.count_nonzero(is_near)), int(host.size)


def _count_answers(flows: FlowTable) -> tuple[int, int]:
    """Count UDP and echo flows with both directions, and those that begin with the answer."""
    p, first = flows.packets, flows.offsets[:-1]
    kind = p.icmp[first] >> 8
    is_echo = (flows.protocol == ICMP) & np.isin(kind, (0, 8))
    is_echo |= (flows.protocol == ICMPV6) & np.isin(kind, (128, 129))
    reverse = np.add.reduceat(flows.reverse.astype(np.int64), first) if len(flows) else first
    has_both = (reverse > 0) & (reverse < np.diff(flows.offsets))
    is_exchange = ((flows.protocol == UDP) | is_echo) & has_both
    return int(np.count_nonzero(is_exchange)), int(
        np.count_nonzero(is_exchange & flows.reverse[first])
    )


def _ask_of_real(path: Path, *, is_cut: bool) -> SuricataFindings:
    with tempfile.TemporaryDirectory() as folder:
        filled = Path(folder) / "whole.pcap"
        is_filled = is_cut and fill_frames(path, filled)
        return ask_suricata(filled if is_filled else path, checks_sums=False)


def _explain(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took longer than {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in str(error.stderr or error.stdout).splitlines() if line.strip()]
        return f"exit status {error.returncode}: {lines[-1].strip() if lines else ''}"
    return str(error)
