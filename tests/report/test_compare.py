"""Whole reports: a capture against itself, its shuffle, its halves, and next to nothing."""

import json
from typing import Any

import numpy as np
import pytest
from report_tables import dialogues, packet_table

from netsynth.errors import ConfigError
from netsynth.report import (
    FAMILIES,
    FidelityReport,
    Figure,
    Verdict,
    baseline_captures,
    compare,
    floor_report,
    refer_to,
    report_dict,
    verdict_text,
    verdicts,
    write_report,
)
from netsynth.report.baselines import independent_marginals
from netsynth.report.compare import SLOW
from netsynth.report.trace import some_sessions, trace_of
from netsynth.tables import ICMP, UDP, PacketTable

DISTANCES = ("temporal", "statistical", "bursts", "microbursts", "ACF")


def values(report: FidelityReport, family: str, key: str) -> dict[str, Any]:
    return {figure.name: getattr(figure, key) for figure in report.family(family)}


def test_a_capture_against_itself_shows_zeros_and_a_leak() -> None:
    real = dialogues(1, sessions=60)
    report = compare(real, real)
    assert report.families == tuple(FAMILIES)
    for family in DISTANCES:
        assert set(values(report, family, "raw").values()) == {0.0}, family
        assert report.mean_scaled(family) == 0.0
    assert report.figure("C2ST", "AUC").raw == pytest.approx(0.5, abs=0.01)
    assert report.figure("temporal", "FIT").interval[0] == 0.0  # type: ignore[index]
    leak = next(v for v in verdicts(report) if v.family == "privacy")
    assert leak.grade == "poor"
    assert "copies of real ones: a leak" in leak.words
    assert verdicts(report)[0] == leak  # worst first


@pytest.mark.parametrize("family", ["statistical", "anomaly", "ACF"])
def test_over_a_floor_of_zero_no_ratio_is_invented(family: str) -> None:
    def verdict(scaled: float) -> Verdict:
        row = Figure(
            family=family, name="x", text="", raw=scaled, scaled=scaled, floor=0.0, in_mean=True
        )
        return verdicts(FidelityReport(figures=(row,)))[0]

    assert (verdict(0.25).grade, verdict(0.25).figure) == ("poor", "0.25, floor 0")
    assert (verdict(0.0).grade, verdict(0.0).figure) == ("good", "0, as the floor")


WITHOUT_INTERVAL = {"order", "IP addresses", "MAC addresses", "ports"}  # counts of a whole file


def test_every_other_figure_has_an_interval() -> None:
    real, other = dialogues(1, sessions=60), dialogues(2, sessions=60)
    families = [name for name in FAMILIES if name not in (*SLOW, "labels")]
    report = compare(real, other, families=families, held_out=dialogues(3, sessions=60))
    for figure in report.figures:
        if figure.raw is None or figure.name in WITHOUT_INTERVAL:
            continue
        assert figure.interval is not None, figure.name
        value = figure.raw if figure.scaled is None else figure.scaled
        assert figure.interval[0] <= value <= figure.interval[1], figure.name


def test_a_shuffle_breaks_timing_and_validity_but_not_the_marginals() -> None:
    real = dialogues(1)
    trace = trace_of(real)
    shuffled = independent_marginals(trace, np.random.default_rng(0))
    report = compare(real, shuffled, quick=True)
    marginals = values(report, "statistical", "raw")
    for name in ("SA", "DA", "SP", "DP", "PR", "FL", "PL", "TTL"):
        assert marginals[name] == 0 or (name == "FL" and marginals[name] < 0.2), name
    assert values(report, "temporal", "raw")["IT"] == 0.0
    assert report.figure("temporal", "FD").ratio > 3  # type: ignore[operator]
    grades = {v.family: v.grade for v in verdicts(report)}
    assert grades["temporal"] == grades["validity"] == grades["C2ST"] == "poor"


def test_real_halves_score_about_the_floor() -> None:
    trace = trace_of(dialogues(1, sessions=600))
    first = np.random.default_rng(5).random(trace.session_count) < 0.5
    halves = [some_sessions(trace, part).packets for part in (first, ~first)]
    report = compare(*halves, families=["temporal", "statistical"], quick=True)
    for family in ("temporal", "statistical"):
        ratio = report.mean_ratio(family)
        assert ratio is not None
        assert 0.4 < ratio < 1.6


def test_scaled_is_raw_over_the_deviation_and_ratio_scaled_over_floor() -> None:
    report = compare(dialogues(1), dialogues(2), families=["statistical"])
    length = report.figure("statistical", "PL")
    sizes = dialogues(1).ip_length.astype(float)
    scale = np.abs(sizes - np.median(sizes)).mean()
    assert length.scale == pytest.approx(scale)
    assert length.scaled == pytest.approx(length.raw / scale)  # type: ignore[operator]
    assert length.ratio == pytest.approx(length.scaled / length.floor)  # type: ignore[operator]
    assert length.interval[0] <= length.scaled <= length.interval[1]  # type: ignore[index,operator]
    assert not report.figure("statistical", "SA").in_mean
    means = [f.scaled for f in report.family("statistical") if f.in_mean]
    assert report.mean_scaled("statistical") == pytest.approx(np.mean(means))  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_report_whatever_else_is_asked() -> None:
    real, other = dialogues(1), dialogues(2)
    both = compare(real, other, families=["statistical", "C2ST"], seed=3)
    alone = compare(real, other, families=["C2ST"], seed=3)
    assert both.family("C2ST") == alone.family("C2ST")
    assert compare(real, other, families=["C2ST"], seed=4).family("C2ST") != alone.family("C2ST")


