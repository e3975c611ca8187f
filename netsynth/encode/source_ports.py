"""How a host chooses the port it opens a flow from.

Ports with a name of their own (the service's, or one below 1024) are kept. The others are told by
habit: a step from the port the host used last, towards the same service (Linux counts upwards
there) or at all (a scanner keeps its port, a flooder counts), or a draw from the part of the
ephemeral range that the hosts began or jumped to. No port of the capture is replayed.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.port_paths import (
    BLOCK,
    NO_PATHS,
    PLACES,
    fit_paths,
    follow_paths,
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
        code = _codes(self.jumps.rows[:, :3])
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
        code = _codes(rows[:, :3])
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


MOST_REMEMBERED = 100_000  # 5-tuples of earlier windows that are not given out again


@dataclass(slots=True)
class PortAllocator:
    """Turns port tokens into ports, window after window, no 5-tuple twice while it may live.

    Ports that hosts used last carry over from one window to the next, as their counters would.
    A connection may stay open for as long as the trace lasts, so ephemeral ports are not given
    out again until 100,000 5-tuples later. A scanner keeps the port it chose until it would repeat
    a 5-tuple of an earlier window: then it is the next scan, from a port of its own.
    """

    codec: SourcePortCodec
    last: dict[tuple[int, ...], int] = field(default_factory=dict)
    step: dict[tuple[int, ...], int] = field(default_factory=dict)
    used: set[tuple[int, ...]] = field(default_factory=set)
    used_before: set[tuple[int, ...]] = field(default_factory=set)
    remembered: set[tuple[int, ...]] = field(default_factory=set)
    full: set[tuple[int, ...]] = field(default_factory=set)  # pairs without a port left
    chosen: dict[tuple[int, int], int] = field(default_factory=dict)  # by host and named port

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
        if len(self.remembered) > MOST_REMEMBERED:
            self.remembered = set()
        self.remembered |= self.used
        is_first = not self.remembered
        self.used_before, self.used, self.full = self.used, set(), set()
        named = codec.named.rows[:, 0]
        free = codec.are_free(tokens)
        pair = np.stack([host, protocol, peer, responder_port], axis=1)
        first = free & (_rank(_codes(np.where(free[:, None], pair, -1))) == 0)
        begin = _ports(first, keys, codec.starts, codec.places, rng)
        often = codec.jumps_of_key >= OFTEN
        more = Vocabulary(rows=codec.jumps.rows[often], counts=codec.jumps.counts[often])
        jumps = (tokens == codec.start_token) & ~first
        leap = _ports(jumps, keys, codec.jumps, more, rng, columns=COARSER[:1])
        port = np.where(tokens == SAME_AS_RESPONDER, responder_port, begin)
        is_named = (tokens >= FIRST_NAMED) & (tokens < codec.start_token)
        port = np.where(is_named, named[np.clip(tokens - FIRST_NAMED, 0, named.size - 1)], port)
        spare = rng.integers(1024, 65536, size=tokens.size)
        columns = (tokens, port, leap, host, peer, protocol, responder_port, spare)
        result = np.zeros((2, tokens.size), dtype=np.int64)
        open_ = np.ones(tokens.size, dtype=np.bool_)
        lists = (c.tolist() for c in columns)
        for row, values in enumerate(zip(*lists, other_ports, strict=True)):
            result[0, row], result[1, row], open_[row] = self._one(*values)
        if is_first:  # later windows count on
            movable = free & open_ & (result[0] > 0)
            pairs = np.stack([host, protocol, peer, result[1]], axis=1)
            result[0] = self._follow_paths(pairs, keys, result[0], movable, rng)
        return result[0], result[1], open_

    def _follow_paths(
        self,
        pairs: IntArray,
        keys: IntArray,
        port: IntArray,
        movable: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> IntArray:
        """Move ports [F] of pairs [F, 4] as `follow_paths` does, and remember the new ones."""
        moved = follow_paths(self.codec.paths, keys, port, movable, rng)
        tuples = [np.concatenate([pairs, p[:, None]], axis=1) for p in (port, moved)]
        if len(np.unique(tuples[1], axis=0)) < len(np.unique(tuples[0], axis=0)):
            return port  # a named port was in the way
        self.used = set(map(tuple, tuples[1].tolist()))
        for row in np.flatnonzero(moved != port).tolist():
            pair, new = tuple(pairs[row].tolist()), int(moved[row])
            self.last[pair[:2]] = self.last[pair] = new
        return moved

    def _one(
        self,
        token: int,
        port: int,
        leap: int,
        host: int,
        peer: int,
        protocol: int,
        service: int,
        spare: int,
        others: IntArray,
    ) -> tuple[int, int, bool]:
        of_host, of_pair = (host, protocol), (host, protocol, peer, service)
        is_free = token >= FIRST_HOST_STEP and not FIRST_NAMED <= token < self.codec.start_token
        if is_free:
            port = self._follow(token, port, leap, of_host, of_pair)
        elif FIRST_NAMED <= token < self.codec.start_token and port >= CHOSEN.start:
            port = self._scan_from(host, of_pair, port, spare)
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
        elif is_free and of_pair not in self.full:
            port = self._next_free(of_pair, port, spare)
        free = (*of_pair, port) not in self.used
        self.used.add((*of_pair, port))
        if is_free:
            self.last[of_host] = self.last[of_pair] = port
        return port, service, free

    def _follow(
        self,
        token: int,
        port: int,
        leap: int,
        of_host: tuple[int, ...],
        of_pair: tuple[int, ...],
    ) -> int:
        """Port that a habit leads to; `port` where the pair begins, `leap` where it jumps."""
        if FIRST_HOST_STEP <= token < FIRST_PAIR_STEP:
            before = self.last.get(of_host)
            return port if before is None else before + HOST_STEPS[token - FIRST_HOST_STEP]
        before = self.last.get(of_pair)
        if before is None:
            return port
        if token < FIRST_NAMED:
            self.step[of_pair] = PAIR_STEPS[token - FIRST_PAIR_STEP]
        elif leap:
            return leap
        return before + self.step.get(of_pair, 2)  # it never jumped: it goes on

    def _scan_from(self, host: int, of_pair: tuple[int, ...], named: int, spare: int) -> int:
        """Port that stands for a scanner's `named` one; another where the 5-tuple is an old one."""
        port = self.chosen.get((host, named), named)
        for turn in range(64):
            whole = (*of_pair, port)
            if whole not in self.used_before and whole not in self.remembered:
                break
            port = CHOSEN[(spare + turn * 7919) % len(CHOSEN)]
            self.chosen[host, named] = port
        return port

    def _next_free(self, of_pair: tuple[int, ...], port: int, spare: int) -> int:
        """First port from `port` on that the pair may use; `port` where all are in use."""
        wanted, tries = port, 0
        while self._taken(of_pair, port) or (*of_pair, port) in self.remembered:
            if tries == 70_000:  # the host has used all its ports by now
                if not self.remembered:
                    self.full.add(of_pair)  # looked for once a window
                    return wanted
                self.remembered.clear()
                port, tries = wanted, 0
                continue
            port = port + 2 if tries < 64 and port < 65534 else 1024 + (spare + tries) % 64512
            tries += 1
        return port

    def _taken(self, of_pair: tuple[int, ...], port: int) -> bool:
        return (*of_pair, port) in self.used or (*of_pair, port) in self.used_before


