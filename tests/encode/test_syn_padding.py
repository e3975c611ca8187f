"""Padding behind the options of SYNs, and acknowledgements with blocks, through the codec."""

import struct
from pathlib import Path
from typing import Any

import dpkt
import numpy as np
import pytest
from encode_flows import make_flows, office_flows
from scapy.all import IP, TCP, Ether, IPv6, Raw, rdpcap, wrpcap

from netsynth.capture import CaptureWriter, read_capture
from netsynth.demux import assemble_flows, compile_flows
from netsynth.encode import EncodeConfig, fit_codec
from netsynth.encode.columns import flow_columns
from netsynth.encode.records import kind_rows
from netsynth.tables import (
    ACK,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    SYN,
    FlowTable,
    PacketTable,
)
from netsynth.tables import (
    TCP as TCP_NUMBER,
)

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
STAMP = ("Timestamp", (1000, 0))
LINUX = [("MSS", 1460), ("SAckOK", b""), STAMP, ("NOP", None), ("WScale", 7)]
WINDOWS = [("MSS", 1460), ("NOP", None), ("WScale", 8), ("NOP", None), ("NOP", None)]
WINDOWS += [("SAckOK", b"")]
# 4 + 1 + 1 + 10 + 2 bytes, and 2 up to the end of the fifth word: a router's stack
PADDED = [("MSS", 1460), ("NOP", None), ("NOP", None), STAMP, ("SAckOK", b""), ("EOL", None)]
PADDED += [("EOL", None)]
MACOS = [("MSS", 1460), ("NOP", None), ("WScale", 6), ("NOP", None), ("NOP", None), STAMP]
MACOS += [("SAckOK", b""), ("EOL", None), ("EOL", None)]
UNSCALED = OPTION_MSS | OPTION_SACK_PERMITTED | OPTION_TIMESTAMPS
FULL = UNSCALED | OPTION_WINDOW_SCALE


def frames(syn: list[Any], answer: list[Any], *, count: int = 24, version: int = 4) -> list[Any]:
    """Connections of a request and its answer; 10 ms from packet to packet, 1 s between flows."""
    made = []
    stamped = [("NOP", None), ("NOP", None), STAMP] if STAMP in syn and STAMP in answer else []
    ends = ("10.0.0.1", "10.0.0.2") if version == 4 else ("2001:db8::1", "2001:db8::2")
    layer = IP if version == 4 else IPv6
    for flow in range(count):
        turns = [
            (0, "S", 100, 0, syn, b""), (1, "SA", 500, 101, answer, b""),
            (0, "A", 101, 501, stamped, b""), (0, "PA", 101, 501, stamped, b"x" * 50),
            (1, "PA", 501, 151, stamped, b"y" * 900), (0, "A", 151, 1401, stamped, b""),
        ]  # fmt: skip
        for turn, (side, flags, seq, ack, options, data) in enumerate(turns):
            ports = (40_000 + flow, 80)[:: 1 - 2 * side]
            segment = TCP(
                sport=ports[0], dport=ports[1], flags=flags, seq=seq, ack=ack, options=options
            )
            header = layer(src=ends[side], dst=ends[1 - side])
            packet = ETHER / header / segment / Raw(data)
            packet.time = 1_700_000_000 + flow + turn * 0.01
            made.append(packet)
    return made


def read(path: Path, made: list[Any]) -> PacketTable:
    wrpcap(str(path), made)
    return read_capture(path)[0]


