"""What lies between the record and IP, in frames that scapy built."""

import struct
from pathlib import Path

import pytest
from capture_files import interface, packet, pcap, save, section
from capture_oracles import needs_tshark, rows_of, tshark_fields
from scapy.all import (
    ARP,
    GRE,
    HDLC,
    IP,
    LLC,
    PPP,
    SNAP,
    STP,
    TCP,
    UDP,
    CookedLinux,
    CookedLinuxV2,
    Dot1AD,
    Dot1Q,
    Dot3,
    Ether,
    IPv6,
    Loopback,
    PPPoE,
    Raw,
)
from scapy.contrib.mpls import MPLS
from scapy.layers.vxlan import VXLAN

from netsynth.capture import read_capture
from netsynth.errors import CaptureError

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}  # else scapy asks the network
ETHER = Ether(**MACS)
FOUR = IP(src="10.1.2.3", dst="192.0.2.9", ttl=61) / TCP(sport=1234, dport=80) / b"hello"
SIX = IPv6(src="2001:db8::1", dst="2001:db8::2", hlim=62) / UDP(sport=53, dport=5353) / b"hi"
NAMES = ["src", "dst", "src_port", "dst_port", "ttl", "payload_length"]
FOUR_ROW = ["10.1.2.3", "192.0.2.9", 1234, 80, 61, 5]
SIX_ROW = ["2001:db8::1", "2001:db8::2", 53, 5353, 62, 2]

IPV4_FRAMES = {
    "ethernet": (1, ETHER / FOUR),
    "vlan": (1, ETHER / Dot1Q(vlan=5) / FOUR),
    "qinq": (1, ETHER / Dot1AD(vlan=6) / Dot1Q(vlan=5) / FOUR),
    "old qinq": (
        1,
        Ether(**MACS, type=0x9100) / Dot1Q(vlan=6) / Dot1Q(vlan=5) / FOUR,
    ),
    "snap": (
        1,
        Dot3(src=ETHER.src, dst=ETHER.dst)
        / LLC(dsap=0xAA, ssap=0xAA, ctrl=3)
        / SNAP(OUI=0, code=0x800)
        / FOUR,
    ),
    "mpls": (
        1,
        Ether(**MACS, type=0x8847) / MPLS(label=16, s=0) / MPLS(label=17, s=1) / FOUR,
    ),
    "mpls in vlan": (1, ETHER / Dot1Q(vlan=5, type=0x8847) / MPLS(label=16, s=1) / FOUR),
    "pppoe": (1, ETHER / PPPoE(sessionid=3) / PPP(proto=0x21) / FOUR),
    "raw": (101, FOUR),
    "raw of OpenBSD": (12, FOUR),
    "ipv4": (228, FOUR),
    "null": (0, Loopback(type=2) / FOUR),
    "null, other byte order": (0, Raw(struct.pack("<I", 2)) / FOUR),
    "loop": (108, Raw(struct.pack(">I", 2)) / FOUR),
    "cooked": (113, CookedLinux() / FOUR),
    "cooked, tagged": (113, CookedLinux(proto=0x8100) / Dot1Q(vlan=5) / FOUR),
    "cooked 2": (276, CookedLinuxV2() / FOUR),
    "ppp": (9, PPP(proto=0x21) / FOUR),
    "ppp in hdlc": (50, HDLC() / PPP(proto=0x21) / FOUR),
    "cisco hdlc": (104, Raw(b"\x0f\x00\x08\x00") / FOUR),
}
IPV6_FRAMES = {
    "ethernet": (1, ETHER / SIX),
    "mpls": (1, Ether(**MACS, type=0x8847) / MPLS(label=16, s=1) / SIX),
    "pppoe": (1, ETHER / PPPoE(sessionid=3) / PPP(proto=0x57) / SIX),
    "raw": (101, SIX),
    "ipv6": (229, SIX),
    **{f"null {n}": (0, Raw(struct.pack("<I", n)) / SIX) for n in (10, 24, 28, 30)},
    "loop": (108, Raw(struct.pack(">I", 24)) / SIX),
    "cooked": (113, CookedLinux(proto=0x86DD) / SIX),
    "cooked 2": (276, CookedLinuxV2(proto=0x86DD) / SIX),
    "ppp": (9, Raw(b"\xff\x03") / PPP(proto=0x57) / SIX),
}


