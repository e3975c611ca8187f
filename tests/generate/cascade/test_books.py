"""Counts of rows under given columns, and combinations by their nearest targets."""

import numpy as np
import pytest

from netsynth.generate.cascade.books import (
    CLASS,
    CountBook,
    TupleBook,
    fit_count_book,
    fit_tuple_book,
    flow_classes,
    nearest_rows,
)
from netsynth.generate.cascade.emission import lay_out
from netsynth.generate.cascade.tuple_layout import TupleLayout
from netsynth.generate.cascade.tuples import TupleMaker

GIVEN = np.array([[1, 5], [1, 5], [1, 5], [1, 5], [1, 6], [2, 5]])
ROWS = np.array([[10], [10], [10], [11], [12], [13]])


def test_rows_come_as_often_as_they_were_counted() -> None:
    book = fit_count_book(GIVEN, ROWS)
    drawn = book.draw(
        np.tile([1, 5], (4000, 1)), chain=((0, 1), (0,)), rng=np.random.default_rng(1)
    )[:, 0]
    assert set(drawn.tolist()) == {10, 11}
    assert abs((drawn == 10).mean() - 0.75) < 0.03  # 3 of 4; deviation 0.007


def test_as_many_draws_as_counts_give_each_row_as_often_as_it_was_counted() -> None:
    """Sixteen scanned ports under one key come once each, not some twice and others never."""
    book = fit_count_book(np.zeros((16, 1), int), np.arange(16)[:, None])
    drawn = book.draw(np.zeros((16, 1), int), chain=((0,),), rng=np.random.default_rng(1))[:, 0]
    assert sorted(drawn.tolist()) == list(range(16))
    assert drawn.tolist() != list(range(16))


def test_the_finest_columns_that_were_seen_decide() -> None:
    book = fit_count_book(GIVEN, ROWS)
    rng = np.random.default_rng(2)
    chain = ((0, 1), (0,))
    assert book.draw(np.array([[2, 5]]), chain=chain, rng=rng).tolist() == [[13]]
    assert book.draw(np.array([[2, 99]]), chain=chain, rng=rng).tolist() == [[13]]
    anything = book.draw(np.tile([77, 5], (200, 1)), chain=chain, rng=rng)
    assert set(anything[:, 0].tolist()) == {10, 11, 12, 13}


def test_a_book_knows_what_it_saw() -> None:
    book = fit_count_book(GIVEN, ROWS)
    asked = np.array([[1, 5], [2, 6], [3, 5]])
    assert book.knows(asked, (0, 1)).tolist() == [True, False, False]
    assert book.knows(asked, (0,)).tolist() == [True, True, False]


def test_attributes_of_a_new_combination_are_those_of_its_ends() -> None:
    """Hosts 1 and 2 meet servers 1 and 2 crosswise: each end keeps its own TTL."""
    tokens = np.array([[0, 1, 1, 0]] * 3 + [[0, 2, 2, 0]] * 3)  # service, responder, initiator
    ttl = np.array([[64, 128]] * 3 + [[32, 255]] * 3)  # of initiator and responder
    maker = TupleMaker(
        layout=TupleLayout(parts=(), columns=np.zeros(0, int), states=np.zeros(1, int)),
        book=fit_tuple_book(np.zeros((6, 1), np.float32), tokens, np.zeros((6, CLASS), int)),
        attributes=fit_count_book(tokens, ttl), names=("meta_forward", "meta_reverse"),
    )  # fmt: skip
    drawn = maker.draw_attributes(
        np.array([[0, 2, 1, 0], [0, 1, 2, 0], [0, 1, 1, 0]]), np.random.default_rng(0)
    )
    assert drawn["meta_forward"].tolist() == [64, 32, 64]
    assert drawn["meta_reverse"].tolist() == [255, 128, 128]


def test_a_new_combination_looks_like_its_parts_elsewhere() -> None:
    """Service 7 at host 1, met by initiator 5 alone, is met by initiator 6."""
    tokens = np.array([[7, 1, 5, 2], [8, 3, 6, 4]])
    targets = np.array([[0.7, 0.1, 0.5, 1, 0], [0.8, 0.3, 0.6, 0, 1]], dtype=np.float32)
    parts = lay_out([("dst_port", 1, "vector"), ("dst_ip", 1, "bits"), ("src_ip", 1, "bits"),
                     ("state", 2, "choice")])  # fmt: skip
    maker = TupleMaker(
        layout=TupleLayout(parts=parts, columns=np.arange(3), states=np.array([2, 4])),
        book=fit_tuple_book(targets, tokens, np.zeros((2, CLASS), int)),
        attributes=fit_count_book(tokens, tokens), names=(),
    )  # fmt: skip
    made = maker.targets_of(np.array([[7, 1, 6, 4], [8, 3, 6, 4], [7, 3, 5, 2]]))
    assert made.tolist() == [
        pytest.approx([0.7, 0.1, 0.6, 0, 1]),
        pytest.approx([0.8, 0.3, 0.6, 0, 1]),
        pytest.approx([0.7, 0.3, 0.5, 1, 0]),
    ]


