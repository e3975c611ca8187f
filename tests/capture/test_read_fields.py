"""Every column against dpkt, tshark and scapy."""

from pathlib import Path

import numpy as np
import pytest
from capture_files import pcap, save
from capture_oracles import (
    NAMES,
    captures,
    dpkt_rows,
    needs_tshark,
    rows_of,
    tshark_fields,
)
from scapy.all import (
    ICMP,
    IP,
    SCTP,
    TCP,
    UDP,
    Dot1Q,
    Ether,
    ICMPv6EchoRequest,
    IPOption_RR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    Raw,
    SCTPChunkCookieAck,
)

from netsynth.capture import read_capture
from netsynth.tables import (
    CHECKSUM_IP_BAD,
    CHECKSUM_L4_BAD,
    CHECKSUM_L4_UNKNOWN,
    IP_DF,
    IP_FRAGMENT,
    IP_MF,
    NO_WINDOW_SCALE,
    PacketTable,
)

ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")
V4 = IP(src="10.1.2.3", dst="192.0.2.9")
V6 = IPv6(src="2001:db8::1", dst="2001:db8::2")


def read(tmp_path: Path, *frames: bytes, link: int = 1, cut: int = 1 << 18) -> PacketTable:
    path = save(tmp_path / "built.pcap", pcap(frames, link=link, cut=cut))
    return read_capture(path)[0]


@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_all_columns_agree_with_dpkt(path: Path) -> None:
    packets, info = read_capture(path)
    expected = dpkt_rows(path)
    assert info.packet_count == len(packets) == len(expected) > 0
    assert rows_of(packets, NAMES) == expected


@needs_tshark
@pytest.mark.parametrize("path", captures(), ids=lambda path: path.stem)
def test_checksums_agree_with_tshark(path: Path) -> None:
    packets, info = read_capture(path)
    status = ["ip.checksum.status", "tcp.checksum.status", "udp.checksum.status"]
    seen = tshark_fields(path, "eth.type", "vlan.etype", *status, "tcp.checksum")
    assert len(seen) == info.frame_count
    with_ip = [row for row in seen if {"0x0800", "0x86dd"} & set(row[:2])]
    assert len(with_ip) == len(packets)
    quoting = packets.protocol == 1  # what an ICMP error quotes has fields of its own
    for place, bit in ((2, CHECKSUM_IP_BAD), (3, CHECKSUM_L4_BAD), (4, CHECKSUM_L4_BAD)):
        number = {2: None, 3: 6, 4: 17}[place]
        # To tshark 0xffff for 0 is wrong; to a receiver (RFC 1071) and to us it is not.
        theirs = np.array([row[place] == "0" and row[-1] != "0xffff" for row in with_ip])
        about = ~quoting if number is None else packets.protocol == number
        assert ((packets.checksums & bit > 0)[about] == theirs[about]).all()


def test_tcp_options_of_a_syn(tmp_path: Path) -> None:
    options = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (7, 9)), ("NOP", None), ("WScale", 6)]
    segment = TCP(sport=40000, dport=443, seq=5, flags="SEC", window=64000, options=options)
    packets = read(tmp_path, bytes(ETHER / V4 / segment))
    (row,) = rows_of(packets, NAMES)
    assert (row["src"], row["dst"]) == ("10.1.2.3", "192.0.2.9")
    assert (row["option_bits"], row["mss"], row["window_scale"]) == (15, 1400, 6)
    assert (row["ts_val"], row["ts_ecr"], row["tcp_flags"], row["seq"]) == (7, 9, 0xC2, 5)
    assert packets.checksums.tolist() == [0]


def test_options_cut_off_or_malformed_end_the_options(tmp_path: Path) -> None:
    whole = bytes(ETHER / V4 / TCP(options=[("MSS", 1400), ("WScale", 6)]))
    mss_of_length_0 = whole.replace(bytes([2, 4, 5, 120]), bytes([2, 0, 5, 120]))
    beyond = whole.replace(bytes([2, 4, 5, 120]), bytes([2, 60, 5, 120]))
    packets = read(tmp_path, mss_of_length_0, beyond)
    assert packets.option_bits.tolist() == [0, 0]
    assert packets.window_scale.tolist() == [NO_WINDOW_SCALE] * 2


