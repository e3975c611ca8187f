"""The display: a live line on a terminal, few plain lines elsewhere, and never in the way."""

import io

import pytest
from netsynth_cli.progress_bar import Display, format_amount, format_seconds, make_progress

from netsynth.progress import Silence


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines_say_start_now_and_then_and_end() -> None:
    stream, clock = io.StringIO(), Clock()
    display = Display(stream, live=False, clock=clock)
    display.start("reading a.pcap", total=1_000_000, unit="bytes")
    for second in range(1, 41):
        clock.now += 1
        display.update(second * 25_000)
    display.finish()
    assert stream.getvalue().splitlines() == [
        "reading a.pcap ...",
        "reading a.pcap:  38 %, 375 kB of 1 MB, 25 kB/s, 0:25 left",
        "reading a.pcap:  75 %, 750 kB of 1 MB, 25 kB/s, 0:10 left",
        "reading a.pcap: done in 0:40, 1 MB",
    ]


def test_a_live_line_is_redrawn_in_place_and_fits_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream, clock = io.StringIO(), Clock()
    display = Display(stream, live=True, clock=clock)
    display.start("training flows", total=10, unit="epochs")
    clock.now += 1
    display.update(5, note="held out 3.21, and a note that is far too long for the line")
    display.finish("held out 3.10")
    drawings = stream.getvalue().split("\r\x1b[K")[1:]
    assert len(drawings) == 3
    assert "50 %" in drawings[1]
    assert all(len(drawing.rstrip("\n")) < 60 for drawing in drawings)
    assert drawings[2] == "training flows: done in 0:01, 5 epochs, held out 3.10\n"


def test_frequent_updates_draw_seldom() -> None:
    stream, clock = io.StringIO(), Clock()
    display = Display(stream, live=True, clock=clock)
    display.start("sampling", total=1000, unit="packets")
    for done in range(1000):
        clock.now += 0.001
        display.update(done)
    assert stream.getvalue().count("\r") <= 12


def test_a_new_phase_ends_the_one_before() -> None:
    stream = io.StringIO()
    display = Display(stream, live=False, clock=Clock())
    display.start("one")
    display.start("two")
    display.finish()
    display.finish()
    assert stream.getvalue().splitlines() == [
        "one ...", "one: done in 0:00", "two ...", "two: done in 0:00",
    ]  # fmt: skip


def test_a_stream_that_went_away_does_not_stop_the_work() -> None:
    stream = io.StringIO()
    display = Display(stream, live=True, clock=Clock())
    display.start("one")
    stream.close()
    display.update(1)
    display.finish()
    display.start("two")


def test_quiet_is_silent_and_a_file_gets_plain_lines() -> None:
    assert isinstance(make_progress(quiet=True), Silence)
    stream = io.StringIO()
    make_progress(quiet=False, stream=stream).start("one")
    assert stream.getvalue() == "one ...\n"


@pytest.mark.parametrize(
    ("amount", "unit", "text"),
    [
        (0, "packets", "0 packets"), (999, "packets", "999 packets"),
        (1_000_000, "packets", "1M packets"), (12_345, "", "12.3k"),
        (1_234_567, "bytes", "1.23 MB"), (12, "bytes", "12 B"), (65, "s", "1:05"), (2.5, "", "2.5"),
    ],
)  # fmt: skip
def test_amounts_are_short(amount: float, unit: str, text: str) -> None:
    assert format_amount(amount, unit) == text


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.2, "1:00"), (3723, "1:02:03")])
def test_seconds_read_as_a_clock(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
