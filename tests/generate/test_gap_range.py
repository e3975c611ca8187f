"""Ranges of gaps between two kinds of packets, and behind another gap, by hand."""

import math

import numpy as np
import pytest
import torch
from generate_traces import layout
from torch import Tensor

from netsynth.generate.transformer import TransformerConfig
from netsynth.generate.transformer.gap_range import ENOUGH, OCTAVES, GapRange, gap_octaves
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.record_fit import _learn_gaps
from netsynth.generate.transformer.record_level import RecordLevel
from netsynth.numbers import fit_number_codec

KINDS = 4
SECOND = 1_000_000_000


def whole(*values: int) -> Tensor:
    return torch.tensor(values)


def learned(*seen: tuple[int, int, int, list[float]], widest: float = math.inf) -> GapRange:
    """Ranges of gaps in ns by service, kind before and kind, learned in a mixed order."""
    rows = [(s, b, k, gap) for s, b, k, gaps in seen for gap in gaps]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    service, before, kind, gap = zip(*[rows[i] for i in order], strict=True)
    made = GapRange(kinds=KINDS, widest=widest)
    made.learn(whole(*service), whole(*before), whole(*kind), torch.tensor(gap).double())
    return made


def narrow(
    ranges: GapRange,
    codes: tuple[int, int, int],
    low: float,
    high: float,
    room: float | None = None,
) -> tuple[float, float]:
    service, before, kind = (whole(c) for c in codes)
    limits = (torch.tensor([v], dtype=torch.float64) for v in (low, high))
    left = None if room is None else torch.tensor([room], dtype=torch.float64)
    found = ranges.narrow(service, before, kind, *limits, left)
    return float(found[0]), float(found[1])


# 1000 .. 1950 ns; the third shortest and longest are further away than a quarter
GAPS = [1000.0, 1100, *[1300 + 10 * i for i in range(ENOUGH - 4)], 1900, 1950]
TIMER = [1000.0 + i for i in range(ENOUGH)]
SEEN = (1, 2, 3)


def test_gaps_are_narrowed_to_those_seen_and_a_quarter_more() -> None:
    ranges = learned((*SEEN, GAPS), (2, 0, 1, [5.0] * ENOUGH))
    assert narrow(ranges, SEEN, 0, 1e6) == pytest.approx((800, 2437.5))
    assert narrow(ranges, SEEN, 900, 2000) == (900, 2000)
    assert narrow(ranges, SEEN, 0, 2000) == pytest.approx((800, 2000))
    assert narrow(ranges, (2, 0, 1), 0, 100) == pytest.approx((5 / 1.02, 5 * 1.02))


def test_what_the_outermost_leave_to_the_third_is_left_beyond_them() -> None:
    """At least 2 %, as of a timer, at most a quarter; each end by itself."""
    sides = [0.9 * 1000, *TIMER[1:]]  # 900, 1001, 1002 .. 1019
    ranges = learned((*SEEN, sides), (0, 0, 0, TIMER))
    assert narrow(ranges, SEEN, 0, 1e6) == pytest.approx((900 / (1002 / 900), 1019 * 1.02))
    assert narrow(ranges, (0, 0, 0), 0, 1e6) == pytest.approx((1000 / 1.02, 1019 * 1.02))


def test_what_was_never_seen_there_is_left() -> None:
    """A gap that has to be shorter or longer than any seen: limits stay as they are."""
    ranges = learned((*SEEN, GAPS))
    for limits in ((0, 700), (0, 800), (2437.5, 9000), (3000, 9000)):
        assert narrow(ranges, SEEN, *limits) == limits
    assert narrow(ranges, SEEN, 0, 801)[0] == pytest.approx(800)
    assert narrow(ranges, SEEN, 2437, 9000)[1] == pytest.approx(2437.5)


def test_other_services_kinds_and_orders_are_left() -> None:
    """Also those numbered below and above all that are known."""
    ranges = learned((*SEEN, GAPS))
    for codes in ((0, 2, 3), (2, 2, 3), (1, 3, 2), (1, 2, 2), (1, 1, 3), (0, 0, 0), (9, 3, 3)):
        assert narrow(ranges, codes, 0, 1e6) == (0, 1e6)


def test_too_few_gaps_tell_nothing() -> None:
    ranges = learned((*SEEN, GAPS[1:]))
    assert ranges.keys.numel() == 0
    assert narrow(ranges, SEEN, 0, 1e6) == (0, 1e6)


def test_packets_that_came_at_once_alone_do_not_empty_the_range() -> None:
    """All gaps 0: a packet that may come at once does within a ns, no range is inverted."""
    ranges = learned((*SEEN, [0.0] * ENOUGH))
    low, high = narrow(ranges, SEEN, 0, 1e6)
    assert 0 <= low <= high


