"""The report of series: every figure beside what two halves of the real samples score."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from netsynth.dataset import SeriesDataset
from netsynth.series.learning import (
    SOURCES,
    LearningResult,
    choose_label,
    compare_learning,
)
from netsynth.series.measures import (
    autocorrelation_error,
    divergence,
    earth_movers,
    require_alike,
)
from netsynth.series.privacy import closeness, copy_share, membership_auc, size_warning

MOST_GROUPS = 6  # values of the label whose totals are compared one by one


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesFigure:
    """One figure.

    Attributes:
        name: What is compared.
        unit: In what: "records", "bits", the measurement's own, or "".
        value: Between real and synthetic.
        floor: Between two random halves of the real samples; None where there is none.
    """

    name: str
    unit: str
    value: float
    floor: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SeriesReport:
    """How close synthetic series are to real ones.

    Attributes:
        real: Real samples.
        synthetic: Synthetic samples.
        figures: Distances; 0 is equal, and about the floor is as good as real.
        learning: How classifiers learn from both, or None where nothing can be predicted.
        privacy: Copies, closeness and, with held-out samples, membership inference.
        warnings: What a reader should know first.
    """

    real: int
    synthetic: int
    figures: tuple[SeriesFigure, ...]
    learning: LearningResult | None
    privacy: tuple[SeriesFigure, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """One JSON object."""
        return json.dumps(self.to_dict(), indent=2)

    def summary(self) -> str:
        """A table for people."""
        lines = [f"warning: {text}" for text in self.warnings]
        lines += [f"{self.synthetic:,} synthetic series beside {self.real:,} real ones", ""]
        rows = [("figure", "distance", "real halves", "unit")]
        rows += [
            (f.name, f"{f.value:.4g}", "" if f.floor is None else f"{f.floor:.4g}", f.unit)
            for f in (*self.figures, *self.privacy)
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        for name, value, floor, unit in rows:
            cells = f"{name:<{widths[0]}}  {value:>{widths[1]}}  {floor:>{widths[2]}}  {unit}"
            lines.append(cells.rstrip())
        if self.learning is not None:
            lines += ["", *_learning_lines(self.learning)]
        return "\n".join(lines)


def compare_series(
    real: SeriesDataset,
    synthetic: SeriesDataset,
    *,
    held_out: SeriesDataset | None = None,
    seed: int = 0,
) -> SeriesReport:
    """Measure how close synthetic series are to real ones.

    Args:
        real: Real samples, those learned from.
        synthetic: Synthetic samples.
        held_out: Real samples not learned from, for membership inference and, in place of half of
            `real`, for judging what is learned from both.
        seed: Of the halves and the classifiers.

    Raises:
        TableError: If the columns differ.
    """
    require_alike(real, synthetic)
    order = np.random.default_rng(seed).permutation(len(real))
    half = max(len(real) // 2, 1)
    one, other = real.take(np.sort(order[:half])), real.take(np.sort(order[half:]))
    if len(other) == 0:
        other = one
    label = choose_label(real)
    learning = None
    if label is not None and len(real) >= 4:
        train, test = (one, other) if held_out is None else (real, held_out)
        learning = compare_learning(train, test, synthetic, label=label, seed=seed)
    values = _distances(real, synthetic, label)
    floors = _distances(one, other, label)
    privacy = [
        SeriesFigure(
            name="exact copies",
            unit="share",
            value=copy_share(real, synthetic),
            floor=copy_share(one, other),
        ),
        SeriesFigure(
            name="closeness to real (below 1: closer than real)",
            unit="",
            value=closeness(one, other, synthetic, seed=seed),
            floor=1.0,
        ),
    ]
    if held_out is not None:
        require_alike(real, held_out)
        auc = membership_auc(real, held_out, synthetic, seed=seed)
        privacy.append(
            SeriesFigure(name="membership inference (0.5: safe)", unit="AUC", value=auc, floor=0.5)
        )
    warning = size_warning(real)
    return SeriesReport(
        real=len(real),
        synthetic=len(synthetic),
        figures=tuple(
            SeriesFigure(name=name, unit=unit, value=value, floor=floors.get((name, unit)))
            for (name, unit), value in values.items()
        ),
        learning=learning,
        privacy=tuple(privacy),
        warnings=() if warning is None else (warning,),
    )


def _distances(
    real: SeriesDataset, other: SeriesDataset, label: str | None
) -> dict[tuple[str, str], float]:
    """Every distance by name and unit."""
    found = {
        ("lengths", "records"): earth_movers(
            real.lengths.astype(np.float64), other.lengths.astype(np.float64)
        )
    }
    for place, column in enumerate(real.schema.metadata):
        cells = real.metadata[:, place], other.metadata[:, place]
        if column.is_categorical:
            found[column.name, "bits"] = divergence(*cells, len(column.values))
        else:
            found[column.name, "own unit"] = earth_movers(*cells)
    for place, column in enumerate(real.schema.measurements):
        cells = real.values[:, place], other.values[:, place]
        if column.is_categorical:
            found[f"{column.name}: values", "bits"] = divergence(*cells, len(column.values))
            continue
        found[f"{column.name}: values", "own unit"] = earth_movers(*cells)
        totals = real.totals(place), other.totals(place)
        found[f"{column.name}: totals", "own unit"] = earth_movers(*totals)
        if column.low >= 0:
            logs = (np.log10(1 + np.maximum(total, 0)) for total in totals)
            found[f"{column.name}: totals", "log10"] = earth_movers(*logs)
        found[f"{column.name}: autocorrelation", "squared"] = autocorrelation_error(
            real, other, place
        )
        for name, mine, yours in _groups(real, other, label):
            if mine.any() and yours.any():
                found[f"{column.name}: totals, {name}", "own unit"] = earth_movers(
                    totals[0][mine], totals[1][yours]
                )
    return found


def _groups(real: SeriesDataset, other: SeriesDataset, label: str | None) -> list[tuple[Any, ...]]:
    """Name and samples of the commonest values of the label."""
    if label is None:
        return []
    place = real.schema.metadata_place(label)
    column = real.schema.metadata[place]
    if not column.is_categorical:
        return []
    mine, yours = real.metadata[:, place], other.metadata[:, place]
    count = np.bincount(mine.astype(np.int64), minlength=len(column.values))
    common = np.argsort(-count, kind="stable")[:MOST_GROUPS]
    return [(f"{label}={column.values[v]}", mine == v, yours == v) for v in common if count[v]]


def _learning_lines(found: LearningResult) -> list[str]:
    lines = [f"learning {found.label} from synthetic series, judged by real ones (accuracy)"]
    for name, score in found.real.items():
        lines.append(f"  {name:<20} {found.synthetic[name]:.3f}  from real {score:.3f}")
    lines.append(
        f"  rank correlation of the classifiers {found.rank_correlation:.2f}, "
        f"from real redrawn {found.rank_floor:.2f}; "
        f"clear differences kept {found.order_kept:.2f}"
    )
    lines += ["", f"telling {found.rare}, the rarest, means of the five (recall, F1)"]
    for source, told in found.rare_scores.items():
        name = SOURCES[source].format(rare=found.rare)
        lines.append(f"  from {name:<31} {told.recall:.3f}  {told.f1:.3f}")
    return lines
