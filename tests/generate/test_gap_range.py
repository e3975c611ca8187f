"""Ranges of gaps between two kinds of packets, by hand."""

import pytest
import torch
from torch import Tensor

from netsynth.generate.transformer.gap_range import ENOUGH, GapRange

KINDS = 4


def whole(*values: int) -> Tensor:
    return torch.tensor(values)


def learned(*seen: tuple[int, int, int, list[float]]) -> GapRange:
    """Ranges of gaps in ns by service, kind before and kind, learned in a mixed order."""
    rows = [(s, b, k, gap) for s, b, k, gaps in seen for gap in gaps]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    service, before, kind, gap = zip(*[rows[i] for i in order], strict=True)
    made = GapRange(kinds=KINDS)
    made.learn(whole(*service), whole(*before), whole(*kind), torch.tensor(gap).double())
    return made


def narrow(
    ranges: GapRange, codes: tuple[int, int, int], low: float, high: float
) -> tuple[float, float]:
    service, before, kind = (whole(c) for c in codes)
    limits = (torch.tensor([v], dtype=torch.float64) for v in (low, high))
    found = ranges.narrow(service, before, kind, *limits)
    return float(found[0]), float(found[1])


GAPS = [1000.0 + 50 * i for i in range(ENOUGH)]  # 1000 .. 1950 ns
SEEN = (1, 2, 3)


def test_gaps_are_narrowed_to_those_seen_and_a_quarter_more() -> None:
    ranges = learned((*SEEN, GAPS), (2, 0, 1, [5.0] * ENOUGH))
    assert narrow(ranges, SEEN, 0, 1e6) == pytest.approx((800, 2437.5))
    assert narrow(ranges, SEEN, 900, 2000) == (900, 2000)
    assert narrow(ranges, SEEN, 0, 2000) == pytest.approx((800, 2000))
    assert narrow(ranges, (2, 0, 1), 0, 100) == pytest.approx((4, 6.25))


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


def test_saved_ranges_are_the_same() -> None:
    ranges = learned((*SEEN, GAPS), (0, 1, 1, [7.0] * (ENOUGH + 1)))
    again = GapRange(kinds=KINDS)
    again.load_state_dict(ranges.state_dict())
    assert again.keys.tolist() == ranges.keys.tolist() == [(0 * 4 + 1) * 4 + 1, (4 + 2) * 4 + 3]
    assert again.rows.dtype == torch.float64
    assert torch.equal(again.rows, ranges.rows)
    assert narrow(again, SEEN, 0, 1e6) == narrow(ranges, SEEN, 0, 1e6)