@pytest.mark.parametrize("gaps", [[0.0] * ENOUGH, [0.0, *GAPS[1:]]])
def test_gaps_of_none_are_a_range_like_others(gaps: list[float]) -> None:
    """Clocks of microseconds show many packets at once: 0 is the shortest then, and what is
    longer by more than a quarter than the longest was not seen all the same."""
    ranges = learned((*SEEN, gaps))
    assert ranges.rows.tolist() == [[0, max(gaps) * 1.25]]
    assert narrow(ranges, SEEN, 0, 1e6) == ((0, 2437.5) if max(gaps) else (0, 1e6))


def test_saved_ranges_are_the_same() -> None:
    ranges = learned((*SEEN, GAPS), (0, 1, 1, [7.0] * (ENOUGH + 1)))
    again = GapRange(kinds=KINDS)
    again.load_state_dict(ranges.state_dict())
    assert again.keys.tolist() == ranges.keys.tolist() == [(0 * 4 + 1) * 4 + 1, (4 + 2) * 4 + 3]
    assert again.rows.dtype == torch.float64
    assert torch.equal(again.rows, ranges.rows)
    assert narrow(again, SEEN, 0, 1e6) == narrow(ranges, SEEN, 0, 1e6)


@pytest.mark.parametrize("longest", [3999.0, 4000.0, 4001.0])
def test_only_narrow_ranges_tell_of_a_rule(longest: float) -> None:
    """1000 to 4000 ns is a factor of 4, the widest here; of any width all the same elsewhere."""
    gaps = [1000.0] * (ENOUGH - 1) + [longest]
    known = learned((*SEEN, gaps), (2, 0, 1, GAPS), widest=4.0)
    codes = [(4 + 2) * 4 + 3, (2 * 4 + 0) * 4 + 1]
    assert known.keys.tolist() == (codes if longest <= 4000 else codes[1:])
    assert learned((*SEEN, gaps), (2, 0, 1, GAPS)).keys.tolist() == codes


def test_a_gap_that_is_not_possible_in_its_step_is_one_that_was_seen_if_there_is_room() -> None:
    """Seen are 800 to 2437.5 ns, with a quarter more. Where they lie outside what the step allows
    they are taken, as far as the flow has room; where not even the shortest fits, nothing is."""
    ranges = learned((*SEEN, GAPS))
    for limits in ((0, 700), (0, 800), (2437.5, 9000), (3000, 9000)):
        assert narrow(ranges, SEEN, *limits, 1e6) == pytest.approx((800, 2437.5))
        assert narrow(ranges, SEEN, *limits, 1000) == pytest.approx((800, 1000))
        assert narrow(ranges, SEEN, *limits, 801) == pytest.approx((800, 801))
        for room in (800 - 1e-6, 700, 0, -5):
            assert narrow(ranges, SEEN, *limits, room) == limits
    for limits, expected in (((0, 1e6), (800, 2437.5)), ((900, 2000), (900, 2000))):
        for room in (1e6, 1000, 0):  # what can be narrowed is, whatever room there is
            assert narrow(ranges, SEEN, *limits, room) == pytest.approx(expected)
    for codes in ((0, 2, 3), (2, 2, 3), (9, 3, 3)):
        assert narrow(ranges, codes, 0, 700, 1e6) == (0, 700), "of others nothing is known"


def test_each_row_has_its_own_room() -> None:
    """Narrowed within its step, with the seen gaps instead, with no room, unknown."""
    ranges = learned((*SEEN, GAPS))
    low, high = (torch.tensor(v).double() for v in ([0] * 4, [1e6, 700, 700, 700]))
    room = torch.tensor([10.0, 2000, 10, 2000]).double()
    codes = [torch.tensor(column) for column in zip(*[SEEN] * 3, (0, 0, 0), strict=True)]
    found = torch.stack(ranges.narrow(*codes, low, high, room), dim=1)
    assert found[0].tolist() == pytest.approx([800, 2437.5])
    assert found[1].tolist() == pytest.approx([800, 2000])
    assert found[2:].tolist() == [[0, 700]] * 2


def repeats(count: int) -> np.ndarray:
    """Gaps of 1, 2 and 4 s, each up to a fifth shorter or longer: [count, 3] ns."""
    random = np.random.default_rng(0)
    spread = random.uniform(0.8, 1.2, (count, 3))
    ends = np.ones((6, 3))  # the shortest and longest of each, beside others in the middle
    ends[[0, 1, 2, 3, 4, 5], [0, 0, 1, 1, 2, 2]] = [0.8, 1.2] * 3
    spread[:6] = ends
    return (spread * [SECOND, 2 * SECOND, 4 * SECOND]).astype(np.int64)


