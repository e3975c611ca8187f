"""FidelityReport: every figure of a comparison, as rows, text, JSON and pandas."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1

Side = Literal["", "real", "synthetic"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One figure of a comparison.

    Attributes:
        family: Family of measures, such as "temporal".
        name: Short name, as in docs/METRICS.md.
        text: What it is, in words.
        unit: Unit of raw; "" where it has none.
        raw: The figure in its unit; None where it cannot be measured.
        scaled: Free of units: EMD over the real sample's spread, JSD as it is, what is wrong of a
            share, and so on by family (docs/report-schema.md); None for counts.
        floor: `scaled` between two halves of the real capture, or of the capture itself where
            that is what is best (validity, labels).
        scale: What raw was divided by to give scaled; None where it was not divided.
        ratio: scaled / floor; None where the floor is 0 or unknown.
        real: What stands for real in the unit of `raw`: the real capture's own share or count, or
            what its halves score.
        interval: 95 % interval of `scaled` (of raw where there is no scaled), by resampling.
        in_mean: True where the figure counts in its family's mean.
        note: Why it cannot be measured, or what to know when reading it; "" where nothing.
        lacking: Side that lacks what is measured: "real", "synthetic" (which the real capture then
            has), or "" where it can be measured.
    """

    family: str
    name: str
    text: str
    unit: str = ""
    raw: float | None = None
    scaled: float | None = None
    floor: float | None = None
    scale: float | None = None
    ratio: float | None = None
    real: float | None = None
    interval: tuple[float, float] | None = None
    in_mean: bool = False
    note: str = ""
    lacking: Side = ""

    def measured(
        self,
        *,
        raw: float | None = None,
        interval: tuple[float, float] | None = None,
        note: str = "",
    ) -> Figure:
        """The same figure with its value, or the note that says why it has none."""
        return replace(self, raw=raw, interval=interval, note=note)

    def unmeasured(self, side: Side, what: str) -> Figure:
        """The same figure without a value: the capture of that side lacks `what` is said."""
        return replace(self, raw=None, note=f"the {side} capture {what}", lacking=side)

    def scaled_to(
        self,
        *,
        raw: float,
        scaled: float,
        floor: float | None,
        interval: tuple[float, float] | None,
        real: float | None = None,
        note: str = "",
    ) -> Figure:
        """The same figure with its value, its distance from the best and that of real halves."""
        return replace(
            self,
            raw=raw,
            scaled=scaled,
            floor=floor,
            ratio=scaled / floor if floor else None,
            interval=interval,
            real=self.real if real is None else real,
            note=note,
        )

    def with_interval(self, interval: tuple[float, float] | None) -> Figure:
        """The same figure with its interval."""
        return replace(self, interval=interval)


@dataclass(frozen=True, kw_only=True, slots=True)
class FidelityReport:
    """What `compare` found.

    Attributes:
        figures: One row a figure, by family.
        details: What is not a number a figure: telling features, examples of copies, counts.
    """

    figures: tuple[Figure, ...]
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def families(self) -> tuple[str, ...]:
        """Families present, in order."""
        return tuple(dict.fromkeys(figure.family for figure in self.figures))

    def family(self, name: str) -> tuple[Figure, ...]:
        """Figures of one family."""
        return tuple(figure for figure in self.figures if figure.family == name)

    def figure(self, family: str, name: str) -> Figure:
        """Return one figure.

        Raises:
            KeyError: If the report has no such figure.
        """
        for row in self.figures:
            if (row.family, row.name) == (family, name):
                return row
        raise KeyError(f"{family} {name}")

    def mean_scaled(self, family: str) -> float | None:
        """Mean of `scaled` over the family's figures that count; None where none is measurable."""
        return _mean([f.scaled for f in self.family(family) if f.in_mean and f.floor is not None])

    def mean_floor(self, family: str) -> float | None:
        """Mean of `floor` over the same figures as `mean_scaled`."""
        return _mean([f.floor for f in self.family(family) if f.in_mean and f.scaled is not None])

    def mean_ratio(self, family: str) -> float | None:
        """`mean_scaled` over `mean_floor`; None where either is missing or the floor is 0."""
        scaled, floor = self.mean_scaled(family), self.mean_floor(family)
        return scaled / floor if scaled is not None and floor else None

    def to_frame(self) -> pd.DataFrame:
        """One row a figure, columns as the attributes of `Figure`."""
        import pandas as pd

        return pd.DataFrame([asdict(figure) for figure in self.figures])

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON: docs/report-schema.md."""
        means = {
            name: {
                "scaled": self.mean_scaled(name),
                "floor": self.mean_floor(name),
                "ratio": self.mean_ratio(name),
            }
            for name in self.families
            if self.mean_scaled(name) is not None
        }
        return {
            "schema": SCHEMA,
            "means": means,
            "figures": [asdict(figure) for figure in self.figures],
            "details": self.details,
        }

    def to_json(self) -> str:
        """The report as JSON: docs/report-schema.md."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    def summary(self) -> str:
        """The report as a text table."""
        lines = [f"{'figure':<28}{'raw':>12}{'scaled':>10}{'floor':>10}{'ratio':>8}{'real':>10}"]
        for name in self.families:
            mean = self.mean_scaled(name)
            counted = mean is not None and len(self.family(name)) > 1
            if counted:
                lines.append(_line(name, None, mean, self.mean_floor(name), self.mean_ratio(name)))
            else:
                lines.append(name)
            for f in self.family(name):
                mark = " *" if counted and not f.in_mean else ""
                row = _line(f"  {f.name}{mark}", f.raw, f.scaled, f.floor, f.ratio, f.real)
                lines.append(f"{row}  {f.note}".rstrip())
        telling: Sequence[dict[str, Any]] = self.details.get("telling_features", [])
        if telling:
            lines.append("what gives the synthetic capture away: ")
            lines.extend(
                f"  {row['feature']:<24} importance {row['importance']:.3f},"
                f" alone {row['alone']:.3f}, real {row['real']:.6g}, synthetic"
                f" {row['synthetic']:.6g}"
                for row in telling
            )
        return "\n".join(lines)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _line(name: str, raw: float | None, *numbers: float | None) -> str:
    widths = (10, 10, 8, 10)
    cells = "".join(
        f"{'' if value is None else format(value, '.3f' if width > 8 else '.2f'):>{width}}"
        for value, width in zip(numbers, widths, strict=False)
    )
    return f"{name:<28}{'' if raw is None else format(raw, '.5g'):>12}{cells}"
