"""TCP windows that tokens stand for: set anew, or changed from the last one in their direction.

A receiver raises its window as data come and lowers it as they wait to be read, by the same
amounts whatever it stands at (RFC 9293 section 3.8.6): a window in itself says little.
"""

from __future__ import annotations

import numpy as np

from netsynth.numbers import IntArray

SET, ADD = 0, 1  # columns of `TokenField.windows`
NOT_SET = -1
MOST_WINDOW = 65535  # that a header holds


def running_windows(token: IntArray, lane: IntArray, windows: IntArray) -> IntArray:
    """Window of each packet by the tokens of its lane up to its own.

    Args:
        token: int64 [N].
        lane: int64 [N], a number for each flow and direction.
        windows: int64 [size, 2], what each token sets the window to, NOT_SET where it does not,
            and what it adds; see `TokenField.windows`.

    Returns:
        int64 [N], 0 .. MOST_WINDOW, and NOT_SET before any is set. Changes may be told in bins:
        where their sum leaves the range, it is the nearest of it, as a sum of -1 is no NOT_SET.
    """
    order = np.argsort(lane, kind="stable")
    told = windows[token[order]]
    begins = np.ones(token.size, dtype=np.bool_)
    begins[1:] = np.diff(lane[order]) != 0
    is_set = told[:, SET] != NOT_SET
    amount = np.where(is_set, told[:, SET], told[:, ADD])
    total = np.cumsum(amount)
    rows = np.arange(token.size)
    since = np.maximum.accumulate(np.where(begins | is_set, rows, 0))
    running = np.clip(total - total[since] + amount[since], 0, MOST_WINDOW)
    running = np.where(is_set[since], running, NOT_SET)
    result = np.empty_like(running)
    result[order] = running
    return result
