"""All that a cascade has learned: how it is prepared, kept in a model file, and restored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from netsynth.generate.cascade.books import CountBook, TupleBook, fit_count_book
from netsynth.generate.cascade.calibration import Calibration, no_calibration
from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.data import all_conditions, all_series, learn_scales
from netsynth.generate.cascade.flow_data import CONDITIONS, choose_step_count, record_reverse
from netsynth.generate.cascade.number_maps import NumberMaps, no_maps
from netsynth.generate.cascade.pairs import Cascade, as_numpy
from netsynth.generate.cascade.plan import SizePlans, fit_size_plans
from netsynth.generate.cascade.record_data import window_keys
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.generate.cascade.start_fit import start_gaps
from netsynth.generate.cascade.start_level import (
    StartLevel,
    fit_condition_codecs,
    octaves,
    packet_tokens,
)
from netsynth.generate.cascade.tuple_layout import TupleLayout, fit_tuple_layout, tuple_tokens
from netsynth.generate.cascade.tuples import TupleMaker, fit_tuple_maker
from netsynth.generate.cascade.weights import WeightClasses, fit_weight_classes
from netsynth.generate.contract import TraceLayout
from netsynth.generate.transformer.limits import fastest_rates
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec
from netsynth.tables import EncodedTrace
from netsynth.tcp_windows import NOT_SET, running_windows

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
    plans: SizePlans
    maps: NumberMaps
    starts: StartLevel
    cascade: Cascade
    fastest: FloatArray
    largest_payload: int

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Return JSON-able facts and named arrays, for a model file."""
        facts: dict[str, Any] = {
            "step_count": self.step_count,
            "tuples": self.maker.layout.to_header(),
            "attributes": list(self.maker.names),
            "label_count": self.scales.label_count,
            "largest_payload": self.largest_payload,
        }
        arrays: dict[str, Array] = {"fastest": self.fastest}
        for name, codec in self.codecs.items():
            arrays |= codec.to_arrays(f"codecs.{name}")
        arrays |= self.scales.to_arrays()
        arrays |= self.maker.book.to_arrays("book")
        arrays |= self.maker.attributes.to_arrays("attributes")
        arrays |= self.windows.to_arrays("windows")
        for part in (self.classes, self.calibration, self.plans, self.maps):
            arrays |= part.to_arrays()
        for prefix, net in (("starts", self.starts), ("cascade", self.cascade)):
            arrays |= {f"{prefix}.{k}": as_numpy(v) for k, v in net.state_dict().items()}
        return facts, arrays

    @staticmethod
    def from_parts(
        facts: dict[str, Any], arrays: dict[str, Array], *, layout: TraceLayout,
        config: CascadeConfig,
    ) -> Learned:  # fmt: skip
        """Inverse of `to_parts`; raises what malformed parts raise."""
        codecs = {
            name: NumberCodec.from_arrays(f"codecs.{name}", arrays)
            for name in ("gap", *CONDITIONS[1:])
            if f"codecs.{name}.atoms" in arrays
        }
        scales = CascadeScales.from_arrays(arrays, label_count=int(facts["label_count"]))
        tuples = TupleLayout.from_header(facts["tuples"])
        step_count = int(facts["step_count"])
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
                names=tuple(facts["attributes"]),
            ),
            windows=CountBook.from_arrays("windows", arrays),
            classes=WeightClasses.from_arrays(arrays),
            calibration=Calibration.from_arrays(arrays),
            plans=SizePlans.from_arrays(arrays),
            maps=NumberMaps.from_arrays(arrays),
            starts=starts,
            cascade=cascade,
            fastest=arrays["fastest"],
            largest_payload=int(facts["largest_payload"]),
        )


def prepare(
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
    windows = np.concatenate([_tcp_windows(t) for t in traces])
    return Learned(
        step_count=step_count,
        codecs=codecs,
        scales=scales,
        maker=maker,
        windows=fit_count_book(np.concatenate(senders), windows[:, None]),
        classes=fit_weight_classes(codecs, numbers, label_count=label_count),
        calibration=no_calibration(codecs),
        plans=_plans(traces, codecs),
        maps=no_maps(layout.record_fields[0].size),
        starts=starts,
        cascade=cascade,
        fastest=fastest_rates(traces),
        largest_payload=max(1, *(int(t.record_bytes.max(initial=1)) for t in traces)),
    )


def _tcp_windows(trace: EncodedTrace) -> IntArray:
    """Window tokens of the records, all told as such: no net of this generator sees the one
    before, and drawn changes would add up to any window; int64 [N]."""
    item = trace.record_fields[2]
    assert item.number is not None
    assert item.windows is not None
    tokens = trace.records[:, 2].astype(np.int64)
    flow = np.repeat(np.arange(len(trace)), np.diff(trace.record_offsets))
    value = running_windows(tokens, flow * 2 + record_reverse(trace), item.windows)
    told = item.size - item.number.size + item.number.encode(value)
    return np.where((tokens > 0) & (value != NOT_SET), told, tokens)


def _plans(traces: list[EncodedTrace], codecs: dict[str, NumberCodec]) -> SizePlans:
    """Learn the plans of windows that hold a flow."""
    held = [t for t in traces if len(t)]
    return fit_size_plans(
        [packet_tokens(codecs, t.totals[:, :2]) for t in held],
        [float(t.start_ns[-1]) / t.window_ns for t in held],
        forward=octaves(codecs["packets_forward"]),
        reverse=octaves(codecs["packets_reverse"]),
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
