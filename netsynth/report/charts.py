"""Charts as SVG text: each stands alone as a picture, and follows the page's colours inside one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from netsynth.numbers import FloatArray

WIDTH, HEIGHT = 380, 256
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 40, 40
# line of the real capture, then of each synthetic one: colour and dashes
LINES = (
    ("var(--line-0, #1b5e9e)", ""),
    ("var(--line-1, #c2410c)", "6 3"),
    ("var(--line-2, #3f7d20)", "2 3"),
    ("var(--line-3, #8b3fa0)", "9 3 2 3"),
    ("var(--line-4, #7a6a00)", "4 4"),
)
INK, FAINT, PAPER = "var(--ink, #1c2024)", "var(--rule, #c9ced4)", "var(--card, #ffffff)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Curve:
    """One line of a chart: its name and points, float64 [M] each."""

    name: str
    x: FloatArray
    y: FloatArray


def line_style(place: int) -> tuple[str, str]:
    """Colour and dashes of the line at a place: 0 is the real capture."""
    if place < len(LINES):
        return LINES[place]
    return LINES[1 + (place - 1) % (len(LINES) - 1)]


def format_value(value: float, unit: str = "") -> str:
    """Write a value shortly, with an SI prefix for s, ms, B and B/s: 2.1 ms, 40 kB."""
    if value == 0:
        return f"0 {unit}".strip()
    if unit == "ms":
        return format_value(value / 1000, "s")
    if unit not in ("s", "B", "B/s"):
        digits = f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
        return f"{digits} {unit}".strip()
    prefixes = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T"}
    power = int(np.floor(np.log10(abs(value)) / 3) * 3)
    power = min(power, 0) if unit == "s" else max(power, 0)  # nobody reads kiloseconds, or mB
    power = min(max(power, -9), 12)
    return f"{value / 10.0**power:.3g} {prefixes[power]}{unit}"


def distribution_chart(
    *, title: str, unit: str, names: Sequence[str], quantiles: Sequence[Sequence[float]]
) -> str:
    """Draw cumulative distributions over each other.

    Args:
        title: What is distributed.
        unit: Unit of the values.
        names: Captures, the real one first.
        quantiles: For each capture its quantiles at equal steps from 0 to 1.

    Returns:
        SVG text; the axis is logarithmic where the values span more than two decades.
    """
    values = [np.array(q) for q in quantiles]
    joint = np.concatenate(values)
    low, high = float(joint.min()), float(joint.max())
    positive = joint[joint > 0]
    logarithmic = low >= 0 and positive.size > 0 and high / float(positive.min()) > 100
    if logarithmic:
        least = max(float(positive.min()), high / 1e9)
        scale = _log_scale(least, high, zero=low < least)
    else:
        scale = _linear_scale(low, high)
    curves = [
        Curve(name=name, x=scale.place(v), y=np.linspace(0, 1, v.size))
        for name, v in zip(names, values, strict=True)
    ]
    ticks = [(scale.place(np.array([t]))[0], format_value(t, unit)) for t in scale.ticks]
    shares = [(share, f"{share:.0%}") for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    return _frame(
        title=title,
        text=f"Cumulative distribution of {title}, {', '.join(names)}.",
        body=_axes(ticks, shares) + "".join(_line(c, i) for i, c in enumerate(curves)),
        names=names,
    )


def curve_chart(
    *,
    title: str,
    names: Sequence[str],
    series: Sequence[Sequence[float]],
    ends: tuple[str, str],
    low: float,
    high: float,
) -> str:
    """Draw series over each other, from the left edge (`ends[0]`) to the right (`ends[1]`)."""
    curves = []
    for name, values in zip(names, series, strict=True):
        y = (np.clip(np.array(values), low, high) - low) / (high - low)
        curves.append(Curve(name=name, x=np.linspace(0, 1, len(values)), y=y))
    levels = [(share, f"{low + share * (high - low):.2g}") for share in (0.0, 0.5, 1.0)]
    return _frame(
        title=title,
        text=f"{title}, {', '.join(names)}.",
        body=_axes([(0.0, ends[0]), (1.0, ends[1])], levels)
        + "".join(_line(c, i) for i, c in enumerate(curves)),
        names=names,
    )


def bar_chart(
    *,
    title: str,
    labels: Sequence[str],
    names: Sequence[str],
    shares: Sequence[Sequence[float]],
) -> str:
    """Draw the share of each category in each capture, bars of a category side by side."""
    high = max((max(row, default=0.0) for row in shares), default=0.0) or 1.0
    levels = [(share, f"{share * high:.0%}") for share in (0.0, 0.5, 1.0)]
    step = 1 / max(len(labels), 1)
    thick = step * 0.8 / max(len(names), 1)
    bars = []
    for i, row in enumerate(shares):
        colour, _ = line_style(i)
        for j, share in enumerate(row):
            x = _x(j * step + step * 0.1 + i * thick)
            y, base = _y(share / high), _y(0.0)
            width = thick * (WIDTH - LEFT - RIGHT)
            bars.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{base - y:.1f}"'
                f' fill="{colour}" fill-opacity="{1 if i == 0 else 0.75}"><title>'
                f"{escape(names[i])}, {escape(labels[j])}: {share:.2%}</title></rect>"
            )
    slanted = any(len(label) > 3 for label in labels)
    ticks = [
        ((j + 0.5) * step, label)
        for j, label in enumerate(labels)
        if len(labels) <= 14 or j in (0, len(labels) - 1)
    ]
    return _frame(
        title=title,
        text=f"Shares of {title}, {', '.join(names)}.",
        body=_axes(ticks, levels, slanted=slanted) + "".join(bars),
        names=names,
    )


def load_chart(*, title: str, names: Sequence[str], series: Sequence[Sequence[float]]) -> str:
    """Draw loads, 0..1, one below the other: a line a capture, filled to its base."""
    count = len(series)
    height = 84
    width, total = 2 * WIDTH, 40 + height * count
    parts = []
    for i, values in enumerate(series):
        colour, _ = line_style(i)
        base = 32 + height * (i + 1) - 14
        x = LEFT + np.linspace(0, 1, len(values)) * (width - LEFT - RIGHT)
        y = base - np.clip(np.array(values), 0, 1) * (height - 30)
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(
            f'<polygon points="{LEFT},{base} {path} {width - RIGHT},{base}" fill="{colour}"'
            f' fill-opacity="0.35" stroke="{colour}" stroke-width="0.8"/>'
            f'<line x1="{LEFT}" x2="{width - RIGHT}" y1="{base}" y2="{base}" stroke="{FAINT}"/>'
            f'<text x="{LEFT}" y="{base - height + 26}" font-size="11" fill="{INK}">'
            f"{escape(names[i])}</text>"
        )
    return _svg(
        title,
        f"{title}: load in 1000 equal intervals, over that of the busiest.",
        "".join(parts),
        width,
        total,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Scale:
    place: Callable[[FloatArray], FloatArray]
    ticks: tuple[float, ...]


def _linear_scale(low: float, high: float) -> _Scale:
    span = high - low if high > low else max(abs(high), 1.0)
    raw = span / 4
    power = 10.0 ** np.floor(np.log10(raw))
    step = float(min((m for m in (1, 2, 5, 10) if m * power >= raw), default=10) * power)
    first = np.ceil(low / step)
    ticks = tuple(float(k * step) for k in np.arange(first, np.floor((low + span) / step) + 1))
    return _Scale(place=lambda v: (v - low) / span, ticks=ticks)


def _log_scale(least: float, high: float, *, zero: bool) -> _Scale:
    """Decades from `least` to `high`; zeros, where there are any, one eighth left of them."""
    low, top = np.log10(least), np.log10(high)
    span = max(top - low, 1e-9)
    margin = span / 8 if zero else 0.0

    def place(values: FloatArray) -> FloatArray:
        logs = np.log10(np.maximum(values, least))
        spots = (logs - low + margin) / (span + margin)
        return np.asarray(np.where(values < least, 0.0, spots), dtype=np.float64)

    decades = np.arange(np.ceil(low), np.floor(top) + 1)
    every = int(np.ceil(decades.size / 5)) or 1
    ticks = tuple(float(10.0**d) for d in decades[::every])
    return _Scale(place=place, ticks=((0.0, *ticks) if zero else ticks))


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def _axes(
    ticks: Sequence[tuple[float, str]],
    levels: Sequence[tuple[float, str]],
    *,
    slanted: bool = False,
) -> str:
    parts = []
    for share, label in levels:
        y = _y(share)
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{FAINT}"'
            f' stroke-width="0.6"/><text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end"'
            f' font-size="10" fill="{INK}">{escape(label)}</text>'
        )
    for share, label in ticks:
        x, y = _x(share), HEIGHT - BOTTOM + 14
        anchor = "end" if slanted or share > 0.95 else "start" if share < 0.05 else "middle"
        turned = f' transform="rotate(-35 {x:.1f} {y})"' if slanted else ""
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM + 3}"'
            f' stroke="{INK}" stroke-width="0.8"/><text x="{x:.1f}" y="{y}" font-size="10"'
            f' text-anchor="{anchor}" fill="{INK}"{turned}>{escape(label)}</text>'
        )
    return "".join(parts)


def _line(curve: Curve, place: int) -> str:
    colour, dashes = line_style(place)
    path = " ".join(
        f"{_x(float(a)):.1f},{_y(float(b)):.1f}" for a, b in zip(curve.x, curve.y, strict=True)
    )
    dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
    return (
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.8"{dashed}'
        f' stroke-linejoin="round"><title>{escape(curve.name)}</title></polyline>'
    )


def _frame(*, title: str, text: str, body: str, names: Sequence[str]) -> str:
    """Put a body under a title and a key, which takes as many lines as it needs."""
    keys = []
    x, y = float(LEFT), 22
    for i, name in enumerate(names):
        colour, dashes = line_style(i)
        shown = name if len(name) <= 34 else name[:33] + "…"
        width = 34 + 5.8 * len(shown)
        if x + width > WIDTH and x > LEFT:
            x, y = float(LEFT), y + 13
        keys.append(
            f'<line x1="{x:.0f}" x2="{x + 20:.0f}" y1="{y}" y2="{y}" stroke="{colour}"'
            f' stroke-width="2.4" stroke-dasharray="{dashes}"/><text x="{x + 24:.0f}"'
            f' y="{y + 3.5}" font-size="10" fill="{INK}">{escape(shown)}</text>'
        )
        x += width
    lower = f'<g transform="translate(0 {y - 22})">{body}</g>'
    return _svg(title, text, "".join(keys) + lower, WIDTH, HEIGHT + y - 22)


def _svg(title: str, text: str, body: str, width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
        f' role="img" aria-label="{escape(text, quote=True)}"'
        f' font-family="system-ui, sans-serif"><rect width="{width}" height="{height}"'
        f' fill="{PAPER}"/><text x="{LEFT}" y="13" font-size="12" font-weight="600"'
        f' fill="{INK}">{escape(title)}</text>{body}</svg>'
    )
