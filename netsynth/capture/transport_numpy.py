"""Transport headers, checksums and tunnels of many packets at once with numpy."""

from __future__ import annotations

import numpy as np

from netsynth.capture.layers_numpy import IPV4, IPV6, Frames
from netsynth.capture.sums import sum_stretches
from netsynth.numbers import IntArray

TRANSPORT_FIELDS = (
    *("source_port", "target_port", "tcp", "seq", "ack", "window"),
    *("options", "mss", "ts_val", "ts_ecr", "icmp"),
)


def read_transport(frames: Frames, rows: IntArray) -> None:
    """Read ports, TCP and ICMP fields of the packets `rows`, as far as they are there."""
    l4 = frames["l4"][rows]
    claimed = np.maximum(frames["stop"][rows] - l4, 0)
    inside = np.minimum(frames["limit"][rows], frames["stop"][rows])
    present = np.maximum(inside - l4, 0)
    for name in [
        "source_port",
        "target_port",
        "tcp",
        "seq",
        "ack",
        "window",
        "options",
        "mss",
        "ts_val",
        "ts_ecr",
        "icmp",
    ]:
        frames[name][rows] = 0
    frames["verify"][rows] = 0
    frames["scale"][rows] = 255
    frames["payload"][rows] = claimed
    frames.unchecked[rows] = True
    frames.plain_sum[rows] = False
    protocol = np.where(frames["flags"][rows] & 4 != 0, -1, frames["protocol"][rows])
    ported = ((protocol == 6) | (protocol == 17) | (protocol == 132)) & (present >= 4)
    frames["source_port"][rows[ported]] = frames.u16(l4[ported])
    frames["target_port"][rows[ported]] = frames.u16(l4[ported] + 2)
    tcp = protocol == 6
    _read_tcp(frames, rows[tcp], l4[tcp], claimed[tcp], inside[tcp])
    udp = protocol == 17
    _read_udp(frames, rows[udp], l4[udp], claimed[udp], present[udp])
    icmp = (protocol == 1) | (protocol == 58)
    _read_icmp(frames, rows[icmp], l4[icmp], claimed[icmp], present[icmp])


def _read_tcp(
    frames: Frames, rows: IntArray, l4: IntArray, claimed: IntArray, inside: IntArray
) -> None:
    present = np.maximum(inside - l4, 0)
    frames["verify"][rows] = np.where(claimed >= 20, claimed, 0)
    header = np.full(rows.size, 20, dtype=np.int64)
    some = present >= 8
    frames["seq"][rows[some]] = frames.u32(l4[some] + 4)
    some = present >= 12
    frames["ack"][rows[some]] = frames.u32(l4[some] + 8)
    some = present >= 14
    header[some] = np.maximum((frames.u8(l4[some] + 12) >> 4) * 4, 20)
    frames["tcp"][rows[some]] = frames.u8(l4[some] + 13)
    some = present >= 16
    frames["window"][rows[some]] = frames.u16(l4[some] + 14)
    frames["payload"][rows] = np.maximum(claimed - header, 0)
    _read_options(frames, rows, l4 + 20, np.minimum(l4 + header, inside))


def _read_options(frames: Frames, rows: IntArray, at: IntArray, end: IntArray) -> None:
    """Read the TCP options of `rows` in bytes at:end, the next one of all in each round."""
    usual = end - at == 12
    usual[usual] = frames.u32(at[usual]) == 0x0101080A  # NOP, NOP, timestamps: nearly all
    frames["options"][rows[usual]] = 8
    frames["ts_val"][rows[usual]] = frames.u32(at[usual] + 4)
    frames["ts_ecr"][rows[usual]] = frames.u32(at[usual] + 8)
    some = (at < end) & ~usual
    rows, at, end = rows[some], at[some], end[some]
    while rows.size:
        kind = frames.u8(at)
        go_on = (kind != 0) & ((kind == 1) | (at + 1 < end))
        rows, at, end, kind = rows[go_on], at[go_on], end[go_on], kind[go_on]
        filler = kind == 1
        size = np.where(filler, 1, frames.u8(np.where(filler, at, at + 1)))
        go_on = filler | ((size >= 2) & (at + size <= end))
        rows, at, end = rows[go_on], at[go_on], end[go_on]
        kind, size = kind[go_on], size[go_on]
        for code, length, bit in ((2, 4, 1), (3, 3, 2), (4, 2, 4), (5, 0, 16), (8, 10, 8)):
            is_it = (kind == code) & ((size == length) | (length == 0))
            found, value = rows[is_it], at[is_it] + 2
            frames["options"][found] |= bit
            if code == 2:
                frames["mss"][found] = frames.u16(value)
            elif code == 3:
                frames["scale"][found] = frames.u8(value)
            elif code == 8:
                frames["ts_val"][found] = frames.u32(value)
                frames["ts_ecr"][found] = frames.u32(value + 4)
        at = at + size
        some = at < end
        rows, at, end = rows[some], at[some], end[some]


