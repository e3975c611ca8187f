"""What each measure compares: one sample of values from one trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from netsynth.numbers import Array, IntArray

if TYPE_CHECKING:
    from netsynth.report.trace import Trace

Kind = Literal["emd", "jsd", "rank"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """Values of one measure in one trace.

    Attributes:
        values: [M]; float64 for EMD, integers that mean the same in every trace for JSD.
        group: int64 [M]; the session (or stretch of time) that each value came from: halves
            and resampling keep a group together.
        group_count: Groups in the trace, including those without a value here.
    """

    values: Array
    group: IntArray
    group_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """One distance of a family: its name, how samples are compared, and what it says.

    Attributes:
        name: Short name, as in docs/METRICS.md.
        kind: "emd", "jsd", or "rank" for the JSD of rank-frequency curves.
        unit: Unit of the raw distance.
        text: What one value is.
        subject: Its plural, to begin a sentence.
        more: What the subject is too much of where the values are too large.
        less: And where they are too small.
        in_mean: True where it counts in the family's mean.
        drawn: True where its values mean something to a reader and are worth a chart.
        over_time: True where the sample is one of the whole trace, so that the floor is taken
            between its time halves and not between halves of its sessions.
    """

    name: str
    kind: Kind
    unit: str
    text: str
    subject: str
    more: str = "large"
    less: str = "small"
    in_mean: bool = True
    drawn: bool = True
    over_time: bool = False


Sampler = Callable[["Trace"], dict[str, Sample]]


def whole(values: Array, *, groups: int = 50) -> Sample:
    """A sample of values in time order [M], grouped into at most `groups` stretches of time."""
    count = max(1, min(groups, values.size))
    group = np.arange(values.size, dtype=np.int64) * count // max(values.size, 1)
    return Sample(values=values, group=group, group_count=count)
