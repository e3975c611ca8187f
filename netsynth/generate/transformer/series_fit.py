"""Fitting the series level on the flows that last longer than a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.series_level import SeriesLevel
from netsynth.generate.transformer.training import EPSILON, FitControl, FitOutcome, fit_level
from netsynth.numbers import IntArray
from netsynth.tables import EncodedTrace, TokenField

PRIOR_STEPS = 1 << 13  # steps that the outputs start from, at most
LONGEST = 256  # active steps of a flow that are learned from


@dataclass(slots=True)
class SeriesData:
    """Active steps of the flows that have several; rows of one flow are neighbours.

    Attributes:
        flow_tokens: int64 [B, K].
        offsets: int64 [B + 1].
        tokens: int64 [S, 5], PARTS of series_level.
        left: float64 [S, 5], steps, packets and bytes left before each step.
        phases: float64 [B, 2], see `SeriesLevel.flow_vector`.
    """

    flow_tokens: Tensor
    offsets: IntArray
    tokens: Tensor
    left: Tensor
    phases: Tensor

    def batch(self, rows: IntArray) -> tuple[Tensor, ...]:
        """Pad the flows `rows` to one length: flow tokens, phases, tokens, left, valid, first."""
        counts = np.minimum(self.offsets[rows + 1] - self.offsets[rows], LONGEST)
        width = int(counts.max())
        inside = np.arange(width)[None, :]
        index = np.minimum(self.offsets[rows][:, None] + inside, self.tokens.shape[0] - 1)
        known = inside < counts[:, None] - 1  # the last step follows from what is left
        device = self.tokens.device
        place = torch.as_tensor(index, device=device)
        valid = torch.as_tensor(known, device=device)
        first = torch.zeros_like(valid)
        first[:, 0] = True
        flow = torch.as_tensor(rows, device=device)
        flows = self.flow_tokens[flow]
        return flows, self.phases[flow], self.tokens[place], self.left[place], valid, first


def series_data(
    traces: list[EncodedTrace], fields: tuple[TokenField, ...], device: torch.device
) -> SeriesData | None:
    """Lay out the series of all flows with several active steps; None where there are none."""
    flow_tokens, tokens, left, counts, phases = [], [], [], [], []
    skip_codec, packet_codec, byte_codec = (f.number for f in fields)
    assert skip_codec
    assert packet_codec
    assert byte_codec
    for trace in traces:
        count = np.diff(trace.series_offsets)
        several = count > 1
        row_flow = np.repeat(np.arange(len(trace)), count)
        keep = several[row_flow]
        first = trace.series_offsets[:-1][row_flow]
        step = trace.series_step.astype(np.int64)
        begins = np.arange(step.size) == first
        skip = np.where(begins, 0, np.diff(step, prepend=0))
        last = step[trace.series_offsets[1:] - 1][row_flow]
        values = trace.series_values
        total = np.concatenate([np.zeros((1, 4), np.int64), np.cumsum(values, axis=0)])
        remaining = trace.totals[row_flow] - (total[:-1] - total[first])
        columns = [skip_codec.encode(skip)]
        columns += [packet_codec.encode(values[:, i]) for i in (0, 1)]
        columns += [byte_codec.encode(values[:, i]) for i in (2, 3)]
        ahead = last - step + skip
        tokens.append(np.stack(columns, axis=1)[keep])
        left.append(np.concatenate([ahead[:, None], remaining], axis=1)[keep])
        flow_tokens.append(trace.tokens[several])
        counts.append(count[several])
        scale = trace.step_count / trace.window_ns
        start = trace.start_ns[several] * scale
        end = (trace.start_ns + trace.duration_ns)[several] * scale
        phases.append(np.stack([1 - start % 1, end % 1], axis=1))
    if sum(c.size for c in counts) < 2:
        return None
    together = np.concatenate(counts)
    return SeriesData(
        flow_tokens=torch.as_tensor(np.concatenate(flow_tokens).astype(np.int64), device=device),
        offsets=np.concatenate([[0], np.cumsum(together)]).astype(np.int64),
        tokens=torch.as_tensor(np.concatenate(tokens), device=device),
        left=torch.as_tensor(np.concatenate(left).astype(np.float64), device=device),
        phases=torch.as_tensor(np.concatenate(phases), device=device),
    )


def fit_series(
    level: SeriesLevel,
    traces: list[EncodedTrace],
    *,
    config: TransformerConfig,
    seed: int,
    device: torch.device,
    control: FitControl,
) -> FitOutcome | None:
    """Train the series level on `traces`; None where no flow lasts longer than a step."""
    fields = traces[0].series_fields
    data = series_data(traces, fields, device)
    if data is None:
        return None
    random = np.random.default_rng([seed, 2])
    count = data.offsets.size - 1
    chosen = random.permutation(count)
    held = max(round(count * config.held_out), 1)
    test, train = np.sort(chosen[:held]), chosen[held:]
    size = int(np.clip(count // 16, 4, 256))

    known = torch.ones(data.tokens.shape[0], dtype=torch.bool, device=device)
    known[torch.as_tensor(data.offsets[1:] - 1, device=device)] = False  # the last follows
    value = data.left - torch.cat([data.left[1:], data.left[-1:]])
    begins = torch.zeros_like(known)
    begins[torch.as_tensor(data.offsets[:-1], device=device)] = True
    some = torch.nonzero(known)[:, 0]
    if some.numel() > PRIOR_STEPS:
        drawn = np.random.default_rng([seed, 5]).permutation(some.numel())[:PRIOR_STEPS]
        some = some[torch.as_tensor(np.sort(drawn), device=device)]
    level.set_prior(data.tokens[some], value[some], data.left[some], begins[some])

    def loss(rows: IntArray) -> Tensor:
        flows, phases, tokens, left, valid, first = data.batch(rows)
        return level.loss(
            level.flow_vector(flows, phases[:, 0], phases[:, 1]), tokens, left, valid, first
        )

    def mean_loss(rows: IntArray) -> Tensor:
        return loss(rows).mean()

    def batches() -> Iterator[Callable[[], Tensor]]:
        lengths = np.diff(data.offsets)[train] + random.random(train.size)
        order = train[np.argsort(lengths)]  # alike in length, to pad little
        groups = [order[at : at + size] for at in range(0, order.size, size)]
        for index in random.permutation(len(groups)):
            yield partial(mean_loss, groups[index])

    def evaluate() -> float:
        parts = [loss(test[at : at + 64]) for at in range(0, test.size, 64)]
        return float(torch.cat(parts).mean())

    return fit_level(
        level,
        name="series",
        batches=batches,
        evaluate=evaluate,
        config=config,
        evaluate_steps=int(np.clip(train.size // size, 10, 60)),
        control=control,
        epsilon=EPSILON,
    )
