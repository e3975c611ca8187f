"""The default generator: three levels, each trained by likelihood."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from netsynth.errors import ModelError
from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.flow_drawing import draw_flows
from netsynth.generate.transformer.flow_fit import fit_flows
from netsynth.generate.transformer.flow_level import FlowLevel
from netsynth.generate.transformer.limits import slow_down
from netsynth.generate.transformer.record_drawing import draw_records
from netsynth.generate.transformer.record_fit import fit_records
from netsynth.generate.transformer.record_level import RecordLevel
from netsynth.generate.transformer.series_drawing import draw_series
from netsynth.generate.transformer.series_fit import fit_series
from netsynth.generate.transformer.series_level import SeriesLevel
from netsynth.generate.transformer.total_drawing import draw_totals, fit_to_room
from netsynth.generate.transformer.training import FitControl, FitOutcome
from netsynth.generate.transformer.windows import cut_window, window_groups
from netsynth.numbers import Array
from netsynth.tables import EncodedTrace

if TYPE_CHECKING:
    from netsynth.generate.transformer.cpu_sampling import CpuSampler

log = logging.getLogger(__name__)

LEVELS = ("flows", "series", "records")
SHARE_OF_TIME = {"flows": 0.25, "series": 0.15, "records": 1.0}  # of the minutes that are left


class TransformerGenerator:
    """Flow, series and record levels, and how they are fitted and sampled."""

    def __init__(self, *, layout: TraceLayout, config: TransformerConfig, seed: int = 0) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.levels = nn.ModuleDict(
                {
                    "flows": FlowLevel(layout.token_fields, config),
                    "series": SeriesLevel(layout.token_fields, layout.series_fields, config),
                    "records": RecordLevel(layout.token_fields, layout.record_fields, config),
                }
            )
        self.levels.eval()
        self.layout = layout
        self.config = config
        self.outcomes: dict[str, FitOutcome] = {}
        self.largest_window = 0  # flows in the largest window learned from

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.levels.parameters()).device

    def to(self, device: torch.device | str) -> TransformerGenerator:
        """Move the weights to `device`."""
        self.levels.to(device)
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
    ) -> dict[str, FitOutcome]:
        """Train the levels that are not yet trained, one after the other.

        Args:
            traces: Windows to learn from.
            seed: Of shuffles, held-out choice and dropout.
            report: Told level, share done and a text.
            stop: Asked often; True ends at the best weights so far, level unfinished.
            minutes: Bound of the whole fit.
            checkpoint: Called when a level is done.

        Returns:
            Outcome of each level that is done.
        """
        self.largest_window = max([self.largest_window, *(len(t) for t in traces)])
        began = time.monotonic()
        fits: dict[str, Callable[..., FitOutcome | None]] = {
            "flows": fit_flows, "series": fit_series, "records": fit_records,
        }  # fmt: skip
        for name in LEVELS:
            if name in self.outcomes:
                continue
            report(name, 0.0, "")
            deadline = None
            if minutes is not None:
                left = max(minutes * 60 - (time.monotonic() - began), 0)
                deadline = time.monotonic() + left * SHARE_OF_TIME[name]
            control = FitControl(
                report=partial(report, name),
                stop=stop,
                deadline=deadline,
            )
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                outcome = fits[name](
                    self.levels[name],
                    traces,
                    config=self.config,
                    seed=seed,
                    device=self.device,
                    control=control,
                )
            if stop():
                break
            self.outcomes[name] = outcome or FitOutcome.nothing(name)
            log.info("%s", self.outcomes[name])
            checkpoint()
        return self.outcomes

    def sample(
        self,
        window_count: int,
        *,
        seed: int,
        allowed: dict[str, Array] | None = None,
    ) -> Iterator[EncodedTrace]:
        """Draw `window_count` windows side by side and hand them out one by one."""
        layout, device = self.layout, self.device
        random = torch.Generator(device=device).manual_seed(seed)
        flow, series, record = (self.levels[name] for name in LEVELS)
        assert isinstance(flow, FlowLevel)
        assert isinstance(series, SeriesLevel)
        assert isinstance(record, RecordLevel)
        fast = self._cpu_sampler(flow, series, record)
        flow_limit = 2 * self.largest_window + 100
        if fast:
            flows = fast.draw_flows(
                window_count=window_count,
                window_ns=layout.window_ns,
                seed=seed,
                random=random,
                allowed=allowed or {},
                flow_limit=flow_limit,
            )
        else:
            masks = {k: torch.as_tensor(v, device=device) for k, v in (allowed or {}).items()}
            with _one_thread():
                flows = draw_flows(
                    flow,
                    window_count=window_count,
                    window_ns=layout.window_ns,
                    random=random,
                    allowed=masks,
                    flow_limit=flow_limit,
                )
        totals = draw_totals(
            flow,
            flows,
            window_ns=layout.window_ns,
            largest_payload=int(record.length.rows[:, -1].max()),
            random=random,
        )
        flows, totals, _ = fit_to_room(flows, totals, window_ns=layout.window_ns)
        shared: dict[str, Any] = {"window_ns": layout.window_ns, "step_count": layout.step_count}
        ends = torch.searchsorted(
            flows.window, torch.arange(window_count + 1, device=device)
        ).tolist()
        for first, last in window_groups(totals.packets_and_bytes[:, :2].sum(1), ends):
            some = slice(ends[first], ends[last])
            part, amounts = flows.take(some), totals.take(some)
            if fast:
                own = {**shared, "first_flow": some.start, "seed": seed}
                steps = fast.draw_series(part, amounts, **own)
                records = fast.draw_records(part, amounts, steps, **own)
            else:
                own = {**shared, "random": random}
                steps = draw_series(series, part, amounts, **own)
                records = draw_records(record, part, amounts, steps, config=self.config, **own)
            for index in range(first, last):
                rows = slice(ends[index] - ends[first], ends[index + 1] - ends[first])
                window = cut_window(layout, rows, part, amounts, steps, records)
                yield slow_down(window, flow.fastest.cpu().numpy())

    def _cpu_sampler(
        self, flow: FlowLevel, series: SeriesLevel, record: RecordLevel
    ) -> CpuSampler | None:
        """Return the levels compiled for a CPU; None on other devices, or without numba."""
        if self.device.type != "cpu" or find_spec("numba") is None:
            return None
        from netsynth.generate.transformer.cpu_sampling import CpuSampler  # late: imports numba

        return CpuSampler(flow, series, record)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return what is learned as JSON-able facts and named arrays."""
        from dataclasses import asdict

        header = {
            "config": asdict(self.config),
            "largest_window": self.largest_window,
            "outcomes": {k: asdict(v) for k, v in self.outcomes.items()},
        }
        arrays = {k: v.detach().cpu().numpy() for k, v in self.levels.state_dict().items()}
        return header, arrays

    @classmethod
    def from_parts(
        cls, header: dict[str, Any], arrays: dict[str, Array], *, layout: TraceLayout
    ) -> TransformerGenerator:
        """Inverse of `to_parts`.

        Raises:
            ModelError: If weights are missing or of another shape.
        """
        try:
            generator = cls(layout=layout, config=TransformerConfig(**header["config"]))
            weights: dict[str, Tensor] = {k: torch.as_tensor(v) for k, v in arrays.items()}
            generator.levels.load_state_dict(weights)
            generator.largest_window = int(header["largest_window"])
            generator.outcomes = {k: FitOutcome(**v) for k, v in header["outcomes"].items()}
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"the model's weights do not fit ({reason}); fit it again") from error
        return generator


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Run the small matrices of one flow after the other without handing them to and fro."""
    count = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(count)
