"""What Suricata says of a capture: packets its decoder refuses, stream alerts, applications."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from netsynth.analysers.programs import run_program

RULES = ("decoder", "stream", "app-layer", "http", "dns", "tls")
FOLDERS = (Path("/etc/suricata/rules"), Path("/usr/share/suricata/rules"))
_SETTINGS = (
    "vars.address-groups.HOME_NET=any",
    "vars.address-groups.EXTERNAL_NET=any",
    "stats.stream-events=yes",
)
_STREAM_ALERT = "SURICATA STREAM "
# Stream events that its rules leave alone: they are no fault, or told by others.
_QUIET = (
    "_pkt_before_last_ack",
    "_but_no_session",
    "_retransmission",
    "pkt_broken_ack",
    "shutdown_syn_resend",
    "reassembly_seq_gap",
    "reassembly_depth_reached",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SuricataFindings:
    """What Suricata says of a capture.

    Attributes:
        invalid: Packets that its decoder refuses.
        bad_checksums: TCP packets with a wrong checksum.
        tcp_packets: TCP packets decoded.
        tcp_flows: TCP flows.
        gaps: Places where a stream misses bytes.
        alerts: Alerts of the event rules by their message; empty where `has_rules` is False.
        events: Events of decoder and stream that were counted, by name.
        end_states: TCP flows by the state that they ended in; closed, established, ...
        applications: Flows by the application found in them, those without any left out.
        undetected: Flows in which Suricata looked for one in vain; in streams that it cannot
            follow it does not look.
        has_rules: Whether Suricata's event rules were found; without, its counters stand in.
    """

    invalid: int
    bad_checksums: int
    tcp_packets: int
    tcp_flows: int
    gaps: int
    alerts: dict[str, int]
    events: dict[str, int]
    end_states: dict[str, int]
    applications: dict[str, int]
    undetected: int
    has_rules: bool = True

    @property
    def stream_alerts(self) -> dict[str, int]:
        """Alerts of the stream engine (without rules its events), by message."""
        if not self.has_rules:
            return {name: n for name, n in self.events.items() if name.startswith("stream ")}
        return {name: n for name, n in self.alerts.items() if name.startswith(_STREAM_ALERT)}

    @property
    def stream_alerts_per_thousand(self) -> float:
        """Alerts of the stream engine per 1,000 TCP packets."""
        return 1000 * sum(self.stream_alerts.values()) / max(self.tcp_packets, 1)

    @property
    def detected(self) -> int:
        """Flows with a detected application."""
        return sum(self.applications.values())

    @property
    def end_shares(self) -> dict[str, float]:
        """Share of TCP flows that ended in each state, 0..1."""
        count = max(self.tcp_flows, 1)
        return {state: number / count for state, number in self.end_states.items()}

    @property
    def complaints(self) -> dict[str, int]:
        """Events of decoder and stream, refused packets and checksums; those that occurred."""
        counts = {"decoder invalid": self.invalid, "tcp invalid_checksum": self.bad_checksums}
        return {name: n for name, n in {**self.events, **counts}.items() if n}


def ask_suricata(path: Path, *, checks_sums: bool = True) -> SuricataFindings:
    """Let Suricata read a capture from end to end, with its event rules where they are installed.

    Args:
        path: The capture.
        checks_sums: Ignore packets with wrong checksums, as a sensor would. Captures made on the
            sending host have many, since its card fills them in afterwards.

    Raises:
        subprocess.SubprocessError: If Suricata fails or takes too long.
        OSError: If it cannot be started or leaves no log.
        ValueError: If its log holds no statistics.
    """
    with tempfile.TemporaryDirectory() as folder:
        rules = Path(folder) / "event.rules"
        rules.write_text("".join(_read_rules()))
        command = ["suricata", "--runmode", "single", "-r", str(path), "-l", folder]
        command += ["-S", str(rules), "-k", "all" if checks_sums else "none"]
        checking = f"pcap-file.checksum-checks={'yes' if checks_sums else 'no'}"
        for setting in (*_SETTINGS, checking):
            command += ["--set", setting]
        run_program(command)
        with (Path(folder) / "eve.json").open(errors="replace") as lines:
            return read_eve(lines, has_rules=rules.stat().st_size > 0)


def _read_rules() -> list[str]:
    for folder in FOLDERS:
        found = [folder / f"{name}-events.rules" for name in RULES]
        if all(file.is_file() for file in found):
            return [file.read_text() + "\n" for file in found]
    return []


def read_eve(lines: Iterable[str], *, has_rules: bool = True) -> SuricataFindings:
    """Read alerts and the last statistics from the lines of an eve.json.

    Raises:
        ValueError: If there are no statistics.
    """
    alerts: dict[str, int] = {}
    last = ""
    for line in lines:
        if '"event_type":"alert"' in line:
            message = str(json.loads(line)["alert"]["signature"])
            alerts[message] = alerts.get(message, 0) + 1
        elif '"event_type":"stats"' in line:
            last = line
    if not last:
        raise ValueError("Suricata wrote no statistics; is stats enabled in its suricata.yaml?")
    stats = json.loads(last)["stats"]
    decoder, tcp, flow = (stats.get(name, {}) for name in ("decoder", "tcp", "flow"))
    detected = stats.get("app_layer", {}).get("flow", {})
    events = _leaves(decoder.get("event", {}), "decoder")
    stream = _leaves(stats.get("stream", {}), "stream")
    events |= {name: count for name, count in stream.items() if not name.endswith(_QUIET)}
    states = flow.get("end", {}).get("tcp_state", {})
    return SuricataFindings(
        invalid=int(decoder.get("invalid", 0)),
        bad_checksums=int(tcp.get("invalid_checksum", 0)),
        tcp_packets=int(decoder.get("tcp", 0)),
        tcp_flows=int(flow.get("tcp", 0)),
        gaps=int(tcp.get("reassembly_gap", 0)),
        alerts=dict(sorted(alerts.items(), key=lambda item: (-item[1], item[0]))),
        events={name: count for name, count in events.items() if count},
        end_states={name: int(count) for name, count in states.items() if count},
        applications={
            name: int(n) for name, n in detected.items() if n and not name.startswith("failed_")
        },
        undetected=sum(int(n) for name, n in detected.items() if name.startswith("failed_")),
        has_rules=has_rules,
    )


def _leaves(tree: dict[str, Any], path: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{path} {key}")
        elif isinstance(value, int):
            found[f"{path} {key}"] = value
    return found
