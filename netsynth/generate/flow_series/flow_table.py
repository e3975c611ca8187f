"""Flows of encoded traces as a SeriesDataset: fields as metadata, active steps as records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.dataset import CATEGORICAL, COUNT, NUMERIC, Column, SeriesDataset, SeriesSchema
from netsynth.generate.contract import TraceLayout
from netsynth.generate.flow_series.attributes import AttributeBook, fit_attribute_book
from netsynth.generate.flow_series.plans import SERVICE, WindowPlans, fit_window_plans
from netsynth.generate.flow_series.ranks import RankBook, fit_rank_book, spread
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.tables import SERIES_CHANNELS, EncodedTrace

KIND = ("label", "service", "shape", "responder", "initiator")
SHAPE = KIND.index("shape")
LASTING = "lasting"  # token of `stretch`, or behind those the token of `duration`
# Numbers of a flow, and the tokens beside service and shape that tell most of each.
NUMBERS: dict[str, tuple[str, ...]] = {
    "packets_forward": (),
    "packets_reverse": ("packets_forward",),
    "bytes_forward": ("packets_forward",),
    "bytes_reverse": ("packets_reverse",),
    LASTING: (),
}
START = "start"
RANK = "_rank"  # ends the names of metadata that are ranks
DRAWN = ("gap", *KIND, *NUMBERS, "stretch", "duration")  # columns that are no attributes


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowBook:
    """What is known of flows by counting: how tokens and metadata become each other.

    Attributes:
        schema: Of the dataset of flows.
        plans: Kinds of flows, and how many of each a window holds.
        ranks: Distributions of the NUMBERS.
        attributes: All other token columns.
        names: Their names.
    """

    schema: SeriesSchema
    plans: WindowPlans
    ranks: dict[str, RankBook]
    attributes: AttributeBook
    names: tuple[str, ...]

    def metadata_of(self, kinds: IntArray, numbers: dict[str, FloatArray]) -> FloatArray:
        """Metadata [F, m] of flows of `kinds` [F, 5]; `numbers` [F] in 0..1 by name."""
        cells = np.zeros((kinds.shape[0], len(self.schema.metadata)))
        for place, column in enumerate(self.schema.metadata):
            if column.is_categorical:
                known = np.array([int(value) for value in column.values])
                cells[:, place] = np.searchsorted(known, kinds[:, KIND.index(column.name)])
            else:
                cells[:, place] = np.clip(numbers[column.name.removesuffix(RANK)], 0, 1)
        return cells

    def kinds_of(self, metadata: FloatArray) -> IntArray:
        """Row of `plans.kinds` of each row of metadata [F, m]; -1 where it never occurred."""
        kinds = np.repeat(self.plans.kinds[:1], metadata.shape[0], axis=0)
        for place, column in enumerate(self.schema.metadata):
            if column.is_categorical:
                known = np.array([int(value) for value in column.values])
                kinds[:, KIND.index(column.name)] = known[metadata[:, place].astype(np.int64)]
        both = np.concatenate([self.plans.kinds, kinds])
        _, code = np.unique(both, axis=0, return_inverse=True)
        count = self.plans.kinds.shape[0]
        row = np.full(int(code.max()) + 1, -1, dtype=np.int64)
        row[code.ravel()[:count]] = np.arange(count)
        return row[code.ravel()[count:]]

    def tokens_of(
        self, kinds: IntArray, order: dict[str, FloatArray], rng: np.random.Generator
    ) -> dict[str, IntArray]:
        """Tokens [F] of the NUMBERS of flows of `kinds` [F, 5], in the order of what was drawn."""
        tokens: dict[str, IntArray] = {}
        for name, given in NUMBERS.items():
            keys = _keys(kinds, [tokens[other] for other in given])
            tokens[name] = self.ranks[name].decode(keys, order[name], rng.random(len(kinds)))
        return tokens

    def draw_attributes(self, kinds: IntArray, rng: np.random.Generator) -> dict[str, IntArray]:
        """Draw all other token columns of flows of `kinds` [F, 5], by name: int64 [F]."""
        rows = self.attributes.draw(kinds, rng)
        return {name: rows[:, i] for i, name in enumerate(self.names)}

    def to_arrays(self) -> dict[str, Array]:
        """Return what is counted as named arrays, for a model file."""
        arrays = self.plans.to_arrays() | self.attributes.to_arrays("attributes")
        for name, book in self.ranks.items():
            arrays |= book.to_arrays(f"ranks.{name}")
        return arrays

    @staticmethod
    def from_arrays(
        arrays: dict[str, Array], *, schema: SeriesSchema, names: tuple[str, ...]
    ) -> FlowBook:
        """Inverse of `to_arrays`."""
        return FlowBook(
            schema=schema,
            plans=WindowPlans.from_arrays(arrays),
            ranks={name: RankBook.from_arrays(f"ranks.{name}", arrays) for name in NUMBERS},
            attributes=AttributeBook.from_arrays("attributes", arrays),
            names=names,
        )


def fit_flow_book(traces: list[EncodedTrace], layout: TraceLayout) -> FlowBook:
    """Count the flows of windows."""
    kinds = [flow_kinds(trace) for trace in traces]
    shares = [trace.start_ns / trace.window_ns for trace in traces]
    every = np.concatenate(kinds)
    numbers = {name: np.concatenate([number_tokens(t)[name] for t in traces]) for name in NUMBERS}
    names = tuple(f.name for f in layout.token_fields if f.name not in DRAWN)
    rows = np.concatenate([np.stack([column_of(t, n) for n in names], axis=1) for t in traces])
    ranks = {
        name: fit_rank_book(_keys(every, [numbers[other] for other in given]), numbers[name])
        for name, given in NUMBERS.items()
    }
    return FlowBook(
        schema=_schema(traces, every),
        plans=fit_window_plans(kinds, shares),
        ranks=ranks,
        attributes=fit_attribute_book(every, rows, always=SHAPE),
        names=names,
    )


def as_dataset(
    traces: list[EncodedTrace], book: FlowBook, rng: np.random.Generator
) -> SeriesDataset:
    """Return the flows of windows as samples: metadata, and packets and bytes of each step."""
    metadata, lengths, values = [], [], []
    for trace in traces:
        kinds, tokens = flow_kinds(trace), number_tokens(trace)
        count = len(trace)
        cells = {
            name: book.ranks[name].encode(
                _keys(kinds, [tokens[other] for other in given]), tokens[name], rng.random(count)
            )
            for name, given in NUMBERS.items()
        }
        cells[START] = spread(kinds[:, SERVICE], trace.start_ns.astype(float), rng.random(count))
        metadata.append(book.metadata_of(kinds, cells))
        first = trace.series_step[trace.series_offsets[:-1]].astype(np.int64)
        spans = trace.series_step[trace.series_offsets[1:] - 1] - first + 1
        flow = np.repeat(np.arange(count), np.diff(trace.series_offsets))
        begins = np.cumsum(spans) - spans
        dense = np.zeros((int(spans.sum()), len(SERIES_CHANNELS)))
        dense[begins[flow] + trace.series_step - first[flow]] = trace.series_values
        lengths.append(spans)
        values.append(dense)
    return SeriesDataset(
        schema=book.schema,
        metadata=np.concatenate(metadata),
        values=np.concatenate(values),
        offsets=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
    )


def column_of(trace: EncodedTrace, name: str) -> IntArray:
    """Token column `name` of the flows, int64 [F]."""
    place = [f.name for f in trace.token_fields].index(name)
    return trace.tokens[:, place].astype(np.int64)


def flow_kinds(trace: EncodedTrace) -> IntArray:
    """Kind of each flow, int64 [F, 5]."""
    return np.stack([column_of(trace, name) for name in KIND], axis=1)


def number_tokens(trace: EncodedTrace) -> dict[str, IntArray]:
    """Tokens [F] of the NUMBERS of the flows of a window."""
    stretch, alone = (column_of(trace, name) for name in ("stretch", "duration"))
    size = next(f.size for f in trace.token_fields if f.name == "stretch")
    tokens = {name: column_of(trace, name) for name in NUMBERS if name != LASTING}
    return tokens | {LASTING: np.where(stretch > 0, stretch, size + alone)}


def lasting_columns(lasting: IntArray, layout: TraceLayout) -> dict[str, IntArray]:
    """Columns `stretch` and `duration` [F] of LASTING tokens [F]."""
    size = next(f.size for f in layout.token_fields if f.name == "stretch")
    stretches = lasting < size
    return {
        "stretch": np.where(stretches, lasting, 0),
        "duration": np.where(stretches, 0, lasting - size),
    }


def allowed_kinds(plans: WindowPlans, allowed: dict[str, NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Kinds whose columns may all take their tokens: bool [M]."""
    fits = np.ones(plans.kinds.shape[0], dtype=np.bool_)
    for column, name in enumerate(KIND):
        if name in allowed:
            fits &= allowed[name][plans.kinds[:, column]]
    return fits


