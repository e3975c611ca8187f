"""Frames to columns without a compiler: the same results as `decode_numba`, bit for bit."""

from __future__ import annotations

import numpy as np

from netsynth.capture.hashes_numpy import Tables, note_macs, number_pairs, rehash
from netsynth.capture.layers_numpy import Frames, read_link_layer, read_shims
from netsynth.capture.network_numpy import read_ip
from netsynth.capture.records import (
    ADDRESSES,
    ADDRESSES_FULL,
    DECAPSULATE,
    FIRST_NS,
    FRAGMENTS,
    FRAMES,
    FULL,
    IP_BAD,
    L4_BAD,
    L4_UNKNOWN,
    LAST_NS,
    MAX_TUNNELS,
    NON_IP,
    OUT_OF_ORDER,
    POS,
    RECORD,
    REFERENCE_NS,
    ROW,
    ROW_LIMIT,
    TRUNCATED,
    UNTIMED,
    WIRE_BYTES,
)
from netsynth.capture.transport_numpy import enter_tunnels, read_transport, verify_checksums
from netsynth.capture.usual_numpy import Usual, read_usual
from netsynth.capture.walk_numpy import Records, walk
from netsynth.numbers import Array, IntArray
from netsynth.tables import PACKET_COLUMNS

__all__ = ["decode", "rehash"]

BATCH = 16384  # records decoded at once
# Columns, and the fields of frames that go into them as they are.
FIELDS = {
    **{"src_port": "source_port", "dst_port": "target_port", "ip_version": "version"},
    **{"ip_flags": "flags", "payload_length": "payload", "tcp_flags": "tcp"},
    **{"option_bits": "options", "window_scale": "scale", "checksums": "check"},
    **{name: name for name in ("protocol", "ttl", "tos", "ip_id", "seq", "ack", "window")},
    **{name: name for name in ("mss", "ts_val", "ts_ecr", "icmp", "vlan")},
}


def decode(
    data: Array,
    words: Array,
    state: IntArray,
    counts: IntArray,
    interfaces: IntArray,
    columns: tuple[Array, ...],
    slots: Array,
    keys: Array,
    mac_slots: Array,
    pairs: Array,
    seed: np.uint64,
) -> int:
    """Decode records of a buffer from `state[POS]` on; see `decode_numba.decode`."""
    while state[ROW] < state[ROW_LIMIT]:
        room = keys.shape[0] - int(state[ADDRESSES])
        if room < 2 * BATCH:
            return ADDRESSES_FULL
        most = min(int(state[ROW_LIMIT] - state[ROW]), BATCH)
        records, status, pos = walk(data, state, interfaces, most)
        _count(records, state)
        state[POS] = pos
        if records.start.size:
            tables = Tables(slots=slots, keys=keys, macs=mac_slots, pairs=pairs, seed=seed)
            _decode_batch(data, records, state, counts, columns, tables)
        if status != FULL:
            return status
    return FULL


def _count(records: Records, state: IntArray) -> None:
    """Update what `state` holds of all records, IP or not."""
    count = records.start.size
    if not count:
        return
    timed = np.flatnonzero(~records.untimed)
    if state[REFERENCE_NS] < 0 and timed.size:
        state[REFERENCE_NS] = records.time_ns[timed[0]]
    latest = np.maximum.accumulate(np.concatenate(([state[LAST_NS]], records.time_ns)))
    state[RECORD] += count
    state[FRAMES] += count
    state[UNTIMED] += count - timed.size
    state[TRUNCATED] += np.count_nonzero(records.captured < records.wire)
    state[OUT_OF_ORDER] += np.count_nonzero(records.time_ns < latest[:-1])
    state[LAST_NS] = latest[-1]
    state[FIRST_NS] = min(state[FIRST_NS], records.time_ns.min())
    state[WIRE_BYTES] += records.wire.sum()


def _parse(frames: Frames, decapsulate: bool) -> None:
    """Read all headers, those of a tunnel over those of the packet around it."""
    rows = np.arange(frames.accepted.size)
    for depth in range(MAX_TUNNELS + 1):
        rows = read_ip(frames, read_shims(frames, rows, in_tunnel=depth > 0))
        read_transport(frames, rows)
        verify_checksums(frames, rows)
        frames["payload"][rows] = np.minimum(frames["payload"][rows], 65535)
        if not decapsulate or depth == MAX_TUNNELS:
            break
        rows = enter_tunnels(frames, rows)
        if not rows.size:
            break


def _decode_batch(
    data: Array,
    records: Records,
    state: IntArray,
    counts: IntArray,
    columns: tuple[Array, ...],
    tables: Tables,
) -> None:
    """Decode records, and write the packets among them into the columns."""
    usual = read_usual(data, records, decapsulate=bool(state[DECAPSULATE]))
    accepted, mac_at, frames = usual.chosen, records.start, None
    rest = np.flatnonzero(~usual.chosen)
    if rest.size:
        frames = Frames(data, records.take(rest))
        shown, shown_at = read_link_layer(frames)
        mac_at = np.where(usual.chosen, records.start, -1)
        mac_at[rest[shown]] = shown_at
        _parse(frames, bool(state[DECAPSULATE]))
        dropped = np.flatnonzero(~frames.accepted)
        state[NON_IP] += dropped.size
        np.add.at(counts, frames["reason"][dropped], 1)
        accepted = usual.chosen.copy()
        accepted[rest] = frames.accepted
    note_macs(data, mac_at, records.link, tables, state)
    begin = int(state[ROW])
    state[ROW] += np.count_nonzero(accepted)
    named = {
        name: column[begin : int(state[ROW])]
        for name, column in zip(PACKET_COLUMNS, columns, strict=True)
    }
    some: Array | slice = slice(None) if accepted.all() else accepted
    named["time_ns"][:] = records.time_ns[some]
    named["wire_length"][:] = records.wire[some]
    others = None if frames is None else frames.keys[frames.accepted]
    is_usual = usual.chosen[some]
    named["src"][:], named["dst"][:] = number_pairs(usual.pairs, is_usual, others, tables, state)
    _store(usual, is_usual, frames, state, named)


def _store(
    usual: Usual, is_usual: Array, frames: Frames | None, state: IntArray, named: dict[str, Array]
) -> None:
    """Write what packets say into the columns; `frames` are those that are not as usual."""
    here: Array | slice = slice(None) if frames is None else is_usual
    for name, values in usual.columns.items():
        named[name][here] = values
    if frames is not None:
        rows = np.flatnonzero(frames.accepted)
        for name, field in FIELDS.items():
            named[name][~is_usual] = frames[field][rows]
        named["ip_length"][~is_usual] = np.minimum(frames["total"][rows], 65535)
        state[FRAGMENTS] += np.count_nonzero(frames["flags"][rows] & 5)
    for place, bit in ((IP_BAD, 1), (L4_BAD, 2), (L4_UNKNOWN, 4)):
        state[place] += np.count_nonzero(named["checksums"] & bit)