def test_the_port_of_a_probe_comes_apart_from_its_ttl() -> None:
    """60 ports, each probed once with a TTL of its own: as many of each, but few pairs again."""
    tokens = np.zeros((60, 4), dtype=np.int64)
    pairs = np.stack([np.arange(60), np.arange(60)], axis=1)
    maker = TupleMaker(
        layout=TupleLayout(parts=(), columns=np.zeros(0, int), states=np.zeros(1, int)),
        book=fit_tuple_book(np.zeros((60, 1), np.float32), tokens, np.zeros((60, CLASS), int)),
        attributes=fit_count_book(tokens, pairs), names=("meta_forward", "responder_port"),
    )  # fmt: skip
    drawn = maker.draw_attributes(tokens, np.random.default_rng(0))
    assert sorted(drawn["meta_forward"].tolist()) == list(range(60))
    assert sorted(drawn["responder_port"].tolist()) == list(range(60))
    assert (drawn["meta_forward"] == drawn["responder_port"]).sum() < 8  # 1 by chance


def test_arrays_restore_a_book() -> None:
    book = fit_count_book(GIVEN, ROWS)
    again = CountBook.from_arrays("b", book.to_arrays("b"))
    wanted, rng = np.tile([1, 5], (20, 1)), np.random.default_rng
    assert np.array_equal(
        book.draw(wanted, chain=((0, 1),), rng=rng(3)),
        again.draw(wanted, chain=((0, 1),), rng=rng(3)),
    )


def test_combinations_are_listed_once_and_those_seen_once_tell_what_is_new() -> None:
    targets = np.array([[0, 0], [0, 0], [1, 0], [1, 1]], dtype=np.float32)
    tokens = np.array([[3, 4], [3, 4], [5, 4], [5, 6]])
    classes = np.array([[0, 0, 2, 1], [0, 1, 2, 1], [0, 1, 2, 1], [1, 0, 2, 1]])
    book = fit_tuple_book(targets, tokens, classes)
    assert book.counts_of(np.array([0, 0, 2, 1])).tolist() == [1, 0, 0]
    assert book.counts_of(np.array([0, 7, 3, 0])).tolist() == [1, 1, 0]  # the nearest of the label
    assert book.counts_of(np.array([1, 3, 0, 0])).tolist() == [0, 0, 1]
    assert book.counts_of(np.array([5, 0, 2, 1])).tolist() == [2, 1, 1]  # no such label: all
    assert book.counts.sum() == 4
    assert book.tokens.tolist() == [[3, 4], [5, 4], [5, 6]]
    assert book.new_share == 2 / 4  # Good-Turing: two of four flows are alone
    assert book.tokens[book.nearest(np.array([[0.9, 0.8]], np.float32))].tolist() == [[5, 6]]
    again = TupleBook.from_arrays("t", book.to_arrays("t"))
    assert again.new_share == book.new_share


def test_nearest_rows_are_those_of_least_distance() -> None:
    rng = np.random.default_rng(4)
    made, known = rng.normal(size=(50, 6)), rng.normal(size=(9, 6))
    distance = ((made[:, None] - known[None]) ** 2).sum(axis=2)
    assert np.array_equal(nearest_rows(made, known), distance.argmin(axis=1))


def test_flows_are_of_a_class_by_size_time_payload_and_answer() -> None:
    totals = np.array([[1, 0, 0, 0], [1, 1, 40, 216], [3, 1, 0, 0], [5, 4, 900, 9000]])
    duration_ns = np.array([0, 100_000, 1_600_000, 3_600_000_000_000])
    label = np.array([0, 0, 1, 0])
    assert flow_classes(totals, duration_ns, label).tolist() == [
        [0, 0, 0, 0],  # one packet, no time, no payload, no answer
        [0, 1, 1, 7],  # two packets, 0.1 ms, 128 bytes each (4^3.5), answered
        [1, 2, 3, 1],  # four packets, 16 x 0.1 ms is 4^2
        [0, 3, 13, 11],  # 3.6e7 x 0.1 ms is 4^12.6; 1,100 bytes are 4^5.05
    ]
