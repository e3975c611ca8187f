"""The cascade by the command: Ctrl-C and --resume, seeds, --weight; captures are read by dpkt."""

import ipaddress
import itertools
import signal
import subprocess
import sys
from pathlib import Path

import dpkt
import pytest

from netsynth import pipeline
from netsynth.errors import ConfigError
from netsynth.generate import read_model
from netsynth.model import Model

OFFICE = Path(__file__).parents[3] / "sample_pcaps" / "office.pcap"
NETSYNTH = Path(sys.executable).with_name("netsynth")
MARKED = "10.77.0.13"
SMALL = {
    "cascade.width": 32, "cascade.critic_layers": 2, "cascade.generator_layers": 1,
    "cascade.series_width": 16, "cascade.noise": 8, "cascade.condition_width": 32,
    "cascade.batch": 64, "cascade.max_epochs": 3, "cascade.least_steps": 1,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the office, 1,500 packets in 100 flows, and a label for one host's."""
    folder = tmp_path_factory.mktemp("cascade")
    with OFFICE.open("rb") as file, (folder / "trace.pcap").open("wb") as out:
        writer = dpkt.pcap.Writer(out, nano=True)
        for time_s, data in itertools.islice(dpkt.pcap.Reader(file), 2000, 3500):
            writer.writepkt(data, time_s)
    (folder / "labels.csv").write_text(
        f"label,attacker_ip,start_unix,end_unix\nmarked,{MARKED},0,4000000000\n"
    )
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return fit(folder, folder / "trace.netsynth", seed=4)


def fit(folder: Path, output: Path, *, seed: int) -> Model:
    return pipeline.fit(
        folder / "trace.pcap", output=output, generator="cascade", seed=seed, settings=SMALL,
        labels=folder / "labels.csv",
    )  # fmt: skip


def run(*arguments: str, cwd: Path, code: int = 0) -> str:
    """Run netsynth; what it says on stderr."""
    result = subprocess.run(
        [str(NETSYNTH), *arguments], capture_output=True, cwd=cwd, check=False, text=True
    )
    assert result.returncode == code, result.stderr
    return result.stderr


def test_ctrl_c_keeps_a_model_that_resume_goes_on_with(folder: Path) -> None:
    endless = SMALL | {"cascade.least_steps": 1_000_000, "cascade.patience": 1000}
    command = ["fit", "trace.pcap", "-o", "long.netsynth", "--generator", "cascade"]
    command += [f"--set={name}={value}" for name, value in endless.items()]
    with subprocess.Popen(
        [str(NETSYNTH), *command], cwd=folder, stderr=subprocess.PIPE, text=True,
        stdout=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("training tuples"):
                break
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "the same command with --resume goes on" in message
    assert "training series" not in message
    said = run(*command, "--resume", "--minutes", "0.03", cwd=folder)
    phases = [f"training {level} ..." for level in ("tuples", "series", "records", "joint")]
    assert [line for line in said.splitlines() if line in phases] == phases
    assert "training starts" not in said
    assert "long.netsynth is finished" in run(*command, "--resume", cwd=folder, code=1)
    run("sample", "-q", "-n", "700", "-m", "long.netsynth", "long.pcap", cwd=folder)
    with (folder / "long.pcap").open("rb") as file:
        assert sum(1 for _ in dpkt.pcap.Reader(file)) == 700


def test_same_seed_same_weights_and_same_bytes(folder: Path, model: Model) -> None:
    fit(folder, folder / "again.netsynth", seed=4)
    fit(folder, folder / "other.netsynth", seed=5)
    first, again, other = (
        {
            name: array.tobytes()
            for name, array in read_model(folder / f"{stem}.netsynth")[1].items()
        }
        for stem in ("trace", "again", "other")
    )
    assert first == again
    assert {name for name in first if first[name] != other[name]} >= {
        name for name in first if name.startswith("cascade.g") and name.endswith("weight")
    }
    for stem, source, seed in (("a", "trace", 1), ("b", "again", 1), ("c", "trace", 2)):
        pipeline.load_model(folder / f"{source}.netsynth").sample(
            folder / f"{stem}.pcap", packets=3000, seed=seed
        )
    a, b, c = ((folder / f"{stem}.pcap").read_bytes() for stem in "abc")
    assert a == b
    assert a != c


def sessions(path: Path, host: str) -> tuple[int, int]:
    """Sessions that a host opens, and all, by address pair, ports and protocol."""
    opened: dict[frozenset[tuple[bytes, int]], bytes] = {}
    with path.open("rb") as file:
        for _, data in dpkt.pcap.Reader(file):
            ip = dpkt.ethernet.Ethernet(data).data
            ports = getattr(ip.data, "sport", 0), getattr(ip.data, "dport", 0)
            ends = frozenset(((ip.src, ports[0]), (ip.dst, ports[1])))
            opened.setdefault(ends, ip.src)
    address = ipaddress.ip_address(host).packed
    return sum(source == address for source in opened.values()), len(opened)


def test_a_label_of_more_weight_comes_more_often_down_to_the_packets(
    folder: Path, model: Model
) -> None:
    """Odds of a class times its weight, share p to w p / (1 + (w - 1) p), within chance."""
    share = []
    for weights in ({}, {"label:marked": 6.0}):
        model.sample(folder / "w.pcap", flows=600, seed=2, weights=weights, keep_addresses=True)
        marked, all_sessions = sessions(folder / "w.pcap", MARKED)
        assert all_sessions > 400
        share.append(marked / all_sessions)
    plain, heavy = share
    wanted = 6 * plain / (1 + 5 * plain)
    assert 0.01 < plain < 0.4
    assert 0.6 * wanted < heavy < 1.4 * wanted


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"whale": 3.0}, "there is no class whale; there are elephant, mouse, label:NAME"),
        ({"label:whale": 3.0}, "the model knows no label:whale; its labels are marked"),
        ({"mouse": 2.0, "elephant": 0.0}, "the weight of elephant is 0.0, but must be above 0"),
    ],
)
def test_weights_that_mean_nothing_are_refused(
    model: Model, tmp_path: Path, weights: dict[str, float], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        model.sample(tmp_path / "no.pcap", weights=weights)
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("model")
def test_a_class_that_does_not_exist_is_one_line_of_the_command(folder: Path) -> None:
    said = run("sample", "-q", "-m", "trace.netsynth", "--weight", "whale=3", "no.pcap",
               cwd=folder, code=1)  # fmt: skip
    assert said == "netsynth: there is no class whale; there are elephant, mouse, label:NAME\n"
    assert not (folder / "no.pcap").exists()


def test_labels_of_generators_are_tokens_that_were_learned(model: Model) -> None:
    for label in ("label:9", "label:marked"):
        with pytest.raises(ConfigError, match=f"no class {label}"):
            list(model.generator.sample(1, seed=0, weights={label: 2.0}))  # type: ignore[call-arg]
