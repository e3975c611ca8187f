"""What is drawn of windows: flows, their totals, series and records."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from netsynth.numbers import Array, IntArray


@dataclass(slots=True)
class DrawnFlows:
    """Flows of W windows, in order of (window, start)."""

    window: Tensor  # int64 [F]
    start_ns: Tensor  # float64 [F]
    tokens: Tensor  # int64 [F, K]

    def take(self, rows: slice | Tensor) -> DrawnFlows:
        """Return the flows `rows`."""
        return DrawnFlows(
            window=self.window[rows], start_ns=self.start_ns[rows], tokens=self.tokens[rows]
        )


@dataclass(slots=True)
class DrawnTotals:
    """Numbers drawn from the flow tokens."""

    packets_and_bytes: Tensor  # int64 [F, 4]
    answer_ns: Tensor  # float64 [F], from the first packet to the answer; -1 where none comes
    reply_ns: Tensor  # float64 [F], from that to the reply; -1 where none comes
    duration_ns: Tensor  # float64 [F]
    longest_ns: Tensor  # float64 [F], most that the duration's token may stand for

    def take(self, rows: slice | Tensor) -> DrawnTotals:
        """Return the totals of the flows `rows`."""
        return DrawnTotals(
            packets_and_bytes=self.packets_and_bytes[rows],
            answer_ns=self.answer_ns[rows],
            reply_ns=self.reply_ns[rows],
            duration_ns=self.duration_ns[rows],
            longest_ns=self.longest_ns[rows],
        )


@dataclass(slots=True)
class DrawnSeries:
    """Active steps, sorted by flow and step; see EncodedTrace."""

    offsets: IntArray  # [F + 1]
    step: IntArray  # [S]
    values: IntArray  # [S, 4]


@dataclass(slots=True)
class DrawnRecords:
    """Records in order of flow and time; see EncodedTrace."""

    offsets: IntArray
    tokens: Array  # int32 [N, 3]
    size_bytes: IntArray
    time_ns: IntArray
