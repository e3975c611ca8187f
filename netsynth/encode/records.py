"""Packets of a flow as records: the action a packet is (kind), its length and its TCP window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.columns import FlowColumns
from netsynth.encode.tcp_windows import SAME_WINDOW, WindowCodec, fit_window_codec
from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import IntArray, NumberCodec, fit_number_codec
from netsynth.tables import AHEAD, FIN, IN_ORDER, OPTION_SACK, SYN, TCP, FlowTable

KIND_COLUMNS = (
    "protocol", "reverse", "payload", "tcp_flags", "segment", "ack_class", "icmp", "other_meta",
    "bare", "tells",
)  # fmt: skip
GAP_RULERS = ("gap", "gap_per_delay")  # what a gap is measured in


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordCodec:
    """Record fields as tokens: kind, length, window (and gap, for generators that predict it)."""

    kinds: Vocabulary  # rows [V, 10], KIND_COLUMNS
    length: NumberCodec
    window: WindowCodec
    gap: NumberCodec  # ns
    gap_per_delay: NumberCodec  # gap over the delay of the side that sends, see `FlowColumns`
    closes: NDArray[np.bool_]  # [V], kinds seen with a window of 0

    def encode(self, flows: FlowTable, columns: FlowColumns) -> NDArray[np.int32]:
        """Return int32 [N, 3]: kind, length and window tokens."""
        packets = flows.packets
        kind = self.kinds.encode(kind_rows(flows, columns))
        length = self.length.encode(packets.payload_length)
        window = packets.window.astype(np.int64)
        window = self.window.encode(before_in_direction(flows, window), window)
        window = np.where(packets.protocol == TCP, window, SAME_WINDOW)
        return np.stack([kind, length, window], axis=1).astype(np.int32)


def fit_record_codec(flow_tables: list[FlowTable], columns: list[FlowColumns]) -> RecordCodec:
    """Learn the record vocabularies from flows and their columns."""
    rows = np.concatenate([kind_rows(t, c) for t, c in zip(flow_tables, columns, strict=True)])
    length = np.concatenate([t.packets.payload_length for t in flow_tables])
    windows: list[IntArray] = []
    gaps, shares = [], []
    for table, column in zip(flow_tables, columns, strict=True):
        window = table.packets.window.astype(np.int64)
        before = before_in_direction(table, window)
        changed = (before != window) & (table.packets.protocol == TCP)
        windows.append(np.stack([before, window])[:, changed])
        gap = np.diff(table.packets.time_ns, prepend=0)
        gap[table.offsets[:-1]] = -1
        gaps.append(gap[gap >= 0])
        flow = table.flow_of_packet
        opposite = table.reverse != table.reverse[table.offsets[:-1]][flow]
        delay = np.where(opposite, column.answer_ns[flow], column.reply_ns[flow])
        timed = (gap >= 0) & (delay > 0)
        shares.append(gap[timed] / delay[timed])
    gap, share = np.concatenate(gaps), np.concatenate(shares)
    kinds = fit_vocabulary(rows, limit=512)
    none = np.concatenate([t.packets.window == 0 for t in flow_tables])
    closes = np.bincount(kinds.encode(rows[none]), minlength=kinds.rows.shape[0]) > 0
    return RecordCodec(
        kinds=kinds,
        closes=closes,
        length=fit_number_codec(
            length, bin_count=64, atom_count=768, atom_share=2e-5, exact_below=2
        ),
        window=fit_window_codec(*np.concatenate(windows, axis=1)),
        gap=fit_number_codec(
            gap if gap.size else np.zeros(1), bin_count=128, atom_count=48, atom_share=0.002
        ),
        gap_per_delay=fit_number_codec(
            share if share.size else np.ones(1), bin_count=96, atom_count=1
        ),
    )


def kind_rows(flows: FlowTable, columns: FlowColumns) -> IntArray:
    """Return KIND_COLUMNS of each packet, int64 [N, 10]."""
    packets = flows.packets
    tells = (packets.protocol == TCP) & (packets.option_bits & OPTION_SACK > 0)
    parts = (
        packets.protocol, flows.reverse, packets.payload_length > 0, packets.tcp_flags,
        flows.segment, flows.ack_class, packets.icmp, columns.other_meta, columns.bare, tells,
    )  # fmt: skip
    return np.stack([np.asarray(part, dtype=np.int64) for part in parts], axis=1)


def brings_news(kinds: IntArray) -> IntArray:
    """1 for rows of KIND_COLUMNS [M, 10] that bring what TCP has to acknowledge for the first time:
    data, SYN or FIN that are no repetition; int64 [M]."""
    fills = (kinds[:, 2] > 0) | (kinds[:, 3] & (SYN | FIN) > 0)
    new = (kinds[:, 4] == IN_ORDER) | (kinds[:, 4] == AHEAD)
    return np.asarray((kinds[:, 0] == TCP) & fills & new, dtype=np.int64)


def before_in_direction(flows: FlowTable, values: IntArray) -> IntArray:
    """Value of the packet before in the same flow and direction, -1 for the first: int64 [N]."""
    lane = flows.flow_of_packet * 2 + flows.reverse
    order = np.argsort(lane, kind="stable")
    before = np.full(values.size, -1, dtype=np.int64)
    same = lane[order][1:] == lane[order][:-1]
    before[order[1:]] = np.where(same, values[order][:-1], -1)
    return before
