"""How a host chooses the port it opens a flow from.

Ports with a name of their own (the service's, or one below 1024) are kept. The others are told by
habit: a step from the port the host used last, towards the same service (Linux counts upwards
there) or at all (a scanner keeps its port, a flooder counts), or a draw from the learned ephemeral
range. No port of the capture is replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import Array, IntArray, NumberCodec, fit_number_codec
from netsynth.tables import FlowTable

NO_PORT, SAME_AS_RESPONDER = 0, 1
HOST_STEPS = (0, 1, 2, -1)  # from the port the host used last
PAIR_STEPS = tuple(range(33))  # from the port it used last towards the same service
FIXED_SHARE = 0.01  # a port that opens this share of all flows is no ephemeral one
PORTS_A_BIN = 64  # a bin of few would replay the ports it has seen
FIRST_HOST_STEP = 2
FIRST_PAIR_STEP = FIRST_HOST_STEP + len(HOST_STEPS)
FIRST_NAMED = FIRST_PAIR_STEP + len(PAIR_STEPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePortCodec:
    """Initiator ports as tokens: habits, named ports, and one for a draw from `starts`.

    Attributes:
        named: Rows [V, 1], ports kept as they are.
        ephemeral: Bins of the others.
        starts: Rows (initiator, service and responder token, bin): where in the ephemeral range
            ports lay that no habit explains.
    """

    named: Vocabulary
    ephemeral: NumberCodec
    starts: Vocabulary

    @property
    def start_token(self) -> int:
        """Token of a port that no habit explains."""
        return FIRST_NAMED + self.named.size

    @property
    def size(self) -> int:
        """Number of tokens."""
        return self.start_token + 1

    def encode(self, flows: FlowTable) -> IntArray:
        """Return the token of each flow's initiator port, int64 [F]."""
        port = flows.initiator_port.astype(np.int64)
        named = self.named.find(port[:, None])
        token = np.where(named >= 0, FIRST_NAMED + named, self.start_token)
        token = np.where(port == flows.responder_port, SAME_AS_RESPONDER, token)
        free = np.flatnonzero((token == self.start_token) & (port > 0))  # ports with a habit
        own, habit = port[free], token[free]
        before = _port_before(_host_key(flows)[free], own)
        for place, step in reversed(list(enumerate(HOST_STEPS))):
            habit = np.where((before >= 0) & (own == before + step), FIRST_HOST_STEP + place, habit)
        before = _port_before(_pair_key(flows)[free], own)
        ahead = own - before
        known = (before >= 0) & (ahead >= 0) & (ahead < len(PAIR_STEPS))
        token[free] = np.where(known, FIRST_PAIR_STEP + ahead, habit)
        return np.where(port == 0, NO_PORT, token).astype(np.int64)


