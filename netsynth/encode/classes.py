"""Classes that flows are put in: services, shapes, counts and their octaves."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.columns import (
    STATE_FIN_FORWARD,
    STATE_FIN_REVERSE,
    STATE_RST_FORWARD,
    STATE_RST_REVERSE,
    STATE_SYN,
    STATE_SYN_ACK,
    FlowColumns,
)
from netsynth.encode.vocabulary import Vocabulary
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec
from netsynth.tables import ICMP, ICMPV6, FlowTable

SCTP = 132  # RFC 9260
ANY_PORT = -1  # service_port of services whose port is drawn by itself


def is_echo(services: IntArray) -> NDArray[np.bool_]:
    """Tell which rows of services [F, 3] are ICMP or ICMPv6 echoes: bool [F]."""
    kind = services[:, 2] >> 8
    echo = (services[:, 0] == ICMP) & np.isin(kind, (0, 8))
    return np.asarray(echo | ((services[:, 0] == ICMPV6) & np.isin(kind, (128, 129))))


def service_rows(flows: FlowTable, columns: FlowColumns) -> IntArray:
    """Return (protocol, IP version, port) of each flow, int64 [F, 3]."""
    return np.stack(
        [flows.protocol.astype(np.int64), flows.ip_version.astype(np.int64), columns.service_port],
        axis=1,
    )


def service_tokens(services: Vocabulary, rows: IntArray) -> IntArray:
    """Token of each service row; unknown ports become ANY_PORT of their protocol."""
    token = services.find(rows)
    loose = rows.copy()
    loose[:, 2] = ANY_PORT
    return np.where(token < 0, services.encode(loose), token)


def shape_rows(flows: FlowTable, columns: FlowColumns) -> IntArray:
    """Return (protocol, state, packet classes) of each flow, int64 [F, 4]."""
    classes = [count_class(columns.totals[:, direction]) for direction in (0, 1)]
    return np.stack([flows.protocol.astype(np.int64), columns.state, *classes], axis=1)


def count_class(counts: IntArray) -> IntArray:
    """Put counts in classes that grow by half: 0, 1, 2, 3, 4, 5-7, 8-11 ..."""
    logs = np.log(np.maximum(counts, 1) / 4.5) / np.log(1.5)
    return np.where(counts <= 4, counts, 5 + np.floor(np.maximum(logs, 0))).astype(np.int64)


def token_classes(number: NumberCodec) -> IntArray:
    """Count class of each token, -1 where its values lie in several: int64 [size]."""
    low = count_class(np.ceil(number.low).astype(np.int64))
    high = count_class(np.floor(number.high).astype(np.int64))
    return np.where(low == high, low, -1)


def class_count(classes: IntArray) -> FloatArray:
    """Smallest count of each class of `count_class`, float64."""
    return np.where(classes <= 4, classes, np.ceil(4.5 * 1.5 ** (classes - 5)))


def size_classes(counts: Array) -> IntArray:
    """Put counts in classes that grow by four, so coarse that every flow has its like: int64."""
    return np.floor(np.log2(np.maximum(counts, 1)) / 2).astype(np.int64)


def octaves(number: NumberCodec) -> IntArray:
    """Octave of the middle value of each token, int64 [size]."""
    return np.floor(np.log2(1 + (number.low + number.high) / 2)).astype(np.int64)


def endings(state: IntArray) -> IntArray:
    """Put connections of STATE_* bits [M] in classes by how they open and end: int64 [M].

    Four times 0 no SYN, 1 a SYN, 2 a SYN-ACK; plus 0 open, 1 a FIN, 2 a FIN each way, 3 a reset.
    """
    opens = np.where(state & STATE_SYN_ACK, 2, np.where(state & STATE_SYN, 1, 0))
    fins = ((state & STATE_FIN_FORWARD) > 0).astype(np.int64) + ((state & STATE_FIN_REVERSE) > 0)
    resets = (state & (STATE_RST_FORWARD | STATE_RST_REVERSE)) > 0
    return (4 * opens + np.where(resets & (fins < 2), 3, fins)).astype(np.int64)


def turns(counts: IntArray) -> IntArray:
    """Put flows of counts [M, 2] forward and reverse in classes: 0 none answers, 1 an answer to a
    packet, 2 more than that: int64 [M]."""
    both = (counts > 0).all(axis=1)
    return np.where(both, np.where((counts == 1).all(axis=1), 1, 2), 0)
