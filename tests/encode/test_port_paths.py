"""Counters of source ports pass where those learned did."""

import numpy as np

from netsynth.encode.port_allocator import _step_over
from netsynth.encode.port_paths import BUSY, NO_PATHS, fit_paths, follow_paths, place_of

KEY = [3, 5, 7]


def learned() -> tuple[np.ndarray, np.ndarray]:
    """60 even ports in one block and 20 in the next."""
    ports = np.concatenate([40064 + 2 * np.arange(60), 40192 + 6 * np.arange(20)])
    return np.tile(KEY, (80, 1)), ports


def test_places_are_blocks_of_one_parity() -> None:
    assert place_of(np.array([128, 255, 256])).tolist() == [2, 3, 4]


def test_ports_move_in_order_to_where_they_were() -> None:
    keys, ports = learned()
    paths = fit_paths(keys, ports)
    drawn = 52000 + 10 * np.arange(40)
    moved = follow_paths(
        paths, keys[:40], drawn, np.ones(40, dtype=np.bool_), np.random.default_rng(0)
    )
    assert (np.diff(moved) > 0).all()
    assert (moved % 2 == 0).all()
    found, counts = np.unique(moved // 128, return_counts=True)
    expected, shares = np.unique(ports // 128, return_counts=True)
    assert set(found) <= set(expected)
    assert np.abs(counts / 40 - shares[np.isin(expected, found)] / 80).max() < 0.05
    assert not np.isin(moved, ports).all(), "places are learned, not ports"


def test_the_same_port_moves_to_the_same_place() -> None:
    keys, ports = learned()
    drawn = 52000 + 10 * (np.arange(80) // 2)
    everyone = np.ones(80, dtype=np.bool_)
    moved = follow_paths(fit_paths(keys, ports), keys, drawn, everyone, np.random.default_rng(0))
    assert (moved[::2] == moved[1::2]).all()
    assert np.unique(moved).size == 40


def test_others_keep_their_ports() -> None:
    keys, ports = learned()
    rng, everyone = np.random.default_rng(0), np.ones(80, dtype=np.bool_)
    drawn = 52000 + 10 * np.arange(80)
    paths = fit_paths(keys, ports)
    assert (follow_paths(paths, keys + 1, drawn, everyone, rng) == drawn).all()
    assert (follow_paths(paths, keys, drawn, ~everyone, rng) == drawn).all()
    few = everyone & (np.arange(80) < BUSY - 1)
    assert (follow_paths(paths, keys, drawn, few, rng) == drawn).all()
    assert fit_paths(keys[: BUSY - 1], ports[: BUSY - 1]) is NO_PATHS
    wide = np.repeat(keys, 10, axis=0)
    many = 20000 + 2 * np.arange(800)
    kept = follow_paths(paths, wide, many, np.ones(800, dtype=np.bool_), rng)
    assert (kept == many).all(), "800 ports find no room in two blocks"


def test_a_full_counter_goes_on_a_little_further() -> None:
    """640 even ports fill ten blocks; 660 take an eleventh, in order; 900 are too many."""
    ports = 20096 + 2 * np.arange(640)  # from the first of block 157
    keys = np.tile(KEY, (640, 1))
    paths = fit_paths(keys, ports)
    rng = np.random.default_rng(0)
    for count in (640, 660):
        drawn = 50000 + 2 * np.arange(count)
        everyone = np.ones(count, dtype=np.bool_)
        moved = follow_paths(paths, np.tile(KEY, (count, 1)), drawn, everyone, rng)
        assert np.unique(moved).size == count
        assert (np.diff(moved) > 0).all()
        assert moved.min() >= 20096
        assert moved.max() < 20096 + 128 * -(-count // 64)
    drawn = 50000 + 2 * np.arange(900)
    everyone = np.ones(900, dtype=np.bool_)
    assert (follow_paths(paths, np.tile(KEY, (900, 1)), drawn, everyone, rng) == drawn).all()


def test_ports_used_several_times_count_once() -> None:
    """A thousand flows on one port, and 40 on others: the port is one of 41."""
    ports = np.concatenate([np.full(1000, 40064), 50048 + 2 * np.arange(40)])
    paths = fit_paths(np.tile(KEY, (1040, 1)), ports)
    assert dict(zip(paths.rows[:, 3].tolist(), paths.counts.tolist(), strict=True)) == {
        40064 // 128 * 2: 1,
        50048 // 128 * 2: 40,
    }


def test_moved_ports_pass_over_those_in_the_way() -> None:
    """A named port at 40002 that stays, a return to the first port, and data by a service's port
    (47000): each goes to the next of its parity, and none of the others is moved back."""
    port = np.array([50_000, 50_010, 40_002, 50_000, 50_020, 50_030])
    moved = np.array([40_000, 40_002, 40_002, 40_000, 47_000, 47_000])
    movable = np.array([True, True, False, True, True, True])
    talks = np.array([False, False, False, False, True, False])
    _step_over(np.arange(6), port, moved, movable, talks)
    assert moved.tolist() == [40_000, 40_004, 40_002, 40_000, 47_002, 47_000]
