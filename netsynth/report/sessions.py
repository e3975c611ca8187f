"""What a flow record shows of each session: the features that a classifier may look at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.report.trace import NS_PER_S, Trace
from netsynth.tables import ACK, FIN, PSH, RST, SYN, URG

FLAGS = {"FIN": FIN, "SYN": SYN, "RST": RST, "PSH": PSH, "ACK": ACK, "URG": URG}


def session_features(trace: Trace) -> dict[str, FloatArray]:
    """Describe each session by packets, sizes, gaps, ports, TTLs, flags and windows.

    Forward is the direction of the session's first packet. A statistic of a direction without
    packets, and a gap of a session of one packet, is NaN.

    Args:
        trace: The trace.

    Returns:
        Feature name -> float64 [S], S sessions.
    """
    order = np.argsort(trace.session, kind="stable")  # by session, then time
    packets = trace.packets.take(order)
    session, forward = trace.session[order], trace.forward[order]
    count = trace.session_count
    starts = np.searchsorted(session, np.arange(count))
    features: dict[str, FloatArray] = {
        "protocol": packets.protocol[starts].astype(np.float64),
        "forward source port": packets.src_port[starts].astype(np.float64),
        "forward target port": packets.dst_port[starts].astype(np.float64),
    }
    features |= _gap_features(packets.time_ns, session, starts, count)
    for name, side in (("forward", forward), ("backward", ~forward)):
        rows, group = np.flatnonzero(side), session[side]
        lengths = packets.ip_length[rows].astype(np.float64)
        features[f"{name} packets"] = np.bincount(group, minlength=count).astype(np.float64)
        features[f"{name} bytes"] = np.bincount(group, lengths, minlength=count).astype(np.float64)
        for what, column in (
            ("IP length", lengths),
            ("payload", packets.payload_length[rows]),
            ("TTL", packets.ttl[rows]),
            ("window", packets.window[rows]),
        ):
            for statistic, values in group_statistics(column, group, count).items():
                if statistic in _WANTED[what]:
                    features[f"{name} {what} {statistic}"] = values
        for flag, bit in FLAGS.items():
            raised = (packets.tcp_flags[rows] & bit > 0).astype(np.float64)
            features[f"{name} {flag}"] = np.bincount(group, raised, minlength=count).astype(
                np.float64
            )
    return features


_WANTED = {
    "IP length": ("mean", "std", "min", "max"),
    "payload": ("mean", "std", "min", "max"),
    "TTL": ("min", "max"),
    "window": ("first", "mean", "min", "max"),
}


def group_statistics(values: Array, group: IntArray, count: int) -> dict[str, FloatArray]:
    """First, mean, standard deviation, min and max of values [N] in each of `count` groups.

    Args:
        values: Numbers [N].
        group: int64 [N], ascending, 0..count-1.
        count: Groups, G.

    Returns:
        Name -> float64 [G], NaN for a group without values.
    """
    column = values.astype(np.float64)
    size = np.bincount(group, minlength=count)
    starts = np.searchsorted(group, np.arange(count))
    some = size > 0
    safe = np.maximum(size, 1)
    mean = np.bincount(group, column, minlength=count) / safe
    spread = np.bincount(group, (column - mean[group]) ** 2, minlength=count) / safe
    found = {"mean": mean, "std": np.sqrt(spread)}
    for name, reduced in (
        ("first", _reduced(column, starts, some, None)),
        ("min", _reduced(column, starts, some, np.minimum)),
        ("max", _reduced(column, starts, some, np.maximum)),
    ):
        found[name] = reduced
    return {name: np.where(some, result, np.nan) for name, result in found.items()}


def _reduced(
    column: FloatArray, starts: IntArray, some: NDArray[np.bool_], how: np.ufunc | None
) -> FloatArray:
    result = np.zeros(starts.size)
    if some.any():
        rows = starts[some]
        result[some] = column[rows] if how is None else how.reduceat(column, rows)
    return result


def _gap_features(
    times_ns: IntArray, session: IntArray, starts: IntArray, count: int
) -> dict[str, FloatArray]:
    inside = session[1:] == session[:-1]
    gap_s = (np.diff(times_ns) / NS_PER_S)[inside]
    group = session[1:][inside]
    size = np.bincount(group, minlength=count)
    first = np.searchsorted(group, np.arange(count))
    ranked = gap_s[np.lexsort((gap_s, group))]  # ascending within each session
    median = np.full(count, np.nan)
    some = size > 0
    low, high = first + (size - 1) // 2, first + size // 2
    median[some] = (ranked[low[some]] + ranked[high[some]]) / 2
    ends = np.append(starts[1:], session.size) - 1
    features = {"duration": (times_ns[ends] - times_ns[starts]) / NS_PER_S}
    statistics = group_statistics(gap_s, group, count)
    for name in ("mean", "std", "min", "max"):
        features[f"gap {name}"] = statistics[name]
    features["gap median"] = median
    return features
