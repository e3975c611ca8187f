"""First payloads: sizes kept, ids matching, read by dpkt and scapy, and not malformed to tshark."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import dpkt
import numpy as np
import pytest
import scapy.layers.dns as scapy_dns
import scapy.layers.snmp as scapy_snmp
from demux_actions import HANDSHAKE, Action, dialogue, flow_table
from demux_reading import read_with_dpkt
from demux_writing import malformed, write
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.capture import CaptureWriter
from netsynth.demux import CompiledPackets, assemble_flows, compile_flows
from netsynth.demux.payloads.registry import all_templates
from netsynth.demux.payloads.shape import Shape
from netsynth.tables import ICMP, ICMPV6, RETRANSMIT, TCP, UDP, FlowTable

ROOT = Path(__file__).parents[2]
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def payloads(compiled: CompiledPackets) -> list[bytes]:
    """Return the payload of each packet, zeros after the prefix."""
    return [
        compiled.prefix[start : start + length].tobytes().ljust(int(size), b"\0")
        for start, length, size in zip(
            compiled.prefix_start,
            compiled.prefix_length,
            compiled.packets.payload_length,
            strict=True,
        )
    ]


def datagrams(port: int, *sizes: int, seed: int = 1, flows: int = 1) -> list[bytes]:
    """Return payloads of a UDP exchange whose datagrams alternate between the sides."""
    actions = [Action("", turn % 2 == 1, size) for turn, size in enumerate(sizes)]
    table = flow_table([actions] * flows, protocol=UDP, port=port)
    return payloads(compile_flows(table, seed=seed))


def streams(port: int, *sizes: int, seed: int = 1, flows: int = 1) -> Iterator[list[bytes]]:
    """Yield the messages of each TCP connection whose sides send `sizes` in turn."""
    table = flow_table([dialogue(*sizes)] * flows, port=port)
    made = compile_flows(table, seed=seed)
    data = payloads(made)
    count = len(data) // flows
    for flow in range(flows):
        joined = b"".join(data[flow * count : (flow + 1) * count])
        messages, start = [], 0
        for size in sizes:
            messages.append(joined[start : start + size])
            start += size
        yield messages


@pytest.mark.parametrize("name", range(len(all_templates())))
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_templates_build_whatever_the_shape(name: int, data: st.DataObject) -> None:
    size = data.draw(st.one_of(st.integers(1, 700), st.sampled_from([1448, 2501, 9000, 65_535])))
    first = data.draw(st.integers(1, size))
    shape = Shape(
        size=size,
        first_size=first,
        lead_size=data.draw(st.sampled_from([first, size])),
        asked_size=data.draw(st.sampled_from([0, 12, size, max(size - 4, 0), 600])),
        is_client=data.draw(st.booleans()),
        turn=data.draw(st.integers(0, 7)),
        is_opening=data.draw(st.booleans()),
        variant=data.draw(st.integers(0, 7)),
        icmp=data.draw(st.sampled_from([130, 131, 133, 134, 135, 136, 137, 143])) << 8,
    )
    head = all_templates()[name].build(shape)
    assert isinstance(head, bytes)
    assert head == all_templates()[name].build(shape)


@pytest.mark.parametrize("query", [29, 45, 60, 120, 200])
@pytest.mark.parametrize("more", [0, 4, 16, 27, 28, 44, 300])
def test_dns_answers_repeat_id_and_question_and_fill_their_size(query: int, more: int) -> None:
    data = datagrams(53, query, query + more, flows=20)
    for asked, answered in zip(data[::2], data[1::2], strict=True):
        question, answer = scapy_dns.DNS(asked), scapy_dns.DNS(answered)
        assert (len(asked), len(answered)) == (query, query + more)
        assert (question.qr, answer.qr) == (0, 1)
        assert question.id == answer.id
        assert question.qd[0].qname == answer.qd[0].qname
        assert question.qd[0].qtype == answer.qd[0].qtype
        assert re.search(rb"(example|example\.(com|net|org)|test)\.$", question.qd[0].qname)
        dpkt.dns.DNS(asked)
        assert len(dpkt.dns.DNS(answered).an) == answer.ancount
    assert len({packet[:2] for packet in data}) > 15


def test_dns_answers_match_the_query_they_answer_when_two_are_on_their_way() -> None:
    actions = [Action("", False, 40), Action("", False, 44)]
    actions += [Action("", True, 56), Action("", True, 72)]
    data = payloads(compile_flows(flow_table([actions], protocol=UDP, port=53), seed=2))
    first, second, one, two = (scapy_dns.DNS(each) for each in data)
    assert (one.id, two.id) == (first.id, second.id)
    assert (one.qd[0].qname, two.qd[0].qname) == (first.qd[0].qname, second.qd[0].qname)
    assert first.id != second.id


@pytest.mark.parametrize("sizes", [(80, 200), (500, 40_000), (3000, 150), (130, 90, 200, 5000)])
def test_http_messages_have_the_length_they_claim(sizes: tuple[int, ...]) -> None:
    for messages in streams(80, *sizes, flows=10):
        for turn, message in enumerate(messages):
            parser = dpkt.http.Response if turn % 2 else dpkt.http.Request
            parsed = parser(message)
            _, _, body = message.partition(b"\r\n\r\n")
            assert int(parsed.headers.get("content-length", 0)) == len(body)
            if turn % 2 == 0:
                assert parsed.headers["host"].rsplit(".", 1)[-1] in ("com", "net", "org")
                assert parsed.version == "1.1"


@pytest.mark.parametrize("sizes", [(200, 1500, 80, 3000), (517, 4200, 126, 40_000, 31, 31)])
def test_tls_streams_are_whole_records(sizes: tuple[int, ...]) -> None:
    for messages in streams(443, *sizes, flows=5):
        for side in range(2):
            stream = b"".join(messages[side::2])
            records, used = dpkt.ssl.tls_multi_factory(stream)
            assert used == len(stream)
            assert all(len(record.data) <= 16_384 for record in records)
            assert records[0].type == 22
            hello = dpkt.ssl.TLSHandshake(records[0].data).data
            assert isinstance(hello, dpkt.ssl.TLSServerHello if side else dpkt.ssl.TLSClientHello)
            assert [record.type for record in records[1:2]] == ([20] if len(records) > 1 else [])
            assert {record.type for record in records[2:]} <= {23}


@pytest.mark.parametrize("size", [1, 4, 5, 6])
def test_no_tls_record_begins_where_its_head_has_no_room(size: int) -> None:
    """Eleven segments and 456 bytes are 16,384, as long as our records are at most; a record may
    hold 2**14 bytes beside its head of 5 (RFC 8446 section 5.1), so the last bytes fit in."""
    parts = [Action("A", True, 1448)] * 11 + [Action("A", True, 456), Action("PA", True, size)]
    actions = [*HANDSHAKE, Action("PA", payload=300), *parts, Action("PA", payload=90)]
    result = compile_flows(flow_table([actions], port=443), seed=1)
    assert result.packets.payload_length[-2] == size
    data = b"".join(payloads(result)[4:-1])
    records, used = dpkt.ssl.tls_multi_factory(data)
    assert used == 16_384 + size
    assert all(len(record.data) <= 16_384 for record in records)


def test_hellos_differ_between_connections_and_share_their_session() -> None:
    hellos = [(m[0], m[1]) for m in streams(443, 300, 200, flows=30)]
    assert len({client[11:43] for client, _ in hellos}) == 30
    assert all(client[44:75] == server[44:75] for client, server in hellos)


@pytest.mark.parametrize(
    ("port", "sizes", "starts"),
    [
        (22, (21, 41, 1200, 1000), (b"SSH-2.0-", b"SSH-2.0-", b"\0\0\4\x9c", b"\0\0\3\xd4")),
        (21, (12, 40), (b"USER ", b"220 ")),
        (25, (30, 60, 30, 20), (b"EHLO ", b"220 ", b"MAIL FROM:<", b"250 ")),
        (110, (10, 20), (b"USER", b"+OK ")),
        (143, (20, 20), (b"a0 CAPABILITY", b"* OK ")),
        (6379, (40, 5, 14, 60), (b"*", b"+OK\r\n", b"*1\r\n$4\r\nPING\r\n", b"$5")),
        (445, (200, 300), (b"\0\0\0\xc4\xfeSMB", b"\0\0\1\x28\xfeSMB")),
    ],
)
def test_other_streams_begin_as_their_protocol_does(
    port: int, sizes: tuple[int, ...], starts: tuple[bytes, ...]
) -> None:
    for messages in streams(port, *sizes, flows=5):
        for message, size, start in zip(messages, sizes, starts, strict=True):
            assert message.startswith(start)
            assert len(message) == size


@pytest.mark.parametrize("port", [21, 25, 110, 143])
def test_lines_end(port: int) -> None:
    for messages in streams(port, 30, 60, 12, 200, flows=3):
        assert all(message.endswith(b"\r\n") for message in messages)


@pytest.mark.parametrize("size", [4, 5, 6, 14, 15, 16, 17, 105, 106, 107, 1005, 1006, 5000])
def test_redis_replies_are_whole(size: int) -> None:
    for _, reply in streams(6379, 14, size, flows=5):
        assert reply.endswith(b"\r\n")
        if reply.startswith(b"$"):
            head, _, rest = reply.partition(b"\r\n")
            assert len(rest) == int(head[1:]) + 2


@pytest.mark.parametrize("size", [14, 20, 37, 142, 143])
def test_mqtt_lengths_are_those_of_the_packets(size: int) -> None:
    for messages in streams(1883, size, 4, 60, 2, 200, 20_000, flows=5):
        assert [message[0] >> 4 for message in messages] == [1, 2, 3, 13, 3, 3]
        for message in messages:
            left, width = 0, 0
            while True:
                byte = message[1 + width]
                left |= (byte & 127) << (7 * width)
                width += 1
                if byte < 128:
                    break
            assert left == len(message) - 1 - width


def test_modbus_responses_carry_the_transaction_of_their_request() -> None:
    for messages in streams(502, 12, 29, 21, 12, flows=5):
        transactions = [struct.unpack(">HHH", message[:6]) for message in messages]
        assert [length for _, _, length in transactions] == [len(m) - 6 for m in messages]
        assert transactions[0][0] == transactions[1][0] != transactions[2][0]
        assert transactions[2][0] == transactions[3][0]
        assert [message[7] for message in messages] == [1, 1, 15, 15]


def test_control_datagrams_parse() -> None:
    request, response = (scapy_snmp.SNMP(each) for each in datagrams(161, 90, 120))
    assert request.PDU.id.val == response.PDU.id.val
    ask, answer = (dpkt.ntp.NTP(each) for each in datagrams(123, 48, 48))
    assert (ask.mode, answer.mode) == (3, 4)
    discover, offer = (dpkt.dhcp.DHCP(each) for each in datagrams(67, 300, 320))
    assert (discover.op, offer.op) == (1, 2)
    assert discover.xid == offer.xid
    assert discover.chaddr == offer.chaddr
    assert dict(discover.opts)[53] == b"\1"
    bind, success = datagrams(3478, 60, 100)
    assert bind[8:20] == success[8:20]


def test_ssdp_is_lines_as_long_as_the_datagram() -> None:
    for data in datagrams(1900, 120, 330, flows=10):
        assert data.endswith(b"\r\n\r\n")
        assert data.startswith((b"M-SEARCH", b"NOTIFY", b"HTTP/1.1 200"))


def test_retransmissions_repeat_bytes_and_other_segments_go_on() -> None:
    actions = [*HANDSHAKE, Action("PA", payload=40), Action("PA", payload=70)]
    actions += [Action("PA", payload=40, segment=RETRANSMIT)]
    data = payloads(compile_flows(flow_table([actions], port=80), seed=1))
    assert data[3] == data[5]
    assert dpkt.http.Request(data[3] + data[4]).method == "GET"


def test_unknown_datagrams_begin_with_zeros() -> None:
    table = flow_table([[Action("", False, 3), Action("", True, 90)]], protocol=UDP, port=47_111)
    made = compile_flows(table, seed=1)
    assert made.prefix_length.tolist() == [3, 4]
    assert not any(b"".join(payloads(made)))


@pytest.mark.parametrize("payload", ["zero", "random", "none"])
def test_other_payloads_are_left_to_the_writer(payload: str) -> None:
    made = compile_flows(flow_table([dialogue(100, 100)]), seed=1, payload=payload)
    assert not made.prefix_length.any()


def test_icmp_errors_quote_the_packet_they_answer() -> None:
    ask = [Action("", False, 60), Action("", True, 28, icmp=3 << 8 | 3)]
    table = flow_table([ask], protocol=UDP, port=33_434)
    table.packets.protocol[1] = ICMP
    table.packets.src_port[1] = table.packets.dst_port[1] = 0
    result = compile_flows(assemble_flows(table.packets), seed=1)
    quote = payloads(result)[1]
    quoted = dpkt.ip.IP(quote)
    p = result.packets
    assert (quoted.src, quoted.dst) == (bytes(p.addresses[0][12:]), bytes(p.addresses[1][12:]))
    assert (quoted.id, quoted.len) == (int(p.ip_id[0]), int(p.ip_length[0]))
    assert (quoted.udp.sport, quoted.udp.dport) == (int(p.src_port[0]), 33_434)
    assert dpkt.in_cksum(quote[:20]) == 0


@pytest.mark.parametrize("asked", [True, False], ids=["quoted", "made up"])
def test_nothing_follows_a_quote(asked: bool) -> None:
    """An error of 300 bytes about a datagram of 10: the rest would be taken for extensions."""
    actions = [Action("", False, 10), Action("", True, 300, icmp=3 << 8 | 1)]
    table = flow_table([actions if asked else actions[1:]], protocol=UDP, port=33_434)
    table.packets.protocol[-1] = ICMP
    table.packets.src_port[-1] = table.packets.dst_port[-1] = 0
    result = compile_flows(assemble_flows(table.packets), seed=1)
    quote = payloads(result)[-1]
    assert len(quote) == 300
    assert [dpkt.ip.IP(quote).len, int.from_bytes(quote[24:26], "big")] == [300, 280]


@needs_tshark
def test_each_packet_of_an_icmp6_flow_has_the_body_of_its_type(tmp_path: Path) -> None:
    """A router solicitation, listener reports and a neighbour solicitation of one pair."""
    kinds = ((133, 8), (143, 20), (135, 24), (143, 25))
    flow = [Action("", False, size, icmp=kind << 8) for kind, size in kinds]
    table = flow_table([flow, flow[1:]], protocol=ICMPV6, ip_version=6)
    assert malformed(write(compile_flows(table, seed=1), tmp_path / "mixed.pcap")) == []


def test_a_quoted_echo_has_a_right_checksum() -> None:
    """Of an echo with 4 bytes, an error of 32 quotes everything."""
    ask = [Action("", False, 4, icmp=8 << 8), Action("", True, 32, icmp=3 << 8 | 1)]
    result = compile_flows(assemble_flows(flow_table([ask], protocol=ICMP).packets), seed=1)
    quote = payloads(result)[1]
    assert len(quote) == 32
    assert dpkt.in_cksum(quote[:20]) == 0
    assert dpkt.in_cksum(quote[20:]) == 0


def test_names_and_text_avoid_the_capture() -> None:
    office = assemble_flows(read_with_dpkt(ROOT / "sample_pcaps" / "office.pcap", limit=5000))
    data = b"".join(payloads(compile_flows(office, seed=1)))
    hosts = set(re.findall(rb"Host: ([^\r]*)\r\n", data))
    assert hosts
    assert all(host.endswith((b"example.com", b"example.net", b"example.org")) for host in hosts)


@needs_tshark
def test_tshark_finds_nothing_malformed_in_a_recompiled_capture(tmp_path: Path) -> None:
    office = assemble_flows(read_with_dpkt(ROOT / "sample_pcaps" / "office.pcap", limit=25_000))
    assert malformed(write(compile_flows(office, seed=1), tmp_path / "office.pcap")) == []


STREAM_PORTS = (
    80,
    443,
    22,
    25,
    21,
    110,
    143,
    1883,
    502,
    44818,
    102,
    6379,
    445,
    135,
    1433,
    53,
    2404,
)
DATAGRAM_PORTS = (
    53,
    5353,
    5355,
    137,
    138,
    1900,
    67,
    547,
    123,
    161,
    514,
    500,
    69,
    443,
    5683,
    520,
    3478,
)


def draw_sizes(rng: np.random.Generator, most: int) -> list[int]:
    """Draw sizes of messages, one byte to thousands, short ones most often."""
    count = int(rng.integers(1, 9))
    drawn = rng.choice([90, 700, most], size=count, p=[0.6, 0.28, 0.12])
    return [int(size) for size in rng.integers(1, drawn + 1)]


def every_protocol(*, midway: bool) -> Iterator[FlowTable]:
    """Yield flows of each template in many sizes; where `midway`, their beginnings are missing."""
    rng = np.random.default_rng(7)
    for number, port in enumerate((*STREAM_PORTS, *DATAGRAM_PORTS)):
        is_stream = number < len(STREAM_PORTS)
        flows = [
            dialogue(*draw_sizes(rng, 5000))
            if is_stream
            else [Action("", k % 2 == 1, s) for k, s in enumerate(draw_sizes(rng, 1400))]
            for _ in range(40)
        ]
        if midway:
            flows = [flow[int(rng.integers(max(len(flow) - 2, 1))) :] for flow in flows]
        yield flow_table(
            flows,
            port=port,
            protocol=TCP if is_stream else UDP,
            client_port=49_000 + 40 * number,  # no analyser remembers a port of the ones before
            start_ns=number * 10**12,
        )


@needs_tshark
@pytest.mark.parametrize("midway", [False, True])
def test_tshark_finds_nothing_malformed_in_any_template(tmp_path: Path, midway: bool) -> None:
    with CaptureWriter(tmp_path / "all.pcap") as writer:
        for number, flows in enumerate(every_protocol(midway=midway)):
            made = compile_flows(flows, seed=number)
            writer.write(
                made.packets,
                prefix=made.prefix,
                prefix_start=made.prefix_start,
                prefix_length=made.prefix_length,
            )
    assert malformed(tmp_path / "all.pcap") == []


@needs_tshark
def test_tshark_finds_nothing_malformed_in_neighbour_discovery(tmp_path: Path) -> None:
    sizes = {133: (0, 8), 134: (8, 24, 48), 135: (16, 24), 136: (16, 24), 137: (32, 40)}
    sizes |= {130: (16,), 131: (16,), 132: (16,), 143: (20, 40), 128: (56,), 1: (48, 60)}
    flows = [[Action("", False, size, icmp=kind << 8)] for kind in sizes for size in sizes[kind]]
    table = flow_table(flows, protocol=ICMPV6, ip_version=6)
    path = write(compile_flows(table, seed=1), tmp_path / "icmp6.pcap")
    assert malformed(path) == []
    command = ["tshark", "-r", str(path), "-T", "fields", "-e", "icmpv6.checksum.status"]
    status = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(status) == {"1"}


def test_igmp_reports_have_a_valid_checksum() -> None:
    sizes = (8, 16, 32)
    flows = [[Action("", False, size)] for size in sizes]
    flows.append([Action("", False, size) for size in sizes])  # hosts change versions midway
    table = flow_table(flows, protocol=2)
    made = compile_flows(table, seed=1)
    for data, size in zip(payloads(made), [*sizes, *sizes], strict=True):
        assert dpkt.in_cksum(data) == 0
        if size > 8:  # RFC 3376 section 4.2: type, reserved, number of records of 8 bytes each
            assert (data[0], data[4:6], data[6:8]) == (0x22, b"\0\0", bytes([0, size // 8 - 1]))
        else:
            assert data[0] == 0x16
    assert np.array_equal(made.packets.ip_length, [28, 36, 52] * 2)
