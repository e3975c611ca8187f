"""Small captures of every kind, and ways to damage them."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import zstandard
from capture_files import START_S, block, interface, packet, pcap, section
from scapy.all import (
    ARP,
    GRE,
    ICMP,
    IP,
    LLC,
    PPP,
    SCTP,
    SNAP,
    TCP,
    UDP,
    CookedLinux,
    CookedLinuxV2,
    Dot1AD,
    Dot1Q,
    Dot3,
    Ether,
    ICMPv6EchoRequest,
    IPOption_RR,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PPPoE,
    Raw,
)
from scapy.contrib.mpls import MPLS
from scapy.layers.vxlan import VXLAN

MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}
ETHER = Ether(**MACS)
FOUR = IP(src="10.1.2.3", dst="192.0.2.9")
SIX = IPv6(src="2001:db8::1", dst="2001:db8::2")
SYN = TCP(options=[("MSS", 1460), ("SAckOK", b""), ("Timestamp", (7, 9)), ("WScale", 6)])
TUNNEL = IP(src="172.16.0.1", dst="172.16.0.2")

FRAMES: list[tuple[int, bytes]] = [
    (link, bytes(frame))
    for link, frame in [
        (1, ETHER / FOUR / SYN / b"hello"),
        (1, ETHER / FOUR / UDP(dport=53) / (b"x" * 40)),
        (1, ETHER / SIX / SYN),
        (1, ETHER / FOUR / ICMP() / b"ping"),
        (1, ETHER / SIX / ICMPv6EchoRequest(data=b"ping")),
        (1, ETHER / FOUR / SCTP(sport=1, dport=2)),
        (1, ETHER / ARP()),
        (1, ETHER / Dot1AD(vlan=6) / Dot1Q(vlan=5) / FOUR / TCP()),
        (1, Dot3(**MACS) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=0x800) / FOUR / UDP()),
        (1, Ether(**MACS, type=0x8847) / MPLS(s=0) / MPLS(s=1) / SIX / UDP()),
        (1, ETHER / PPPoE(sessionid=3) / PPP(proto=0x21) / FOUR / TCP()),
        (1, ETHER / IP(options=[IPOption_RR(routers=["1.2.3.4"] * 3)]) / UDP()),
        (1, ETHER / IP(src="10.1.2.3", dst="192.0.2.9", frag=100, proto=17) / Raw(b"y" * 24)),
        (1, ETHER / SIX / IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / TCP() / b"abc"),
        (1, ETHER / SIX / IPv6ExtHdrRouting() / IPv6ExtHdrFragment(m=1) / UDP() / (b"z" * 16)),
        (1, ETHER / TUNNEL / GRE(key_present=1) / FOUR / TCP()),
        (1, ETHER / TUNNEL / GRE(proto=0x6558) / ETHER / SIX / UDP()),
        (1, ETHER / TUNNEL / UDP(dport=4789) / VXLAN(flags="Instance") / ETHER / FOUR / TCP()),
        (1, ETHER / TUNNEL / TUNNEL / FOUR / UDP()),
        (101, FOUR / TCP()),
        (101, SIX / UDP()),
        (0, Raw(struct.pack("<I", 2)) / FOUR / UDP()),
        (108, Raw(struct.pack(">I", 24)) / SIX / UDP()),
        (113, CookedLinux(lladdrlen=6, src=b"abcdef") / FOUR / TCP()),
        (276, CookedLinuxV2(lladdrlen=6, src=b"abcdef") / FOUR / TCP()),
        (9, PPP(proto=0x57) / SIX / TCP()),
        (104, Raw(b"\x0f\x00\x08\x00") / FOUR / TCP()),
    ]
]
ETHERNET = [frame for link, frame in FRAMES if link == 1]


def corpus() -> list[bytes]:
    """Return captures of every link type and format, none larger than a few kilobytes."""
    files = [pcap([frame] * 3, link=link) for link, frame in FRAMES]
    files += [
        pcap(ETHERNET, order=order, magic=magic)
        for order in "<>"
        for magic in (0xA1B2C3D4, 0xA1B23C4D, 0xA1B2CD34)
    ]
    files.append(pcap(ETHERNET, cut=60))
    for order in "<>":
        data = section(order)
        for number, (link, frame) in enumerate(FRAMES):
            units = (START_S + number) * 10**6
            data += interface(link, order=order, resolution=6)
            data += packet(frame, units, number=number, order=order)
        simple = struct.pack(order + "I", len(ETHERNET[0])) + ETHERNET[0]
        files.append(data + block(3, simple, order) + block(0xBAD, b"custom", order) + data)
    return files + [
        pack(data) for data in files[-3:] for pack in (gzip.compress, zstandard.compress)
    ]


LOUD = [0, 1, 2, 3, 4, 6, 8, 20, 40, 60, 127, 128, 255, 256, 1500, 32767, 65535, 65536, 262144]
LOUD += [262145, 1 << 24, 0x7FFFFFFF, 0xFFFFFFFF, 0x0A0D0D0A, 0x86DD, 0x0800, 0x8100]


def damage(data: bytes, others: list[bytes], random: np.random.Generator) -> bytes:
    """Change a few bytes, words, lengths or pieces of a capture."""
    changed = bytearray(data)
    for _ in range(int(random.integers(1, 6))):
        size = len(changed)
        if size < 8:
            break
        at = int(random.integers(size))
        kind = int(random.integers(7))
        if kind == 0:
            changed[at] ^= 1 << int(random.integers(8))
        elif kind == 1:
            changed[at] = int(random.integers(256))
        elif kind == 2:
            layout = ("<I", ">I", "<H", ">H")[int(random.integers(4))]
            word = int(random.choice(LOUD)) & (0xFFFFFFFF if layout[1] == "I" else 0xFFFF)
            struct.pack_into(layout, changed, min(at, size - 4), word)
        elif kind == 3:
            del changed[at : at + int(random.integers(1, 40))]
        elif kind == 4:
            changed[at:at] = random.bytes(int(random.integers(1, 40)))
        elif kind == 5:
            del changed[at:]
        else:
            other = others[int(random.integers(len(others)))]
            begin = int(random.integers(len(other)))
            changed[at:at] = other[begin : begin + int(random.integers(1, 200))]
    return bytes(changed)
