"""Six anomaly detectors that score rows of numbers: the higher, the stranger."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import FloatArray

CONTAMINATION = 0.1  # share of the training rows that a detector calls anomalous
NAMES = ("OCSVM", "autoencoder", "GMM", "isolation forest", "KDE", "PCA")

Score = Callable[[FloatArray], FloatArray]


def train_detector(
    name: str, rows: FloatArray, *, seed: int
) -> Callable[[FloatArray], NDArray[Any]]:
    """Train one detector on rows, float64 [M, K].

    Columns are brought to mean 0 and standard deviation 1 of the training rows.

    Args:
        name: One of NAMES.
        rows: At least two rows.
        seed: Seed of what is random in it.

    Returns:
        What says of other rows, [L, K], which are anomalous: score above the 90 % quantile of
        the scores of the training rows, bool [L].
    """
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    # a column that is constant but for rounding must not be blown up
    spread = np.where(spread > 1e-9 * (1 + np.abs(rows).max(axis=0)), spread, 1.0)
    own = (rows - mean) / spread
    score = _TRAINERS[name](own, seed)
    limit = float(np.quantile(score(own), 1 - CONTAMINATION))
    return lambda others: score((others - mean) / spread) > limit


def _one_class_svm(rows: FloatArray, seed: int) -> Score:
    from sklearn.svm import OneClassSVM

    model = OneClassSVM(nu=CONTAMINATION, gamma="scale").fit(rows)
    return lambda others: -np.asarray(model.decision_function(others), dtype=np.float64)


def _mixture(rows: FloatArray, seed: int) -> Score:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    count = min(5, len(np.unique(rows, axis=0)))
    model = GaussianMixture(
        count, covariance_type="diag", reg_covar=1e-3, max_iter=50, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 50 steps do for a threshold
        model.fit(rows)
    return lambda others: -np.asarray(model.score_samples(others), dtype=np.float64)


def _isolation_forest(rows: FloatArray, seed: int) -> Score:
    from sklearn.ensemble import IsolationForest

    model = IsolationForest(n_estimators=50, random_state=seed).fit(rows)
    return lambda others: -np.asarray(model.score_samples(others), dtype=np.float64)


def _kernel_density(rows: FloatArray, seed: int) -> Score:
    from sklearn.neighbors import KernelDensity

    model = KernelDensity(bandwidth="scott").fit(rows)
    return lambda others: -np.asarray(model.score_samples(others), dtype=np.float64)


def _principal_components(rows: FloatArray, seed: int) -> Score:
    """Error of the reconstruction from the components that hold 90 % of the variance."""
    _, strengths, axes = np.linalg.svd(rows, full_matrices=False)
    power = np.cumsum(strengths**2)
    kept = int(np.searchsorted(power, 0.9 * power[-1])) + 1 if power[-1] > 0 else 1
    axes = axes[:kept]

    def score(others: FloatArray) -> FloatArray:
        left = others - others @ axes.T @ axes
        return np.asarray(np.sqrt((left**2).sum(axis=1)), dtype=np.float64)

    return score


def _autoencoder(rows: FloatArray, seed: int) -> Score:
    """Error of the reconstruction through a layer of 8."""
    import torch
    from torch import nn

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # so small a net only loses by more
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        width = rows.shape[1]
        net = nn.Sequential(
            nn.Linear(width, 16),
            nn.LeakyReLU(),
            nn.Linear(16, 8),
            nn.LeakyReLU(),
            nn.Linear(8, 16),
            nn.LeakyReLU(),
            nn.Linear(16, width),
        )
        data = torch.as_tensor(rows, dtype=torch.float32)
        optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
        for _ in range(20):
            for batch in torch.split(torch.randperm(len(data)), 64):
                optimizer.zero_grad()
                loss = nn.functional.mse_loss(net(data[batch]), data[batch])
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
    torch.set_num_threads(threads)

    def score(others: FloatArray) -> FloatArray:
        with torch.no_grad():
            seen = torch.as_tensor(others, dtype=torch.float32)
            error = (net(seen) - seen).square().sum(dim=1).sqrt()
        return np.asarray(error.numpy(), dtype=np.float64)

    return score


_TRAINERS: dict[str, Callable[[FloatArray, int], Score]] = {
    "OCSVM": _one_class_svm,
    "autoencoder": _autoencoder,
    "GMM": _mixture,
    "isolation forest": _isolation_forest,
    "KDE": _kernel_density,
    "PCA": _principal_components,
}
