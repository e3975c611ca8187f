"""Fit, save, load and sample from Python; the written captures are judged by dpkt."""

import hashlib
import ipaddress
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dpkt
import pytest

import netsynth
from netsynth.errors import CaptureError, ConfigError, ModelError
from netsynth.pipeline import default_settings, find_model, load_model

OFFICE = Path(__file__).parents[1] / "sample_pcaps" / "office.pcap"
SMALL: dict[str, Any] = {
    "encode.series.step_count": 16,
    "transformer.width": 16,
    "transformer.hidden": 16,
    "transformer.layers": 1,
    "transformer.heads": 2,
    "transformer.record_width": 16,
    "transformer.flow_context": 8,
}


def cut(source: Path, target: Path, *, first: int, count: int) -> Path:
    """Copy `count` frames of a capture from frame `first` on, by dpkt."""
    with source.open("rb") as file, target.open("wb") as out:
        writer = dpkt.pcap.Writer(out, nano=True)
        for time_s, data in itertools.islice(dpkt.pcap.Reader(file), first, first + count):
            writer.writepkt(data, time_s)
    return target


def read_ip(path: Path) -> Iterator[tuple[float, dpkt.ip.IP]]:
    with path.open("rb") as file:
        for time_s, data in dpkt.pcap.Reader(file):
            yield float(time_s), dpkt.ethernet.Ethernet(data).data


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of the office: 1,500 packets in 100 flows."""
    return cut(OFFICE, tmp_path_factory.mktemp("c") / "cut.pcap", first=2000, count=1500)


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that 10.77.0.13 does is labelled "marked"."""
    path = tmp_path_factory.mktemp("l") / "labels.csv"
    path.write_text("label,attacker_ip,start_unix,end_unix\nmarked,10.77.0.13,0,4000000000\n")
    return path


