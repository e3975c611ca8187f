"""Padding behind the options of SYNs: kept, repeated, or dropped; by hand, and as others read it.

References:
    RFC 9293 section 3.1: the end of the option list, and zeros up to the header's end.
"""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from demux_actions import Action, flow_table
from demux_reading import row_of, table_of
from demux_writing import write
from scapy.all import IP, TCP, IPv6, rdpcap

from netsynth.demux import CompiledPackets, compile_flows
from netsynth.demux.options import find_padding
from netsynth.tables import (
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    PADDING_BITS,
    RETRANSMIT,
)

ONE_WORD = 1 << PADDING_BITS
FULL = OPTION_MSS | OPTION_WINDOW_SCALE | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS
UNSCALED = OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS  # 4, 10 and 2 bytes
OFFER = Action("S", option_bits=FULL, mss=1460, window_scale=7)
ANSWER = Action("SA", True, option_bits=UNSCALED | ONE_WORD, mss=1460)
LAST = Action("A", option_bits=OPTION_TIMESTAMPS)


def compiled(*actions: Action, ip_version: int = 4) -> CompiledPackets:
    table = flow_table([list(actions)], ip_version=ip_version)
    return compile_flows(table, seed=1, payload="zero")


def option_bytes(result: CompiledPackets) -> list[int]:
    """Return the bytes of TCP options in each packet, by its lengths."""
    p = result.packets
    header = np.where(p.ip_version == 4, 40, 60)
    sizes: list[int] = (p.ip_length.astype(int) - header - p.payload_length).tolist()
    return sizes


@pytest.mark.parametrize("ip_version", [4, 6])
@pytest.mark.parametrize("words", [1, 2])
def test_padding_is_zeros_up_to_the_end_of_the_header(
    tmp_path: Path, ip_version: int, words: int
) -> None:
    """MSS, SACK permitted and timestamps take 16 bytes; scapy and dpkt read what is in the file."""
    answer = ANSWER._replace(option_bits=UNSCALED | words << PADDING_BITS)
    result = compiled(OFFER, answer, LAST, ip_version=ip_version)
    assert option_bytes(result) == [20, 16 + 4 * words, 12]
    assert result.packets.option_bits.tolist() == [FULL, UNSCALED | OPTION_SACK, OPTION_TIMESTAMPS]
    path = write(result, tmp_path / "padded.pcap")
    with path.open("rb") as file:
        frames = [dpkt.ethernet.Ethernet(frame) for _, frame in dpkt.pcap.Reader(file)]
    segment = frames[1].data.data
    assert segment.off * 4 == 36 + 4 * words
    assert segment.opts[-4 * words :] == bytes(4 * words)
    kinds = [kind for kind, _ in dpkt.tcp.parse_opts(segment.opts)]
    assert sorted(kind for kind in kinds if kind > 1) == [2, 4, 8]
    assert dict(dpkt.tcp.parse_opts(segment.opts))[2] == (1460).to_bytes(2, "big")
    for packet in rdpcap(str(path)):
        check_sums(packet)
    options = rdpcap(str(path))[1][TCP].options
    assert {name for name, _ in options} - {"NOP", "EOL"} == {"MSS", "SAckOK", "Timestamp"}
    assert dict(options)["MSS"] == 1460


def check_sums(packet: Any) -> None:
    """Add up the words of a packet's headers: all ones (RFC 1071 section 1)."""
    ip = packet[IP] if IP in packet else packet[IPv6]
    segment = bytes(ip.payload)
    pseudo = inet_pton(ip.src) + inet_pton(ip.dst) + struct.pack(">II", 6, len(segment))
    parts = [pseudo + segment] + ([bytes(ip)[:20]] if IP in packet else [])
    for part in parts:
        total = sum(struct.unpack(f">{(len(part) + 1) // 2}H", part + bytes(len(part) % 2)))
        while total >> 16:
            total = (total & 0xFFFF) + (total >> 16)
        assert total == 0xFFFF


