"""Headers of many frames at once with numpy, layer by layer, as `decode_numba` does one by one.

Every function takes `frames`, the numbers of the frames that it is about, and reads or writes the
columns of `Frames` there. Bytes are only looked at where they are known to be there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import (
    BAD_IPV4,
    BAD_IPV6,
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    CUT_SHORT,
    ETHERNET,
    IGNORED,
    LLC,
    LOOPBACK,
    MAX_EXTENSIONS,
    OTHER_FAMILY,
    PPP,
    RAW_IP,
    REFUSED_LINK,
    SNAP_OTHER,
)
from netsynth.capture.walk_numpy import Records
from netsynth.numbers import Array, IntArray

IPV4, IPV6 = 0x0800, 0x86DD
EXTENSIONS = (0, 43, 51, 60, 135)
MAPPED, HALF = np.uint64(0xFFFF0000), np.uint64(32)  # ::ffff:0:0/96, as `decode_numba` has it
FIELDS = (
    *("at", "limit", "ethertype", "reason", "vlan", "version", "l4", "stop", "total"),
    *("tos", "ip_id", "flags", "ttl", "protocol", "addresses_at", "addresses_stop", "check"),
    *("source_port", "target_port", "payload", "tcp", "seq", "ack", "window", "options"),
    *("mss", "scale", "ts_val", "ts_ecr", "icmp", "verify"),
)


class Frames:
    """What is known about each of R frames; int64 [R] each, but for the last ones.

    Attributes:
        at, limit: The bytes of the frame that are still to be read.
        reason: Why the frame holds no IP (`records`), -1 as long as it may.
        accepted: bool [R], an IP header was read.
        rerouted, unchecked, plain_sum: bool [R]: a routing header was seen; no checksum is known
            to cover the payload; the checksum has no pseudo-header.
        keys: uint64 [R, 2, 2], source and destination address, each two words of its bytes.
    """

    def __init__(self, data: Array, records: Records) -> None:
        count = records.start.size
        self.data = data
        self._words = np.ndarray((data.size - 1,), ">u2", data, strides=(1,))  # at every byte
        self._double_words = np.ndarray((data.size - 3,), ">u4", data, strides=(1,))
        self._quad_words = np.ndarray((data.size - 7,), "<u8", data, strides=(1,))
        self.records = records
        self.columns: dict[str, IntArray] = {
            name: np.zeros(count, dtype=np.int64) for name in FIELDS
        }
        self.columns["at"] = records.start.copy()
        self.columns["limit"] = records.start + records.captured
        self.columns["reason"][:] = -1
        self.accepted = np.zeros(count, dtype=bool)
        self.rerouted = np.zeros(count, dtype=bool)
        self.unchecked = np.zeros(count, dtype=bool)
        self.plain_sum = np.zeros(count, dtype=bool)
        self.keys = np.zeros((count, 2, 2), dtype=np.uint64)

    def __getitem__(self, name: str) -> IntArray:
        return self.columns[name]

    def u8(self, at: IntArray) -> IntArray:
        """Bytes at `at`."""
        return self.data[at].astype(np.int64)

    def u16(self, at: IntArray) -> IntArray:
        """Big-endian 16-bit words at `at`."""
        return self._words[at].astype(np.int64)

    def u32(self, at: IntArray) -> IntArray:
        """Big-endian 32-bit words at `at`."""
        return self._double_words[at].astype(np.int64)

    def u64_le(self, at: IntArray) -> NDArray[np.uint64]:
        """Little-endian 64-bit words at `at`."""
        words: NDArray[np.uint64] = self._quad_words[at].astype(np.uint64)
        return words


def read_link_layer(frames: Frames) -> tuple[IntArray, IntArray]:
    """Find the EtherType of each frame.

    Returns:
        The frames that show MAC addresses, and where in `data` the first of theirs begins.
    """
    link, captured = frames.records.link, frames.records.captured
    at, ethertype, reason = frames["at"], frames["ethertype"], frames["reason"]
    need = np.select([link == ETHERNET, link == COOKED, link == COOKED_2], [14, 16, 20], default=4)
    reason[captured < need] = CUT_SHORT
    reason[link == IGNORED] = REFUSED_LINK
    mac_at = np.full(at.size, -1, dtype=np.int64)
    for code in np.unique(link).tolist():
        rows = np.flatnonzero((link == code) & (reason < 0))
        begin = at[rows]
        if code == ETHERNET:
            ethertype[rows] = frames.u16(begin + 12)
            mac_at[rows] = begin
            at[rows] += 14
        elif code == RAW_IP:
            ethertype[rows] = np.where(frames.u8(begin) >> 4 == 6, IPV6, IPV4)
        elif code == LOOPBACK:
            _read_loopback(frames, rows)
        elif code == COOKED:
            ethertype[rows] = frames.u16(begin + 14)
            mac_at[rows] = np.where(frames.u16(begin + 4) == 6, begin + 6, -1)
            at[rows] += 16
        elif code == COOKED_2:
            ethertype[rows] = frames.u16(begin)
            mac_at[rows] = np.where(frames.u8(begin + 11) == 6, begin + 12, -1)
            at[rows] += 20
        elif code == CISCO_HDLC:
            ethertype[rows] = frames.u16(begin + 2)
            at[rows] += 4
        elif code == PPP:
            _read_ppp(frames, rows)
    shown = np.flatnonzero(mac_at >= 0)
    return shown, mac_at[shown]


def _read_loopback(frames: Frames, rows: IntArray) -> None:
    begin = frames["at"][rows]
    big = frames.u32(begin)
    little = big.astype(">u4").view("<u4").astype(np.int64)
    family = np.where(little > 0xFFFF, big, little)
    is_v6 = np.isin(family, (10, 24, 28, 30))
    frames["ethertype"][rows] = np.where(family == 2, IPV4, IPV6)
    frames["reason"][rows[(family != 2) & ~is_v6]] = OTHER_FAMILY
    frames["at"][rows] += 4


def _read_ppp(frames: Frames, rows: IntArray) -> None:
    begin = frames["at"][rows]
    begin = begin + 2 * (frames.u16(begin) == 0xFF03)
    family = frames.u16(begin)
    kinds = [family == 0x0021, family == 0x0057, family == 0x0281]
    frames["ethertype"][rows] = np.select(kinds, [IPV4, IPV6, 0x8847], default=0)
    frames["reason"][rows[~np.logical_or.reduce(kinds)]] = OTHER_FAMILY
    frames["at"][rows] = begin + 2


def read_shims(frames: Frames, rows: IntArray, *, in_tunnel: bool) -> IntArray:
    """Pass over VLAN tags, 802.2, MPLS and PPPoE; return the frames among `rows` that hold IP."""
    ethertype, reason = frames["ethertype"], frames["reason"]
    left = rows[reason[rows] < 0]
    left = left[(ethertype[left] != IPV4) & (ethertype[left] != IPV6)]
    while left.size:
        kind = ethertype[left]
        tagged = np.isin(kind, (0x8100, 0x88A8, 0x9100))
        length = ~tagged & (kind <= 1500)
        labelled = (kind == 0x8847) | (kind == 0x8848)
        session = kind == 0x8864
        others = left[~(tagged | length | labelled | session)]
        reason[others] = ethertype[others]
        _read_tags(frames, left[tagged], in_tunnel=in_tunnel)
        _read_llc(frames, left[length])
        _read_labels(frames, left[labelled])
        _read_session(frames, left[session])
        left = left[reason[left] < 0]
        left = left[(ethertype[left] != IPV4) & (ethertype[left] != IPV6)]
    return rows[reason[rows] < 0]


def _require(frames: Frames, rows: IntArray, count: int) -> IntArray:
    """Return the frames that have `count` bytes left; the others are cut short."""
    enough = frames["at"][rows] + count <= frames["limit"][rows]
    frames["reason"][rows[~enough]] = CUT_SHORT
    return rows[enough]


def _read_tags(frames: Frames, rows: IntArray, *, in_tunnel: bool) -> None:
    rows = _require(frames, rows, 4)
    begin = frames["at"][rows]
    if not in_tunnel:
        seen = frames["vlan"][rows]
        frames["vlan"][rows] = np.where(seen == 0, frames.u16(begin) & 0xFFF, seen)
    frames["ethertype"][rows] = frames.u16(begin + 2)
    frames["at"][rows] += 4


def _read_llc(frames: Frames, rows: IntArray) -> None:
    rows = _require(frames, rows, 3)
    begin = frames["at"][rows]
    snap = (frames.u16(begin) == 0xAAAA) & (frames.u8(begin + 2) == 3)
    frames["reason"][rows[~snap]] = LLC + frames.u8(begin[~snap])
    rows = _require(frames, rows[snap], 8)
    begin = frames["at"][rows]
    ethertype = frames.u16(begin + 6)
    plain = (frames.u32(begin + 2) & 0xFFFFFF == 0) & (ethertype > 1500)
    frames["reason"][rows[~plain]] = SNAP_OTHER
    frames["ethertype"][rows] = ethertype
    frames["at"][rows] += 8


def _read_labels(frames: Frames, rows: IntArray) -> None:
    at, limit = frames["at"], frames["limit"]
    left = rows
    while left.size:
        left = _require(frames, left, 4)
        bottom = frames.u8(at[left] + 2) & 1 != 0
        at[left] += 4
        left = left[~bottom]
    rows = rows[frames["reason"][rows] < 0]
    frames["reason"][rows[at[rows] >= limit[rows]]] = CUT_SHORT
    rows = rows[at[rows] < limit[rows]]
    version = frames.u8(at[rows]) >> 4
    is_ip = (version == 4) | (version == 6)
    frames["reason"][rows[~is_ip]] = frames["ethertype"][rows[~is_ip]]
    frames["ethertype"][rows] = np.where(version == 4, IPV4, IPV6)


def _read_session(frames: Frames, rows: IntArray) -> None:
    rows = _require(frames, rows, 8)
    family = frames.u16(frames["at"][rows] + 6)
    is_ip = (family == 0x0021) | (family == 0x0057)
    frames["reason"][rows[~is_ip]] = 0x8864
    frames["ethertype"][rows] = np.where(family == 0x0021, IPV4, IPV6)
    frames["at"][rows] += 8


def read_ip(frames: Frames, rows: IntArray) -> IntArray:
    """Read the IP headers of `rows`; return those that have a valid one."""
    is_v4 = frames["ethertype"][rows] == IPV4
    fours = _read_ipv4(frames, rows[is_v4])
    sixes = _read_ipv6(frames, rows[~is_v4])
    frames.accepted[fours] = True
    frames.accepted[sixes] = True
    if not sixes.size:
        return fours
    return np.sort(np.concatenate((fours, sixes))) if fours.size else sixes


def _read_ipv4(frames: Frames, rows: IntArray) -> IntArray:
    rows = _require(frames, rows, 20)
    at = frames["at"][rows]
    first = frames.u8(at)
    header = (first & 15) * 4
    length = frames.u16(at + 2)
    unsaid = frames.records.wire[rows] - (at - frames.records.start[rows])
    total = np.where(length == 0, unsaid, length)
    good = (first >> 4 == 4) & (header >= 20) & (total >= header)
    frames["reason"][rows[~good]] = BAD_IPV4
    rows, at, header, total = rows[good], at[good], header[good], total[good]
    fragment = frames.u16(at + 6)
    later = np.where(fragment & 0x1FFF != 0, 4, 0)
    for name, values in (
        ("total", total),
        ("l4", at + header),
        ("stop", at + total),
        ("tos", frames.u8(at + 1)),
        ("ip_id", frames.u16(at + 4)),
        ("flags", ((fragment >> 13) & 3) | later),
        ("ttl", frames.u8(at + 8)),
        ("protocol", frames.u8(at + 9)),
        ("addresses_at", at + 12),
        ("addresses_stop", at + 20),
    ):
        frames[name][rows] = values
    frames["version"][rows] = 4
    frames.rerouted[rows] = False
    addresses = frames.u64_le(at + 12)  # both
    frames.keys[rows, :, 0] = 0
    frames.keys[rows, 0, 1] = MAPPED | (addresses << HALF)
    frames.keys[rows, 1, 1] = MAPPED | (addresses >> HALF << HALF)
    frames["check"][rows] = _check_ipv4(frames, at, header, frames["limit"][rows])
    return rows


def _check_ipv4(frames: Frames, at: IntArray, header: IntArray, limit: IntArray) -> IntArray:
    total = np.zeros(at.size, dtype=np.int64)
    left = np.flatnonzero(at + header <= limit)
    begin = at[left]
    total[left] = sum(frames.u32(begin + offset) for offset in range(0, 20, 4))
    for offset in range(20, 60, 4):
        left = left[header[left] > offset]
        if not left.size:
            break
        total[left] += frames.u32(at[left] + offset)
    return np.where(total % 65535 != 0, 1, 0)


def _read_ipv6(frames: Frames, rows: IntArray) -> IntArray:
    rows = _require(frames, rows, 40)
    at = frames["at"][rows]
    good = frames.u8(at) >> 4 == 6
    frames["reason"][rows[~good]] = BAD_IPV6
    rows, at = rows[good], at[good]
    total = frames.u16(at + 4) + 40
    protocol = frames.u8(at + 6)
    unsaid = frames.records.wire[rows] - (at - frames.records.start[rows])
    total = np.where((total == 40) & (protocol != 59), np.maximum(unsaid, 40), total)
    for name, values in (
        ("total", total),
        ("l4", at + 40),
        ("stop", at + total),
        ("tos", (frames.u16(at) >> 4) & 0xFF),
        ("ttl", frames.u8(at + 7)),
        ("protocol", protocol),
        ("addresses_at", at + 8),
        ("addresses_stop", at + 40),
    ):
        frames[name][rows] = values
    frames["version"][rows] = 6
    for name in ("ip_id", "flags", "check"):
        frames[name][rows] = 0
    frames.rerouted[rows] = False
    for index in range(4):
        frames.keys[rows, index >> 1, index & 1] = frames.u64_le(at + 8 + 8 * index)
    _read_extensions(frames, rows)
    return rows


def _read_extensions(frames: Frames, rows: IntArray) -> None:
    """Follow the chain of extension headers, at most MAX_EXTENSIONS of them."""
    protocol, l4 = frames["protocol"], frames["l4"]
    inside = np.minimum(frames["limit"], frames["stop"])
    left = rows
    for _ in range(MAX_EXTENSIONS):
        kind = protocol[left]
        left = left[(kind == 44) | np.isin(kind, EXTENSIONS)]
        left = left[l4[left] + 8 <= inside[left]]
        if not left.size:
            break
        kind, at = protocol[left], l4[left]
        split = kind == 44
        fragment = frames.u16(at + 2)
        flags = (fragment & 1) | np.where(fragment & 0xFFF8 != 0, 4, 0)
        frames["flags"][left[split]] = flags[split]
        frames.rerouted[left[kind == 43]] = True
        units = frames.u8(at + 1)
        step = np.where(kind == 51, (units + 2) * 4, (units + 1) * 8)
        protocol[left] = frames.u8(at)
        l4[left] = at + np.where(split, 8, step)
        left = left[~(split & (flags & 4 != 0))]
