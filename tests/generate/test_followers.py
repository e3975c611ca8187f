"""What came behind kinds of packets, by hand; and that drawn records keep to it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office
from office_flows import DRAWS, SMALL, Draw, behind, office_flows
from torch import Tensor

from netsynth.generate.transformer.followers import ENOUGH, UNSEEN, UNSEEN_SHARE, Followers
from netsynth.generate.transformer.gap_range import OCTAVES
from netsynth.generate.transformer.record_data import record_targets
from netsynth.generate.transformer.record_fit import _learn_followers
from netsynth.generate.transformer.record_level import KIND, WINDOW, RecordLevel
from netsynth.tables import NO_WINDOW_SCALE, EncodedTrace
from netsynth.tcp_windows import running_windows

Kinds = tuple[int, int, int, int]  # a service and three kinds plus 1, oldest first


def followers(*seen: tuple[Kinds, list[int]]) -> Followers:
    """Tokens of 4 behind a service and three kinds of 3."""
    rows = torch.tensor([(*kinds, token) for kinds, tokens in seen for token in tokens]).flip(0)
    made = Followers(kinds=3, size=4)
    made.learn(rows[:, 0], rows[:, 1:4], rows[:, 4])
    return made


def seen(made: Followers, *codes: Kinds) -> list[list[int]]:
    asked = torch.tensor(codes)
    found: list[list[int]] = made.seen(asked[:, 0], asked[:, 1:]).int().tolist()
    return found


def test_what_came_behind_the_same_three_is_known() -> None:
    """Also of others with the same last two; orders and services differ."""
    made = followers(
        ((2, 2, 1, 3), [0, 2] * 10), ((2, 3, 1, 3), [1] * 20), ((2, 2, 3, 1), [3] * 20),
        ((0, 0, 0, 0), [1] * 30), ((1, 2, 1, 3), [2] * 20),
    )  # fmt: skip
    asked = [(2, 2, 1, 3), (2, 3, 1, 3), (2, 2, 3, 1), (0, 0, 0, 0), (1, 2, 1, 3)]
    expected = [[1, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 1, 0]]
    assert seen(made, *asked) == expected
    assert made.keys.tolist() == sorted(made.keys.tolist())


def test_behind_fewer_of_the_same_kinds_all_that_came_there_counts() -> None:
    """Tokens 0 and 2 came twenty times behind 3-1-2, 3 ten times behind 1-1-2, 1 twenty times
    behind 1-3-2."""
    made = followers(
        ((2, 3, 1, 2), [0, 2] * 10), ((2, 1, 1, 2), [3] * 10), ((2, 1, 3, 2), [1] * 20)
    )
    three, two, one = (2, 3, 1, 2), [(2, 1, 1, 2), (2, 0, 1, 2)], [(2, 0, 0, 2), (2, 3, 2, 2)]
    assert seen(made, three) == [[1, 0, 1, 0]]
    assert seen(made, *two) == [[1, 0, 1, 1]] * 2, "ten are too few: all behind 1-2"
    assert seen(made, *one) == [[1, 1, 1, 1]] * 2, "all behind 2"
    made = followers(((2, 3, 1, 2), [0] * 10), ((2, 1, 3, 2), [1] * 10))
    assert seen(made, three, *two, *one) == [[1, 1, 0, 0]] * 5, "known of the last one alone"


def test_where_too_little_came_anything_may() -> None:
    """Of 19 tokens nothing is known; nor of services and kinds that never were, nor at all."""
    made = followers(((2, 2, 1, 3), [0] * (ENOUGH - 1)), ((1, 1, 1, 1), [0] * ENOUGH))
    unknown = [(2, 2, 1, 3), (0, 0, 0, 0), (9, 3, 3, 3), (1, 1, 1, 2), (2, 1, 1, 1)]
    assert seen(made, *unknown, (1, 1, 1, 1)) == [[1, 1, 1, 1]] * 5 + [[1, 0, 0, 0]]
    assert seen(Followers(kinds=3, size=4), (0, 0, 0, 0)) == [[1, 1, 1, 1]]


def test_saved_followers_are_the_same() -> None:
    """Also where a file holds them as bytes."""
    made = followers(((2, 2, 1, 3), [0, 2] * 10), ((0, 0, 0, 0), [1] * 30))
    again = Followers(kinds=3, size=4)
    again.load_state_dict({name: value.to(torch.uint8) if name == "rows" else value
                           for name, value in made.state_dict().items()})  # fmt: skip
    assert again.rows.dtype == torch.bool
    assert torch.equal(again.rows, made.rows)
    assert torch.equal(again.keys, made.keys)


def test_shares_and_logits_take_the_same_from_what_never_came() -> None:
    assert pytest.approx(np.exp(-UNSEEN)) == UNSEEN_SHARE


@pytest.fixture(params=sorted(DRAWS))
def draw(request: pytest.FixtureRequest) -> Draw:
    return DRAWS[str(request.param)]


def fresh() -> RecordLevel:
    """An untrained level whose windows change by a lot."""
    fields = list(layout().record_fields)
    windows = fields[2].windows
    assert windows is not None
    windows = windows.copy()
    windows[1:3] = [[-1, -5_000], [-1, 20_000]]
    fields[2] = replace(fields[2], windows=windows)
    torch.manual_seed(3)
    level = RecordLevel(layout().token_fields, tuple(fields), SMALL).eval()
    fill_weights([*level.heads, *level.gaps.heads], std=0.3)
    return level


def all_behind(services: int, kinds: int) -> tuple[Tensor, Tensor, Tensor]:
    """All services, kinds before, and kinds before that, ENOUGH times each."""
    code = torch.arange(services * (kinds + 1) ** 2).repeat(ENOUGH)
    return code // (kinds + 1) ** 2, code // (kinds + 1) % (kinds + 1), code % (kinds + 1)


def test_windows_follow_what_was_seen(draw: Draw) -> None:
    """Behind half of all pairs of kinds a window stayed, behind the others it was set to one of
    four, by the stack. A direction's first cannot stay: it is set. The others keep to that but for
    one in a hundred (e to the -8th of some twenty tokens)."""
    level = fresh()
    stack, last, kind = all_behind(2 * level.service_tcp.numel(), level.sizes[KIND])
    kinds = torch.stack([torch.zeros_like(last), last, kind], dim=1)
    largest = level.sizes[WINDOW] - 1
    stays = (last + 2 * kind) // 2 % 2 == 0
    level.next_windows.learn(stack, kinds, torch.where(stays, 0, largest - stack % 4))
    drawn = behind(level, draw(level))
    tokens = office_flows()[0].tokens
    tcp = level.service_tcp[tokens[:, level.service_place]].numpy()[drawn.flow]
    assert (drawn.window[~tcp] == 0).all()
    expected = largest - level.stack(tokens).numpy()[drawn.flow] % 4
    expected[(drawn.last + 2 * drawn.kind) // 2 % 2 == 0] = 0
    _, first = np.unique(drawn.flow * 2 + drawn.reverse, return_index=True)
    begins = np.zeros(tcp.size, dtype=np.bool_)
    begins[first] = True
    assert (level.windows.numpy()[drawn.window[begins & tcp], 0] >= 0).all()
    as_seen = (drawn.window == expected)[tcp & ~(begins & (expected == 0))]
    assert as_seen.size > 500
    assert as_seen.mean() > 0.97
    assert np.unique(expected[tcp]).size == 5, "stacks and services differ"


def test_drawn_windows_stay_in_the_header(draw: Draw) -> None:
    """Changes of 20,000 and 5,000 come often, and are not drawn where they would lead out."""
    level = fresh()
    with torch.no_grad():
        level.heads[-1].bias[1:3] += 3
    drawn = behind(level, draw(level))
    lane = drawn.flow * 2 + drawn.reverse
    found = running_windows(drawn.window, lane, level.windows.numpy())
    used = np.bincount(drawn.window, minlength=level.sizes[WINDOW])
    assert (used[1:3] > 100).all()
    told = drawn.window > 0
    assert (found[told] >= 0).all()
    assert (found <= 65_535).all()


def test_kinds_follow_what_was_seen(draw: Draw) -> None:
    """Behind each pair of kinds came only the odd or the even ones, by service and by the order of
    the pair; behind none, one and the other, the others. Where the other ones come, nothing else
    could (a kind that bytes, flags or direction speak against is less likely still)."""
    level = fresh()
    service, before, last = all_behind(level.service_tcp.numel(), level.sizes[KIND])
    shares = []
    for learns in (False, True):
        if learns:
            odd = (service + before // 2 + last) % 2
            turn = torch.arange(odd.numel()) // (odd.numel() // ENOUGH)  # 0 .. ENOUGH - 1
            parts = [
                (service, torch.stack([torch.full_like(last, first), before, last], dim=1),
                 (2 * turn + (odd + (first == 0)) % 2) % (level.sizes[KIND] // 2 * 2))
                for first in range(level.sizes[KIND] + 1)
            ]  # fmt: skip
            level.next_kinds.learn(*map(torch.cat, zip(*parts, strict=True)))
        drawn = behind(level, draw(level))
        own = office_flows()[0].tokens[:, level.service_place].numpy()[drawn.flow]
        odd_here = (own + drawn.before // 2 + drawn.last + (drawn.first == 0)) % 2
        as_seen = (drawn.kind - 1) % 2 == odd_here
        three = drawn.first > 0
        shares.append([as_seen.mean(), as_seen[three].mean(), as_seen[~three].mean()])
    assert max(shares[0]) < 0.6
    assert shares[1][0] > 0.8
    assert min(shares[1]) > 0.7


def test_gaps_keep_to_what_was_seen(draw: Draw) -> None:
    """Between half of all pairs of kinds 1 to 2 us passed, between the others 100 to 200."""
    level = fresh()
    kinds = level.sizes[KIND]
    code = torch.arange(level.service_tcp.numel() * kinds**2).repeat(ENOUGH)
    before, kind = code // kinds % kinds, code % kinds
    gap = (1 + torch.arange(code.numel()) % 11 / 10).double() * 1e3
    slow = (before // 2 + kind) % 2
    level.gap_range.learn(code // kinds**2, before, kind, gap * 100.0**slow)
    made = draw(level)
    drawn = behind(level, made)
    gaps_ns = np.diff(made.time_ns, prepend=0)
    step_ns = layout().window_ns / 128
    step = made.time_ns // step_ns
    within = (drawn.last > 0) & (np.diff(step, prepend=-1) == 0)
    slow_here = ((drawn.last - 1) // 2 + drawn.kind - 1) % 2
    fast_gaps, slow_gaps = (gaps_ns[within & (slow_here == way)] for way in (0, 1))
    assert min(fast_gaps.size, slow_gaps.size) > 200
    assert ((fast_gaps >= 799) & (fast_gaps <= 2_501)).mean() > 0.9
    assert ((slow_gaps >= 79_999) & (slow_gaps <= 250_001)).mean() > 0.9


def test_gaps_follow_from_the_one_before_them(draw: Draw) -> None:
    """Behind gaps below 10 us came 100 to 200 us, behind longer ones 1 to 2 us, and behind none
    anything: so gaps take turns, which those of a level that did not learn it do not."""
    level = fresh()
    limit_ns, kinds = 10_000, level.sizes[KIND]
    is_long = (level.gap.values() >= limit_ns).long()
    assert 0 < int(is_long.sum()) < level.gap.size
    level.gap_octaves = torch.cat([is_long.new_zeros(1), 7 + is_long])  # 7 short, 8 long
    shares = []
    for learns in (False, True):
        if learns:
            code = torch.arange(level.service_tcp.numel() * 2 * kinds**2).repeat(ENOUGH)
            octave = code // kinds**2 % 2
            group = code // kinds**2 // 2 * OCTAVES + 7 + octave
            gap = (1 + torch.arange(code.numel()) % 11 / 10).double() * 1e3
            level.gap_after.learn(
                group, code // kinds % kinds, code % kinds, gap * 100.0 ** (1 - octave)
            )
        made = draw(level)
        drawn = behind(level, made)
        gaps_ns = np.diff(made.time_ns, prepend=0)
        step = made.time_ns // (layout().window_ns / 128)
        third = (drawn.last > 0) & (drawn.before > 0) & (np.diff(step, prepend=-1) == 0)
        before_ns = np.roll(gaps_ns, 1)
        third &= np.abs(before_ns / limit_ns - 1) > 0.6  # no bin of both
        behind_long = before_ns > limit_ns
        as_seen = np.where(
            behind_long,
            (gaps_ns >= 799) & (gaps_ns <= 2_501),
            (gaps_ns >= 79_999) & (gaps_ns <= 250_001),
        )
        shares.append(as_seen[third].mean())
    assert shares[0] < 0.5
    for way in (False, True):
        assert np.count_nonzero(third & (behind_long == way)) > 100
        assert as_seen[third & (behind_long == way)].mean() > 0.8


def test_a_timer_that_passes_its_step_leaves_the_next_packet_its_time(draw: Draw) -> None:
    """Behind the first packet came a gap of 1.2 steps, whatever the series says. The next packet of
    a step that is over then comes in what is left of the one that the timer ended in."""
    level = fresh()
    kinds, step_ns = level.sizes[KIND], layout().window_ns / 128
    level.gap_octaves = torch.full_like(level.gap_octaves, 8)
    level.gap_octaves[int(level.gap.bucket(torch.zeros(1).double())) + 1] = 7  # of first packets
    code = torch.arange(level.service_tcp.numel() * kinds**2).repeat(ENOUGH)
    gap = torch.full(code.shape, 1.2 * step_ns).double()
    level.gap_after.learn(code // kinds**2 * OCTAVES + 7, code // kinds % kinds, code % kinds, gap)
    made = draw(level)
    flows, totals, series = office_flows()
    first = made.offsets[:-1][np.diff(made.offsets) > 2]
    rows = np.flatnonzero(np.diff(made.offsets) > 2)
    start = flows.start_ns.numpy()[rows]
    timer = made.time_ns[first + 1] - start
    longest = totals.longest_ns.numpy()[rows]
    packets = series.values[series.offsets[:-1], :2].sum(1)[rows]  # of the first step
    passed = (np.abs(timer / step_ns / 1.2 - 1) < 0.03) & (packets > 2) & (longest > 2 * step_ns)
    assert np.count_nonzero(passed) >= 8
    gap_ns = (made.time_ns[first + 2] - made.time_ns[first + 1])[passed]
    left = step_ns - made.time_ns[first + 1][passed] % step_ns
    assert (gap_ns <= left + 1).all()
    assert (gap_ns > 2).mean() > 0.9


def learn(trace: EncodedTrace, history: int) -> RecordLevel:
    """What a level learns of a trace, and of nothing else."""
    level = RecordLevel(layout().token_fields, layout().record_fields, SMALL)
    flow_of = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))
    targets = torch.as_tensor(record_targets(trace))
    _learn_followers(level, [tokens], [flow_of], [targets], history=history)
    return level


@pytest.mark.parametrize("history", [1, 2, 5])
def test_all_that_came_in_the_capture_was_seen(history: int) -> None:
    """Counted record by record, and the end of a flow as one more; a history of one or two records
    shows no kinds before them."""
    trace = office()[1]
    level = learn(trace, history)
    place = [f.name for f in trace.token_fields].index("service")
    met: dict[tuple[int, ...], list[int]] = {}
    asked: set[tuple[int, ...]] = set()
    for flow in range(len(trace)):
        kinds = trace.records[trace.record_offsets[flow] : trace.record_offsets[flow + 1], 0] + 1
        told = [0, 0, 0, *kinds.tolist(), level.sizes[KIND] + 1]
        service = int(trace.tokens[flow, place])
        for at in range(3, len(told)):
            shown = tuple(told[at - back] if back <= history else 0 for back in (3, 2, 1))
            asked.add((service, *shown))
            for count in (1, 2, 3):
                met.setdefault((service, *shown[-count:]), []).append(told[at] - 1)
    assert len(asked) > 50
    met = {key: tokens for key, tokens in met.items() if len(tokens) >= ENOUGH}
    assert level.next_kinds.keys.numel() == len(met) > 20
    codes = torch.tensor(sorted(asked))
    used = set()
    rows = level.next_kinds.seen(codes[:, 0], codes[:, 1:])
    for code, row in zip(codes.tolist(), rows, strict=True):
        known = [n for n in (3, 2, 1) if (code[0], *code[4 - n :]) in met]
        used.update(known[:1])
        expected = set(range(level.sizes[KIND] + 1))
        if known:
            expected = set(met[code[0], *code[4 - known[0] :]])
        assert set(torch.nonzero(row)[:, 0].tolist()) == expected
    assert used == {1: {3}, 2: {1, 3}, 5: {1, 2, 3}}[history], "what is not shown is always alike"
    assert any(level.sizes[KIND] in tokens for tokens in met.values()), "flows end"


def test_a_stack_is_a_service_and_whether_both_sides_scale() -> None:
    """Openings with a scale of 0 scale, those without the option and those unseen do not."""
    codec, trace = office()
    rows = np.array([[15, 1460, 10], [0, 0, NO_WINDOW_SCALE], [-1, -1, -1], [15, 1460, 0]])
    openings = replace(codec.openings, rows=rows, counts=np.ones(4, dtype=np.int64))
    fields = replace(codec, openings=openings).token_fields
    level = RecordLevel(fields, layout().record_fields, SMALL)
    names = [f.name for f in fields]
    tokens = torch.as_tensor(trace.tokens[:16].astype(np.int64))
    either = torch.arange(16)
    tokens[:, names.index("opening_forward")] = either // 4
    tokens[:, names.index("opening_reverse")] = either % 4
    service = either % 7
    tokens[:, names.index("service")] = service
    both = [1, 0, 0, 1] + [0] * 8 + [1, 0, 0, 1]
    assert level.stack(tokens).tolist() == (2 * service + torch.tensor(both)).tolist()
