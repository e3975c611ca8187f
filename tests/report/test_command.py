"""`netsynth report` on real files, run as a user runs it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from netsynth_cli.report import report
from report_tables import OFFICE

from netsynth.capture import read_capture

WINDOWS = OFFICE.with_name("office.attacks.csv")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(report, arguments, standalone_mode=False)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The first and the next 4,000 packets of the shipped capture, each as a file."""
    import dpkt

    folder = tmp_path_factory.mktemp("parts")
    with OFFICE.open("rb") as file:
        frames = [frame for frame, _ in zip(dpkt.pcap.Reader(file), range(8000), strict=False)]
    names = []
    for name, some in (("one.pcap", frames[:4000]), ("two.pcap", frames[4000:])):
        with (folder / name).open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for time, data in some:
                writer.writepkt(data, ts=float(time))
        names.append(str(folder / name))
    return names[0], names[1]


FEW = ("--family", "temporal", "--family", "statistical", "--quick", "-q")


def test_verdicts_are_printed_and_files_written(parts: tuple[str, str], tmp_path: Path) -> None:
    done = run(*parts, "--quick", "-q", "-o", str(tmp_path / "out"), "--table")
    assert done.exit_code == 0, done.output
    assert done.return_value == 0
    assert "two.pcap against one.pcap" in done.output
    assert "Timing of flows" in done.output
    assert "  FIT" in done.output
    assert (tmp_path / "out" / "report.html").exists()
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written["real"] == "one.pcap"
    figures = {(f["family"], f["name"]): f for f in written["captures"][0]["figures"]}
    addresses = figures["privacy", "MAC addresses"]
    assert addresses["real"] == len(_unicast_macs(parts[0]))
    assert figures["validity", "order"]["raw"] == 1.0


def _unicast_macs(path: str) -> list[int]:
    macs = read_capture(path)[1].macs.tolist()
    return [mac for mac in macs if mac >> 40 & 1 == 0 and mac]


def test_json_is_all_that_is_printed(parts: tuple[str, str]) -> None:
    done = run(*parts, *FEW, "--json")
    found = json.loads(done.output)
    assert found["captures"][0]["means"]["temporal"]["ratio"] > 0
    assert {v["family"] for v in found["captures"][0]["verdicts"]} == {"temporal", "statistical"}


def test_a_ratio_over_the_limit_fails_with_status_three(parts: tuple[str, str]) -> None:
    assert run(*parts, *FEW, "--fail-over", "1e9").return_value == 0
    done = run(*parts, *FEW, "--fail-over", "0.001")
    assert done.return_value == 3
    assert "two.pcap: temporal is" in done.stderr
    same = run(parts[0], parts[0], *FEW, "--fail-over", "0.001")
    assert same.return_value == 0


def test_an_empty_capture_and_a_full_copy_fail_with_status_three(
    parts: tuple[str, str], tmp_path: Path
) -> None:
    import dpkt

    empty = tmp_path / "empty.pcap"
    with empty.open("wb") as file:
        dpkt.pcap.Writer(file)
    done = run(parts[0], str(empty), "--quick", "-q", "--fail-over", "2")
    assert done.return_value == 3
    assert done.stderr.startswith("empty.pcap: nothing could be measured: the synthetic capture")
    assert done.stderr.count("\n") == 1
    copied = ("--quick", "-q", "--family", "privacy", "--fail-over", "1e9")
    done = run(parts[0], parts[0], *copied)
    assert done.return_value == 3
    assert ": a leak" in done.stderr
    assert run(*parts, *copied).return_value == 0


def test_charts_stay_where_the_floor_stands_beside(parts: tuple[str, str], tmp_path: Path) -> None:
    run(*parts, *FEW, "--floor", "-o", str(tmp_path / "out"))
    assert (tmp_path / "out" / "figures" / "FIT.svg").exists()


def test_any_distance_is_over_a_floor_of_zero(tmp_path: Path) -> None:
    import dpkt

    names = []
    for name, ttl in (("near.pcap", 64), ("far.pcap", 32)):
        with (tmp_path / name).open("wb") as file:
            writer = dpkt.pcap.Writer(file)
            for place in range(80):  # 20 hosts, each as the other
                udp = dpkt.udp.UDP(sport=5000, dport=53, data=b"x" * 20, ulen=28)
                src = bytes([10, 0, 0, 2 + place // 4])
                ip = dpkt.ip.IP(src=src, dst=bytes([10, 0, 0, 1]), p=17, ttl=ttl, data=udp)
                writer.writepkt(bytes(dpkt.ethernet.Ethernet(data=ip)), ts=1000.0 + place)
        names.append(str(tmp_path / name))
    statistical = ("--family", "statistical", "--quick", "-q")
    assert run(names[0], names[0], *statistical, "--fail-over", "2").return_value == 0
    done = run(*names, *statistical, "--fail-over", "1e9")
    assert done.return_value == 3, done.output
    assert "floor is 0" in done.stderr


def test_several_captures_and_the_floor_stand_side_by_side(parts: tuple[str, str]) -> None:
    done = run(parts[0], *parts, *FEW, "--floor", "--json")
    names = [capture["name"] for capture in json.loads(done.output)["captures"]]
    assert names == ["one.pcap", "two.pcap", "its own halves"]


def test_labels_of_both_captures_are_used(parts: tuple[str, str]) -> None:
    windows = str(WINDOWS)
    done = run(
        *(parts[0], parts[0], "--labels", windows, "--synthetic-labels", windows),
        *("--family", "labels", "--quick", "-q", "--table"),
    )
    assert done.exit_code == 0, done.output
    assert "F1 portscan" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((str(OFFICE),), "give a SYNTHETIC capture, --floor or --baselines"),
        ((str(OFFICE), "a", "b", "--synthetic-labels", "x"), "once for each SYNTHETIC"),
        ((str(OFFICE), "nowhere.pcap", "-q"), "nowhere.pcap"),
        (
            (str(OFFICE), str(OFFICE), "--labels", "nowhere.csv", "-q"),
            "nowhere.csv: cannot read labels: no such file or directory; give a CSV file headed",
        ),
        (("a.npz", "b.npz", "--fail-over", "2"), "--fail-over is for captures"),
        ((str(OFFICE), str(OFFICE), "--family", "jitter", "-q"), "family jitter is unknown"),
    ],
)
def test_what_is_wrong_is_said(arguments: tuple[str, ...], message: str) -> None:
    done = run(*arguments)
    assert done.exception is not None
    assert message in str(getattr(done.exception, "message", done.exception))
