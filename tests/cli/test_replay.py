"""What netsynth writes can be sent: tcpreplay in a network namespace of our own.

Needs root and tcpreplay; nothing leaves the namespace, which is gone at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dpkt
import pytest

OFFICE = Path(__file__).parents[2] / "sample_pcaps" / "office.pcap"
NETSYNTH = Path(sys.executable).with_name("netsynth")
SMALL = ["series.step_count=16", "width=16", "hidden=16", "layers=1", "heads=2", "record_width=16"]
SETTINGS = [f"--set={'encode' if '.' in text else 'transformer'}.{text}" for text in SMALL]
LIMIT_S = 180  # importing torch alone takes a busy machine half a minute

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("tcpreplay") is None or shutil.which("ip") is None,
    reason="needs root, tcpreplay and ip",
)


def call(*command: str | Path) -> str:
    """Run a command to its end; return what it wrote."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout.decode() + done.stderr.decode()


@pytest.fixture(scope="module")
def namespace() -> Iterator[str]:
    """A network namespace with two ends of a cable, v0 and v1."""
    name = f"netsynth-test-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no network namespace here: {made.stderr.decode().strip()}")
    try:
        quiet = ["sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1"]  # says no hello
        call("ip", "netns", "exec", name, *quiet)
        call("ip", "-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        for end in ("v0", "v1"):
            call("ip", "-n", name, "link", "set", end, "up")
        yield name
    finally:
        subprocess.run(["ip", "netns", "del", name], check=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small, hardly trained model of the first seconds of a real capture."""
    folder = tmp_path_factory.mktemp("replay")
    with OFFICE.open("rb") as file, (folder / "trace.pcap").open("wb") as out:
        writer = dpkt.pcap.Writer(out, nano=True)
        for time_s, data in itertools.islice(dpkt.pcap.Reader(file), 2000, 5000):
            writer.writepkt(data, time_s)
    path = folder / "trace.netsynth"
    call(NETSYNTH, "fit", folder / "trace.pcap", "-o", path, "--max-epochs=2", *SETTINGS)
    return path


def received(namespace: str) -> int:
    """Return the packets that arrived at v1."""
    links = json.loads(call("ip", "-n", namespace, "-s", "-j", "link", "show", "v1"))
    return int(links[0]["stats64"]["rx"]["packets"])


def number(pattern: str, text: str) -> float:
    match = re.search(pattern, text)
    assert match is not None, text
    return float(match[1])


def test_a_file_is_sent_as_it_is_at_100000_packets_a_second(
    namespace: str, model: Path, tmp_path: Path
) -> None:
    call(NETSYNTH, "sample", "-q", "-m", model, "-n", "20000", tmp_path / "out.pcap")
    rates = []
    for _ in range(5):  # a busy machine may need another try
        before = received(namespace)
        replay = ["tcpreplay", "--preload-pcap", "--pps=100000", "-i", "v0"]
        said = call("ip", "netns", "exec", namespace, *replay, tmp_path / "out.pcap")
        assert number(r"Successful packets:\s+(\d+)", said) == 20_000
        assert number(r"Failed packets:\s+(\d+)", said) == 0
        assert number(r"Truncated packets:\s+(\d+)", said) == 0
        assert received(namespace) - before == 20_000
        rates.append(number(r"([\d.]+) pps", said))
        if rates[-1] > 90_000:
            break
    assert max(rates) > 90_000


LISTEN = """
import socket, sys, time
cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
cable.bind(("v1", 0))
cable.settimeout(float(sys.argv[1]))
times = []
print("listening", flush=True)
while True:
    cable.recv(65535)
    if times:
        cable.settimeout(3)
    times.append(time.monotonic())
    print(len(times), times[-1] - times[0], flush=True)
"""


def test_standard_output_is_sent_in_its_own_time(namespace: str, model: Path) -> None:
    """Five seconds of traffic take so long at the other end, within 5 %.

    It is little traffic, and tcpreplay goes first, for its sleeps are longer on a busy machine.
    """
    ratios = []
    for seed in range(3):
        options = ["-q", "-m", str(model), "--duration=5s", "--rate=50", f"--seed={seed}"]
        enter = ["ip", "netns", "exec", namespace]
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_started(*enter, sys.executable, "-c", LISTEN, "170"))
            assert listener.stdout is not None
            assert listener.stdout.readline() == b"listening\n"
            sample = stack.enter_context(_started(str(NETSYNTH), "sample", *options, "--json", "-"))
            replay = ["nice", "-n", "-15", "tcpreplay", "--timer=nano", "-i", "v0", "-"]
            done = subprocess.run(
                [*enter, *replay], stdin=sample.stdout, capture_output=True, timeout=LIMIT_S,
                check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            summary = json.loads(sample.communicate(timeout=LIMIT_S)[1])
            heard = listener.communicate(timeout=LIMIT_S)[0].split(b"\n")
        packets, seconds = heard[-2].split()
        assert int(packets) == summary["packets"]
        assert 4 < summary["span_s"] <= 5
        ratios.append(float(seconds) / summary["span_s"])
        if abs(ratios[-1] - 1) < 0.05:
            return
    if os.getloadavg()[0] > 2 * (os.cpu_count() or 1):
        pytest.skip(f"the machine is too busy to keep time: {ratios}")
    raise AssertionError(ratios)


@contextlib.contextmanager
def _started(*command: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start a program, and end it whatever happens."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()
