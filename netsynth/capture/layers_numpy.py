"""Link layers of many frames at once with numpy, layer by layer as `decode_numba` one by one.

Every function takes `frames`, the numbers of the frames that it is about, and reads or writes the
columns of `Frames` there. Bytes are only looked at where they are known to be there.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.capture.records import (
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    CUT_SHORT,
    ETHERNET,
    IGNORED,
    LLC,
    LOOPBACK,
    OTHER_FAMILY,
    PPP,
    RAW_IP,
    REFUSED_LINK,
    SNAP_OTHER,
)
from netsynth.capture.walk_numpy import Records
from netsynth.numbers import Array, IntArray

IPV4, IPV6 = 0x0800, 0x86DD
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


def require(frames: Frames, rows: IntArray, count: int) -> IntArray:
    """Return the frames that have `count` bytes left; the others are cut short."""
    enough = frames["at"][rows] + count <= frames["limit"][rows]
    frames["reason"][rows[~enough]] = CUT_SHORT
    return rows[enough]


def _read_tags(frames: Frames, rows: IntArray, *, in_tunnel: bool) -> None:
    rows = require(frames, rows, 4)
    begin = frames["at"][rows]
    if not in_tunnel:
        seen = frames["vlan"][rows]
        frames["vlan"][rows] = np.where(seen == 0, frames.u16(begin) & 0xFFF, seen)
    frames["ethertype"][rows] = frames.u16(begin + 2)
    frames["at"][rows] += 4


def _read_llc(frames: Frames, rows: IntArray) -> None:
    rows = require(frames, rows, 3)
    begin = frames["at"][rows]
    snap = (frames.u16(begin) == 0xAAAA) & (frames.u8(begin + 2) == 3)
    frames["reason"][rows[~snap]] = LLC + frames.u8(begin[~snap])
    rows = require(frames, rows[snap], 8)
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
        left = require(frames, left, 4)
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
    rows = require(frames, rows, 8)
    family = frames.u16(frames["at"][rows] + 6)
    is_ip = (family == 0x0021) | (family == 0x0057)
    frames["reason"][rows[~is_ip]] = 0x8864
    frames["ethertype"][rows] = np.where(family == 0x0021, IPV4, IPV6)
    frames["at"][rows] += 8