def test_sack_blocks_and_a_final_end_of_options(tmp_path: Path) -> None:
    options = [("NOP", None), ("NOP", None), ("SAck", (100, 200)), ("EOL", None), ("WScale", 3)]
    packets = read(tmp_path, bytes(ETHER / V4 / TCP(options=options)))
    assert packets.option_bits.tolist() == [16]


@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_checksums_found_wrong_by_kind(tmp_path: Path, number: int) -> None:
    wrong = [TCP(chksum=1), UDP(chksum=1), ICMP(chksum=1), TCP()][number]
    ip = V4.copy()
    if number == 3:
        ip.chksum = 1
    right = bytes(ETHER / V4 / [TCP(), UDP(), ICMP(), TCP()][number] / b"odd")
    packets = read(tmp_path, bytes(ETHER / ip / wrong / b"odd"), right)
    assert packets.checksums.tolist() == [CHECKSUM_IP_BAD if number == 3 else CHECKSUM_L4_BAD, 0]


def test_checksums_that_cannot_be_checked(tmp_path: Path) -> None:
    frames = [bytes(ETHER / V4 / TCP() / (b"x" * 100)), bytes(ETHER / V4 / SCTP())]
    packets = read(tmp_path, *frames, cut=80)
    assert packets.checksums.tolist() == [CHECKSUM_L4_UNKNOWN] * 2


def test_udp_without_checksum_is_right_over_ipv4_and_wrong_over_ipv6(tmp_path: Path) -> None:
    frames = [bytes(ETHER / ip / UDP(chksum=0) / b"abc") for ip in (V4, V6)]
    assert read(tmp_path, *frames).checksums.tolist() == [0, CHECKSUM_L4_BAD]


@pytest.mark.parametrize("padding", range(5))
def test_right_checksums_at_every_alignment(tmp_path: Path, padding: int) -> None:
    """The first frame shifts the others by one byte more in each case."""
    frames = [bytes(ETHER / V4 / UDP() / (b"p" * padding))]
    for ip in (V4, V6):
        frames += [bytes(ETHER / ip / l4 / (b"x" * n)) for n in range(9) for l4 in (TCP(), UDP())]
    frames += [bytes(ETHER / V6 / ICMPv6EchoRequest(data=b"x" * n)) for n in range(9)]
    frames += [bytes(ETHER / V4 / ICMP() / (b"x" * n)) for n in range(9)]
    assert not read(tmp_path, *frames).checksums.any()


def test_ip_options_shift_the_ports(tmp_path: Path) -> None:
    ip = IP(src="10.1.2.3", dst="192.0.2.9", options=[IPOption_RR(routers=["1.2.3.4"] * 3)])
    packets = read(tmp_path, bytes(ETHER / ip / UDP(sport=5, dport=6) / b"abc"))
    assert (packets.src_port[0], packets.payload_length[0], packets.checksums[0]) == (5, 3, 0)
    assert packets.ip_length[0] == 20 + 16 + 8 + 3


def test_fragments_but_the_first_have_no_ports(tmp_path: Path) -> None:
    first = IP(src="10.1.2.3", dst="192.0.2.9", flags="MF", id=77)
    later = IP(src="10.1.2.3", dst="192.0.2.9", frag=185, id=77, proto=17)
    six = IPv6(src="2001:db8::1", dst="2001:db8::2")
    frames = [
        bytes(ETHER / first / UDP(sport=5, dport=6) / (b"x" * 24)),
        bytes(ETHER / later / Raw(b"y" * 30)),
        bytes(ETHER / six / IPv6ExtHdrFragment(m=1) / UDP(sport=5, dport=6) / (b"x" * 24)),
        bytes(ETHER / six / IPv6ExtHdrFragment(offset=185, nh=17) / Raw(b"y" * 30)),
    ]
    path = save(tmp_path / "f.pcap", pcap(frames))
    packets, info = read_capture(path)
    assert packets.ip_flags.tolist() == [IP_MF, IP_FRAGMENT, IP_MF, IP_FRAGMENT]
    assert packets.src_port.tolist() == [5, 0, 5, 0]
    assert packets.protocol.tolist() == [17] * 4
    assert packets.payload_length.tolist()[1::2] == [30, 30]
    assert packets.ip_id.tolist() == [77, 77, 0, 0]
    assert info.fragment_count == 4
    assert (packets.checksums == CHECKSUM_L4_UNKNOWN).all()


