"""From what G1 makes to tokens: the nearest combinations, those that are new, and habits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from netsynth.errors import ConfigError
from netsynth.generate.cascade.books import (
    CountBook,
    TupleBook,
    fit_count_book,
    fit_tuple_book,
    flow_classes,
    nearest_rows,
)
from netsynth.generate.cascade.flow_data import column_of
from netsynth.generate.cascade.quotas import assign, quotas
from netsynth.generate.cascade.tuple_layout import (
    ENDPOINTS,
    TupleLayout,
    static_rows,
    tuple_tokens,
)
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

OWN = ("gap", "label", *ENDPOINTS)  # columns that are not attributes
# Which of (service, responder, initiator, state) must agree for the attributes of a flow, and where
# its combination is new, for those of either end: they belong to the end, not to its peer.
KNOWN = (0, 1, 2, 3)
INITIATOR_CHAIN = ((0, 2, 3), (0, 2), (2,), (0, 3), (0,))
RESPONDER_CHAIN = ((0, 1, 3), (0, 1), (1,), (0, 3), (0,))
PORT = "responder_port"
OF_RESPONDER = ("meta_reverse", "other_meta_reverse", "opening_reverse")


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

    def snap(
        self, made: Array, classes: IntArray, windows: IntArray, rng: np.random.Generator
    ) -> IntArray:
        """Choose (service, responder, initiator, state) for flows: int64 [F, 4].

        Args:
            made: float32 [F, X, D], X tuples that G1 made for each flow. It gets the combination
                seen that is nearest to one of them, of those that have room: in each window and
                class of flows, each combination comes as often as its learned share says.
                In a share of the flows, as many as were the only ones of their combination, each
                part goes to its own nearest instead, so that hosts may meet that never met.
            classes: int64 [F, CLASS], see `flow_classes`.
            windows: int64 [F].
            rng: Source of randomness.

        References:
            Good, "The population frequencies of species and the estimation of population
            parameters", Biometrika 40, 1953 (share of what is new).
        """
        count, tries, width = made.shape
        near = self.book.nearest(made.reshape(-1, width)).reshape(count, tries)
        row = np.zeros(count, dtype=np.int64)
        of_window = np.concatenate([windows[:, None], classes], axis=1)
        _, group = np.unique(of_window, axis=0, return_inverse=True)
        order = np.argsort(group.ravel(), kind="stable")
        for some in np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1):
            if some.size:
                room = quotas(self.book.counts_of(classes[some[0]]), some.size, rng)
                row[some] = assign(made[some], near[some], self.book.targets, room, rng)
        tokens: IntArray = self.book.tokens[row].copy()
        fresh = np.flatnonzero(rng.random(count) < self.book.new_share)
        if fresh.size:
            tokens[fresh] = self._apart(made[fresh, 0], tokens[fresh])
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
        new = np.flatnonzero(row < 0)
        made[new] = self._assembled(tokens[new])
        return made

    def _assembled(self, tokens: IntArray) -> Array:
        """Put tuples of (service, responder, initiator, state) [F, 4] together: float32 [F, D]."""
        made = np.zeros((tokens.shape[0], self.layout.width), dtype=np.float32)
        rows = [_first_rows(self.book.tokens[:, i], tokens[:, i]) for i in range(tokens.shape[1])]
        of = {"dst_ip": 1, "src_ip": 2, "state": 3}
        for part in self.layout.parts:
            row = rows[of.get(part.name, 0)]
            made[:, part.start : part.stop] = self.book.targets[row, part.start : part.stop]
        return made

    def draw_attributes(self, tokens: IntArray, rng: np.random.Generator) -> dict[str, IntArray]:
        """Draw all other token columns given ENDPOINTS and state [F, 4], by name: int64 [F].

        The port comes apart from the rest: a probe whose port, TTL and window are those of one real
        probe is a twin of it, though each of them for itself is nothing that it alone had.
        """
        book = self.attributes
        rows = book.draw(tokens, chain=(KNOWN, *INITIATOR_CHAIN), rng=rng)
        others = book.draw(tokens, chain=(KNOWN, *RESPONDER_CHAIN), rng=rng)
        is_new = ~book.knows(tokens, KNOWN)
        drawn = {name: rows[:, i] for i, name in enumerate(self.names)}
        for i, name in enumerate(self.names):
            if name == PORT:
                drawn[name] = others[:, i]
            elif name in OF_RESPONDER:
                drawn[name] = np.where(is_new, others[:, i], rows[:, i])
        return drawn


def _first_rows(known: IntArray, wanted: IntArray) -> IntArray:
    """First row of `known` [M] that equals each of `wanted` [F], 0 where none does: int64 [F]."""
    values, first = np.unique(known, return_index=True)
    at = np.minimum(np.searchsorted(values, wanted), values.size - 1)
    return np.where(values[at] == wanted, first[at], 0)


def fit_tuple_maker(traces: list[EncodedTrace], layout: TupleLayout) -> TupleMaker:
    """Learn the books of tuples."""
    tokens = np.concatenate([tuple_tokens(t) for t in traces])
    classes = [flow_classes(t.totals, t.duration_ns, column_of(t, "label")) for t in traces]
    static = static_rows(traces)
    names = tuple(f.name for f in traces[0].token_fields if f.name not in OWN)
    attributes = np.concatenate(
        [np.stack([column_of(t, name) for name in names], axis=1) for t in traces]
    )
    return TupleMaker(
        layout=layout,
        book=fit_tuple_book(layout.encode(static, tokens[:, 3]), tokens, np.concatenate(classes)),
        attributes=fit_count_book(tokens, attributes),
        names=names,
    )
