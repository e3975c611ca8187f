"""Address resolution: who has an IPv4 address on the local segment, and where.

References:
    RFC 826 (packet format); RFC 894 (Ethernet).
"""

from __future__ import annotations

import struct

from netsynth.capture.frames import CARD_BYTE

_HASH_A, _HASH_B = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93  # as the writer's
_WORD = (1 << 64) - 1
_EVERYONE = b"\xff" * 6


def build_exchange(asker: bytes, owner: bytes, *, mac_key: int) -> tuple[bytes, bytes]:
    """Build the frames of a request to all and of the answer to it.

    Args:
        asker: Address of 16 bytes that asks, IPv4-mapped (RFC 4291 section 2.5.5.2).
        owner: Address of 16 bytes that is asked for, and answers.
        mac_key: As for `CaptureWriter`, which gives the same cards to their IP packets.
    """
    asks, owns = (find_card(address, mac_key=mac_key) for address in (asker, owner))
    request = _frame(_EVERYONE, 1, asks, asker, bytes(6), owner)
    return request, _frame(asks, 2, owns, owner, asks, asker)


def find_card(address: bytes, *, mac_key: int) -> bytes:
    """Return the MAC address, 6 bytes, that `CaptureWriter` gives the owner of an IP address."""
    high, low = struct.unpack("<2Q", address)
    mixed = (low ^ (high * _HASH_B & _WORD) ^ (mac_key & _WORD)) * _HASH_A & _WORD
    mixed ^= mixed >> 32
    mixed = mixed * _HASH_B & _WORD
    mixed ^= mixed >> 29
    return struct.pack("<BBI", CARD_BYTE, mixed >> 32 & 255, mixed & 0xFFFFFFFF)


def _frame(
    target: bytes, operation: int, own: bytes, own_ip: bytes, other: bytes, other_ip: bytes
) -> bytes:
    head = target + own + struct.pack(">HHHBBH", 0x0806, 1, 0x0800, 6, 4, operation)
    return head + own + own_ip[12:] + other + other_ip[12:]
