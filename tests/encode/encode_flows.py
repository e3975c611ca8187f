"""Real and made-up flows for the tests of this room."""

from functools import cache
from pathlib import Path

import numpy as np

from netsynth.capture import read_capture
from netsynth.demux import assemble_flows, read_labels
from netsynth.numbers import Array
from netsynth.tables import PACKET_COLUMNS, FlowTable, PacketTable

SAMPLES = Path(__file__).parents[2] / "sample_pcaps"


@cache
def office_flows(packet_count: int = 4000) -> FlowTable:
    """Flows of the first packets of the office capture, labels included."""
    packets, _ = read_capture(SAMPLES / "office.pcap")
    labels = read_labels(SAMPLES / "office.attacks.csv")
    return assemble_flows(packets.take(np.arange(packet_count)), labels=labels)


def v4(*texts: str) -> Array:
    """IPv4 addresses as uint8 [A, 16], IPv4-mapped."""
    rows = [[0] * 10 + [255, 255] + [int(part) for part in text.split(".")] for text in texts]
    return np.array(rows, dtype=np.uint8).reshape(-1, 16)


def make_flows(
    flows: list[dict[str, int]],
    packets: list[list[tuple[int, int, int]]],
    *,
    addresses: Array | None = None,
) -> FlowTable:
    """Build a FlowTable by hand.

    Args:
        flows: By column name (initiator, responder, initiator_port, responder_port, protocol,
            label); what is missing is 0, 1, 40000, 80, 17 and 0.
        packets: For each flow, (time in ns, 1 where it runs back, payload in bytes).
        addresses: uint8 [A, 16]; None: 10.0.0.1 .. 10.0.0.9.
    """
    if addresses is None:
        addresses = v4(*(f"10.0.0.{i}" for i in range(1, 10)))
    offsets = np.cumsum([0, *(len(p) for p in packets)]).astype(np.int64)
    rows = [row for flow in packets for row in flow]
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    default = {"initiator": 0, "responder": 1, "initiator_port": 40000, "responder_port": 80,
               "protocol": 17, "label": 0}  # fmt: skip
    column = {n: np.array([f.get(n, d) for f in flows], dtype=np.int64) for n, d in default.items()}
    flow = np.repeat(np.arange(len(flows)), np.diff(offsets))
    back = table[:, 1] == 1
    values = {
        "time_ns": table[:, 0],
        "payload_length": table[:, 2],
        "src": np.where(back, column["responder"][flow], column["initiator"][flow]),
        "dst": np.where(back, column["initiator"][flow], column["responder"][flow]),
        "src_port": np.where(back, column["responder_port"][flow], column["initiator_port"][flow]),
        "dst_port": np.where(back, column["initiator_port"][flow], column["responder_port"][flow]),
        "protocol": column["protocol"][flow],
        "ip_version": np.full(back.size, 4),
        "ttl": np.full(back.size, 64),
    }
    made = PacketTable.zeros(back.size, addresses)
    for name, numbers in values.items():
        getattr(made, name)[:] = numbers.astype(PACKET_COLUMNS[name])
    return FlowTable(
        packets=made,
        offsets=offsets,
        reverse=back,
        segment=np.zeros(back.size, dtype=np.uint8),
        ack_class=np.zeros(back.size, dtype=np.uint8),
        initiator=column["initiator"].astype(np.int32),
        responder=column["responder"].astype(np.int32),
        initiator_port=column["initiator_port"].astype(np.uint16),
        responder_port=column["responder_port"].astype(np.uint16),
        protocol=column["protocol"].astype(np.uint8),
        ip_version=np.full(len(flows), 4, dtype=np.uint8),
        label=column["label"].astype(np.int16),
        label_names=("", "portscan"),
    )
