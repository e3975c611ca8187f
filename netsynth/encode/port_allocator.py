"""Source ports for drawn flows: their habits followed, no 5-tuple twice while it may live.

A 5-tuple is taken again where the token says so: by a connection that opens with a SYN, after one
that got further than that, and no sooner than learned.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from netsynth.encode.port_paths import follow_paths
from netsynth.encode.port_places import COARSER, ports_of, rank
from netsynth.encode.service_ports import own_ports
from netsynth.encode.source_ports import (
    CHOSEN,
    FIRST_HOST_STEP,
    FIRST_NAMED,
    FIRST_PAIR_STEP,
    FIRST_RETURN,
    HOST_STEPS,
    NEVER,
    NO_PORT,
    OFTEN,
    PAIR_STEPS,
    RETURNS,
    SAME_AS_RESPONDER,
    SourcePortCodec,
    codes,
    remember,
)
from netsynth.encode.vocabulary import Vocabulary
from netsynth.numbers import FloatArray, IntArray

LATEST = 2  # times the longest time learned after which a 5-tuple is taken again
MOST_TRIED = 256  # ports that a flow may return to which are looked at
ALL_TRIED = 130_000  # tries after which every port was looked at
OWN_TRIED = 512  # of them, those that services' ports are left out of
MOST_REMEMBERED = 100_000  # 5-tuples of earlier windows that are not given out again
Tuple = tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Lives:
    """When the 5-tuples of a window's F flows are in use.

    Attributes:
        begin_ns: float64 [F], when each flow begins, in its window; -inf: it takes no used tuple.
        end_ns: float64 [F], when it ends; inf: nothing takes its tuple.
        window_ns: Length of the window.
    """

    begin_ns: FloatArray
    end_ns: FloatArray
    window_ns: int


def no_lives(count: int) -> Lives:
    """Lives of flows whose 5-tuples nothing takes again."""
    return Lives(begin_ns=np.full(count, -np.inf), end_ns=np.full(count, np.inf), window_ns=0)


@dataclass(slots=True)
class PortAllocator:
    """Turns port tokens into ports, window after window, no 5-tuple twice while it may live.

    Ports that hosts used last carry over from one window to the next, as their counters would.
    A connection may stay open for as long as the trace lasts, so ephemeral ports are not given
    out again until 100,000 5-tuples later. A scanner keeps the port it chose until it would repeat
    a 5-tuple of an earlier window: then it is the next scan, from a port of its own.
    """

    codec: SourcePortCodec
    last: dict[Tuple, int] = field(default_factory=dict)
    recent: dict[Tuple, dict[int, None]] = field(default_factory=dict)  # a pair's ports, last last
    step: dict[Tuple, int] = field(default_factory=dict)
    used: dict[Tuple, float] = field(default_factory=dict)  # and when they are free again, ns
    used_before: dict[Tuple, float] = field(default_factory=dict)
    remembered: dict[Tuple, float] = field(default_factory=dict)
    full: set[Tuple] = field(default_factory=set)  # pairs without a port left
    elapsed_ns: int = 0  # in the windows before
    windows: int = 0  # before
    chosen: dict[tuple[int, int], int] = field(default_factory=dict)  # by host and named port
    scans: dict[int, list[int]] = field(default_factory=dict)  # ports of a host's scans

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
        lives: Lives | None = None,
        talks: NDArray[np.bool_] | None = None,
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
            lives: When the flows take place; None: no 5-tuple is taken again.
            talks: Whether the flows carry data, bool [F]; those get no port that an analyser would
                dissect it by. None: none does.

        Returns:
            Initiator ports, responder ports, int64 [F], and whether the 5-tuple is free, bool [F]:
            a flow whose ports have names cannot get others.
        """
        codec = self.codec
        if len(self.remembered) > MOST_REMEMBERED:
            self.remembered = {}
        self.remembered |= self.used
        is_first = self.windows == 0 and not self.remembered
        self.windows += 1
        self.used_before, self.used, self.full = self.used, {}, set()
        named = codec.named.rows[:, 0]
        free = codec.are_free(tokens)
        pair = np.stack([host, protocol, peer, responder_port], axis=1)
        first = free & (rank(codes(np.where(free[:, None], pair, -1))) == 0)
        opening = ports_of(first, keys, codec.starts, codec.places, rng)
        often = codec.jumps_of_key >= OFTEN
        more = Vocabulary(rows=codec.jumps.rows[often], counts=codec.jumps.counts[often])
        jumps = (tokens == codec.start_token) & ~first
        leap = ports_of(jumps, keys, codec.jumps, more, rng, columns=COARSER[:1])
        port = np.where(tokens == SAME_AS_RESPONDER, responder_port, opening)
        is_named = (tokens >= FIRST_NAMED) & (tokens < codec.start_token)
        port = np.where(is_named, named[np.clip(tokens - FIRST_NAMED, 0, named.size - 1)], port)
        spare = rng.integers(1024, 65536, size=tokens.size)
        lives = lives or no_lives(tokens.size)
        begin = lives.begin_ns + self.elapsed_ns
        wait = np.inf if codec.reuse_ns == NEVER else codec.reuse_ns
        until = lives.end_ns + (self.elapsed_ns + wait)
        self.elapsed_ns += lives.window_ns
        talks = np.zeros(tokens.size, dtype=np.bool_) if talks is None else talks
        columns = (
            tokens, port, leap, host, peer, protocol, responder_port, spare, begin, until, talks
        )  # fmt: skip
        result = np.zeros((2, tokens.size), dtype=np.int64)
        open_ = np.ones(tokens.size, dtype=np.bool_)
        lists = (c.tolist() for c in columns)
        for row, values in enumerate(zip(*lists, other_ports, strict=True)):
            result[0, row], result[1, row], open_[row] = self._one(*values)
        if is_first:  # later windows count on
            movable = free & open_ & (result[0] > 0)
            pairs = np.stack([host, protocol, peer, result[1]], axis=1)
            result[0] = self._follow_paths(pairs, keys, result[0], movable, until, talks, rng)
        return result[0], result[1], open_

    def _follow_paths(
        self,
        pairs: IntArray,
        keys: IntArray,
        port: IntArray,
        movable: NDArray[np.bool_],
        until: FloatArray,
        talks: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> IntArray:
        """Move ports [F] of pairs [F, 4] as `follow_paths` does, and remember the new ones."""
        moved = follow_paths(self.codec.paths, keys, port, movable, rng)
        others = codes(pairs)
        barred = _distinct(others, moved) < _distinct(others, port)  # a named port is in the way
        barred[others[movable & talks & (own_ports()[moved] != moved)]] = True
        for code in np.flatnonzero(barred).tolist():
            _step_over(np.flatnonzero(others == code), port, moved, movable, talks)
        tuples = np.concatenate([pairs, moved[:, None]], axis=1)
        self.used = {}
        for whole, end in zip(map(tuple, tuples.tolist()), until.tolist(), strict=True):
            self.used[whole] = max(end, self.used.get(whole, end))
        for row in np.flatnonzero(np.isin(others, others[moved != port]) & movable).tolist():
            pair, new = tuple(pairs[row].tolist()), int(moved[row])
            ports = self.recent[pair]
            ports.pop(int(port[row]), None)
            remember(ports, new)
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
        begin: float,
        until: float,
        talks: bool,
        others: IntArray,
    ) -> tuple[int, int, bool]:
        of_host, of_pair = (host, protocol), (host, protocol, peer, service)
        is_free = token >= FIRST_HOST_STEP and not FIRST_NAMED <= token < self.codec.start_token
        back = token == FIRST_PAIR_STEP or FIRST_RETURN <= token < FIRST_NAMED
        if not back or of_pair not in self.recent:
            begin = -np.inf  # takes no used tuple
        if is_free:
            port = self._follow(token, port, leap, of_host, of_pair)
            if back and of_pair in self.recent:
                before = self._return(token, of_pair, begin, spare)
                port, begin = (port, -np.inf) if before is None else (before, begin)
        elif FIRST_NAMED <= token < self.codec.start_token and port >= CHOSEN.start:
            port = self._scan_from(host, of_pair, port, spare)
            port = self._other_scan(host, of_pair, port)
        if token == NO_PORT:
            port = 0
        elif not 1 <= port <= 65535:
            port = spare
        if is_free and talks:
            port = int(own_ports()[port])
        if self._taken(of_pair, port, begin) and others[0] != service:
            upwards = range(service + 1, min(service + 65, 65536))
            for other in (*others.tolist(), *upwards):
                service, of_pair = other, (host, protocol, peer, other)
                if not self._taken(of_pair, port, begin):
                    break
        elif is_free and of_pair not in self.full:
            port = self._next_free(of_pair, port, spare, begin, talks)
        whole = (*of_pair, port)
        free = begin >= self.used[whole] if whole in self.used else True
        self.used[whole] = max(until, self.used.get(whole, until))
        if is_free:
            self.last[of_host] = self.last[of_pair] = port
            remember(self.recent.setdefault(of_pair, {}), port)
        return port, service, free

    def _follow(
        self,
        token: int,
        port: int,
        leap: int,
        of_host: Tuple,
        of_pair: Tuple,
    ) -> int:
        """Port that a habit leads to; `port` where the pair begins, `leap` where it jumps."""
        if FIRST_HOST_STEP <= token < FIRST_PAIR_STEP:
            before = self.last.get(of_host)
            return port if before is None else before + HOST_STEPS[token - FIRST_HOST_STEP]
        before = self.last.get(of_pair)
        if before is None:
            return port
        if token < FIRST_RETURN:
            self.step[of_pair] = PAIR_STEPS[token - FIRST_PAIR_STEP]
        elif leap:
            return leap
        return before + self.step.get(of_pair, 2)  # it never jumped: it goes on

    def _return(self, token: int, of_pair: Tuple, begin: float, spare: int) -> int | None:
        """Port of the pair that was not used for as long as `token` says; the nearest such port
        where those are in use, or over for much longer than learned; None where all are."""
        if begin == -np.inf:  # such a flow takes no used tuple
            return None
        recent = list(reversed(self.recent[of_pair]))
        place = 0 if token == FIRST_PAIR_STEP else token - FIRST_RETURN + 1
        ends = (0, *RETURNS, len(recent))
        first = min(ends[place], len(recent))
        last = min(max(ends[place + 1], first), len(recent))
        turn = first + spare % max(last - first, 1)
        ranks = (*range(turn, last), *range(first, turn), *range(last, len(recent)),
                 *range(first - 1, -1, -1))  # fmt: skip
        tried = (recent[r] for r in ranks[:MOST_TRIED])
        oldest = begin + self.codec.reuse_ns - LATEST * self.codec.longest_reuse_ns
        idle = (
            p for p in tried
            if not self._taken(of_pair, p, begin) and self._free_from(of_pair, p) >= oldest
        )  # fmt: skip
        return next(idle, None)

    def _scan_from(self, host: int, of_pair: Tuple, named: int, spare: int) -> int:
        """Port that stands for a scanner's `named` one; another where the 5-tuple is an old one."""
        port = self.chosen.get((host, named), named)
        for turn in range(64):
            whole = (*of_pair, port)
            if whole not in self.used_before and whole not in self.remembered:
                break
            port = CHOSEN[(spare + turn * 7919) % len(CHOSEN)]
            self.chosen[host, named] = port
        return port

    def _other_scan(self, host: int, of_pair: Tuple, port: int) -> int:
        """Port of another scan of the host, where that of `port` tried this service already."""
        scans = self.scans.setdefault(host, [])
        if port not in scans:
            scans.append(port)
        if self._taken(of_pair, port):
            return next((p for p in reversed(scans) if not self._taken(of_pair, p)), port)
        return port

    def _next_free(self, of_pair: Tuple, port: int, spare: int, begin: float, talks: bool) -> int:
        """First port from `port` on that the pair may use; `port` where all are in use."""
        wanted, tries = port, 0
        while (
            self._taken(of_pair, port, begin)
            or self.remembered.get((*of_pair, port), -np.inf) > begin
            or (talks and tries < OWN_TRIED and own_ports()[port] != port)
        ):
            if tries == ALL_TRIED:  # the host has used all its ports by now
                if not self.remembered:
                    self.full.add(of_pair)  # looked for once a window
                    return wanted
                self.remembered.clear()
                port, tries = wanted, 0
                continue
            port = port + 2 if tries < 64 and port < 65534 else 1024 + (spare + tries) % 64512
            tries += 1
        return port

    def _taken(self, of_pair: Tuple, port: int, begin: float = -np.inf) -> bool:
        """Whether the 5-tuple is in use when a flow begins."""
        return begin < self._free_from(of_pair, port)

    def _free_from(self, of_pair: Tuple, port: int) -> float:
        """When the 5-tuple may be used, -inf where it never was."""
        whole = (*of_pair, port)
        until = self.used.get(whole)
        until = self.used_before.get(whole) if until is None else until
        return -np.inf if until is None else until


def _step_over(
    rows: IntArray,
    port: IntArray,
    moved: IntArray,
    movable: NDArray[np.bool_],
    talks: NDArray[np.bool_],
) -> None:
    """Let ports of a pair's flows `rows` that were moved pass over those that are used, and those
    of services where they carry data; flows that had the same port keep having the same."""
    used = set(moved[rows[~movable[rows]]].tolist())
    new: dict[int, int] = {}
    for row in rows[movable[rows]].tolist():
        if int(port[row]) not in new:
            above = range(int(moved[row]), 65_536, 2)
            free = (p for p in above if p not in used)
            own = next((p for p in free if not talks[row] or own_ports()[p] == p), None)
            new[int(port[row])] = int(port[row]) if own is None else own
            used.add(new[int(port[row])])
        moved[row] = new[int(port[row])]


def _distinct(pair: IntArray, port: IntArray) -> IntArray:
    """Distinct ports [F] of each of the pairs 0 .. P - 1 [F]: int64 [P]."""
    found = np.unique(np.stack([pair, port], axis=1), axis=0)
    return np.bincount(found[:, 0], minlength=int(pair.max(initial=-1)) + 1)
