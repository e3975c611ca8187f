"""Address resolution as scapy reads it, beside the writer's own packets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scapy.all import ARP, IP, Ether, PcapNgReader, PcapReader

from netsynth.capture import CaptureWriter, build_exchange, read_capture
from netsynth.errors import TableError
from netsynth.tables import UDP, PacketTable

NOW_NS = 1_700_000_000 * 10**9 + 123_456_789
ADDRESSES = np.array([[*[0] * 10, 255, 255, 10, 0, 0, k] for k in (7, 9)], dtype=np.uint8)


def packet() -> PacketTable:
    table = PacketTable.zeros(1, ADDRESSES)
    table.time_ns[:], table.ip_version[:], table.protocol[:] = NOW_NS + 1000, 4, UDP
    table.dst[:], table.ttl[:] = 1, 64
    return table


@pytest.mark.parametrize("mac_key", [0, 5, 2**64 - 1])
@pytest.mark.parametrize("name", ["a.pcap", "a.pcapng"])
def test_an_exchange_as_rfc_826_has_it(tmp_path: Path, name: str, mac_key: int) -> None:
    frames = build_exchange(*(address.tobytes() for address in ADDRESSES), mac_key=mac_key)
    with CaptureWriter(tmp_path / name, mac_key=mac_key) as writer:
        for place, frame in enumerate(frames):
            writer.write_frame(frame, time_ns=NOW_NS + place)
        writer.write(packet())
    reader = PcapReader if name.endswith("pcap") else PcapNgReader
    with reader(str(tmp_path / name)) as file:
        request, reply, sent = [Ether(bytes(each)) for each in file]
    assert (request[ARP].op, reply[ARP].op) == (1, 2)
    assert request.dst == "ff:ff:ff:ff:ff:ff"
    assert (request[ARP].psrc, request[ARP].pdst) == ("10.0.0.7", "10.0.0.9")
    assert (reply[ARP].psrc, reply[ARP].pdst) == ("10.0.0.9", "10.0.0.7")
    assert request[ARP].hwdst == "00:00:00:00:00:00"
    assert (reply.src, reply.dst) == (reply[ARP].hwsrc, request.src)
    assert (sent.src, sent.dst) == (request[ARP].hwsrc, reply[ARP].hwsrc)  # what IP then uses
    assert sent[IP].dst == "10.0.0.9"
    packets, _ = read_capture(tmp_path / name)
    assert packets.time_ns.tolist() == [NOW_NS + 1000]


def test_frames_keep_the_order_and_the_snap_length(tmp_path: Path) -> None:
    with CaptureWriter(tmp_path / "a.pcap", snaplen=20) as writer:
        writer.write_frame(bytes(42), time_ns=NOW_NS)
        with pytest.raises(TableError, match="before"):
            writer.write_frame(bytes(42), time_ns=NOW_NS - 1)
        with pytest.raises(TableError, match="too long"):
            writer.write_frame(bytes(70_000), time_ns=NOW_NS)
    assert (tmp_path / "a.pcap").stat().st_size == 24 + 16 + 20
