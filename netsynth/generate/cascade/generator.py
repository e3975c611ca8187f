"""CascadeGAN: fitted in phases, sampled from level 0 down to the records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsynth.errors import ModelError
from netsynth.generate.cascade.assembly import Assembly, assemble
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.fitting import Fitting
from netsynth.generate.cascade.learned import Learned, prepare
from netsynth.generate.cascade.pairs import PAIRS
from netsynth.generate.cascade.precision import forked_random
from netsynth.generate.cascade.weights import check_weights
from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.limits import slow_down
from netsynth.generate.transformer.training import FitControl
from netsynth.numbers import Array
from netsynth.tables import EncodedTrace

log = logging.getLogger(__name__)

LEVELS = ("starts", *PAIRS, "joint")
SHARE_OF_TIME = {"starts": 0.15, "tuples": 0.2, "series": 0.25, "records": 0.75, "joint": 1.0}


class CascadeGenerator:
    """Level 0 and three pairs of generator and critic."""

    def __init__(self, *, layout: TraceLayout, config: CascadeConfig, seed: int = 0) -> None:
        self.layout, self.config, self.seed = layout, config, seed
        self.device = torch.device("cpu")
        self.learned: Learned | None = None
        self.outcomes: dict[str, dict[str, Any]] = {}
        self.largest_window = 0  # flows in the largest window learned from

    def to(self, device: torch.device | str) -> CascadeGenerator:
        """Move the weights to `device`."""
        self.device = torch.device(device)
        if self.learned is not None:
            self.learned.starts.to(self.device)
            self.learned.cascade.to(self.device)
        return self

    def fit(
        self,
        traces: list[EncodedTrace],
        *,
        seed: int,
        report: Callable[[str, float, str], None] = lambda *_: None,
        stop: Callable[[], bool] = lambda: False,
        minutes: float | None = None,
        checkpoint: Callable[[], None] = lambda: None,
    ) -> dict[str, dict[str, Any]]:
        """Train the phases that are not yet done: level 0, each pair alone, all together.

        Args:
            traces: Windows to learn from, with the static view.
            seed: Of shuffles, held-out choice and noise.
            report: Told level, share done and a text.
            stop: Asked often; True ends at the best weights so far, phase unfinished.
            minutes: Bound of the whole fit.
            checkpoint: Called when a phase is done.

        Returns:
            Outcome of each phase that is done.

        Raises:
            ModelError: If the traces lack the static view, or a loss is not a number.
        """
        self.largest_window = max([self.largest_window, *(len(t) for t in traces)])
        began = time.monotonic()
        if self.learned is None:
            self.learned = prepare(traces, self.layout, self.config, seed=self.seed)
            self.to(self.device)
        fit = Fitting(self.learned, traces, self.config, seed=seed, device=self.device)
        for level in LEVELS:
            if level in self.outcomes:
                continue
            report(level, 0.0, "")
            deadline = None
            if minutes is not None:
                left = max(minutes * 60 - (time.monotonic() - began), 0)
                deadline = time.monotonic() + left * SHARE_OF_TIME[level]
            control = FitControl(report=partial(report, level), stop=stop, deadline=deadline)
            with forked_random(self.device):
                torch.manual_seed(seed)
                outcome = fit.run(level, control)
            if stop():
                break
            self.outcomes[level] = outcome
            log.info("%s %s", level, outcome)
            checkpoint()
        return self.outcomes

    def sample(
        self,
        window_count: int,
        *,
        seed: int,
        allowed: Mapping[str, NDArray[np.bool_]] | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> Iterator[EncodedTrace]:
        """Draw `window_count` windows side by side and hand them out one by one.

        Args:
            window_count: How many.
            seed: The same seed, count and weights draw the same windows.
            allowed: Tokens that a column may take, bool [size] by the column's name. Flows are
                drawn as learned, and the others left out.
            weights: How much likelier flows of a class become, by its name: "elephant" (the 1 %
                of flows of most packets), "mouse" (those of at most the median), or "label:NAME"
                by the label's token. Other flows become rarer, the rate of flows stays.

        Raises:
            ModelError: If nothing was learned yet.
            ConfigError: If a class is unknown or its weight not positive.
        """
        if self.learned is None:
            raise ModelError("the model has learned nothing yet; fit it first")
        random = torch.Generator(device=self.device).manual_seed(seed)
        rng = np.random.default_rng([seed, 5])
        check_weights(dict(weights or {}), label_count=self.learned.scales.label_count)
        drawing = Assembly(
            layout=self.layout, config=self.config, learned=self.learned, random=random, rng=rng,
            allowed=dict(allowed or {}), weights=dict(weights or {}), device=self.device,
            flow_limit=2 * self.largest_window + 100,
        )  # fmt: skip
        for window in assemble(drawing, window_count):
            yield slow_down(window, self.learned.fastest)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays."""
        header: dict[str, Any] = {
            "config": asdict(self.config),
            "largest_window": self.largest_window,
            "outcomes": self.outcomes,
        }
        if self.learned is None:
            return header, {}
        facts, arrays = self.learned.to_parts()
        return header | facts, arrays

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, layout: TraceLayout
    ) -> CascadeGenerator:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If parts are missing or do not fit.
        """
        try:
            generator = cls(layout=layout, config=CascadeConfig(**header["config"]))
            generator.largest_window = int(header["largest_window"])
            generator.outcomes = {k: dict(v) for k, v in header["outcomes"].items()}
            if "tuples" in header:
                generator.learned = Learned.from_parts(
                    header, arrays, layout=layout, config=generator.config
                )
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return generator
