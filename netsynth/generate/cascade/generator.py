"""CascadeGAN: fitted in phases, sampled from level 0 down to the records."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsynth.errors import ModelError
from netsynth.generate.cascade.assembly import Assembly, assemble
from netsynth.generate.cascade.books import CountBook, TupleBook, fit_count_book, size_classes
from netsynth.generate.cascade.calibration import Calibration, calibrate, no_calibration
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.data import (
    all_conditions,
    all_series,
    hold_out,
    lay_out_data,
    learn_scales,
)
from netsynth.generate.cascade.flow_data import (
    CONDITIONS,
    choose_step_count,
    column_of,
    record_reverse,
)
from netsynth.generate.cascade.pairs import PAIRS, Batches, Cascade, as_numpy
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.generate.cascade.start_fit import (
    fit_starts,
    join_data,
    start_data,
    start_gaps,
    start_tokens,
)
from netsynth.generate.cascade.start_level import SKELETON, StartLevel, fit_condition_codecs
from netsynth.generate.cascade.training import phase_steps, train_phase
from netsynth.generate.cascade.tuples import (
    TupleLayout,
    TupleMaker,
    fit_tuple_layout,
    fit_tuple_maker,
    tuple_tokens,
    window_keys,
)
from netsynth.generate.cascade.weights import WeightClasses, fit_weight_classes
from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.limits import fastest_rates, keep_flows, within_limits
from netsynth.generate.transformer.training import FitControl
from netsynth.numbers import Array, NumberCodec
from netsynth.tables import EncodedTrace

log = logging.getLogger(__name__)

LEVELS = ("starts", *PAIRS, "joint")
SHARE_OF_TIME = {"starts": 0.15, "tuples": 0.2, "series": 0.25, "records": 0.75, "joint": 1.0}
DROPOUT = 0.1


@dataclass(slots=True)
class Learned:
    """All that is learned: nets, books and scales."""

    step_count: int
    codecs: dict[str, NumberCodec]
    scales: CascadeScales
    maker: TupleMaker
    windows: CountBook
    classes: WeightClasses
    calibration: Calibration
    starts: StartLevel
    cascade: Cascade
    fastest: NDArray[np.float64]
    largest_payload: int


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
            self.learned = _prepare(traces, self.layout, self.config, seed=self.seed)
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
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                outcome = fit.run(level, control)
            fit.reweigh()
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
        boosts = self.learned.classes.boosts(dict(weights or {}), device=self.device)
        boosts = self.learned.calibration.add_to(boosts, device=self.device)
        drawing = Assembly(
            layout=self.layout, config=self.config, learned=self.learned, random=random, rng=rng,
            allowed=dict(allowed or {}), device=self.device,
        )  # fmt: skip
        limit = 2 * self.largest_window + 100
        for window in assemble(drawing, window_count, flow_limit=limit, boosts=boosts):
            yield keep_flows(window, within_limits(window, self.learned.fastest))

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays."""
        header: dict[str, Any] = {
            "config": asdict(self.config),
            "largest_window": self.largest_window,
            "outcomes": self.outcomes,
        }
        learned = self.learned
        if learned is None:
            return header, {}
        header["step_count"] = learned.step_count
        header["tuples"] = learned.maker.layout.to_header()
        header["attributes"] = list(learned.maker.names)
        header["label_count"] = learned.scales.label_count
        header["largest_payload"] = learned.largest_payload
        arrays: dict[str, Array] = {"fastest": learned.fastest}
        for name, codec in learned.codecs.items():
            arrays |= codec.to_arrays(f"codecs.{name}")
        arrays |= learned.scales.to_arrays()
        arrays |= learned.maker.book.to_arrays("book")
        arrays |= learned.maker.attributes.to_arrays("attributes")
        arrays |= learned.windows.to_arrays("windows")
        arrays |= learned.classes.to_arrays()
        arrays |= learned.calibration.to_arrays()
        for prefix, net in (("starts", learned.starts), ("cascade", learned.cascade)):
            arrays |= {f"{prefix}.{k}": as_numpy(v) for k, v in net.state_dict().items()}
        return header, arrays

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
                generator.learned = _restore(header, arrays, layout, generator.config)
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return generator


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

    def run(self, level: str, control: FitControl) -> dict[str, Any]:
        """Run one phase; say how it went."""
        if level == "starts":
            return self._starts(control)
        names = PAIRS if level == "joint" else (level,)
        if level == "joint" and self.config.joint_share == 0:
            return {"name": level, "steps": 0}
        steps = phase_steps(self.batches, names, self.config)
        outcome = train_phase(
            self.batches, names, config=self.config, control=control, most_steps=steps
        )
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
        held_out = hold_out(self.numbers.shape[0], share=self.config.held_out, rng=rng)
        data = join_data(parts)
        outcome = fit_starts(
            learned.starts, data, torch.as_tensor(held_out, device=self.device),
            config=self.config, seed=self.seed, control=control,
        )  # fmt: skip
        columns = [SKELETON.index(f"packets_{way}") for way in ("forward", "reverse")]
        learned.calibration = calibrate(
            learned.starts, learned.codecs, data.tokens[:, columns].cpu().numpy(),
            window_ns=self.traces[0].window_ns,
            flow_limit=2 * max(len(t) for t in self.traces) + 100, seed=self.seed,
        )  # fmt: skip
        return dict(outcome)

    @torch.no_grad()
    def reweigh(self) -> None:
        """Learn how much rarer G1 makes each combination of endpoints than it is."""
        maker, random = self.learned.maker, torch.Generator(device=self.device).manual_seed(0)
        made = self.learned.cascade.make_tuples(self.data.conditions, random)
        places = [CONDITIONS.index(f"packets_{way}") for way in ("forward", "reverse")]
        maker.book.weights[:] = maker.reweigh(
            maker.book.nearest(as_numpy(made)),
            maker.book.nearest(as_numpy(self.data.tuples)),
            size_classes(self.numbers[:, places].sum(axis=1)),
        )


