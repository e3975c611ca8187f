"""Numbers >= 0 as numbers of about -1..1 whose distribution is even, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.errors import ConfigError
from netsynth.numbers import Array, FloatArray

TAIL = (0.999, 0.9995, 1.0)
QUANTILES = np.unique([*np.linspace(0, 1, 65), *TAIL, *(1 - np.array(TAIL))])


@dataclass(frozen=True, kw_only=True, slots=True)
class NumberScale:
    """A rising, piecewise linear map of numbers, or of their logs, to -1..1.

    With a = log(1 + x), or x, the image is q(a) + s(a) - 1, where q(a) in 0..1 is the learned
    quantile of a and s(a) = (a - smallest) / (largest - smallest). The quantile spreads what is
    frequent; the other half keeps the tails apart and the slope above 0, so that the way back
    loses no more than float32 does: about 1e-6 of 1 + x where logs are taken, so that counts up
    to 300,000 come back exactly, else 1e-7 of the range.

    Attributes:
        knots: float64 [M], a at the quantiles, strictly ascending.
        images: float64 [M], strictly ascending.
        logarithmic: Whether logs are taken.
    """

    knots: FloatArray
    images: FloatArray
    logarithmic: bool

    def encode(self, values: Array) -> FloatArray:
        """Return the image of each value, float64; those beyond what was seen go to the ends."""
        values = np.asarray(values, dtype=np.float64)
        axis = np.log1p(np.maximum(values, 0)) if self.logarithmic else values
        return np.asarray(np.interp(axis, self.knots, self.images), dtype=np.float64)

    def decode(self, images: Array) -> FloatArray:
        """Return the number of each image, float64, within what was seen."""
        images = np.asarray(images, dtype=np.float64)
        axis = np.interp(images, self.images, self.knots)
        values = np.expm1(axis) if self.logarithmic else axis
        return np.asarray(values, dtype=np.float64)

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the scale as named arrays, for a model file."""
        return {
            f"{name}.knots": self.knots,
            f"{name}.images": self.images,
            f"{name}.logarithmic": np.array([self.logarithmic], dtype=np.uint8),
        }

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> NumberScale:
        """Inverse of `to_arrays`."""
        return NumberScale(
            knots=arrays[f"{name}.knots"].astype(np.float64),
            images=arrays[f"{name}.images"].astype(np.float64),
            logarithmic=bool(arrays[f"{name}.logarithmic"][0]),
        )


def fit_number_scale(values: Array, *, logarithmic: bool) -> NumberScale:
    """Learn the scale of `values`.

    Args:
        values: Numbers >= 0, any shape.
        logarithmic: Whether they spread over orders of magnitude.

    Raises:
        ConfigError: If there are no values.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    if values.size == 0:
        raise ConfigError("a scale needs at least one value")
    axis = np.log1p(np.maximum(values, 0)) if logarithmic else values
    knots, group = np.unique(np.quantile(axis, QUANTILES), return_inverse=True)
    # a value of many quantiles takes their middle
    middle = np.bincount(group, weights=QUANTILES) / np.bincount(group)
    if knots.size == 1:
        return NumberScale(knots=knots, images=np.zeros(1), logarithmic=logarithmic)
    linear = (knots - knots[0]) / (knots[-1] - knots[0])
    return NumberScale(knots=knots, images=middle + linear - 1, logarithmic=logarithmic)
