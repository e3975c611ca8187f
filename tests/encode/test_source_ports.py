"""Source ports by habit: steps, named ports, draws; and no 5-tuple twice."""

import numpy as np
import pytest
from encode_flows import make_flows
from hypothesis import given, settings
from hypothesis import strategies as st

from netsynth.encode.port_allocator import PortAllocator
from netsynth.encode.port_paths import BLOCK
from netsynth.encode.source_ports import (
    FIRST_HOST_STEP,
    FIRST_NAMED,
    FIRST_PAIR_STEP,
    FIRST_RETURN,
    HOST_STEPS,
    NO_PORT,
    NOWHERE,
    SAME_AS_RESPONDER,
    SourcePortCodec,
    fit_source_port_codec,
)
from netsynth.encode.vocabulary import Vocabulary
from netsynth.numbers import IntArray
from netsynth.tables import FlowTable

AS_BEFORE = FIRST_HOST_STEP + HOST_STEPS.index(0)
NEXT = FIRST_HOST_STEP + HOST_STEPS.index(1)


def flows_of(rows: list[tuple[int, int, int, int]]) -> FlowTable:
    """UDP flows of one packet each from (initiator, initiator port, responder, its port)."""
    names = ("initiator", "initiator_port", "responder", "responder_port")
    flows = [dict(zip(names, row, strict=True)) for row in rows]
    return make_flows(flows, [[(i, 0, 1)] for i in range(len(rows))])


def fit(flows: FlowTable) -> SourcePortCodec:
    nothing = [np.zeros(len(flows), dtype=np.int64)]
    return fit_source_port_codec([flows], nothing, nothing, nothing)


def allocate(
    codec: SourcePortCodec, tokens: list[int], hosts: list[int], services: list[int], seed: int = 0
) -> tuple[IntArray, IntArray, IntArray]:
    """Ports of UDP flows to peer 99."""
    count = len(tokens)
    service = np.array(services, dtype=np.int64)
    return PortAllocator(codec=codec).allocate(
        np.array(tokens, dtype=np.int64),
        host=np.array(hosts, dtype=np.int64),
        peer=np.full(count, 99, dtype=np.int64),
        protocol=np.full(count, 17, dtype=np.int64),
        responder_port=service,
        other_ports=np.repeat(service[:, None], 8, axis=1),
        keys=np.zeros((count, 3), dtype=np.int64),
        rng=np.random.default_rng(seed),
    )


@pytest.fixture(scope="module")
def codec() -> SourcePortCodec:
    """Ephemeral ports 50000..59999 evenly; 500 and 5353 are names, 67 to 68 a service's."""
    rng = np.random.default_rng(0)
    rows = [(0, int(port), 1, 443) for port in rng.integers(50_000, 60_000, 400)]
    rows += [(i % 9, 5353, 2, 5353) for i in range(20)] + [(i % 9, 500, 3, 4500) for i in range(9)]
    return fit(flows_of(rows))


def test_habits_are_recognised() -> None:
    """One host: a draw; the same port again; the next; 7 on towards the same service."""
    table = flows_of(
        [
            (0, 50000, 1, 443),  # nothing before it
            (0, 50000, 2, 80),  # as before, towards another
            (0, 50001, 3, 22),  # the next one
            (0, 50007, 1, 443),  # 7 past the last one towards 1:443
            (0, 61234, 4, 443),  # no habit
            (0, 443, 4, 443),  # as the responder's
            (1, 50007, 1, 443),  # another host: no habit of its own
        ]
    )
    codec = SourcePortCodec(
        named=Vocabulary(rows=np.array([[9]]), counts=np.ones(1, np.int64)),
        starts=NOWHERE,
        jumps=NOWHERE,
    )
    start = codec.start_token
    assert codec.encode(table).tolist() == [
        start, AS_BEFORE, NEXT, FIRST_PAIR_STEP + 7, start, SAME_AS_RESPONDER, start,
    ]  # fmt: skip


