"""How a host chooses the port it opens a flow from.

Ports with a name of their own (the service's, or one below 1024) are kept. The others are drawn:
from the learned ephemeral range, or relative to the port the host used last, as tools do that
keep one port (a scanner) or count upwards (a flooder). No port of the capture is replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import Array, IntArray, NumberCodec, fit_number_codec
from netsynth.tables import FlowTable

NO_PORT, SAME_AS_RESPONDER, AS_BEFORE, NEXT, NEXT_BUT_ONE = 0, 1, 2, 3, 4
MODES = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePortCodec:
    """Initiator ports as tokens: modes, then named ports, then bins of the ephemeral range."""

    named: Vocabulary  # rows [V, 1]
    ephemeral: NumberCodec

    @property
    def size(self) -> int:
        """Number of tokens."""
        return MODES + self.named.size + self.ephemeral.size

    def encode(self, flows: FlowTable) -> IntArray:
        """Return the token of each flow's initiator port, int64 [F]."""
        port = flows.initiator_port.astype(np.int64)
        before = port_before(flows.initiator, flows.protocol, port)
        token = MODES + self.named.size + self.ephemeral.encode(port)
        for mode, ahead in ((NEXT_BUT_ONE, 2), (NEXT, 1), (AS_BEFORE, 0)):
            token = np.where((before >= 0) & (port == before + ahead), mode, token)
        named = self.named.find(port[:, None])
        token = np.where(named >= 0, MODES + named, token)
        token = np.where(port == flows.responder_port, SAME_AS_RESPONDER, token)
        return np.where(port == 0, NO_PORT, token).astype(np.int64)

    def draw(self, tokens: IntArray, uniform: Array) -> IntArray:
        """Return a port for each token; AS_BEFORE, NEXT and SAME_AS_RESPONDER give -1."""
        first_bin = MODES + self.named.size
        port = np.full(tokens.size, -1, dtype=np.int64)
        port[tokens == NO_PORT] = 0
        named = (tokens >= MODES) & (tokens < first_bin)
        port[named] = self.named.rows[tokens[named] - MODES, 0]
        binned = tokens >= first_bin
        drawn = self.ephemeral.decode(tokens[binned] - first_bin, uniform[binned])
        port[binned] = np.clip(drawn.astype(np.int64), 1, 65535)
        return port


def fit_source_port_codec(flow_tables: list[FlowTable], *, bin_count: int) -> SourcePortCodec:
    """Learn named ports and the ephemeral range from `flow_tables`."""
    port = np.concatenate([t.initiator_port for t in flow_tables]).astype(np.int64)
    responder = np.concatenate([t.responder_port for t in flow_tables]).astype(np.int64)
    services, counts = np.unique(responder, return_counts=True)
    services = services[(counts >= 3) & (services < 32768)]
    is_named = (port > 0) & ((port < 1024) | np.isin(port, services))
    named = fit_vocabulary(port[is_named][:, None], limit=256) if is_named.any() else None
    ephemeral = port[~is_named & (port > 0)]
    if ephemeral.size == 0:
        ephemeral = np.array([49152, 65535])  # RFC 6335 section 6, dynamic ports
    return SourcePortCodec(
        named=named or Vocabulary(rows=np.zeros((1, 1), np.int64), counts=np.zeros(1, np.int64)),
        ephemeral=fit_number_codec(ephemeral, bin_count=bin_count, atom_count=0),
    )


def port_before(host: Array, protocol: Array, port: IntArray) -> IntArray:
    """Port the same host used for its flow before, in the same protocol; -1 for its first."""
    group = host.astype(np.int64) * 256 + protocol
    order = np.argsort(group, kind="stable")
    before = np.full(port.size, -1, dtype=np.int64)
    same = group[order][1:] == group[order][:-1]
    before[order[1:]] = np.where(same, port[order][:-1], -1)
    return before


def allocate_ports(
    tokens: IntArray,
    drawn: IntArray,
    *,
    host: Array,
    peer: Array,
    protocol: Array,
    responder_port: IntArray,
    rng: np.random.Generator,
    named_limit: int,
) -> IntArray:
    """Turn drawn tokens into ports such that no 5-tuple occurs twice.

    Args:
        tokens: Source port tokens, int64 [F], flows in order of start.
        drawn: Ports of `SourcePortCodec.draw`, int64 [F].
        host: Initiator of each flow, whole numbers [F].
        peer: Responder of each flow, whole numbers [F].
        protocol: [F].
        responder_port: int64 [F].
        rng: Source of randomness.
        named_limit: First token that stands for an ephemeral bin.

    Returns:
        Initiator ports, int64 [F]. Named ports stay as drawn even where a 5-tuple repeats.
    """
    port = np.where(tokens == SAME_AS_RESPONDER, responder_port, drawn)
    last: dict[tuple[int, int], int] = {}
    used: set[tuple[int, int, int, int, int]] = set()
    fresh = rng.integers(32768, 61000, size=port.size)
    rows = zip(
        tokens.tolist(), port.tolist(), host.tolist(), peer.tolist(), protocol.tolist(),
        responder_port.tolist(), fresh.tolist(), strict=True,
    )  # fmt: skip
    result = np.empty(port.size, dtype=np.int64)
    for row, (token, value, source, target, proto, target_port, spare) in enumerate(rows):
        key = (source, proto)
        if token in (AS_BEFORE, NEXT, NEXT_BUT_ONE):
            value = last.get(key, spare) + token - AS_BEFORE
            value = value if value <= 65535 else 1024 + value % 64512
        five = (source, target, proto, value, target_port)
        if token >= named_limit or token in (AS_BEFORE, NEXT, NEXT_BUT_ONE):
            while five in used:
                value = value + 1 if value < 65535 else 1024
                five = (source, target, proto, value, target_port)
        used.add(five)
        last[key] = value
        result[row] = value
    return result
