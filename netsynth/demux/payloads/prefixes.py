"""Build the first payload bytes of all packets: each distinct shape once, then ids patched in."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.hashing import Words, mix
from netsynth.demux.messages import RECORD_SIZE, MessageTable, copy_ranges, find_messages
from netsynth.demux.payloads.dns import DNS
from netsynth.demux.payloads.fills import choose_fills
from netsynth.demux.payloads.keys import Keys
from netsynth.demux.payloads.lookups import Lookups, find_lookups, name_hosts, write_addresses
from netsynth.demux.payloads.registry import (
    IGMP,
    all_templates,
    choose_icmp6,
    choose_igmp,
    choose_templates,
)
from netsynth.demux.payloads.shape import TURN_LIMIT, VARIANT_COUNT, Shape, Template
from netsynth.demux.payloads.web import HTTP
from netsynth.numbers import IntArray
from netsynth.tables import ICMPV6, SYN, TCP, UDP, FlowTable

_RECORD_HEAD = 5  # bytes of a TLS record's header
_NEUTRAL_SIZE = 4  # zeros that keep analysers from taking random bytes for RTCP and the like


class Prefixes(NamedTuple):
    """First payload bytes of N packets.

    Attributes:
        data: uint8 [P].
        start: int64 [N], where in `data` each packet's bytes begin.
        length: int64 [N], bytes.
    """

    data: NDArray[np.uint8]
    start: IntArray
    length: IntArray


def build_prefixes(flows: FlowTable, data_at: IntArray, *, words: Words) -> Prefixes:
    """Build the prefixes of all packets of `flows`, in the order of its packets.

    Args:
        data_at: int64 [N]; position of each TCP payload in its direction's stream, so that
            retransmissions repeat the bytes.
        words: uint64 [F]; choose the names and ids of each flow.
    """
    template, is_swapped = choose_templates(flows)
    in_parts = np.array([each is not HTTP for each in all_templates()] + [False])
    messages = find_messages(flows, data_at, wanted=template >= 0, has_parts=in_parts[template])
    of_message = template[messages.flow]  # [M]
    icmp = flows.packets.icmp[flows.offsets[messages.flow]]  # [M]
    rows = np.flatnonzero((flows.packets.protocol == ICMPV6) & (messages.of_packet >= 0))
    own = choose_icmp6(flows.packets.icmp[rows])
    message = messages.of_packet[rows]
    of_message[message] = np.where(own >= 0, own, of_message[message])
    icmp[message] = flows.packets.icmp[rows]
    groups = np.flatnonzero(flows.protocol[messages.flow] == IGMP)
    of_message[groups] = choose_igmp(messages.size[groups])
    is_client = (messages.side == 1) == is_swapped[messages.flow]  # [M]
    asked = np.where(is_client, -1, messages.asked)  # a client's message begins an exchange
    exchange = np.where(asked >= 0, asked, np.arange(len(messages)))
    place = (messages.turn * 2 + messages.side).astype(np.uint64)  # unique in a flow
    rows = np.flatnonzero(messages.of_packet >= 0)
    first_row = np.zeros(len(messages), dtype=np.int64)  # [M]
    first_row[messages.of_packet[rows[::-1]]] = rows[::-1]
    time_ns = flows.packets.time_ns[first_row]
    keys = Keys(words[messages.flow], place, place[exchange], time_ns, time_ns[exchange], is_client)
    lookups = find_lookups(
        flows,
        messages,
        is_answer=(of_message == all_templates().index(DNS)) & ~is_client & (messages.side == 1),
        asked=asked,
        first_row=first_row,
        variant=(keys.of("exchange") % np.uint64(VARIANT_COUNT)).astype(np.int64),
    )
    hosts = name_hosts(flows, messages.flow, is_swapped)
    shapes = _shapes(flows, messages, asked, of_message, keys, icmp, lookups, hosts)
    heads, head_start, head_length = _build_heads(of_message, shapes)
    data, head_start = _patch(flows, messages, of_message, keys, heads, head_start, head_length)
    write_addresses(flows, lookups.served, data, head_start, head_length)
    prefixes = Prefixes(data, *_slice(flows, messages, head_start, head_length))
    prefixes = _add_records(flows, messages, of_message, prefixes)
    return _add_fills(flows, template, prefixes)


def _shapes(
    flows: FlowTable,
    messages: MessageTable,
    asked: IntArray,
    of_message: IntArray,
    keys: Keys,
    icmp: NDArray[np.uint16],
    lookups: Lookups,
    hosts: tuple[IntArray, IntArray],
) -> IntArray:
    """Return the fields of Shape for each message, int64 [M, len(Shape._fields)]."""
    flow = messages.flow
    first = flows.offsets[flow]
    query = lookups.query[flow]
    has_name = keys.is_client & (query >= 0)
    columns = {
        "size": messages.size,
        "first_size": messages.first_size,
        "lead_size": messages.lead_size,
        "asked_size": np.where(asked >= 0, messages.size[asked], 0) if asked.size else asked,
        "is_client": keys.is_client,
        "turn": np.minimum(messages.turn, TURN_LIMIT),
        "is_opening": (flows.packets.tcp_flags[first] & SYN != 0) | (flows.protocol[flow] != TCP),
        "variant": lookups.variant,
        "icmp": icmp,
        "server": hosts[0],
        "client": np.where(keys.is_client, hosts[1], 0),
        "name_size": np.where(has_name, messages.size[query], 0) if query.size else query,
        "name_variant": np.where(has_name, lookups.variant[query], 0) if query.size else query,
    }
    shapes = np.stack([columns[name].astype(np.int64) for name in Shape._fields], axis=1)
    for number, template in enumerate(all_templates()):
        rows = np.flatnonzero(of_message == number)
        later = rows[:0]
        if template.uses_later is not None:
            is_later = columns["turn"][rows] >= template.opening_turns
            later = rows[is_later | ~columns["is_opening"][rows]]
        for column, name in enumerate(Shape._fields):
            if name not in template.uses:
                shapes[rows, column] = 0
            elif template.uses_later is not None and name not in template.uses_later:
                shapes[later, column] = 0
    return shapes


def _build_heads(
    of_message: IntArray, shapes: IntArray
) -> tuple[NDArray[np.uint8], IntArray, IntArray]:
    """Build each distinct head once; return them joined, and start and length per message."""
    word = mix(of_message.astype(np.uint64), 1)
    for column in range(shapes.shape[1]):
        word = mix(word ^ shapes[:, column].astype(np.uint64), column)
    _, first, inverse = np.unique(word, return_index=True, return_inverse=True)
    heads = [_head(int(of_message[row]), Shape(*shapes[row].tolist())) for row in first]
    length = np.fromiter((len(head) for head in heads), dtype=np.int64, count=len(heads))
    start = np.cumsum(length) - length
    data = np.frombuffer(b"".join(heads), dtype=np.uint8)
    return data, start[inverse], length[inverse]


@lru_cache(maxsize=1 << 16)
def _head(number: int, shape: Shape) -> bytes:
    template = all_templates()[number]
    shape = shape._replace(is_client=bool(shape.is_client), is_opening=bool(shape.is_opening))
    head = template.build(shape)[: max(shape.size, shape.lead_size)]
    if template.checksum_at >= 0:
        head = head.ljust(shape.size, b"\0")
    return head


def _patch(
    flows: FlowTable,
    messages: MessageTable,
    of_message: IntArray,
    keys: Keys,
    heads: NDArray[np.uint8],
    start: IntArray,
    length: IntArray,
) -> tuple[NDArray[np.uint8], IntArray]:
    """Give messages that differ by more than their shape a copy of the head, with their ids."""
    pieces, start, size = [heads], start.copy(), heads.size
    for number, template in enumerate(all_templates()):
        shortest = min((p.offset + p.width for p in template.patches), default=1 << 40)
        shortest = shortest if template.checksum_at < 0 else 0
        rows = np.flatnonzero((of_message == number) & (length >= shortest))
        if rows.size == 0:
            continue
        own = np.cumsum(length[rows]) - length[rows]
        copies = copy_ranges(heads, start[rows], length[rows])
        _write_ids(flows, messages, keys, template, rows, copies, own, length[rows])
        pieces.append(copies)
        start[rows] = own + size
        size += copies.size
    return np.concatenate(pieces), start


def _write_ids(
    flows: FlowTable,
    messages: MessageTable,
    keys: Keys,
    template: Template,
    rows: IntArray,
    copies: NDArray[np.uint8],
    start: IntArray,
    length: IntArray,
) -> None:
    """Write the template's patches and checksum into `copies`, the heads of messages `rows`."""
    for patch in template.patches:
        fits = length >= patch.offset + patch.width
        if patch.first_turn_only:
            fits &= messages.turn[rows] == 0
        if patch.sender:
            fits &= keys.is_client[rows] == (patch.sender == "client")
        where = (start[fits] + patch.offset)[:, None] + np.arange(patch.width)
        if patch.source in ("source", "target"):
            is_own = (messages.side[rows[fits]] == 0) == (patch.source == "source")
            flow = messages.flow[rows[fits]]
            ends = np.where(is_own, flows.initiator[flow], flows.responder[flow])
            copies[where] = flows.packets.addresses[ends][:, 16 - patch.width :]
            continue
        if patch.source in ("time", "asked_time"):
            copies[where] = keys.ntp_times(patch.source)[rows[fits], : patch.width]
            continue
        word = keys.of(patch.source)[rows[fits]]
        words = [mix(word, patch.offset + k) for k in range((patch.width + 7) // 8)]
        random = np.stack(words, axis=1).view(np.uint8).reshape(word.size, 8 * len(words))
        copies[where] = random[:, : patch.width]
    if template.checksum_at >= 0:
        _write_checksums(copies, start, length, template.checksum_at)


def _write_checksums(
    copies: NDArray[np.uint8], start: IntArray, length: IntArray, offset: int
) -> None:
    """Write the Internet checksum (RFC 1071) of each head into it; its bytes there are 0."""
    weight = np.where((np.arange(copies.size) - np.repeat(start, length)) % 2, 1, 256)
    totals = np.concatenate(([0], np.cumsum(copies * weight)))
    total = totals[start + length] - totals[start]
    for _ in range(4):
        total = (total & 0xFFFF) + (total >> 16)
    fits = length >= offset + 2
    copies[start[fits] + offset] = (~total[fits] & 0xFFFF) >> 8
    copies[start[fits] + offset + 1] = ~total[fits] & 0xFF


def _slice(
    flows: FlowTable, messages: MessageTable, head_start: IntArray, head_length: IntArray
) -> tuple[IntArray, IntArray]:
    """Return start and length of each packet's part of its message's head, int64 [N] each."""
    count = len(flows.packets)
    start, length = np.zeros(count, dtype=np.int64), np.zeros(count, dtype=np.int64)
    rows = np.flatnonzero(messages.of_packet >= 0)
    message, place = messages.of_packet[rows], messages.place[rows]
    left = head_length[message] - place
    part = np.minimum(left, flows.packets.payload_length[rows])
    start[rows] = np.where(left > 0, head_start[message] + place, 0)
    length[rows] = np.maximum(part, 0)
    return start, length


def _add_records(
    flows: FlowTable, messages: MessageTable, of_message: IntArray, prefixes: Prefixes
) -> Prefixes:
    """Begin TLS records where a message goes on beyond its first one."""
    has_records = np.array([template.has_records for template in all_templates()])
    rows = np.flatnonzero((messages.record_size > 0) & (messages.place > 0))
    rows = rows[has_records[of_message[messages.of_packet[rows]]]]
    rows = rows[prefixes.length[rows] == 0]
    if rows.size == 0:
        return prefixes
    body = np.clip(messages.record_size[rows] - _RECORD_HEAD, 0, RECORD_SIZE)
    heads = np.zeros((rows.size, _RECORD_HEAD), dtype=np.uint8)
    heads[:, 0], heads[:, 1], heads[:, 2] = 23, 3, 3
    heads[:, 3], heads[:, 4] = body >> 8, body & 255
    start, length = prefixes.start, prefixes.length
    start[rows] = prefixes.data.size + np.arange(rows.size) * _RECORD_HEAD
    length[rows] = np.minimum(flows.packets.payload_length[rows], _RECORD_HEAD)
    return Prefixes(np.concatenate([prefixes.data, heads.ravel()]), start, length)


def _add_fills(flows: FlowTable, template: IntArray, prefixes: Prefixes) -> Prefixes:
    """Fill the payloads of applications without template that analysers dissect all the same.

    Other datagrams begin with zeros, which no protocol's magic is.
    """
    fill = np.where(template < 0, choose_fills(flows)[0], -1)
    is_unknown = (template < 0) & (fill < 0) & (flows.protocol == UDP)
    start, length = prefixes.start, prefixes.length
    pieces, place = [prefixes.data], prefixes.data.size
    for byte in (-1, *np.unique(fill[fill >= 0]).tolist()):
        chosen = is_unknown if byte < 0 else fill == byte
        rows = np.flatnonzero(chosen[flows.flow_of_packet])
        sizes = flows.packets.payload_length[rows].astype(np.int64)
        length[rows] = np.minimum(sizes, _NEUTRAL_SIZE) if byte < 0 else sizes
        start[rows] = place
        pieces.append(np.full(length[rows].max(initial=0), max(byte, 0), dtype=np.uint8))
        place += pieces[-1].size
    return prefixes._replace(data=np.concatenate(pieces))
