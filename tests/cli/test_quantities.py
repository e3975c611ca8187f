"""Numbers as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from netsynth_cli.quantities import Rate, parse_count, parse_duration_ns, parse_rate

S = 10**9


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1), ("1e6", 10**6), ("1E6", 10**6), ("1e+6", 10**6), ("1_000_000", 10**6),
        ("250k", 250_000), ("250K", 250_000), ("3M", 3 * 10**6), ("2.5e5", 250_000),
        ("2G", 2 * 10**9), ("0.5k", 500), (" 7 ", 7), ("1e15", 10**15),
    ],
)  # fmt: skip
def test_counts(text: str, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0", "less than 1"), ("0.0", "less than 1"), ("1.5", "not a whole number"),
        ("0.0001k", "not a whole number"), ("1e16", "largest"), ("1e999", "largest"),
        ("-5", "not a count"), ("", "not a count"), ("k", "not a count"), ("1e-3", "not a count"),
        ("nan", "not a count"), ("inf", "not a count"), ("0x10", "not a count"),
        ("1,000", "not a count"), ("1kk", "not a count"), ("1e9999", "not a count"),
        ("_1", "not a count"), ("٣", "not a count"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_told(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_count(text)


@given(st.integers(1, 10**15))
def test_every_whole_number_is_itself(number: int) -> None:
    assert parse_count(str(number)) == number
    assert parse_count(f"{number:_}") == number


@pytest.mark.parametrize(
    ("text", "duration_ns"),
    [
        ("90s", 90 * S), ("5m", 300 * S), ("5min", 300 * S), ("1h", 3600 * S),
        ("1h30m", 5400 * S), ("1h 30m", 5400 * S), ("250ms", 250 * 10**6), ("10us", 10_000),
        ("7ns", 7), ("2d", 2 * 86_400 * S), ("12", 12 * S), ("0.5", S // 2), ("1e3s", 1000 * S),
    ],
)  # fmt: skip
def test_durations(text: str, duration_ns: int) -> None:
    assert parse_duration_ns(text) == duration_ns


@pytest.mark.parametrize("text", ["", "s", "1x", "1h30", "-5s", "five", "1:30", "h1"])
def test_what_is_no_duration_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration_ns(text)


@pytest.mark.parametrize("text", ["0s", "0.1ns", "11000d"])
def test_durations_out_of_range_are_told(text: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        parse_duration_ns(text)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2x", Rate(factor=2.0)), ("0.5x", Rate(factor=0.5)), ("2 X", Rate(factor=2.0)),
        ("5000", Rate(packets_per_second=5000.0)), ("5k", Rate(packets_per_second=5000.0)),
        ("1e5", Rate(packets_per_second=1e5)),
    ],
)  # fmt: skip
def test_rates(text: str, rate: Rate) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["0x", "0", "x", "-2x", "", "fast", "2xx", "1e16"])
def test_what_is_no_rate_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a rate"):
        parse_rate(text)