def test_names_are_the_services_and_the_low_ports(codec: SourcePortCodec) -> None:
    assert sorted(codec.named.rows[:, 0].tolist()) == [500, 5353]
    table = flows_of([(5, 500, 7, 1), (5, 5353, 7, 5353), (5, 0, 7, 0)])
    tokens = codec.encode(table)
    assert codec.named.rows[tokens[0] - FIRST_NAMED, 0] == 500
    assert tokens[1:].tolist() == [SAME_AS_RESPONDER, NO_PORT]


def test_habits_are_followed(codec: SourcePortCodec) -> None:
    """Host 1 draws, keeps, counts; host 2 counts towards its service whatever it did between."""
    tokens = [codec.start_token, AS_BEFORE, NEXT]
    ports, services, free = allocate(codec, tokens, [1, 1, 1], [80, 81, 82])
    assert ports.tolist() == [ports[0], ports[0], ports[0] + 1]
    assert services.tolist() == [80, 81, 82]
    assert free.all()
    tokens = [codec.start_token, codec.start_token, FIRST_PAIR_STEP + 6]
    ports, _, _ = allocate(codec, tokens, [2, 2, 2], [80, 443, 80])
    assert ports[2] == ports[0] + 6


def test_fixed_ports_are_kept(codec: SourcePortCodec) -> None:
    place = FIRST_NAMED + int(codec.named.find(np.array([[500]]))[0])
    ports, _, free = allocate(codec, [NO_PORT, SAME_AS_RESPONDER, place], [1, 1, 1], [0, 123, 4500])
    assert ports.tolist() == [0, 123, 500]
    assert free.all()


def test_draws_follow_the_range_but_not_the_list(codec: SourcePortCodec) -> None:
    """400 of 10,000 ports were seen; draws hit them as often as chance would (4 %)."""
    rng = np.random.default_rng(0)
    seen = set(rng.integers(50_000, 60_000, 400).tolist())
    count = 4000
    ports, _, _ = allocate(codec, [codec.start_token] * count, list(range(count)), [443] * count)
    assert ports.min() >= 50_000 - BLOCK
    assert ports.max() <= 60_000 + BLOCK
    assert abs(ports.mean() - 55_000) < 600
    assert np.isin(ports, list(seen)).mean() < 0.08


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(["draw", "keep", "next", "pair"]), st.integers(0, 2)),
        min_size=1,
        max_size=120,
    ),
    st.integers(0, 99),
)
def test_no_5_tuple_twice(rows: list[tuple[str, int]], seed: int) -> None:
    """Few hosts, one service, one learned port: collisions abound, and all are avoided."""
    codec = fit(flows_of([(0, 50_000 + i % 3, 1, 443) for i in range(40)]))
    kinds = {
        "draw": codec.start_token,
        "keep": AS_BEFORE,
        "next": NEXT,
        "pair": FIRST_PAIR_STEP,
    }
    hosts = [host for _, host in rows]
    ports, services, free = allocate(codec, [kinds[k] for k, _ in rows], hosts, [443] * len(rows),
                                     seed)  # fmt: skip
    tuples = list(zip(hosts, ports.tolist(), services.tolist(), strict=True))
    assert len(set(tuples)) == len(tuples)
    assert free.all()
    assert (ports > 0).all()


def test_a_scanner_moves_on_to_another_port_of_the_responder(codec: SourcePortCodec) -> None:
    """It keeps its source port, so what it may change is the port it tries."""
    count = 30
    allocator = PortAllocator(codec=codec)
    ports, services, free = allocator.allocate(
        np.array([codec.start_token] + [AS_BEFORE] * (count - 1)),
        host=np.ones(count, dtype=np.int64),
        peer=np.full(count, 99, dtype=np.int64),
        protocol=np.full(count, 6, dtype=np.int64),
        responder_port=np.full(count, 1000, dtype=np.int64),
        other_ports=np.tile(np.arange(2000, 2008), (count, 1)),
        keys=np.zeros((count, 3), dtype=np.int64),
        rng=np.random.default_rng(0),
    )
    assert free.all()
    assert np.unique(ports).size == 1
    assert np.unique(services).size == count
    assert services[:9].tolist() == [1000, *range(2000, 2008)]


