"""DoppelGANger's own files: data_feature, data_attribute and data_gen_flag in one .npz.

Measurements lie in 0..1 (`data_feature_min` and `data_feature_max`, where they are there, say
what of), categories are one-hot, and the flags are 1 as long as a series lasts. The description
of the columns is pickled beside the file there, which is not read: a schema file says it, or it
is guessed, or it is in `schema` where netsynth wrote the file.

References:
    Lin et al., IMC 2020, and the layout of the data sets published with it.
"""

from __future__ import annotations

import json
import logging
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from netsynth.dataset import COUNT, Column, SeriesDataset
from netsynth.errors import TableError
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.series.npz_columns import guess_plan, schema_of_plan, written_schema
from netsynth.series.schema_file import SchemaPlan

NAMES = ("data_feature", "data_attribute", "data_gen_flag")
SHOWN = 5  # bad samples that an error names
ROUNDING = 1e-6  # by which a number may leave 0..1

log = logging.getLogger(__name__)


def read_npz(path: Path, plan: SchemaPlan | None = None, *, salvage: bool = False) -> SeriesDataset:
    """Read a dataset in DoppelGANger's layout.

    Args:
        path: The file.
        plan: What the columns are; None guesses: columns of the metadata that add up to one in
            every sample are a category, all others and the measurements are numbers.
        salvage: Leave out bad samples (and log how many), instead of raising.

    Raises:
        TableError: If arrays are missing or differ in size, the columns do not fit the plan, or
            samples are bad (broken flags, what is no number, a category that is none of its
            values, a measurement out of range); names the samples.
    """
    arrays = _load(path)
    feature = arrays["data_feature"].astype(np.float64)  # [F, T, D]
    attribute = arrays["data_attribute"].astype(np.float64)  # [F, A]
    schema = written_schema(path, arrays)
    bad = _BadSamples(path=path, count=len(feature))
    lengths, active = _lengths(arrays["data_gen_flag"], bad)
    bad.add(~np.all(np.isfinite(attribute), axis=1), "data_attribute holds what is no number")
    nonsense = ~np.isfinite(feature).all(axis=2) & active  # [F, T]
    bad.add(np.any(nonsense, axis=1), "data_feature holds what is no number")
    good = bad.good()
    limits = _ranges(path, arrays, feature.shape[2])
    is_foreign = schema is None
    if schema is None:
        plan = plan or guess_plan(attribute[good], feature.shape[2])
        reach = limits or _reach(feature[active & good[:, None]])
        schema = schema_of_plan(path, plan, attribute[good], *reach, feature.shape[1])
    _check_categories(path, "data_attribute", attribute[:, None], schema.metadata, bad)
    _check_categories(path, "data_feature", feature, schema.measurements, bad, active)
    if limits is not None:
        _check_bounds(feature, schema.measurements, bad, active)
    kept = bad.settle(salvage=salvage)
    records = feature[active & kept[:, None]]  # [N, D]
    of_metadata = None if is_foreign else _limits(schema.metadata)
    return SeriesDataset(
        schema=schema,
        metadata=_decode(attribute[kept], schema.metadata, of_metadata),
        values=_decode(records, schema.measurements, limits),
        offsets=np.concatenate(([0], np.cumsum(lengths[kept]))),
    )


def write_npz(path: Path, dataset: SeriesDataset) -> None:
    """Write a dataset in DoppelGANger's layout, with its schema beside.

    Raises:
        TableError: If the file cannot be written.
    """
    schema = dataset.schema
    encoded = _encode(dataset.values, schema.measurements)
    feature = np.zeros((len(dataset), schema.max_length, encoded.shape[1]))
    feature[dataset.sample_of_record, dataset.step_of_record] = encoded
    flags = np.arange(schema.max_length) < dataset.lengths[:, None]
    low, high = _limits(schema.measurements)
    try:
        with path.open("wb") as file:  # of a path in capitals, savez would make another
            np.savez_compressed(
                file,
                data_feature=feature,
                data_attribute=_encode(dataset.metadata, schema.metadata),
                data_gen_flag=flags.astype(np.float32),
                data_feature_min=low,
                data_feature_max=high,
                schema=np.array(json.dumps(schema.to_dict())),
            )
    except OSError as error:
        raise TableError(f"{path}: cannot write it: {error.strerror or error}") from error