def inet_pton(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


def test_a_repeated_syn_repeats_its_padding() -> None:
    """Whatever its own options were drawn as, like all that the first offers."""
    first = OFFER._replace(option_bits=FULL | 2 * ONE_WORD)
    again = [OFFER._replace(segment=RETRANSMIT), OFFER._replace(option_bits=0, segment=RETRANSMIT)]
    plain = ANSWER._replace(option_bits=OPTION_MSS, segment=RETRANSMIT)
    result = compiled(first, *again, ANSWER, plain, LAST)
    assert option_bytes(result) == [28, 28, 28, 20, 20, 12]
    bare = OFFER._replace(option_bits=FULL | ONE_WORD, segment=RETRANSMIT)
    assert option_bytes(compiled(OFFER, bare, ANSWER, LAST)) == [20, 20, 20, 12]


CHANGED: dict[str, tuple[list[Action], list[int]]] = {
    # 4 bytes are left of those of the SYN-ACK, which goes without padding then
    "the SYN does not offer them": (
        [Action("S", option_bits=OPTION_MSS, mss=1460), ANSWER, Action("A")],
        [4, 4, 0],
    ),
    "the SYN has none": ([Action("S"), ANSWER, Action("A")], [0, 4, 0]),
    "a scale is missing": (
        [OFFER._replace(option_bits=FULL | ONE_WORD, window_scale=255), ANSWER, LAST],
        [16, 20, 12],
    ),
    "its segments have no timestamps": (
        [
            OFFER._replace(option_bits=FULL | ONE_WORD),
            ANSWER,
            *[Action("A"), Action("PA", payload=9), Action("A", True)],
        ],
        [12, 8, 0, 0, 0],
    ),
    "its segments have timestamps": (
        [
            OFFER,
            Action("SA", True, option_bits=OPTION_MSS | ONE_WORD, mss=1460),
            *[LAST, LAST._replace(payload=9), LAST._replace(reverse=True)],
        ],
        [20, 20, 12, 12, 12],
    ),
    "its windows are scaled": (
        [
            OFFER._replace(window=64_000),
            ANSWER._replace(window=65_000),
            *[LAST._replace(window=500), LAST._replace(reverse=True, window=510)],
        ],
        [20, 20, 12, 12],
    ),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_syn_whose_options_change_loses_its_padding(name: str) -> None:
    """Its words would not be the ones that its stack puts behind other options."""
    actions, expected = CHANGED[name]
    result = compiled(*actions)
    assert option_bytes(result) == expected


def test_a_syn_with_data_has_no_padding() -> None:
    """A packet's prefix is its payload's then; one that repeats it without data has none either."""
    first = OFFER._replace(option_bits=FULL | ONE_WORD, payload=30)
    again = OFFER._replace(option_bits=FULL | ONE_WORD, segment=RETRANSMIT)
    result = compiled(first, again, ANSWER, LAST)
    assert option_bytes(result) == [20, 20, 20, 12]
    assert result.packets.payload_length.tolist() == [30, 0, 0, 0]


def test_only_syns_have_padding() -> None:
    """A segment that was none, or is none any more, has 12 bytes or nothing."""
    padded = OPTION_TIMESTAMPS | 3 * ONE_WORD
    later = [LAST._replace(option_bits=padded), Action("RA", True, option_bits=2 * ONE_WORD)]
    assert option_bytes(compiled(OFFER, ANSWER, *later)) == [20, 20, 12, 0]


def test_padding_is_found_in_syns_alone() -> None:
    """By columns: a SYN with 2 words, an ACK with blocks, a datagram and an ACK with nonsense, and
    a plain SYN."""
    addresses: dict[bytes, int] = {}
    ends = {"src": row_of(addresses, "10.0.0.1"), "dst": row_of(addresses, "10.0.0.2")}
    bits = [OPTION_MSS | 2 * ONE_WORD, 8 | OPTION_SACK, 2 * ONE_WORD, 8 | ONE_WORD, FULL]
    columns = zip(bits, [2, 16, 2, 16, 2], [6, 6, 17, 6, 6], strict=True)
    names = ("option_bits", "tcp_flags", "protocol")
    packets = table_of(
        [{**ends, **dict(zip(names, row, strict=True))} for row in columns], addresses
    )
    found = find_padding(packets)
    assert found.rows.tolist() == [0]
    assert found.lengths.tolist() == [8]
    assert found.data.tolist() == [0] * 8
    expected = [OPTION_MSS | OPTION_SACK, 8 | OPTION_SACK, 0, 8, FULL]
    assert packets.option_bits.tolist() == expected


def test_a_syn_ack_that_takes_the_syn_s_options_takes_no_padding() -> None:
    """It has no MSS though its SYN has, and nobody else answers: the options become those of the
    SYN, 16 bytes. The SYN keeps its own, and the word behind them."""
    offer = Action("S", option_bits=UNSCALED | ONE_WORD, mss=1460)
    data = Action("PA", payload=100, option_bits=OPTION_TIMESTAMPS)
    result = compiled(offer, Action("SA", True), LAST, data)
    assert result.repairs["opening_completed"] == 1
    assert option_bytes(result) == [20, 16, 12, 12]
    assert result.packets.mss[:2].tolist() == [1460, 1460]
