"""The installed `netsynth verify`: exit status, table and JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import dpkt
import pytest

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
NETSYNTH = Path(sys.executable).with_name("netsynth")


def verify(*arguments: str, code: int) -> subprocess.CompletedProcess[str]:
    command = [str(NETSYNTH), "verify", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == code, result.stderr + result.stdout
    return result


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first packets of a real capture, every twentieth with a flipped byte."""
    path = tmp_path_factory.mktemp("verify") / "flawed.pcap"
    with OFFICE.open("rb") as file, path.open("wb") as out:
        writer = dpkt.pcap.Writer(out, nano=True)
        for number, (time_s, data) in enumerate(dpkt.pcap.Reader(file)):
            if number == 2000:
                break
            flipped = data[:30] + bytes([data[30] ^ 1]) + data[31:] if number % 20 == 9 else data
            writer.writepkt(flipped, time_s)
    return path


def test_a_real_capture_passes_beside_itself() -> None:
    result = verify(str(OFFICE), "--against", str(OFFICE), "--without", "tshark", code=0)
    assert "office.pcap: passed" in result.stdout
    assert "following the connections of office.pcap" in result.stderr


def test_a_flawed_capture_fails_with_exit_status_1(cut: Path) -> None:
    result = verify(str(cut), "--without", "all", "-q", code=1)
    assert result.stderr == ""
    assert "wrong checksums" in result.stdout
    assert result.stdout.rstrip().endswith("flawed.pcap: FAILED")


def test_json_is_one_object(cut: Path) -> None:
    result = verify(str(cut), "--without", "all", "--json", "-q", code=1)
    data = json.loads(result.stdout)
    failed = {line["text"]: line["value"] for line in data["lines"] if line["outcome"] == "fail"}
    assert failed["wrong checksums"] >= 100


def test_an_unknown_analyser_is_an_error() -> None:
    result = verify(str(OFFICE), "--with", "snort", code=1)
    assert result.stderr.startswith("netsynth: there is no analyser snort; there are capinfos")
