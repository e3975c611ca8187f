"""What came behind kinds of packets, by hand; and that drawn records keep to it."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office
from torch import Tensor

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.cpu_sampling import CpuRecords
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.followers import ENOUGH, UNSEEN, UNSEEN_SHARE, Followers
from netsynth.generate.transformer.record_data import record_targets
from netsynth.generate.transformer.record_drawing import draw_records
from netsynth.generate.transformer.record_fit import _learn_followers
from netsynth.generate.transformer.record_level import KIND, WINDOW, RecordLevel
from netsynth.numbers import Array
from netsynth.tables import NO_WINDOW_SCALE, EncodedTrace
from netsynth.tcp_windows import running_windows

SMALL = TransformerConfig(width=16, hidden=20, record_width=24, record_history=3)


def followers(*seen: tuple[int, int, int, list[int]]) -> Followers:
    """Tokens of 4 behind a service and two kinds of 3."""
    rows = [(s, a, b, token) for s, a, b, tokens in seen for token in tokens]
    made = Followers(kinds=3, size=4)
    made.learn(*torch.tensor(rows[::-1]).T)
    return made


def seen(made: Followers, *codes: tuple[int, int, int]) -> list[list[int]]:
    found: list[list[int]] = made.seen(*torch.tensor(codes).T).int().tolist()
    return found


def test_what_came_behind_the_same_two_is_known() -> None:
    made = followers((2, 1, 3, [0, 2] * 10), (2, 3, 1, [3] * 20), (0, 0, 0, [1] * 30))
    assert seen(made, (2, 1, 3), (2, 3, 1), (0, 0, 0)) == [[1, 0, 1, 0], [0, 0, 0, 1], [0, 1, 0, 0]]
    assert made.keys.tolist() == sorted(made.keys.tolist())


def test_where_too_little_came_anything_may() -> None:
    """Of 19 tokens nothing is known; nor of services and pairs that never were, nor at all."""
    made = followers((2, 1, 3, [0] * (ENOUGH - 1)), (1, 1, 1, [0] * ENOUGH))
    unknown = [(2, 1, 3), (0, 0, 0), (9, 3, 3), (1, 1, 2), (1, 2, 1)]
    assert seen(made, *unknown, (1, 1, 1)) == [[1, 1, 1, 1]] * 5 + [[1, 0, 0, 0]]
    assert seen(Followers(kinds=3, size=4), (0, 0, 0)) == [[1, 1, 1, 1]]


def test_saved_followers_are_the_same() -> None:
    """Also where a file holds them as bytes."""
    made = followers((2, 1, 3, [0, 2] * 10), (0, 0, 0, [1] * 30))
    again = Followers(kinds=3, size=4)
    again.load_state_dict({name: value.to(torch.uint8) if name == "rows" else value
                           for name, value in made.state_dict().items()})  # fmt: skip
    assert again.rows.dtype == torch.bool
    assert torch.equal(again.rows, made.rows)
    assert torch.equal(again.keys, made.keys)


def test_shares_and_logits_take_the_same_from_what_never_came() -> None:
    assert pytest.approx(np.exp(-UNSEEN)) == UNSEEN_SHARE


@pytest.fixture(scope="module")
def flows() -> tuple[DrawnFlows, DrawnTotals, DrawnSeries]:
    """Flows of the office of 60 packets at most, without times of answers and replies; every other
    one does not scale windows."""
    trace = office()[1]
    some = np.flatnonzero(np.diff(trace.record_offsets) <= 60)
    tokens = torch.as_tensor(trace.tokens[some].astype(np.int64))
    opening = [f.name for f in trace.token_fields].index("opening_forward")
    tokens[:, opening] = torch.arange(some.size) % 2
    duration = torch.as_tensor(trace.duration_ns[some].astype(np.float64))
    none = torch.full_like(duration, -1.0)
    rows = np.concatenate([np.arange(*trace.series_offsets[i : i + 2]) for i in some])
    counts = np.diff(trace.series_offsets)[some]
    return (
        DrawnFlows(
            window=torch.zeros(some.size, dtype=torch.int64),
            start_ns=torch.as_tensor(trace.start_ns[some].astype(np.float64)),
            tokens=tokens,
        ),
        DrawnTotals(
            packets_and_bytes=torch.as_tensor(trace.totals[some]), answer_ns=none, reply_ns=none,
            duration_ns=duration, longest_ns=duration,
        ),
        DrawnSeries(
            offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            step=trace.series_step[rows].astype(np.int64),
            values=trace.series_values[rows],
        ),
    )  # fmt: skip


Draw = Callable[[RecordLevel], DrawnRecords]


@pytest.fixture(params=["torch", "compiled"])
def draw(
    request: pytest.FixtureRequest, flows: tuple[DrawnFlows, DrawnTotals, DrawnSeries]
) -> Draw:
    """Draw the records of the flows."""
    trace = office()[1]
    size = {"window_ns": trace.window_ns, "step_count": trace.step_count}

    def on_torch(level: RecordLevel) -> DrawnRecords:
        random = torch.Generator().manual_seed(2)
        return draw_records(level, *flows, **size, config=SMALL, random=random)

    def compiled(level: RecordLevel) -> DrawnRecords:
        return CpuRecords(level).draw_records(*flows, first_flow=0, **size, seed=2)

    return on_torch if request.param == "torch" else compiled


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


@dataclass
class Behind:
    """Columns of drawn records, int64 [N]."""

    flow: Array
    kind: Array  # plus 1, as all kinds
    last: Array  # 0 where there is none
    before: Array
    reverse: Array
    window: Array


def behind(level: RecordLevel, drawn: DrawnRecords) -> Behind:
    flow = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets))
    kind = drawn.tokens[:, 0].astype(np.int64)
    earlier = []
    for back in (1, 2):
        column = np.zeros_like(kind)
        column[back:] = np.where(flow[back:] == flow[:-back], kind[:-back] + 1, 0)
        earlier.append(column)
    reverse = level.kind_reverse.numpy()[kind].astype(np.int64)
    return Behind(flow, kind + 1, *earlier, reverse, drawn.tokens[:, 2].astype(np.int64))


def pairs(services: int, kinds: int) -> tuple[Tensor, Tensor, Tensor]:
    """All services and pairs of kinds, ENOUGH times each."""
    code = torch.arange(services * (kinds + 1) ** 2).repeat(ENOUGH)
    return code // (kinds + 1) ** 2, code // (kinds + 1) % (kinds + 1), code % (kinds + 1)


def test_windows_follow_what_was_seen(
    draw: Draw, flows: tuple[DrawnFlows, DrawnTotals, DrawnSeries]
) -> None:
    """Behind half of all pairs of kinds a window stayed, behind the others it was set to one of
    four, by the stack. A direction's first cannot stay: it is set. The others keep to that but for
    one in a hundred (e to the -8th of some twenty tokens)."""
    level = fresh()
    stack, last, kind = pairs(2 * level.service_tcp.numel(), level.sizes[KIND])
    largest = level.sizes[WINDOW] - 1
    stays = (last + 2 * kind) // 2 % 2 == 0
    level.next_windows.learn(stack, last, kind, torch.where(stays, 0, largest - stack % 4))
    drawn = behind(level, draw(level))
    tokens = flows[0].tokens
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


def test_kinds_follow_what_was_seen(
    draw: Draw, flows: tuple[DrawnFlows, DrawnTotals, DrawnSeries]
) -> None:
    """Behind each pair of kinds came only the odd or the even ones, by service and by the order of
    the pair. Where the other ones come, nothing else could (a kind that bytes, flags or direction
    speak against is less likely still)."""
    level = fresh()
    service, before, last = pairs(level.service_tcp.numel(), level.sizes[KIND])
    shares = []
    for learns in (False, True):
        if learns:
            odd = (service + before // 2 + last) % 2
            turn = torch.arange(odd.numel()) // (odd.numel() // ENOUGH)  # 0 .. ENOUGH - 1
            token = (2 * turn + odd) % (level.sizes[KIND] // 2 * 2)
            level.next_kinds.learn(service, before, last, token)
        drawn = behind(level, draw(level))
        own = flows[0].tokens[:, level.service_place].numpy()[drawn.flow]
        odd_here = (own + drawn.before // 2 + drawn.last) % 2
        shares.append(((drawn.kind - 1) % 2 == odd_here).mean())
    assert shares[0] < 0.6
    assert shares[1] > 0.8


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


def learn(trace: EncodedTrace, history: int) -> RecordLevel:
    """What a level learns of a trace, and of nothing else."""
    level = RecordLevel(layout().token_fields, layout().record_fields, SMALL)
    flow_of = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))
    targets = torch.as_tensor(record_targets(trace))
    _learn_followers(level, [tokens], [flow_of], [targets], history=history)
    return level


@pytest.mark.parametrize("history", [1, 3])
def test_all_that_came_in_the_capture_was_seen(history: int) -> None:
    """Counted record by record; a history of one record shows no kind before the last."""
    trace = office()[1]
    level = learn(trace, history)
    place = [f.name for f in trace.token_fields].index("service")
    met: dict[tuple[int, ...], list[int]] = {}
    for flow in range(len(trace)):
        kinds = trace.records[trace.record_offsets[flow] : trace.record_offsets[flow + 1], 0] + 1
        told = [0, 0, *kinds.tolist()]
        for at in range(2, len(told)):
            two_before = told[at - 2] if history > 1 else 0
            key = (int(trace.tokens[flow, place]), two_before, told[at - 1])
            met.setdefault(key, []).append(told[at] - 1)
    known = {key: set(tokens) for key, tokens in met.items() if len(tokens) >= ENOUGH}
    assert level.next_kinds.keys.numel() == len(known) > 5
    found = level.next_kinds.seen(*torch.tensor(list(known)).T)
    for row, tokens in zip(found, known.values(), strict=True):
        assert set(torch.nonzero(row)[:, 0].tolist()) == tokens


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
