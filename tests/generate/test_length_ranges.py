"""Lengths far from all that came between two kinds of packets, by hand and drawn in both ways."""

import numpy as np
import pytest
import torch
from generate_traces import fill_weights, layout, office
from office_flows import DRAWS, SMALL, office_flows

from netsynth.generate.transformer.drawn import DrawnRecords
from netsynth.generate.transformer.followers import UNSEEN_SHARE
from netsynth.generate.transformer.part_kernel import rule_out_lengths
from netsynth.generate.transformer.record_arrays import SIZE, pack_record_level
from netsynth.generate.transformer.record_data import record_context, record_targets
from netsynth.generate.transformer.record_fit import _tell_lengths
from netsynth.generate.transformer.record_kernel import _make_lanes
from netsynth.generate.transformer.record_level import ANY_BYTES, KIND, LENGTH, RecordLevel

NONE = 0  # kind plus 1 of the record before a flow's first
FEW = [100, *[130] * 18, 200]
SPANS = [(79, 79), (80, 80), (250, 250), (251, 251), (60, 85), (251, 400), (10, 900), (1250, 1300)]


@pytest.fixture
def level() -> RecordLevel:
    torch.manual_seed(7)
    made = RecordLevel(layout().token_fields, layout().record_fields, SMALL).eval()
    fill_weights([*made.heads, *made.gaps.heads], std=0.3)
    return made


def learn(level: RecordLevel, *seen: tuple[int, int, int, list[int]]) -> None:
    """Learn lengths: service, kind before plus 1, kind, and 20 sizes or what there is of them."""
    rows = [(service, last, kind, size) for service, last, kind, sizes in seen for size in sizes]
    level.learn_lengths(*(torch.tensor(column) for column in zip(*rows, strict=True)))


def unseen(level: RecordLevel, service: int, last: int, kind: int, left: int) -> list[bool]:
    """Which lengths are ruled out, as the network and as the loop see it."""
    columns = (torch.tensor([value]) for value in (service, last, kind, left))
    expected = level._is_unseen_length(*columns)[0]
    arrays = pack_record_level(level)
    lanes = _make_lanes(arrays)
    lanes.history[3, 0, KIND], lanes.token[3, KIND] = last, kind
    share = np.full(arrays.parts[LENGTH, SIZE], 0.5, dtype=np.float32)
    rule_out_lengths(arrays, lanes, 3, service, left, share)
    assert np.allclose(share, np.where(expected.numpy(), 0.5 * UNSEEN_SHARE, 0.5), rtol=1e-6)
    found: list[bool] = expected.tolist()
    return found


def set_spans(level: RecordLevel) -> None:
    """Have the first lengths reach from one number of SPANS to the other."""
    for token, (low, high) in enumerate(SPANS):
        level.length.rows[token] = torch.linspace(low, high, level.length.rows.shape[1])


def test_lengths_within_a_quarter_of_those_seen_by_hand(level: RecordLevel) -> None:
    """20 of 100 to 200 bytes first in a flow, of which the third shortest and longest are further
    than a quarter away, so 80 to 250; and 19 of up to 1000 behind kind 5, too few for a range of
    their own: behind any kind there were 100 to 1000, so 80 to 1250."""
    set_spans(level)
    learn(level, (2, NONE, 3, FEW), (2, 6, 3, [700] * 18 + [1000]))
    first = [True, False, False, True, False, True, False, True]
    assert unseen(level, 2, NONE, 3, ANY_BYTES)[: len(SPANS)] == first
    any_kind = [True, *[False] * 7]
    assert unseen(level, 2, 6, 3, ANY_BYTES)[: len(SPANS)] == any_kind
    assert unseen(level, 2, 9, 3, ANY_BYTES)[: len(SPANS)] == any_kind, "never seen behind 8"
    for service, kind in ((1, 3), (2, 4)):
        known = unseen(level, service, NONE, kind, ANY_BYTES)[: level.length.size]
        rows = level.length.rows
        assert known == (rows[:, -1] < 1).tolist(), "of others all that has a byte"


def test_remainders_are_ruled_out_by_the_length_that_leaves_them(level: RecordLevel) -> None:
    """Of 300 bytes, with 80 to 250 seen: 0, 49 and 221 would be left by 300, 251 and 79."""
    level.remainders[:5] = torch.tensor([0, 49, 50, 220, 221])
    learn(level, (2, NONE, 3, FEW))
    behind = slice(level.length.size, level.length.size + 5)
    assert unseen(level, 2, NONE, 3, 300)[behind] == [True, True, False, False, True]
    assert unseen(level, 2, NONE, 3, 250)[behind] == [False, False, False, True, True]


