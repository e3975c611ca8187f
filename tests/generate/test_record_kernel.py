"""A record's state, and what may follow, are the same through the compiled loop and the network."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.followers import Followers
from netsynth.generate.transformer.gap_kernel import draw_gaps, narrow
from netsynth.generate.transformer.gap_range import ENOUGH, NARROW, OCTAVES, GapRange
from netsynth.generate.transformer.part_kernel import (
    follower_row,
    is_asked,
    kind_shares,
    length_shares,
    part_logits,
    row_behind,
    rule_out_unseen,
    window_shares,
)
from netsynth.generate.transformer.record_arrays import (
    SIZE,
    TRACES,
    RecordArrays,
    pack_record_level,
)
from netsynth.generate.transformer.record_context import (
    AROUND,
    RECENT,
    RecordContext,
    count_bucket,
    mean_payload,
)
from netsynth.generate.transformer.record_context_kernel import (
    _mean_token,
    embed_context,
    mix_states,
)
from netsynth.generate.transformer.record_drawing import _next_windows
from netsynth.generate.transformer.record_kernel import END, _finish, _make_lanes
from netsynth.generate.transformer.record_lanes import FLOWS, DrawnRows, FlowsToDraw, Lanes
from netsynth.generate.transformer.record_level import (
    ANY_BYTES,
    GAP,
    KIND,
    LENGTH,
    WINDOW,
    RecordLevel,
    _ends_pair,
    last_kinds,
)
from netsynth.numbers import Array

SMALL = TransformerConfig(width=16, hidden=20, record_width=24, record_history=3)
ROWS, LONGEST, STEP_NS = FLOWS, 300, 1e8


@dataclass
class Case:
    """Records in the middle of random flows, as the kernel and as the network see them."""

    level: RecordLevel
    arrays: RecordArrays
    lanes: Lanes
    flows: FlowsToDraw
    time_ns: Array
    context: RecordContext
    state: Array  # float32 [ROWS, W], of the kernel
    tokens: torch.Tensor  # int64 [ROWS, K], of the flows


@pytest.fixture(scope="module")
def case() -> Case:
    torch.manual_seed(0)
    level = RecordLevel(layout().token_fields, layout().record_fields, SMALL).eval()
    fill_weights([*level.heads, *level.gaps.heads, level.gaps.choice], std=0.5)
    level.fastest_runs.copy_(torch.rand(level.fastest_runs.shape).double() * 1e5)
    gap = torch.arange(400).double() % 40 * 1e3 + 2e6  # 2.00 to 2.04 ms in places of all bins
    ones = torch.ones_like(gap, dtype=torch.int64)
    level.gaps.timers.learn(level.gap, ones, torch.arange(400) % 5, gap)
    level.by_delay[:, ::3] = False
    level.remainders[:5] = torch.tensor([31, 0, 7, 300, 5_000])
    level.most_payload += torch.arange(level.most_payload.numel()) * 9 + 1_440
    level.most_payload[2] = 28
    learn_ranges(level.gap_range, services=level.service_tcp.numel())
    learn_followers(level.next_kinds, services=level.service_tcp.numel())
    learn_followers(level.next_windows, services=2 * level.service_tcp.numel())
    tokens = torch.as_tensor(office()[1].tokens[:ROWS].astype(np.int64))
    random = np.random.default_rng(1)
    lanes, flows, time_ns = some_lanes(level, tokens, random)
    learn_after(level, lanes, flows)
    arrays = pack_record_level(level)
    state = np.zeros((ROWS, SMALL.record_width), dtype=np.float32)
    buckets = count_bucket(torch.arange(1 << 16)).numpy()
    context = context_of(arrays, lanes, flows, time_ns)  # before the kernel touches the lanes
    for place in range(ROWS):
        embed_context(arrays, lanes, place, flows, time_ns, buckets, STEP_NS, state[place])
    mix_states(arrays, state, ROWS)
    return Case(level, arrays, lanes, flows, time_ns, context, state, tokens)


def learn_ranges(ranges: GapRange, *, services: int) -> None:
    """Have two in three pairs of kinds been seen 20 times, up to 30 us or 30 ms apart, or two in
    three of these 100 ns to 1 s apart and then within a factor of 3."""
    codes = torch.arange(services * ranges.kinds**2)
    codes = codes[torch.rand(codes.shape) < 0.67]
    timer = (10 ** (2 + 7 * torch.rand(codes.shape).double())).repeat(20)
    codes = codes.repeat(20)
    spread = torch.rand(codes.shape).double()
    gap = spread * 3e4 * 10 ** (codes % 4)
    gap = torch.where(codes % 3 > 0, timer * (1 + 2 * spread), gap)
    kinds = ranges.kinds
    ranges.learn(codes // kinds**2, codes // kinds % kinds, codes % kinds, gap)


def learn_after(level: RecordLevel, lanes: Lanes, flows: FlowsToDraw) -> None:
    """Have gaps of 100 ns to 1 s come behind those before the records of lanes, for three in four
    of their kinds: within a factor of 3, so that all are rules."""
    kinds = level.sizes[KIND]
    before = torch.as_tensor(np.maximum(lanes.history[:, 0, KIND] - 1, 0))
    octave = level.gap_octaves[torch.as_tensor(lanes.history[:, 0, GAP])]
    behind = (torch.as_tensor(flows.service) * OCTAVES + octave) * kinds + before
    codes = torch.unique(behind[:, None] * kinds + torch.arange(kinds))
    codes = codes[torch.rand(codes.shape) < 0.75]
    gap = 10 ** (2 + 7 * torch.rand(codes.shape).double())
    gap = (gap * torch.linspace(1, 3, ENOUGH)[:, None]).ravel()
    codes = codes.repeat(ENOUGH)
    level.gap_after.learn(codes // kinds**2, codes // kinds % kinds, codes % kinds, gap)
    assert NARROW > 3
    assert level.gap_after.keys.numel() * ENOUGH == codes.numel()


def learn_followers(followers: Followers, *, services: int) -> None:
    """Have some of the tokens come behind some kinds: of four in five last ones, and of half of
    those before each."""
    kinds = followers.any_kind
    service, last = (
        torch.arange(services * kinds) // kinds,
        torch.arange(services * kinds) % kinds,
    )
    codes = torch.stack([service, last], dim=1)[torch.rand(last.shape) < 0.8]  # newest last
    for _ in range(2):
        earlier = torch.cartesian_prod(torch.arange(codes.shape[0]), torch.arange(kinds))
        earlier = earlier[torch.rand(earlier.shape[0]) < 0.5]
        behind = codes[earlier[:, 0]]
        codes = torch.cat([behind[:, :1], earlier[:, 1:], behind[:, 1:]], dim=1)
    codes = codes.repeat(25, 1)
    token = torch.randint(0, followers.size, codes.shape[:1])
    followers.learn(codes[:, 0], codes[:, 1:], token)


def some_lanes(
    level: RecordLevel, tokens: torch.Tensor, random: np.random.Generator
) -> tuple[Lanes, FlowsToDraw, Array]:
    """Lanes at random places of flows that last one step each."""
    with torch.no_grad():
        vector = level.flow_vector(tokens)
        base = level.flow_out(vector) + level.history_out.bias + level.around_out.bias
    number = np.arange(ROWS)
    start = number % 50 * STEP_NS + 1e6
    position = random.choice([1, 5, 9, 40, 140], ROWS)
    delays = np.where(random.random((ROWS, 2)) < 0.3, -1.0, random.uniform(1e3, 4e7, (ROWS, 2)))
    gaps_ns = random.exponential(3e4, (ROWS, LONGEST))
    gaps_ns[:, 0] = 0
    time_ns = (start[:, None] + gaps_ns.cumsum(1)).ravel()
    now = time_ns[number * LONGEST + position - 1]
    latest = now + 10 ** random.uniform(5, 9.5, ROWS)  # in this step or far behind it
    sizes = (*level.sizes, level.per_delay.size)
    history = np.stack([random.integers(0, s + 1, (ROWS, 3)) for s in sizes], axis=2)
    assert history.shape == (ROWS, 3, TRACES)
    left = random.integers(1, 90, (ROWS, 2))
    flows = FlowsToDraw(
        vector=vector.numpy(), service=tokens[:, level.service_place].numpy().copy(),
        stack=random.integers(0, 2 * level.service_tcp.numel(), ROWS),
        shape=tokens[:, level.shape_place].numpy().copy(),
        totals=np.concatenate([left, left], axis=1), exact=random.random((ROWS, 2)) < 0.8,
        start_ns=start,
        end_ns=now + random.uniform(0, 5e7, ROWS), latest_ns=latest, delays=delays,
        series_offsets=np.arange(ROWS + 1), step=np.maximum(number % 50 - (number % 8 == 7), 0),
        values=np.concatenate([left, left], axis=1),
        around=random.standard_normal((ROWS, AROUND)).astype(np.float32),
        streams=random.integers(0, 2**63, ROWS).astype(np.uint64),
        offsets=np.arange(ROWS + 1) * LONGEST,
    )  # fmt: skip
    due = np.where(random.random(ROWS) < 0.5, -1.0, now + random.uniform(0, 3e7, ROWS))
    lanes = Lanes(
        flow=number, position=position, owed=random.integers(0, 64, ROWS), left=left,
        bytes_left=random.choice([0, 7, 600, 90_000], (ROWS, 2)),
        step_left=np.minimum(left, random.choice([1, 3, 60], (ROWS, 2))),
        step_bytes=random.choice([-3, 0, 9, 4000], (ROWS, 2)), row=number.copy(),
        time=now, due=due, due_reply=((due >= 0) & (number % 2 > 0)).astype(np.int64),
        first_reverse=number % 3 // 2, low=np.zeros(ROWS), high=np.zeros(ROWS),
        windows=random.choice([-1, -1, 0, 150, 501, 40_000, 65_535], (ROWS, 2)),
        lengths=random.integers(0, level.sizes[LENGTH] + 1, (ROWS, 2)),
        unheard=random.choice([0, 1, 5, 40], (ROWS, 2)), history=history,
        base=base.numpy(), token=np.zeros((ROWS, 4), dtype=np.int64),
        gap=np.zeros(ROWS), size=np.zeros(ROWS, dtype=np.int64),
        tries=np.zeros(ROWS, dtype=np.int64), strays=np.zeros(ROWS, dtype=np.int64),
    )  # fmt: skip
    return lanes, flows, time_ns


def context_of(
    arrays: RecordArrays, lanes: Lanes, flows: FlowsToDraw, time_ns: Array
) -> RecordContext:
    """The same records, as RecordContext defines its columns."""
    low = np.maximum(flows.step * STEP_NS - lanes.time, 0)
    step = np.maximum(flows.step, lanes.time // STEP_NS)  # no lane is near the end of its step
    assert np.count_nonzero(step > flows.step) >= ROWS // 10
    high = np.minimum((step + 1) * STEP_NS, flows.latest_ns) - lanes.time
    for row in range(ROWS):  # those behind it in its step need their time, an octave at a time
        behind, fastest = int(lanes.step_left[row].sum()) - 1, arrays.fastest_runs
        for octave in range(behind.bit_length()):
            if behind & 1 << octave:
                high[row] -= fastest[flows.service[row], octave]
    pending = lanes.due >= 0
    due_left = np.where(pending, np.maximum(lanes.due - lanes.time, 0), -1.0)
    high = np.maximum(np.where(pending, np.minimum(high, due_left), high), low + 1)
    recent = np.full((ROWS, len(RECENT)), -1.0)
    for row in range(ROWS):
        for place, count in enumerate(RECENT):
            if lanes.position[row] > count:
                before = time_ns[row * LONGEST + lanes.position[row] - 1 - count]
                recent[row, place] = (lanes.time[row] - before) / count
    columns = (
        lanes.position, lanes.owed, lanes.left, lanes.step_left, lanes.step_bytes,
        lanes.bytes_left,
        flows.exact,
        np.maximum(flows.end_ns - lanes.time, 0), flows.delays, due_left, lanes.due_reply > 0,
        lanes.first_reverse > 0, low, high, recent, lanes.windows,
        lanes.lengths, lanes.unheard, flows.around, lanes.history,
    )  # fmt: skip
    return RecordContext(*(torch.as_tensor(column.copy()) for column in columns))


def test_states_are_those_of_the_network(case: Case) -> None:
    with torch.no_grad():
        state = case.level.state(torch.as_tensor(case.flows.vector), case.context)
    assert np.abs(state.numpy() - case.state).max() < 1e-4
    assert np.abs(case.lanes.low - case.context.gap_low.numpy()).max() == 0
    assert np.abs(case.lanes.high - case.context.gap_high.numpy()).max() == 0


@pytest.mark.parametrize("part", [KIND, LENGTH, WINDOW])
def test_logits_are_those_of_the_network(case: Case, part: int) -> None:
    with torch.no_grad():
        expected = case.level._logits(part, torch.as_tensor(case.state)).numpy()
    found = part_logits(case.arrays, part, case.state, np.arange(ROWS), ROWS)
    assert np.abs(expected - found).max() < 1e-4


def test_kinds_are_ruled_out_as_the_network_does(case: Case) -> None:
    service = case.tokens[:, case.level.service_place]
    shape = case.tokens[:, case.level.shape_place]
    with torch.no_grad():
        state = torch.as_tensor(case.state)
        expected = case.level._kind_logits(state, service, shape, case.context).softmax(1).numpy()
        plain = case.level._logits(KIND, state).softmax(1).numpy()
    share = np.zeros(case.level.sizes[KIND], dtype=np.float32)
    ruled = 0
    for row in range(ROWS):
        exact = case.flows.exact[row]
        reply = float(case.flows.delays[row, 1])
        kind_shares(
            case.arrays, case.lanes, row, int(service[row]), int(shape[row]), reply, exact, share
        )
        found = plain[row] * share
        assert np.abs(found / found.sum() - expected[row]).max() < 1e-4
        ruled += np.count_nonzero((share > 0) & (share < 1))
    assert ruled > ROWS, "kinds that flags, bytes or state speak against do occur"


def test_lengths_are_ruled_out_as_the_network_does(case: Case) -> None:
    """And lengths told by what they leave."""
    lengths = case.level.sizes[LENGTH]
    share = np.zeros(case.arrays.parts[LENGTH, SIZE], dtype=np.float32)
    amounts = [0, 1, 7, 8, 31, 60, 61, 340, 1_500, 6_470, 90_000, ANY_BYTES]
    left = torch.tensor(amounts * 6)[:ROWS]
    service = torch.arange(ROWS) % 7
    state = torch.as_tensor(case.state)
    with torch.no_grad():
        ruled_out = (case.level._length_logits(state, service, left) == -1e4).numpy()
    for row in range(ROWS):
        length_shares(case.arrays, int(service[row]), int(left[row]), share)
        assert ((share == 0) == ruled_out[row]).all()
    possible = ~ruled_out[:, lengths:]
    assert possible.shape[1] == case.level.remainders.numel()
    assert possible[:, :4].any(0).all(), "most remainders may be left by some"
    assert not possible[:, 5:].any(), "padding is none"


def test_gaps_are_drawn_from_both_rulers_and_inside_their_limits(case: Case) -> None:
    """Over many draws, gaps have the mean that the mixture of the rulers has."""
    level, lanes, count = case.level, case.lanes, 400
    lanes.token[:, KIND] = np.arange(ROWS) % level.sizes[KIND]
    asked = np.arange(ROWS)
    found = np.zeros((count, ROWS))
    for draw in range(count):
        draw_gaps(case.arrays, lanes, asked, asked, ROWS, case.flows, case.state)
        found[draw] = lanes.gap
    low, high = narrowed(case)
    assert (found >= low.numpy()).all()
    assert (found <= high.numpy()).all()
    random = torch.Generator().manual_seed(0)
    kind = torch.as_tensor(lanes.token[:, KIND])
    service = torch.as_tensor(case.flows.service)
    assert level.gaps.timers.keys.numel() > 0
    expected = np.zeros((count, ROWS))
    with torch.no_grad():
        state = level.norm(torch.as_tensor(case.state))
        units = level._units(service, kind, level._delay(kind, case.context))
        for draw in range(count):
            expected[draw] = level.gaps.sample(
                state, low, high, units, service=service, kind=kind, random=random
            ).numpy()
    spread = np.sqrt((found.var(0) + expected.var(0)) / count) + 1e-9
    score = (found.mean(0) - expected.mean(0)) / spread
    assert np.abs(score).max() < 5


def narrowed(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """Shortest and longest gaps of records of the kinds that the lanes have."""
    (*_, low, high), _ = narrowings(case)[-1]
    return low, high


def narrowings(
    case: Case,
) -> list[tuple[tuple[torch.Tensor, ...], dict[str, torch.Tensor]]]:
    """How the two ranges narrow gaps, the one after the other, for all rows [M].

    Each with shortest and longest gap before and after, and which rows take which way, told here
    from the keys and rows of the ranges alone.
    """
    level, lanes = case.level, case.lanes
    before = (case.context.history[:, 0, KIND] - 1).clamp(min=0)
    kind, service = torch.as_tensor(lanes.token[:, KIND]), torch.as_tensor(case.flows.service)
    octave = level.gap_octaves[case.context.history[:, 0, GAP]]
    room = torch.as_tensor(case.flows.latest_ns - lanes.time)
    low, high = case.context.gap_low, case.context.gap_high
    steps = []
    for ranges, group, left in (
        (level.gap_range, service, None),  # a pause may be longer than any seen
        (level.gap_after, service * OCTAVES + octave, room),
    ):
        found = ranges.narrow(group, before, kind, low, high, left)
        known = dict(zip(ranges.keys.tolist(), ranges.rows.tolist(), strict=True))
        codes = ((group * ranges.kinds + before) * ranges.kinds + kind).tolist()
        limits = torch.tensor([known.get(code, [torch.nan] * 2) for code in codes]).double()
        apart = (limits[:, 0] >= high) | (limits[:, 1] <= low)
        ways = {
            "unknown": limits[:, 0].isnan(),
            "narrowed": ~limits[:, 0].isnan() & ~apart,
        }
        if left is not None:
            ways["instead"] = apart & (limits[:, 0] < room)
            ways["cut to the room"] = ways["instead"] & (limits[:, 1] > room)
        ways["no room"] = apart & ~ways.get("instead", torch.zeros_like(apart))
        steps.append(((low, high, *found), ways))
        low, high = found
    return steps


def test_gaps_are_narrowed_as_the_network_does(case: Case) -> None:
    """Whichever way each of the two ranges takes; many take each."""
    counts: list[dict[str, int]] = [{}, {}]
    for shift in range(case.level.sizes[KIND]):
        case.lanes.token[:, KIND] = (np.arange(ROWS) + shift) % case.level.sizes[KIND]
        steps = narrowings(case)
        low, high = (limit.tolist() for limit in narrowed(case))
        for row in range(ROWS):
            room = float(case.flows.latest_ns[row] - case.lanes.time[row])
            found = narrow(case.arrays, case.lanes, row, case.flows.service[row], room)
            assert found == (low[row], high[row])
        for count, ((low_before, high_before, low_behind, high_behind), ways) in zip(
            counts, steps, strict=True
        ):
            ways["low"] = ways["narrowed"] & (low_behind > low_before)
            ways["high"] = ways["narrowed"] & (high_behind < high_before)
            for name, rows in ways.items():
                count[name] = count.get(name, 0) + int(rows.sum())
    assert min(min(count.values()) for count in counts) >= 20, str(counts)


def test_what_never_followed_is_ruled_out_as_the_network_does(case: Case) -> None:
    level, arrays, kinds = case.level, case.arrays, case.level.sizes[KIND]
    service, stack = torch.as_tensor(case.flows.service), torch.as_tensor(case.flows.stack)
    behind = torch.randint(0, kinds + 1, (400, 3))
    behind[:ROWS] = last_kinds(case.context.history)
    service, stack = (column.repeat(1 + 400 // ROWS)[:400] for column in (service, stack))
    for followers, of, keys, rows in (
        (level.next_kinds, service, arrays.kind_keys, arrays.kind_rows),
        (level.next_windows, stack, arrays.window_keys, arrays.window_rows),
    ):
        seen = followers.seen(of, behind).numpy()
        unknown = 0
        for place in range(400):
            row = follower_row(arrays, keys, int(of[place]), *behind[place].tolist())
            share = np.full(followers.size, 0.5, dtype=np.float32)
            rule_out_unseen(rows, row, share)
            expected = np.where(seen[place], 0.5, 0.5 * np.exp(-8))
            assert np.allclose(share, expected, rtol=1e-5)
            unknown += row < 0
        assert 0 < unknown < 200, "of some too little is known"


def test_what_lanes_come_behind_is_what_the_network_sees(case: Case) -> None:
    """Also where they show two records or one."""
    service = case.flows.service
    found = set()
    for shown in (1, 2, 3):
        lanes = case.lanes._replace(history=case.lanes.history[:, :shown].copy())
        behind = last_kinds(torch.as_tensor(lanes.history))
        assert behind.shape == (ROWS, 3)
        for row in range(ROWS):
            first = [0] * (3 - shown)
            kinds = first + case.lanes.history[row, :shown, KIND][::-1].tolist()
            assert behind[row].tolist() == kinds
            expected = follower_row(case.arrays, case.arrays.kind_keys, service[row], *kinds)
            assert row_behind(case.arrays, lanes, row, service[row]) == expected
            found.add(expected)
    assert len(found) > 20


def test_windows_are_ruled_out_as_the_network_does(case: Case) -> None:
    kind = torch.arange(ROWS) % case.level.sizes[KIND]
    state = torch.as_tensor(case.state)
    with torch.no_grad():
        logits = case.level._window_logits(state, kind, case.context, drawing=True)
        plain = case.level._logits(WINDOW, state)
    share = np.zeros(case.level.sizes[WINDOW], dtype=np.float32)
    ruled_out = 0
    for row in range(ROWS):
        before = case.lanes.windows[row, case.arrays.kind_reverse[kind[row]]]
        window_shares(case.arrays, before, share)
        assert ((share == 0) == (logits[row] == -1e4).numpy()).all()
        assert torch.equal(logits[row][share > 0], plain[row][share > 0])
        ruled_out += before >= 0 and (share == 0).any()
    assert ruled_out > 0, "changes out of range do occur"


def test_windows_that_can_come_by_hand(case: Case) -> None:
    """Nothing but a set one comes first; sums stay in 0 .. 65535; the same one always may come."""
    told = np.array([[-1, 0], [-1, -9], [-1, -2], [-1, 5], [0, 0], [777, 0]])
    arrays = case.arrays._replace(windows=told)
    share = np.zeros(6, dtype=np.float32)
    for before, expected in (
        (-1, [0, 0, 0, 0, 1, 1]),
        (0, [1, 0, 0, 1, 1, 1]),
        (2, [1, 0, 1, 1, 1, 1]),
        (9, [1, 1, 1, 1, 1, 1]),
        (65_530, [1, 1, 1, 1, 1, 1]),
        (65_531, [1, 1, 1, 0, 1, 1]),
    ):
        window_shares(arrays, before, share)
        assert share.tolist() == expected


def test_losses_rule_out_no_change_of_a_known_window(case: Case) -> None:
    """Amounts are told in bins: what was learned may leave the range of windows."""
    kind = torch.arange(ROWS) % case.level.sizes[KIND]
    with torch.no_grad():
        logits = case.level._window_logits(torch.as_tensor(case.state), kind, case.context)
    way = case.level.kind_reverse[kind].long()
    known = case.context.windows[torch.arange(ROWS), way] >= 0
    sets = case.level.windows[:, 0] >= 0
    assert ((logits > -1e4) == (sets | known[:, None])).all()


def test_mean_payloads_are_those_of_the_network(case: Case) -> None:
    context = case.context
    for size, count in (
        (context.bytes_left, context.left),
        (context.step_bytes, context.step_left),
    ):
        for way, mean in enumerate(mean_payload(size, count)):
            expected = case.level.length.bucket(mean).tolist()
            for row in range(ROWS):
                amount, packets = int(size[row, way]), int(count[row, way])
                assert _mean_token(case.arrays, amount, packets) == expected[row]


def test_windows_behind_a_record_are_those_of_the_network(case: Case) -> None:
    """After as many records as there are window tokens, of either direction."""
    size, level = case.level.sizes[WINDOW], case.level
    lanes = case.lanes._replace(
        **{name: getattr(case.lanes, name).copy() for name in case.lanes._fields}
    )
    offsets = np.arange(ROWS + 1) * LONGEST
    drawn = DrawnRows(
        tokens=np.zeros((ROWS * LONGEST, 3), dtype=np.int32),
        size_bytes=np.zeros(ROWS * LONGEST, dtype=np.int64),
        time_ns=np.zeros(ROWS * LONGEST),
    )
    flows = case.flows._replace(offsets=offsets)
    known = torch.as_tensor(lanes.windows.copy())
    unknown, ends = 0, _make_lanes(case.arrays)
    assert size < LONGEST - END
    for turn in range(size):
        lanes.position[:] = turn
        lanes.token[:, KIND] = (np.arange(ROWS) + turn // 2) % level.sizes[KIND]
        lanes.token[:, WINDOW] = (np.arange(ROWS) * 5 + turn) % size
        for row in range(ROWS):
            _finish(case.arrays, lanes, ends, row, flows, drawn, 0)
        way = level.kind_reverse[torch.as_tensor(lanes.token[:, KIND])].long()
        after = _next_windows(known, torch.as_tensor(lanes.token[:, WINDOW]), level.windows)
        rows = torch.arange(ROWS)
        known[rows, way] = after[rows, way]
        assert known.tolist() == lanes.windows.tolist()
        unknown += int((known == -1).sum())
    assert unknown > 0, "some were not known for a while"


def test_next_windows_by_hand() -> None:
    told = torch.tensor([[-1, 0], [-1, -9], [-1, 5], [777, 0]])
    before = torch.tensor([[-1, 20]]).expand(4, 2)
    after = _next_windows(before, torch.arange(4), told)
    assert after.tolist() == [[-1, 20], [-1, 11], [-1, 25], [777, 777]]


def test_the_second_of_two_packets_one_way_comes_when_its_flow_ends(case: Case) -> None:
    """Unless there are others, or one comes the other way; within the limits of its step."""
    position, some = np.arange(ROWS) % 3, np.arange(ROWS)
    left = np.stack([1 + some // 3 % 2, np.zeros(ROWS, dtype=np.int64)], axis=1)
    delays = np.where(some[:, None] // 6 % 2 > 0, 4e3, np.full((ROWS, 2), -1.0))
    low, high = some * 1e3, some * 1e3 + 3e5
    ends_ns = some % 7 * 1e5 - 1e5
    lanes = case.lanes._replace(
        position=position, left=left, due=np.full(ROWS, -1.0), low=low, high=high,
        gap=np.full(ROWS, -5.0),
    )  # fmt: skip
    flows = case.flows._replace(delays=delays, end_ns=case.lanes.time + ends_ns)
    expected = (position == 1) & (left[:, 0] == 1) & (delays[:, 0] < 0)
    assert 3 <= np.count_nonzero(expected) < ROWS // 4
    for row in range(ROWS):
        asked = is_asked(case.arrays, lanes, row, flows, GAP)
        assert asked == (position[row] > 0 and not expected[row])
    found = lanes.gap[expected]
    assert np.abs(found - np.clip(ends_ns, low, high)[expected]).max() < 1  # of 64 bits
    assert {"low", "high", "between"} <= {
        "low" if gap <= a else "high" if gap >= b else "between"
        for gap, a, b in zip(found, low[expected], high[expected], strict=True)
    }
    context = replace(
        case.context, position=torch.as_tensor(position), left=torch.as_tensor(left),
        delays=torch.as_tensor(delays),
    )  # fmt: skip
    assert (_ends_pair(context).numpy() == expected).all()
