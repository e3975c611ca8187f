"""Distances between samples: EMD, Jensen-Shannon divergence, and their scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray


def emd(first: FloatArray, second: FloatArray) -> float:
    """Earth mover's (1-D Wasserstein) distance of two samples.

    Args:
        first: float64 [N], at least one value.
        second: float64 [M], at least one value.

    Returns:
        The area between the two distribution functions, in the unit of the values; from 0 (best).

    References:
        Vallender, "Calculation of the Wasserstein distance between probability distributions on
        the line", Theory of Probability and Its Applications 18, 1974.
    """
    values = np.concatenate([first, second])
    order = np.argsort(values, kind="stable")
    return emd_sorted(values[order], order < first.size)


def emd_sorted(values: FloatArray, in_first: NDArray[np.bool_]) -> float:
    """EMD of two samples, at least one value each, from their values sorted together.

    Counts are integers until the end, so that equal samples are at distance 0 exactly.

    Args:
        values: Values of both samples, ascending, float64 [N].
        in_first: Which sample each value is of, bool [N].

    Returns:
        The distance, in the unit of the values.
    """
    count = int(in_first.sum())
    rest = in_first.size - count
    steps = np.where(in_first, rest, -count)
    area = np.abs(np.cumsum(steps)[:-1]).astype(np.float64) @ np.diff(values)
    return float(area) / count / rest


def deviation(values: FloatArray) -> float:
    """Mean absolute deviation of a sample [N] about its median; |median| where that is 0.

    The fallback makes a distance from a constant sample a relative error. It is 0 only for a
    sample that is 0 throughout.
    """
    median = float(np.median(values))
    spread = float(np.abs(values - median).mean())
    return spread if spread > 0 else abs(median)


def jsd(first: FloatArray, second: FloatArray) -> float:
    """Jensen-Shannon divergence in bits of two weight vectors over the same categories.

    Args:
        first: Weights, float64 [K], at least 0, of positive sum.
        second: Weights, float64 [K].

    Returns:
        0 (equal, best) to 1 (nothing in common); its square root is the JS distance.

    References:
        Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. Inf. Theory 37, 1991.
    """
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    value = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2
    return min(max(value, 0.0), 1.0)  # rounding may leave 1e-17 outside


def _relative_entropy(p: FloatArray, q: FloatArray) -> float:
    some = p > 0
    return float(p[some] @ np.log2(p[some] / q[some]))


def rank_jsd(first: FloatArray, second: FloatArray) -> float:
    """JSD in bits of two rank-frequency curves: each weight vector sorted, largest first.

    The vectors [K] and [L] need no common categories; the shorter one is padded with 0.
    """
    length = max(first.size, second.size)
    curves = np.zeros((2, length))
    curves[0, : first.size] = np.sort(first)[::-1]
    curves[1, : second.size] = np.sort(second)[::-1]
    return jsd(curves[0], curves[1])


def count_categories(first: Array, second: Array) -> tuple[FloatArray, FloatArray]:
    """Count the values of two samples over their joint categories; two float64 [K]."""
    joint = np.concatenate([first, second])
    if joint.size and joint.dtype.kind == "u" and joint.dtype.itemsize <= 2:
        codes = joint.astype(np.int64)  # ports, protocols and flags are their own places
    else:
        _, codes = np.unique(joint, return_inverse=True)
    count = int(codes.max()) + 1 if codes.size else 0
    return (
        np.bincount(codes[: first.size], minlength=count).astype(np.float64),
        np.bincount(codes[first.size :], minlength=count).astype(np.float64),
    )
