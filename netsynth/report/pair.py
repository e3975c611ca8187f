"""A real and a synthetic capture side by side, prepared for the measures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray
from netsynth.report.fidelity import Side
from netsynth.report.sessions import session_features
from netsynth.report.trace import NS_PER_S, Trace, Traffic, first_stretch, time_halves, trace_of

SessionFeatures = Callable[[Trace], dict[str, FloatArray]]

SPLITS = 5  # random halvings of the real sessions that a floor is averaged over
LONGER = 1.05  # a synthetic trace longer than this many real ones is judged by its beginning


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureFacts:
    """What is known of a capture beyond its table of packets; all of it optional.

    Attributes:
        name: Name to show.
        paths: Its files, for the protocol analysers that are installed.
        macs: uint64 [M], MAC addresses seen, or None where unknown.
        out_of_order_count: Frames earlier than the one before them; None where unknown.
        frame_count: Frames of any kind.
    """

    name: str = ""
    paths: tuple[Path, ...] = ()
    macs: NDArray[np.uint64] | None = None
    out_of_order_count: int | None = None
    frame_count: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """The real capture, prepared once for any number of synthetic ones.

    Attributes:
        table: As given.
        trace: Its TCP and UDP packets.
        early: The first half of its time.
        late: The second half.
        halves: bool [SPLITS, S]; the sessions of the first half in each of SPLITS random splits.
        facts: What else is known.
        held_out: Real traffic that no model was trained on, if there is any.
        features: Gives the session features of a trace, and remembers those of real traffic.
    """

    table: Traffic
    trace: Trace
    early: Trace
    late: Trace
    halves: NDArray[np.bool_]
    facts: CaptureFacts
    held_out: Trace | None = None
    features: SessionFeatures = field(default_factory=lambda: lru_cache()(session_features))


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """One comparison.

    Attributes:
        real: The real capture.
        table: The synthetic capture as given.
        everything: All its TCP and UDP packets.
        synthetic: Those it is judged by: as long a stretch as the real trace lasts.
        facts: What else is known of the synthetic capture.
        seed: Seed of every random choice.
        quick: True leaves out intervals and looks at fewer sessions.
        notes: What a reader must know of the comparison as a whole.
        written: Gives the session features of a synthetic trace, and remembers them.
    """

    real: Reference
    table: Traffic
    everything: Trace
    synthetic: Trace
    facts: CaptureFacts
    seed: int
    quick: bool
    notes: tuple[str, ...] = field(default=())
    written: SessionFeatures = field(default_factory=lambda: lru_cache()(session_features))

    def features(self, trace: Trace) -> dict[str, FloatArray]:
        """Session features of a trace; computed once, as several families look at them."""
        ours = trace is self.real.trace or trace is self.real.held_out
        return (self.real.features if ours else self.written)(trace)

    def lacks(self, has: Callable[[Trace], bool], *, everywhere: bool = False) -> Side:
        """The side whose trace does not have something, the real one first; "" where both do.

        `everywhere` looks at all of the synthetic capture, not at what it is judged by alone.
        """
        if not has(self.real.trace):
            return "real"
        return "" if has(self.everything if everywhere else self.synthetic) else "synthetic"

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator for one purpose: independent of which families are asked for."""
        return np.random.default_rng([self.seed, *purpose.encode()])


def refer_to(
    table: Traffic,
    *,
    seed: int,
    facts: CaptureFacts | None = None,
    held_out: Traffic | None = None,
) -> Reference:
    """Prepare a real capture."""
    trace = trace_of(table)
    early, late = time_halves(trace)
    return Reference(
        table=table,
        trace=trace,
        early=early,
        late=late,
        halves=halve_sessions(trace.session_count, rng=np.random.default_rng(seed)),
        facts=facts or CaptureFacts(name="real"),
        held_out=None if held_out is None else trace_of(held_out),
    )


def halve_sessions(session_count: int, *, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Draw SPLITS random halves of `session_count` sessions, bool [SPLITS, S]."""
    first = np.zeros((SPLITS, session_count), dtype=np.bool_)
    for row in first:
        row[rng.permutation(session_count)[: session_count // 2]] = True
    return first


def pair_up(
    real: Reference,
    table: Traffic,
    *,
    seed: int,
    quick: bool,
    facts: CaptureFacts | None = None,
) -> Pair:
    """Set a synthetic capture beside a real one.

    Figures over shares of a trace compare like with like only over equal spans, so that a
    synthetic trace that lasts longer is judged by its beginning.
    """
    everything = trace_of(table)
    judged, notes = everything, []
    if real.trace.duration_ns and everything.duration_ns > LONGER * real.trace.duration_ns:
        judged = first_stretch(everything, duration_ns=real.trace.duration_ns)
        notes.append(
            f"the synthetic capture lasts {everything.duration_s:.4g} s and is judged by its first"
            f" {judged.duration_s:.4g} s, as long as the real one lasts"
        )
    elif len(everything) and everything.duration_ns * LONGER < real.trace.duration_ns:
        notes.append(
            f"the synthetic capture lasts {everything.duration_s:.4g} s, the real one"
            f" {real.trace.duration_ns / NS_PER_S:.4g} s: figures over shares of the trace compare"
            " unlike intervals"
        )
    for name, trace in (("real", real.trace), ("synthetic", everything)):
        if len(trace) == 0:
            notes.append(f"the {name} capture holds no TCP or UDP packet: nothing to compare")
        if trace.left_out:
            notes.append(
                f"{trace.left_out} of {trace.left_out + len(trace)} IP packets of the {name}"
                " capture are neither TCP nor UDP, or fragments without ports, and are left out"
            )
    return Pair(
        real=real,
        table=table,
        everything=everything,
        synthetic=judged,
        facts=facts or CaptureFacts(name="synthetic"),
        seed=seed,
        quick=quick,
        notes=tuple(notes),
    )
