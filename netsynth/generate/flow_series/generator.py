"""The generator of captures that has a generator of series make the flows."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from netsynth.dataset import SeriesSchema
from netsynth.errors import ConfigError, ModelError
from netsynth.generate.contract import TraceLayout
from netsynth.generate.doppelganger.config import DoppelgangerConfig
from netsynth.generate.flow_series.drawing import FlowTokens, draw_flow_tokens
from netsynth.generate.flow_series.flow_table import FlowBook, as_dataset, fit_flow_book
from netsynth.generate.flow_series.packets import record_drawing
from netsynth.generate.flow_series.steps import draw_steps, first_and_spans
from netsynth.generate.registry import find_series_generator
from netsynth.generate.series_contract import SeriesGenerator
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.limits import fastest_rates, slow_down
from netsynth.generate.transformer.record_fit import fit_records
from netsynth.generate.transformer.record_level import RecordLevel
from netsynth.generate.transformer.total_drawing import draw_totals, fit_to_room
from netsynth.generate.transformer.training import FitControl
from netsynth.generate.transformer.windows import cut_window, window_groups
from netsynth.generate.tst.config import PublishedConfig, TstConfig
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.tables import EncodedTrace

log = logging.getLogger(__name__)

Config = DoppelgangerConfig | TstConfig
NAMES: dict[type, str] = {DoppelgangerConfig: "doppelganger", TstConfig: "tst"}
SHARE_OF_TIME = {"flows": 0.6, "records": 1.0}  # of the minutes that are left
JUDGED = 5000  # flows drawn to see how well their kinds are met


@dataclass(slots=True)
class Learned:
    """What is learned of flows.

    Attributes:
        book: What is known by counting.
        series: Draws metadata and series.
        fastest: See `limits.fastest_rates`.
    """

    book: FlowBook
    series: SeriesGenerator
    fastest: FloatArray


class FlowSeriesGenerator:
    """Flows by DoppelGANger or TST, as the config says; packets by the shared record level."""

    def __init__(self, *, layout: TraceLayout, config: Config, seed: int = 0) -> None:
        if isinstance(config, TstConfig) and config.mode == "published":
            raise ConfigError(
                "tst as published knows no metadata, so captures need mode=likelihood"
            )
        self.layout, self.config, self.seed = layout, config, seed
        self.device = torch.device("cpu")
        self.learned: Learned | None = None
        self.record_config = TransformerConfig(
            record_width=config.record_width, max_epochs=config.max_epochs
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.records = RecordLevel(
                layout.token_fields, layout.record_fields, self.record_config
            )
        self.records.eval()
        self.outcomes: dict[str, dict[str, Any]] = {}

    def to(self, device: torch.device | str) -> FlowSeriesGenerator:
        """Move the weights to `device`."""
        self.device = torch.device(device)
        self.records.to(self.device)
        if self.learned is not None:
            self.learned.series.to(str(self.device))
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
        """Train what is not yet trained: the flows, then the records.

        Args:
            traces: Windows to learn from.
            seed: Of shuffles, held-out choice and noise.
            report: Told level, share done and a text.
            stop: Asked often; True ends it, the level unfinished.
            minutes: Bound of the whole fit.
            checkpoint: Called when there is something worth keeping.

        Returns:
            Outcome of each level that is done.
        """
        began = time.monotonic()
        fits = {"flows": self._fit_flows, "records": self._fit_records}
        for level, fit in fits.items():
            if level in self.outcomes:
                continue
            left = None
            if minutes is not None:
                left = max(minutes - (time.monotonic() - began) / 60, 1e-3) * SHARE_OF_TIME[level]
            outcome = fit(
                traces, seed=seed, report=report, stop=stop, minutes=left, checkpoint=checkpoint
            )
            if stop():
                break
            self.outcomes[level] = outcome
            log.info("%s: %s", level, outcome)
            checkpoint()
        return self.outcomes

    def _fit_flows(
        self, traces: list[EncodedTrace], *, seed: int, report: Callable[[str, float, str], None],
        stop: Callable[[], bool], minutes: float | None, checkpoint: Callable[[], None],
    ) -> dict[str, Any]:  # fmt: skip
        if self.learned is None:
            book = fit_flow_book(traces, self.layout)
            self.learned = Learned(
                book=book,
                series=self._series_generator(book.schema, sum(len(t) for t in traces)),
                fastest=fastest_rates(traces),
            )  # fmt: skip
            self.to(self.device)
        book, series = self.learned.book, self.learned.series
        dataset = as_dataset(traces, book, np.random.default_rng([seed, 1]))
        series.fit(
            dataset, seed=seed, report=report, stop=stop, minutes=minutes, checkpoint=checkpoint
        )
        if stop():
            return {}
        kinds = book.kinds_of(series.sample_metadata(JUDGED, seed=seed))
        count = book.plans.kinds.shape[0]
        learned = np.bincount(book.kinds_of(dataset.metadata), minlength=count) / len(dataset)
        drawn = np.bincount(kinds[kinds >= 0], minlength=count) / JUDGED
        met = float(np.minimum(learned, drawn).sum())
        return {**series.to_parts()[0]["outcomes"], "kinds_met": met}

    def _fit_records(
        self, traces: list[EncodedTrace], *, seed: int, report: Callable[[str, float, str], None],
        stop: Callable[[], bool], minutes: float | None, checkpoint: Callable[[], None],
    ) -> dict[str, Any]:  # fmt: skip
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        control = FitControl(report=partial(report, "records"), stop=stop, deadline=deadline)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            outcome = fit_records(
                self.records, traces, config=self.record_config, seed=seed, device=self.device,
                control=control,
            )  # fmt: skip
        return asdict(outcome)

    def _series_generator(self, schema: SeriesSchema, flow_count: int) -> SeriesGenerator:
        """Make the untrained generator that the config is of.

        DoppelGANger takes counts by their logarithm, and no more steps than capture_steps.
        """
        config: Config = self.config
        if isinstance(config, DoppelgangerConfig):
            epochs = -(-config.capture_steps // max(flow_count // config.batch, 1))
            config = dataclasses.replace(
                config, log_counts=True, max_epochs=min(config.max_epochs, epochs)
            )
        found = find_series_generator(NAMES[type(config)])
        return found(schema=schema, config=config, seed=self.seed)

    def sample(
        self,
        window_count: int,
        *,
        seed: int,
        allowed: Mapping[str, NDArray[np.bool_]] | None = None,
    ) -> Iterator[EncodedTrace]:
        """Draw `window_count` windows side by side and hand them out one by one.

        Raises:
            ModelError: If nothing was learned yet.
            ConfigError: If no learned flow fulfils the conditions.
        """
        if self.learned is None or "records" not in self.outcomes:
            raise ModelError("the model has learned no packets yet; fit it, or go on with --resume")
        rng = np.random.default_rng([seed, 5])
        random = torch.Generator(device=self.device).manual_seed(seed)
        layout, learned = self.layout, self.learned
        made = draw_flow_tokens(
            learned.book, learned.series, layout, window_count, allowed=dict(allowed or {}),
            seed=seed, rng=rng,
        )  # fmt: skip
        numbers = FlowTokens(layout, learned.fastest, self.device)
        flows = made.flows(self.device)
        totals = draw_totals(
            numbers, flows, window_ns=layout.window_ns,
            largest_payload=int(self.records.length.rows[:, -1].max()), random=random,
        )  # fmt: skip
        flows, totals, order = fit_to_room(flows, totals, window_ns=layout.window_ns)
        metadata = made.metadata[order.cpu().numpy()]
        draw = record_drawing(self.records, layout, self.record_config, seed=seed, random=random)
        ends = np.searchsorted(made.window, np.arange(window_count + 1)).tolist()
        for first, last in window_groups(totals.packets_and_bytes[:, :2].sum(1), ends):
            some = slice(ends[first], ends[last])
            part, amounts = flows.take(some), totals.take(some)
            steps = self._steps(part, amounts, metadata[some], seed=seed + some.start, rng=rng)
            records = draw(part, amounts, steps, some.start)
            for index in range(first, last):
                rows = slice(ends[index] - ends[first], ends[index + 1] - ends[first])
                window = cut_window(layout, rows, part, amounts, steps, records)
                yield slow_down(window, learned.fastest)

    def _steps(
        self, flows: DrawnFlows, totals: DrawnTotals, metadata: FloatArray,
        *, seed: int, rng: np.random.Generator,
    ) -> DrawnSeries:  # fmt: skip
        """Draw the active steps of flows."""
        from netsynth.dataset import join_datasets

        assert self.learned is not None
        grid = {"window_ns": self.layout.window_ns, "step_count": self.layout.step_count}
        first, spans = first_and_spans(flows, totals, **grid)
        lengths: IntArray = np.minimum(spans, self.learned.book.schema.max_length)
        parts = self.learned.series.sample(
            first.size, seed=seed, metadata=metadata, lengths=lengths
        )
        drawn = join_datasets(list(parts)) if first.size else None
        if drawn is None:
            nothing = np.zeros(0, dtype=np.int64)
            return DrawnSeries(
                offsets=np.zeros(1, dtype=np.int64), step=nothing, values=nothing.reshape(0, 4)
            )
        return draw_steps(drawn, first, spans, flows, totals, rng=rng, **grid)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays."""
        header: dict[str, Any] = {
            "name": NAMES[type(self.config)],
            "config": asdict(self.config),
            "outcomes": self.outcomes,
        }
        arrays = {
            f"records.{k}": v.detach().cpu().numpy() for k, v in self.records.state_dict().items()
        }
        if self.learned is None:
            return header, arrays
        book = self.learned.book
        header |= {"schema": book.schema.to_dict(), "attributes": list(book.names)}
        header["series"], of_series = self.learned.series.to_parts()
        arrays |= {f"book.{k}": v for k, v in book.to_arrays().items()}
        arrays |= {f"series.{k}": v for k, v in of_series.items()}
        return header, arrays | {"fastest": self.learned.fastest}

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, layout: TraceLayout
    ) -> FlowSeriesGenerator:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If parts are missing or do not fit.
        """

        def of(prefix: str) -> dict[str, Array]:
            return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}

        try:
            made = cls(layout=layout, config=_config(header))
            weights = {k: torch.as_tensor(v) for k, v in of("records.").items()}
            made.records.load_state_dict(weights)
            made.outcomes = {k: dict(v) for k, v in header["outcomes"].items()}
            if "schema" in header:
                schema = SeriesSchema.from_dict(header["schema"])
                book = FlowBook.from_arrays(
                    of("book."), schema=schema, names=tuple(header["attributes"])
                )
                series = find_series_generator(header["name"]).from_parts(
                    header["series"], of("series."), schema=schema
                )
                made.learned = Learned(book=book, series=series, fastest=arrays["fastest"])
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return made


def _config(header: dict[str, Any]) -> Config:
    settings = dict(header["config"])
    if header["name"] == "doppelganger":
        return DoppelgangerConfig(**settings)
    settings["published"] = PublishedConfig(**settings["published"])
    return TstConfig(**settings)