def option_bytes(packets: PacketTable) -> list[int]:
    """Bytes of TCP options in each packet, by its lengths."""
    base = np.where(packets.ip_version == 4, 40, 60)
    sizes: list[int] = (packets.ip_length.astype(int) - base - packets.payload_length).tolist()
    return sizes


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize(
    ("syn", "answer", "sizes"),
    [(LINUX, PADDED, [20, 20]), (MACOS, LINUX, [24, 20]), (WINDOWS, WINDOWS, [12, 12])],
    ids=["a padded SYN-ACK", "a padded SYN", "none"],
)
def test_headers_of_syns_come_back_as_long_as_they_were(
    tmp_path: Path, version: int, syn: list[Any], answer: list[Any], sizes: list[int]
) -> None:
    """From file to file; the new one as scapy and dpkt read it."""
    packets = read(tmp_path / "real.pcap", frames(syn, answer, version=version))
    later = [12 * (STAMP in syn)] * 4
    assert option_bytes(packets)[:6] == sizes + later, "as built"
    flows = assemble_flows(packets)
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (trace,) = codec.encode(flows)
    decoded = codec.decode(trace, rng=np.random.default_rng(0))
    compiled = compile_flows(decoded, seed=0)
    assert not any(compiled.repairs.values())
    path = tmp_path / "made.pcap"
    with CaptureWriter(path) as writer:
        writer.write(
            compiled.packets,
            prefix=compiled.prefix,
            prefix_start=compiled.prefix_start,
            prefix_length=compiled.prefix_length,
        )
    again = read_capture(path)[0]
    assert option_bytes(again) == option_bytes(packets)
    for name in ("ip_length", "wire_length", "tcp_flags", "mss", "window_scale", "option_bits"):
        assert (getattr(again, name) == getattr(packets, name)).all(), name
    assert not again.checksums.any()
    assert len(rdpcap(str(path))) == len(packets)
    check_segments(path, syn, answer)


def check_segments(path: Path, syn: list[Any], answer: list[Any]) -> None:
    """Compare options, data offsets and checksums in a file to what was built."""
    names = {2: "MSS", 3: "WScale", 4: "SAckOK", 8: "Timestamp"}
    kept = [packet[TCP] for packet in rdpcap(str(path))]
    with path.open("rb") as file:
        for row, (_, frame) in enumerate(dpkt.pcap.Reader(file)):
            ip = dpkt.ethernet.Ethernet(frame).data
            segment, built = ip.data, (syn, answer)[row % 6] if row % 6 < 2 else None
            whole = bytes(segment)
            pseudo = ip.src + ip.dst + struct.pack(">II", 6, len(whole))
            words = pseudo + whole + bytes(len(whole) % 2)
            total = sum(struct.unpack(f">{len(words) // 2}H", words))
            assert total % 0xFFFF == 0, "RFC 1071: the words add up to all ones"
            assert len(whole) == segment.off * 4 + (0, 0, 0, 50, 900, 0)[row % 6]
            if built is None:
                continue
            expected = {name for name, _ in built} - {"NOP", "EOL"}
            assert {name for name, _ in kept[row].options} - {"NOP", "EOL"} == expected
            found = [kind for kind, _ in dpkt.tcp.parse_opts(segment.opts) if kind > 1]
            assert {names[kind] for kind in found} == expected
            assert len(found) == len(expected), "none twice"
            assert dict(kept[row].options)["MSS"] == 1460
            assert segment.off * 4 == 20 + len(segment.opts) == kept[row].dataofs * 4


@pytest.mark.parametrize(
    ("options", "bits", "words"),
    [
        (LINUX, FULL, 0),
        (WINDOWS, 7, 0),
        (PADDED, UNSCALED, 1),
        (MACOS, FULL, 1),
        ([("MSS", 1460)], 1, 0),
        ([], 0, 0),
        ([("MSS", 1460), *[("EOL", None)] * 8], 1, 2),
        ([("MSS", 1460), *[("EOL", None)] * 12], 1, 0),
    ],
    ids=["Linux", "Windows", "router", "macOS", "an MSS", "none", "two words", "three words"],
)
@pytest.mark.parametrize("version", [4, 6])
def test_words_of_padding_stand_above_the_bits(
    tmp_path: Path, options: list[Any], bits: int, words: int, version: int
) -> None:
    """Bits 5 and up; three words and more are taken for something else."""
    made = frames(options, options, count=1, version=version)
    columns = flow_columns(assemble_flows(read(tmp_path / "one.pcap", made)))
    assert columns.opening[0, :, 0].tolist() == [bits + 32 * words] * 2


