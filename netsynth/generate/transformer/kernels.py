"""Arithmetic of the levels for one CPU thread: a few rows at a time, compiled by numba.

Sampling takes thousands of small steps one after the other, and most of a step through torch is
spent between operations. Here a step is one loop. A row's result never depends on which rows are
computed beside it, so it is the same on any number of threads. `netsynth.generate.transformer`
holds the networks themselves, and the tests compare.

Importing this module imports numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

from netsynth.numbers import Array

Function = TypeVar("Function", bound=Callable[..., Any])
LANES = 4  # rows that `linear` computes at a time; buffers have a multiple of it
EPSILON = np.float32(1e-5)  # of torch's LayerNorm
GOLDEN = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def compiled(function: Function) -> Function:
    """Compile `function`; products and sums may be fused, but are never reordered."""
    return _compile(function, {"contract"})


def reduced(function: Function) -> Function:
    """Compile `function`; sums may be reordered, always in the same way."""
    return _compile(function, {"contract", "reassoc", "nsz"})


def borrowing(function: Function) -> Function:
    """Compile `function`, which makes no array and returns none.

    It counts no references. Counted, those of a NamedTuple of seventy arrays cost more than most
    functions that take one.
    """
    return _compile(function, {"contract"}, _nrt=False)


def _compile(function: Function, flags: set[str], **more: bool) -> Function:
    options = {"nogil": True, "fastmath": flags, "error_model": "numpy", **more}  # x / 0 is inf
    try:
        kernel: Function = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder that numba may write its cache to
        kernel = numba.njit(**options)(function)
    return kernel


@intrinsic  # type: ignore[untyped-decorator]
def _as_float(_context: Any, _bits: Any) -> Any:
    """Read 32 bits as a float32."""

    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), build


@borrowing
def exponential(x: np.float32) -> np.float32:
    """e**x within 3 units of the last place, for x in -87 .. 87; beyond, the value at the end."""
    x = min(max(x, np.float32(-87.0)), np.float32(87.0))
    whole = np.floor(x * np.float32(1.4426950408889634) + np.float32(0.5))
    rest = x - whole * np.float32(0.693359375)
    rest = rest + whole * np.float32(2.12194440e-4)
    y = np.float32(1 / 5040)
    y = y * rest + np.float32(1 / 720)
    y = y * rest + np.float32(1 / 120)
    y = y * rest + np.float32(1 / 24)
    y = y * rest + np.float32(1 / 6)
    y = y * rest + np.float32(1 / 2)
    y = y * rest + np.float32(1)
    y = y * rest + np.float32(1)
    return np.float32(y * _as_float((np.int32(whole) + np.int32(127)) << np.int32(23)))


@borrowing
def gelu(x: Array, rows: int, width: int) -> None:
    """Apply x * Phi(x) to x[:rows, :width] in place.

    References:
        Abramowitz and Stegun, "Handbook of Mathematical Functions", 7.1.26: |error| < 1.5e-7.
    """
    for row in range(rows):
        values = x[row]
        for i in range(width):
            value = values[i]
            z = abs(value) * np.float32(0.7071067811865476)
            t = np.float32(1) / (np.float32(1) + np.float32(0.3275911) * z)
            tail = np.float32(1.061405429)
            tail = tail * t + np.float32(-1.453152027)
            tail = tail * t + np.float32(1.421413741)
            tail = tail * t + np.float32(-0.284496736)
            tail = tail * t + np.float32(0.254829592)
            tail = np.float32(0.5) * tail * t * exponential(-z * z)  # 1 - Phi(|x|)
            values[i] = value * (np.float32(1) - tail if value >= 0 else tail)


@borrowing
def linear(x: Array, rows: int, weight: Array, bias: Array, y: Array) -> None:
    """Set y[:rows, :N] to x[:rows, :K] @ weight + bias.

    Args:
        x: float32 [M, >= K], M at least `rows` rounded up to LANES.
        rows: Rows that count; those up to the next multiple of LANES are overwritten too.
        weight: float32 [K, N].
        bias: float32 [N].
        y: float32 [M, >= N].
    """
    inner, width = weight.shape
    for m in range(0, rows, LANES):
        x0, x1, x2, x3 = x[m], x[m + 1], x[m + 2], x[m + 3]
        y0, y1, y2, y3 = y[m], y[m + 1], y[m + 2], y[m + 3]
        for n in range(width):
            y0[n] = bias[n]
            y1[n] = bias[n]
            y2[n] = bias[n]
            y3[n] = bias[n]
        for k in range(0, inner - 3, 4):
            w0, w1, w2, w3 = weight[k], weight[k + 1], weight[k + 2], weight[k + 3]
            a00, a01, a02, a03 = x0[k], x0[k + 1], x0[k + 2], x0[k + 3]
            a10, a11, a12, a13 = x1[k], x1[k + 1], x1[k + 2], x1[k + 3]
            a20, a21, a22, a23 = x2[k], x2[k + 1], x2[k + 2], x2[k + 3]
            a30, a31, a32, a33 = x3[k], x3[k + 1], x3[k + 2], x3[k + 3]
            for n in range(width):
                v0, v1, v2, v3 = w0[n], w1[n], w2[n], w3[n]
                y0[n] = y0[n] + a00 * v0 + a01 * v1 + a02 * v2 + a03 * v3
                y1[n] = y1[n] + a10 * v0 + a11 * v1 + a12 * v2 + a13 * v3
                y2[n] = y2[n] + a20 * v0 + a21 * v1 + a22 * v2 + a23 * v3
                y3[n] = y3[n] + a30 * v0 + a31 * v1 + a32 * v2 + a33 * v3
        for k in range(inner - inner % 4, inner):
            w0 = weight[k]
            a00, a10, a20, a30 = x0[k], x1[k], x2[k], x3[k]
            for n in range(width):
                y0[n] = y0[n] + a00 * w0[n]
                y1[n] = y1[n] + a10 * w0[n]
                y2[n] = y2[n] + a20 * w0[n]
                y3[n] = y3[n] + a30 * w0[n]


@reduced
def _moments(x: Array) -> tuple[np.float32, np.float32]:
    """Mean, and reciprocal of the standard deviation."""
    width = x.size
    total = np.float32(0)
    for i in range(width):
        total += x[i]
    mean = total / np.float32(width)
    squares = np.float32(0)
    for i in range(width):
        squares += (x[i] - mean) * (x[i] - mean)
    return mean, np.float32(1) / np.float32(math.sqrt(squares / np.float32(width) + EPSILON))


@borrowing
def normalise(x: Array, rows: int, width: int, y: Array) -> None:
    """Set y[:rows, :width] to x[:rows, :width] with mean 0 and variance 1 in each row."""
    for row in range(rows):
        source, target = x[row, :width], y[row]
        mean, scale = _moments(source)
        for i in range(width):
            target[i] = (source[i] - mean) * scale


@borrowing
def add_to(x: Array, y: Array) -> None:
    """Add vector y to the first elements of vector x in place."""
    for i in range(y.size):
        x[i] = x[i] + y[i]


@borrowing
def add_from(x: Array, values: Array, at: int) -> None:
    """Add the values [N] from place `at` on to vector x in place.

    A slice of `values` would count its references, which takes longer than the sum; places are
    unsigned, as those from the end would have to be told apart.
    """
    first = np.uint64(at)
    for i in range(x.size):
        x[i] = x[i] + values[first + np.uint64(i)]


@borrowing
def add_share_from(x: Array, values: Array, at: int, share: np.float32) -> None:
    """Add `share` times the values [N] from place `at` on to vector x in place."""
    first = np.uint64(at)
    for i in range(x.size):
        x[i] = x[i] + share * values[first + np.uint64(i)]


@borrowing
def next_uniform(streams: Array, row: int) -> float:
    """Draw from stream `row`, in [0, 1), and move it on.

    References:
        Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.
    """
    streams[row] = streams[row] + GOLDEN
    z = streams[row]
    z = (z ^ (z >> np.uint64(30))) * MIX_1
    z = (z ^ (z >> np.uint64(27))) * MIX_2
    z = z ^ (z >> np.uint64(31))
    return float(np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0))


def seed_streams(key: int, rows: Array) -> Array:
    """Start a stream for each of `rows`, whole numbers >= 0 [M]: uint64 [M].

    Streams of different keys or rows share nothing; the same key and row start the same one.
    """
    with np.errstate(over="ignore"):
        z = rows.astype(np.uint64) * MIX_1 + np.uint64(key % 2**64)
        for _ in range(2):
            z = (z ^ (z >> np.uint64(30))) * MIX_1
            z = (z ^ (z >> np.uint64(27))) * MIX_2
            z = (z ^ (z >> np.uint64(31))) + GOLDEN
    return np.asarray(z)


def uniforms(streams: Array) -> Array:
    """Draw one number from each of `streams`, uint64 [M], in 0..1 without its ends: float64 [M]."""
    return np.asarray(((streams >> np.uint64(12)).astype(np.float64) + 0.5) / 2.0**52)


@reduced
def _largest(x: Array) -> np.float32:
    largest = np.float32(x[0])
    for i in range(x.size):
        largest = max(largest, x[i])
    return largest


@borrowing
def to_weights(logits: Array, size: int) -> None:
    """Replace logits[:size] by their exponentials, the largest 1, in place."""
    values = logits[:size]
    largest = _largest(values)
    for i in range(size):
        values[i] = exponential(values[i] - largest)


@borrowing
def keep_likely(weights: Array, size: int, share: np.float32) -> None:
    """Set weights[:size] below `share` of the largest to 0 in place."""
    values = weights[:size]
    least = _largest(values) * share
    for i in range(size):
        if values[i] < least:
            values[i] = np.float32(0)


@borrowing
def pick(weights: Array, size: int, uniform: float) -> int:
    """Choose an index below `size` in proportion to its weight; -1 where all are 0."""
    total = 0.0
    for i in range(size):
        total += weights[i]
    left = uniform * total
    chosen = -1
    for i in range(size):
        if weights[i] > 0:
            chosen = i
            left -= weights[i]
            if left < 0:
                break
    return chosen


@compiled
def attend(
    qkv: Array, row: int, keys: Array, values: Array, place: int, count: int, mixed: Array
) -> None:
    """Mix the values that a query sees, its own key and value stored first.

    Args:
        qkv: float32 [M, >= 3 H], query, key and value of row `row`.
        row: Which.
        keys: float32 [nh, hs, context], of this row's sequence.
        values: float32 [nh, context, hs].
        place: Where the newest position goes.
        count: Positions to see.
        mixed: float32 [M, >= H], row `row` is written.
    """
    heads, width, context = keys.shape
    scale = np.float32(1.0 / math.sqrt(width))
    weights = np.empty(context, dtype=np.float32)
    for head in range(heads):
        at = head * width
        query = qkv[row, at : at + width]
        key = qkv[row, (heads + head) * width : (heads + head + 1) * width]
        value = qkv[row, (2 * heads + head) * width : (2 * heads + head + 1) * width]
        for i in range(width):
            keys[head, i, place] = key[i]
            values[head, place, i] = value[i]
        for p in range(count):
            weights[p] = np.float32(0)
        for i in range(width):
            line, share = keys[head, i], query[i] * scale
            for p in range(count):
                weights[p] = weights[p] + share * line[p]
        to_weights(weights, count)
        total = np.float32(0)
        for p in range(count):
            total += weights[p]
        out = mixed[row, at : at + width]
        for i in range(width):
            out[i] = np.float32(0)
        for p in range(count):
            share, line = weights[p] / total, values[head, p]
            for i in range(width):
                out[i] = out[i] + share * line[i]
