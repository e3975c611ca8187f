"""TCP windows of records: what each packet advertises, and who ever advertised none.

A window of 0 stops the other side (RFC 9293 section 3.8.6.1). Most captures hold it in resets
alone, where it means nothing, so it is left to the kinds of packets that were seen with it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.lanes import fill_forward
from netsynth.numbers import Array, IntArray, NumberCodec, fit_number_codec
from netsynth.tcp_windows import MOST_WINDOW, NOT_SET, running_windows

SAME_WINDOW = 0  # token: as the packet before in the same direction; TCP alone has others
FEWEST, SHARE = 4, 2e-4  # times that a window or a change is met that counts, and share of all
SMALL_CHANGE = 4  # changes below the window over this are told as such where neither is common


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowCodec:
    """Windows as tokens: SAME_WINDOW, less by some amount, more by some, or a window itself.

    Of a window and its change from the last one in the direction, the commoner is told.

    Attributes:
        less: Amounts.
        more: Amounts.
        absolute: Windows.
        common_windows: int64 [A, 2], windows in ascending order and how often they were met.
        common_changes: int64 [B, 2], changes, likewise.
    """

    less: NumberCodec
    more: NumberCodec
    absolute: NumberCodec
    common_windows: IntArray
    common_changes: IntArray

    @property
    def size(self) -> int:
        """Number of tokens."""
        return 1 + self.less.size + self.more.size + self.absolute.size

    def encode(self, before: IntArray, window: IntArray) -> IntArray:
        """Return the tokens of windows [N], `before` them -1 for a direction's first: int64 [N]."""
        less, more = self.less.size, self.more.size
        change = window - before
        token = 1 + less + more + self.absolute.encode(window)
        told = self._tells_change(before, window)
        token = np.where(told & (change < 0), 1 + self.less.encode(-change), token)
        token = np.where(told & (change > 0), 1 + less + self.more.encode(change), token)
        return np.where((before >= 0) & (change == 0), SAME_WINDOW, token)

    def _tells_change(self, before: IntArray, window: IntArray) -> NDArray[np.bool_]:
        """Tell which windows [N] are told by their change: bool [N]."""
        return _tells_change(before, window, self.common_windows, self.common_changes)

    def windows(self) -> IntArray:
        """Return what each token sets and adds, int64 [size, 2]; see `TokenField.windows`."""
        middles = [
            np.round(codec.decode(np.arange(codec.size), np.full(codec.size, 0.5)))
            for codec in (self.less, self.more, self.absolute)
        ]
        less, more, absolute = (np.asarray(m, dtype=np.int64) for m in middles)
        sets = np.concatenate(
            [np.full(1 + less.size + more.size, NOT_SET), np.clip(absolute, 0, MOST_WINDOW)]
        )
        adds = np.concatenate([[0], -less, more, np.zeros(absolute.size, dtype=np.int64)])
        return np.stack([sets, adds], axis=1)

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the codec as named arrays, for a model file."""
        arrays: dict[str, Array] = {}
        for part in ("less", "more", "absolute"):
            arrays |= getattr(self, part).to_arrays(f"{name}.{part}")
        for part in ("common_windows", "common_changes"):
            arrays[f"{name}.{part}"] = getattr(self, part)
        return arrays

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> WindowCodec:
        """Inverse of `to_arrays`."""
        windows, changes = (
            arrays[f"{name}.{part}"].astype(np.int64).reshape(-1, 2)
            for part in ("common_windows", "common_changes")
        )
        return WindowCodec(
            less=NumberCodec.from_arrays(f"{name}.less", arrays),
            more=NumberCodec.from_arrays(f"{name}.more", arrays),
            absolute=NumberCodec.from_arrays(f"{name}.absolute", arrays),
            common_windows=windows,
            common_changes=changes,
        )


def fit_window_codec(before: IntArray, window: IntArray) -> WindowCodec:
    """Learn from windows [N] that differ from those before them in their direction.

    Args:
        before: int64 [N], -1 for a direction's first.
        window: int64 [N].
    """
    later = before >= 0
    change = window - before
    common = _common(window[later]), _common(change[later])
    told = _tells_change(before, window, *common)
    less, more = (
        fit_number_codec(
            amounts if amounts.size else np.ones(1), bin_count=24, atom_count=96, atom_share=SHARE
        )
        for amounts in (-change[told & (change < 0)], change[told & (change > 0)])
    )
    absolute = fit_number_codec(
        window if window.size else np.zeros(1), bin_count=64, atom_count=192, atom_share=SHARE
    )
    return WindowCodec(
        less=less,
        more=more,
        absolute=absolute,
        common_windows=common[0],
        common_changes=common[1],
    )


def _common(values: IntArray) -> IntArray:
    """Values [N] that are met often, ascending, and how often: int64 [A, 2]."""
    unique, count = np.unique(values, return_counts=True)
    often = count >= max(FEWEST, SHARE * values.size)
    return np.stack([unique[often], count[often]], axis=1).astype(np.int64)


def _tells_change(
    before: IntArray, window: IntArray, windows: IntArray, changes: IntArray
) -> NDArray[np.bool_]:
    change = window - before
    counts = _count_of(window, windows), _count_of(change, changes)
    rare = (counts[0] == 0) & (counts[1] == 0)
    small = np.abs(change) * SMALL_CHANGE < window
    return np.asarray((before >= 0) & ((counts[1] > counts[0]) | (rare & small)))


def _count_of(values: IntArray, common: IntArray) -> IntArray:
    """How often values [N] were met by `common` [A, 2], 0 where they are not in it: int64 [N]."""
    if common.shape[0] == 0:
        return np.zeros(values.shape, dtype=np.int64)
    place = np.minimum(np.searchsorted(common[:, 0], values), common.shape[0] - 1)
    return np.where(common[place, 0] == values, common[place, 1], 0)


def decode_windows(
    windows: IntArray,
    closes: NDArray[np.bool_],
    records: Array,
    lane: IntArray,
    is_tcp: NDArray[np.bool_],
) -> IntArray:
    """Return the window of each record, int64 [N], 0 outside TCP.

    Where it is 0 and the record's kind never had that, the lane's window before is kept, else
    that behind, else the usual one.

    Args:
        windows: int64 [size, 2], see `WindowCodec.windows`.
        closes: bool [V], kinds of records seen with a window of 0.
        records: int32 [N, 3], kind, length and window tokens.
        lane: int64 [N], a number for each flow and direction.
        is_tcp: bool [N].
    """
    token = np.where(is_tcp, records[:, 2], SAME_WINDOW).astype(np.int64)
    told = np.maximum(running_windows(token, lane, windows), 0)
    is_open = told > 0
    before = fill_forward(lane, told, is_open)
    behind = fill_forward(lane[::-1], told[::-1], is_open[::-1])[::-1]
    news = is_open & (token != SAME_WINDOW)
    usual = int(np.median(told[news])) if news.any() else 0
    other = np.where(before > 0, before, np.where(behind > 0, behind, usual))
    closed = (told == 0) & ~closes[records[:, 0]]
    return np.where(is_tcp, np.where(closed, other, told), 0)
