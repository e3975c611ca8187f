"""What every generator keeps: valid windows, seeds, files, conditions, and no replay."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from generate_traces import check_trace, layout, office

from netsynth.encode import allowed_tokens
from netsynth.errors import ConfigError, ModelError
from netsynth.generate import GENERATORS, Generator, find_config, find_generator
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

# Settings with which each generator learns a few hundred flows in seconds.
SMALL: dict[str, dict[str, Any]] = {
    "cascade": {
        "width": 32, "critic_layers": 2, "generator_layers": 1, "series_width": 16, "noise": 8,
        "condition_width": 32, "batch": 128, "max_epochs": 6, "least_steps": 1,
    },
    "doppelganger": {
        "hidden": 32, "lstm_hidden": 16, "critic_hidden": 32, "batch": 64, "max_epochs": 8,
        "record_width": 64,
    },
    "transformer": {
        "width": 48, "hidden": 48, "layers": 1, "heads": 2, "record_width": 64,
        "batch_flows": 512, "batch_records": 1024, "max_epochs": 5, "learning_rate": 4e-3,
    },
    "tst": {
        "width": 32, "hidden": 32, "layers": 1, "heads": 2, "max_epochs": 5, "record_width": 64,
    },
}  # fmt: skip
ARRAYS = (
    "tokens", "start_ns", "duration_ns", "totals", "series_offsets", "series_step",
    "series_values", "record_offsets", "records", "record_bytes", "record_ns",
)  # fmt: skip


@pytest.fixture(scope="module", params=sorted(GENERATORS))
def fitted(request: pytest.FixtureRequest) -> tuple[Generator, list[tuple[str, float]], list[int]]:
    """A generator fitted for a few seconds, what it reported and its checkpoints."""
    name: str = request.param
    config = find_config(name)(**SMALL[name])
    generator = find_generator(name)(layout=layout(), config=config, seed=1)
    reports: list[tuple[str, float]] = []
    checkpoints: list[int] = []
    generator.fit(
        [office()[1]],
        seed=1,
        report=lambda level, share, _: reports.append((level, share)),
        stop=lambda: False,
        minutes=None,
        checkpoint=lambda: checkpoints.append(len(reports)),
    )
    return generator, reports, checkpoints


@pytest.fixture(scope="module")
def windows(fitted: tuple[Generator, Any, Any]) -> list[EncodedTrace]:
    return list(fitted[0].sample(3, seed=5))


def differing(one: EncodedTrace, other: EncodedTrace) -> list[str]:
    return [n for n in ARRAYS if not np.array_equal(getattr(one, n), getattr(other, n))]


def test_a_learned_trace_passes_the_check_that_samples_must() -> None:
    check_trace(office()[1])


def test_windows_are_valid_traces(windows: list[EncodedTrace]) -> None:
    assert len(windows) == 3
    for window in windows:
        assert window.window_ns == layout().window_ns
        assert window.step_count == layout().step_count
        assert [f.name for f in window.token_fields] == [f.name for f in layout().token_fields]
        assert len(window) > 0
        check_trace(window)


def test_windows_are_about_as_full_as_the_learned_one(windows: list[EncodedTrace]) -> None:
    flow_count = len(office()[1])
    assert all(0.2 * flow_count < len(window) < 5 * flow_count for window in windows)


def test_windows_decode_to_flows(windows: list[EncodedTrace]) -> None:
    codec, _ = office()
    for window in windows:
        flows = codec.decode(window, rng=np.random.default_rng(0))
        assert len(flows) > 0.9 * len(window)
        assert np.isin(flows.protocol, (1, 6, 17, 58)).all()


def test_windows_differ(windows: list[EncodedTrace]) -> None:
    assert "tokens" in differing(windows[0], windows[1])


def test_same_seed_same_windows(fitted: tuple[Generator, Any, Any],
                                windows: list[EncodedTrace]) -> None:  # fmt: skip
    again = list(fitted[0].sample(3, seed=5))
    assert [differing(a, b) for a, b in zip(windows, again, strict=True)] == [[], [], []]
    others = list(fitted[0].sample(3, seed=6))
    assert "start_ns" in differing(windows[0], others[0])


def test_parts_restore_the_generator(
    fitted: tuple[Generator, Any, Any], windows: list[EncodedTrace]
) -> None:
    header, arrays = fitted[0].to_parts()
    assert all(isinstance(array, np.ndarray) for array in arrays.values())
    assert header["outcomes"], "the fit says how it went"
    again = type(fitted[0]).from_parts(header, arrays, layout=layout())
    made: Iterator[EncodedTrace] = again.sample(3, seed=5)
    assert [differing(a, b) for a, b in zip(windows, made, strict=True)] == [[], [], []]


def test_parts_that_do_not_fit_are_refused(fitted: tuple[Generator, Any, Any]) -> None:
    header, arrays = fitted[0].to_parts()
    name = max(arrays, key=lambda key: arrays[key].size)
    fewer = {key: array for key, array in arrays.items() if key != name}
    with pytest.raises(ModelError, match="fit it again"):
        type(fitted[0]).from_parts(header, fewer, layout=layout())


@pytest.mark.parametrize("where", [{"protocol": "udp"}, {"port": "80", "protocol": "tcp"}])
def test_conditions_are_honoured(fitted: tuple[Generator, Any, Any], where: dict[str, str]) -> None:
    allowed = allowed_tokens(office()[0], where)
    place = [f.name for f in layout().token_fields].index("service")
    (window,) = fitted[0].sample(1, seed=2, allowed=allowed)
    assert len(window) > 0
    assert allowed["service"][window.tokens[:, place]].all()
    check_trace(window)


def test_the_fit_is_reported_and_kept(fitted: tuple[Generator, Any, Any]) -> None:
    _, reports, checkpoints = fitted
    assert reports
    assert all(0 <= share <= 1 for _, share in reports)
    assert checkpoints


def pairs(start_ns: Array, duration_ns: Array) -> IntArray:
    """(start, end) of flows, to the millisecond, as one number each."""
    ms = 1_000_000
    return np.asarray(start_ns // ms * 10**9 + (start_ns + duration_ns) // ms, dtype=np.int64)


def shifted(trace: EncodedTrace, by_ns: int) -> IntArray:
    """Pairs of the flows of `trace`, all later by `by_ns`, round the end of the window."""
    return pairs((trace.start_ns + by_ns) % trace.window_ns, trace.duration_ns)


def test_no_start_and_end_of_a_learned_flow_comes_back(fitted: tuple[Generator, Any, Any]) -> None:
    """Samples hit learned (start, end) pairs as often as the same flows at another time would."""
    real = office()[1]
    learned = pairs(real.start_ns, real.duration_ns)
    random = np.random.default_rng(0)
    shifts = random.integers(10**7, real.window_ns - 10**7, 200)
    chance = np.mean([np.isin(shifted(real, int(by)), learned).mean() for by in shifts])
    made = np.concatenate([pairs(w.start_ns, w.duration_ns) for w in fitted[0].sample(12, seed=3)])
    rate = np.isin(made, learned).mean()
    assert np.isin(shifted(real, 0), learned).all()  # a replay would be seen
    assert chance < 0.1
    assert rate <= 1.5 * chance + 3 * np.sqrt(chance / made.size) + 0.002


def test_unknown_generators_and_devices_are_named() -> None:
    with pytest.raises(ConfigError, match=r"no generator oracle; there are .*transformer"):
        find_generator("oracle")
