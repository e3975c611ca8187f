"""report.html: well-formed, self-contained, and seen by a real browser."""

import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from report_tables import browse, dialogues, find_chromium

from netsynth.report import CaptureFacts, compare, refer_to, write_report
from netsynth.report.charts import distribution_chart, format_value
from netsynth.report.drawings import label_text

needs_browser = pytest.mark.skipif(find_chromium() is None, reason="Chromium is not installed")
VOID = {"meta", "br", "link", "img", "input", "hr"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two synthetic captures, one with a name that must be escaped."""
    real = refer_to(dialogues(1), seed=0, facts=CaptureFacts(name="real.pcap"))
    reports = [
        compare(real, dialogues(seed), quick=True, synthetic_facts=CaptureFacts(name=name))
        for seed, name in ((2, "like.pcap"), (3, "<b>&odd.pcap"))
    ]
    path = tmp_path_factory.mktemp("report")
    write_report(reports, path)
    return path


class Reader(HTMLParser):
    """Checks nesting, and collects tags and identifiers."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def read(folder: Path) -> Reader:
    reader = Reader()
    reader.feed((folder / "report.html").read_text(encoding="utf-8"))
    return reader


def test_tags_nest_and_links_lead_somewhere(folder: Path) -> None:
    reader = read(folder)
    assert reader.open == []
    ids = [attributes["id"] for _, attributes in reader.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = [a["href"] for tag, a in reader.tags if tag == "a"]
    assert targets
    assert all(str(target).removeprefix("#") in ids for target in targets)


def test_nothing_is_fetched(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"https?://[^\"' )<]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg"}  # a name, not a place
    assert not re.findall(r"<(?:link|img|iframe)|@import|url\(|<script src", text)


def test_a_screen_reader_finds_heads_captions_and_descriptions(folder: Path) -> None:
    reader = read(folder)
    pictures = [attributes for tag, attributes in reader.tags if tag == "svg"]
    assert pictures
    assert all(a.get("role") == "img" and a.get("aria-label") for a in pictures)
    heads = [attributes for tag, attributes in reader.tags if tag == "th"]
    assert all("scope" in attributes for attributes in heads)
    assert ("html", {"lang": "en"}) in reader.tags
    assert [a for _, a in reader.tags if a.get("class") == "skip"]


def test_names_are_escaped(folder: Path) -> None:
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert "<b>&odd" not in text
    assert "&lt;b&gt;&amp;odd.pcap" in text


def test_each_picture_stands_alone(folder: Path) -> None:
    pictures = list((folder / "figures").iterdir())
    assert {p.name for p in pictures} >= {"FIT.svg", "SP.svg", "ACF.svg", "utilisation.svg"}
    for picture in pictures:
        root = ET.parse(picture).getroot()
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        text = picture.read_text(encoding="utf-8")
        assert not re.search(r"var\(--[a-z0-9-]+\)", text)  # each colour has one to fall back on


def points(svg: str) -> list[list[tuple[float, float]]]:
    found = []
    for line in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}polyline"):
        pairs = [pair.split(",") for pair in line.attrib["points"].split()]
        found.append([(float(x), float(y)) for x, y in pairs])
    return found


def test_a_distribution_is_drawn_where_its_values_lie() -> None:
    levels = np.linspace(10, 20, 101)
    svg = distribution_chart(title="t", unit="s", names=["a", "b"], quantiles=[levels, levels + 5])
    first, second = points(svg)
    second_s = 10 / (first[-1][0] - first[0][0])  # seconds a point of the chart
    assert (second[0][0] - first[0][0]) * second_s == pytest.approx(5, rel=0.01)
    assert first[0][1] > first[-1][1]  # shares grow upwards


def test_decades_are_evenly_spaced_on_a_logarithmic_axis() -> None:
    values = [0.0, *np.logspace(-6, 0, 100)]
    first = points(distribution_chart(title="t", unit="s", names=["a"], quantiles=[values]))[0]
    x = [place for place, _ in first]
    assert x[0] < x[1]  # zeros stand apart
    steps = np.diff(x[1:])
    assert steps == pytest.approx(np.full(99, steps.mean()), abs=0.15)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0021, "s", "2.1 ms"),
        (3.5e-7, "s", "350 ns"),
        (4000, "s", "4e+03 s"),
        (40_960, "B", "41 kB"),
        (0.5, "B", "0.5 B"),
        (2.5e9, "B/s", "2.5 GB/s"),
        (0, "s", "0 s"),
        (0.25, "", "0.25"),
        (-12.0, "packets", "-12 packets"),
    ],
)
def test_values_are_written_with_their_unit(value: float, unit: str, text: str) -> None:
    assert format_value(value, unit) == text


