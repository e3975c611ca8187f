"""How far two datasets of series are apart, figure by figure; 0 is equal for all of them."""

from __future__ import annotations

import numpy as np

from netsynth.dataset import SeriesDataset
from netsynth.errors import TableError
from netsynth.numbers import FloatArray

MOST_LAGS = 549  # of the autocorrelation
CHUNK_CELLS = 4_000_000  # padded cells transformed at once


def earth_movers(one: FloatArray, other: FloatArray) -> float:
    """Wasserstein-1 distance of two samples of numbers, in their unit; best 0."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(one, other))


def divergence(one: FloatArray, other: FloatArray, size: int) -> float:
    """Jensen-Shannon divergence of two samples of categories 0..size-1, in bits, 0..1; best 0."""
    shares = []
    for cells in (one, other):
        count = np.bincount(cells.astype(np.int64), minlength=size).astype(np.float64)
        shares.append(count / count.sum())
    middle = (shares[0] + shares[1]) / 2

    def entropy(share: FloatArray) -> float:
        some = share[share > 0]
        return float(-(some * np.log2(some)).sum())

    return max(0.0, entropy(middle) - (entropy(shares[0]) + entropy(shares[1])) / 2)


def mean_autocorrelation(dataset: SeriesDataset, measurement: int) -> FloatArray:
    """Autocorrelation of a measurement, averaged over series.

    Series that never change, or have fewer than three records, do not count; a series counts for
    the lags below its length.

    Returns:
        float64 [L], lags 0 to the longest series' (549 at most); empty where no series counts.

    References:
        Lin et al., IMC 2020, section 5.1, figure 1; Box and Jenkins, "Time Series Analysis",
        section 2.1 (the estimate divided by N at all lags).
    """
    lengths = dataset.lengths
    rows = np.flatnonzero(lengths >= 3)
    if rows.size == 0:
        return np.zeros(0)
    lags = min(int(lengths[rows].max()), MOST_LAGS + 1)
    total, count = np.zeros(lags), np.zeros(lags)
    rows = rows[np.argsort(lengths[rows], kind="stable")]
    at = 0
    while at < rows.size:
        size = max(1, CHUNK_CELLS // int(lengths[rows[min(at + 256, rows.size - 1)]]))
        some = dataset.take(rows[at : at + min(size, 256)])
        at += min(size, 256)
        table = some.dense()[:, :, measurement]  # [B, T]
        active = np.arange(table.shape[1]) < some.lengths[:, None]
        centred = np.where(active, table - _mean(table, some)[:, None], 0.0)
        power = np.fft.rfft(centred, n=2 * table.shape[1], axis=1)
        products = np.fft.irfft(np.abs(power) ** 2, axis=1)[:, : min(table.shape[1], lags)]
        changes = products[:, 0] > 1e-12 * np.maximum((table**2).sum(axis=1), 1e-300)
        lag = np.arange(products.shape[1])
        counts = changes[:, None] & (lag < some.lengths[:, None])
        share = np.divide(products, products[:, :1], out=np.zeros_like(products), where=counts)
        total[: lag.size] += share.sum(axis=0)
        count[: lag.size] += counts.sum(axis=0)
    known = count > 0
    return total[known] / count[known]


def autocorrelation_error(one: SeriesDataset, other: SeriesDataset, measurement: int) -> float:
    """Mean squared error of the mean autocorrelation, lags from 1 that both know; best 0."""
    parts = [mean_autocorrelation(data, measurement) for data in (one, other)]
    lags = min(part.size for part in parts)
    if lags < 2:
        return 0.0
    return float(((parts[0][1:lags] - parts[1][1:lags]) ** 2).mean())


def describe_samples(dataset: SeriesDataset) -> FloatArray:
    """What a classifier sees of each series: length, and of each measurement how it runs.

    Returns:
        float64 [F, 1 + 7 K]: log length; then total, mean, deviation, smallest, largest, first
        and last value of each measurement, on a signed logarithmic scale.
    """
    starts, lengths = dataset.offsets[:-1], dataset.lengths
    columns = [np.log1p(lengths)]
    for place in range(dataset.values.shape[1]):
        cell = dataset.values[:, place]
        total = np.add.reduceat(cell, starts)
        mean = total / lengths
        square = np.add.reduceat((cell - np.repeat(mean, lengths)) ** 2, starts) / lengths
        ends = [cell[starts], cell[dataset.offsets[1:] - 1]]
        least, most = np.minimum.reduceat(cell, starts), np.maximum.reduceat(cell, starts)
        for number in (total, mean, np.sqrt(square), least, most, *ends):
            columns.append(np.sign(number) * np.log1p(np.abs(number)))
    return np.stack(columns, axis=1)


def require_alike(real: SeriesDataset, synthetic: SeriesDataset) -> None:
    """Refuse to compare datasets of other columns.

    Raises:
        TableError: If names or kinds of columns differ; says which.
    """
    for ours, theirs in (
        (real.schema.metadata, synthetic.schema.metadata),
        (real.schema.measurements, synthetic.schema.measurements),
    ):
        mine, yours = [(c.name, c.kind) for c in ours], [(c.name, c.kind) for c in theirs]
        if mine != yours:
            raise TableError(f"the columns differ: {mine} and {yours}; give a --schema for both")


def _mean(table: FloatArray, dataset: SeriesDataset) -> FloatArray:
    return np.asarray(table.sum(axis=1) / dataset.lengths)