def _limits(columns: tuple[Column, ...]) -> tuple[FloatArray, FloatArray]:
    """What 0 and 1 stand for in each column once categories are one-hot."""
    low = [0.0 if c.is_categorical else c.low for c in columns for _ in range(c.width)]
    high = [1.0 if c.is_categorical else c.high for c in columns for _ in range(c.width)]
    return np.array(low, dtype=np.float64), np.array(high, dtype=np.float64)


def _load(path: Path) -> dict[str, Array]:
    try:
        with np.load(path, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files}
    except OSError as error:
        raise TableError(f"{path}: cannot read it: {error.strerror or error}") from error
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise TableError(f"{path}: not a .npz file of plain arrays ({error})") from error
    for name, dimensions in zip(NAMES, (3, 2, 2), strict=True):
        if name not in arrays:
            raise TableError(f"{path}: there is no array {name}; there are {', '.join(arrays)}")
        if arrays[name].ndim != dimensions or arrays[name].dtype.kind not in "buif":
            raise TableError(f"{path}: {name} must be numbers in {dimensions} dimensions")
    feature, attribute, flag = (arrays[name] for name in NAMES)
    if not feature.shape[0] == attribute.shape[0] == flag.shape[0]:
        counts = ", ".join(f"{name} {arrays[name].shape[0]}" for name in NAMES)
        raise TableError(f"{path}: the arrays differ in their samples: {counts}")
    if feature.shape[0] == 0 or feature.shape[2] == 0:
        raise TableError(f"{path}: holds no samples, or no measurement")
    if flag.shape[1] != feature.shape[1]:
        raise TableError(
            f"{path}: data_gen_flag has {flag.shape[1]} steps, data_feature {feature.shape[1]}"
        )
    return arrays


@dataclass(frozen=True, kw_only=True, slots=True)
class _BadSamples:
    """What is wrong with samples, collected to be told at once."""

    path: Path
    count: int
    found: dict[int, str] = field(default_factory=dict)

    def add(self, mask: NDArray[np.bool_], reason: str) -> None:
        """Note the samples of a mask [F]; the first reason stays."""
        for row in np.flatnonzero(mask).tolist():
            self.found.setdefault(row, reason)

    def good(self) -> NDArray[np.bool_]:
        """Samples with nothing wrong so far, bool [F].

        Raises:
            TableError: If there is none.
        """
        mask = np.ones(self.count, dtype=np.bool_)
        mask[list(self.found)] = False
        if not mask.any():
            raise TableError(f"{self.path}: every sample is bad: {self._told()}")
        return mask

    def settle(self, *, salvage: bool) -> NDArray[np.bool_]:
        """Return the samples to keep, bool [F].

        Raises:
            TableError: If a sample is bad and `salvage` is False, or none is left.
        """
        kept = self.good()
        if self.found and not salvage:
            raise TableError(
                f"{self.path}: {self._told()}; mend them, or leave them out with --salvage"
            )
        if self.found:
            log.warning(
                "%s: left out %d bad samples (%s)", self.path, len(self.found), self._told()
            )
        return kept

    def _told(self) -> str:
        first = sorted(self.found)[:SHOWN]
        told = "; ".join(f"sample {row}: {self.found[row]}" for row in first)
        more = len(self.found) - SHOWN
        return f"{told}; and {more} more" if more > 0 else told


def _lengths(flags: Array, bad: _BadSamples) -> tuple[IntArray, NDArray[np.bool_]]:
    """Records of each series [F], and which steps are records [F, T]; flags are ones, then zeros.

    A NaN is no record.
    """
    is_on = flags > 0.5
    lengths: IntArray = is_on.sum(axis=1).astype(np.int64)
    active = np.arange(flags.shape[1]) < lengths[:, None]
    wrong = (is_on != active).any(axis=1) | (lengths == 0) | ~np.isfinite(flags).all(axis=1)
    bad.add(wrong, "data_gen_flag is not ones, then zeros")
    return lengths, active


