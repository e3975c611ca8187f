"""Fitting the flow level: chunks of the sequence of flows, blocks of it held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.couplings import FlowScores
from netsynth.generate.transformer.flow_level import FlowLevel, clock_features
from netsynth.generate.transformer.limits import fastest_rates
from netsynth.generate.transformer.plan import Plans, part_edges, parts_of
from netsynth.generate.transformer.plan_left import counts_before, left_after
from netsynth.generate.transformer.training import EPSILON, FitControl, FitOutcome, fit_level
from netsynth.tables import EncodedTrace

CHUNK = 128  # flows in a training sequence
BLOCK = 32  # flows that are held out together, so that neighbours do not tell


@dataclass(slots=True)
class FlowData:
    """Flows of one window.

    Attributes:
        tokens: int64 [F, K].
        start_ns: float64 [F].
        clock: float32 [F, CLOCK_WIDTH].
        share: float64 [F], share of the window's time that is gone.
        held_out: bool [F], flows that decide when to stop.
        first_clock: float32 [CLOCK_WIDTH], at the window's start.
        edges: float64 [P], share of the window at which each part ends, see `plan.part_edges`.
        until: float32 [P, services] and [P, outcomes], flows until the end of each part.
        before: float32 [C, services] and [C, outcomes], flows before every CHUNK-th one.
        classes: int64 [F, 3], service, outcome and responder.
        part: int64 [F], the part that goes on after each flow.
    """

    tokens: Tensor
    start_ns: Tensor
    clock: Tensor
    share: Tensor
    held_out: Tensor
    first_clock: Tensor
    edges: Tensor
    until: tuple[Tensor, Tensor]
    before: tuple[Tensor, Tensor]
    classes: Tensor
    part: Tensor

    def chunk(
        self, plans: Plans, at: int, length: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Rows at - 1 .. at + length - 1, padded.

        Returns:
            Tokens, situation, situation at the window's start, held out, and whether real.
        """
        rows = torch.arange(at - 1, at + length, device=self.tokens.device)
        real = (rows >= 0) & (rows < self.tokens.shape[0])
        rows = rows.clamp(0, self.tokens.shape[0] - 1)
        block = int(rows[0]) // CHUNK
        some = slice(block * CHUNK, int(rows[-1]) + 1)
        lefts = [
            left_after(
                self.until[i][self.part[some]] - self.before[i][block], self.classes[some, i]
            )
            for i in (0, 1)
        ]
        inside = rows - block * CHUNK
        share_left = (self.edges[self.part[rows]] - self.share[rows]).float()
        told = plans.features(lefts[0][inside], lefts[1][inside], share_left)
        situation = torch.cat([self.clock[rows], told], dim=1)
        part = parts_of(self.share[:1], self.edges)[0]
        start = plans.features(self.until[0][part], self.until[1][part], self.edges[part].float())
        first = torch.cat([self.first_clock, start])
        return self.tokens[rows], situation, first, self.held_out[rows] & real, real