@pytest.fixture(scope="module")
def model_path(capture: Path, labels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("m") / "cut.netsynth"
    netsynth.fit(capture, output=path, max_epochs=1, settings=SMALL, labels=labels)
    return path


@pytest.fixture(scope="module")
def model(model_path: Path) -> netsynth.Model:
    return netsynth.Model.load(model_path)


def test_a_model_says_what_it_was_learned_from(model: netsynth.Model, capture: Path) -> None:
    facts = json.loads(model.to_json())
    assert facts["captures"][0]["name"] == "cut.pcap"
    assert facts["captures"][0]["sha256"] == hashlib.sha256(capture.read_bytes()).hexdigest()
    packets = sum(isinstance(ip, dpkt.ip.IP) for _, ip in read_ip(capture))
    assert facts["captures"][0]["packets"] == packets == model.learned_packets
    assert facts["netsynth"] == netsynth.__version__
    assert facts["settings"]["transformer"]["width"] == 16
    assert facts["fit"]["finished"] is True
    assert set(facts["fit"]["levels"]) == {"flows", "series", "records"}
    assert str(OFFICE.parent) not in model.to_json()  # names, not where on the disk they were


def test_the_same_fit_gives_the_same_bytes(
    capture: Path, labels: Path, model_path: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.netsynth"
    netsynth.fit(capture, output=again, max_epochs=1, settings=SMALL, labels=labels)
    first, second = json.loads(header(model_path)), json.loads(header(again))
    for facts in (first, second):  # wall-clock seconds are the only thing that may differ
        for level in facts["facts"]["fit"]["levels"].values():
            level.pop("seconds")
        for level in facts["generator"]["outcomes"].values():
            level.pop("seconds")
    assert first == second
    assert weights(model_path) == weights(again)


def header(path: Path) -> str:
    from netsynth.generate import read_header

    return json.dumps(read_header(path))


def weights(path: Path) -> dict[str, bytes]:
    from netsynth.generate import read_model

    return {name: array.tobytes() for name, array in read_model(path)[1].items()}


def test_exactly_n_packets_in_time_order_and_valid(model: netsynth.Model, tmp_path: Path) -> None:
    """4,000 packets are more than one window of 1,500: windows are chained."""
    path = tmp_path / "out.pcap"
    summary = model.sample(path, packets=4000, seed=3)
    packets = list(read_ip(path))
    assert len(packets) == summary.packets == 4000
    times = [time_s for time_s, _ in packets]
    assert times == sorted(times)
    assert summary.span_s == pytest.approx(times[-1] - times[0], abs=1e-6)
    for _, ip in packets[::7]:
        assert checksums_hold(ip)


def checksums_hold(ip: dpkt.ip.IP) -> bool:
    """Let dpkt compute the checksums anew, and compare."""
    had = bytes(ip)
    ip.sum = 0
    if hasattr(ip.data, "sum"):
        ip.data.sum = 0
    return bytes(ip) == had


def test_same_seed_same_bytes_and_another_seed_others(
    model: netsynth.Model, tmp_path: Path
) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        model.sample(tmp_path / f"{name}.pcap", packets=1500, seed=seed)
    a, b, c = ((tmp_path / f"{name}.pcap").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_addresses_are_fresh_unless_kept(
    model: netsynth.Model, capture: Path, tmp_path: Path
) -> None:
    learned = hosts(capture)
    model.sample(tmp_path / "fresh.pcap", packets=1000)
    fresh = hosts(tmp_path / "fresh.pcap")
    assert not fresh & learned
    assert all(address in ipaddress.ip_network("10.0.0.0/8") for address in fresh)
    assert len({int(address) >> 8 for address in fresh}) == 1  # one /24 stays one
    model.sample(tmp_path / "kept.pcap", packets=1000, keep_addresses=True)
    assert hosts(tmp_path / "kept.pcap") <= learned


def hosts(path: Path) -> set[ipaddress.IPv4Address]:
    found = set()
    for _, ip in read_ip(path):
        if isinstance(ip, dpkt.ip.IP):
            found |= {ipaddress.IPv4Address(ip.src), ipaddress.IPv4Address(ip.dst)}
    return found


def test_flows_duration_and_rate_bound_a_trace(model: netsynth.Model, tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    assert model.sample(path, flows=37).flows == 37
    assert len({five_tuple(ip) for _, ip in read_ip(path)}) <= 37
    window_s = model.codec.window_ns / 1e9
    duration_ns = int(1.5 * window_s * 1e9)
    long = model.sample(path, duration_ns=duration_ns)
    assert window_s < long.span_s <= 1.5 * window_s
    fast = model.sample(path, duration_ns=duration_ns, rate=3.0)
    slow = model.sample(path, duration_ns=duration_ns, rate=0.25)
    assert fast.flows > 2 * long.flows
    assert slow.flows < 0.5 * long.flows


def five_tuple(ip: dpkt.ip.IP) -> frozenset[tuple[bytes, int]]:
    return frozenset([(ip.src, ip.data.sport), (ip.dst, ip.data.dport)])


def test_conditions_hold_for_every_packet(model: netsynth.Model, tmp_path: Path) -> None:
    model.sample(tmp_path / "a.pcap", packets=300, where={"port": "80", "protocol": "tcp"})
    for _, ip in read_ip(tmp_path / "a.pcap"):
        assert isinstance(ip.data, dpkt.tcp.TCP)
        assert 80 in (ip.data.sport, ip.data.dport)


def test_a_learned_label_can_be_asked_for(model: netsynth.Model, tmp_path: Path) -> None:
    assert model.sample(tmp_path / "a.pcap", flows=20, where={"label": "marked"}).flows == 20
    with pytest.raises(ConfigError, match="knows no label 'other'; it knows marked"):
        model.sample(tmp_path / "b.pcap", flows=20, where={"label": "other"})


def test_snap_length_and_headers_only_cut_the_frames(model: netsynth.Model, tmp_path: Path) -> None:
    for options, longest in (({"snaplen": 60}, 60), ({"payload": "none"}, 94)):
        model.sample(tmp_path / "a.pcap", packets=500, **options)
        with (tmp_path / "a.pcap").open("rb") as file:
            lengths = [len(data) for _, data in dpkt.pcap.Reader(file)]
        assert max(lengths) == longest


def test_neighbours_ask_before_they_speak_and_packets_stay(
    model: netsynth.Model, tmp_path: Path
) -> None:
    """With --arp, every pair of a segment has asked before its first packet; the rest is equal."""
    plain, asking = tmp_path / "plain.pcap", tmp_path / "asking.pcap"
    model.sample(plain, packets=800)
    summary = model.sample(asking, packets=800, arp=True)
    with asking.open("rb") as file:
        frames = [(time_s, data) for time_s, data in dpkt.pcap.Reader(file)]
    is_arp = [data[12:14] == b"\x08\x06" for _, data in frames]
    assert summary.arp_frames == sum(is_arp) == len(frames) - 800 > 0
    with plain.open("rb") as file:
        packets = [data for _, data in dpkt.pcap.Reader(file)]
    assert [data for (_, data), arp in zip(frames, is_arp, strict=True) if not arp] == packets
    assert [time_s for time_s, _ in frames] == sorted(time_s for time_s, _ in frames)
    known: set[frozenset[bytes]] = set()
    for (_, data), arp in zip(frames, is_arp, strict=True):
        if arp:
            known.add(frozenset((data[28:32], data[38:42])))
        else:
            source, target = data[26:30], data[30:34]
            is_near = data[12:14] == b"\x08\0" and source[0] == 10 and source[:3] == target[:3]
            assert not is_near or target[3] == 255 or frozenset((source, target)) in known


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"packets": 0}, "packets is 0, but must be at least 1"),
        ({"packets": 5, "flows": 5}, "give one of packets, flows"),
        ({"rate": 0.0}, "must be 0.0001 to 1000 times"),
        ({"packets_per_s": 1e12}, "must be 0.0001 to 1000 times"),
        ({"rate": 1.0, "packets_per_s": 1.0}, "not both"),
        ({"timestamps": "no"}, "timestamps is 'no'"),
        ({"payload": "no"}, "payload is 'no'"),
        ({"where": {"x": "y"}}, "no condition x"),
    ],
)
def test_arguments_out_of_range_are_told(
    model: netsynth.Model, tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        model.sample(tmp_path / "a.pcap", **arguments)
    assert not list(tmp_path.iterdir())


def test_outputs_that_are_no_capture_are_not_replaced(
    model: netsynth.Model, model_path: Path, tmp_path: Path
) -> None:
    for output, message in (
        (tmp_path, "is a folder"), ("/dev/null", "no ordinary file"), (model_path, "like a model"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            model.sample(output, packets=10)


def test_captures_that_teach_nothing_are_told(tmp_path: Path) -> None:
    tiny = cut(OFFICE, tmp_path / "tiny.pcap", first=0, count=20)
    with pytest.raises(CaptureError, match=r"flows are too few to learn from; .* at least"):
        netsynth.fit(tiny)
    with pytest.raises(CaptureError, match="no such file"):
        netsynth.fit(tmp_path / "nowhere.pcap")


def test_a_model_path_is_checked_before_training(capture: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is the capture"):
        netsynth.fit(capture, output=capture)
    with pytest.raises(ModelError, match="there is no folder"):
        netsynth.fit(capture, output=tmp_path / "no" / "a.netsynth")
    with pytest.raises(ModelError, match="is a folder"):
        netsynth.fit(capture, output=tmp_path)


def test_a_stopped_fit_goes_on_with_resume(capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.netsynth"
    asked = itertools.count()
    same: dict[str, Any] = {"output": path, "max_epochs": 1, "settings": SMALL}
    stopped = netsynth.fit(capture, stop=lambda: next(asked) > 5, **same)
    assert stopped.facts["fit"]["finished"] is False
    assert load_model(path).sample(tmp_path / "a.pcap", packets=50).packets == 50
    with pytest.raises(ModelError, match="begun with other seed; give the same"):
        netsynth.fit(capture, resume=True, seed=1, **same)
    resumed = netsynth.fit(capture, resume=True, **same)
    assert resumed.facts["fit"]["finished"] is True
    assert set(resumed.facts["fit"]["levels"]) == {"flows", "series", "records"}
    with pytest.raises(ModelError, match="is finished"):
        netsynth.fit(capture, resume=True, **same)
    with pytest.raises(ModelError, match="no such model"):
        netsynth.fit(capture, resume=True, output=tmp_path / "b.netsynth")


def test_several_captures_are_learned_together(capture: Path, tmp_path: Path) -> None:
    other = cut(OFFICE, tmp_path / "other.pcap", first=40_000, count=1500)
    model = netsynth.fit([capture, other], max_epochs=1, settings=SMALL)
    assert [c["name"] for c in model.facts["captures"]] == ["cut.pcap", "other.pcap"]
    assert model.sample(tmp_path / "a.pcap", packets=100).packets == 100


def test_the_newest_model_in_a_folder_is_found(tmp_path: Path) -> None:
    import os

    with pytest.raises(ModelError, match="no model in this folder"):
        find_model(tmp_path)
    for name, time_s in (("a", 100), ("b", 300), ("c", 200)):
        (tmp_path / f"{name}.netsynth").touch()
        os.utime(tmp_path / f"{name}.netsynth", (time_s, time_s))
    assert find_model(tmp_path) == (tmp_path / "b.netsynth", 3)


def test_settings_of_each_room_are_offered() -> None:
    assert list(default_settings("transformer")) == ["demux", "encode", "transformer"]
    with pytest.raises(ConfigError, match=r"no generator oracle; there are .*transformer"):
        default_settings("oracle")


def test_compare_reads_two_captures(capture: Path) -> None:
    report = netsynth.compare(capture, capture, families=["temporal"])
    assert report.mean_scaled("temporal") == 0


def test_compare_knows_the_files_as_the_command_does(capture: Path) -> None:
    report = netsynth.compare(capture, [capture], families=["privacy", "validity"], quick=True)
    assert report.details["real"] == report.details["synthetic"] == capture.name
    macs = report.figure("privacy", "MAC addresses")
    assert macs.raw == macs.real != 0
    assert report.figure("validity", "order").raw == 1.0


def test_the_package_offers_its_api_and_nothing_by_accident() -> None:
    assert set(netsynth.__all__) <= set(dir(netsynth))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = netsynth.nothing  # type: ignore[attr-defined]
