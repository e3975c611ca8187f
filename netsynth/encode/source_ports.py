"""How a host chooses the port it opens a flow from.

Ports with a name of their own (the service's, or one below 1024) are kept. The others are told by
habit: a step from the port the host used last, towards the same service (Linux counts upwards
there) or at all (a scanner keeps its port, a flooder counts), a return to a port it used there
before (small devices have but a few), or a draw from the part of the ephemeral range that
the hosts began or jumped to. No port of the capture is replayed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
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
from netsynth.tables import SYN, TCP, FlowTable

NO_PORT, SAME_AS_RESPONDER = 0, 1
HOST_STEPS = (0, 1, 2, -1)  # from the port the host used last
PAIR_STEPS = tuple(range(33))  # from the port it used last towards the same service
# Least number of other ports used since, of ports that a host returns to for the same service.
RETURNS = (1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
MOST_RECENT = 4096  # ports of a pair that are remembered on the way back
FIXED_SHARE = 0.01  # a port that opens this share of all flows is no ephemeral one
DYNAMIC = range(49152, 65536)  # RFC 6335 section 6
CHOSEN = range(32768, 61000)  # Linux's ephemeral ports; named ones are those of scanners
RARELY = 0.01  # share of jumps below which a key's flows count on without any
COMES_ROUND = 0.5  # share of a counter's ports used before from which on it returns to a few
OFTEN = 20  # jumps of a key from which on it may jump more often than learned
NOWHERE = Vocabulary(rows=np.zeros((0, 4), np.int64), counts=np.zeros(0, np.int64))
FIRST_HOST_STEP = 2
FIRST_PAIR_STEP = FIRST_HOST_STEP + len(HOST_STEPS)
FIRST_RETURN = FIRST_PAIR_STEP + len(PAIR_STEPS)
FIRST_NAMED = FIRST_RETURN + len(RETURNS)
NEVER = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePortCodec:
    """Initiator ports as tokens: habits, named ports, and one for a draw from `starts`.

    Attributes:
        named: Rows [V, 1], ports kept as they are.
        starts: Rows (initiator, service and responder token, place): where in the ephemeral range
            pairs of hosts began, to BLOCK ports; see `place_of`.
        jumps: The same for ports that no habit explains though the pair had used one before.
        paths: The same for all ports of busy pairs; see `port_paths`.
        reuse_ns: Shortest time after which a connection was seen to take the 5-tuple of one that
            was over, ns; NEVER where none did.
        longest_reuse_ns: Longest such time, ns.
    """

    named: Vocabulary
    starts: Vocabulary
    jumps: Vocabulary
    paths: Vocabulary = NO_PATHS
    reuse_ns: int = NEVER
    longest_reuse_ns: int = NEVER

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return what was learned as named arrays, for a model file."""
        arrays: dict[str, Array] = {
            f"{name}.reuse_ns": np.array([self.reuse_ns, self.longest_reuse_ns])
        }
        for key in ("named", "starts", "jumps", "paths"):
            arrays |= getattr(self, key).to_arrays(f"{name}.{key}")
        return arrays

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> SourcePortCodec:
        """Inverse of `to_arrays`."""
        keys = ("named", "starts", "jumps", "paths")
        shortest, longest = arrays[f"{name}.reuse_ns"].tolist()
        return SourcePortCodec(
            **{key: Vocabulary.from_arrays(f"{name}.{key}", arrays) for key in keys},
            reuse_ns=shortest,
            longest_reuse_ns=longest,
        )

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
        habit = np.where(known, FIRST_PAIR_STEP + ahead, habit)
        pair = codes(_pair_key(flows)[free])
        back = _returns(pair[:, None], own)
        counts = known & (ahead > 0)
        met = np.bincount(pair, counts & (back >= 0)) < COMES_ROUND * np.bincount(pair, counts)
        back = np.where(counts & met[pair], NEVER, back)  # by chance, a counter passes such a port
        token[free] = np.where(back >= 0, FIRST_RETURN + back, habit)
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
    waits = _reuses(flow_tables)
    return SourcePortCodec(
        named=named,
        starts=fit_vocabulary(begun, limit=PLACES),
        jumps=fit_vocabulary(jumped, limit=PLACES) if jumped.shape[0] else NOWHERE,
        paths=fit_paths(all_chosen[:, :3], all_chosen[:, 3]),
        reuse_ns=int(waits.min()) if waits.size else NEVER,
        longest_reuse_ns=int(waits.max()) if waits.size else NEVER,
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


def _returns(keys: Array, port: IntArray) -> IntArray:
    """Tell how many other ports flows of the same key used since they last used the port of each.

    Returns:
        int64 [F], place in RETURNS; -1 where there is none, or the port is new to the key.
    """
    result = np.full(port.size, -1, dtype=np.int64)
    tuples = codes(np.concatenate([keys, port[:, None]], axis=1))
    again = np.bincount(tuples)[tuples] > 1
    key = codes(keys)
    some = np.bincount(key, again)[key] > 0
    last: dict[int, int] = {}  # row that used a tuple last
    rows_of: dict[int, list[int]] = {}  # those rows of each key, ascending
    for row in np.flatnonzero(some).tolist():
        rows, own = rows_of.setdefault(int(key[row]), []), int(tuples[row])
        if own in last:
            place = bisect_left(rows, last[own])
            result[row] = bisect_right(RETURNS, len(rows) - 1 - place) - 1
            del rows[place]
        rows.append(row)
        last[own] = row
    return result


def remember(recent: dict[int, None], port: int) -> None:
    """Put `port` at the end of the ports used last, MOST_RECENT of them."""
    recent.pop(port, None)
    recent[port] = None
    if len(recent) > MOST_RECENT:
        del recent[next(iter(recent))]


def _reuses(flow_tables: list[FlowTable]) -> IntArray:
    """Times after which connections took the 5-tuple of one that was over: int64 [R] ns."""
    found = [np.zeros(0, dtype=np.int64)]
    for flows in flow_tables:
        first = flows.offsets[:-1]
        opened = flows.packets.tcp_flags[first] & SYN > 0
        rows = np.flatnonzero((flows.protocol == TCP) & opened)
        keys = np.concatenate(
            [_pair_key(flows)[rows], flows.initiator_port[rows, None].astype(np.int64)], axis=1
        )
        start = flows.packets.time_ns[first][rows]
        end = flows.packets.time_ns[flows.offsets[1:] - 1][rows]
        group = codes(keys)
        order = np.lexsort((start, group))
        same = group[order][1:] == group[order][:-1]
        waits = (start[order][1:] - end[order][:-1])[same]
        found.append(waits[waits > 0])
    return np.concatenate(found)
