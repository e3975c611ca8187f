"""Which of the real capture's own addresses and ports come back in the synthetic one?"""

from __future__ import annotations

import ipaddress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.report.fidelity import Figure
from netsynth.report.pair import Pair
from netsynth.report.trace import Trace, Traffic, packets_of

EXAMPLES = 10
EPHEMERAL = 32_768  # ports from here on are drawn by clients: they name nobody


def reappearing(pair: Pair) -> tuple[list[Figure], dict[str, Any]]:
    """Count real IP addresses, MAC addresses and service ports that reappear.

    Broadcast, multicast, loopback and unspecified addresses belong to nobody and are not
    counted. `real` of each figure is how many the real capture has.

    Returns:
        The figures, and the first examples of each kind.
    """
    ours, theirs = used_addresses(pair.real.table), used_addresses(pair.table)
    kinds: list[tuple[str, str, set[Any], set[Any], str]] = [
        ("IP addresses", "real IP addresses that reappear", ours, theirs, ""),
    ]
    one, other = pair.real.facts.macs, pair.facts.macs
    if one is None or other is None:
        unknown = "the MAC addresses of a capture are not known here"
        kinds.append(("MAC addresses", "real MAC addresses that reappear", set(), set(), unknown))
    else:
        kinds.append(
            (
                "MAC addresses",
                "real MAC addresses that reappear",
                set(map(mac_text, _unicast(one))),
                set(map(mac_text, _unicast(other))),
                "",
            )
        )
    ports = [service_ports(trace) for trace in (pair.real.trace, pair.everything)]
    kinds.append(("ports", "real ports below 32768 that reappear", ports[0], ports[1], ""))
    figures, examples = [], {}
    for name, text, real, synthetic, note in kinds:
        common = sorted(real & synthetic)
        measured = not note
        figures.append(
            Figure(
                family="privacy",
                name=name,
                text=text,
                raw=float(len(common)) if measured else None,
                real=float(len(real)) if measured else None,
                note=note,
            )
        )
        examples[name] = [str(value) for value in common[:EXAMPLES]]
    return figures, {"reappear": examples}


def used_addresses(table: Traffic) -> set[Any]:
    """Addresses of the packets of a table that belong to one host, as `ipaddress` objects' text."""
    packets = packets_of(table)
    rows = np.unique(np.concatenate([packets.src, packets.dst]))
    found = set()
    for raw in packets.addresses[rows]:
        wide = ipaddress.IPv6Address(raw.tobytes())
        address = wide.ipv4_mapped or wide
        shared = (
            address.is_multicast
            or address.is_loopback
            or address.is_unspecified
            or address == ipaddress.IPv4Address("255.255.255.255")
        )
        if not shared:
            found.add(str(address))
    return found


def service_ports(trace: Trace) -> set[int]:
    """Ports below 32768 that a packet of the trace comes from or goes to."""
    ports = np.union1d(trace.packets.src_port, trace.packets.dst_port)
    return set(ports[(ports > 0) & (ports < EPHEMERAL)].tolist())


def _unicast(macs: NDArray[np.uint64]) -> list[int]:
    group = (macs >> np.uint64(40)) & np.uint64(1)  # IEEE 802: lowest bit of the first byte
    found: list[int] = macs[(group == 0) & (macs != 0)].tolist()
    return found


def mac_text(mac: int) -> str:
    """Write a MAC address, first byte sent highest, as aa:bb:cc:dd:ee:ff."""
    return ":".join(f"{mac >> shift & 0xFF:02x}" for shift in range(40, -1, -8))
