"""What Wireshark's tools and tcpprep say of a capture."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from netsynth.analysers.programs import run_program

PACKETS = 200_000  # that tshark looks at; it takes a second for some 20,000
_EXPERT = re.compile(r"^\s*(\d+)\s+(\S+)\s+(\S+)\s+(.*)$")
_CHECKSUMS = [f"-o{name}.check_checksum:TRUE" for name in ("ip", "tcp", "udp")]


def ask_tshark(path: Path) -> dict[str, int]:
    """Count the errors and warnings of tshark's expert information over the first packets.

    Returns:
        "Error: TCP: summary" -> how often; in front of the colon "Malformed" instead of "Error"
        where that is the group, and "Checksum" likewise.

    Raises:
        subprocess.SubprocessError: If tshark fails or takes too long.
    """
    command = ["tshark", "-n", "-r", str(path), "-c", str(PACKETS), *_CHECKSUMS]
    return read_expert(run_program([*command, "-q", "-z", "expert,warn"]).stdout)


def read_expert(text: str) -> dict[str, int]:
    """Read tshark's expert table: "Error: TCP: summary" -> how often, as in `ask_tshark`."""
    found: dict[str, int] = {}
    severity = ""
    for line in text.splitlines():
        if line.startswith(("Errors", "Warns")):
            severity = line.split(" ")[0].rstrip("s")
        elif line.startswith(("Notes", "Chats")):
            severity = ""
        elif severity and (match := _EXPERT.match(line)):
            group = match[2] if match[2] in ("Malformed", "Checksum") else severity
            kind = f"{group}: {match[3]}: {match[4].strip()}"
            found[kind] = found.get(kind, 0) + int(match[1])
    return found


def ask_capinfos(path: Path) -> bool:
    """Say if capinfos finds the packets of a capture in strict order of time.

    Raises:
        subprocess.SubprocessError: If capinfos fails or takes too long.
        ValueError: If it says nothing of the order.
    """
    text = run_program(["capinfos", "-T", "-m", "-r", "-o", str(path)]).stdout
    answer = text.strip().rsplit(",", 1)[-1]
    if answer not in ("True", "False"):
        raise ValueError(f"capinfos tells no order of {path}: {text.strip()!r}")
    return answer == "True"


def ask_tcpprep(path: Path) -> tuple[int, int]:
    """Let tcpprep split a capture by who asks whom, as tcpreplay needs for two interfaces.

    Returns:
        Packets from clients, and from servers.

    Raises:
        subprocess.SubprocessError: If tcpprep fails or takes too long.
        ValueError: If it does not say how many packets each side has.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = str(Path(folder) / "cache")
        run_program(["tcpprep", "--auto=client", f"--pcap={path}", f"--cachefile={cache}"])
        done = run_program(["tcpprep", f"--print-stats={cache}"])
    text = done.stdout + done.stderr
    counts = re.findall(r"^(?:Primary|Secondary) packets:\s+(\d+)$", text, re.MULTILINE)
    if len(counts) != 2:
        raise ValueError(f"tcpprep tells no sides of {path}: {text.strip()!r}")
    return int(counts[0]), int(counts[1])