def flow_data(
    plans: Plans,
    trace: EncodedTrace,
    *,
    windows: int = 1,
    share: float,
    random: np.random.Generator,
    device: torch.device,
) -> FlowData:
    """Lay out the flows of `trace`, one of `windows`, and hold a `share` of them out."""
    count = len(trace)
    block = int(np.clip(count // 40, 1, BLOCK))
    blocks = -(-count // block)
    chosen = np.zeros(blocks, dtype=np.bool_)
    chosen[random.permutation(blocks)[: max(round(share * blocks), 1)]] = True
    held_out = np.repeat(chosen, block)[:count]
    start = torch.as_tensor(trace.start_ns, device=device)
    tokens = torch.as_tensor(trace.tokens.astype(np.int64), device=device)
    classes = plans.classes(tokens)
    gone = start.double() / trace.window_ns
    edges = part_edges(gone, windows=windows)
    part = parts_of(gone, edges)
    ends = torch.bincount(part, minlength=edges.numel()).cumsum(0)
    until = [
        torch.stack([torch.bincount(classes[:end, i], minlength=size).float() for end in ends])
        for i, size in enumerate(plans.sizes)
    ]
    return FlowData(
        tokens=tokens,
        start_ns=start.double(),
        share=gone,
        edges=edges,
        until=(until[0], until[1]),
        before=(
            counts_before(classes[:, 0], plans.sizes[0], every=CHUNK),
            counts_before(classes[:, 1], plans.sizes[1], every=CHUNK),
        ),
        classes=classes,
        part=torch.cat([part[1:], part[-1:]]),
        clock=clock_features(start, trace.window_ns),
        held_out=torch.as_tensor(held_out, device=device),
        first_clock=clock_features(torch.zeros((), device=device), trace.window_ns),
    )


def fit_flows(
    level: FlowLevel,
    traces: list[EncodedTrace],
    *,
    config: TransformerConfig,
    seed: int,
    device: torch.device,
    control: FitControl,
) -> FitOutcome:
    """Train the flow level on `traces`."""
    random = np.random.default_rng([seed, 1])
    plans = level.plans
    data = [
        flow_data(
            plans, t, windows=len(traces), share=config.held_out, random=random, device=device
        )
        for t in traces
    ]
    plans.learn([(d.classes, d.share, d.edges) for d in data])
    tokens = torch.cat([d.tokens for d in data])
    level.set_counts(tokens[~torch.cat([d.held_out for d in data])], choose=True)
    flow_count = tokens.shape[0]
    length = int(np.clip(flow_count // 8, 8, CHUNK))
    chunks = max(min(config.batch_flows, flow_count // 8) // length, 1)
    held_out = sum(int(d.held_out.sum()) for d in data)

    def loss(places: list[tuple[int, int]], *, train: bool) -> tuple[Tensor, Tensor]:
        parts = [data[d].chunk(plans, at, length) for d, at in places]
        tokens, situation, first, held, real = (torch.stack(x) for x in zip(*parts, strict=True))
        place = torch.tensor([at for _, at in places], device=device)
        skeleton, details = level.loss(tokens, situation, first, place == 0, place)
        wanted = (real & ~held if train else held)[:, 1:]
        each = skeleton.sum(2) + details.sum(2)
        return (each * wanted).sum(), wanted.sum()

    def mean_loss(places: list[tuple[int, int]]) -> Tensor:
        total, count = loss(places, train=True)
        return total / count.clamp(min=1)

    def batches() -> Iterator[Callable[[], Tensor]]:
        places = _places(data, length=length, random=random)
        for at in range(0, len(places), chunks):
            yield partial(mean_loss, places[at : at + chunks])

    def evaluate() -> float:
        places = _places(data, length=length, random=None)
        parts = [loss(places[at : at + 8], train=False)[0] for at in range(0, len(places), 8)]
        return float(torch.stack(parts).sum()) / max(held_out, 1)

    outcome = fit_level(
        level,
        name="flows",
        batches=batches,
        evaluate=evaluate,
        config=config,
        evaluate_steps=max(20, flow_count // (length * chunks)),
        control=control,
        epsilon=EPSILON,
    )
    level.set_counts(tokens, choose=False)
    level.couplings.learn(
        [_scores(level, window) for window in data], window_ns=traces[0].window_ns
    )
    level.fastest = torch.as_tensor(fastest_rates(traces), device=device)
    return outcome


@torch.no_grad()
def _scores(level: FlowLevel, data: FlowData) -> FlowScores:
    """Tell where the details of the flows of a window lie in their distributions."""
    level.eval()
    found = []
    for at in range(0, data.tokens.shape[0], CHUNK):
        tokens, situation, first, _, real = data.chunk(level.plans, at, CHUNK)
        place = torch.tensor([at], device=tokens.device)
        score, spread = level.scores(tokens[None], situation[None], first[None], place == 0, place)
        found.append((score[0, real[1:]], spread[0, real[1:]]))
    score, spread = (torch.cat(part) for part in zip(*found, strict=True))
    return FlowScores(tokens=data.tokens, start_ns=data.start_ns, score=score, spread=spread)


def _places(
    data: list[FlowData], *, length: int, random: np.random.Generator | None
) -> list[tuple[int, int]]:
    """Where chunks start: (window, row); shifted and shuffled where `random` is given."""
    places = []
    for index, window in enumerate(data):
        count = window.tokens.shape[0]
        shift = int(random.integers(length)) if random is not None else 0
        starts = [*range(shift, count, length)] if shift == 0 else [0, *range(shift, count, length)]
        places += [(index, at) for at in starts]
    if random is not None:
        places = [places[i] for i in random.permutation(len(places))]
    return places
