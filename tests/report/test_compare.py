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
    shortfalls,
    verdict_text,
    verdicts,
    write_report,
)
from netsynth.report.baselines import independent_marginals
from netsynth.report.compare import SLOW
from netsynth.report.trace import some_sessions, trace_of
from netsynth.report.verdicts import headline
from netsynth.report.wording import describe
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
    other = compare(dialogues(1), dialogues(2), families=["temporal", "C2ST"], quick=True)
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


def test_every_family_but_labels_has_a_floor() -> None:
    report = compare(dialogues(1), dialogues(2), held_out=dialogues(3))
    for figure in report.figures:
        if figure.raw is None or figure.name in (*WITHOUT_INTERVAL, "AUC"):
            continue
        assert figure.floor is not None, figure.name
        if figure.floor > 0:
            assert figure.ratio == pytest.approx(figure.scaled / figure.floor)  # type: ignore[operator]
    auc = report.figure("C2ST", "AUC")
    assert auc.scaled == pytest.approx(abs(2 * auc.raw - 1))  # type: ignore[operator]
    assert auc.real == pytest.approx(0.5, abs=0.1)  # halves cannot be told apart
    two_way = report.figure("validity", "two-way")
    assert two_way.scaled == 1 - two_way.raw  # type: ignore[operator]
    assert two_way.floor == 1 - two_way.real  # type: ignore[operator]
    forecast = report.figure("throughput", "AR")
    assert forecast.ratio == pytest.approx(forecast.raw / forecast.real)  # type: ignore[operator]


def lone(**known: Any) -> FidelityReport:
    return FidelityReport(figures=(Figure(**{"text": "", **known}),), details={"packets": [9, 9]})


def test_the_gate_fails_what_is_over_leaks_or_is_missing() -> None:
    far = lone(family="temporal", name="IT", raw=6.0, scaled=6.0, floor=2.0, in_mean=True)
    assert shortfalls(far, limit=2) == ["temporal is 3.00 times the floor"]
    assert shortfalls(far, limit=3) == []
    told = lone(family="C2ST", name="AUC", raw=0.9)
    assert shortfalls(told, limit=2) == ["C2ST counts as 4.00 (AUC 0.90)"]
    assert shortfalls(lone(family="C2ST", name="AUC", raw=0.6), limit=2) == []
    copied = lone(family="privacy", name="record copies", raw=1.0, real=0.1, note="9 of 9 packets")
    assert shortfalls(copied, limit=1e9) == ["9 of 9 packets are copies of real ones: a leak"]
    absent = Figure(family="bursts", name="TB", text="", in_mean=True).unmeasured(
        "synthetic", "has no bursts"
    )
    there = far.figures[0]
    both = FidelityReport(figures=(there, absent), details={"packets": [9, 9]})
    assert shortfalls(both, limit=3) == [
        "bursts could not be measured: the synthetic capture has no bursts"
    ]
    of_real = Figure(family="bursts", name="TB", text="").unmeasured("real", "has no bursts")
    assert shortfalls(FidelityReport(figures=(there, of_real)), limit=3) == []
    assert "nothing could be measured" in shortfalls(FidelityReport(figures=(of_real,)), limit=3)[0]


def test_a_share_that_only_the_real_capture_has_does_not_pass_the_gate() -> None:
    there = Figure(family="validity", name="L4 checksum", text="", raw=1.0, real=1.0)
    absent = [
        Figure(family="validity", name=name, text="", real=1.0).unmeasured(
            "synthetic", "has no TCP"
        )
        for name in ("two-way", "handshake")
    ]
    report = FidelityReport(figures=(there, *absent), details={"packets": [9, 9]})
    assert shortfalls(report, limit=5) == [
        "validity lacks two-way, handshake: the synthetic capture has no TCP"
    ]


def test_a_classifier_that_errs_more_often_than_by_chance_is_no_praise() -> None:
    (verdict,) = verdicts(lone(family="C2ST", name="AUC", raw=0.2))
    assert verdict.badness == pytest.approx(3.0)
    assert "twins" in verdict.words


@pytest.mark.parametrize("name", [name for name in NEXT_TO_NOTHING if name != "no TCP"])
def test_next_to_nothing_does_not_pass_the_gate(name: str) -> None:
    found = compare(dialogues(7, sessions=60), NEXT_TO_NOTHING[name], quick=True)
    assert shortfalls(found, limit=1e9)


