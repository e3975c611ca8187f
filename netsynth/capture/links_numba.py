# mypy: disable-error-code="untyped-decorator, assignment, return-value, arg-type, no-any-return"
"""Link layers, compiled: where IP begins in a frame, or why it does not.

References:
    IEEE 802.1Q, 802.3 (Ethernet); tcpdump.org/linktypes (SLL, SLL2, loopback, C-HDLC); RFC 1661
    and 1662 (PPP), 2516 (PPPoE), 3032 (MPLS).
"""

from __future__ import annotations

from typing import Any

from numba import njit

from netsynth.capture.loads_numba import (
    AT,
    CAPTURED,
    ETHERTYPE,
    LIMIT,
    LINK_KIND,
    MAC_AT,
    START,
    VLAN,
    be16,
    be32,
    le32,
    u8,
)
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
    RAW_IP,
    REFUSED_LINK,
    SNAP_OTHER,
)


@njit(cache=True)
def pass_link(data: Any, fields: Any) -> int:
    """Pass over a frame's link layer.

    Args:
        data: uint8, the buffer.
        fields: int64 [FIELD_COUNT]; LINK_KIND, START and CAPTURED are read, ETHERTYPE, AT and
            MAC_AT (-1 where there is no MAC address) set.

    Returns:
        -1, or the kind of a frame without IP (`records`).
    """
    link = fields[LINK_KIND]
    at = fields[START]
    captured = fields[CAPTURED]
    ethertype = 0
    mac_at = -1
    reason = -1
    if link == IGNORED:
        reason = REFUSED_LINK
    elif link == ETHERNET:
        if captured >= 14:
            ethertype = be16(data, at + 12)
            mac_at = at
            at += 14
        else:
            reason = CUT_SHORT
    elif captured < 4:
        reason = CUT_SHORT
    elif link == RAW_IP:
        ethertype = 0x86DD if u8(data, at) >> 4 == 6 else 0x0800
    elif link == LOOPBACK:
        family = le32(data, at)
        if family > 0xFFFF:
            family = be32(data, at)
        at += 4
        if family == 2:
            ethertype = 0x0800
        elif family == 24 or family == 28 or family == 30 or family == 10:
            ethertype = 0x86DD
        else:
            reason = OTHER_FAMILY
    elif link == COOKED:
        if captured >= 16:
            ethertype = be16(data, at + 14)
            if be16(data, at + 4) == 6:
                mac_at = at + 6
            at += 16
        else:
            reason = CUT_SHORT
    elif link == COOKED_2:
        if captured >= 20:
            ethertype = be16(data, at)
            if u8(data, at + 11) == 6:
                mac_at = at + 12
            at += 20
        else:
            reason = CUT_SHORT
    elif link == CISCO_HDLC:
        ethertype = be16(data, at + 2)
        at += 4
    else:  # PPP
        if be16(data, at) == 0xFF03:
            at += 2
        family = be16(data, at)
        at += 2
        if family == 0x0021:
            ethertype = 0x0800
        elif family == 0x0057:
            ethertype = 0x86DD
        elif family == 0x0281:
            ethertype = 0x8847
        else:
            reason = OTHER_FAMILY
    fields[ETHERTYPE] = ethertype
    fields[AT] = at
    fields[MAC_AT] = mac_at
    return reason


@njit(cache=True)
def pass_shims(data: Any, fields: Any, is_outer: bool) -> int:
    """Pass over what lies between the link layer and IP: VLAN tags, 802.2, MPLS, PPPoE.

    Args:
        data: uint8, the buffer.
        fields: int64 [FIELD_COUNT]; LIMIT is read, ETHERTYPE and AT are moved on to IP, VLAN is
            set where it is 0.
        is_outer: Whether the frame is in no tunnel; only then its VLAN counts.

    Returns:
        -1, or the kind of a frame without IP (`records`).
    """
    ethertype = fields[ETHERTYPE]
    at = fields[AT]
    limit = fields[LIMIT]
    while ethertype != 0x0800 and ethertype != 0x86DD:
        if ethertype == 0x8100 or ethertype == 0x88A8 or ethertype == 0x9100:
            if at + 4 > limit:
                return CUT_SHORT
            if fields[VLAN] == 0 and is_outer:
                fields[VLAN] = be16(data, at) & 0xFFF
            ethertype = be16(data, at + 2)
            at += 4
        elif ethertype <= 1500:  # a length: 802.2 follows
            if at + 3 > limit:
                return CUT_SHORT
            if u8(data, at) != 0xAA or u8(data, at + 1) != 0xAA or u8(data, at + 2) != 3:
                return LLC + u8(data, at)
            if at + 8 > limit:
                return CUT_SHORT
            ethertype = be16(data, at + 6)
            if u8(data, at + 3) != 0 or be16(data, at + 4) != 0 or ethertype <= 1500:
                return SNAP_OTHER
            at += 8
        elif ethertype == 0x8847 or ethertype == 0x8848:
            bottom = False
            while not bottom and at + 4 <= limit:
                bottom = u8(data, at + 2) & 1 != 0
                at += 4
            if not bottom or at >= limit:
                return CUT_SHORT
            if u8(data, at) >> 4 == 4:
                ethertype = 0x0800
            elif u8(data, at) >> 4 == 6:
                ethertype = 0x86DD
            else:
                return ethertype
        elif ethertype == 0x8864:
            if at + 8 > limit:
                return CUT_SHORT
            family = be16(data, at + 6)
            if family == 0x0021:
                ethertype = 0x0800
            elif family == 0x0057:
                ethertype = 0x86DD
            else:
                return ethertype
            at += 8
        else:
            return ethertype
    fields[ETHERTYPE] = ethertype
    fields[AT] = at
    return -1