def _read_udp(
    frames: Frames, rows: IntArray, l4: IntArray, claimed: IntArray, present: IntArray
) -> None:
    frames["payload"][rows] = np.maximum(claimed - 8, 0)
    some = present >= 8
    rows, l4, claimed = rows[some], l4[some], claimed[some]
    size = frames.u16(l4 + 4)
    valid = (size >= 8) & (size <= claimed)
    rows, l4, size = rows[valid], l4[valid], size[valid]
    frames["payload"][rows] = size - 8
    summed = frames.u16(l4 + 6) != 0
    frames["verify"][rows] = np.where(summed, size, 0)
    frames.unchecked[rows] = summed  # without one there is nothing to check
    must = ~summed & (frames["version"][rows] == 6)  # RFC 8200 section 8.1
    frames["check"][rows[must]] |= 2


def _read_icmp(
    frames: Frames, rows: IntArray, l4: IntArray, claimed: IntArray, present: IntArray
) -> None:
    frames["payload"][rows] = np.maximum(claimed - 8, 0)
    some = present >= 2
    frames["icmp"][rows[some]] = frames.u16(l4[some])
    some = present >= 8
    frames["seq"][rows[some]] = frames.u32(l4[some] + 4)
    frames.plain_sum[rows] = frames["protocol"][rows] == 1
    frames["verify"][rows] = np.where(claimed >= 8, claimed, 0)


def verify_checksums(frames: Frames, rows: IntArray) -> None:
    """Check TCP, UDP, ICMP and ICMPv6 checksums of `rows` where all bytes are there."""
    verify, check = frames["verify"][rows], frames["check"]
    possible = (verify > 0) & (verify <= 65535) & (frames["stop"][rows] <= frames["limit"][rows])
    possible &= (frames["flags"][rows] & 5 == 0) & ~frames.rerouted[rows]
    check[rows[~possible & frames.unchecked[rows]]] |= 4
    rows, verify = rows[possible], verify[possible]
    if not rows.size:
        return
    l4, protocol = frames["l4"][rows], frames["protocol"][rows]
    total = sum_stretches(frames.data, l4, l4 + verify).astype(np.int64)
    begin, stop = frames["addresses_at"][rows], frames["addresses_stop"][rows]
    pseudo = sum_stretches(frames.data, begin, stop).astype(np.int64)
    swapped = (verify >> 8) + ((verify & 255) << 8) + (protocol << 8)
    pseudo += np.where(l4 & 1, verify + protocol, swapped)
    total += np.where(frames.plain_sum[rows], 0, pseudo)
    check[rows[total % 65535 != 0]] |= 2


def enter_tunnels(frames: Frames, rows: IntArray) -> IntArray:
    """Move on to what GRE, IP in IP and VXLAN carry; return the frames that carry something."""
    rows = rows[frames["flags"][rows] & 4 == 0]
    protocol, l4 = frames["protocol"][rows], frames["l4"][rows]
    inside = np.minimum(frames["limit"][rows], frames["stop"][rows])
    present = np.maximum(inside - l4, 0)
    at = np.full(rows.size, -1, dtype=np.int64)
    ethertype = np.zeros(rows.size, dtype=np.int64)
    for number, inner in ((4, IPV4), (41, IPV6)):
        direct = protocol == number
        at[direct], ethertype[direct] = l4[direct], inner
    gre = np.flatnonzero((protocol == 47) & (present >= 4))
    gre = gre[frames.u8(l4[gre] + 1) & 7 == 0]
    bits = frames.u8(l4[gre])
    step = 4 * (1 + (bits >> 7) + ((bits >> 5) & 1) + ((bits >> 4) & 1))
    kind, begin = frames.u16(l4[gre] + 2), l4[gre] + step
    framed = kind == 0x6558
    whole = ~framed | (begin + 14 <= inside[gre])
    gre, kind, begin, framed = gre[whole], kind[whole], begin[whole], framed[whole]
    kind[framed] = frames.u16(begin[framed] + 12)
    at[gre], ethertype[gre] = begin + np.where(framed, 14, 0), kind
    vxlan = (protocol == 17) & (frames["target_port"][rows] == 4789) & (present >= 30)
    vxlan[vxlan] = frames.u8(l4[vxlan] + 8) & 8 != 0
    at[vxlan], ethertype[vxlan] = l4[vxlan] + 30, frames.u16(l4[vxlan] + 28)
    entered = at >= 0
    rows = rows[entered]
    frames["at"][rows], frames["ethertype"][rows] = at[entered], ethertype[entered]
    frames["limit"][rows] = inside[entered]
    return rows
