"""5-tuples that connections take again: recognised, followed, and no sooner than learned."""

import numpy as np
import pytest
from encode_flows import make_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode.columns import are_over, state_bits
from netsynth.encode.port_allocator import Lives, PortAllocator
from netsynth.encode.source_ports import (
    FIRST_NAMED,
    FIRST_PAIR_STEP,
    FIRST_RETURN,
    NEVER,
    RETURNS,
    SourcePortCodec,
    fit_source_port_codec,
)
from netsynth.numbers import IntArray
from netsynth.tables import ACK, FIN, RST, SYN, FlowTable

S = 1_000_000_000


def connections(rows: list[tuple[int, int]]) -> FlowTable:
    """TCP connections of a host to a service: (start in s, port); a SYN, an ACK 1 s on."""
    flows = [{"initiator_port": port, "protocol": 6} for _, port in rows]
    table = make_flows(flows, [[(at * S, 0, 0), ((at + 1) * S, 0, 0)] for at, _ in rows])
    table.packets.tcp_flags[:] = np.tile([SYN, ACK], len(rows))
    return table


def fit(flows: FlowTable) -> SourcePortCodec:
    nothing = [np.zeros(len(flows), dtype=np.int64)]
    return fit_source_port_codec([flows], nothing, nothing, nothing)


def allocate(allocator: PortAllocator, tokens: list[int], lives: Lives, seed: int = 0) -> IntArray:
    count = len(tokens)
    ones = np.ones(count, dtype=np.int64)
    ports, _, free = allocator.allocate(
        np.array(tokens), host=ones, peer=2 * ones, protocol=6 * ones, responder_port=80 * ones,
        other_ports=np.full((count, 8), 80), keys=np.zeros((count, 3), dtype=np.int64),
        rng=np.random.default_rng(seed), lives=lives,
    )  # fmt: skip
    assert free.all()
    return ports


def lives(begin: list[int], length: int, window: int = 1000) -> Lives:
    start = np.array(begin, dtype=np.float64) * S
    return Lives(begin_ns=start, end_ns=start + length * S, window_ns=window * S)


# three ports far apart, in turns; the gaps between are 9 s (10 s less the connection's own)
TURNS = [(10 * i, (20_000, 30_000, 40_000)[i % 3]) for i in range(12)]


def test_returns_are_told_by_the_ports_used_since() -> None:
    codec = fit(connections(TURNS))
    tokens = codec.encode(connections(TURNS))
    assert (tokens[:3] == codec.start_token).all()
    assert (tokens[3:] == FIRST_RETURN + 1).all()  # two others were used since
    again = connections([(0, 20_000), (10, 30_000), (20, 20_000), (30, 20_000)])
    assert codec.encode(again)[2:].tolist() == [FIRST_RETURN, FIRST_PAIR_STEP]


def test_ports_used_long_ago_are_told_by_the_octave() -> None:
    """Of 40 ports in turns, each is come back to after 39 others."""
    codec = fit(connections([(10 * i, 20_000 + 50 * (i % 40)) for i in range(80)]))
    tokens = codec.encode(connections([(10 * i, 20_000 + 50 * (i % 40)) for i in range(80)]))
    assert (tokens[:40] < FIRST_RETURN).sum() + (tokens[:40] == codec.start_token).sum() == 40
    assert (tokens[40:] == FIRST_RETURN + RETURNS.index(32)).all()
    ports = allocate(
        PortAllocator(codec=codec), tokens.tolist(), lives([12 * i for i in range(80)], 1)
    )
    assert np.unique(ports[:40]).size == 40
    when = {int(p): i for i, p in enumerate(ports[:40])}
    for row, port in enumerate(ports[40:].tolist(), 40):
        since = {int(p) for p in ports[when[port] + 1 : row]}
        assert len(since) >= 32
        when[port] = row


def test_what_is_not_told_to_return_takes_no_used_tuple() -> None:
    """Steps that lead to a port used before go past it, however long ago that was."""
    codec = fit(connections(TURNS))
    tokens = [codec.start_token, FIRST_PAIR_STEP + 2, FIRST_RETURN, FIRST_PAIR_STEP + 2]
    ports = allocate(PortAllocator(codec=codec), tokens, lives([0, 20, 40, 600], 1))
    assert ports[2] == ports[0]
    assert np.unique(ports).size == 3


def test_the_shortest_time_before_a_tuple_is_taken_again_is_learned() -> None:
    assert fit(connections(TURNS)).reuse_ns == 29 * S
    assert fit(connections(TURNS[:3])).reuse_ns == NEVER
    codec = fit(connections(TURNS))
    assert SourcePortCodec.from_arrays("x", codec.to_arrays("x")).reuse_ns == 29 * S


