"""Link types by number: their names, and how their frames begin.

References:
    https://www.tcpdump.org/linktypes.html
"""

from __future__ import annotations

from netsynth.capture.records import (
    CISCO_HDLC,
    COOKED,
    COOKED_2,
    ETHERNET,
    LOOPBACK,
    PPP,
    RAW_IP,
    REFUSED,
)

READABLE: dict[int, tuple[str, int]] = {
    0: ("NULL", LOOPBACK),
    1: ("ETHERNET", ETHERNET),
    9: ("PPP", PPP),
    12: ("RAW", RAW_IP),
    14: ("RAW", RAW_IP),
    50: ("PPP_HDLC", PPP),
    101: ("RAW", RAW_IP),
    104: ("C_HDLC", CISCO_HDLC),
    108: ("LOOP", LOOPBACK),
    113: ("LINUX_SLL", COOKED),
    228: ("IPV4", RAW_IP),
    229: ("IPV6", RAW_IP),
    276: ("LINUX_SLL2", COOKED_2),
}
WIRELESS: dict[int, str] = {
    105: "IEEE802_11",
    119: "IEEE802_11_PRISM",
    127: "IEEE802_11_RADIOTAP",
    163: "IEEE802_11_AVS",
    192: "PPI",
}
OTHERS: dict[int, str] = {
    147: "USER0",
    187: "BLUETOOTH_HCI_H4",
    189: "USB_LINUX",
    195: "IEEE802_15_4_WITHFCS",
    201: "BLUETOOTH_HCI_H4_WITH_PHDR",
    220: "USB_LINUX_MMAPPED",
    227: "CAN_SOCKETCAN",
    230: "IEEE802_15_4_NOFCS",
    249: "USBPCAP",
    251: "BLUETOOTH_LE_LL",
    253: "NETLINK",
    256: "BLUETOOTH_LE_LL_WITH_PHDR",
}


def link_name(number: int) -> str:
    """Return the name of a link type, without its LINKTYPE_ prefix."""
    if number in READABLE:
        return READABLE[number][0]
    return WIRELESS.get(number) or OTHERS.get(number) or f"link type {number}"


def link_code(number: int) -> int:
    """Return how frames of a link type begin (`records`), REFUSED where they cannot be read."""
    return READABLE[number][1] if number in READABLE else REFUSED


def refusal(number: int) -> str:
    """Say why frames of a link type cannot be read and what to do about it."""
    name = link_name(number)
    if number in WIRELESS:
        return (
            f"holds 802.11 frames ({name}), which are encrypted or in monitor mode; capture on "
            "the access point's wired side, or decrypt to Ethernet first (airdecap-ng)"
        )
    return f"holds frames of {name}, from which IP packets cannot be read; use an IP interface"
