"""The installed command, from a capture to a new one and back through other people's tools."""

import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import dpkt
import pytest
from scapy.layers.inet import IP
from scapy.layers.l2 import Ether
from scapy.utils import RawPcapReader

ROOT = Path(__file__).parents[2]
OFFICE = ROOT / "sample_pcaps" / "office.pcap"
NETSYNTH = Path(sys.executable).with_name("netsynth")
SMALL = ["series.step_count=16", "width=16", "hidden=16", "layers=1", "heads=2", "record_width=16"]
SETTINGS = [f"--set={'encode' if '.' in text else 'transformer'}.{text}" for text in SMALL]


def run(*arguments: str, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[bytes]:
    result = subprocess.run([str(NETSYNTH), *arguments], capture_output=True, cwd=cwd, check=False)
    assert result.returncode == code, result.stderr.decode()
    return result


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small capture, the model that `fit` made of it, and a sample of that."""
    folder = tmp_path_factory.mktemp("e2e")
    with OFFICE.open("rb") as file, (folder / "trace.pcap").open("wb") as out:
        writer = dpkt.pcap.Writer(out, nano=True)
        for time_s, data in itertools.islice(dpkt.pcap.Reader(file), 2000, 3500):
            writer.writepkt(data, time_s)
    result = run("fit", "trace.pcap", "--max-epochs=2", *SETTINGS, cwd=folder)
    assert (folder / "trace.netsynth").is_file()
    assert b"trace.netsynth: transformer of trace.pcap: " in result.stdout
    phases = [line for line in result.stderr.decode().splitlines() if line.endswith("...")]
    assert [phase.split()[0] for phase in phases[-3:]] == ["training"] * 3
    result = run("sample", "-n", "2_000", "--seed", "5", "--json", "out.pcap", cwd=folder)
    assert b"using trace.netsynth" in result.stderr
    (folder / "out.json").write_bytes(result.stdout)
    return folder


def test_a_sampled_capture_is_valid_to_dpkt_and_scapy(folder: Path) -> None:
    last_s, count = 0.0, 0
    with (folder / "out.pcap").open("rb") as file:
        for time_s, data in dpkt.pcap.Reader(file):
            assert float(time_s) >= last_s
            last_s, count = float(time_s), count + 1
            assert isinstance(dpkt.ethernet.Ethernet(data).data, dpkt.ip.IP)
    assert count == 2000
    with RawPcapReader(str(folder / "out.pcap")) as reader:
        for data, _ in itertools.islice(reader, 150):
            ip = Ether(data)[IP]
            had = bytes(ip)
            del ip.chksum, ip.payload.chksum
            assert bytes(ip) == had
            assert ip.len == len(had)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_no_bad_checksum(folder: Path) -> None:
    checks = [f"-o{name}.check_checksum:TRUE" for name in ("ip", "tcp", "udp")]
    bad = "ip.checksum.status==0 || tcp.checksum.status==0 || udp.checksum.status==0"
    command = ["tshark", "-r", "out.pcap", *checks, "-Y", bad]
    result = subprocess.run(command, cwd=folder, capture_output=True, check=True)
    assert result.stdout == b""


def test_standard_output_gets_the_same_bytes_as_a_file(folder: Path) -> None:
    result = run("sample", "-n", "2e3", "--seed", "5", "-q", "-", cwd=folder)
    assert result.stdout == (folder / "out.pcap").read_bytes()
    assert result.stderr == b""
    assert len(list(dpkt.pcap.Reader(io.BytesIO(result.stdout)))) == 2000


def test_json_says_what_was_done(folder: Path) -> None:
    sampled = json.loads((folder / "out.json").read_text())
    assert sampled["packets"] == 2000
    inspected = json.loads(run("inspect", "out.pcap", "--json", "-q", cwd=folder).stdout)
    assert inspected["capture"]["packet_count"] == sampled["packets"]
    assert inspected["capture"]["wire_bytes"] == sampled["wire_bytes"]
    assert inspected["capture"]["bad_ip_checksum_count"] == 0
    assert inspected["capture"]["bad_l4_checksum_count"] == 0


def test_settings_can_be_listed_written_to_a_file_and_read_back(folder: Path) -> None:
    table = run("config", cwd=folder).stdout.decode()
    assert "generators: " in table
    assert "encode.series.step_count" in table
    toml = run("config", "--toml", cwd=folder).stdout.decode()
    (folder / "settings.toml").write_text(toml)
    listed = json.loads(run("config", "--json", cwd=folder).stdout)
    assert {f"{row['key']}" for row in listed} == {
        line.lstrip("# ").split(" =")[0] for line in toml.splitlines() if " =" in line
    }
    assert all(row["meaning"] for row in listed if row["key"].startswith("transformer."))
    changed = ["--set=encode.series.step_count=0", "--config=settings.toml"]
    result = run("fit", "trace.pcap", *changed, cwd=folder, code=1)
    assert b"encode.series: step_count is 0, but must be at least 1" in result.stderr


def test_a_full_disk_is_one_line_and_leaves_nothing(folder: Path) -> None:
    """A file size limit stands for a full disk: the write fails in the same place."""
    limited = f"ulimit -f 40; exec '{NETSYNTH}' sample -q -n 2000 -m trace.netsynth full.pcap"
    result = subprocess.run(
        ["bash", "-c", f"trap '' XFSZ; {limited}"], cwd=folder, capture_output=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith(b"netsynth: full.pcap: ")
    assert result.stderr.count(b"\n") == 1
    assert not [path.name for path in folder.iterdir() if "full" in path.name]


def test_ctrl_c_during_training_keeps_a_model_to_go_on_with(folder: Path, tmp_path: Path) -> None:
    command = [str(NETSYNTH), "fit", "trace.pcap", "-o", str(tmp_path / "long.netsynth")]
    settings = ["--set=transformer.patience=1000", "--set=transformer.max_epochs=100000"]
    with subprocess.Popen(
        [*command, *settings, *SETTINGS], cwd=folder, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training flows"):
                break
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()
        assert process.wait(timeout=30) == 130
    assert "the same command with --resume goes on" in message
    run("sample", "-q", "-n", "20", "-m", str(tmp_path / "long.netsynth"), "c.pcap", cwd=folder)