@pytest.mark.parametrize("name", IPV4_FRAMES)
def test_ipv4_in_every_link_layer(tmp_path: Path, name: str) -> None:
    link, frame = IPV4_FRAMES[name]
    packets, info = read_capture(save(tmp_path / "a.pcap", pcap([bytes(frame)], link=link)))
    assert [list(row.values()) for row in rows_of(packets, NAMES)] == [FOUR_ROW]
    assert packets.checksums.tolist() == [0]
    assert packets.wire_length.tolist() == [len(frame)]
    outer = {"vlan": 5, "qinq": 6, "old qinq": 6, "mpls in vlan": 5, "cooked, tagged": 5}
    assert packets.vlan.tolist() == [outer.get(name, 0)]
    assert info.non_ip_types == {}


@pytest.mark.parametrize("name", IPV6_FRAMES)
def test_ipv6_in_every_link_layer(tmp_path: Path, name: str) -> None:
    link, frame = IPV6_FRAMES[name]
    packets, _ = read_capture(save(tmp_path / "a.pcap", pcap([bytes(frame)], link=link)))
    assert [list(row.values()) for row in rows_of(packets, NAMES)] == [SIX_ROW]
    assert packets.checksums.tolist() == [0]


@needs_tshark
def test_tshark_sees_the_same_in_a_file_of_all_link_types(tmp_path: Path) -> None:
    data = section()
    for number, (link, frame) in enumerate(IPV4_FRAMES.values()):
        data += interface(link) + packet(bytes(frame), 10**15 + number, number=number)
    path = save(tmp_path / "a.pcapng", data)
    names = ["ip.src", "ip.dst", "tcp.srcport", "tcp.dstport", "ip.ttl", "tcp.len"]
    fields = tshark_fields(path, *names)
    assert [[row[0], row[1], *map(int, row[2:])] for row in fields] == [FOUR_ROW] * len(IPV4_FRAMES)
    packets, info = read_capture(path)
    assert [list(row.values()) for row in rows_of(packets, NAMES)] == [FOUR_ROW] * len(fields)
    assert len(info.link_types) == len({link for link, _ in IPV4_FRAMES.values()} - {12})


@pytest.mark.parametrize("name", IPV4_FRAMES)
def test_a_link_layer_cut_anywhere_is_counted(tmp_path: Path, name: str) -> None:
    link, frame = IPV4_FRAMES[name]
    data = bytes(frame)
    network = data.index(bytes(FOUR)) + 20
    for cut in range(network):
        packets, info = read_capture(save(tmp_path / "a.pcap", pcap([data], link=link, cut=cut)))
        assert (len(packets), info.frame_count, info.non_ip_count) == (0, 1, 1)


def test_frames_without_ip_are_named(tmp_path: Path) -> None:
    frames = [
        ETHER / ARP(),
        ETHER / ARP(),
        Dot3() / LLC() / STP(),
        Dot3() / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0xC, code=0x2000),
        Ether(type=0x88CC) / b"lldp",
        Ether(type=0x1234) / b"who",
        Ether(type=0x8864) / PPPoE(sessionid=1) / PPP(proto=0xC021) / b"lcp",
        Ether(type=0x0800) / b"\x75" / (b"0" * 30),
        Ether(type=0x86DD) / b"\x45" / (b"0" * 50),
        ETHER / IP(len=19) / b"abc",
    ]
    _, info = read_capture(save(tmp_path / "a.pcap", pcap([bytes(f) for f in frames])))
    assert info.non_ip_types == {
        "ARP": 2,
        "malformed IPv4": 2,
        "EtherType 0x1234": 1,
        "LLDP": 1,
        "PPPoE without IP": 1,
        "SNAP": 1,
        "STP": 1,
        "malformed IPv6": 1,
    }
    assert next(iter(info.non_ip_types)) == "ARP"


