"""Progress on stderr: one live line a phase on a terminal, plain lines anywhere else."""

from __future__ import annotations

import io
import math
import shutil
import sys
import time
from collections.abc import Callable
from typing import TextIO

from netsynth.progress import Progress, Silence

REDRAW_S = 0.1  # between two drawings of the live line
PLAIN_S = 15.0  # between two plain lines of one phase
SMOOTHING_S = 8.0  # how far back the rate looks
BAR_WIDTH = 22


def make_progress(*, quiet: bool, stream: TextIO | None = None) -> Progress:
    """Return the display that fits: none if `quiet`, live on a terminal, else plain lines."""
    if quiet:
        return Silence()
    stream = stream or sys.stderr
    return Display(stream, live=stream.isatty())


def format_amount(amount: float, unit: str) -> str:
    """Write an amount shortly: 12.3 MB, 1.2M packets, 40 epochs, 1:05 for seconds."""
    if unit == "s":
        return format_seconds(amount)
    separator = " " if unit == "bytes" else ""
    suffix, value = "", amount
    for larger in ("k", "M", "G", "T"):
        if abs(value) < 1000:
            break
        suffix, value = larger, value / 1000
    digits = f"{value:.0f}" if suffix == "" and value == int(value) else f"{value:.3g}"
    if abs(value) >= 1000:
        digits = f"{value:.0f}"
    if unit == "bytes":
        return f"{digits}{separator}{suffix}B"
    return f"{digits}{suffix} {unit}".rstrip()


def format_seconds(seconds: float) -> str:
    """Write a time as 0:07, 12:34 or 1:02:03."""
    whole = max(0, math.ceil(seconds))
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


class Display:
    """A `Progress` on a text stream.

    Args:
        stream: Where to write, commonly stderr.
        live: Redraw one line in place (a terminal), or print a line now and then.
        clock: Seconds that only grow; tests bring their own.
    """

    def __init__(
        self, stream: TextIO, *, live: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._live = live
        self._clock = clock
        self._phase: str | None = None
        self._total: float | None = None
        self._unit = ""
        self._note = ""
        self._done = 0.0
        self._started = self._drawn = self._measured = clock()
        self._measured_done = 0.0
        self._rate = 0.0
        encoding = getattr(stream, "encoding", None) or "ascii"
        self._full, self._empty = ("█", "░") if "utf" in encoding.lower() else ("#", ".")

    def start(self, phase: str, *, total: float | None = None, unit: str = "") -> None:
        """Begin a phase; the one before it ends."""
        self.finish()
        self._phase, self._total, self._unit, self._note = phase, total, unit, ""
        self._done = self._measured_done = self._rate = 0.0
        self._started = self._measured = self._clock()
        self._drawn = self._started
        if self._live:
            self._draw()
        else:
            self._line(f"{phase} ...")

    def update(self, done: float, *, note: str = "") -> None:
        """Take down how much is done; draw it if the last drawing is old enough."""
        self._done = done
        self._note = note or self._note
        now = self._clock()
        self._measure(now)
        if now - self._drawn >= (REDRAW_S if self._live else PLAIN_S):
            self._drawn = now
            if self._live:
                self._draw()
            else:
                self._line(f"{self._phase}: {self._state()}")

    def finish(self, note: str = "") -> None:
        """End the phase with a line that stays: what was done, and how long it took."""
        if self._phase is None:
            return
        parts = [f"{self._phase}: done in {format_seconds(self._clock() - self._started)}"]
        if self._done and self._unit not in ("", "s"):
            parts.append(format_amount(self._done, self._unit))
        if note or self._note:
            parts.append(note or self._note)
        self._phase = None
        self._line(", ".join(parts))

    def _measure(self, now: float) -> None:
        passed = now - self._measured
        if passed < REDRAW_S:
            return
        newest = (self._done - self._measured_done) / passed
        weight = 1.0 if self._rate == 0 else 1 - math.exp(-passed / SMOOTHING_S)
        self._rate += weight * (newest - self._rate)
        self._measured, self._measured_done = now, self._done

    def _state(self) -> str:
        parts: list[str] = []
        if self._total:
            share = min(1.0, max(0.0, self._done / self._total))
            parts.append(f"{100 * share:3.0f} %")
            if self._unit:
                done = format_amount(self._done, "" if self._unit != "bytes" else "bytes")
                if self._unit == "s":
                    done = format_seconds(self._done)
                parts.append(f"{done} of {format_amount(self._total, self._unit)}")
        elif self._done:
            parts.append(format_amount(self._done, self._unit))
        if self._rate > 0 and self._unit not in ("", "s"):
            unit = "bytes" if self._unit == "bytes" else ""
            parts.append(f"{format_amount(self._rate, unit)}/s")
        if self._total and self._rate > 0 and self._unit:  # a bare share need not grow evenly
            left = max(0.0, self._total - self._done) / self._rate
            parts.append(f"{format_seconds(left)} left")
        if self._note:
            parts.append(self._note)
        return ", ".join(parts)

    def _draw(self) -> None:
        bar = ""
        if self._total:
            filled = round(BAR_WIDTH * min(1.0, max(0.0, self._done / self._total)))
            bar = self._full * filled + self._empty * (BAR_WIDTH - filled) + " "
        width = shutil.get_terminal_size().columns
        line = f"{self._phase} {bar}{self._state()}"[: max(10, width - 1)]
        self._write(f"\r\x1b[K{line}")

    def _line(self, text: str) -> None:
        self._write(f"\r\x1b[K{text}\n" if self._live else f"{text}\n")

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # nobody reads stderr any more: work goes on without
            self._stream = io.StringIO()
