"""How a host chooses the port it opens a flow from.

Ports with a name of their own (the service's, or one below 1024) are kept. The others are told by
habit: a step from the port the host used last, towards the same service (Linux counts upwards
there) or at all (a scanner keeps its port, a flooder counts), or a draw from the part of the
ephemeral range that the hosts began or jumped to. No port of the capture is replayed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.port_paths import (
    BLOCK,
    NO_PATHS,
    PLACES,
    fit_paths,
    place_of,
)
from netsynth.encode.vocabulary import Vocabulary, fit_vocabulary
from netsynth.numbers import Array, IntArray
from netsynth.tables import FlowTable

NO_PORT, SAME_AS_RESPONDER = 0, 1
HOST_STEPS = (0, 1, 2, -1)  # from the port the host used last
PAIR_STEPS = tuple(range(33))  # from the port it used last towards the same service
FIXED_SHARE = 0.01  # a port that opens this share of all flows is no ephemeral one
DYNAMIC = range(49152, 65536)  # RFC 6335 section 6
CHOSEN = range(32768, 61000)  # Linux's ephemeral ports; named ones are those of scanners
RARELY = 0.01  # share of jumps below which a key's flows count on without any
OFTEN = 20  # jumps of a key from which on it may jump more often than learned
NOWHERE = Vocabulary(rows=np.zeros((0, 4), np.int64), counts=np.zeros(0, np.int64))
FIRST_HOST_STEP = 2
FIRST_PAIR_STEP = FIRST_HOST_STEP + len(HOST_STEPS)
FIRST_NAMED = FIRST_PAIR_STEP + len(PAIR_STEPS)


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePortCodec:
    """Initiator ports as tokens: habits, named ports, and one for a draw from `starts`.

    Attributes:
        named: Rows [V, 1], ports kept as they are.
        starts: Rows (initiator, service and responder token, place): where in the ephemeral range
            pairs of hosts began, to BLOCK ports; see `place_of`.
        jumps: The same for ports that no habit explains though the pair had used one before.
        paths: The same for all ports of busy pairs; see `port_paths`.
    """

    named: Vocabulary
    starts: Vocabulary
    jumps: Vocabulary
    paths: Vocabulary = NO_PATHS

    @property
    def places(self) -> Vocabulary:
        """Rows of `starts` and `jumps` together."""
        return Vocabulary(
            rows=np.concatenate([self.starts.rows, self.jumps.rows]),
            counts=np.concatenate([self.starts.counts, self.jumps.counts]),
        )

    @property
    def jumps_of_key(self) -> IntArray:
        """How many jumps the key of each row of `jumps` has: int64 [V]."""
        code = codes(self.jumps.rows[:, :3])
        return np.bincount(code, self.jumps.counts).astype(np.int64)[code]

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
        free = self.are_free(token) & (port > 0)  # ports with a habit
        own, habit = port[free], token[free]
        before = _port_before(_host_key(flows)[free], own)
        for place, step in reversed(list(enumerate(HOST_STEPS))):
            habit = np.where((before >= 0) & (own == before + step), FIRST_HOST_STEP + place, habit)
        before = _port_before(_pair_key(flows)[free], own)
        ahead = own - before
        known = (before >= 0) & (ahead >= 0) & (ahead < len(PAIR_STEPS))
        token[free] = np.where(known, FIRST_PAIR_STEP + ahead, habit)
        return np.where(port == 0, NO_PORT, token).astype(np.int64)

    def are_free(self, tokens: IntArray) -> NDArray[np.bool_]:
        """Tell which tokens are ports that hosts choose: bool, shape of `tokens`."""
        named = (tokens >= FIRST_NAMED) & (tokens < self.start_token)
        return (tokens >= FIRST_HOST_STEP) & ~named


def fit_source_port_codec(
    flow_tables: list[FlowTable],
    initiator_tokens: list[IntArray],
    responder_tokens: list[IntArray],
    service_tokens: list[IntArray],
) -> SourcePortCodec:
    """Learn named ports, the ephemeral range and where hosts start in it."""
    port = np.concatenate([t.initiator_port for t in flow_tables]).astype(np.int64)
    responder = np.concatenate([t.responder_port for t in flow_tables]).astype(np.int64)
    services, counts = np.unique(responder, return_counts=True)
    services = services[(counts >= 3) & (services < CHOSEN.start)]
    ports, counts = np.unique(port, return_counts=True)
    habitual = ports[counts >= max(20, FIXED_SHARE * port.size)]  # a scanner keeps its port
    is_named = (port > 0) & ((port < 1024) | np.isin(port, services) | np.isin(port, habitual))
    named = Vocabulary(rows=np.zeros((1, 1), np.int64), counts=np.zeros(1, np.int64))
    if is_named.any():
        named = fit_vocabulary(port[is_named][:, None], limit=256)
    codec = SourcePortCodec(named=named, starts=NOWHERE, jumps=NOWHERE)
    starts, jumps, chosen = [], [], []
    for flows, initiator, responder, service in zip(
        flow_tables, initiator_tokens, responder_tokens, service_tokens, strict=True
    ):
        token = codec.encode(flows)
        free = np.flatnonzero(codec.are_free(token))
        own = flows.initiator_port.astype(np.int64)
        rows = np.stack([initiator, service, responder, place_of(own)], axis=1)[free]
        begins = _port_before(_pair_key(flows)[free], own[free]) < 0
        starts.append(rows[begins])
        leaps = ~begins & (token[free] == codec.start_token)
        code = codes(rows[:, :3])
        leaps &= np.bincount(code, leaps)[code] >= RARELY * np.bincount(code)[code]
        jumps.append(rows[leaps])
        chosen.append(np.concatenate([rows[:, :3], own[free, None]], axis=1))
    begun, jumped = np.concatenate(starts), np.concatenate(jumps)
    all_chosen = np.concatenate(chosen)
    if begun.shape[0] == 0:
        begun = np.zeros((len(DYNAMIC) // BLOCK, 4), dtype=np.int64)
        begun[:, 3] = np.arange(DYNAMIC.start, DYNAMIC.stop, BLOCK) // BLOCK * 2
    return SourcePortCodec(
        named=named,
        starts=fit_vocabulary(begun, limit=PLACES),
        jumps=fit_vocabulary(jumped, limit=PLACES) if jumped.shape[0] else NOWHERE,
        paths=fit_paths(all_chosen[:, :3], all_chosen[:, 3]),
    )


def codes(rows: IntArray) -> IntArray:
    """A number for each row of [M, C], the same for equal rows: int64 [M]."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _host_key(flows: FlowTable) -> Array:
    return np.stack([flows.initiator.astype(np.int64), flows.protocol.astype(np.int64)], axis=1)


def _pair_key(flows: FlowTable) -> Array:
    more = [flows.responder.astype(np.int64), flows.responder_port.astype(np.int64)]
    return np.concatenate([_host_key(flows), np.stack(more, axis=1)], axis=1)


def _port_before(keys: Array, port: IntArray) -> IntArray:
    """Port of the flow before with the same key; -1 for the first."""
    group = codes(keys)
    order = np.argsort(group, kind="stable")
    before = np.full(port.size, -1, dtype=np.int64)
    same = group[order][1:] == group[order][:-1]
    before[order[1:]] = np.where(same, port[order][:-1], -1)
    return before
