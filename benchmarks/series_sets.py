"""Series that generators are measured on: simulations, and flows of a capture."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from netsynth.dataset import (
    CATEGORICAL,
    COUNT,
    NUMERIC,
    Column,
    SeriesDataset,
    SeriesSchema,
)

ENDS = ("FINISH", "KILL", "FAIL", "EVICT")


def web_like(count: int, *, length: int = 550, seed: int = 0) -> SeriesDataset:
    """Simulate page views: a heavy-tailed scale, a week, a year, and days that resemble the last.

    Views are exp(s + w sin(2 pi (t - p) / 7) + y cos(2 pi t / 365) + e_t), rounded. The scale s is
    normal with deviation 2 (its mean depends on the site), w is 0.3, 0.15 or 0.45 by access, y is
    0.3, p one of seven days by site, and e_t is autoregressive of order one: e_t = 0.6 e_(t-1) +
    noise of deviation 0.25, so that its autocorrelation at lag k is 0.6^k.
    """
    random = np.random.default_rng(seed)
    sizes = (9, 3, 2)
    metadata = np.stack([random.integers(0, size, count) for size in sizes], axis=1)
    scale = random.normal(3 + 0.3 * metadata[:, 0], 2, count)
    week = np.array([0.3, 0.15, 0.45])[metadata[:, 1]]
    day = np.arange(length)
    noise = random.normal(0, 0.25, (count, length)).astype(np.float32)
    noise[:, 0] /= 0.8  # the deviation of e_t is 0.25 / sqrt(1 - 0.36)
    for t in range(1, length):
        noise[:, t] += 0.6 * noise[:, t - 1]
    rhythm = week[:, None] * np.sin(2 * np.pi * (day - metadata[:, :1] % 7) / 7)
    views = np.exp(scale[:, None] + rhythm + 0.3 * np.cos(2 * np.pi * day / 365) + noise)
    names = ("site", "access", "agent")
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=tuple(
                Column(name=name, kind=CATEGORICAL, values=tuple(map(str, range(size))))
                for name, size in zip(names, sizes, strict=True)
            ),
            measurements=(
                Column(name="views", kind=COUNT, low=0, high=float(np.round(views.max()))),
            ),
            max_length=length,
        ),
        metadata=metadata.astype(np.float64),
        values=np.round(views).astype(np.float64).reshape(-1, 1),
        offsets=np.arange(count + 1) * length,
    )


def cluster_like(count: int, *, seed: int = 0) -> SeriesDataset:
    """Simulate cluster jobs: 1 to 2,500 records of nine usages, and how they end.

    Ends are FINISH 63 %, KILL 28 %, FAIL 7 %, EVICT 2 %. Lengths have two modes: 1 to 4 records,
    or about 15 (log-normal, deviation 0.9), the long mode for 20, 60, 40 and 50 % of the ends.
    Usages are log-normal around a level of the job that depends on the end, and follow the
    record before by half.
    """
    random = np.random.default_rng(seed)
    end = random.choice(4, count, p=(0.63, 0.28, 0.07, 0.02))
    is_long = random.random(count) < np.array([0.2, 0.6, 0.4, 0.5])[end]
    long_lengths = np.exp(random.normal(np.log(15), 0.9, count))
    lengths = np.where(is_long, long_lengths, random.integers(1, 5, count)).astype(np.int64)
    lengths = np.clip(lengths, 1, 2500)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    place = np.random.default_rng(1).normal(0, 1, (4, 9))  # of the ends, the same for all seeds
    level = place[end] + random.normal(0, 0.5, (count, 9))
    usage = random.normal(0, 0.3, (int(offsets[-1]), 9))
    step = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    for t in range(1, int(lengths.max())):
        rows = np.flatnonzero(step == t)
        usage[rows] += 0.5 * usage[rows - 1]
    values = np.exp(np.repeat(level, lengths, axis=0) + usage)
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=(Column(name="end", kind=CATEGORICAL, values=ENDS),),
            measurements=tuple(
                Column(name=f"usage_{k}", kind=NUMERIC, low=0, high=float(values[:, k].max()))
                for k in range(9)
            ),
            max_length=int(lengths.max()),
            label="end",
        ),
        metadata=end[:, None].astype(np.float64),
        values=values,
        offsets=offsets,
    )


def flows_of(capture: Path, *, step_ns: int = 50_000_000) -> SeriesDataset:
    """Packets of each flow in each step from its first packet on, of flows of two steps or more."""
    from netsynth.capture import read_capture
    from netsynth.demux import assemble_flows

    packets, _ = read_capture(capture)
    flows = assemble_flows(packets)
    first = flows.packets.time_ns[flows.offsets[:-1]]
    step = (flows.packets.time_ns - np.repeat(first, np.diff(flows.offsets))) // step_ns
    spans = step[flows.offsets[1:] - 1] + 1
    kept = np.flatnonzero(spans > 1)
    begins = np.zeros(spans.size, dtype=np.int64)
    begins[kept] = np.cumsum(spans[kept]) - spans[kept]
    of_packet = np.repeat(np.isin(np.arange(spans.size), kept), np.diff(flows.offsets))
    place = np.repeat(begins, np.diff(flows.offsets))[of_packet] + step[of_packet]
    values = np.bincount(place, minlength=int(spans[kept].sum())).astype(np.float64)
    ports, port = np.unique(flows.responder_port[kept], return_inverse=True)
    return SeriesDataset(
        schema=SeriesSchema(
            metadata=(Column(name="port", kind=CATEGORICAL, values=tuple(str(p) for p in ports)),),
            measurements=(Column(name="packets", kind=COUNT, low=0, high=float(values.max())),),
            max_length=int(spans[kept].max()),
        ),
        metadata=port.reshape(-1, 1).astype(np.float64),
        values=values[:, None],
        offsets=np.concatenate([[0], np.cumsum(spans[kept])]).astype(np.int64),
    )


def shuffled(data: SeriesDataset, random: np.random.Generator) -> SeriesDataset:
    """The same series with the records of each in another order."""
    order = np.lexsort((random.random(data.values.shape[0]), data.sample_of_record))
    return SeriesDataset(
        schema=data.schema, metadata=data.metadata, values=data.values[order], offsets=data.offsets
    )