def _prepare(
    traces: list[EncodedTrace], layout: TraceLayout, config: CascadeConfig, *, seed: int
) -> Learned:
    """Learn books and scales, and make untrained nets."""
    step_count = config.series_steps or choose_step_count(traces)
    series = all_series(traces, step_count=step_count)
    numbers = all_conditions(traces, series)
    gaps = np.concatenate([start_gaps(t.start_ns) for t in traces])
    codecs = fit_condition_codecs(gaps, numbers)
    label_count = next(f.size for f in layout.token_fields if f.name == "label")
    scales = learn_scales(traces, series, numbers, label_count=label_count)
    maker = fit_tuple_maker(traces, fit_tuple_layout(traces))
    starts, cascade = _nets(codecs, scales, maker.layout, layout, config, step_count, seed=seed)
    senders = [
        window_keys(
            t.records[:, 0].astype(np.int64), t.record_offsets, record_reverse(t), tuple_tokens(t)
        )
        for t in traces
    ]
    windows = np.concatenate([t.records[:, 2] for t in traces]).astype(np.int64)
    return Learned(
        step_count=step_count,
        codecs=codecs,
        scales=scales,
        maker=maker,
        windows=fit_count_book(np.concatenate(senders), windows[:, None]),
        classes=fit_weight_classes(codecs, numbers, label_count=label_count),
        calibration=no_calibration(codecs),
        starts=starts,
        cascade=cascade,
        fastest=fastest_rates(traces),
        largest_payload=max(1, *(int(t.record_bytes.max(initial=1)) for t in traces)),
    )


def _nets(
    codecs: dict[str, NumberCodec], scales: CascadeScales, tuples: TupleLayout,
    layout: TraceLayout, config: CascadeConfig, step_count: int, *, seed: int,
) -> tuple[StartLevel, Cascade]:  # fmt: skip
    """Make untrained nets."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        starts = StartLevel(
            codecs, label_count=scales.label_count, width=config.condition_width, dropout=DROPOUT
        )
        cascade = Cascade(
            condition_width=scales.condition_width, layout=tuples, kind=layout.record_fields[0],
            step_count=step_count, config=config,
        )  # fmt: skip
    starts.eval()
    cascade.eval()
    return starts, cascade


def _restore(
    header: dict[str, Any], arrays: dict[str, Array], layout: TraceLayout, config: CascadeConfig
) -> Learned:
    """Rebuild what was learned from a model's parts."""
    names = ("gap", *CONDITIONS[1:])
    codecs = {
        name: NumberCodec.from_arrays(f"codecs.{name}", arrays)
        for name in names
        if f"codecs.{name}.atoms" in arrays
    }
    scales = CascadeScales.from_arrays(arrays, label_count=int(header["label_count"]))
    tuples = TupleLayout.from_header(header["tuples"])
    step_count = int(header["step_count"])
    starts, cascade = _nets(codecs, scales, tuples, layout, config, step_count, seed=0)
    for prefix, net in (("starts", starts), ("cascade", cascade)):
        weights = {
            k.removeprefix(f"{prefix}."): torch.as_tensor(v)
            for k, v in arrays.items()
            if k.startswith(f"{prefix}.")
        }
        net.load_state_dict(weights)
    return Learned(
        step_count=step_count,
        codecs=codecs,
        scales=scales,
        maker=TupleMaker(
            layout=tuples,
            book=TupleBook.from_arrays("book", arrays),
            attributes=CountBook.from_arrays("attributes", arrays),
            names=tuple(header["attributes"]),
        ),
        windows=CountBook.from_arrays("windows", arrays),
        classes=WeightClasses.from_arrays(arrays),
        calibration=Calibration.from_arrays(arrays),
        starts=starts,
        cascade=cascade,
        fastest=arrays["fastest"],
        largest_payload=int(header["largest_payload"]),
    )
