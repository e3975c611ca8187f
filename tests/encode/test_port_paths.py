"""Counters of source ports pass where those learned did."""

import numpy as np

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
