"""Level 1: flows in order of start, each seeing the flows before it.

A causal transformer over flows predicts the skeleton of the next one (when, service, shape,
hosts). The other columns follow from the skeleton and the transformer's state, all flows at once.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from netsynth.generate.transformer.attention import CausalTransformer
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.couplings import Couplings
from netsynth.generate.transformer.fields import FieldDecoder, FieldEmbedding
from netsynth.generate.transformer.limits import OCTAVES
from netsynth.generate.transformer.numbers import NumberTable
from netsynth.generate.transformer.plan import Plans
from netsynth.tables import TokenField

SKELETON = ("gap", "label", "service", "shape", "responder", "initiator")
# Columns whose counts tell most of a column, from coarse to fine; "~" blurs, see CountPrior.
PARENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "shape": (("service",),),
    "responder": (
        ("service",),
        ("service", "shape.size"),
        ("service", "shape.volume"),
        ("service", "shape"),
    ),
    "initiator": (
        ("service",),
        ("service", "responder"),
        ("service", "responder", "shape.size"),
        ("service", "responder", "shape"),
    ),
    "initiator_port": (
        ("service",),
        ("service", "initiator"),
        ("service", "initiator", "responder"),
        ("service", "initiator", "shape"),
    ),
    "responder_port": (("service",), ("service", "initiator")),
    "meta_forward": (("initiator",), ("initiator", "service")),
    "meta_reverse": (("responder",), ("responder", "service")),
    "other_meta_forward": (("initiator",), ("initiator", "service", "shape")),
    "other_meta_reverse": (("responder",), ("responder", "service", "shape")),
    "opening_forward": (("initiator",), ("initiator", "service")),
    "opening_reverse": (
        ("responder",),
        ("responder", "service", "shape"),
        ("responder", "service", "opening_forward"),
    ),
    "packets_forward": (
        ("shape",),
        ("shape", "service"),
        ("shape", "service", "initiator"),
        ("shape", "service", "initiator", "responder"),
    ),
    "packets_reverse": (
        ("shape",),
        ("shape", "packets_forward", "service"),
        ("shape", "packets_forward", "service", "initiator"),
    ),
    "bytes_forward": (
        ("~packets_forward.size_forward",),
        ("~packets_forward.size_forward", "service"),
        ("~packets_forward.volume_forward", "service"),
        ("packets_forward", "service"),
        ("packets_forward", "service", "initiator"),
        ("packets_forward", "packets_reverse", "service", "initiator", "responder"),
    ),
    "bytes_reverse": (
        ("~packets_reverse.size_reverse",),
        ("~packets_reverse.size_reverse", "service"),
        ("~packets_reverse.volume_reverse", "service"),
        ("packets_reverse", "service"),
        ("packets_reverse", "service", "bytes_forward"),
        ("packets_reverse", "service", "bytes_forward", "initiator", "responder"),
    ),
    "answer": (
        ("~shape.turns",),
        ("~shape.turns", "responder"),
        ("~shape.turns", "responder", "initiator"),
        ("shape.turns", "responder", "initiator"),
        ("bytes_forward", "service", "responder", "initiator"),
    ),
    "reply": (
        ("~shape.turns",),
        ("~shape.turns", "initiator"),
        ("~shape.turns", "initiator", "service"),
        ("shape.turns", "initiator", "service"),
    ),
    "stretch": (
        ("~shape.size",),
        ("~shape.size", "service"),
        ("~shape.size", "service", "reply.octave_reply"),
        ("~shape", "service", "reply.octave_reply"),
        ("shape", "service", "answer.octave_answer", "reply.octave_reply"),
        ("shape", "service", "initiator", "responder"),
        ("bytes_forward", "bytes_reverse", "service"),
    ),
    "duration": (
        ("~shape.size",),
        ("~shape", "service"),
        ("shape", "service"),
        ("shape", "service", "initiator"),
        ("shape", "service", "packets_forward", "packets_reverse"),
    ),
}
# Columns that take no token that never occurred under their closest parents.
CATEGORIES = (
    "initiator_port", "meta_forward", "meta_reverse", "other_meta_forward", "other_meta_reverse",
    "opening_forward", "opening_reverse",
)  # fmt: skip
# Columns whose quantiles go on from flow to flow.
COUPLED = (
    "packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse",
    "answer", "reply", "stretch", "duration",
)  # fmt: skip
CLOCK_RATES = 5  # the place in the window is told by sines of 1, 2 .. 16 periods a window
CLOCK_WIDTH = 2 * CLOCK_RATES + 3


class FlowLevel(nn.Module):
    """Predict flows one after the other."""

    def __init__(self, fields: tuple[TokenField, ...], config: TransformerConfig) -> None:
        super().__init__()
        width, hidden, dropout = config.width, config.hidden, config.dropout
        self.fields = fields
        self.skeleton_fields = fields[: len(SKELETON)]
        self.detail_fields = fields[len(SKELETON) :]
        self.plans = Plans(fields)
        self.embed = FieldEmbedding(self.skeleton_fields, width=width)
        self.clock = nn.Linear(CLOCK_WIDTH + self.plans.width, width)
        self.begin = nn.Parameter(torch.zeros(width))
        self.transformer = CausalTransformer(
            width=width,
            heads=config.heads,
            layer_count=config.layers,
            context=config.flow_context,
            dropout=dropout,
        )
        self.skeleton = FieldDecoder(
            self.skeleton_fields, width=width, hidden=hidden, dropout=dropout, parents=PARENTS
        )
        self.detail_embed = FieldEmbedding(self.skeleton_fields, width=width)
        self.detail_clock = nn.Linear(CLOCK_WIDTH, width)
        self.join = nn.Linear(width, width)
        self.details = FieldDecoder(
            self.detail_fields,
            width=width,
            hidden=hidden,
            dropout=dropout,
            given=self.skeleton_fields,
            parents=PARENTS,
            categories=CATEGORIES,
            sharp=("answer", "reply", "stretch", "duration"),
        )
        self.couplings = Couplings(
            tuple(f.name for f in fields), COUPLED, services=fields[SKELETON.index("service")].size
        )
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("fastest", torch.full((OCTAVES,), torch.inf, dtype=torch.float64))
        self.fastest: Tensor  # bytes/s, see limits.fastest_rates
        number = self.skeleton_fields[0].number
        assert number is not None
        self.gap = NumberTable(number)
        self.numbers = nn.ModuleDict(
            {f.name: NumberTable(f.number) for f in self.detail_fields if f.number}
        )

    def set_counts(self, tokens: Tensor, *, choose: bool) -> None:
        """Count flows [M, K]; see `CountPrior.set_counts`."""
        count = len(SKELETON)
        self.skeleton.set_counts(tokens[:, :count], tokens[:, :0], choose=choose)
        self.details.set_counts(tokens[:, count:], tokens[:, :count], choose=choose)

    def number(self, name: str) -> NumberTable:
        """Return what the tokens of the column `name` stand for."""
        table = self.numbers[name]
        assert isinstance(table, NumberTable)
        return table

    def inputs(self, before: Tensor, situation: Tensor) -> Tensor:
        """Embed the skeletons before each position [..., 6] and what is left [..., C].

        C is CLOCK_WIDTH, of the time, and plans.width, of the window's plan.
        """
        return self.embed(before) + self.clock(situation)  # type: ignore[no-any-return]

    def loss(
        self, tokens: Tensor, situation: Tensor, first: Tensor, is_start: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Negative log-likelihood of chunks of flows.

        Args:
            tokens: int64 [B, T + 1, K]; the first flow of each chunk is context alone.
            situation: float32 [B, T + 1, C], time of each flow and what is left after it.
            first: float32 [B, C], the same at the window's start.
            is_start: bool [B], the chunk starts at the window's start: its first row is no flow.
            position: int64 [B], place of the chunk's first row.

        Returns:
            Loss per flow and skeleton column [B, T, 6], and per detail column [B, T, K - 6].
        """
        count = len(SKELETON)
        flat, detail_state, target = self._states(tokens, situation, first, is_start, position)
        skeleton = self.skeleton.loss(flat, target[:, :count], target[:, :0])
        details = self.details.loss(detail_state, target[:, count:], target[:, :count])
        shape = tokens.shape[0], tokens.shape[1] - 1
        return skeleton.view(*shape, -1), details.view(*shape, -1)

    def scores(
        self, tokens: Tensor, situation: Tensor, first: Tensor, is_start: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Normal scores and their spread of the columns COUPLED, float64 [B, T, D]; see `loss`."""
        count = len(SKELETON)
        _, state, target = self._states(tokens, situation, first, is_start, position)
        given, own = target[:, :count], target[:, count:]
        found = self.details.scores(state, own, given, COUPLED)
        shape = tokens.shape[0], tokens.shape[1] - 1
        score, spread = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
        return score.view(*shape, -1), spread.view(*shape, -1)

    def _states(
        self, tokens: Tensor, situation: Tensor, first: Tensor, is_start: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """States of transformer and details [B * T, H], and the flows' tokens [B * T, K]."""
        count = len(SKELETON)
        x = self.inputs(tokens[:, :-1, :count], situation[:, :-1])
        begin = self.begin + self.clock(first)
        x = torch.cat([torch.where(is_start[:, None], begin, x[:, 0])[:, None], x[:, 1:]], dim=1)
        state = self.transformer(self.dropout(x), first_position=position)  # (B, T, H)
        flat = state.reshape(-1, state.shape[-1])
        target = tokens[:, 1:].reshape(flat.shape[0], -1)
        clock = situation[:, 1:, :CLOCK_WIDTH].reshape(flat.shape[0], -1)
        return flat, self.detail_state(flat, target[:, :count], clock), target

    def detail_state(self, state: Tensor, skeleton: Tensor, clock: Tensor) -> Tensor:
        """State of the detail decoder [M, H] from the transformer's and the skeleton."""
        x = self.dropout(self.detail_embed(skeleton)) + self.detail_clock(clock)
        return functional.gelu(self.join(self.dropout(state))) + x  # type: ignore[no-any-return]


def clock_features(time: Tensor, window: Tensor | float) -> Tensor:
    """Describe times since the window's start, both in ns: float32 [..., CLOCK_WIDTH].

    Sines of the place in the window, the place itself, and logs of the time gone and left, by
    which flows that an edge of the capture cuts are told.
    """
    share = (time / window).clamp(0, 1).float()
    angles = share[..., None] * torch.tensor(
        [2 * math.pi * 2**k for k in range(CLOCK_RATES)], device=time.device
    )
    left = torch.log1p(((1 - share) * 1e6).clamp(min=0)) / 14
    gone = torch.log1p(share * 1e6) / 14
    rest = torch.stack([share, left, gone], dim=-1)
    return torch.cat([angles.sin(), angles.cos(), rest], dim=-1)
