"""What every generator of series is: learns a dataset of samples, and draws new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, Self

from netsynth.dataset import SeriesDataset, SeriesSchema
from netsynth.numbers import Array, FloatArray, IntArray


class SeriesGenerator(Protocol):
    """A generator of series; `SERIES_GENERATORS` names the classes."""

    def __init__(self, *, schema: SeriesSchema, config: Any, seed: int = 0) -> None:
        """Make an untrained generator; `seed` is of its first weights."""

    def to(self, device: str) -> Self:
        """Move to "cpu" or "cuda"."""

    def fit(
        self,
        dataset: SeriesDataset,
        *,
        seed: int,
        report: Callable[[str, float, str], None],
        stop: Callable[[], bool],
        minutes: float | None,
        checkpoint: Callable[[], None],
    ) -> object:
        """Learn, or go on with what `from_parts` restored unfinished.

        Arguments as in `netsynth.generate.contract.Generator.fit`. "outcomes" of `to_parts` names
        the levels that are done.
        """

    def sample(
        self,
        count: int,
        *,
        seed: int,
        metadata: FloatArray | None = None,
        lengths: IntArray | None = None,
    ) -> Iterator[SeriesDataset]:
        """Draw `count` samples in parts.

        Args:
            count: How many in all.
            seed: The same seed and arguments draw the same samples.
            metadata: Cells to keep to, float64 [count, m]; NaN where the generator chooses.
            lengths: Records of each series, int64 [count]; None lets the generator choose.
        """

    def sample_metadata(self, count: int, *, seed: int) -> FloatArray:
        """Draw metadata alone, float64 [count, m].

        Raises:
            ConfigError: If this generator knows none.
        """

    def retrain_metadata(
        self,
        metadata: FloatArray,
        *,
        seed: int,
        report: Callable[[str, float, str], None],
        stop: Callable[[], bool],
    ) -> None:
        """Learn another distribution of metadata, given as rows [R, m]; series stay as they are.

        Raises:
            ConfigError: If this generator cannot.
        """

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what was learned as JSON-able facts and named arrays."""

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, schema: SeriesSchema
    ) -> Self:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If parts are missing or do not fit.
        """
