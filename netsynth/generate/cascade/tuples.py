"""What G1 makes: endpoints bit by bit, service by vectors, TCP state; and their way to tokens."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import ConfigError, ModelError
from netsynth.generate.cascade.books import (
    SIZES,
    CountBook,
    TupleBook,
    fit_count_book,
    fit_tuple_book,
    nearest_rows,
)
from netsynth.generate.cascade.emission import Part, lay_out
from netsynth.generate.cascade.flow_data import column_of, flow_states
from netsynth.numbers import Array, FloatArray, IntArray
from netsynth.tables import EncodedTrace

ENDPOINTS = ("service", "responder", "initiator")  # token columns that follow from the tuple
KINDS = ("bits", "vector")  # of spans of the static view that G1 makes
LEFT_OUT = ("initiator_port",)  # a habit of the host: see `AttributeBook`
OWN = ("gap", "label", *ENDPOINTS)  # columns that are not attributes
LEAN = 2.0  # flows of any size that a size class takes to its own
# Which of (service, responder, initiator, state) must agree for a flow's attributes.
CHAIN = ((0, 1, 2, 3), (0, 2, 3), (0, 3), (0, 2), (0,))


@dataclass(frozen=True, kw_only=True, slots=True)
class TupleLayout:
    """The columns of a tuple.

    Attributes:
        parts: Names, places and kinds.
        columns: int64 [D - states], columns of the static view; constant ones are left out.
        states: int64 [V], values of the TCP state bits, each a column of the last part.
    """

    parts: tuple[Part, ...]
    columns: IntArray
    states: IntArray

    @property
    def width(self) -> int:
        """Columns, D."""
        return self.parts[-1].stop

    def encode(self, static: Array, state: IntArray) -> Array:
        """Return tuples float32 [F, D] of the static view [F, X] and state bits [F]."""
        place = np.minimum(np.searchsorted(self.states, state), self.states.size - 1)
        one_hot = np.eye(self.states.size, dtype=np.float32)[place]
        return np.concatenate([static[:, self.columns], one_hot], axis=1).astype(np.float32)

    def to_header(self) -> dict[str, object]:
        """Return the layout in plain values."""
        return {
            "parts": [(p.name, p.stop - p.start, p.kind) for p in self.parts],
            "columns": self.columns.tolist(),
            "states": self.states.tolist(),
        }

    @staticmethod
    def from_header(header: dict[str, object]) -> TupleLayout:
        """Inverse of `to_header`."""
        parts = [(str(n), int(w), str(k)) for n, w, k in header["parts"]]  # type: ignore[attr-defined]
        return TupleLayout(
            parts=lay_out(parts),
            columns=np.array(header["columns"], dtype=np.int64),
            states=np.array(header["states"], dtype=np.int64),
        )


def fit_tuple_layout(traces: list[EncodedTrace]) -> TupleLayout:
    """Choose the columns of tuples.

    Raises:
        ModelError: If the traces lack the static view.
    """
    if any(t.static.shape[1] == 0 for t in traces):
        raise ModelError("the cascade needs the static view; encode with static=True")
    static = static_rows(traces)
    varies = static.min(axis=0) < static.max(axis=0)
    parts, columns = [], []
    for span in traces[0].spans:
        if span.kind not in KINDS or span.name in LEFT_OUT:
            continue
        kept = [c for c in range(span.start, span.stop) if varies[c]]
        if kept:
            parts.append((span.name, len(kept), span.kind))
            columns += kept
    states = np.unique(np.concatenate([flow_states(t) for t in traces]))
    parts.append(("state", states.size, "choice"))
    return TupleLayout(
        parts=lay_out(parts), columns=np.array(columns, dtype=np.int64), states=states
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class TupleMaker:
    """Books by which what G1 makes becomes tokens.

    Attributes:
        layout: Columns of tuples.
        book: Combinations seen; rows of tokens are ENDPOINTS, then the state.
        attributes: All other token columns under those.
        names: Their names.
    """

    layout: TupleLayout
    book: TupleBook
    attributes: CountBook
    names: tuple[str, ...]

    def snap(self, made: Array, sizes: IntArray, rng: np.random.Generator) -> IntArray:
        """Choose (service, responder, initiator, state) for flows: int64 [F, 4].

        Args:
            made: float32 [F, X, D], X tuples that G1 made for each flow. Each goes to the nearest
                combination seen; one of the X is drawn by how much rarer G1 makes it, for flows
                of its size, than it is.
                In a share of the flows, as many as were the only ones of their combination, each
                part goes to its own nearest instead, so that hosts may meet that never met.
            sizes: int64 [F], see `size_classes`.
            rng: Source of randomness.

        References:
            Good, "The population frequencies of species and the estimation of population
            parameters", Biometrika 40, 1953 (share of what is new).
        """
        count, tries, width = made.shape
        row = self.book.nearest(made.reshape(-1, width)).reshape(count, tries)
        total = np.cumsum(self.book.weights[sizes[:, None], row], axis=1)
        pick = (rng.random((count, 1)) * total[:, -1:] > total).sum(axis=1)
        pick = np.minimum(pick, tries - 1)
        here = np.arange(count)
        tokens: IntArray = self.book.tokens[row[here, pick]].copy()
        fresh = np.flatnonzero(rng.random(count) < self.book.new_share)
        if fresh.size:
            tokens[fresh] = self._apart(made[fresh, pick[fresh]], tokens[fresh])
        return tokens

    def snap_among(
        self, made: Array, allowed: dict[str, NDArray[np.bool_]]
    ) -> tuple[IntArray, NDArray[np.bool_]]:
        """Choose endpoints for those flows alone that come nearest to what is allowed.

        Args:
            made: float32 [F, X, D], as in `snap`.
            allowed: Tokens that a column of ENDPOINTS may take, bool [size] by name.

        Returns:
            int64 [F, 4], and which flows to keep, bool [F]: as many as the learned share of what
            is allowed asks for, at least one.

        Raises:
            ConfigError: If nothing learned is allowed.
        """
        fits = np.ones(self.book.counts.size, dtype=np.bool_)
        for column, name in enumerate(ENDPOINTS):
            if name in allowed:
                fits &= allowed[name][self.book.tokens[:, column]]
        rows = np.flatnonzero(fits)
        if rows.size == 0:
            raise ConfigError("the model has learned no flow that fulfils the conditions together")
        count, tries, width = made.shape
        known = self.book.targets[rows]
        flat = made.reshape(-1, width)
        nearest = nearest_rows(flat, known)
        far = ((flat - known[nearest]) ** 2).sum(axis=1).reshape(count, tries)
        best = far.argmin(axis=1)
        here = np.arange(count)
        tokens = self.book.tokens[rows[nearest.reshape(count, tries)[here, best]]]
        share = self.book.counts[rows].sum() / self.book.counts.sum()
        wanted = min(count, max(1, round(float(share) * count)))
        kept = np.zeros(count, dtype=np.bool_)
        kept[np.argsort(far[here, best], kind="stable")[:wanted]] = True
        return tokens, kept

    def _apart(self, made: Array, tokens: IntArray) -> IntArray:
        """Choose responder and initiator each by its own bits: int64 [F, 4]."""
        tokens = tokens.copy()
        for part, column in (("dst_ip", 1), ("src_ip", 2)):
            spans = [p for p in self.layout.parts if p.name == part]
            if spans:
                columns = slice(spans[0].start, spans[0].stop)
                row = nearest_rows(made[:, columns], self.book.targets[:, columns])
                tokens[:, column] = self.book.tokens[row, column]
        return tokens

    def targets_of(self, tokens: IntArray) -> Array:
        """Return the tuples of (service, responder, initiator, state) [F, 4]: float32 [F, D].

        Combinations that are new are put together of what their parts look like elsewhere.
        """
        both = np.concatenate([self.book.tokens, tokens])
        _, code = np.unique(both, axis=0, return_inverse=True)
        code = code.ravel()
        count = self.book.counts.size
        place = np.full(int(code.max()) + 1, -1, dtype=np.int64)
        place[code[:count]] = np.arange(count)
        row = place[code[count:]]
        made = self.book.targets[np.maximum(row, 0)].copy()
        for at in np.flatnonzero(row < 0):
            made[at] = self._assembled(tokens[at])
        return made

    def _assembled(self, tokens: IntArray) -> Array:
        """Put one tuple together column by column: float32 [D]."""
        made = np.zeros(self.layout.width, dtype=np.float32)
        of = {"dst_ip": 1, "src_ip": 2, "state": 3}
        for part in self.layout.parts:
            column = of.get(part.name, 0)
            row = int(np.argmax(self.book.tokens[:, column] == tokens[column]))
            made[part.start : part.stop] = self.book.targets[row, part.start : part.stop]
        return made

    def draw_attributes(self, tokens: IntArray, rng: np.random.Generator) -> dict[str, IntArray]:
        """Draw all other token columns given ENDPOINTS and state [F, 4], by name: int64 [F]."""
        rows = self.attributes.draw(tokens, chain=CHAIN, rng=rng)
        return {name: rows[:, i] for i, name in enumerate(self.names)}

    def reweigh(self, made: IntArray, learned: IntArray, sizes: IntArray) -> FloatArray:
        """Weights of combinations so that their shares come out as learned.

        Args:
            made: int64 [F], rows of the book that G1 makes for the conditions of learned flows.
            learned: int64 [F], rows of the flows themselves.
            sizes: int64 [F], see `size_classes`.

        Returns:
            float64 [SIZES, M], between 1/50 and 50; classes of few flows lean on all flows.
        """
        _, group = np.unique(self.book.tokens, axis=0, return_inverse=True)
        group = group.ravel()
        count = int(group.max()) + 1
        shares = []
        for rows in (made, learned):
            every = np.bincount(group[rows], minlength=count) + 0.5
            table = np.zeros((SIZES, count))
            np.add.at(table, (sizes, group[rows]), 1.0)
            table += LEAN * every / every.sum()
            shares.append(table / table.sum(axis=1, keepdims=True))
        return np.asarray(np.clip(shares[1] / shares[0], 1 / 50, 50), dtype=np.float64)[:, group]


def static_rows(traces: list[EncodedTrace]) -> Array:
    """Return the static view of all flows, the vectors of ports that share a service made one.

    A scan opens each port once; which one is an attribute (`responder_port`), not a mode of G1.
    """
    static = np.concatenate([t.static for t in traces])
    service = np.concatenate([column_of(t, "service") for t in traces])
    counts = np.maximum(np.bincount(service), 1)
    for span in traces[0].spans:
        if span.kind == "vector":
            for column in range(span.start, span.stop):
                static[:, column] = (np.bincount(service, static[:, column]) / counts)[service]
    return static


def tuple_tokens(trace: EncodedTrace) -> IntArray:
    """ENDPOINTS and state of each flow, int64 [F, 4]."""
    columns = [column_of(trace, name) for name in ENDPOINTS]
    return np.stack([*columns, flow_states(trace)], axis=1)


def window_keys(
    kind: IntArray, offsets: IntArray, reverse: NDArray[np.bool_], endpoints: IntArray
) -> IntArray:
    """What a record's TCP window goes by: int64 [N, 4], for a CountBook.

    Its kind, its sender, the service, and how many records of its direction came before (0 to 3,
    then in octaves).

    Args:
        kind: int64 [N].
        offsets: int64 [F+1].
        reverse: bool [N].
        endpoints: int64 [F, 4], ENDPOINTS and state.
    """
    flow = np.repeat(np.arange(offsets.size - 1), np.diff(offsets))
    back = reverse.astype(np.int64)
    before = np.cumsum(back) - back
    before -= before[offsets[:-1]][flow]
    order = np.where(reverse, before, np.arange(kind.size) - offsets[:-1][flow] - before)
    octave = np.where(order < 4, order, 2 + np.log2(np.maximum(order, 1)).astype(np.int64))
    sender = np.where(reverse, endpoints[flow, 1], endpoints[flow, 2])
    return np.stack([kind, sender, endpoints[flow, 0], octave], axis=1)


WINDOW_CHAIN = ((0, 1, 2, 3), (0, 1, 3), (0, 1), (0, 3), (0,))


def fit_tuple_maker(traces: list[EncodedTrace], layout: TupleLayout) -> TupleMaker:
    """Learn the books of tuples."""
    tokens = np.concatenate([tuple_tokens(t) for t in traces])
    static = static_rows(traces)
    names = tuple(f.name for f in traces[0].token_fields if f.name not in OWN)
    attributes = np.concatenate(
        [np.stack([column_of(t, name) for name in names], axis=1) for t in traces]
    )
    return TupleMaker(
        layout=layout,
        book=fit_tuple_book(layout.encode(static, tokens[:, 3]), tokens),
        attributes=fit_count_book(tokens, attributes),
        names=names,
    )
