"""Fitting the record level on all packets, those of some flows held out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.followers import DEPTH
from netsynth.generate.transformer.gap_range import OCTAVES
from netsynth.generate.transformer.pace import fastest_runs
from netsynth.generate.transformer.record_context import RecordContext
from netsynth.generate.transformer.record_data import (
    record_context,
    record_gaps,
    record_targets,
)
from netsynth.generate.transformer.record_level import (
    GAP,
    KIND,
    LENGTH,
    REMAINDERS,
    TOLD,
    WINDOW,
    RecordLevel,
)
from netsynth.generate.transformer.rulers import fit_by_delay
from netsynth.generate.transformer.training import EPSILON, FitControl, FitOutcome, fit_level
from netsynth.numbers import IntArray
from netsynth.tables import EncodedTrace

FORGET = 0.05  # share of histories hidden in training, so that drawing may begin inside a flow


def fit_records(
    level: RecordLevel,
    traces: list[EncodedTrace],
    *,
    config: TransformerConfig,
    seed: int,
    device: torch.device,
    control: FitControl,
) -> FitOutcome:
    """Train the record level on `traces`."""
    random = np.random.default_rng([seed, 3])
    noise = torch.Generator(device="cpu").manual_seed(seed)
    fastest = torch.as_tensor(fastest_runs(traces, level.fastest_runs.shape[0]))
    level.fastest_runs = fastest.to(device)
    contexts = [
        record_context(t, fastest, history=config.record_history, random=random) for t in traces
    ]
    targets = [torch.as_tensor(record_targets(t)) for t in traces]
    gaps = [torch.as_tensor(record_gaps(t).astype(np.float64)) for t in traces]
    flows = [torch.as_tensor(t.tokens.astype(np.int64)) for t in traces]
    ends = np.cumsum([0] + [int(t.shape[0]) for t in targets])
    flow_of = [np.repeat(np.arange(len(t)), np.diff(t.record_offsets)) for t in traces]
    held = []
    for trace, of in zip(traces, flow_of, strict=True):
        chosen = random.random(len(trace)) < config.held_out
        chosen[random.integers(len(trace))] = True
        held.append(chosen[of])
    is_test = np.concatenate(held)
    train, test = np.flatnonzero(~is_test), np.flatnonzero(is_test)
    if train.size == 0:
        train = test
    if test.size > 40_000:
        test = np.sort(random.choice(test, 40_000, replace=False))
    size = int(np.clip(train.size // 12, 64, config.batch_records))
    targets = _tell_lengths(level, traces, flows, flow_of, contexts, targets)
    sizes = list(level.sizes)
    sizes[LENGTH] += REMAINDERS
    columns = (KIND, GAP, TOLD, WINDOW)
    counts = [
        torch.bincount(torch.cat([t[:, i] for t in targets]), minlength=s)
        for i, s in zip(columns, sizes, strict=True)
    ]
    level.set_prior([c.to(device) for c in counts])
    _learn_followers(level, flows, flow_of, targets, history=config.record_history)
    _learn_gaps(level, flows, flow_of, targets, gaps)
    _learn_rulers(level, flows, flow_of, contexts, targets, gaps)

    def loss(rows: IntArray, *, forget: bool) -> Tensor:
        losses = []
        for index in range(len(traces)):
            mine = rows[(rows >= ends[index]) & (rows < ends[index + 1])] - ends[index]
            if mine.size == 0:
                continue
            place = torch.as_tensor(mine)
            context: RecordContext = contexts[index].take(place)
            if forget:
                hidden = torch.rand(mine.size, generator=noise) < FORGET
                context.history = context.history.masked_fill(hidden[:, None, None], 0)
            tokens = flows[index][torch.as_tensor(flow_of[index][mine])].to(device)
            target = targets[index][place].to(device)
            gap = gaps[index][place].to(device)
            losses.append(level.loss(tokens, context.to(device), target, gap))
        return torch.cat(losses)

    def mean_loss(rows: IntArray) -> Tensor:
        return loss(rows, forget=True).sum(1).mean()

    def batches() -> Iterator[Callable[[], Tensor]]:
        order = random.permutation(train)
        for at in range(0, order.size, size):
            yield partial(mean_loss, order[at : at + size])

    def evaluate() -> float:
        parts = [loss(test[at : at + 8192], forget=False) for at in range(0, test.size, 8192)]
        return float(torch.cat(parts).sum(1).mean())

    return fit_level(
        level,
        name="records",
        batches=batches,
        evaluate=evaluate,
        config=config,
        evaluate_steps=int(np.clip(train.size // size, 15, 60)),
        control=control,
        epsilon=EPSILON,
    )


def _tell_lengths(
    level: RecordLevel,
    traces: list[EncodedTrace],
    flows: list[Tensor],
    flow_of: list[IntArray],
    contexts: list[RecordContext],
    targets: list[Tensor],
) -> list[Tensor]:
    """Add to the targets how lengths are told, int64 [N, 5] each; all traces count together."""
    device = level.kind_reverse.device
    kind = torch.cat([t[:, KIND] for t in targets]).to(device)
    size = torch.cat([torch.as_tensor(t.record_bytes) for t in traces]).long().to(device)
    service = torch.cat(
        [t[torch.as_tensor(of), level.service_place] for t, of in zip(flows, flow_of, strict=True)]
    ).to(device)
    left = torch.cat([c.bytes_left for c in contexts]).to(device)
    exact = torch.cat([c.exact for c in contexts]).to(device)
    level.learn_remainders(kind, service, size, left, exact)
    told = level.length_told(kind, service, size, left, exact).cpu()
    parts = torch.split(told, [t.shape[0] for t in targets])
    last = torch.cat(
        [_kind_before(t[:, KIND], of, 1) for t, of in zip(targets, flow_of, strict=True)]
    ).to(device)
    rows = level.kind_payload[kind]
    level.learn_lengths(service[rows], last[rows], kind[rows], size[rows])
    return [torch.cat([t, p[:, None]], dim=1) for t, p in zip(targets, parts, strict=True)]


def _kind_before(kind: Tensor, flow_of: IntArray, back: int) -> Tensor:
    """Kind plus 1 of the record `back` before each [M] in its flow, 0 where there is none."""
    own = torch.as_tensor(flow_of)
    earlier = torch.zeros_like(kind)
    earlier[back:] = torch.where(own[back:] == own[:-back], kind[:-back] + 1, 0)
    return earlier


def _learn_followers(
    level: RecordLevel,
    flows: list[Tensor],
    flow_of: list[IntArray],
    targets: list[Tensor],
    *,
    history: int,
) -> None:
    """Learn what comes behind kinds of packets, of those that are seen in drawing."""
    device, columns = level.kind_reverse.device, []
    for tokens, of, target in zip(flows, flow_of, targets, strict=True):
        behind = [target[:, KIND] + 1]  # newest first
        for back in range(1, DEPTH + 1):
            known = back <= history
            earlier = _kind_before(target[:, KIND], of, back)
            behind.append(earlier if known else torch.zeros_like(earlier))
        stack = level.stack(tokens.to(device)).cpu()[torch.as_tensor(of)]
        columns.append(torch.stack([stack, target[:, WINDOW], *behind]))
    stack, window, *behind = torch.cat(columns, dim=1).to(device)
    kinds = torch.stack(behind[::-1], dim=1)  # oldest first, the record's own the last
    level.next_windows.learn(stack, kinds[:, 1:], window)
    ends = torch.cat([kinds[1:, -2] == 0, kinds.new_ones(1).bool()])  # one begins behind it
    over = torch.full_like(window[ends], level.sizes[KIND])
    last_ones = kinds[ends, 1:]
    last_ones[:, : max(DEPTH - history, 0)] = 0
    level.next_kinds.learn(
        torch.cat([stack, stack[ends]]) // 2,
        torch.cat([kinds[:, :-1], last_ones]),
        torch.cat([kinds[:, -1] - 1, over]),
    )


def _learn_gaps(
    level: RecordLevel,
    flows: list[Tensor],
    flow_of: list[IntArray],
    targets: list[Tensor],
    gaps: list[Tensor],
) -> None:
    """Learn how gaps lie in their bins, and how short and long they are.

    Those before the first records of flows are none.
    """
    service, before, kind, gap, last = [], [], [], [], []
    for tokens, of, target, gap_ns in zip(flows, flow_of, targets, gaps, strict=True):
        later = torch.as_tensor(np.flatnonzero(np.diff(of, prepend=-1) == 0))
        service.append(tokens[torch.as_tensor(of)[later], level.service_place])
        before.append(target[later - 1, KIND])
        kind.append(target[later, KIND])
        gap.append(gap_ns[later])
        last.append(target[later - 1, GAP] + 1)
    device = level.kind_reverse.device
    *columns, token = [torch.cat(c).to(device) for c in (service, before, kind, gap, last)]
    level.gap_range.learn(*columns)
    level.gap_after.learn(columns[0] * OCTAVES + level.gap_octaves[token], *columns[1:])
    level.gaps.timers.learn(level.gap, columns[0], *columns[2:])


def _learn_rulers(
    level: RecordLevel,
    flows: list[Tensor],
    flow_of: list[IntArray],
    contexts: list[RecordContext],
    targets: list[Tensor],
    gaps: list[Tensor],
) -> None:
    """Learn whose gaps go by the delay of their flow."""
    names = [f.name for f in level.flow_fields]
    hosts = [names.index(name) for name in ("initiator", "responder")]
    places, pairs, told, delays = [], [], [], []
    kinds = level.sizes[KIND]
    is_reverse = level.kind_reverse.cpu()
    for tokens, of, context, target, gap_ns in zip(
        flows, flow_of, contexts, targets, gaps, strict=True
    ):
        own, kind = tokens[torch.as_tensor(of)], target[:, KIND]
        answers = is_reverse[kind] != context.first_reverse
        delay = torch.where(answers, context.delays[:, 0], context.delays[:, 1])
        due = (context.due_left >= 0) & (answers != context.due_reply)  # told by the delay itself
        told.append(gap_ns.masked_fill(due | (context.position == 0), 0.0))
        pairs.append(own[:, hosts[0]] << 32 | own[:, hosts[1]])
        places.append(own[:, level.service_place] * kinds + kind)
        delays.append(delay)
    found = fit_by_delay(
        torch.cat(places).numpy(),
        torch.cat(pairs).numpy(),
        torch.cat(told).numpy(),
        torch.cat(delays).numpy(),
        size=level.by_delay.numel(),
    )
    level.by_delay = torch.as_tensor(found.reshape(-1, kinds), device=level.by_delay.device)