def _check_categories(
    path: Path,
    what: str,
    encoded: FloatArray,
    columns: tuple[Column, ...],
    bad: _BadSamples,
    active: NDArray[np.bool_] | None = None,
) -> None:
    """Note samples of `encoded` [F, T, D] where a category is none of its values, or two."""
    if encoded.shape[2] != sum(column.width for column in columns):
        raise TableError(f"{path}: {what} has {encoded.shape[2]} columns, its schema another count")
    at = 0
    for column in columns:
        part = encoded[:, :, at : at + column.width]
        at += column.width
        if not column.is_categorical:
            continue
        wrong = ~(np.isin(part, (0.0, 1.0)).all(axis=2) & (part.sum(axis=2) == 1))  # [F, T]
        wrong = wrong if active is None else wrong & active
        bad.add(np.any(wrong, axis=1), f"{what}: {column.name} is not one of its values")


def _check_bounds(
    feature: FloatArray, columns: tuple[Column, ...], bad: _BadSamples, active: NDArray[np.bool_]
) -> None:
    """Note samples with a measurement outside 0..1, in which numbers are kept."""
    at = 0
    for column in columns:
        if not column.is_categorical:
            cell = feature[:, :, at]
            outside = active & ((cell < -ROUNDING) | (cell > 1 + ROUNDING))
            bad.add(np.any(outside, axis=1), f"data_feature: {column.name} lies outside 0..1")
        at += column.width


def _ranges(
    path: Path, arrays: dict[str, Array], width: int
) -> tuple[FloatArray, FloatArray] | None:
    """What 0 and 1 stand for in each column of data_feature; None where numbers are as they are."""
    names = ("data_feature_min", "data_feature_max")
    if not any(name in arrays for name in names):
        return None
    sides = []
    for name, default in zip(names, (0.0, 1.0), strict=True):
        side = arrays.get(name, np.full(width, default)).astype(np.float64)
        if side.shape != (width,) or not np.isfinite(side).all():
            raise TableError(f"{path}: {name} must be {width} numbers")
        sides.append(side)
    return sides[0], sides[1]


def _reach(records: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Ranges of columns [N, D] of no said range: 0 to 1, or where they leave it, what they hold."""
    low, high = records.min(axis=0), records.max(axis=0)
    is_scaled = (low >= 0) & (high <= 1)
    return np.where(is_scaled, 0.0, low), np.where(is_scaled, 1.0, high)


def _decode(
    encoded: FloatArray,
    columns: tuple[Column, ...],
    limits: tuple[FloatArray, FloatArray] | None,
) -> FloatArray:
    """One-hot columns to rows of values; numbers from 0..1 to `limits`, or left as they are."""
    cells, at = np.zeros((encoded.shape[0], len(columns))), 0
    for place, column in enumerate(columns):
        part = encoded[:, at : at + column.width]
        if column.is_categorical:
            cells[:, place] = part.argmax(axis=1)
        else:
            number = part[:, 0]
            if limits is not None:
                number = number * (limits[1][at] - limits[0][at]) + limits[0][at]
            cells[:, place] = np.round(number) if column.kind == COUNT else number
        at += column.width
    return cells


def _encode(cells: FloatArray, columns: tuple[Column, ...]) -> FloatArray:
    """Inverse of `_decode`: one-hot, and measurements in 0..1."""
    parts = [np.zeros((cells.shape[0], 0))]
    for place, column in enumerate(columns):
        cell = cells[:, place]
        if column.is_categorical:
            parts.append(np.eye(len(column.values))[cell.astype(np.int64)])
        else:
            parts.append(((cell - column.low) / ((column.high - column.low) or 1.0))[:, None])
    return np.concatenate(parts, axis=1)
