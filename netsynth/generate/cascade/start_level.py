"""Level 0: when flows start, and their conditions, by likelihood; nothing is replayed.

A feed-forward net over the last few flows predicts the gap to the next one, its label and its
packets; how many bytes, how long and how regularly follow from those. The levels below are
generative adversarial nets and get these numbers as conditions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.cascade.flow_data import CONDITIONS
from netsynth.generate.transformer.fields import FieldDecoder, FieldEmbedding, values_or_none
from netsynth.generate.transformer.flow_level import CLOCK_WIDTH
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.numbers import Array, FloatArray, IntArray, NumberCodec, fit_number_codec
from netsynth.tables import TokenField

FLOWS_BEFORE = 8  # that a flow sees
SKELETON = ("gap", "label", "packets_forward", "packets_reverse")
DETAILS = (
    "bytes_forward", "bytes_reverse", "duration_ns", "active_steps", "rate_max", "rate_std",
    "interval_mean",
)  # fmt: skip
# Columns whose counts tell most of a column, from coarse to fine; those of single elephants lean on
# flows of about their size ("~": by octave), not on all flows. The last ones decide all before.
PARENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "packets_forward": (("label",),),
    "packets_reverse": (("~packets_forward",), ("packets_forward",), ("packets_forward", "label")),
    "bytes_forward": (
        ("~packets_forward",),
        ("~packets_forward", "~packets_reverse"),
        ("packets_forward", "packets_reverse"),
    ),
    "bytes_reverse": (
        ("~packets_reverse",),
        ("~packets_forward", "~packets_reverse"),
        ("packets_forward", "packets_reverse"),
        ("packets_forward", "packets_reverse", "bytes_forward"),
    ),
    "duration_ns": (
        ("~packets_forward", "~packets_reverse"),
        ("packets_forward", "packets_reverse", "~bytes_forward"),
        ("packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse"),
    ),
    "active_steps": (
        ("~duration_ns",),
        ("~duration_ns", "~packets_forward"),
        ("duration_ns", "~packets_forward"),
    ),
    "rate_max": (
        ("~packets_forward", "~active_steps"),
        ("active_steps", "packets_forward", "packets_reverse"),
    ),
    "rate_std": (("~active_steps",), ("~active_steps", "~rate_max"), ("active_steps", "rate_max")),
    "interval_mean": (("active_steps",), ("active_steps", "~duration_ns")),
}


def parents_of(chains: dict[str, tuple[tuple[str, ...], ...]]) -> dict[str, Any]:
    """Write "~name" as FieldDecoder wants it: the column, and the name of its group.

    Levels that begin so are blurred: ten elephants of ten different sizes tell of an eleventh.
    """
    return {
        name: tuple(
            tuple(f"~{p[1:]}.octave_{p[1:]}" if p.startswith("~") else p for p in level)
            for level in chain
        )
        for name, chain in chains.items()
    }


def octaves(codec: NumberCodec) -> IntArray:
    """Octave of the middle value of each token, int64 [size]."""
    return np.floor(np.log2(1 + (codec.low + codec.high) / 2)).astype(np.int64)


def packet_tokens(codecs: dict[str, NumberCodec], packets: Array) -> IntArray:
    """Tokens of packets forward and reverse [F, 2]: int64 [F, 2]."""
    names = ("packets_forward", "packets_reverse")
    return np.stack([codecs[n].encode(packets[:, i]) for i, n in enumerate(names)], axis=1)


def fit_condition_codecs(gaps_ns: IntArray, numbers: FloatArray) -> dict[str, NumberCodec]:
    """Choose tokens for the numbers of level 0.

    Args:
        gaps_ns: int64 [F], from the start of the flow before.
        numbers: float64 [F, 11], CONDITIONS.
    """
    column = {name: numbers[:, i] for i, name in enumerate(CONDITIONS)}
    packets = numbers[:, 2:4]
    size = numbers[:, 4:6]
    exact = {"bin_count": 48, "atom_count": 64, "atom_share": 1.0, "exact_below": 33}
    frequent = {"bin_count": 96, "atom_count": 256, "atom_share": 0.0005, "exact_below": 1}
    some = {"bin_count": 32, "atom_count": 32, "atom_share": 0.005, "exact_below": 1}

    def codec(values: FloatArray, **settings: float) -> NumberCodec:
        return fit_number_codec(values, **settings)  # type: ignore[arg-type]

    return {
        "gap": codec(gaps_ns.astype(np.float64), bin_count=64, atom_count=8, atom_share=0.01),
        "packets_forward": codec(packets, **exact),
        "packets_reverse": codec(packets, **exact),
        "bytes_forward": codec(size, **frequent),
        "bytes_reverse": codec(size, **frequent),
        "duration_ns": codec(
            column["duration_ns"], bin_count=128, atom_count=8, atom_share=0.01, exact_below=1
        ),
        "active_steps": codec(column["active_steps"], **exact),
        "rate_max": codec(column["rate_max"], **exact),
        "rate_std": codec(column["rate_std"], **some),
        "interval_mean": codec(column["interval_mean"], **some),
    }


class StartLevel(nn.Module):
    """Predict (gap, label, packets either way) of the next flow, then its other conditions."""

    def __init__(
        self, codecs: dict[str, NumberCodec], *, label_count: int, width: int, dropout: float
    ) -> None:
        super().__init__()
        fields = {
            name: TokenField(
                name=name,
                size=codec.size,
                groups={f"octave_{name}": octaves(codec)},
                number=codec,
            )
            for name, codec in codecs.items()
        }
        fields["label"] = TokenField(name="label", size=label_count)
        self.skeleton_fields = tuple(fields[n] for n in SKELETON)
        self.detail_fields = tuple(fields[n] for n in DETAILS)
        self.numbers = nn.ModuleDict({name: NumberTable(codec) for name, codec in codecs.items()})
        lagged = tuple(
            TokenField(name=f"{f.name} {lag}", size=f.size + 1)
            for lag in range(FLOWS_BEFORE)
            for f in self.skeleton_fields
        )
        before = [values_or_none(f) for f in self.skeleton_fields] * FLOWS_BEFORE
        self.embed = FieldEmbedding(lagged, width=width, values=before)
        self.clock = nn.Linear(CLOCK_WIDTH, width)
        self.mix = nn.Sequential(nn.GELU(), nn.Linear(width, width), nn.GELU())
        self.skeleton = FieldDecoder(
            self.skeleton_fields,
            width=width,
            hidden=width,
            dropout=dropout,
            parents=parents_of(PARENTS),
        )
        self.join = nn.Linear(width, width)
        self.detail_embed = FieldEmbedding(self.skeleton_fields, width=width)
        self.detail_clock = nn.Linear(CLOCK_WIDTH, width)
        self.details = FieldDecoder(
            self.detail_fields,
            width=width,
            hidden=width,
            dropout=dropout,
            given=self.skeleton_fields,
            parents=parents_of(PARENTS),
            sharp=("duration_ns",),
        )
        self.dropout = nn.Dropout(dropout)

    def number(self, name: str) -> NumberTable:
        """Return what the tokens of the column `name` stand for."""
        table = self.numbers[name]
        assert isinstance(table, NumberTable)
        return table

    def set_counts(self, tokens: Tensor, *, choose: bool) -> None:
        """Count flows [M, 11]; see `CountPrior.set_counts`."""
        count = len(SKELETON)
        self.skeleton.set_counts(tokens[:, :count], tokens[:, :0], choose=choose)
        self.details.set_counts(tokens[:, count:], tokens[:, :count], choose=choose)

    def state(self, before: Tensor, clock: Tensor) -> Tensor:
        """Map the flows before [M, 8 x 4] (tokens + 1, 0: none) and the time to [M, H]."""
        return self.mix(self.dropout(self.embed(before)) + self.clock(clock))  # type: ignore[no-any-return]

    def detail_state(self, state: Tensor, skeleton: Tensor, clock: Tensor) -> Tensor:
        """State of the detail decoder [M, H] from the skeleton's and the flow's own start."""
        x = self.dropout(self.detail_embed(skeleton)) + self.detail_clock(clock)
        return functional.gelu(self.join(self.dropout(state))) + x  # type: ignore[no-any-return]

    def loss(self, before: Tensor, clock: Tensor, own_clock: Tensor, tokens: Tensor) -> Tensor:
        """Negative log-likelihood in nats of flows [M, 11]: [M].

        Args:
            before: int64 [M, 8 x 4], see `state`.
            clock: float32 [M, CLOCK_WIDTH], when the flow before started.
            own_clock: float32 [M, CLOCK_WIDTH], when the flow starts.
            tokens: int64 [M, 11].
        """
        count = len(SKELETON)
        skeleton, details = tokens[:, :count], tokens[:, count:]
        state = self.state(before, clock)
        loss = self.skeleton.loss(state, skeleton, tokens[:, :0])
        detail_state = self.detail_state(state, skeleton, own_clock)
        return loss.sum(1) + self.details.loss(detail_state, details, skeleton).sum(1)