def test_flags_are_written_by_letter() -> None:
    assert label_text("FL", "18") == "SA"
    assert label_text("FL", "0") == "none"
    assert label_text("PR", "17") == "UDP"
    assert label_text("SP", "53") == "53"


@needs_browser
def test_a_browser_draws_the_page_without_a_complaint(folder: Path, tmp_path: Path) -> None:
    picture = tmp_path / "page.png"
    done = browse(
        folder / "report.html",
        f"--screenshot={picture}",
        "--window-size=1100,1600",
        "--enable-logging=stderr",
        profile=tmp_path / "profile",
    )
    assert "Uncaught" not in done.stderr
    assert picture.stat().st_size > 50_000  # an empty page takes some 10 kB


@needs_browser
def test_a_heading_sorts_its_table(folder: Path, tmp_path: Path) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    click = """<script>
      const heads = [...document.querySelectorAll("#temporal thead tr:last-child th")];
      const column = heads.findIndex(th => th.textContent === "Ratio");
      heads[column].querySelector("button").click();
      const cells = [...document.querySelectorAll("#temporal tbody tr")].map(
        tr => tr.children[column].dataset.v);
      document.title = "sorted:" + heads[column].getAttribute("aria-sort") + ":" + cells.join(",");
    </script>"""
    changed = tmp_path / "clicked.html"
    changed.write_text(page.replace("</body>", click + "</body>"), encoding="utf-8")
    done = browse(changed, "--dump-dom", profile=tmp_path / "profile")
    title = re.search(r"<title>sorted:(\w+):([^<]*)</title>", done.stdout)
    assert title is not None
    assert title[1] == "ascending"
    ratios = [float(text) for text in title[2].split(",")]
    assert len(ratios) == 6
    assert ratios == sorted(ratios)


@needs_browser
def test_every_picture_can_be_saved_and_the_page_fits_a_laptop(
    folder: Path, tmp_path: Path
) -> None:
    page = (folder / "report.html").read_text(encoding="utf-8")
    probe = """<script>
      const figures = [...document.querySelectorAll("figure")];
      document.title = [figures.length, figures.filter(f => f.querySelector("button")).length,
        document.documentElement.scrollWidth, document.documentElement.clientWidth].join(",");
    </script>"""
    changed = tmp_path / "probed.html"
    changed.write_text(page.replace("</body>", probe + "</body>"), encoding="utf-8")
    done = browse(changed, "--dump-dom", "--window-size=1100,800", profile=tmp_path / "profile")
    title = re.search(r"<title>([\d,]+)</title>", done.stdout)
    assert title is not None
    figures, savable, wide, room = map(int, title[1].split(","))
    assert figures == savable > 20
    assert wide <= room  # wide tables scroll inside themselves


def test_notes_name_the_capture_they_speak_of(tmp_path: Path) -> None:
    real = refer_to(dialogues(1), seed=0)
    longer = dialogues(2)
    longer.time_ns[-1] += 10**11
    reports = [
        compare(real, packets, families=["statistical"], quick=True,
                synthetic_facts=CaptureFacts(name=name))
        for packets, name in ((longer, "long.pcap"), (dialogues(3), "short.pcap"))
    ]  # fmt: skip
    both = write_report(reports, tmp_path / "two").read_text(encoding="utf-8")
    assert ">long.pcap lasts" in both
    assert "he synthetic capture lasts" not in both
    alone = write_report(reports[:1], tmp_path / "one").read_text(encoding="utf-8")
    assert "The synthetic capture lasts" in alone
