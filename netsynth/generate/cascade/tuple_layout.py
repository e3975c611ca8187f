"""What G1 makes: endpoints bit by bit, service by vectors, and TCP state."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from netsynth.errors import ModelError
from netsynth.generate.cascade.emission import Part, lay_out
from netsynth.generate.cascade.flow_data import column_of, flow_states
from netsynth.numbers import Array, IntArray
from netsynth.tables import EncodedTrace

ENDPOINTS = ("service", "responder", "initiator")  # token columns that follow from the tuple
KINDS = ("bits", "vector")  # of spans of the static view that G1 makes
LEFT_OUT = ("initiator_port",)  # a habit of the host: see `TupleMaker.draw_attributes`


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
