# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type, no-any-return"
"""Any frame to a packet's fields, compiled: layer by layer, into tunnels where asked.

`decode_numba` itself reads the frames that nearly all captures consist of; the rest comes here.

References:
    RFC 2784 and 2890 (GRE), 2003 and 4213 (IP in IP), 7348 (VXLAN).
"""

from __future__ import annotations

from typing import Any

from numba import njit

from netsynth.capture.links_numba import pass_link, pass_shims
from netsynth.capture.loads_numba import (
    ACK_NUMBER,
    AT,
    CAPTURED,
    CHECK,
    ETHERTYPE,
    ICMP_KIND,
    IP_FLAGS,
    IP_ID,
    LIMIT,
    MSS,
    NEXT_PROTOCOL,
    OPTIONS,
    PAYLOAD,
    SCALE,
    SEGMENT,
    SEQ,
    SOURCE_PORT,
    START,
    STOP,
    TARGET_PORT,
    TCP_FLAGS,
    TOS,
    TOTAL,
    TS_ECR,
    TS_VAL,
    TTL,
    VERSION,
    VLAN,
    WINDOW,
    be16,
    u8,
)
from netsynth.capture.network_numba import read_ip4, read_ip6
from netsynth.capture.records import (
    FRAGMENTS,
    MAX_TUNNELS,
)
from netsynth.capture.transport_numba import read_transport


@njit(cache=True)
def read_frame(data: Any, words: Any, fields: Any, decapsulate: bool) -> int:
    """Read a frame.

    Args:
        data: uint8, the buffer.
        words: The same memory, uint64.
        fields: int64 [FIELD_COUNT]; LINK_KIND, START, CAPTURED and WIRE are read, all but TIME,
            AFTER and INTERFACE set.
        decapsulate: Whether to read what is inside a tunnel, if it is IP.

    Returns:
        -1, or the kind of a frame without IP (`records`).
    """
    fields[VLAN] = 0
    fields[LIMIT] = fields[START] + fields[CAPTURED]
    reason = pass_link(data, fields)
    tunnels = 0
    while reason < 0:
        reason = pass_shims(data, fields, tunnels == 0)
        if reason < 0:
            is_v4 = fields[ETHERTYPE] == 0x0800
            reason = read_ip4(data, fields) if is_v4 else read_ip6(data, fields)
        if reason >= 0:  # inside a tunnel: the tunnel's own packet stays
            return reason if tunnels == 0 else -1
        read_transport(data, words, fields)
        if not decapsulate or tunnels == MAX_TUNNELS or not _enter_tunnel(data, fields):
            return -1
        tunnels += 1
    return reason


@njit(cache=True)
def _enter_tunnel(data: Any, fields: Any) -> bool:
    """Move AT, ETHERTYPE and LIMIT to what a packet carries; False where it is no tunnel."""
    if fields[IP_FLAGS] & 4:
        return False
    protocol = fields[NEXT_PROTOCOL]
    segment = fields[SEGMENT]
    inside = min(fields[LIMIT], fields[STOP])
    present = max(inside - segment, 0)
    at = segment
    if protocol == 4:
        ethertype = 0x0800
    elif protocol == 41:
        ethertype = 0x86DD
    elif protocol == 47 and present >= 4 and u8(data, segment + 1) & 7 == 0:
        flags = u8(data, segment)
        ethertype = be16(data, segment + 2)
        at += 4 + ((flags & 0x80) >> 5) + ((flags & 0x20) >> 3) + ((flags & 0x10) >> 2)
        if ethertype == 0x6558:
            if at + 14 > inside:
                return False
            ethertype = be16(data, at + 12)
            at += 14
    elif (
        protocol == 17
        and fields[TARGET_PORT] == 4789
        and present >= 30
        and u8(data, segment + 8) & 8
    ):
        ethertype = be16(data, segment + 28)
        at += 30
    else:
        return False
    fields[ETHERTYPE] = ethertype
    fields[AT] = at
    fields[LIMIT] = inside
    return True


@njit(cache=True)
def store_fields(columns: Any, fields: Any, state: Any, row: Any) -> None:
    """Write what `read_frame` found to columns, but for time, length and addresses; count it."""
    check = fields[CHECK]
    state[FRAGMENTS] += fields[IP_FLAGS] & 5 != 0
    columns[3][row] = fields[SOURCE_PORT]
    columns[4][row] = fields[TARGET_PORT]
    columns[5][row] = fields[NEXT_PROTOCOL]
    columns[6][row] = fields[VERSION]
    columns[7][row] = fields[TTL]
    columns[8][row] = fields[TOS]
    columns[9][row] = fields[IP_FLAGS]
    columns[10][row] = fields[IP_ID]
    columns[11][row] = min(fields[TOTAL], 65535)
    columns[13][row] = fields[PAYLOAD]
    columns[14][row] = fields[TCP_FLAGS]
    columns[15][row] = fields[SEQ]
    columns[16][row] = fields[ACK_NUMBER]
    columns[17][row] = fields[WINDOW]
    columns[18][row] = fields[OPTIONS]
    columns[19][row] = fields[MSS]
    columns[20][row] = fields[SCALE]
    columns[21][row] = fields[TS_VAL]
    columns[22][row] = fields[TS_ECR]
    columns[23][row] = fields[ICMP_KIND]
    columns[24][row] = fields[VLAN]
    columns[25][row] = check