def test_a_full_copy_does_not_pass_the_gate() -> None:
    real = dialogues(1, sessions=60)
    assert any("a leak" in why for why in shortfalls(compare(real, real, quick=True), limit=1e9))


def test_an_empty_capture_is_called_empty_before_all() -> None:
    report = compare(dialogues(7, sessions=60), NEXT_TO_NOTHING["no packet"], quick=True)
    for verdict in verdicts(report):
        if verdict.family != "labels":
            assert verdict.words == (
                "Not measured: the synthetic capture holds no TCP or UDP packet."
            ), verdict
    assert "nothing to compare" in verdict_text([report])


def test_a_good_mean_does_not_hide_a_figure_that_is_far_off() -> None:
    curve = {
        "kind": "quantiles", "subject": "bursts", "text": "duration of a burst", "unit": "s",
        "more": "long", "less": "short", "mean": [8.0, 1.0], "std": [1.0, 1.0],
    }  # fmt: skip
    rows = tuple(
        Figure(
            family="bursts", name=name, text="", raw=scaled, scaled=scaled, floor=floor,
            ratio=scaled / floor, in_mean=True,
        )
        for name, scaled, floor in (("BD", 0.8, 0.1), ("NU", 0.9, 1.9))
    )  # fmt: skip
    found = verdicts(FidelityReport(figures=rows, details={"curves": {"BD": curve}}))[0]
    assert (found.grade, found.figure) == ("fair", "0.85x the floor")
    assert found.words == (
        "On average as close as real traffic is to itself; but bursts are 8x too short."
    )


@pytest.mark.parametrize(
    ("name", "subject", "mean", "std", "words"),
    [
        ("FIT", "gaps in flows", (1.0, 1.1), (3.0, 1.0), "gaps in flows are 3x too regular"),
        ("TTL", "TTLs", (60.0, 60.0), (5.0, 10.0), "TTLs vary 2x too much"),
        ("TTL", "TTLs", (60.0, 61.0), (5.0, 0.0), "TTLs do not vary at all"),
        ("FIT", "gaps in flows", (1.0, 1.1), (3.0, 0.0), "gaps in flows are perfectly regular"),
        ("TTL", "TTLs", (60.0, 61.0), (0.0, 5.0), "TTLs vary, and the real ones do not"),
        ("PL", "packet sizes", (100.0, 250.0), (5.0, 5.0), "packet sizes are 2.5x too large"),
        ("MTB", "pauses", (9.0, 0.0), (5.0, 0.0), "pauses are far too small"),
        ("BU", "flows", (1.0, 1.0), (1.0, 1.0),
         "what: mean and spread are about right, the distribution is not"),
    ],
)  # fmt: skip
def test_differences_are_put_in_words(
    name: str, subject: str, mean: Any, std: Any, words: str
) -> None:
    curve = {"kind": "quantiles", "subject": subject, "text": "what", "more": "large"}
    assert describe(name, curve | {"less": "small", "mean": mean, "std": std}) == words


def test_flags_are_named_in_words() -> None:
    curve = {"kind": "categories", "subject": "TCP flags", "labels": ["2", "16", "24"]}
    shares = {"real": [0.2, 0.6, 0.2], "synthetic": [0.5, 0.4, 0.1]}
    assert describe("FL", curve | shares) == "TCP flags differ: S is 50.0% instead of 20.0%"


def test_the_headline_counts_and_names() -> None:
    def verdict(grade: Any, title: str) -> Verdict:
        return Verdict(family="x", title=title, grade=grade, badness=1, figure="", words="")

    found = [verdict("poor", "Bursts"), verdict("good", "A"), verdict("good", "B")]
    assert headline(found) == "1 poor (Bursts), 2 good."
    assert headline([verdict("unknown", "A")]) == "Nothing could be measured."
    assert headline([verdict("floor", "A"), verdict("unknown", "B")]) == ""


def test_the_floor_is_no_verdict_on_copies() -> None:
    found = {
        v.family: v for v in verdicts(floor_report(refer_to(dialogues(1), seed=0), quick=True))
    }
    assert {v.grade for v in found.values()} <= {"floor", "unknown"}
    assert "recur in the other" in found["privacy"].words
    assert "leak" not in found["privacy"].figure
