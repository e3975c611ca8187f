"""What every generator is: learns windows of an encoded trace, and draws new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from netsynth.numbers import Array
from netsynth.tables import EncodedTrace, TokenField


@dataclass(frozen=True, kw_only=True, slots=True)
class TraceLayout:
    """What a generator must know of the traces it learns and makes; fields as in EncodedTrace."""

    token_fields: tuple[TokenField, ...]
    series_fields: tuple[TokenField, ...]
    record_fields: tuple[TokenField, ...]
    window_ns: int
    step_count: int


class Generator(Protocol):
    """A generator; `GENERATORS` names the classes."""

    def __init__(self, *, layout: TraceLayout, config: Any, seed: int = 0) -> None:
        """Make an untrained generator; `seed` is of its first weights."""

    def to(self, device: str) -> Self:
        """Move to "cpu" or "cuda"."""

    def fit(
        self,
        traces: list[EncodedTrace],
        *,
        seed: int,
        report: Callable[[str, float, str], None],
        stop: Callable[[], bool],
        minutes: float | None,
        checkpoint: Callable[[], None],
    ) -> object:
        """Learn, or go on with what `from_parts` restored unfinished.

        Args:
            traces: Windows to learn from.
            seed: Of shuffles and the held-out choice.
            report: Told the level that is trained, the share done (0..1) and a few words.
            stop: Asked often; True ends at the best weights so far.
            minutes: Most minutes to take, or None.
            checkpoint: Called whenever there is something worth keeping.
        """

    def sample(
        self,
        window_count: int,
        *,
        seed: int,
        allowed: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> Iterator[EncodedTrace]:
        """Draw windows.

        Args:
            window_count: How many.
            seed: The same seed and count draw the same windows.
            allowed: Tokens that a column may take, bool [size] by the column's name.
        """

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what was learned as JSON-able facts and named arrays.

        "outcomes" among the facts says, by level, how the fit went.
        """

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, layout: TraceLayout
    ) -> Self:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If parts are missing or do not fit.
        """
