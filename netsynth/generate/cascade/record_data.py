"""What level 3 sees of each record: where it stands in its flow and step, and the last records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.networks import SEEN
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace, TokenField

COMMON_KINDS = 32  # kinds of records that the history tells apart
STATE_BITS = 6  # SYN, SYN-ACK, FIN and RST either way
POSITION = 18 + STATE_BITS  # numbers of `position_features`
# Which of `window_keys` must agree for a TCP window, from fine to coarse.
WINDOW_CHAIN = ((0, 1, 2, 3), (0, 1, 3), (0, 1), (0, 3), (0,))


@dataclass(slots=True)
class Place:
    """Where M records stand.

    Attributes:
        position: int64 [M], records of the flow so far.
        left: int64 [M, 2], packets left in the flow, forward and reverse, this one counted.
        step_left: int64 [M, 2], the same in the record's step.
        bytes_left: int64 [M, 2], payload left in the flow.
        owed: int64 [M], state bits of the flow that no record before has shown.
        enters: bool [M], the first record of its step.
        previous: int64 [M, R], kinds of the records before plus 1, newest first, 0: none.
        numbers: float32 [M, R, 2], their length and gap as images.
    """

    position: Tensor
    left: Tensor
    step_left: Tensor
    bytes_left: Tensor
    owed: Tensor
    enters: Tensor
    previous: Tensor
    numbers: Tensor

    def take(self, rows: Tensor) -> Place:
        """Return the places `rows`."""
        return Place(*(getattr(self, name)[rows] for name in self.__slots__))

    def to(self, device: torch.device) -> Place:
        """Return the places on `device`."""
        return Place(*(getattr(self, name).to(device) for name in self.__slots__))


class PlaceFeatures(nn.Module):
    """Turn places into the numbers that G3 and D3 see; nothing in it is learned by descent."""

    def __init__(self, kind: TokenField, *, history: int) -> None:
        super().__init__()
        self.history = history
        table = torch.zeros(kind.size + 1, 2 + STATE_BITS + COMMON_KINDS)
        state = torch.as_tensor(kind.groups["state"])
        table[1:, 0] = torch.as_tensor(kind.groups["reverse"]).float() * 2 - 1
        table[1:, 1] = torch.as_tensor(kind.groups["payload"]).float() * 2 - 1
        table[1:, 2 : 2 + STATE_BITS] = state_flags(state)
        common = min(COMMON_KINDS, kind.size)  # the vocabulary begins with the most frequent
        table[1 : common + 1, 2 + STATE_BITS : 2 + STATE_BITS + common] = torch.eye(common)
        self.register_buffer("table", table, persistent=False)
        self.table: Tensor

    @property
    def width(self) -> int:
        """Numbers a place becomes."""
        return POSITION + self.history * (self.table.shape[1] + 2)

    def forward(self, place: Place) -> Tensor:
        """Map M places to float32 [M, X]."""
        kinds = self.table[place.previous].flatten(1)
        return torch.cat([position_features(place), kinds, place.numbers.flatten(1)], dim=1)


def state_flags(state: Tensor) -> Tensor:
    """Write state bits [M] one by one: float32 [M, 6]."""
    bits = torch.arange(STATE_BITS, device=state.device)
    return ((state[:, None] >> bits) & 1).float()


def position_features(place: Place) -> Tensor:
    """Describe where records stand: float32 [M, POSITION]."""
    left = place.left
    first = torch.stack([place.position == k for k in range(4)], dim=1).float()
    last = torch.stack([left.sum(1) == k for k in range(1, 4)], dim=1).float()
    logs = torch.cat(
        [
            torch.log1p(place.position[:, None].float()) / 6,
            torch.log1p(left.float()) / 6,
            torch.log1p(place.step_left.float()) / 4,
            torch.log1p(place.bytes_left.float()) / 12,
        ],
        dim=1,
    )
    signs = torch.cat([place.step_left > 0, place.bytes_left > 0], dim=1).float()[:, :3]
    enters = place.enters[:, None].float()
    parts = [first, last, logs, signs, enters, state_flags(place.owed)]
    return torch.cat(parts, dim=1)


def record_places(
    trace: EncodedTrace, series: Series, images: Array, *, reverse: Array, state: IntArray,
    history: int,
) -> Place:  # fmt: skip
    """Compute the place of each record of `trace` from the true ones before it.

    Args:
        trace: The window.
        series: Of `trace`, on the cascade's steps.
        images: float32 [N, 2], length and gap of each record.
        reverse: bool [N].
        state: int64 [F], state bits of each flow.
        history: Records that are remembered.
    """
    count = trace.records.shape[0]
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    first = trace.record_offsets[:-1][flow]
    position = np.arange(count) - first
    ways = np.stack([~reverse, reverse], axis=1).astype(np.int64)
    row = record_rows(series)
    row_first = np.searchsorted(row, np.arange(series.step.size))[row]
    kinds = trace.records[:, 0].astype(np.int64)
    shown = trace.record_fields[0].groups["state"][kinds]
    owed = state[flow]
    for bit in range(STATE_BITS):
        has = ((shown >> bit) & 1)[:, None]
        owed = np.where(_before(has, first)[:, 0] > 0, owed & ~(1 << bit), owed)
    previous = np.zeros((count, history), dtype=np.int64)
    numbers = np.zeros((count, history, 2), dtype=np.float32)
    for back in range(1, history + 1):
        known = np.flatnonzero(position >= back)
        previous[known, back - 1] = kinds[known - back] + 1
        numbers[known, back - 1] = images[known - back]
    totals, step_totals = trace.totals[flow], series.values[row]
    size = ways * trace.record_bytes[:, None]
    return Place(
        position=torch.as_tensor(position),
        left=torch.as_tensor(totals[:, :2] - _before(ways, first)),
        step_left=torch.as_tensor(step_totals[:, :2] - _before(ways, row_first)),
        bytes_left=torch.as_tensor(totals[:, 2:] - _before(size, first)),
        owed=torch.as_tensor(owed),
        enters=torch.as_tensor(np.arange(count) == row_first),
        previous=torch.as_tensor(previous),
        numbers=torch.as_tensor(numbers),
    )


def record_rows(series: Series) -> IntArray:
    """Row of the series that each record falls in, int64 [N]."""
    return np.repeat(np.arange(series.step.size), series.values[:, :2].sum(axis=1))


def _before(values: IntArray, first: IntArray) -> IntArray:
    """Sum of the rows from `first` [N] up to, not including, each row of `values` [N, C]."""
    total = np.concatenate([np.zeros((1, values.shape[1]), np.int64), np.cumsum(values, axis=0)])
    before: IntArray = total[:-1] - total[first]
    return before


def window_at(series: Tensor, step: Tensor, *, window: int) -> Tensor:
    """Cut the `window` steps about `step` [B] out of series [B, T, C]: [B, window x SEEN].

    What lies outside the series is 0. Gradients pass.

    References:
        CascadeNet section 4.4 (sliding window of the series).
    """
    half = window // 2
    padded = nn.functional.pad(series[..., :SEEN], (0, 0, half, half))
    index = step[:, None] + torch.arange(window, device=step.device)  # [B, W]
    return padded.gather(1, index[..., None].expand(-1, -1, SEEN)).flatten(1)


class StepWindows:
    """The steps around each active step, put together of what is active there alone.

    Within `half` steps lie at most so many active ones: the rows before and behind.
    """

    def __init__(self, seen: Tensor, step: Tensor, flow: Tensor, *, window: int) -> None:
        """Keep the active steps of all flows.

        Args:
            seen: float32 [S, SEEN], what G3 sees of each.
            step: int64 [S], ascending in each flow.
            flow: int64 [S], ascending.
            window: Steps of a window, odd.
        """
        self.seen, self.step, self.flow, self.window = seen, step, flow, window
        half = window // 2
        self.near = torch.arange(-half, half + 1, device=step.device)

    def of(self, rows: Tensor) -> Tensor:
        """Windows about the active steps `rows` [B], as by `window_at`: [B, window x SEEN]."""
        index = (rows[:, None] + self.near).clamp(0, self.step.numel() - 1)  # [B, W]
        place = self.step[index] - self.step[rows][:, None] + self.window // 2
        here = (place >= 0) & (place < self.window)
        here &= self.flow[index] == self.flow[rows][:, None]
        place = torch.where(here, place, self.window)  # the last place is cut off
        made = self.seen.new_zeros(rows.numel(), self.window + 1, SEEN)
        made.scatter_(1, place[..., None].expand(-1, -1, SEEN), self.seen[index])
        return made[:, :-1].flatten(1)


def window_keys(
    kind: IntArray, offsets: IntArray, reverse: NDArray[np.bool_], endpoints: IntArray
) -> IntArray:
    """What a record's TCP window goes by: int64 [N, 4], for a CountBook.

    Its kind, its sender, the service, and how many records of its direction came before (0 to 3,
    then in octaves).

    Args:
        kind: int64 [N].
        offsets: int64 [F+1].
        reverse: bool [N].
        endpoints: int64 [F, 4], ENDPOINTS and state.
    """
    flow = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    back = reverse.astype(np.int64)
    before = np.cumsum(back) - back
    before -= before[offsets[:-1]][flow]
    order = np.where(reverse, before, np.arange(kind.size) - offsets[:-1][flow] - before)
    octave = np.where(order < 4, order, 2 + np.log2(np.maximum(order, 1)).astype(np.int64))
    sender = np.where(reverse, endpoints[flow, 1], endpoints[flow, 2])
    return np.stack([kind, sender, endpoints[flow, 0], octave], axis=1)