def test_padding_is_told_of_syns_alone(tmp_path: Path) -> None:
    """A flow seen midway has none, though its header could be shorter by three words."""
    packets = read(tmp_path / "midway.pcap", frames(LINUX, PADDED, count=1)[2:])
    assert option_bytes(packets) == [12] * 4
    packets.option_bits[:] = 0
    assert flow_columns(assemble_flows(packets)).opening[0, :, 0].tolist() == [0, 0]


def test_data_in_a_syn_are_no_padding(tmp_path: Path) -> None:
    """RFC 9293 section 3.4: a SYN may carry data."""
    made = frames(LINUX, PADDED, count=1)[:2]
    made[0] = made[0] / Raw(b"early")
    flows = assemble_flows(read(tmp_path / "early.pcap", made))
    assert flows.packets.payload_length.tolist() == [5, 0]
    assert flow_columns(flows).opening[0, :, 0].tolist() == [FULL, UNSCALED + 32]


def flows_with_blocks() -> FlowTable:
    """20 connections whose server acknowledges twice, the second time with blocks in odd ones; and
    20 of UDP, where the bit means nothing."""
    packets = [[(i * 100 + k, int(k in (1, 3, 4)), 9 * (k == 2)) for k in range(5)]
               for i in range(20)]  # fmt: skip
    others = [[(5000 + i * 100, 0, 9), (5001 + i * 100, 1, 9)] for i in range(20)]
    rows = [{"protocol": TCP_NUMBER, "initiator_port": 50_000 + i} for i in range(20)]
    rows += [{"initiator_port": 51_000 + i, "responder_port": 53} for i in range(20)]
    flows = make_flows(rows, packets + others)
    offer = OPTION_MSS | OPTION_SACK_PERMITTED
    flows.packets.tcp_flags[:100] = [SYN, SYN | ACK, ACK, ACK, ACK] * 20
    flows.packets.option_bits[:100] = [offer, offer, 0, 0, 0, offer, offer, 0, 0, OPTION_SACK] * 10
    flows.packets.option_bits[100] = OPTION_SACK
    return flows


def test_an_acknowledgement_with_blocks_is_a_kind_of_its_own() -> None:
    flows = flows_with_blocks()
    kinds = kind_rows(flows, flow_columns(flows))
    assert kinds.shape == (140, 10)
    plain, telling = kinds[4], kinds[9]
    assert plain.tolist() != telling.tolist()
    assert plain[:9].tolist() == telling[:9].tolist(), "alike but for the last column"
    assert (plain[9], telling[9]) == (0, 1)
    assert np.flatnonzero(kinds[:, 9]).tolist() == list(range(9, 100, 10)), "of TCP alone"


def test_decoded_acknowledgements_ask_for_blocks_where_there_were_some() -> None:
    flows = flows_with_blocks()
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (trace,) = codec.encode(flows)
    made = codec.decode(trace, rng=np.random.default_rng(0)).packets.option_bits
    assert made[:100].tolist() == flows.packets.option_bits[:100].tolist()
    assert not made[100:].any()


def test_blocks_beside_timestamps_of_real_stacks_come_back() -> None:
    """Of the office capture; those with timestamps have both bits."""
    flows = office_flows()
    told = flows.packets.option_bits & OPTION_SACK
    both = OPTION_SACK | OPTION_TIMESTAMPS
    assert np.count_nonzero(flows.packets.option_bits == both) > 20
    codec = fit_codec([flows], config=EncodeConfig(), seed=0)
    (trace,) = codec.encode(flows)
    made = codec.decode(trace, rng=np.random.default_rng(0)).packets.option_bits
    assert (made & OPTION_SACK == told).all()
    assert (made[told > 0] == flows.packets.option_bits[told > 0]).all()