def test_ipv6_extension_headers_are_passed_over(tmp_path: Path) -> None:
    chain = IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP(sport=7, dport=8) / b"abcde"
    routed = IPv6ExtHdrRouting(addresses=["2001:db8::3"]) / UDP(sport=9) / b"xy"
    packets = read(tmp_path, bytes(ETHER / V6 / chain), bytes(ETHER / V6 / routed))
    assert packets.protocol.tolist() == [6, 17]
    assert packets.src_port.tolist() == [7, 9]
    assert packets.payload_length.tolist() == [5, 2]
    # With a routing header the checksum covers another destination, RFC 8200 section 8.1.
    assert packets.checksums.tolist() == [0, CHECKSUM_L4_UNKNOWN]


def test_other_protocols_and_sctp(tmp_path: Path) -> None:
    frames = [
        bytes(ETHER / V4 / SCTP(sport=2905, dport=2906) / SCTPChunkCookieAck()),
        bytes(ETHER / IP(src="10.1.2.3", dst="192.0.2.9", proto=50) / Raw(b"z" * 21)),
        bytes(ETHER / V4 / ICMP(type=8, code=0, id=0x1234, seq=0x5678) / b"ping"),
    ]
    packets = read(tmp_path, *frames)
    assert packets.src_port.tolist() == [2905, 0, 0]
    assert packets.payload_length.tolist() == [16, 21, 4]
    assert packets.icmp.tolist() == [0, 0, 0x0800]
    assert packets.seq.tolist() == [0, 0, 0x12345678]


def test_flags_and_type_of_service(tmp_path: Path) -> None:
    four = IP(src="10.1.2.3", dst="192.0.2.9", flags="DF", tos=0xB8, ttl=3)
    six = IPv6(src="2001:db8::1", dst="2001:db8::2", tc=0xB8, hlim=3, fl=0xFFFFF)
    packets = read(tmp_path, bytes(ETHER / four / TCP()), bytes(ETHER / six / TCP()))
    assert packets.ip_flags.tolist() == [IP_DF, 0]
    assert packets.tos.tolist() == [0xB8, 0xB8]
    assert packets.ttl.tolist() == [3, 3]


def test_an_offloaded_segment_without_length_takes_the_frames(tmp_path: Path) -> None:
    """With segmentation offload the length field can be 0; the frame's length counts then."""
    frame = bytes(ETHER / IP(src="10.1.2.3", dst="192.0.2.9", len=0) / TCP() / (b"x" * 70_000))
    packets = read(tmp_path, frame)
    assert packets.ip_length.tolist() == [65535]
    assert packets.payload_length.tolist() == [65535]
    assert packets.wire_length.tolist() == [len(frame)]


TAGGED = ETHER / Dot1Q(vlan=7) / V4 / TCP(sport=1, dport=2, options=[("Timestamp", (3, 4))])


CUT_FRAMES = [bytes(TAGGED / (b"x" * 50)), bytes(ETHER / V6 / TCP() / b"xyz")]


@pytest.mark.parametrize("frame", CUT_FRAMES, ids=["tagged", "ipv6"])
def test_a_frame_cut_anywhere_keeps_what_is_there(tmp_path: Path, frame: bytes) -> None:
    whole = read(tmp_path, frame)
    link, network = (18, 20) if frame[12:14] == b"\x81\x00" else (14, 40)
    for cut in range(1, len(frame)):
        path = save(tmp_path / "cut.pcap", pcap([frame], cut=cut))
        packets, info = read_capture(path)
        assert info.truncated_count == 1
        if cut < link + network:
            assert info.non_ip_types == {"cut before the end of the IP header": 1}
            continue
        there = cut - link - network
        assert packets.ip_length.tolist() == whole.ip_length.tolist()
        assert packets.wire_length.tolist() == [len(frame)]
        assert packets.src_port[0] == (whole.src_port[0] if there >= 4 else 0)
        assert packets.seq[0] == (whole.seq[0] if there >= 8 else 0)
        assert packets.tcp_flags[0] == (whole.tcp_flags[0] if there >= 14 else 0)
        if there >= 14:
            assert packets.payload_length.tolist() == whole.payload_length.tolist()
        else:  # without the data offset, a header without options is assumed
            assert (
                packets.payload_length[0]
                == whole.ip_length[0] - (network if network == 20 else 40) - 20
            )
        assert packets.checksums[0] == CHECKSUM_L4_UNKNOWN
