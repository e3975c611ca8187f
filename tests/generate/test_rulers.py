"""Rulers of gaps: ns where delays are noise, delays where gaps follow them."""

import numpy as np

from netsynth.generate.transformer.rulers import LEAST_FREEDOM, fit_by_delay


def test_gaps_that_follow_the_delay_go_by_it_and_others_do_not() -> None:
    """Place 0: one gap a delay, which varies tenfold; place 1: gaps of 1 ms whatever the delay."""
    random = np.random.default_rng(0)
    delay = random.uniform(1e6, 1e7, 400)
    place = np.repeat([0, 1], 200)
    gap = np.where(place == 0, delay, 1e6) * random.uniform(0.9, 1.1, 400)
    found = fit_by_delay(place, np.arange(400) % 5, gap, delay, size=3)
    assert found.tolist() == [True, False, True]  # nothing is known of the third


def test_what_differs_from_pair_to_pair_tells_nothing() -> None:
    """Each pair of hosts has its own delay, and gaps of it: within a pair both rulers do alike.

    Noise in the delays then speaks for ns.
    """
    random = np.random.default_rng(1)
    pair = np.arange(400) % 20
    own = 1e6 * (1.0 + pair)
    noise = random.uniform(0.8, 1.2, (2, 400))
    found = fit_by_delay(
        np.zeros(400, dtype=np.int64), pair, own * noise[0], own * noise[1], size=1
    )
    assert not found[0]


def test_few_gaps_of_a_pair_decide_nothing() -> None:
    count = LEAST_FREEDOM  # one pair: one gap of it is the first
    random = np.random.default_rng(2)
    gap, delay = np.full(count, 1e6), random.uniform(1e6, 1e8, count)
    none = np.zeros(count, dtype=np.int64)
    assert fit_by_delay(none, none, gap, delay, size=1)[0]
    more = [np.concatenate([x, x[:1]]) for x in (none, none, gap, delay)]
    assert not fit_by_delay(*more, size=1)[0]


def test_gaps_without_a_delay_are_left_out() -> None:
    gap, delay = np.full(40, 1e6), np.full(40, -1.0)
    none = np.zeros(40, dtype=np.int64)
    assert fit_by_delay(none, none, gap, delay, size=1)[0]
