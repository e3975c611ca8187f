"""Flows whose end no flow has are drawn again: the whole flow, or its last packets."""

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout
from office_flows import DRAWS, SMALL, Draw, behind, draw_compiled, office_flows

from netsynth.generate.transformer.drawn import DrawnRecords
from netsynth.generate.transformer.followers import ENOUGH
from netsynth.generate.transformer.record_arrays import pack_record_level
from netsynth.generate.transformer.record_kernel import END, _copy_lane, _make_lanes, _strays
from netsynth.generate.transformer.record_lanes import FLOWS, FlowsToDraw, Lanes
from netsynth.generate.transformer.record_level import (
    KIND,
    RETRIES,
    RecordLevel,
    last_kinds,
    strays,
)
from netsynth.numbers import Array

KEPT = ("low", "high", "base", "token", "gap", "size", "tries", "strays")  # or made anew


@pytest.fixture
def level() -> RecordLevel:
    """Flows owe no flags and no bytes: they may stray by their kinds alone."""
    torch.manual_seed(4)
    made = RecordLevel(layout().token_fields, layout().record_fields, SMALL).eval()
    fill_weights([*made.heads, *made.gaps.heads], std=0.3)
    made.is_exact.zero_()
    made.shape_state = torch.zeros_like(made.shape_state)  # the layout keeps its own
    return made


def with_data(level: RecordLevel) -> torch.Tensor:
    """Kinds of TCP packets that carry data: bool [kinds]."""
    tcp = torch.as_tensor(layout().record_fields[0].groups["protocol"] == 6)
    return level.kind_payload & tcp


def end_without_data(level: RecordLevel) -> None:
    """All kinds came behind all others, but no flow ended behind TCP's with data."""
    kinds = level.sizes[KIND]
    code = torch.arange(level.service_tcp.numel() * (kinds + 1)).repeat(ENOUGH)
    service, last = code // (kinds + 1), code % (kinds + 1)
    turn = torch.arange(code.numel()) // (code.numel() // ENOUGH)  # 0 .. ENOUGH - 1
    assert kinds + 1 < ENOUGH
    token = turn.clamp(max=kinds)
    forbidden = with_data(level)[(last - 1).clamp(min=0)] & (last > 0)
    token[forbidden & (token == kinds)] = 0
    none = torch.zeros_like(last)
    level.next_kinds.learn(service, torch.stack([none, none, last], dim=1), token)


def forbidden_ends(level: RecordLevel, drawn: DrawnRecords) -> Array:
    """Which flows end with data: bool [F]."""
    kind = drawn.tokens[drawn.offsets[1:] - 1, 0]
    found: Array = with_data(level).numpy()[kind]
    return found


@pytest.mark.parametrize("way", sorted(DRAWS))
def test_flows_rarely_end_as_none_did(way: str, level: RecordLevel) -> None:
    """All kinds are as likely: of four that an initiator may send two carry data, of six of the
    other side four. Of six draws all but one in eleven to sixty-four end without; the network
    draws 60 packets again twice, which leaves one in three to eight."""
    draw: Draw = DRAWS[way]
    head = level.heads[KIND]
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.weight.zero_()
        head.bias.zero_()
    before = draw(level)
    end_without_data(level)
    after = draw(level)
    count = np.diff(before.offsets)
    assert (np.diff(after.offsets) == count).all()
    for rows, most in ((count <= END, 0.15), (count > END, 0.35)):
        tcp = level.service_tcp[office_flows()[0].tokens[:, level.service_place]].numpy() & rows
        assert tcp.sum() > 20
        assert forbidden_ends(level, before)[tcp].mean() > 0.35
        assert forbidden_ends(level, after)[tcp].mean() < most


def test_only_the_last_packets_of_flows_that_stray_are_drawn_again(level: RecordLevel) -> None:
    """A flow that ends as others do stays as it was, to the byte; of one that does not, at most
    the last END packets change."""
    end_without_data(level)
    once, again = (draw_compiled(level, retries=retries) for retries in (0, RETRIES))
    strayed = forbidden_ends(level, once)
    changed = (once.tokens != again.tokens).any(1) | (once.size_bytes != again.size_bytes)
    changed |= once.time_ns != again.time_ns
    count = np.diff(once.offsets)
    flow = np.repeat(np.arange(count.size), count)
    to_come = once.offsets[flow + 1] - np.arange(flow.size)
    assert not changed[to_come > END].any()
    assert not changed[~strayed[flow]].any()
    several = strayed & (count > 2)  # of one or two packets the same may be drawn
    assert several[count > END].sum() > 5
    assert (np.bincount(flow, changed)[several] > 0).all()
    early = changed & (to_come > END - 4) & (count > END)[flow]
    assert early.any(), "the whole end is drawn again, not its last packets"
    short = changed & (np.arange(flow.size) == once.offsets[flow])
    assert (count[flow[short]] <= END).all()


def test_a_strange_kind_before_the_end_does_not_count(level: RecordLevel) -> None:
    """Flows came only without packets, so that any first one is strange: those of END packets and
    fewer are drawn again, longer ones are as they were."""
    service = torch.arange(level.service_tcp.numel()).repeat(ENOUGH)
    none, over = torch.zeros(service.numel(), 3, dtype=torch.int64), level.sizes[KIND]
    level.next_kinds.learn(service, none, torch.full_like(service, over))
    once, again = (draw_compiled(level, retries=retries) for retries in (0, RETRIES))
    count = np.diff(once.offsets)
    flow = np.repeat(np.arange(count.size), count)
    changed = (once.time_ns != again.time_ns) | (once.tokens != again.tokens).any(1)
    changes = np.bincount(flow, changed) > 0
    assert changes[(count > 2) & (count <= END)].all()
    assert (count == END).any()
    assert not changes[count > END].any()