def test_a_tuple_is_not_taken_again_much_later_than_learned() -> None:
    """29 s were learned: after 50 s a port is returned to, after 100 s a new one is taken."""
    codec = fit(connections(TURNS))
    assert codec.longest_reuse_ns == 29 * S
    assert SourcePortCodec.from_arrays("x", codec.to_arrays("x")).longest_reuse_ns == 29 * S
    for later, count in ((50, 1), (100, 2)):
        tokens = [codec.start_token, FIRST_PAIR_STEP]
        ports = allocate(PortAllocator(codec=codec), tokens, lives([0, 1 + later], 1))
        assert np.unique(ports).size == count


def test_a_host_with_three_ports_keeps_to_three() -> None:
    codec = fit(connections(TURNS))
    tokens = [codec.start_token] * 3 + [FIRST_RETURN + 1] * 9
    ports = allocate(PortAllocator(codec=codec), tokens, lives([15 * i for i in range(12)], 1))
    assert np.array_equal(ports, np.tile(ports[:3], 4))
    assert np.unique(ports).size == 3


def test_a_tuple_in_use_is_not_taken() -> None:
    """Connections that begin every second and last for ten, 29 s to be kept after each."""
    codec = fit(connections(TURNS))
    tokens = [codec.start_token] * 3 + [FIRST_RETURN + 1] * 30
    begin = list(range(33))
    ports = allocate(PortAllocator(codec=codec), tokens, lives(begin, 10))
    assert np.unique(ports).size == 33


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 40)), min_size=1, max_size=60),
    st.integers(0, 99),
)
def test_no_tuple_is_taken_too_soon(rows: list[tuple[int, int]], seed: int) -> None:
    """Over two windows of 100 s, whatever is drawn."""
    codec = fit(connections(TURNS))
    kinds = [codec.start_token, FIRST_PAIR_STEP, *range(FIRST_RETURN, FIRST_RETURN + 7)]
    allocator = PortAllocator(codec=codec)
    tokens = [kinds[kind] for kind, _ in rows]
    begin = np.minimum(np.cumsum([gap for _, gap in rows]), 99).tolist()
    when = lives(begin, 5, window=100)
    seen: dict[int, float] = {}
    for window in range(2):
        ports = allocate(allocator, tokens, when, seed + window)
        for at, port in zip(begin, ports.tolist(), strict=True):
            start = at + 100 * window
            assert start >= seen.get(port, 0)
            seen[port] = start + 5 + 29


@pytest.mark.parametrize("changed", ["begin_ns", "end_ns"])
def test_only_connections_that_open_follow_those_that_got_on(changed: str) -> None:
    """Without a SYN of its own, or after a flow of SYNs alone, a flow would be read as one."""
    codec = fit(connections(TURNS))
    start = np.array([0.0, 500.0]) * S
    times = {"begin_ns": start, "end_ns": start + S}
    times[changed] = np.full(2, -np.inf if changed == "begin_ns" else np.inf)
    tokens = [codec.start_token, FIRST_PAIR_STEP]
    window = Lives(**times, window_ns=1000 * S)
    assert np.diff(allocate(PortAllocator(codec=codec), tokens, window)) != 0


def test_a_port_with_a_name_is_not_taken_again() -> None:
    """Whoever scans from one port tries each service once, however long ago that was."""
    rows = TURNS + [(200 + i, 45_000) for i in range(40)]
    codec = fit(connections(rows))
    named = FIRST_NAMED + int(codec.named.find(np.array([[45_000]]))[0])
    assert codec.named.rows[named - FIRST_NAMED, 0] == 45_000
    ones = np.ones(3, dtype=np.int64)
    ports, services, free = PortAllocator(codec=codec).allocate(
        ones * named, host=ones, peer=2 * ones, protocol=6 * ones, responder_port=80 * ones,
        other_ports=np.tile(np.arange(81, 89), (3, 1)), keys=np.zeros((3, 3), dtype=np.int64),
        rng=np.random.default_rng(0), lives=lives([0, 300, 600], 1),
    )  # fmt: skip
    assert free.all()
    assert np.unique(services).size == 3
    assert (ports == 45_000).all()


# RFC 9293 section 3.6: a connection is over once both sides closed it, or either reset it; a reset
# that answers a FIN may not be heard
@pytest.mark.parametrize(
    ("flags", "over"),
    [
        ([SYN, SYN | ACK, ACK], False),
        ([SYN, SYN | ACK, ACK | FIN, ACK], False),
        ([SYN, SYN | ACK, ACK | FIN, ACK | FIN], True),
        ([SYN, RST | ACK], True),
        ([SYN, SYN | ACK, RST], True),
        ([SYN, SYN | ACK, ACK, ACK | FIN, RST], False),
    ],
)
def test_connections_left_open_keep_their_tuple(flags: list[int], over: bool) -> None:
    back = np.arange(len(flags)) % 2 == 1
    state = np.bitwise_or.reduce(state_bits(np.full(len(flags), 6), back, np.array(flags)))
    assert are_over(np.array([state])).tolist() == [over]
