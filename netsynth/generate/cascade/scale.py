"""Numbers >= 0 as numbers in -1..1, half by rank and half by logarithm, and back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.numbers import Array, FloatArray

KNOTS = 129


@dataclass(frozen=True, kw_only=True, slots=True)
class Scale:
    """A rising, piecewise linear map of log(1 + x) to -1..1.

    Attributes:
        knots: float64 [M], log(1 + x) at quantiles, strictly ascending.
        images: float64 [M], strictly ascending.
    """

    knots: FloatArray
    images: FloatArray

    @property
    def largest(self) -> int:
        """Largest number seen, rounded."""
        return round(float(np.expm1(self.knots[-1])))

    def encode(self, values: Array) -> FloatArray:
        """Return the image of each value; those beyond what was seen go to the ends."""
        axis = np.log1p(np.maximum(np.asarray(values, dtype=np.float64), 0))
        return np.asarray(np.interp(axis, self.knots, self.images), dtype=np.float64)

    def decode(self, images: Array) -> FloatArray:
        """Return the number of each image, within what was seen."""
        axis = np.interp(np.asarray(images, dtype=np.float64), self.images, self.knots)
        return np.asarray(np.expm1(axis), dtype=np.float64)

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the scale as named arrays, for a model file."""
        return {f"{name}.knots": self.knots, f"{name}.images": self.images}

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> Scale:
        """Inverse of `to_arrays`."""
        return Scale(knots=arrays[f"{name}.knots"], images=arrays[f"{name}.images"])


def fit_scale(values: Array) -> Scale:
    """Learn the scale of `values`; without values, or with one alone, all images are 0."""
    axis = np.log1p(np.maximum(np.asarray(values, dtype=np.float64).ravel(), 0))
    if axis.size == 0:
        axis = np.zeros(1)
    share = np.linspace(0, 1, KNOTS)
    knots, group = np.unique(np.quantile(axis, share), return_inverse=True)
    if knots.size == 1:
        return Scale(knots=knots, images=np.zeros(1))
    middle = np.bincount(group, weights=share) / np.bincount(group)
    linear = (knots - knots[0]) / (knots[-1] - knots[0])
    image = middle + linear
    return Scale(knots=knots, images=2 * (image - image[0]) / (image[-1] - image[0]) - 1)
