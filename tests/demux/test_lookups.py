"""Names that agree: what a client asks DNS for, where it connects, and whom it asks for there."""

from __future__ import annotations

import dataclasses
import struct

import dpkt
import numpy as np
import pytest
import scapy.layers.dns as scapy_dns
from demux_actions import Action, dialogue, flow_table

from netsynth.demux import compile_flows
from netsynth.tables import UDP, FlowTable

S = 1_000_000_000
START_NS = 1_700_000_000 * S
SERVERS = {2: "203.0.113.7", 3: "203.0.113.9"}  # rows of the addresses


def join(tables: list[FlowTable], responders: list[int]) -> FlowTable:
    """Put flows of one client with several servers into one table, in the order given."""
    addresses = np.zeros((4, 16), dtype=np.uint8)
    addresses[:, 10:12] = 255
    addresses[:, 12:] = [[192, 0, 2, 1], [198, 51, 100, 2], [203, 0, 113, 7], [203, 0, 113, 9]]
    packets = {}
    for field in dataclasses.fields(tables[0].packets):
        name = field.name
        if name != "addresses":
            packets[name] = np.concatenate([getattr(t.packets, name) for t in tables])
    counts = np.concatenate([np.diff(t.offsets) for t in tables])
    of_packet = np.repeat(responders, counts)
    reverse = np.concatenate([t.reverse for t in tables])
    packets["src"] = np.where(reverse, of_packet, 0).astype(packets["src"].dtype)
    packets["dst"] = np.where(reverse, 0, of_packet).astype(packets["dst"].dtype)
    columns = {
        f.name: np.concatenate([getattr(t, f.name) for t in tables])
        for f in dataclasses.fields(FlowTable)
        if f.name not in ("packets", "offsets", "label_names")
    }
    columns["responder"] = np.array(responders, dtype=np.int32)
    return FlowTable(
        packets=dataclasses.replace(tables[0].packets, **packets, addresses=addresses),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
        **columns,
    )


def asked(size: int, answer: int, at_s: float, port: int) -> FlowTable:
    """Return a DNS exchange, the answer 20 ms after the query."""
    at_ns = START_NS + int(at_s * S)
    return flow_table(
        [[Action("", False, size), Action("", True, answer)]],
        protocol=UDP, port=53, client_port=port, times_ns=[[at_ns, at_ns + 20_000_000]],
    )  # fmt: skip


def connected(port: int, at_s: float, client_port: int, *sizes: int) -> FlowTable:
    actions = dialogue(*sizes)
    times = [START_NS + int(at_s * S) + 1_000_000 * k for k in range(len(actions))]
    return flow_table([actions], port=port, client_port=client_port, times_ns=[times])


def messages(flows: FlowTable) -> list[list[bytes]]:
    """Return the payloads of each flow."""
    made = compile_flows(flows, seed=5)
    found: list[list[bytes]] = [[] for _ in range(len(flows))]
    for row, flow in enumerate(made.flow.tolist()):
        start, length = int(made.prefix_start[row]), int(made.prefix_length[row])
        size = int(made.packets.payload_length[row])
        if size and not made.packets.option_bits[row] & 16:
            found[flow].append(made.prefix[start : start + length].tobytes().ljust(size, b"\0"))
    return found


@pytest.mark.parametrize("query", [30, 38, 47])
def test_answers_hold_the_server_that_is_connected_to_and_it_is_asked_for_by_name(
    query: int,
) -> None:
    flows = join(
        [
            asked(query, query + 32, 0, 50_000),
            asked(query + 5, query + 21, 0.01, 50_001),
            connected(80, 0.1, 40_000, 400, 900),
            connected(443, 0.2, 40_001, 517, 1400),
            connected(80, 30, 40_002, 400, 900),
        ],
        [1, 1, 2, 3, 2],
    )
    first, second, web, tls, again = messages(flows)
    names = []
    for (question, answer), server in ((first, 2), (second, 3)):
        said = scapy_dns.DNS(answer)
        assert next(r.rdata for r in said.an if r.type == 1) == SERVERS[server]
        names.append(scapy_dns.DNS(question).qd[0].qname.decode().rstrip("."))
    assert names[0] != names[1]
    for stream in (web, again):
        assert dpkt.http.Request(stream[0]).headers["host"] == names[0]
    assert server_name(tls[0]) == names[1]


def test_what_is_opened_before_the_answer_or_long_after_it_was_not_asked_for() -> None:
    for at_s in (0.01, 6.0):
        flows = join([asked(40, 72, 0, 50_000), connected(80, at_s, 40_000, 400, 900)], [1, 2])
        (_, answer), _ = messages(flows)
        records = scapy_dns.DNS(answer).an
        assert SERVERS[2] not in [record.rdata for record in records]


def test_a_server_keeps_its_name_and_a_client_its_agent() -> None:
    flows = join(
        [connected(80, k, 40_000 + k, 400, 900, 380, 700) for k in range(8)],
        [2, 3, 2, 3, 2, 3, 2, 3],
    )
    hosts: dict[int, set[str]] = {2: set(), 3: set()}
    agents, servers = set(), {2: set(), 3: set()}
    for (one, answer, two, *_), server in zip(messages(flows), flows.responder, strict=True):
        for request in (one, two):
            headers = dpkt.http.Request(request).headers
            hosts[int(server)].add(headers["host"])
            agents.add(headers["user-agent"])
        servers[int(server)].add(dpkt.http.Response(answer).headers["server"])
    assert [len(each) for each in (*hosts.values(), agents, *servers.values())] == [1] * 5
    assert hosts[2] != hosts[3]


def test_time_servers_tell_the_time() -> None:
    """RFC 5905: seconds since 1900 and 2**-32 of one; the answer repeats when it was asked."""
    times = [[START_NS + 250_000_000, START_NS + 500_000_000]]
    table = flow_table(
        [[Action("", False, 48), Action("", True, 48)]], protocol=UDP, port=123, times_ns=times
    )
    ((question, answer),) = messages(table)
    now = 1_700_000_000 + 2_208_988_800
    assert struct.unpack(">4Q", question[16:48]) == (0, 0, 0, now << 32 | 1 << 30)
    assert struct.unpack(">4Q", answer[16:48]) == (
        now << 32, now << 32 | 1 << 30, now << 32 | 1 << 31, now << 32 | 1 << 31
    )  # fmt: skip


def server_name(record: bytes) -> str:
    hello = dpkt.ssl.TLSRecord(record[: 5 + struct.unpack(">H", record[3:5])[0]]).data
    extensions = dict(dpkt.ssl.TLSHandshake(hello).data.extensions)
    return extensions[0][5:].decode()