def fit_source_port_codec(
    flow_tables: list[FlowTable],
    initiator_tokens: list[IntArray],
    responder_tokens: list[IntArray],
    service_tokens: list[IntArray],
    *,
    bin_count: int,
) -> SourcePortCodec:
    """Learn named ports, the ephemeral range and where hosts start in it."""
    port = np.concatenate([t.initiator_port for t in flow_tables]).astype(np.int64)
    responder = np.concatenate([t.responder_port for t in flow_tables]).astype(np.int64)
    services, counts = np.unique(responder, return_counts=True)
    services = services[(counts >= 3) & (services < 32768)]
    ports, counts = np.unique(port, return_counts=True)
    habitual = ports[counts >= max(20, FIXED_SHARE * port.size)]  # a scanner keeps its port
    is_named = (port > 0) & ((port < 1024) | np.isin(port, services) | np.isin(port, habitual))
    named = Vocabulary(rows=np.zeros((1, 1), np.int64), counts=np.zeros(1, np.int64))
    if is_named.any():
        named = fit_vocabulary(port[is_named][:, None], limit=256)
    ephemeral = port[~is_named & (port > 0)]
    if ephemeral.size == 0:
        ephemeral = np.array([49152, 65535])  # RFC 6335 section 6, dynamic ports
    codec = SourcePortCodec(
        named=named,
        ephemeral=fit_number_codec(
            ephemeral,
            bin_count=min(bin_count, max(ephemeral.size // PORTS_A_BIN, 1)),
            atom_count=0,
            largest_ratio=1.01,
        ),
        starts=Vocabulary(rows=np.zeros((0, 4), np.int64), counts=np.zeros(0, np.int64)),
    )
    rows = []
    for flows, initiator, responder, service in zip(
        flow_tables, initiator_tokens, responder_tokens, service_tokens, strict=True
    ):
        started = codec.encode(flows) == codec.start_token
        place = codec.ephemeral.encode(flows.initiator_port)
        rows.append(np.stack([initiator, service, responder, place], axis=1)[started])
    starts = np.concatenate(rows)
    if starts.shape[0] == 0:
        return codec
    return SourcePortCodec(
        named=codec.named,
        ephemeral=codec.ephemeral,
        starts=fit_vocabulary(starts, limit=16384),
    )


@dataclass(slots=True)
class PortAllocator:
    """Turns port tokens into ports, window after window, no 5-tuple twice while it may live.

    Ports that hosts used last carry over from one window to the next, as their counters would.
    """

    codec: SourcePortCodec
    last: dict[tuple[int, ...], int] = field(default_factory=dict)
    used: set[tuple[int, ...]] = field(default_factory=set)
    used_before: set[tuple[int, ...]] = field(default_factory=set)

    def allocate(
        self,
        tokens: IntArray,
        *,
        host: IntArray,
        peer: IntArray,
        protocol: IntArray,
        responder_port: IntArray,
        other_ports: IntArray,
        keys: IntArray,
        rng: np.random.Generator,
    ) -> tuple[IntArray, IntArray, NDArray[np.bool_]]:
        """Choose the ports of the flows of a window.

        Args:
            tokens: Source port tokens, int64 [F], flows in order of start.
            host: Identity of each initiator, the same from window to window, int64 [F].
            peer: Identity of each responder, int64 [F].
            protocol: int64 [F].
            responder_port: int64 [F].
            other_ports: int64 [F, X], responder ports to take instead where a 5-tuple is taken
                (a scanner tries each port once); the columns repeat where it must not change.
            keys: Initiator, service and responder tokens, int64 [F, 3].
            rng: Source of randomness.

        Returns:
            Initiator ports, responder ports, int64 [F], and whether the 5-tuple is free, bool [F]:
            a flow whose ports have names cannot get others.
        """
        codec = self.codec
        self.used_before, self.used = self.used, set()
        named = codec.named.rows[:, 0]
        drawn = codec.ephemeral.decode(self._starts(keys, rng), rng.random(tokens.size))
        drawn = np.clip(drawn, 1, 65535).astype(np.int64)
        port = np.where(tokens == SAME_AS_RESPONDER, responder_port, drawn)
        is_named = (tokens >= FIRST_NAMED) & (tokens < codec.start_token)
        port = np.where(is_named, named[np.clip(tokens - FIRST_NAMED, 0, named.size - 1)], port)
        spare = rng.integers(1024, 65536, size=tokens.size)
        columns = (tokens, port, host, peer, protocol, responder_port, spare)
        result = np.zeros((2, tokens.size), dtype=np.int64)
        free = np.ones(tokens.size, dtype=np.bool_)
        lists = (c.tolist() for c in columns)
        for row, values in enumerate(zip(*lists, other_ports, strict=True)):
            result[0, row], result[1, row], free[row] = self._one(*values)
        return result[0], result[1], free

    def _one(
        self,
        token: int,
        port: int,
        host: int,
        peer: int,
        protocol: int,
        service: int,
        spare: int,
        others: IntArray,
    ) -> tuple[int, int, bool]:
        of_host, of_pair = (host, protocol), (host, protocol, peer, service)
        if FIRST_PAIR_STEP <= token < FIRST_NAMED:
            port = self.last.get(of_pair, port - PAIR_STEPS[token - FIRST_PAIR_STEP])
            port += PAIR_STEPS[token - FIRST_PAIR_STEP]
        elif FIRST_HOST_STEP <= token < FIRST_PAIR_STEP:
            port = self.last.get(of_host, port - HOST_STEPS[token - FIRST_HOST_STEP])
            port += HOST_STEPS[token - FIRST_HOST_STEP]
        if token == NO_PORT:
            port = 0
        elif not 1 <= port <= 65535:
            port = spare
        if self._taken(of_pair, port) and others[0] != service:
            upwards = range(service + 1, min(service + 65, 65536))
            for other in (*others.tolist(), *upwards):
                service, of_pair = other, (host, protocol, peer, other)
                if not self._taken(of_pair, port):
                    break
        elif token >= FIRST_HOST_STEP and not FIRST_NAMED <= token < self.codec.start_token:
            tries = 0
            while self._taken(of_pair, port) and tries < 70000:
                port = port + 1 if tries < 64 and port < 65535 else 1024 + (spare + tries) % 64512
                tries += 1
        free = (*of_pair, port) not in self.used
        self.used.add((*of_pair, port))
        if token >= FIRST_HOST_STEP and not FIRST_NAMED <= token < self.codec.start_token:
            self.last[of_host] = self.last[of_pair] = port
        return port, service, free

    def _taken(self, of_pair: tuple[int, ...], port: int) -> bool:
        return (*of_pair, port) in self.used or (*of_pair, port) in self.used_before

    def _starts(self, keys: IntArray, rng: np.random.Generator) -> IntArray:
        """Bin of the ephemeral range for each flow, as hosts and service had it: int64 [F]."""
        codec = self.codec
        result = np.full(keys.shape[0], -1, dtype=np.int64)
        if codec.starts.rows.shape[0]:
            for columns in ((0, 1, 2), (0, 1), (0,), (1,), ()):
                result = _draw_like(result, keys, codec.starts, columns, rng)
        lost = result < 0
        result[lost] = rng.integers(codec.ephemeral.size, size=int(lost.sum()))
        return result


def _draw_like(
    result: IntArray,
    keys: IntArray,
    starts: Vocabulary,
    columns: tuple[int, ...],
    rng: np.random.Generator,
) -> IntArray:
    """Fill entries of `result` that are -1 from start rows that agree in `columns`."""
    lost = np.flatnonzero(result < 0)
    if lost.size == 0:
        return result
    scale = np.array([1 << 40, 1 << 20, 1], dtype=np.int64)
    code = (
        starts.rows[:, list(columns)] @ scale[list(columns)] if columns else starts.rows[:, 0] * 0
    )
    wanted = keys[lost][:, list(columns)] @ scale[list(columns)] if columns else lost * 0
    order = np.argsort(code, kind="stable")
    weight = np.cumsum(starts.counts[order])
    first = np.searchsorted(code[order], wanted, side="left")
    last = np.searchsorted(code[order], wanted, side="right")
    found = last > first
    low = np.where(first > 0, weight[np.maximum(first - 1, 0)], 0)
    high = weight[np.maximum(last - 1, 0)]
    place = low + rng.random(lost.size) * (high - low)
    row = order[np.minimum(np.searchsorted(weight, place, side="right"), order.size - 1)]
    result[lost[found]] = starts.rows[row[found], 3]
    return result


def _host_key(flows: FlowTable) -> Array:
    return np.stack([flows.initiator.astype(np.int64), flows.protocol.astype(np.int64)], axis=1)


def _pair_key(flows: FlowTable) -> Array:
    more = [flows.responder.astype(np.int64), flows.responder_port.astype(np.int64)]
    return np.concatenate([_host_key(flows), np.stack(more, axis=1)], axis=1)


def _port_before(keys: Array, port: IntArray) -> IntArray:
    """Port of the flow before with the same key; -1 for the first."""
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = group.ravel()
    order = np.argsort(group, kind="stable")
    before = np.full(port.size, -1, dtype=np.int64)
    same = group[order][1:] == group[order][:-1]
    before[order[1:]] = np.where(same, port[order][:-1], -1)
    return before