def test_mac_addresses_are_collected(tmp_path: Path) -> None:
    cooked = bytes(CookedLinux(lladdrlen=6, src=b"\x0a\x0b\x0c\x0d\x0e\x0f") / FOUR)
    first = save(tmp_path / "1.pcap", pcap([bytes(ETHER / FOUR), bytes(ETHER / ARP())]))
    second = save(tmp_path / "2.pcap", pcap([cooked], link=113))
    _, info = read_capture([first, second])
    assert info.macs.tolist() == [0x020000000001, 0x020000000002, 0x0A0B0C0D0E0F]
    assert info.link_types == ("ETHERNET", "LINUX_SLL")


@pytest.mark.parametrize(("link", "word"), [(105, "802.11"), (127, "802.11"), (220, "USB")])
def test_unreadable_link_types_are_refused(tmp_path: Path, link: int, word: str) -> None:
    path = save(tmp_path / "w.pcap", pcap([bytes(64)], link=link))
    with pytest.raises(CaptureError, match=rf"w\.pcap: holds .*{word}"):
        read_capture(path)


def test_an_unreadable_interface_is_refused_or_counted(tmp_path: Path) -> None:
    frames = packet(bytes(ETHER / FOUR), 10**6) + packet(bytes(64), 2 * 10**6, number=1)
    path = save(tmp_path / "w.pcapng", section() + interface(1) + interface(105) + frames)
    with pytest.raises(CaptureError, match=r"record 2 at byte \d+: its interface holds 802\.11"):
        read_capture(path)
    packets, info = read_capture(path, salvage=True)
    assert len(packets) == 1
    assert info.non_ip_types == {"frames of an unreadable interface": 1}


OUTER = IP(src="172.16.0.1", dst="172.16.0.2")
TUNNELS = {
    "ip in ip": OUTER / FOUR,
    "ip in ip in ip": OUTER / IP(src="1.1.1.1", dst="2.2.2.2") / FOUR,
    "gre": OUTER / GRE() / FOUR,
    "gre with all options": OUTER / GRE(chksum_present=1, key_present=1, seqnum_present=1) / FOUR,
    "gre of ethernet": OUTER / GRE(proto=0x6558) / ETHER / FOUR,
    "vxlan": OUTER / UDP(dport=4789) / VXLAN(vni=7, flags="Instance") / ETHER / FOUR,
    "in ipv6": IPv6(src="2001:db8::9", dst="2001:db8::8") / FOUR,
}


@pytest.mark.parametrize("name", TUNNELS)
def test_tunnels_are_read_outside_or_inside(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "t.pcap", pcap([bytes(ETHER / TUNNELS[name])]))
    outer, _ = read_capture(path)
    assert rows_of(outer, ["src"]) == [{"src": TUNNELS[name].src}]
    assert len(outer.addresses) == 2
    inner, _ = read_capture(path, decapsulate=True)
    assert [list(row.values()) for row in rows_of(inner, NAMES)] == [FOUR_ROW]
    assert inner.checksums.tolist() == [0]
    assert len(inner.addresses) == 2


def test_ipv6_in_a_tunnel(tmp_path: Path) -> None:
    frames = [bytes(ETHER / OUTER / SIX), bytes(ETHER / OUTER / GRE(proto=0x86DD) / SIX)]
    path = save(tmp_path / "t.pcap", pcap(frames))
    inner, _ = read_capture(path, decapsulate=True)
    assert [list(row.values()) for row in rows_of(inner, NAMES)] == [SIX_ROW] * 2


def test_a_tunnel_without_ip_inside_stays_itself(tmp_path: Path) -> None:
    frames = [
        bytes(ETHER / OUTER / GRE(proto=0x6558) / ETHER / ARP()),
        bytes(ETHER / OUTER / UDP(dport=4789) / VXLAN(vni=7, flags="Instance") / ETHER / ARP()),
        bytes(ETHER / OUTER / GRE() / b"\x60"),
    ]
    packets, info = read_capture(save(tmp_path / "t.pcap", pcap(frames)), decapsulate=True)
    assert [row["src"] for row in rows_of(packets, ["src"])] == ["172.16.0.1"] * 3
    assert info.non_ip_count == 0