def _keys(kinds: IntArray, tokens: list[IntArray]) -> IntArray:
    """Groups that numbers are counted in: service, shape and tokens, int64 [F, 2 or more]."""
    return np.stack([kinds[:, SERVICE], kinds[:, SHAPE], *tokens], axis=1)


def _schema(traces: list[EncodedTrace], kinds: IntArray) -> SeriesSchema:
    """Columns of the dataset; a column that never changes is left out."""
    metadata = []
    for place, name in enumerate(KIND):
        used = np.unique(kinds[:, place])
        if used.size > 1:
            values = tuple(str(token) for token in used)
            metadata.append(Column(name=name, kind=CATEGORICAL, values=values))
    for name in (START, *NUMBERS):
        metadata.append(Column(name=name + RANK, kind=NUMERIC, low=0.0, high=1.0))
    largest = np.max([t.series_values.max(axis=0, initial=0) for t in traces], axis=0)
    spans = [
        t.series_step[t.series_offsets[1:] - 1] - t.series_step[t.series_offsets[:-1]] + 1
        for t in traces
    ]
    return SeriesSchema(
        metadata=tuple(metadata),
        measurements=tuple(
            Column(name=name, kind=COUNT, low=0.0, high=float(max(most, 1)))
            for name, most in zip(SERIES_CHANNELS, largest, strict=True)
        ),
        max_length=int(np.concatenate(spans).max()),
    )
