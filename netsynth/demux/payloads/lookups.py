"""Which name a server goes by: the one that a client asked DNS for before it connected.

An exchange of DNS serves the next connection that its client opens. The answer then holds that
server's address, and the connection, like others to the same server, asks for that name.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from netsynth.demux.hashing import hash_addresses
from netsynth.demux.messages import MessageTable
from netsynth.demux.payloads.dns import find_address, holds_address
from netsynth.demux.payloads.shape import CLIENT_COUNT, SERVER_COUNT
from netsynth.numbers import IntArray
from netsynth.tables import ACK, SYN, TCP, UDP, FlowTable

LOOKUP_NS = 5_000_000_000  # a connection this soon after a DNS answer is what was asked for
_QUIC = 443
_MOST_TRIED = 64  # connections after an answer that are looked at


class Lookups(NamedTuple):
    """What DNS says of the servers of F flows.

    Attributes:
        served: int64 [M], flow that an answer of DNS serves, -1 for none.
        variant: int64 [M], variant of each message's exchange, asking for the server's kind of
            address where it serves one.
        query: int64 [F], message that asked for the name of the flow's server, -1 for none.
    """

    served: IntArray
    variant: IntArray
    query: IntArray


def find_lookups(
    flows: FlowTable,
    messages: MessageTable,
    *,
    is_answer: NDArray[np.bool_],
    asked: IntArray,
    first_row: IntArray,
    variant: IntArray,
) -> Lookups:
    """Find what DNS answers of `flows` were asked for.

    Args:
        is_answer: bool [M], whether a message is an answer of a DNS server.
        asked: int64 [M], message that each answers, -1 for none.
        first_row: int64 [M], packet that each message begins with.
        variant: int64 [M], drawn for each message's exchange.
    """
    served = np.full(len(messages), -1, dtype=np.int64)
    variant, query = variant.copy(), np.full(len(flows), -1, dtype=np.int64)
    rows = np.flatnonzero(is_answer & (asked >= 0))
    if rows.size == 0:
        return Lookups(served, variant, query)
    first = flows.offsets[:-1]
    opens = (flows.protocol == TCP) & (flows.packets.tcp_flags[first] & (SYN | ACK) == SYN)
    opens |= (flows.protocol == UDP) & (flows.responder_port == _QUIC)
    start_ns = flows.packets.time_ns[first]
    opened = np.flatnonzero(opens)
    opened = opened[np.lexsort((start_ns[opened], flows.initiator[opened]))]
    clients, begins = np.unique(flows.initiator[opened], return_index=True)
    ends = np.append(begins, opened.size)[1:]
    where = {int(clients[k]): (int(begins[k]), int(ends[k])) for k in range(clients.size)}
    answered_ns = flows.packets.time_ns[first_row[rows]]
    for k in np.argsort(answered_ns, kind="stable").tolist():
        answer = int(rows[k])
        low, high = where.get(int(flows.initiator[messages.flow[answer]]), (0, 0))
        low += int(np.searchsorted(start_ns[opened[low:high]], answered_ns[k]))
        for flow in opened[low : min(high, low + _MOST_TRIED)].tolist():
            if start_ns[flow] - answered_ns[k] > LOOKUP_NS:
                break
            question = int(asked[answer])
            sizes = int(messages.size[answer]), int(messages.size[question])
            same = int(variant[question])
            same = same // 4 * 4 + (same % 4 & 2 if flows.ip_version[flow] == 4 else 1)
            if query[flow] >= 0 or not holds_address(*sizes, same):
                continue
            served[answer], query[flow] = flow, question
            variant[answer] = variant[question] = same
            break
    name_of = np.full(len(flows.packets.addresses), -1, dtype=np.int64)
    known = np.flatnonzero(query >= 0)[::-1]
    name_of[flows.responder[known]] = query[known]  # the first one lasts
    return Lookups(served, variant, np.where(query >= 0, query, name_of[flows.responder]))


def write_addresses(
    flows: FlowTable, served: IntArray, data: NDArray[np.uint8], start: IntArray, length: IntArray
) -> None:
    """Write the address of the server that is served into each answer, in place.

    Args:
        served: int64 [M], see `Lookups`.
        data: uint8 [P], which holds the heads of the messages at `start` and `length`, int64 [M].
    """
    for row in np.flatnonzero(served >= 0).tolist():
        head = data[start[row] : start[row] + length[row]]
        place, width = find_address(head.tobytes())
        if width:
            address = flows.packets.addresses[flows.responder[served[row]]]
            head[place : place + width] = address[16 - width :]


def name_hosts(
    flows: FlowTable, flow: IntArray, is_swapped: NDArray[np.bool_]
) -> tuple[IntArray, IntArray]:
    """Number the servers and clients of messages of the flows `flow` [M], the same for a host."""
    word = hash_addresses(flows.packets.addresses, 0)  # [A]
    server = np.where(is_swapped, flows.initiator, flows.responder)[flow]
    client = np.where(is_swapped, flows.responder, flows.initiator)[flow]
    return (
        (word[server] % np.uint64(SERVER_COUNT)).astype(np.int64),
        (word[client] % np.uint64(CLIENT_COUNT)).astype(np.int64),
    )
