"""The token columns that follow from the static view, so that both views decode alike."""

from __future__ import annotations

import numpy as np

from netsynth.encode.classes import ANY_PORT, service_tokens
from netsynth.encode.codec import Codec
from netsynth.encode.hosts import is_v4
from netsynth.encode.source_ports import FIRST_NAMED, NO_PORT, SAME_AS_RESPONDER
from netsynth.encode.static import StaticColumns
from netsynth.errors import TableError
from netsynth.numbers import IntArray


def static_tokens(codec: Codec, columns: StaticColumns) -> dict[str, IntArray]:
    """Return the tokens of the columns that the static view determines.

    Addresses that are no host's of the vocabulary become its rare hosts; their bits are to go
    into `initiator_bits` and `responder_bits`. An ephemeral port becomes the token whose port is
    drawn. Of the columns that `decode` reads, those of the headers (meta, opening) are left to
    the generator, given these.

    Args:
        codec: What the tokens belong to.
        columns: Of F flows in order of start.

    Returns:
        int64 [F] each, by the name of the token field.

    Raises:
        TableError: If the flows are not in order of start.
    """
    start = columns.numbers["start_ns"].astype(np.int64)
    gap = np.diff(start, prepend=0)
    if (gap < 0).any():
        row = int(np.argmax(gap < 0))
        raise TableError(f"sort the flows by start: row {row} is {-gap[row]} ns too early")
    number = codec.numbers
    version = np.where(is_v4(columns.responder), 4, 6).astype(np.int64)
    rows = np.stack([columns.protocol, version, columns.service_port], axis=1)
    service = service_tokens(codec.services, rows)
    any_port = codec.services.rows[service, 2] == ANY_PORT
    return {
        "gap": number["start_gap"].encode(gap),
        "label": columns.label,
        "service": service,
        "responder": codec.hosts.encode(columns.responder),
        "initiator": codec.hosts.encode(columns.initiator),
        "initiator_port": _initiator_ports(codec, columns),
        "responder_port": np.where(any_port, 1 + number["port"].encode(columns.service_port), 0),
        "packets_forward": number["packets"].encode(columns.numbers["packets_forward"]),
        "packets_reverse": number["packets"].encode(columns.numbers["packets_reverse"]),
        "bytes_forward": number["bytes"].encode(columns.numbers["bytes_forward"]),
        "bytes_reverse": number["bytes"].encode(columns.numbers["bytes_reverse"]),
    }


def _initiator_ports(codec: Codec, columns: StaticColumns) -> IntArray:
    """Source port tokens: named ports as such, all others drawn."""
    port = columns.initiator_port
    named = codec.source_ports.named.find(port[:, None])
    token = np.where(named >= 0, FIRST_NAMED + named, codec.source_ports.start_token)
    token = np.where((port == columns.service_port) & (port > 0), SAME_AS_RESPONDER, token)
    return np.where(port == 0, NO_PORT, token).astype(np.int64)