def only(**columns: int) -> PacketTable:
    return packet_table([{"ip_length": 60, **columns}])


def burst_in_one_microsecond() -> PacketTable:
    packets = dialogues(1, sessions=60)
    packets.time_ns[:] = packets.time_ns[0]
    return packets


NEXT_TO_NOTHING = {
    "no packet": packet_table([]),
    "no TCP or UDP": packet_table([{"protocol": ICMP, "time_ns": t} for t in range(30)]),
    "one packet": only(),
    "no TCP": packet_table(
        [{"protocol": UDP, "time_ns": t * 10**9, "src_port": t, "ip_length": 50} for t in range(60)]
    ),
    "one flow": packet_table([{"time_ns": t * 10**8, "ip_length": 40} for t in range(50)]),
    "one instant": burst_in_one_microsecond(),
}


@pytest.mark.parametrize("name", list(NEXT_TO_NOTHING))
@pytest.mark.parametrize("side", ["real", "synthetic"])
def test_what_cannot_be_measured_says_why(name: str, side: str, tmp_path: Any) -> None:
    poor, rich = NEXT_TO_NOTHING[name], dialogues(7, sessions=60)
    pair = (poor, rich) if side == "real" else (rich, poor)
    check(compare(*pair, quick=True), tmp_path)


@pytest.mark.parametrize("name", list(NEXT_TO_NOTHING))
def test_next_to_nothing_against_itself_says_why(name: str, tmp_path: Any) -> None:
    capture = NEXT_TO_NOTHING[name]
    check(compare(capture, capture, families=[f for f in FAMILIES if f not in SLOW]), tmp_path)
    check(compare(capture, capture, families=SLOW, quick=True), tmp_path)


def check(report: FidelityReport, folder: Any) -> None:
    """Every figure has a value or a reason; nothing is NaN; text and page come out."""
    json.loads(report.to_json())  # allow_nan=False
    for figure in report.figures:
        assert figure.raw is not None or figure.note, figure
    assert "nan" not in report.summary().lower()
    for verdict in verdicts(report):
        assert verdict.words
    page = write_report([report], folder).read_text(encoding="utf-8")
    assert "nan" not in page.replace("font-variant", "").lower().replace("unmeant", "")


def test_notes_name_the_capture_that_lacks_something() -> None:
    report = compare(dialogues(1), NEXT_TO_NOTHING["no TCP"], families=["statistical", "C2ST"])
    flags = report.figure("statistical", "FL")
    assert flags.raw is None
    assert flags.note == "the synthetic capture has no TCP flags of a packet"
    instant = compare(dialogues(1), NEXT_TO_NOTHING["one instant"], families=["bursts"])
    assert {f.note for f in instant.figures} == {"the synthetic capture has no duration"}


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="family jitter is unknown; take one of temporal"):
        compare(dialogues(1), dialogues(1), families=["jitter"])


def test_tables_text_and_json_agree(tmp_path: Any) -> None:
    report = compare(dialogues(1), dialogues(2), families=["temporal", "C2ST"])
    frame = report.to_frame()
    assert list(frame["name"][:6]) == ["IT", "FIT", "FD", "AT", "BU", "LD"]
    assert frame["scaled"][1] == report.figure("temporal", "FIT").scaled
    write_report([report], tmp_path)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written == json.loads(json.dumps(report_dict([report])))
    assert written["captures"][0]["figures"][1]["name"] == "FIT"
    assert written["captures"][0]["means"]["temporal"]["scaled"] == report.mean_scaled("temporal")
    assert {p.name for p in (tmp_path / "figures").iterdir()} >= {"IT.svg", "FIT.svg", "LD.svg"}
    assert f"{report.mean_scaled('temporal'):.3f}" in report.summary()
    assert "Timing of flows" in verdict_text([report])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Any) -> None:
    (tmp_path / "taken").write_text("")
    report = compare(dialogues(1), dialogues(1), families=["temporal"])
    with pytest.raises(ConfigError, match="taken"):
        write_report([report], tmp_path / "taken")


def test_the_floor_is_what_halves_score() -> None:
    real = refer_to(dialogues(1), seed=0)
    report = floor_report(real, quick=True)
    assert report.figure("temporal", "FIT").ratio == 1.0
    other = compare(dialogues(1), dialogues(2), families=["temporal"], quick=True)
    found, beside = report.figure("temporal", "FIT"), other.figure("temporal", "FIT")
    assert found.scaled == beside.floor
    assert found.raw == pytest.approx(beside.floor * beside.scale)  # type: ignore[operator]
    assert report.figure("C2ST", "AUC").raw == pytest.approx(0.5, abs=0.1)


def test_every_baseline_fails_where_it_must() -> None:
    packets = dialogues(1, sessions=300)
    real = refer_to(packets, seed=0)
    reports = {
        facts.name: compare(real, other, quick=True, synthetic_facts=facts)
        for other, facts in baseline_captures(real)
    }
    copies = {
        name.removeprefix("baseline: "): report.figure("privacy", "session copies").raw
        for name, report in reports.items()
    }
    assert copies["real half"] == copies["bootstrap of flows"] == 1.0
    assert not copies["independent marginals"]
    assert not copies["Bayesian network"]
    bootstrap = reports["baseline: bootstrap of flows"]
    assert bootstrap.figure("privacy", "record copies").raw == 0.0
    assert bootstrap.figure("privacy", "IP addresses").raw == 0
    assert bootstrap.mean_ratio("temporal") < 2  # type: ignore[operator]
    assert bootstrap.figure("validity", "sequence").raw == pytest.approx(1.0, abs=0.01)
