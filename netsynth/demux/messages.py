"""Which application message each payload is part of.

A message is what one side sends until the other side answers: over TCP all new data between two
turns of the dialogue, elsewhere each datagram. A segment that analysers take for new when it comes
again (mistaken.py) is a message of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.mistaken import find_mistaken
from netsynth.jit import compiled
from netsynth.numbers import IntArray
from netsynth.tables import FlowTable

RECORD_SIZE = 16_384  # longest TLS record with its header, bytes (RFC 8446 section 5.1 allows more)
_RECORD_HEAD = 5  # so much more, where the next segment has no room for another's header
_ANSWER_LIMIT_NS = 5_000_000_000  # a datagram answers none that is older, if there is a younger
_PENDING_LIMIT = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTable:
    """One row a message of the flows asked for, M rows.

    Attributes:
        flow: int64 [M].
        side: int64 [M]; 0 from the initiator, 1 from the responder.
        turn: int64 [M]; how many messages its side sent before.
        size: int64 [M], bytes of the whole message.
        first_size: int64 [M], bytes of its first packet.
        lead_size: int64 [M], bytes of as many first packets as RECORD_SIZE holds; at least one.
        asked: int64 [M]; message of the peer that it answers, or -1.
        of_packet: int64 [N]; message of each packet, or -1.
        place: int64 [N]; where in the message the packet's payload begins, bytes.
        record_size: int64 [N]; bytes of the TLS record that begins with the packet, or 0.
    """

    flow: IntArray
    side: IntArray
    turn: IntArray
    size: IntArray
    first_size: IntArray
    lead_size: IntArray
    asked: IntArray
    of_packet: IntArray
    place: IntArray
    record_size: IntArray

    def __len__(self) -> int:
        return int(self.flow.size)


def find_messages(
    flows: FlowTable,
    data_at: IntArray,
    *,
    wanted: NDArray[np.bool_],
    has_parts: NDArray[np.bool_],
) -> MessageTable:
    """Find the messages of the flows that are `wanted`, bool [F].

    Args:
        data_at: int64 [N]; position of each TCP payload in its direction's stream.
        has_parts: Flows of whose messages analysers take parts for complete, bool [F].
    """
    p = flows.packets
    alone = np.zeros(len(p), dtype=np.bool_)
    messages = _find_messages(flows, data_at, wanted, alone)
    message = messages.of_packet
    ends = data_at - messages.place + (messages.size[message] if len(messages) else 0)  # [N]
    ends[(message < 0) | has_parts[flows.flow_of_packet]] = 0
    columns = p.time_ns, flows.reverse, p.protocol, p.tcp_flags, p.payload_length, p.seq, p.ack
    find_mistaken(flows.offsets, wanted, *columns, data_at, ends, alone)
    if not alone.any():
        return messages
    again = np.zeros(len(flows), dtype=np.bool_)
    again[flows.flow_of_packet[alone]] = True
    ends[:] = 0  # where a message is cut, what comes before is complete sooner
    find_mistaken(flows.offsets, again, *columns, data_at, ends, alone)
    return _find_messages(flows, data_at, wanted, alone)


def _find_messages(
    flows: FlowTable,
    data_at: IntArray,
    wanted: NDArray[np.bool_],
    alone: NDArray[np.bool_],
) -> MessageTable:
    """Find the messages; segments that are `alone`, bool [N], are messages of their own."""
    p = flows.packets
    count = len(p)
    limit = int(np.count_nonzero((p.payload_length > 0) & wanted[flows.flow_of_packet]))
    columns = np.zeros((7, limit), dtype=np.int64)
    of_packet = np.full(count, -1, dtype=np.int64)
    place, record_size = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    found = _find(
        flows.offsets,
        wanted,
        p.time_ns,
        flows.reverse,
        p.protocol,
        p.payload_length,
        data_at,
        alone,
        columns,
        of_packet,
        place,
        record_size,
    )
    names = ("flow", "side", "turn", "size", "first_size", "lead_size", "asked")
    table = {name: columns[row, :found] for row, name in enumerate(names)}
    return MessageTable(**table, of_packet=of_packet, place=place, record_size=record_size)


@compiled
def _find(
    offsets: IntArray,
    wanted: NDArray[np.bool_],
    time_ns: IntArray,
    reverse: NDArray[np.bool_],
    protocol: NDArray[np.uint8],
    payload_length: NDArray[np.uint16],
    data_at: IntArray,
    alone: NDArray[np.bool_],
    columns: IntArray,
    of_packet: IntArray,
    place: IntArray,
    record_size: IntArray,
) -> int:
    """Fill the columns [7, M] in the order of MessageTable and the packets' [N]; return M."""
    m_flow, m_side, m_turn, m_size = columns[0], columns[1], columns[2], columns[3]
    m_first, m_lead, m_asked = columns[4], columns[5], columns[6]
    start = np.zeros(m_flow.size, dtype=np.int64)  # position in the stream
    before = np.zeros(m_flow.size, dtype=np.int64)  # the side's message before
    pending = np.zeros(_PENDING_LIMIT, dtype=np.int64)
    pending_ns = np.zeros(_PENDING_LIMIT, dtype=np.int64)
    last = np.zeros(2, dtype=np.int64)
    turns = np.zeros(2, dtype=np.int64)
    sent_to = np.zeros(2, dtype=np.int64)
    record_to = np.zeros(2, dtype=np.int64)
    count = 0
    for f in range(offsets.size - 1):
        if not wanted[f]:
            continue
        first, end = offsets[f], offsets[f + 1]
        is_tcp = protocol[first] == 6
        last[:] = -1
        turns[:] = 0
        sent_to[:] = 0
        record_to[:] = 0
        speaker = -1
        was_alone = False
        pending_count = 0
        for i in range(first, end):
            payload = np.int64(payload_length[i])
            if payload == 0:
                continue
            side = 1 if reverse[i] else 0
            at = data_at[i] if is_tcp else np.int64(0)
            if at < 0:
                continue
            if is_tcp and at < sent_to[side]:  # sent before
                m: Any = last[side]
                while m >= 0 and start[m] > at:
                    m = before[m]
                of_packet[i] = m
                if m >= 0:
                    place[i] = at - start[m]
                sent_to[side] = max(sent_to[side], at + payload)
                continue
            if not is_tcp or side != speaker or alone[i] or was_alone:
                asked: Any = last[1 - side]
                if not is_tcp and side == 1 and pending_count > 0:
                    taken = 0
                    while (
                        taken + 1 < pending_count
                        and time_ns[i] - pending_ns[taken] > _ANSWER_LIMIT_NS
                    ):
                        taken += 1
                    asked = pending[taken]
                    pending_count -= taken + 1
                    for k in range(pending_count):
                        pending[k] = pending[k + taken + 1]
                        pending_ns[k] = pending_ns[k + taken + 1]
                m_flow[count] = f
                m_side[count] = side
                m_turn[count] = turns[side]
                m_first[count] = payload
                m_asked[count] = asked
                start[count] = at
                before[count] = last[side]
                last[side] = count
                turns[side] += 1
                if not is_tcp and side == 0:
                    if pending_count == _PENDING_LIMIT:
                        pending_count -= 1
                        for k in range(pending_count):
                            pending[k] = pending[k + 1]
                            pending_ns[k] = pending_ns[k + 1]
                    pending[pending_count] = count
                    pending_ns[pending_count] = time_ns[i]
                    pending_count += 1
                speaker = side
                record_to[side] = at
                count += 1
            was_alone = alone[i]
            m = last[side]
            of_packet[i] = m
            place[i] = at - start[m]
            sent_to[side] = at + payload
            m_size[m] = at + payload - start[m]
            if at >= record_to[side]:  # a record begins: how many whole packets fit?
                size = payload
                stop = at + payload
                for j in range(i + 1, end):
                    if payload_length[j] == 0:
                        continue
                    if reverse[j] != reverse[i] or not is_tcp or alone[i] or alone[j]:
                        break
                    spare = _RECORD_HEAD if payload_length[j] <= _RECORD_HEAD else 0
                    if data_at[j] != stop or size + payload_length[j] > RECORD_SIZE + spare:
                        if data_at[j] < stop:
                            continue
                        break
                    size += np.int64(payload_length[j])
                    stop += np.int64(payload_length[j])
                record_size[i] = size
                record_to[side] = stop
                if at == start[m]:
                    m_lead[m] = size
    return count


@compiled
def copy_ranges(data: NDArray[np.uint8], start: IntArray, length: IntArray) -> NDArray[np.uint8]:
    """Return the bytes data[start[k] : start[k] + length[k]] of all k, joined."""
    joined = np.empty(length.sum(), dtype=np.uint8)
    place = 0
    for k in range(start.size):
        for j in range(length[k]):
            joined[place + j] = data[start[k] + j]
        place += length[k]
    return joined
