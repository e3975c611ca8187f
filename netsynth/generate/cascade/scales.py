"""How conditions, counts of a step and numbers of a record become inputs of nets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.generate.cascade.flow_data import CONDITIONS, Series
from netsynth.generate.cascade.networks import SEEN, C
from netsynth.generate.cascade.scale import Scale, fit_scale
from netsynth.numbers import Array, FloatArray, IntArray

RECORD_NUMBERS = ("length", "gap")


@dataclass(frozen=True, kw_only=True, slots=True)
class CascadeScales:
    """Learned images of numbers.

    Attributes:
        conditions: One a condition.
        record: Of a record's payload and gap.
        tops: float64 [2], logs of the most packets and bytes of a step and direction, plus 1.
        label_count: Labels; two or more become columns of their own.
    """

    conditions: tuple[Scale, ...]
    record: tuple[Scale, ...]
    tops: FloatArray
    label_count: int

    @property
    def condition_width(self) -> int:
        """Columns of `encode_conditions`."""
        return len(CONDITIONS) + (self.label_count if self.label_count > 1 else 0)

    def encode_conditions(self, numbers: FloatArray, label: IntArray) -> Array:
        """Return conditions [F, 11] and labels [F] as float32 [F, condition_width]."""
        columns = [scale.encode(numbers[:, i]) for i, scale in enumerate(self.conditions)]
        made = np.stack(columns, axis=1) if columns else numbers
        if self.label_count > 1:
            made = np.concatenate([made, np.eye(self.label_count)[label]], axis=1)
        return made.astype(np.float32)

    def encode_records(self, size_bytes: IntArray, gap_ns: IntArray) -> Array:
        """Return the images of payloads and gaps: float32 [N, 2]."""
        length, gap = self.record
        return np.stack([length.encode(size_bytes), gap.encode(gap_ns)], axis=1).astype(np.float32)

    def densify(
        self, series: Series, rows: IntArray, *, step_count: int, zero_inflation: bool
    ) -> Array:
        """Return the series of the flows `rows` [B] from their first step on.

        float32 [B, step_count, C]: activity, logs of packets and bytes over their tops, and
        first and last packet as shares of the step; 0 where nothing is active.

        References:
            CascadeNet section 4.2 (zero inflation).
        """
        dense = np.zeros((rows.size, step_count, C), dtype=np.float32)
        counts = series.offsets[rows + 1] - series.offsets[rows]
        batch = np.repeat(np.arange(rows.size), counts)
        inside = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        active = np.repeat(series.offsets[rows], counts) + inside
        step = series.step[active] - np.repeat(series.first[rows], counts)
        dense[batch, step, :SEEN] = self.encode_steps(
            series.values[active], zero_inflation=zero_inflation
        )
        dense[batch, step, SEEN:] = series.period[active]
        return dense

    def encode_steps(self, values: IntArray, *, zero_inflation: bool) -> Array:
        """Activity and counts of active steps, values [S, 4], as nets see them: float32 [S, 5]."""
        made = np.empty((values.shape[0], SEEN), dtype=np.float32)
        made[:, 0] = float(zero_inflation)
        made[:, 1:3] = np.log1p(values[:, :2]) / self.tops[0]
        made[:, 3:] = np.log1p(values[:, 2:]) / self.tops[1]
        return made

    def to_arrays(self) -> dict[str, Array]:
        """Return the scales as named arrays, for a model file."""
        arrays: dict[str, Array] = {"scales.tops": self.tops}
        for name, scale in zip(CONDITIONS, self.conditions, strict=True):
            arrays |= scale.to_arrays(f"scales.{name}")
        for name, scale in zip(RECORD_NUMBERS, self.record, strict=True):
            arrays |= scale.to_arrays(f"scales.{name}")
        return arrays

    @staticmethod
    def from_arrays(arrays: dict[str, Array], *, label_count: int) -> CascadeScales:
        """Inverse of `to_arrays`."""
        return CascadeScales(
            conditions=tuple(Scale.from_arrays(f"scales.{n}", arrays) for n in CONDITIONS),
            record=tuple(Scale.from_arrays(f"scales.{n}", arrays) for n in RECORD_NUMBERS),
            tops=arrays["scales.tops"],
            label_count=label_count,
        )


def fit_scales(
    numbers: FloatArray, series: list[Series], size_bytes: IntArray, gap_ns: IntArray,
    *, label_count: int,
) -> CascadeScales:  # fmt: skip
    """Learn the scales of conditions [F, 11], of the steps' counts, of payloads and gaps."""
    packets = max(int(s.values[:, :2].max(initial=1)) for s in series)
    size = max(int(s.values[:, 2:].max(initial=1)) for s in series)
    return CascadeScales(
        conditions=tuple(fit_scale(numbers[:, i]) for i in range(len(CONDITIONS))),
        record=(fit_scale(size_bytes[size_bytes > 0]), fit_scale(gap_ns[gap_ns > 0])),
        tops=np.log1p(np.array([packets, size], dtype=np.float64)),
        label_count=label_count,
    )
