"""Flows of actions, as a generator would emit them, written down in short."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from netsynth.tables import (
    ACK_ALL,
    ACK_NONE,
    IN_ORDER,
    NO_WINDOW_SCALE,
    PACKET_COLUMNS,
    TCP,
    Array,
    FlowTable,
    PacketTable,
)

STEP_NS = 1_000_000


class Action(NamedTuple):
    """One packet: flags as letters of "FSRPAUEC", direction, payload and classes."""

    flags: str = "A"
    reverse: bool = False
    payload: int = 0
    segment: int = IN_ORDER
    ack_class: int | None = None  # ACK_ALL where the ACK flag is set
    window: int = 65535
    option_bits: int = 0
    mss: int = 0
    window_scale: int = NO_WINDOW_SCALE
    icmp: int = 0


def flags_of(letters: str) -> int:
    """Return the flag bits of letters."""
    return sum(1 << "FSRPAUEC".index(letter) for letter in letters)


HANDSHAKE = [Action("S"), Action("SA", reverse=True), Action("A")]


def dialogue(*sizes: int, close: bool = True) -> list[Action]:
    """Return a whole connection whose sides send messages of `sizes` in turn, client first."""
    actions = list(HANDSHAKE)
    for turn, size in enumerate(sizes):
        reverse = turn % 2 == 1
        while size > 0:
            actions.append(Action("PA", reverse, min(size, 1448)))
            size -= 1448
        actions.append(Action("A", not reverse))
    if close:
        actions += [Action("FA"), Action("FA", reverse=True), Action("A")]
    return actions


def flow_table(
    flows: list[list[Action]],
    *,
    protocol: int = TCP,
    port: int = 80,
    ip_version: int = 4,
    client_port: int = 40_000,
    start_ns: int = 1_700_000_000_000_000_000,
    times_ns: list[list[int]] | None = None,
) -> FlowTable:
    """Make a FlowTable of flows between two hosts, one after the other, 1 ms a packet."""
    counts = np.array([len(flow) for flow in flows], dtype=np.int64)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    actions = [action for flow in flows for action in flow]
    flow_of = np.repeat(np.arange(len(flows)), counts)
    reverse = np.array([action.reverse for action in actions], dtype=np.bool_)
    has_ports = protocol in (6, 17)
    ports = (client_port + np.arange(len(flows)) % 20_000).astype(np.uint16) * has_ports
    server = np.full(len(flows), port if has_ports else 0, dtype=np.uint16)
    flags = np.array([flags_of(action.flags) if protocol == TCP else 0 for action in actions])
    ack_class = np.array(
        [
            action.ack_class
            if action.ack_class is not None
            else (ACK_ALL if flag & 16 else ACK_NONE)
            for action, flag in zip(actions, flags, strict=True)
        ]
    )
    columns: dict[str, Array] = {
        name: np.zeros(len(actions), dtype=dtype) for name, dtype in PACKET_COLUMNS.items()
    }
    values = {
        "time_ns": start_ns + np.arange(len(actions)) * STEP_NS
        if times_ns is None
        else np.array([time for each in times_ns for time in each]),
        "src": np.where(reverse, 1, 0),
        "dst": np.where(reverse, 0, 1),
        "src_port": np.where(reverse, server[flow_of], ports[flow_of]),
        "dst_port": np.where(reverse, ports[flow_of], server[flow_of]),
        "protocol": protocol,
        "ip_version": ip_version,
        "ttl": 64,
        "ip_flags": 2 if ip_version == 4 else 0,
        "tcp_flags": flags,
    }
    for name in ("payload", "window", "option_bits", "mss", "window_scale", "icmp"):
        column = "payload_length" if name == "payload" else name
        values[column] = np.array([getattr(action, name) for action in actions])
    for name, value in values.items():
        columns[name][:] = value
    addresses = np.zeros((2, 16), dtype=np.uint8)
    if ip_version == 4:
        addresses[:, 10:12] = 255
        addresses[:, 12:] = [[192, 0, 2, 1], [198, 51, 100, 2]]
    else:
        addresses[:, :4] = [0x20, 0x01, 0x0D, 0xB8]
        addresses[:, 15] = [1, 2]
    return FlowTable(
        packets=PacketTable(addresses=addresses, **columns),
        offsets=offsets,
        reverse=reverse,
        segment=np.array([action.segment for action in actions], dtype=np.uint8),
        ack_class=ack_class.astype(np.uint8),
        initiator=np.zeros(len(flows), dtype=np.int32),
        responder=np.ones(len(flows), dtype=np.int32),
        initiator_port=ports.astype(np.uint16),
        responder_port=server,
        protocol=np.full(len(flows), protocol, dtype=np.uint8),
        ip_version=np.full(len(flows), ip_version, dtype=np.uint8),
        label=np.zeros(len(flows), dtype=np.int16),
    )
