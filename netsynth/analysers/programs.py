"""Which analysers there are, how to get one, and how to run it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Literal

Program = Literal["capinfos", "tshark", "suricata", "ndpiReader", "tcpprep"]
INSTALL: dict[Program, str] = {
    "capinfos": "apt-get install wireshark-common",
    "tshark": "apt-get install tshark",
    "suricata": "apt-get install suricata (Debian 12: -t bookworm-backports)",
    "ndpiReader": "apt-get install libndpi-bin",
    "tcpprep": "apt-get install tcpreplay",
}
TIMEOUT_S = 900  # a million packets take an analyser a minute or two


def find_program(name: str) -> str | None:
    """Return the path of an installed program, also from where only root's PATH leads; or None."""
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
    return shutil.which(name, path=path)


def run_program(
    command: Sequence[str], *, timeout_s: float = TIMEOUT_S
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end and return what it wrote; English numbers and messages.

    Raises:
        subprocess.SubprocessError: If it fails or takes longer than `timeout_s`.
        OSError: If it cannot be started.
    """
    program = find_program(command[0]) or command[0]
    return subprocess.run(
        [program, *command[1:]],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout_s,
        check=True,
        env={**os.environ, "LC_ALL": "C"},
    )