def test_a_range_of_two_kinds_narrows_that_of_any_kind(level: RecordLevel) -> None:
    """Lengths of 79 behind kind 0 and of 1300 behind kind 1: each alone behind its own, or 2 % from
    it; behind others all from 77.5 to 1326."""
    set_spans(level)
    learn(level, (4, 1, 2, [79] * 20), (4, 2, 2, [1300] * 20))
    behind_0 = [False, False, True, True, False, True, False, True]
    assert unseen(level, 4, 1, 2, ANY_BYTES)[: len(SPANS)] == behind_0
    assert unseen(level, 4, 2, 2, ANY_BYTES)[: len(SPANS)] == [True] * 7 + [False]
    assert unseen(level, 4, 3, 2, ANY_BYTES)[: len(SPANS)] == [False] * 8


def test_lengths_are_ruled_out_alike_in_both_ways(level: RecordLevel) -> None:
    """Ranges of random kinds; what `unseen` asserts, and that both outcomes are common."""
    random = np.random.default_rng(3)
    kinds = level.sizes[KIND]
    level.remainders[:4] = torch.tensor([0, 31, 700, 5_000])
    seen = []
    for service in range(3):
        for last in range(0, kinds + 1, 2):
            for kind in range(0, kinds, 3):
                sizes = random.integers(1, 1_400) + random.integers(0, 60, 20)
                seen.append((service, last, kind, sizes.tolist()))
    learn(level, *seen)
    ruled, all_of_them = 0, 0
    for _ in range(60):
        service, last = int(random.integers(0, 4)), int(random.integers(0, kinds + 1))
        kind, left = int(random.integers(0, kinds)), int(random.choice([-7, 0, 9, 740, 5_900]))
        found = unseen(level, service, last, kind, left)
        ruled, all_of_them = ruled + sum(found), all_of_them + len(found)
    assert 0.1 < ruled / all_of_them < 0.9


def share_inside(level: RecordLevel, drawn: DrawnRecords, low: float, high: float) -> float:
    """Share within `low` to `high` of records with data, of those that may be as long."""
    left = office_flows()[1].packets_and_bytes[:, 2:].clone().numpy()
    of = np.repeat(np.arange(drawn.offsets.size - 1), np.diff(drawn.offsets))
    sizes = []
    for flow, kind, size in zip(of, drawn.tokens[:, 0], drawn.size_bytes, strict=True):
        way = int(level.kind_reverse[kind])
        if level.kind_payload[kind] and left[flow, way] > high:
            sizes.append(int(size))
        left[flow, way] -= size
    assert len(sizes) > 100
    return float(np.mean([low <= size <= high for size in sizes]))


@pytest.mark.parametrize("way", sorted(DRAWS))
def test_drawn_lengths_are_like_those_seen(way: str, level: RecordLevel) -> None:
    """A network that knows nothing, told that records of all kinds had 100 to 200 bytes; a bin
    that reaches out of 80 to 250 bytes may be drawn still, so 50 to 400 are counted."""
    before = share_inside(level, DRAWS["compiled"](level), 50, 400)  # the faster of two alike
    services, kinds = level.service_tcp.numel(), level.sizes[KIND]
    all_of_them = torch.cartesian_prod(torch.arange(services), torch.arange(kinds))
    service, kind = all_of_them.repeat(20, 1).unbind(1)
    size = torch.tensor([100, 200]).repeat(10).repeat_interleave(all_of_them.shape[0])
    level.learn_lengths(service.contiguous(), torch.zeros_like(kind), kind.contiguous(), size)
    after = share_inside(level, DRAWS[way](level), 50, 400)
    assert before < 0.7
    assert after > 0.9


def test_what_a_capture_has_is_never_ruled_out(level: RecordLevel) -> None:
    """Learned from the office as a fit does, the lengths of the office are all as those seen."""
    trace = office()[1]
    context = record_context(trace, level.fastest_runs, history=3, random=np.random.default_rng(1))
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    tokens = torch.as_tensor(trace.tokens.astype(np.int64))
    targets = torch.as_tensor(record_targets(trace))
    (told,) = _tell_lengths(level, [trace], [tokens], [flow], [context], [targets])
    assert level.length_range.keys.numel() > 5
    kind, service = targets[:, KIND], tokens[torch.as_tensor(flow), level.service_place]
    last = context.history[:, 0, KIND]
    left = level._most_bytes(kind, context)
    data = level.kind_payload[kind]
    ruled_out = level._is_unseen_length(service, last, kind, left)
    own = ruled_out.gather(1, told[:, -1:])[:, 0]
    assert not own[data].any()
    assert ruled_out[data].double().mean() > 0.2
