"""How long work reports how far it is: the protocol, and the form that says nothing.

Core code takes a `Progress` and knows no terminal; `cli/progress_bar.py` draws one on stderr.
"""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """What a phase of work tells whoever waits for it; calls are cheap and may be frequent."""

    def start(self, phase: str, *, total: float | None = None, unit: str = "") -> None:
        """Begin a phase; the one before it ends.

        Args:
            phase: What is done, as a short gerund: "reading", "training the flow level".
            total: How much there is to do, in `unit`; None where nobody knows.
            unit: What is counted: "bytes", "packets", "epochs", or "s" for a time limit.
        """

    def update(self, done: float, *, note: str = "") -> None:
        """Say how much of the phase is done in all, in its unit, and anything worth a word.

        Args:
            done: From the start of the phase, not since the last call.
            note: A few words beside the bar, such as a held-out likelihood; "" keeps the last.
        """

    def finish(self, note: str = "") -> None:
        """End the phase that runs, if any does, with a last word beside it."""


class Silence:
    """A `Progress` that keeps to itself: the default of the library."""

    def start(self, phase: str, *, total: float | None = None, unit: str = "") -> None:
        """Begin a phase, in silence."""

    def update(self, done: float, *, note: str = "") -> None:
        """Take note, in silence."""

    def finish(self, note: str = "") -> None:
        """End a phase, in silence."""
