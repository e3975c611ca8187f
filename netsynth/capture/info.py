"""What a capture is like as a whole: counts that no table of packets can show."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import (
    BAD_IPV4,
    BAD_IPV6,
    COUNT_SIZE,
    CUT_SHORT,
    LLC,
    OTHER_FAMILY,
    REFUSED_LINK,
    SNAP_OTHER,
)
from netsynth.capture.sources import PathLike, find_captures
from netsynth.errors import CaptureError
from netsynth.numbers import IntArray

ETHERTYPES = {
    0x0806: "ARP",
    0x0842: "Wake-on-LAN",
    0x22F0: "AVTP",
    0x22F3: "TRILL",
    0x6003: "DECnet",
    0x8035: "RARP",
    0x809B: "AppleTalk",
    0x80F3: "AARP",
    0x8137: "IPX",
    0x8808: "Ethernet flow control",
    0x8809: "slow protocols (LACP)",
    0x8847: "MPLS without IP",
    0x8848: "MPLS without IP",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE without IP",
    0x886D: "Intel ANS",
    0x887B: "HomePlug",
    0x888E: "EAPOL",
    0x8892: "PROFINET",
    0x889A: "HyperSCSI",
    0x88A4: "EtherCAT",
    0x88B8: "GOOSE",
    0x88BA: "sampled values",
    0x88CC: "LLDP",
    0x88E1: "HomePlug AV",
    0x88E3: "MRP",
    0x88E5: "MACsec",
    0x88F7: "PTP",
    0x8902: "CFM",
    0x8906: "FCoE",
    0x890D: "TDLS",
    0x892F: "HSR",
    0x893A: "IEEE 1905",
    0x9000: "loopback test",
}
DSAPS = {0x42: "STP", 0xE0: "IPX (LLC)", 0xF0: "NetBEUI", 0xFE: "ISO (LLC)", 0xFF: "IPX (raw)"}
REASONS = {
    SNAP_OTHER: "SNAP",
    CUT_SHORT: "cut before the end of the IP header",
    BAD_IPV4: "malformed IPv4",
    BAD_IPV6: "malformed IPv6",
    OTHER_FAMILY: "other address family",
    REFUSED_LINK: "frames of an unreadable interface",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class CaptureInfo:
    """What was read, and what is to be known about it.

    Attributes:
        paths: The files, in the order read.
        format: "pcap", "pcapng" or "pcap, pcapng".
        link_types: Names, without LINKTYPE_.
        time_resolution_ns: Finest unit of time, ns; 1, 1000, ...
        snap_length: Largest number of bytes kept of a frame as the files say, 0 where unlimited.
        frame_count: Frames of any kind.
        packet_count: Frames that hold IP.
        non_ip_count: Frames that do not.
        non_ip_types: Their number by EtherType, LLC service or reason, most frequent first.
        truncated_count: Frames of which not all bytes were captured.
        bad_ip_checksum_count: IPv4 headers with a wrong checksum.
        bad_l4_checksum_count: TCP, UDP, ICMP or ICMPv6 with a wrong checksum.
        unknown_l4_checksum_count: Packets whose L4 checksum could not be checked (cut frames,
            fragments, protocols without one that is known here).
        out_of_order_count: Frames with a time before that of an earlier frame; sorted.
        untimed_count: Frames without a time (pcapng simple packets); they got their
            predecessor's.
        fragment_count: Packets that are fragments.
        first_ns: Time of the first frame, ns since the epoch; 0 where there is none.
        last_ns: Time of the last frame; 0 where there is none.
        wire_bytes: Bytes of all frames as they were on the wire.
        macs: uint64 [M], distinct MAC addresses seen, ascending, at most 65,536; the first byte
            sent is the highest of the 48 bits.
        skipped_places: With salvage: damaged places skipped.
        skipped_bytes: With salvage: bytes skipped there.
        skipped_reasons: With salvage: what was wrong at the first such places, one line each.
    """

    paths: tuple[Path, ...]
    format: str
    link_types: tuple[str, ...]
    time_resolution_ns: int
    snap_length: int
    frame_count: int
    packet_count: int
    non_ip_count: int
    non_ip_types: dict[str, int]
    truncated_count: int
    bad_ip_checksum_count: int
    bad_l4_checksum_count: int
    unknown_l4_checksum_count: int
    out_of_order_count: int
    untimed_count: int
    fragment_count: int
    first_ns: int
    last_ns: int
    wire_bytes: int
    macs: NDArray[np.uint64]
    skipped_places: int = 0
    skipped_bytes: int = 0
    skipped_reasons: tuple[str, ...] = field(default=())


def name_counts(counts: IntArray) -> dict[str, int]:
    """Name the kinds of frames without IP.

    Args:
        counts: Frames by kind, int64 [COUNT_SIZE], see `records`.

    Returns:
        Frames by name, most frequent first.
    """
    assert counts.size == COUNT_SIZE
    named: dict[str, int] = {}
    for kind in np.flatnonzero(counts).tolist():
        if kind < LLC:
            name = ETHERTYPES.get(kind, f"EtherType 0x{kind:04x}")
        elif kind < SNAP_OTHER:
            name = DSAPS.get(kind - LLC, f"LLC 0x{kind - LLC:02x}")
        else:
            name = REASONS[kind]
        named[name] = named.get(name, 0) + int(counts[kind])
    return dict(sorted(named.items(), key=lambda item: (-item[1], item[0])))


def hash_capture(paths: PathLike | Sequence[PathLike]) -> str:
    """Return the SHA-256 of the bytes of a capture's files, in order, as 64 hex digits.

    Raises:
        CaptureError: If a file cannot be read; standard input cannot be read twice.
    """
    digest = hashlib.sha256()
    for path in find_captures(paths):
        if str(path) == "-":
            raise CaptureError("standard input: can be read only once; save it to a file first")
        try:
            with open(path, "rb", buffering=0) as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except OSError as error:
            raise CaptureError(f"{path}: cannot be read ({error.strerror})") from error
    return digest.hexdigest()
