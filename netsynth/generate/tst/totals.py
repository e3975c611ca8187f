"""Totals as buckets of what samples of the same group reach, and back.

A DSL line's total is large at what is little for a cable line. So a total is told by its rank
among the samples of its group (the value of the metadata column that tells most of it): the token
is a stretch of ranks, the same in every group, and what a rank stands for differs by group.

Where lengths differ, a total may follow from the length while the mean of a record does not (jobs
that use a share of a processor for as long as they run), or the other way round (transfers of a
size, over whatever takes time). Whichever hangs on the length less is told, and stands for both.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from netsynth.generate.transformer.counts import STRENGTHS
from netsynth.numbers import Array, FloatArray, IntArray

SMALLEST_GAIN = 0.003  # nats a sample that a column must save to be worth counting by
SMALLEST_GROUP = 30  # samples, below which a group is taken like all
FINE = 8  # ranks kept inside a bucket
SAMPLES_PER_RANK = 4  # that a group has, at least, for each rank it keeps of its own


@dataclass(frozen=True, kw_only=True, slots=True)
class TotalCodec:
    """Totals <-> tokens, by group.

    Attributes:
        group_place: Metadata column that groups the samples, or -1.
        edges: float64 [B+1], ranks in 0..1 between which each bucket lies.
        ranks: float64 [Q], ranks at which totals are kept, ascending from 0 to 1.
        totals: float64 [G, Q], totals at those ranks in each group, ascending.
        is_mean: Whether what is called a total here is a mean: the total over the records.
    """

    group_place: int
    edges: FloatArray
    ranks: FloatArray
    totals: FloatArray
    is_mean: bool = False

    @property
    def size(self) -> int:
        """Number of tokens."""
        return int(self.edges.size - 1)

    def _groups(self, metadata: FloatArray) -> IntArray:
        if self.group_place < 0:
            return np.zeros(len(metadata), dtype=np.int64)
        return metadata[:, self.group_place].astype(np.int64)

    def encode(self, totals: FloatArray, metadata: FloatArray) -> IntArray:
        """Return tokens [F] of totals [F] of samples with metadata [F, m].

        Equal totals share the middle of their ranks.
        """
        tokens = np.zeros(totals.size, dtype=np.int64)
        groups = self._groups(metadata)
        for group in np.unique(groups):
            mine, known = groups == group, self.totals[group]
            below = np.searchsorted(known, totals[mine], side="left")
            above = np.searchsorted(known, totals[mine], side="right")
            inner = np.interp(totals[mine], known, self.ranks)
            ties = (self.ranks[np.minimum(below, known.size - 1)] + self.ranks[above - 1]) / 2
            rank = np.where(above - below > 1, ties, inner)
            tokens[mine] = np.searchsorted(self.edges, rank, side="right") - 1
        return np.clip(tokens, 0, self.size - 1)

    def decode(self, tokens: IntArray, metadata: FloatArray, uniform: Array) -> FloatArray:
        """Return totals [F]; `uniform` [F] in 0..1 places them in their buckets."""
        low, high = self.edges[tokens], self.edges[tokens + 1]
        rank = low + uniform * (high - low)
        groups, made = self._groups(metadata), np.zeros(tokens.size)
        for group in np.unique(groups):
            mine = groups == group
            made[mine] = np.interp(rank[mine], self.ranks, self.totals[group])
        return made

    def to_arrays(self, name: str) -> dict[str, Array]:
        """Return the codec as named arrays, for a model file."""
        return {
            f"{name}.group_place": np.array([self.group_place]),
            f"{name}.edges": self.edges,
            f"{name}.ranks": self.ranks,
            f"{name}.totals": self.totals,
            f"{name}.is_mean": np.array([self.is_mean]),
        }

    @staticmethod
    def from_arrays(name: str, arrays: dict[str, Array]) -> TotalCodec:
        """Inverse of `to_arrays`."""
        return TotalCodec(
            group_place=int(arrays[f"{name}.group_place"][0]),
            edges=arrays[f"{name}.edges"].astype(np.float64),
            ranks=arrays[f"{name}.ranks"].astype(np.float64),
            totals=arrays[f"{name}.totals"].astype(np.float64),
            is_mean=bool(arrays[f"{name}.is_mean"][0]) if f"{name}.is_mean" in arrays else False,
        )


def fit_total_codec(
    totals: FloatArray,
    lengths: IntArray,
    metadata: FloatArray,
    categories: list[tuple[int, int]],
    *,
    bins: int,
) -> TotalCodec:
    """Choose groups and buckets for totals.

    Args:
        totals: float64 [F].
        lengths: int64 [F], records.
        metadata: float64 [F, m].
        categories: Place and number of values of each categorical metadata column.
        bins: Buckets of about equal mass; a few more keep the tail.
    """
    means = totals / lengths
    is_mean = rank_correlation(means, lengths) < rank_correlation(totals, lengths)
    totals = means if is_mean else totals
    edges = np.unique(np.concatenate([np.arange(bins) / bins, 1 - 0.5 ** np.arange(1, 3) / bins]))
    edges = np.append(edges, 1.0)
    inner = np.arange(FINE) / FINE
    steps = edges[:-1, None] + inner * np.diff(edges)[:, None]
    ranks = np.append(steps.ravel(), 1.0)
    whole = _quantiles(totals, ranks)
    alone = TotalCodec(
        group_place=-1, edges=edges, ranks=ranks, totals=whole[None], is_mean=is_mean
    )
    tokens = alone.encode(totals, metadata)
    nothing = np.zeros(totals.size, dtype=np.int64)
    best = left_out_nats(nothing, tokens, alone.size) - SMALLEST_GAIN
    place, values = -1, 1
    for candidate, count in categories:
        loss = left_out_nats(metadata[:, candidate].astype(np.int64), tokens, alone.size)
        if loss < best:
            best, place, values = loss, candidate, count
    if place < 0:
        return alone
    table = np.repeat(whole[None], values, axis=0)
    for group in range(values):
        some = totals[metadata[:, place] == group]
        if some.size >= SMALLEST_GROUP:
            table[group] = _quantiles(some, ranks)
    return dataclasses.replace(alone, group_place=place, totals=table)


def rank_correlation(numbers: FloatArray, lengths: IntArray) -> float:
    """Absolute rank correlation of numbers [F] and lengths [F]; 0 where either never changes."""
    from scipy.stats import spearmanr

    if np.ptp(numbers) == 0 or np.ptp(lengths) == 0:
        return 0.0
    return abs(float(spearmanr(numbers, lengths).statistic))


def left_out_nats(code: IntArray, target: IntArray, size: int) -> float:
    """Nats a sample of `target` [F] given `code` [F], by counts of all other samples.

    The counts under a code are blended with those of all, by as much as serves best.
    """
    code = np.unique(code, return_inverse=True)[1]
    base = np.bincount(target, minlength=size).astype(np.float64)
    share = (base[target] - 0.9) / (target.size - 1 + 0.1 * size)
    pair = code * size + target
    _, place, count = np.unique(pair, return_inverse=True, return_counts=True)
    alike = count[place] - 1.0  # other samples of the same code and target
    known = np.bincount(code)[code] - 1.0  # other samples of the same code
    return float(min(-np.log((alike + s * share) / (known + s)).mean() for s in STRENGTHS))


def _quantiles(totals: FloatArray, ranks: FloatArray) -> FloatArray:
    """Totals at ranks, from no more points than one for each few samples."""
    own = np.linspace(0, 1, max(totals.size // SAMPLES_PER_RANK, 2) + 1)
    coarse = ranks if own.size > ranks.size else own
    return np.asarray(np.interp(ranks, coarse, np.quantile(totals, coarse)))