def test_repetitions_after_doubled_times_are_in_octaves_of_their_own() -> None:
    """log2 of 0.8e9 .. 1.2e9 is 29.6 .. 30.2, and one more with each doubling; 0 is for none.

    The bins lie closely here: 400 from 10 ms to 100 s.
    """
    table = NumberTable(fit_number_codec(np.geomspace(1e7, 1e11, 40_000), bin_count=400))
    octaves = gap_octaves(table)
    assert octaves.shape == (table.size + 1,)
    assert octaves[0] == 0
    for times, nearest in ((1, 30), (2, 31), (4, 32)):
        tokens = table.bucket(torch.linspace(0.8, 1.2, 200).double() * times * SECOND)
        assert octaves[tokens + 1].unique().tolist() == [nearest + 1]


def test_octaves_of_any_gap_are_numbers_below_octaves() -> None:
    """A gap of 0 ns is one, unlike none; the longest that 64 bits hold is still told."""
    gaps = np.array([0] * 50 + [1] * 50 + [2] * 50 + [1 << 62] * 50)
    table = NumberTable(fit_number_codec(gaps, bin_count=3, atom_count=4))
    octaves = gap_octaves(table)
    assert octaves.dtype == torch.int64
    tokens = [int(table.bucket(torch.tensor([gap]).double())) for gap in (0, 1, 2, 1 << 62)]
    assert [int(octaves[token + 1]) for token in tokens] == [1, 1, 2, 63]
    assert int(octaves.max()) < OCTAVES


def test_a_gap_follows_from_the_one_before_it() -> None:
    """Of 24 flows, each of a SYN repeated after about 1, 2 and 4 s, kind 5 behind kind 5.

    Between those two kinds come 0.8 to 4.8 s; behind 1 s come 2 s, and behind 2 s come 4.
    """
    count, kind, service = 24, 5, 2
    gaps = repeats(count)
    level = RecordLevel(
        layout().token_fields, layout().record_fields, TransformerConfig(width=16, hidden=20)
    )
    quick = np.geomspace(1e3, 1e6, 2400)  # as other flows have
    seen = np.concatenate([repeats(800).ravel(), quick])
    level.gap = NumberTable(fit_number_codec(seen, bin_count=120, atom_count=0))
    level.gap_octaves = gap_octaves(level.gap)
    tokens = torch.zeros(count, len(layout().token_fields), dtype=torch.int64)
    tokens[:, level.service_place] = service
    told = np.concatenate([np.zeros((count, 1), dtype=np.int64), gaps], axis=1).ravel()  # [4 * F]
    targets = torch.zeros(told.size, 5, dtype=torch.int64)
    targets[:, 0] = kind
    targets[:, 1] = level.gap.bucket(torch.as_tensor(told))
    gap_ns = torch.as_tensor(told).double()
    _learn_gaps(level, [tokens], [np.repeat(np.arange(count), 4)], [targets], [gap_ns])
    any_gap = narrowed(level.gap_range, service, kind)
    assert any_gap == pytest.approx(around(gaps.ravel()))
    assert 0.8e9 / 1.25 <= any_gap[0] < 0.8e9
    assert 4.8e9 < any_gap[1] <= 4.8e9 * 1.25
    for before, times in ((1.0, 2), (1.15, 2), (0.85, 2), (2.0, 4), (2.3, 4)):
        token = level.gap.bucket(torch.tensor([before * SECOND]).double())
        octave = int(level.gap_octaves[token + 1])
        found = narrowed(level.gap_after, service * OCTAVES + octave, kind)
        assert found == pytest.approx(around(gaps[:, {2: 1, 4: 2}[times]])), before
    # nothing came behind 4 s, nor behind no gap at all, nor in the next service
    token = level.gap.bucket(torch.tensor([4.0 * SECOND]).double())
    octave = int(level.gap_octaves[token + 1])
    for code in (service * OCTAVES + octave, service * OCTAVES, (service + 1) * OCTAVES + 31):
        assert narrowed(level.gap_after, code, kind) == (0, 1e12)


def around(gaps: np.ndarray) -> tuple[float, float]:
    """Shortest and longest of gaps with what the third of either end leaves beyond them."""
    low, high = np.sort(gaps)[:3], np.sort(gaps)[-3:]
    return low[0] / min(max(low[2] / low[0], 1.02), 1.25), high[2] * min(
        max(high[2] / high[0], 1.02), 1.25
    )


def narrowed(ranges: GapRange, service: int, kind: int) -> tuple[float, float]:
    """Limits of a gap between two packets of a kind of which all are possible."""
    limits = (torch.tensor([v], dtype=torch.float64) for v in (0, 1e12))
    low, high = ranges.narrow(whole(service), whole(kind), whole(kind), *limits)
    return float(low), float(high)
