"""Lengths told by what they leave of a flow's bytes, by hand and drawn."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office
from office_flows import DRAWS, SMALL, draw_compiled, office_flows
from torch import Tensor, nn

from netsynth.generate.transformer.drawn import DrawnRecords
from netsynth.generate.transformer.part_kernel import length_shares
from netsynth.generate.transformer.record_arrays import SIZE, pack_record_level
from netsynth.generate.transformer.record_data import record_context, record_targets
from netsynth.generate.transformer.record_fit import _tell_lengths, fit_records
from netsynth.generate.transformer.record_level import (
    ANY_BYTES,
    KIND,
    LENGTH,
    REMAINDERS,
    TOLD,
    RecordLevel,
)
from netsynth.generate.transformer.training import FitControl
from netsynth.numbers import Array

MOST = 300  # bytes that records have in the tests that draw
LEAVE = (40, 0, 7)


@pytest.fixture
def level() -> RecordLevel:
    torch.manual_seed(5)
    made = RecordLevel(layout().token_fields, layout().record_fields, SMALL).eval()
    fill_weights([*made.heads, *made.gaps.heads], std=0.3)
    return made


def kinds(level: RecordLevel) -> list[int]:
    """A kind with data of either direction, and one without."""
    data, back = level.kind_payload, level.kind_reverse
    return [int(torch.nonzero(which)[0]) for which in (data & ~back, data & back, ~data)]


def prefer_remainders(level: RecordLevel, first: int = 0) -> None:
    """Have the network tell lengths by remainders, from the `first`, wherever it can."""
    head = level.heads[1]
    assert isinstance(head, nn.Linear)
    with torch.no_grad():
        head.bias[level.length.size + first :] += 50.0


Row = tuple[int, int, int, list[int], list[int]]


def columns(*rows: Row) -> tuple[Tensor, ...]:
    """Kind, service, size [M], bytes left and whether they are exact [M, 2]."""
    kind, service, size, left, exact = zip(*rows, strict=True)
    whole = [torch.tensor(column) for column in (kind, service, size, left)]
    return (*whole, torch.tensor(exact) > 0)


def test_the_commoner_of_a_length_and_what_it_leaves_is_told(level: RecordLevel) -> None:
    there, back, empty = kinds(level)
    rows = columns(
        # service 2: 31 is left four times, by lengths that come once and twice
        (there, 2, 100, [131, 5], [1, 0]),
        (there, 2, 200, [231, 5], [1, 0]),
        (back, 2, 300, [5, 331], [0, 1]),
        (there, 2, 90, [121, 5], [1, 0]),
        (there, 2, 200, [200, 5], [1, 1]),
        # 0 is left five times with that, by lengths that come once and twice
        *((back, 2, 64 + place, [0, 64 + place], [1, 1]) for place in range(4)),
        # 17 is left three times: too few to be kept
        *((there, 2, 41 + place, [58 + place, 5], [1, 1]) for place in range(3)),
        # service 3: 31 is left as often as 100 comes, and so is not commoner
        (there, 3, 100, [131, 0], [1, 1]),
        (there, 3, 100, [131, 0], [1, 1]),
        # not known exactly, without data, more than there is
        (there, 2, 150, [181, 5], [0, 1]),
        (empty, 2, 0, [31, 31], [1, 1]),
        (there, 2, 70, [69, 9], [1, 1]),
    )
    level.learn_remainders(*rows)
    assert level.remainders.tolist() == [0, 31] + [-1] * (REMAINDERS - 2)
    assert level.remainders.dtype == torch.int64
    assert level.most_payload.tolist() == [0, 0, 300, 100, 0, 0, 0]
    lengths = level.length.bucket(rows[2]).tolist()
    first = level.length.size
    expected = [*[first + 1] * 4, *[first] * 5, *lengths[9:]]
    assert level.length_told(*rows).tolist() == expected


def test_at_most_so_many_remainders_are_kept_the_commonest(level: RecordLevel) -> None:
    """31 amounts are left, 4 to 34 times, each time by another length."""
    there, _, _ = kinds(level)
    rest = np.repeat(np.arange(31) * 10, np.arange(31) + 4)
    size = np.arange(rest.size) + 1
    pairs = zip(size.tolist(), rest.tolist(), strict=True)
    made = columns(*((there, 1, one, [one + left, 0], [1, 0]) for one, left in pairs))
    level.learn_remainders(*made)
    kept = [10 * place for place in range(30, 30 - REMAINDERS, -1)]
    assert level.remainders.tolist() == kept
    told = level.length_told(*made).numpy()
    by_rest = told >= level.length.size
    assert (by_rest == np.isin(rest, kept)).all()
    assert (np.array(kept)[told[by_rest] - level.length.size] == rest[by_rest]).all()
    assert (told[~by_rest] == level.length.bucket(torch.as_tensor(size)).numpy()[~by_rest]).all()


def possible(level: RecordLevel, service: int, left: int) -> list[list[bool]]:
    """Which lengths and remainders may be drawn, as the network and as the loop see it."""
    state = torch.zeros(1, SMALL.record_width)
    with torch.no_grad():
        logits = level._length_logits(state, torch.tensor([service]), torch.tensor([left]))[0]
    arrays = pack_record_level(level)
    share = np.zeros(arrays.parts[LENGTH, SIZE], dtype=np.float32)
    length_shares(arrays, service, left, share)
    return [(logits > -1e3).tolist(), (share > 0).tolist()]


@pytest.mark.parametrize(
    ("left", "fits"),
    [
        (100, [False, True, False, False]),  # 69 is more than 60, 0 is nothing
        (31, [False, False, False, True]),
        (60, [True, True, False, True]),
        (160, [False, False, True, False]),
        (0, [False] * 4),
        (-7, [False] * 4),
        (ANY_BYTES, [False] * 4),
    ],
)
def test_remainders_that_can_be_left_by_hand(
    level: RecordLevel, left: int, fits: list[bool]
) -> None:
    level.most_payload[4] = 60
    level.remainders[:4] = torch.tensor([31, 45, 100, 0])
    for found in possible(level, 4, left):
        assert found[level.length.size :] == fits + [False] * (REMAINDERS - 4)
        assert any(found[: level.length.size])
    for found in possible(level, 3, left):
        assert not any(found[level.length.size :]), "service 3 has no data"


def test_where_nothing_fits_any_length_may_come_but_no_remainder(level: RecordLevel) -> None:
    """With lengths of 36 and more and 7 bytes left: only what leaves nothing fits, if it may."""
    level.length.rows.clamp_(min=36)
    level.remainders[:2] = torch.tensor([0, 9])
    level.most_payload[4] = 60
    size = level.length.size
    nothing = [False] * (REMAINDERS - 1)
    for found in possible(level, 4, 7):
        assert found == [False] * size + [True, *nothing]
    for service, left in ((3, 7), (4, 0), (4, -2)):
        for found in possible(level, service, left):
            assert found == [True] * size + [False, *nothing]


def before_each(level: RecordLevel, drawn: DrawnRecords) -> Iterator[tuple[int, int]]:
    """Bytes left of its direction and payload of each record with data whose bytes are
    told exactly."""
    tokens = office_flows()[0].tokens
    exact = level.exact(tokens).tolist()
    left = office_flows()[1].packets_and_bytes[:, 2:].tolist()
    of = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets)).tolist()
    kinds, sizes = drawn.tokens[:, 0].tolist(), drawn.size_bytes.tolist()
    for flow, kind, size in zip(of, kinds, sizes, strict=True):
        way = int(level.kind_reverse[kind])
        if level.kind_payload[kind] and exact[flow][way]:
            yield left[flow][way], size
        left[flow][way] -= size


@pytest.mark.parametrize("way", sorted(DRAWS))
@pytest.mark.parametrize("kept", [0, 3])
def test_drawn_remainders_are_what_is_left(way: str, kept: int, level: RecordLevel) -> None:
    """A network that tells lengths by remainders wherever it can, padding first of all."""
    level.remainders[:kept] = torch.tensor(LEAVE[:kept], dtype=torch.int64)
    level.most_payload += MOST
    prefer_remainders(level)
    prefer_remainders(level, kept)
    drawn = DRAWS[way](level)
    left_over = np.zeros(len(LEAVE), dtype=np.int64)
    by_length = 0
    for left, size in before_each(level, drawn):
        can = [left - rest for rest in LEAVE[:kept] if 1 <= left - rest <= MOST]
        if can:
            assert size in can
            left_over[:kept] += [left - size == rest for rest in LEAVE[:kept]]
        else:
            assert size >= 1
            assert size <= left or left <= 0
            by_length += 1
    assert by_length > 20
    assert (left_over[:kept] > 5).all()
    data = level.kind_payload.numpy()[drawn.tokens[:, 0]]
    assert ((drawn.size_bytes >= 1) == data).all()


def test_lengths_are_tokens_of_what_was_drawn_in_the_history(level: RecordLevel) -> None:
    """Records drawn by a remainder are shown by the lengths that they have."""
    level.remainders[0] = 0
    level.most_payload += 1 << 20
    prefer_remainders(level)
    for draw in DRAWS.values():
        drawn = draw(level)
        data = level.kind_payload.numpy()[drawn.tokens[:, 0]]
        found = drawn.tokens[data, 1]
        assert (found < level.length.size).all()
        assert np.array_equal(found, level.length.bucket(torch.as_tensor(drawn.size_bytes[data])))


def learned_from(level: RecordLevel) -> tuple[Array, Array, Array]:
    """What `_tell_lengths` adds to the targets of the office, told record by record: remainder or
    -1, length token, and the told token [N]."""
    trace = office()[1]
    context = record_context(trace, level.fastest_runs, history=3, random=np.random.default_rng(1))
    flow_of = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))
    (targets,) = _tell_lengths(
        level, [trace], [tokens], [flow_of], [context], [torch.as_tensor(record_targets(trace))]
    )
    assert targets.shape == (flow_of.size, TOLD + 1)
    told = targets[:, TOLD].numpy()
    by_rest = told >= level.length.size
    kept = level.remainders.numpy()
    rest = np.where(by_rest, kept[np.where(by_rest, told - level.length.size, 0)], -1)
    return rest, targets[:, LENGTH].numpy(), told


def test_some_lengths_of_a_capture_are_told_by_remainders(level: RecordLevel) -> None:
    """Bytes that come in the direction behind a record, counted in the trace itself."""
    trace = office()[1]
    rest, length, told = learned_from(level)
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    lane = flow * 2 + level.kind_reverse.numpy()[trace.records[:, 0]]
    to_come = np.zeros(flow.size, dtype=np.int64)
    for row in range(flow.size):
        later = np.arange(flow.size) > row
        to_come[row] = trace.record_bytes[later & (lane == lane[row])].sum()
    by_rest = rest >= 0
    assert by_rest.sum() > 20
    assert (to_come[by_rest] == rest[by_rest]).all()
    assert (told[~by_rest] == length[~by_rest]).all()
    assert (trace.record_bytes[by_rest] > 0).all()
    assert level.most_payload.max() == trace.record_bytes.max()


def test_losses_are_those_of_how_lengths_are_told(level: RecordLevel) -> None:
    """All that was learned may be drawn (what is ruled out costs 10,000 nats); how a length is
    told changes its own loss alone, none where there is no data."""
    trace, place = office()[1], torch.arange(0, 2_500, 5)
    flow_of = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    context = record_context(trace, level.fastest_runs, history=3, random=np.random.default_rng(1))
    rest, length, told = learned_from(level)
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))[torch.as_tensor(flow_of)[place]]
    targets = torch.as_tensor(record_targets(trace))
    gaps = torch.zeros(place.numel(), dtype=torch.float64)
    losses = []
    for column in (told, length):
        both = torch.cat([targets, torch.as_tensor(column)[:, None]], dim=1)[place]
        with torch.no_grad():
            losses.append(level.loss(tokens, context.take(place), both, gaps))
    by_rest = torch.as_tensor(rest >= 0)[place]
    assert by_rest.sum() > 5
    assert losses[0][:, 1].max() < 50
    changed = losses[0] != losses[1]
    assert torch.equal(changed[:, 1], by_rest)
    assert not changed[:, [0, 2, 3]].any()
    data = level.kind_payload[targets[place, KIND]]
    assert torch.equal(losses[0][:, 1] > 0, data)


@pytest.fixture(scope="module")
def fitted() -> RecordLevel:
    torch.manual_seed(6)
    made = RecordLevel(layout().token_fields, layout().record_fields, SMALL)
    config = replace(SMALL, max_epochs=25, learning_rate=4e-3, batch_records=256)
    control = FitControl(report=lambda *_: None, stop=lambda: False)
    fit_records(
        made, [office()[1]], config=config, seed=1, device=torch.device("cpu"), control=control
    )
    return made.eval()


def test_a_fit_learns_remainders_and_draws_them(fitted: RecordLevel) -> None:
    """Of directions whose bytes are told exactly, more than half carry just those, though none is
    drawn again."""
    assert (fitted.remainders >= 0).any()
    drawn = draw_compiled(fitted, retries=0)
    flow = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets))
    back = fitted.kind_reverse.numpy()[drawn.tokens[:, 0]]
    sums = np.stack([np.bincount(flow, drawn.size_bytes * (back == way)) for way in (0, 1)], axis=1)
    flows, totals, _ = office_flows()
    exact = fitted.exact(flows.tokens).numpy()
    bytes_told = totals.packets_and_bytes[:, 2:].numpy()
    met = (sums == bytes_told)[exact & (bytes_told > 0)]
    assert met.size > 50
    assert met.mean() > 0.5


def test_a_saved_level_keeps_its_remainders(fitted: RecordLevel) -> None:
    again = RecordLevel(layout().token_fields, layout().record_fields, SMALL)
    assert not torch.equal(again.remainders, fitted.remainders)
    again.load_state_dict(fitted.state_dict())
    assert torch.equal(again.remainders, fitted.remainders)
    assert torch.equal(again.most_payload, fitted.most_payload)
    assert fitted.most_payload.max() > 0
    one, two = (draw_compiled(level) for level in (fitted, again.eval()))
    assert np.array_equal(one.size_bytes, two.size_bytes)