def test_a_named_port_that_is_taken_is_told(codec: SourcePortCodec) -> None:
    _, _, free = allocate(codec, [SAME_AS_RESPONDER] * 3, [1, 1, 2], [123] * 3)
    assert free.tolist() == [True, False, True]


def test_a_pair_that_never_jumped_counts_on() -> None:
    """Host 0 counts by 2 all along; a draw in the middle would end the run far away."""
    codec = fit(flows_of([(0, 40_000 + 2 * i, 1, 443) for i in range(60)]))
    step = FIRST_PAIR_STEP + 2
    tokens = [codec.start_token, step, step, codec.start_token, step]
    ports, _, _ = allocate(codec, tokens, [0] * 5, [443] * 5)
    assert np.diff(ports).tolist() == [2, 2, 2, 2]
    assert ports[0] % 2 == 0  # Linux connects from ports of one parity


def test_jumps_are_those_learned_each_once() -> None:
    """A third of the flows jump to 20,000 or 30,000, from a run that began at 50,000."""
    ports, port = [], 50_000
    for i in range(30):
        port = 20_000 + 10_000 * (i // 15) if i % 15 == 14 else port + 1
        ports.append(port)
    codec = fit(flows_of([(0, p, 1, 443) for p in ports]))
    assert codec.jumps.counts.sum() == 2
    made, _, _ = allocate(codec, [codec.start_token] * 6, [0] * 6, [443] * 6)
    leaps = np.flatnonzero(np.abs(np.diff(made)) > 200)
    assert leaps.tolist() == [0, 1]
    assert abs(np.sort(made[1:3]) - [20_000, 30_000]).max() < BLOCK
    assert abs(made[0] - 50_000) < BLOCK


def test_counters_go_on_in_the_next_window(codec: SourcePortCodec) -> None:
    allocator = PortAllocator(codec=codec)
    ports = []
    for token in (codec.start_token, NEXT, NEXT):
        one, _, _ = allocator.allocate(
            np.array([token]), host=np.array([4]), peer=np.array([9]), protocol=np.array([6]),
            responder_port=np.array([80]), other_ports=np.array([[80]]),
            keys=np.zeros((1, 3), dtype=np.int64), rng=np.random.default_rng(1),
        )  # fmt: skip
        ports.append(int(one[0]))
    assert np.diff(ports).tolist() == [1, 1]


def test_ephemeral_ports_are_not_given_out_again_in_later_windows(codec: SourcePortCodec) -> None:
    """A connection of the first window may still be open in the fifth."""
    allocator = PortAllocator(codec=codec)
    count, given = 400, set()
    for window in range(5):
        ports, _, free = allocator.allocate(
            np.full(count, codec.start_token),
            host=np.ones(count, dtype=np.int64),
            peer=np.full(count, 99, dtype=np.int64),
            protocol=np.full(count, 6, dtype=np.int64),
            responder_port=np.full(count, 443, dtype=np.int64),
            other_ports=np.full((count, 8), 443, dtype=np.int64),
            keys=np.zeros((count, 3), dtype=np.int64),
            rng=np.random.default_rng(window % 2),
        )
        assert free.all()
        given |= set(ports.tolist())
    assert len(given) == 5 * count


def test_a_pair_without_a_port_left_is_searched_once(codec: SourcePortCodec) -> None:
    """One host used all ports but 3 towards one service; of 2,000 flows more, 3 get those.

    Looking through all ports for each of the others would take minutes.
    """
    left = {2000, 30_000, 65_535}
    ports_used = set(range(1024, 65_536)) - left
    used = {(1, 17, 99, 80, port): np.inf for port in ports_used}
    allocator = PortAllocator(codec=codec, used=used)
    count = 2000
    ones = np.ones(count, dtype=np.int64)
    ports, _, _ = allocator.allocate(
        ones * codec.start_token,
        host=ones,
        peer=ones * 99,
        protocol=ones * 17,
        responder_port=ones * 80,
        other_ports=np.full((count, 8), 80),
        keys=np.zeros((count, 3), dtype=np.int64),
        rng=np.random.default_rng(0),
    )
    assert set(ports[:3].tolist()) == left
    assert allocator.full == {(1, 17, 99, 80)}


def test_a_scan_that_is_repeated_comes_from_another_port() -> None:
    """It keeps the port for all responders; a new one where a 5-tuple would be that of before."""
    named = Vocabulary(rows=np.array([[4500], [45_000]]), counts=np.ones(2, dtype=np.int64))
    codec = SourcePortCodec(named=named, starts=NOWHERE, jumps=NOWHERE)
    allocator = PortAllocator(codec=codec)
    seen: set[tuple[int, int]] = set()
    for window in range(5):
        services = np.arange(80, 100) if window != 1 else np.arange(200, 220)
        ports, made, free = allocator.allocate(
            np.full(20, FIRST_NAMED + 1),
            host=np.ones(20, dtype=np.int64),
            peer=np.full(20, 2, dtype=np.int64),
            protocol=np.full(20, 6, dtype=np.int64),
            responder_port=services,
            other_ports=np.repeat(services[:, None], 8, axis=1),
            keys=np.zeros((20, 3), dtype=np.int64),
            rng=np.random.default_rng(window),
        )
        assert free.all()
        assert made.tolist() == services.tolist()
        assert len(set(ports.tolist())) == 1
        assert (ports[0] == 45_000) == (window < 2)
        assert 32768 <= ports[0] < 61_000
        tuples = set(zip(ports.tolist(), made.tolist(), strict=True))
        assert not tuples & seen
        seen |= tuples


def test_a_port_that_another_scan_tried_is_left_to_this_one() -> None:
    """Two scans of a host draw from which port they try a service; each tries each service once."""
    named = Vocabulary(rows=np.array([[45_000], [45_001]]), counts=np.ones(2, dtype=np.int64))
    codec = SourcePortCodec(named=named, starts=NOWHERE, jumps=NOWHERE)
    tokens = [FIRST_NAMED, FIRST_NAMED + 1] + [FIRST_NAMED] * 4
    services = [80, 81, 80, 81, 82, 82]
    ports, _, free = allocate(codec, tokens, [1] * 6, services)
    assert free.all()
    pairs = set(zip(services, ports.tolist(), strict=True))
    assert pairs == {(service, port) for service in (80, 81, 82) for port in (45_000, 45_001)}


def test_a_counter_that_passes_a_port_used_before_counts_on() -> None:
    """From 40000 by fours, then from 39998 by sixes: every other one meets a port of the first."""
    ports = [*range(40_000, 40_400, 4), *range(39_998, 40_380, 6)]
    tokens = fit(flows_of([(1, p, 2, 80) for p in ports])).encode(
        flows_of([(1, p, 2, 80) for p in ports])
    )
    steps = np.diff(ports)
    expected = FIRST_PAIR_STEP + steps[steps > 0]
    assert tokens[1:][steps > 0].tolist() == expected.tolist()


def test_a_host_that_goes_round_among_a_few_ports_returns() -> None:
    ports = [40_000, 40_001, 40_002, 40_003] * 15
    flows = flows_of([(1, p, 2, 80) for p in ports])
    tokens = fit(flows).encode(flows)[4:]
    assert ((tokens >= FIRST_RETURN) & (tokens < FIRST_NAMED)).all()