COARSER = ((0, 1, 2), (0, 1), (0,), (1,), ())  # columns of keys whose places are shared


def _ports(
    wanted: NDArray[np.bool_],
    keys: IntArray,
    own: Vocabulary,
    others: Vocabulary,
    rng: np.random.Generator,
    *,
    columns: tuple[tuple[int, ...], ...] = COARSER,
) -> IntArray:
    """Draw ports of the flows `wanted` [F]: int64 [F].

    Flows share out the places that `own` has of their key, each once; what is left is drawn from
    those of `others` whose keys agree in `columns`, one tuple after the other. 0 where none does.
    """
    rows = np.flatnonzero(wanted)
    result = np.zeros(wanted.size, dtype=np.int64)
    if rows.size == 0 or own.rows.shape[0] == 0:
        return result
    place = _share_out(keys[rows], own, rng)
    for some in columns if others.rows.shape[0] else ():
        place = _draw_like(place, keys[rows], others, some, rng)
    result[rows] = np.where(place < 0, 0, draw_ports(place, rng))
    return result


def draw_ports(places: IntArray, rng: np.random.Generator) -> IntArray:
    """Draw a port of each place, see `SourcePortCodec`: int64 of the same shape."""
    inside = 2 * rng.integers(BLOCK // 2, size=places.shape) + places % 2
    return np.maximum(places // 2 * BLOCK + inside, 1)


def _share_out(keys: IntArray, places: Vocabulary, rng: np.random.Generator) -> IntArray:
    """Give each row of keys [M, 3] a place of the same key, none twice; -1 where none is left."""
    count = places.counts.size
    rows = np.repeat(np.arange(count), places.counts)
    rows = rows[rng.permutation(rows.size)]
    code = _codes(np.concatenate([places.rows[:, :3], keys])) << 32
    known, wanted = (part + _rank(part) for part in (code[:count][rows], code[count:]))
    order = np.argsort(known)
    found = order[np.minimum(np.searchsorted(known[order], wanted), known.size - 1)]
    return np.where(known[found] == wanted, places.rows[rows[found], 3], -1)


def _codes(rows: IntArray) -> IntArray:
    """A number for each row of [M, C], the same for equal rows: int64 [M]."""
    return np.unique(rows, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _rank(code: IntArray) -> IntArray:
    """How many entries before each are equal to it, int64 [M]."""
    order = np.argsort(code, kind="stable")
    sorted_code = code[order]
    begins = np.ones(code.size, dtype=np.bool_)
    begins[1:] = sorted_code[1:] != sorted_code[:-1]
    first = np.maximum.accumulate(np.where(begins, np.arange(code.size), 0))
    rank = np.empty(code.size, dtype=np.int64)
    rank[order] = np.arange(code.size) - first
    return rank


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
    group = _codes(keys)
    order = np.argsort(group, kind="stable")
    before = np.full(port.size, -1, dtype=np.int64)
    same = group[order][1:] == group[order][:-1]
    before[order[1:]] = np.where(same, port[order][:-1], -1)
    return before
