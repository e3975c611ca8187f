"""Numbers as people write them on a command line: 1e6, 250k, 90s, 2x."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

import click

LARGEST_COUNT = 10**15
LARGEST_DURATION_NS = 10 * 365 * 86_400 * 10**9  # ten years: int64 ns hold 292
SUFFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "min": 60 * 10**9,
    "h": 3_600 * 10**9,
    "d": 86_400 * 10**9,
}
NUMBER = r"[0-9][0-9_]*(?:\.[0-9][0-9_]*)?(?:e\+?[0-9]{1,3})?"


def parse_count(text: str) -> int:
    """Read a whole number of at least 1 such as 1e6, 1_000_000, 250k, 3M or 2.5e5.

    Raises:
        ValueError: If `text` is no number, not whole, or out of range; its message says which.
    """
    match = re.fullmatch(rf"({NUMBER})\s*([kmg]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a count; write it as 1000000, 1_000_000, 1e6, 250k, 3M")
    value = Decimal(match[1].replace("_", "")) * SUFFIXES[match[2].lower()]
    if value > LARGEST_COUNT:
        raise ValueError(f"{text!r} is more than {LARGEST_COUNT:.0e}, the largest count")
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number")
    if value < 1:
        raise ValueError(f"{text!r} is less than 1, the smallest count")
    return int(value)


def parse_duration_ns(text: str) -> int:
    """Read a duration such as 90s, 5m, 1h30m, 250ms or 12 (seconds), in ns.

    Raises:
        ValueError: If `text` is no duration, below 1 ns or above ten years.
    """
    compact = text.replace(" ", "").lower()
    if re.fullmatch(NUMBER, compact):
        compact += "s"
    parts = re.findall(rf"({NUMBER})(ns|us|ms|min|[smhd])", compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise ValueError(f"{text!r} is not a duration; write it as 90s, 5m, 1h30m or 250ms")
    total = sum(Decimal(number.replace("_", "")) * UNITS_NS[unit] for number, unit in parts)
    if not 1 <= total <= LARGEST_DURATION_NS:
        raise ValueError(f"{text!r} is out of range: at least 1ns and at most ten years")
    return int(total)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """How fast to generate: a multiple of the learned rate, or packets per second; one is None."""

    factor: float | None = None
    packets_per_second: float | None = None


def parse_rate(text: str) -> Rate:
    """Read a rate: "2x" is twice the learned one, "5000" or "5k" are packets per second.

    Raises:
        ValueError: If `text` is neither, or not above 0.
    """
    match = re.fullmatch(rf"({NUMBER})\s*(x|[kmg]?)", text.strip(), re.IGNORECASE)
    if match is None:
        raise ValueError(f"{text!r} is not a rate; write 2x (of the learned) or 5000 (packets/s)")
    value, suffix = Decimal(match[1].replace("_", "")), match[2].lower()
    if not 0 < value <= LARGEST_COUNT:
        raise ValueError(f"{text!r} is not a rate; it must be above 0 and at most 1e15")
    if suffix == "x":
        return Rate(factor=float(value))
    return Rate(packets_per_second=float(value * SUFFIXES[suffix]))


class CountType(click.ParamType[int]):
    """A click type for `parse_count`."""

    name = "count"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the count, or end with a usage error that says what is wrong."""
        try:
            return value if isinstance(value, int) else parse_count(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class DurationType(click.ParamType[int]):
    """A click type for `parse_duration_ns`."""

    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the duration in ns, or end with a usage error that says what is wrong."""
        try:
            return value if isinstance(value, int) else parse_duration_ns(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class RateType(click.ParamType[Rate]):
    """A click type for `parse_rate`."""

    name = "rate"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Rate:
        """Return the rate, or end with a usage error that says what is wrong."""
        try:
            return value if isinstance(value, Rate) else parse_rate(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)
