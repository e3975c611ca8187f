"""Small tables of packets, written by hand or drawn from a seed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from netsynth.tables import ACK, PSH, SYN, TCP, UDP, PacketTable

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"


def address_table(count: int) -> np.ndarray:
    """10.0.0.0, 10.0.0.1, ... as IPv4-mapped rows."""
    table = np.zeros((count, 16), dtype=np.uint8)
    table[:, 10:12] = 0xFF
    table[:, 12] = 10
    table[:, 14] = np.arange(count) >> 8
    table[:, 15] = np.arange(count) & 0xFF
    return table


def packet_table(rows: Sequence[dict[str, Any]], *, hosts: int = 8) -> PacketTable:
    """Packets from dicts of columns; what is left out is 0 but for a TCP packet of IPv4."""
    table = PacketTable.zeros(len(rows), address_table(hosts))
    table.protocol[:] = TCP
    table.ip_version[:] = 4
    for place, row in enumerate(rows):
        for name, value in row.items():
            getattr(table, name)[place] = value
    return table


def dialogues(seed: int, *, sessions: int = 150, hosts: int = 12) -> PacketTable:
    """Plausible traffic: DNS-like and web-like sessions of random hosts, valid TCP numbers."""
    rng = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for _ in range(sessions):
        client, server = rng.choice(hosts, 2, replace=False)
        port, start = int(rng.integers(33_000, 60_000)), int(rng.integers(0, 20_000_000_000))
        gap = rng.exponential(20e6, 40).astype(np.int64) + 1000
        times = start + np.cumsum(gap)
        there = {"src": client, "dst": server, "src_port": port}
        back = {"src": server, "dst": client, "dst_port": port}
        if rng.random() < 0.4:
            for i in range(2):
                way = there | {"dst_port": 53} if i == 0 else back | {"src_port": 53}
                size = int(rng.integers(20, 400))
                rows.append(
                    way
                    | {"time_ns": times[i], "protocol": UDP, "ttl": 64 - i}
                    | {"ip_length": size + 28, "payload_length": size}
                )
            continue
        there, back = there | {"dst_port": 443}, back | {"src_port": 443}
        numbers = rng.integers(0, 2**32, 2).tolist()
        plan = [(0, SYN, 0), (1, SYN | ACK, 0), (0, ACK, 0)]
        for _ in range(int(rng.integers(1, 9))):
            plan.append((int(rng.random() < 0.7), PSH | ACK, int(rng.integers(1, 1400))))
        for i, (side, flags, size) in enumerate(plan):
            rows.append(
                (back if side else there)
                | {"time_ns": times[i], "tcp_flags": flags, "ttl": 60 if side else 64}
                | {"ip_length": 40 + size, "payload_length": size, "seq": numbers[side]}
                | {"window": int(rng.choice([502, 1024, 65_160]))}
            )
            numbers[side] = (numbers[side] + size + bool(flags & SYN)) % 2**32
    rows.sort(key=lambda row: int(row["time_ns"]))
    table = packet_table(rows, hosts=hosts)
    table.time_ns[:] += 1_700_000_000_000_000_000
    return table


def load_nolds() -> Any:
    """nolds.measures; the package's own import fails on some Pythons for want of its data."""
    if "nolds.datasets" not in sys.modules:
        stand_in = types.ModuleType("nolds.datasets")
        stand_in.__getattr__ = lambda name: None  # type: ignore[method-assign]
        sys.modules["nolds.datasets"] = stand_in
    import nolds.measures

    return nolds.measures


def find_chromium() -> str | None:
    """The browser of this machine, if it has one."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((path for name in names if (path := shutil.which(name))), None)


def browse(page: Path, *options: str, profile: Path) -> subprocess.CompletedProcess[str]:
    """Open a page in a headless browser that can reach nothing else."""
    browser = find_chromium()
    assert browser is not None
    command = [browser, "--headless", "--disable-gpu", "--disable-background-networking"]
    command += ["--no-sandbox", f"--user-data-dir={profile}", *options, page.as_uri()]
    environment = os.environ | {"HTTP_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=True, env=environment
    )
