"""Flows drawn: metadata by the series generator, as many of each kind as a window's plan has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from netsynth.generate.contract import TraceLayout
from netsynth.generate.flow_series.flow_table import (
    KIND,
    LASTING,
    NUMBERS,
    RANK,
    START,
    FlowBook,
    allowed_kinds,
    lasting_columns,
)
from netsynth.generate.flow_series.plans import SERVICE
from netsynth.generate.series_contract import SeriesGenerator
from netsynth.generate.transformer.drawn import DrawnFlows
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import FloatArray, IntArray
from netsynth.tables import TokenField


@dataclass(frozen=True, kw_only=True, slots=True)
class MadeFlows:
    """Flows of W windows, in order of (window, start).

    Attributes:
        window: int64 [F].
        start_ns: float64 [F].
        tokens: int64 [F, K].
        metadata: float64 [F, m], what their series are drawn from.
    """

    window: IntArray
    start_ns: FloatArray
    tokens: IntArray
    metadata: FloatArray

    def flows(self, device: torch.device) -> DrawnFlows:
        """Return them as the levels below take them."""
        return DrawnFlows(
            window=torch.as_tensor(self.window, device=device),
            start_ns=torch.as_tensor(self.start_ns, device=device),
            tokens=torch.as_tensor(self.tokens, device=device),
        )


class FlowTokens:
    """What the tokens of flows stand for, see `total_drawing.FlowNumbers`."""

    def __init__(self, layout: TraceLayout, fastest: FloatArray, device: torch.device) -> None:
        self.fields: tuple[TokenField, ...] = layout.token_fields
        self.fastest: Tensor = torch.as_tensor(fastest, device=device)
        self._numbers = {
            f.name: NumberTable(f.number).to(device) for f in layout.token_fields if f.number
        }

    def number(self, name: str) -> NumberTable:
        """Return what the tokens of the column `name` stand for."""
        return self._numbers[name]


def draw_flow_tokens(
    book: FlowBook,
    series: SeriesGenerator,
    layout: TraceLayout,
    window_count: int,
    *,
    allowed: dict[str, NDArray[np.bool_]],
    seed: int,
    rng: np.random.Generator,
) -> MadeFlows:
    """Draw the flows of windows.

    The generator draws as many rows of metadata as the plans want flows. Rows go to flows of
    their own kind; where it drew too few of a kind, rows left over take that kind on.

    Args:
        book: What is known of flows by counting.
        series: Draws metadata.
        layout: Of the traces.
        window_count: How many windows.
        allowed: Tokens that a column may take, bool [size] by the column's name.
        seed: Of the generator's draws.
        rng: Source of all other randomness.

    Raises:
        ConfigError: If no learned flow is allowed.
    """
    plan, window, kind = book.plans.draw(
        window_count, allowed=allowed_kinds(book.plans, allowed), rng=rng
    )
    drawn = series.sample_metadata(kind.size, seed=seed)
    drawn = drawn[match_kinds(book.kinds_of(drawn), kind, rng)]
    kinds = book.plans.kinds[kind]
    order = {
        column.name.removesuffix(RANK): drawn[:, place]
        for place, column in enumerate(book.schema.metadata)
        if not column.is_categorical
    }
    columns = {name: kinds[:, place] for place, name in enumerate(KIND)}
    columns |= book.draw_attributes(kinds, rng)
    tokens = book.tokens_of(kinds, order, rng)
    columns |= {name: tokens[name] for name in NUMBERS if name != LASTING}
    columns |= lasting_columns(tokens[LASTING], layout)
    share = book.plans.start_shares(
        plan, window, kinds[:, SERVICE], order[START], rng.random(kind.size)
    )
    start = np.floor(np.minimum(share * layout.window_ns, layout.window_ns - 1))
    kept = np.ones(kind.size, dtype=np.bool_)
    for name, mask in allowed.items():
        if name in columns:
            kept &= mask[columns[name]]
    rows = np.flatnonzero(kept)
    rows = rows[np.lexsort((start[rows], window[rows]))]
    window, start = window[rows], start[rows]
    gap = np.diff(start, prepend=0)
    gap = np.where(np.diff(window, prepend=-1) != 0, start, gap)
    gap_field = layout.token_fields[[f.name for f in layout.token_fields].index("gap")]
    assert gap_field.number is not None
    columns = {name: column[rows] for name, column in columns.items()}
    columns["gap"] = gap_field.number.encode(gap)
    cells = book.metadata_of(kinds[rows], {name: order[name][rows] for name in order})
    return MadeFlows(
        window=window,
        start_ns=start,
        tokens=np.stack([columns[f.name] for f in layout.token_fields], axis=1),
        metadata=cells,
    )


def match_kinds(drawn: IntArray, wanted: IntArray, rng: np.random.Generator) -> IntArray:
    """Give each wanted flow a row that was drawn, one of its own kind where there is one left.

    Args:
        drawn: int64 [F], kinds of the rows; -1 for none known.
        wanted: int64 [F], kinds of the flows.
        rng: Decides which rows go where they do not belong.

    Returns:
        int64 [F], a permutation of the rows.
    """
    count = int(max(drawn.max(initial=0), wanted.max(initial=0))) + 2
    places = []
    for kinds in (drawn + 1, wanted + 1):
        order = np.argsort(kinds, kind="stable")
        first = np.searchsorted(kinds[order], np.arange(count + 1))
        places.append((order, np.arange(kinds.size) - first[kinds[order]], first))
    (rows, of_row, row_first), (flows, of_flow, flow_first) = places
    has = np.diff(row_first)[wanted[flows] + 1] > of_flow  # a row is left for this flow
    taken = np.diff(flow_first)[drawn[rows] + 1] > of_row
    chosen = np.empty(wanted.size, dtype=np.int64)
    chosen[flows[has]] = rows[(row_first[wanted[flows] + 1] + of_flow)[has]]
    chosen[flows[~has]] = rng.permutation(rows[~taken])
    return chosen