@pytest.mark.parametrize("way", sorted(DRAWS))
def test_flows_with_kinds_as_none_had_are_drawn_again(way: str, level: RecordLevel) -> None:
    """The first of a flow came without data only. A network that says otherwise by more than the
    chance left to it is drawn again, until it says so once."""
    kinds, data = level.sizes[KIND], level.kind_payload
    code = torch.arange(level.service_tcp.numel()).repeat(ENOUGH * kinds)
    turn = torch.arange(code.numel()) // level.service_tcp.numel() % kinds
    none = torch.zeros(code.numel(), 3, dtype=torch.int64)
    with torch.no_grad():
        level.heads[KIND].bias += 8.5 * data  # UNSEEN takes 8: five in eight carry data
    draw = DRAWS[way]
    drawn = draw(level)
    tokens = torch.where(data[turn], int(torch.nonzero(~data)[0]), turn)
    level.next_kinds.learn(code, none, tokens)
    again = draw(level)
    count = np.diff(drawn.offsets)
    tcp = level.service_tcp[office_flows()[0].tokens[:, level.service_place]].numpy()
    few = tcp & (count <= END)
    shares = []
    for made in (drawn, again):
        begins = behind(level, made)
        assert (begins.last[made.offsets[:-1]] == 0).all()
        shares.append(data.numpy()[begins.kind[made.offsets[:-1]] - 1][few].mean())
    assert shares[0] > 0.95
    assert shares[1] < 0.5


def test_copied_lanes_hold_all_that_drawing_goes_on_from(level: RecordLevel) -> None:
    """All but what belongs to the record being drawn, to the flow, or to the retries."""
    arrays = pack_record_level(level)
    source, target, before = (_make_lanes(arrays) for _ in range(3))
    random = np.random.default_rng(0)
    for name in Lanes._fields:
        column = getattr(source, name)
        column[:] = random.integers(1, 100, column.shape)
    _copy_lane(source, target, 5)
    for name in Lanes._fields:
        old, new, told = (getattr(lanes, name) for lanes in (before, target, source))
        assert (new[5] == (old if name in KEPT else told)[5]).all(), name
        assert (np.delete(new, 5, axis=0) == np.delete(old, 5, axis=0)).all(), name


def test_the_loop_finds_the_flows_that_the_network_finds(level: RecordLevel) -> None:
    """By flags owed, bytes left where they are exact, a strange kind on the way or a strange end;
    one in two flows of each."""
    end_without_data(level)
    arrays, random = pack_record_level(level), np.random.default_rng(1)
    service = np.arange(FLOWS) % level.service_tcp.numel()
    exact = random.random((FLOWS, 2)) < 0.5
    lanes = _make_lanes(arrays)
    lanes.owed[:] = random.choice([0, 0, 0, 4], FLOWS)
    lanes.strays[:] = random.choice([0, 0, 0, 1], FLOWS)
    lanes.bytes_left[:] = random.choice([0, 0, 0, 9, -2], (FLOWS, 2))
    lanes.history[:] = random.integers(1, level.sizes[KIND] + 1, lanes.history.shape)
    nothing = {name: np.zeros(0) for name in FlowsToDraw._fields}
    flows = FlowsToDraw(**{**nothing, "service": service, "exact": exact})
    history = torch.as_tensor(lanes.history)
    ends = level.next_kinds.seen(torch.as_tensor(service), last_kinds(history))[:, -1]
    assert torch.equal(~ends, with_data(level)[history[:, 0, KIND] - 1])
    expected = strays(*(torch.as_tensor(x) for x in (lanes.owed, lanes.bytes_left, exact)))
    expected |= ~ends | (torch.as_tensor(lanes.strays) > 0)
    found = [_strays(arrays, lanes, row, flows, row) for row in range(FLOWS)]
    assert found == expected.tolist()
    assert 10 < sum(found) < FLOWS - 3


def test_ends_with_strange_kinds_are_drawn_until_one_has_none(level: RecordLevel) -> None:
    """Behind any packet came only those without data. Each try begins anew: where about half of
    the flows of more than END packets have one among their last ones, half to the sixth keep it."""
    kinds, data = level.sizes[KIND], with_data(level)
    code = torch.arange(level.service_tcp.numel() * (kinds + 1)).repeat(kinds + 1 + ENOUGH)
    turn = torch.arange(code.numel()) // (level.service_tcp.numel() * (kinds + 1))
    token = turn.clamp(max=kinds)
    token = torch.where(torch.cat([data, data.new_zeros(1)])[token], kinds, token)
    none = torch.zeros_like(code)
    behind_it = torch.stack([none, none, code % (kinds + 1)], dim=1)
    level.next_kinds.learn(code // (kinds + 1), behind_it, token)
    head = level.heads[KIND]
    assert isinstance(head, torch.nn.Linear)
    with torch.no_grad():
        head.bias += 4.0 * data
    shares = []
    for retries in (0, RETRIES):
        drawn = draw_compiled(level, retries=retries)
        flow = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets))
        is_end = drawn.offsets[flow + 1] - np.arange(flow.size) <= END
        strange = np.bincount(flow, is_end & data.numpy()[drawn.tokens[:, 0]]) > 0
        shares.append(strange[np.diff(drawn.offsets) > END].mean())
    assert 0.3 < shares[0] < 0.75
    assert shares[1] < 0.15
