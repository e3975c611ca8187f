"""What flows are told of time and plan on a CPU."""

from __future__ import annotations

import math

import numpy as np

from netsynth.generate.transformer.flow_level import CLOCK_RATES, CLOCK_WIDTH
from netsynth.generate.transformer.kernels import (
    add_to,
    borrowing,
)
from netsynth.numbers import Array


@borrowing
def clock_features(time: float, window: float, features: Array) -> None:
    """`flow_level.clock_features` of one time."""
    share = np.float32(min(max(time / window, 0.0), 1.0))
    for k in range(CLOCK_RATES):
        angle = share * np.float32(2 * math.pi * 2**k)
        features[k] = np.float32(math.sin(angle))
        features[CLOCK_RATES + k] = np.float32(math.cos(angle))
    features[2 * CLOCK_RATES] = share
    left = max((np.float32(1) - share) * np.float32(1e6), np.float32(0))
    features[2 * CLOCK_RATES + 1] = np.float32(math.log1p(left)) / np.float32(14)
    gone = share * np.float32(1e6)
    features[2 * CLOCK_RATES + 2] = np.float32(math.log1p(gone)) / np.float32(14)


@borrowing
def plan_features(services: Array, outcomes: Array, share_left: float, features: Array) -> None:
    """`Plans.features` of one plan, behind those of the clock."""
    at = CLOCK_WIDTH
    total = np.float32(0)
    for number in services:
        features[at] = np.float32(math.log1p(number)) / np.float32(4)
        total += number
        at += 1
    for number in outcomes:
        features[at] = np.float32(math.log1p(number)) / np.float32(4)
        at += 1
    features[at] = np.float32(math.log1p(total)) / np.float32(4)
    share = max(np.float32(share_left), np.float32(1e-7))
    features[at + 1] = np.float32(math.log(share / (total + np.float32(1)))) / np.float32(8)


@borrowing
def add_clock(x: Array, features: Array, weight: Array, bias: Array) -> None:
    """Add the linear map of `features` to x [H]."""
    for i in range(features.size):
        share = features[i]
        if share != 0:  # most services and outcomes have nothing left
            for j in range(x.size):
                x[j] = x[j] + share * weight[i, j]
    add_to(x, bias)
