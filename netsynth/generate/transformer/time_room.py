"""Answers, replies and durations that end before the window does.

A duration told in round trips is a product of columns that are drawn one by one, and the product
may be hours where each of them is likely. What was learned ended before its window; so does what
is drawn, and what is left of the window then rules out the tokens that would not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.kernels import compiled
from netsynth.numbers import Array
from netsynth.tables import TokenField, ruler_ns

ANSWER, REPLY, STRETCH, DURATION = 0, 1, 2, 3
NAMES = ("answer", "reply", "stretch", "duration")


class TimeColumns(NamedTuple):
    """The columns that tell times."""

    column: Array  # int64 [4], place of each of NAMES among all columns
    least: Array  # float64 [4, largest size], least value of each token; 0 for "none"
    service: int  # place of the service
    rulers: Array  # float64 [services, 2], see `tables.ruler_ns`


def time_columns(fields: tuple[TokenField, ...]) -> TimeColumns:
    """Return where `fields` tell times, and the least time that each token may stand for."""
    column = [[f.name for f in fields].index(name) for name in NAMES]
    least = np.zeros((len(NAMES), max(fields[place].size for place in column)))
    for row, place in enumerate(column):
        number = fields[place].number
        assert number is not None
        least[row, fields[place].size - number.size : fields[place].size] = number.low
    service = [f.name for f in fields].index("service")
    rulers = fields[service].rulers
    assert rulers is not None
    return TimeColumns(np.array(column, dtype=np.int64), least, service, rulers)


class TimeRoom:
    """Told what is left of the window of each flow, says which tokens end within it."""

    def __init__(self, fields: tuple[TokenField, ...], left_ns: Tensor) -> None:
        """Take the flow level's columns and the time left of M flows, float64 [M]."""
        self._times = time_columns(fields)
        self._least = torch.as_tensor(self._times.least, device=left_ns.device)
        self._rulers = torch.as_tensor(self._times.rulers, device=left_ns.device)
        self._sizes = [f.size for f in fields]
        self._left = left_ns

    def room(self, name: str, seen: Tensor) -> Tensor | None:
        """Tokens that column `name` may take after `seen` [M, k]: bool [M, size], None for all."""
        if name not in NAMES:
            return None
        part, (answer, reply, *_) = NAMES.index(name), self._times.column.tolist()
        least = self._least[part, : self._sizes[self._times.column[part]]]
        before, unit = torch.zeros_like(self._left), torch.ones_like(self._left)
        if part in (REPLY, STRETCH):
            before = self._least[ANSWER, seen[:, answer]]
        if part == STRETCH:
            trip = before + self._least[REPLY, seen[:, reply]]
            unit = ruler_ns(trip, self._rulers[seen[:, self._times.service]])
            before = torch.zeros_like(unit)
        return before[:, None] + least * unit[:, None] <= self._left[:, None]


@compiled
def ends_late(a: TimeColumns, column: int, tokens: Array, token: int, left_ns: float) -> bool:
    """Tell whether `token` of `column` ends after the window, given the columns before."""
    for part in range(a.column.size):
        if a.column[part] != column:
            continue
        before, unit = 0.0, 1.0
        if part in (REPLY, STRETCH):
            before = a.least[ANSWER, tokens[a.column[ANSWER]]]
        if part == STRETCH:
            trip = before + a.least[REPLY, tokens[a.column[REPLY]]]
            power, typical = a.rulers[tokens[a.service], 0], a.rulers[tokens[a.service], 1]
            unit = trip**power * typical ** (1 - power) if trip > 0 else 0.0
            before = 0.0
        return bool(before + a.least[part, token] * unit > left_ns)
    return False
