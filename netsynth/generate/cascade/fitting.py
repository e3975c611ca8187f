"""The data of a fit, and how each of its phases is run: level 0, each pair alone, all together."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from netsynth.generate.cascade.calibration import calibrate
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.data import all_conditions, all_series, hold_out, lay_out_data
from netsynth.generate.cascade.flow_data import column_of
from netsynth.generate.cascade.kind_fit import fit_kinds
from netsynth.generate.cascade.learned import Learned
from netsynth.generate.cascade.number_maps import fit_number_maps
from netsynth.generate.cascade.pairs import PAIRS, Batches
from netsynth.generate.cascade.precision import compile_generators
from netsynth.generate.cascade.start_fit import (
    fit_starts,
    join_data,
    start_data,
    start_gaps,
    start_tokens,
)
from netsynth.generate.cascade.start_level import SKELETON
from netsynth.generate.cascade.training import phase_steps, train_phase
from netsynth.generate.transformer.training import FitControl
from netsynth.tables import EncodedTrace

log = logging.getLogger(__name__)


class Fitting:
    """The data of a fit, and how each phase is run on it."""

    def __init__(
        self, learned: Learned, traces: list[EncodedTrace], config: CascadeConfig, *, seed: int,
        device: torch.device,
    ) -> None:  # fmt: skip
        self.learned, self.config, self.seed, self.device = learned, config, seed, device
        self.traces = traces
        series = all_series(traces, step_count=learned.step_count)
        self.numbers = all_conditions(traces, series)
        self.data = lay_out_data(
            traces, series, self.numbers, scales=learned.scales, layout=learned.maker.layout,
            config=config, rng=np.random.default_rng([seed, 1]), device=device,
        )  # fmt: skip
        self.batches = Batches(learned.cascade, self.data, learned.scales)
        if config.compiled and device.type == "cuda":
            compile_generators(learned.cascade)

    def run(self, level: str, control: FitControl) -> dict[str, Any]:
        """Run one phase; say how it went."""
        if level == "starts":
            return self._starts(control)
        names = PAIRS if level == "joint" else (level,)
        if level == "joint" and self.config.joint_share == 0:
            return {"name": level, "steps": 0}
        if level == "records":
            kinds = fit_kinds(self.batches, config=self.config, control=control)
            log.info("kinds %.3f nats after %d steps", kinds.held_out_nats, kinds.steps)
        steps = phase_steps(self.batches, names, self.config)
        outcome = train_phase(
            self.batches, names, config=self.config, control=control, most_steps=steps
        )
        if "records" in names:
            self.learned.maps = fit_number_maps(self.batches, seed=self.seed)
        return outcome.to_header()

    def _starts(self, control: FitControl) -> dict[str, Any]:
        learned, parts, at = self.learned, [], 0
        for trace in self.traces:
            rows = slice(at, at + len(trace))
            at += len(trace)
            tokens = start_tokens(
                learned.codecs, start_gaps(trace.start_ns), column_of(trace, "label"),
                self.numbers[rows],
            )  # fmt: skip
            parts.append(
                start_data(tokens, trace.start_ns, window_ns=trace.window_ns, device=self.device)
            )
        rng = np.random.default_rng([self.seed, 2])
        packets = np.concatenate([t.totals[:, :2].sum(axis=1) for t in self.traces])
        held_out = hold_out(packets, share=self.config.held_out, rng=rng)
        data = join_data(parts)
        outcome = fit_starts(
            learned.starts, data, torch.as_tensor(held_out, device=self.device),
            config=self.config, seed=self.seed, control=control,
        )  # fmt: skip
        columns = [SKELETON.index(f"packets_{way}") for way in ("forward", "reverse")]
        learned.calibration = calibrate(
            learned.starts, learned.codecs, data.tokens[:, columns].cpu().numpy(),
            learned_windows=len(self.traces), window_ns=self.traces[0].window_ns,
            seed=self.seed,
        )  # fmt: skip
        return dict(outcome)
