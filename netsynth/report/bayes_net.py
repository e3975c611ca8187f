"""A Bayesian network over the fields of sessions: the classic generator of flow records."""

from __future__ import annotations

import numpy as np

from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.report.sessions import session_features
from netsynth.report.trace import NS_PER_S, Trace
from netsynth.tables import ACK, SYN, TCP, PacketTable

BINS = 16  # of a numeric field
CATEGORIES = 60  # of a named field; rarer ones share one bin
NUMBERS = (
    "duration",
    "forward packets",
    "backward packets",
    "forward bytes",
    "backward bytes",
    "forward window mean",
    "backward window mean",
)
NAMED = ("protocol", "forward target port", "forward TTL min", "backward TTL min")


def sample_bayes_net(trace: Trace, rng: np.random.Generator) -> PacketTable:
    """Learn a Chow-Liu tree over session fields, sample as many sessions, and write packets.

    Fields are start, hosts, service, packets, bytes, duration, TTLs and windows, discretised;
    inside a bin values are drawn from those seen there. Packets of a session get even sizes and
    uniform times: the network knows records, not dialogues.

    References:
        Chow and Liu, "Approximating Discrete Probability Distributions with Dependence Trees",
        IEEE Trans. Inf. Theory 14, 1968.
    """
    fields = _fields(trace)
    codes = np.column_stack([_discretise(values) for values in fields.values()])
    parents = chow_liu_tree(codes)
    drawn = sample_tree(codes, parents, count=trace.session_count, rng=rng)
    values = {
        name: _undo(real, codes[:, column], drawn[:, column], rng)
        for column, (name, real) in enumerate(fields.items())
    }
    return _packets(trace, values, rng)


def _fields(trace: Trace) -> dict[str, FloatArray]:
    features = session_features(trace)
    _, first = np.unique(trace.session, return_index=True)
    packets = trace.packets
    fields = {
        "start": (packets.time_ns[first] - packets.time_ns[0]) / NS_PER_S,
        "initiator": packets.src[first].astype(np.float64),
        "responder": packets.dst[first].astype(np.float64),
    }
    fields |= {name: features[name] for name in NUMBERS + NAMED}
    return {name: np.nan_to_num(values, nan=-1.0) for name, values in fields.items()}


def _discretise(values: FloatArray) -> IntArray:
    """Codes 0, 1, ...: the values themselves where they are few, else bins of equal count."""
    distinct, codes, counts = np.unique(values, return_inverse=True, return_counts=True)
    if distinct.size <= CATEGORIES:
        return codes.astype(np.int64)
    rank = (np.cumsum(counts) - 1) * BINS // values.size
    return np.unique(rank[codes], return_inverse=True)[1].astype(np.int64)


def _undo(
    real: FloatArray, codes: IntArray, drawn: IntArray, rng: np.random.Generator
) -> FloatArray:
    """For each drawn code a real value that has it, float64 [S]."""
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    place = starts[drawn] + (rng.random(drawn.size) * counts[drawn]).astype(np.int64)
    found: FloatArray = real[order][place]
    return found


def mutual_information(first: IntArray, second: IntArray) -> float:
    """Mutual information of two columns of codes, in bits, at least 0.

    Args:
        first: Codes 0, 1, ..., int64 [S].
        second: Codes 0, 1, ..., int64 [S].
    """
    width = int(second.max()) + 1
    joint = np.bincount(first * width + second, minlength=(int(first.max()) + 1) * width)
    p = joint.reshape(-1, width) / first.size
    expected = p.sum(axis=1, keepdims=True) * p.sum(axis=0, keepdims=True)
    some = p > 0
    return max(float((p[some] * np.log2(p[some] / expected[some])).sum()), 0.0)


def chow_liu_tree(codes: IntArray) -> list[tuple[int, int]]:
    """The tree of largest mutual information over the columns of codes, int64 [S, D].

    Returns:
        (column, parent) in an order in which parents come first; the root, column 0, has -1.
    """
    count = codes.shape[1]
    reached, tree = {0}, [(0, -1)]
    known = {
        (a, b): mutual_information(codes[:, a], codes[:, b])
        for a in range(count)
        for b in range(a + 1, count)
    }
    while len(reached) < count:  # Prim's algorithm
        edges = [
            (known[min(a, b), max(a, b)], -b, a)
            for a in reached
            for b in range(count)
            if b not in reached
        ]
        _, negative, parent = max(edges)
        reached.add(-negative)
        tree.append((-negative, parent))
    return tree


def sample_tree(
    codes: IntArray, tree: list[tuple[int, int]], *, count: int, rng: np.random.Generator
) -> IntArray:
    """Sample rows of codes from a tree: each column given its parent, int64 [count, D]."""
    drawn = np.zeros((count, codes.shape[1]), dtype=np.int64)
    for column, parent in tree:
        if parent < 0:
            drawn[:, column] = rng.choice(codes[:, column], count)
            continue
        # a child's value is that of a random real row with the parent's value
        value = codes[:, column].astype(np.float64)
        drawn[:, column] = _undo(value, codes[:, parent], drawn[:, parent], rng)
    return drawn


def _packets(trace: Trace, values: dict[str, FloatArray], rng: np.random.Generator) -> PacketTable:
    sides = [
        np.maximum(values[f"{way} packets"], least).astype(np.int64)
        for way, least in (("forward", 1), ("backward", 0))
    ]
    counts = sides[0] + sides[1]
    session = np.repeat(np.arange(counts.size), counts)
    place = np.arange(session.size) - np.repeat(np.cumsum(counts) - counts, counts)
    forward = place < sides[0][session]
    packets = PacketTable.zeros(session.size, trace.packets.addresses)
    start_s = values["start"][session]
    # the first packet opens the session; a random order of the rest mixes the directions
    share = np.where(place == 0, 0.0, rng.random(session.size))
    time_s = start_s + share * np.maximum(values["duration"], 0.0)[session]
    packets.time_ns[:] = trace.packets.time_ns[0] + (time_s * NS_PER_S).astype(np.int64)
    packets.protocol[:] = values["protocol"][session]
    packets.ip_version[:] = 4
    client = rng.integers(32_768, 61_000, counts.size)[session]
    service = values["forward target port"].astype(np.int64)[session]
    hosts = [values[name].astype(np.int64)[session] for name in ("initiator", "responder")]
    packets.src[:], packets.dst[:] = _directed(forward, *hosts)
    packets.src_port[:], packets.dst_port[:] = _directed(forward, client, service)
    for column, name in (("ttl", "TTL min"), ("window", "window mean")):
        both = [
            np.maximum(values[f"{way} {name}"], 0.0)[session] for way in ("forward", "backward")
        ]
        getattr(packets, column)[:] = np.where(forward, *both)
    sizes = [
        np.clip(values[f"{way} bytes"] / np.maximum(side, 1), 20, 65_535)[session]
        for way, side in zip(("forward", "backward"), sides, strict=True)
    ]
    packets.ip_length[:] = np.where(forward, *sizes)
    tcp = packets.protocol == TCP
    headers = np.where(tcp, 40, 28)
    packets.payload_length[:] = np.maximum(packets.ip_length.astype(np.int64) - headers, 0)
    packets.tcp_flags[tcp] = np.where(place == 0, SYN, ACK)[tcp]
    return packets.take(np.argsort(packets.time_ns, kind="stable"))


def _directed(forward: Array, one: Array, other: Array) -> tuple[Array, Array]:
    """Source and destination of each packet, given those of the session."""
    return np.where(forward, one, other), np.where(forward, other, one)
