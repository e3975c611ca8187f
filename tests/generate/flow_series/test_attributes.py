"""Attributes are told by what tells of them, and dealt out anew where nothing does."""

import numpy as np
import pytest

from netsynth.generate.flow_series.attributes import (
    STRENGTHS,
    AttributeBook,
    choose_columns,
    fit_attribute_book,
    left_out_shares,
)

SHAPE, PORT, HOST = 0, 1, 2


def probes_and_visits() -> tuple[np.ndarray, np.ndarray]:
    """Probes of 300 ports, 6 each, with one of 20 TTLs by chance; visits of hosts with their own.

    Kinds are (shape, port, host), attributes (TTL, option); the option follows from the TTL.
    """
    random = np.random.default_rng(3)
    probes = np.stack([np.zeros(1800), np.arange(1800) % 300, np.zeros(1800)], axis=1)
    hosts = random.integers(1, 9, 600)
    visits = np.stack([np.ones(600), 300 + random.integers(0, 3, 600), hosts], axis=1)
    ttl = np.concatenate([random.integers(40, 60, 1800), 60 + hosts])
    kinds = np.concatenate([probes, visits]).astype(np.int64)
    return kinds, np.stack([ttl, ttl % 2], axis=1).astype(np.int64)


def test_shares_of_others_by_hand() -> None:
    # a cell with a, a, b; each is told by the other two. To the first a they are a, b: one of two
    # is its own, and strength 1 adds a pseudo count for each of two tokens, of which half is a:
    # (1 + 2 / 2) / (2 + 2). To b they are a, a: (0 + 1 / 2) / (2 + 1).
    shares = dict(
        zip(
            STRENGTHS,
            left_out_shares(np.zeros(3, int), np.array([7, 7, 8]), np.full(3, 0.5)),
            strict=True,
        )
    )
    assert shares[1.0] == pytest.approx([1 / 2, 1 / 2, 1 / 6])
    assert shares[0.0] == pytest.approx([1 / 2, 1 / 2, 0], abs=1e-8)
    # who is alone in its cell is told by the coarser one
    alone = next(left_out_shares(np.arange(3), np.array([7, 7, 8]), np.full(3, 0.25)))
    assert alone == pytest.approx([0.25] * 3)


def test_what_tells_is_found() -> None:
    kinds, attributes = probes_and_visits()
    parents, _ = choose_columns(kinds, attributes[:, 0], always=SHAPE)
    assert parents == (SHAPE, HOST)
    known = np.concatenate([kinds, attributes[:, :1]], axis=1)
    parents, strengths = choose_columns(known, attributes[:, 1], always=SHAPE)
    assert parents == (SHAPE, 3)
    assert strengths[1] == 0  # a TTL settles it


def test_chance_is_drawn_anew_and_rules_are_kept() -> None:
    kinds, attributes = probes_and_visits()
    book = fit_attribute_book(kinds, attributes, always=SHAPE)
    made = book.draw(kinds, np.random.default_rng(0))
    visits = kinds[:, SHAPE] == 1
    assert (made[visits, 0] == 60 + kinds[visits, HOST]).all()
    assert (made[:, 1] == made[:, 0] % 2).all()
    probes = ~visits
    assert set(made[probes, 0]) == set(range(40, 60))
    # of six real probes of a port, a fresh one has the TTL of one or more in 1 - 0.95^6 of cases
    pairs = kinds[probes, PORT] * 100 + attributes[probes, 0]
    twins = np.isin(kinds[probes, PORT] * 100 + made[probes, 0], pairs).mean()
    assert twins == pytest.approx(1 - 0.95**6, abs=0.04)


def test_frequencies_are_those_learned() -> None:
    kinds, attributes = probes_and_visits()
    book = fit_attribute_book(kinds, attributes, always=SHAPE)
    made = book.draw(np.repeat(kinds, 3, axis=0), np.random.default_rng(1))
    learned, drawn = (np.bincount(rows[:, 0], minlength=80) for rows in (attributes, made))
    assert np.abs(drawn / 3 - learned).max() <= 4


def test_a_kind_that_was_never_seen_takes_what_is_coarser() -> None:
    kinds, attributes = probes_and_visits()
    book = fit_attribute_book(kinds, attributes, always=SHAPE)
    made = book.draw(np.array([[1, 300, 77]] * 50), np.random.default_rng(0))
    assert set(made[:, 0]) <= set(range(61, 69))


def test_books_go_into_arrays_and_back() -> None:
    kinds, attributes = probes_and_visits()
    book = fit_attribute_book(kinds, attributes, always=SHAPE)
    again = AttributeBook.from_arrays("a", book.to_arrays("a"))
    one, other = (b.draw(kinds, np.random.default_rng(5)) for b in (book, again))
    assert (one == other).all()
