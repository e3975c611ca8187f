"""Fitting the likelihood model: the prefix and the values, each until held-out data says stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import Tensor

from netsynth.dataset import SeriesDataset
from netsynth.generate.transformer.config import TransformerConfig
from netsynth.generate.transformer.fields import FieldDecoder
from netsynth.generate.transformer.training import FitControl, FitOutcome, fit_level
from netsynth.generate.tst.config import TstConfig
from netsynth.generate.tst.likelihood import Batch, SeriesTransformer, progress_features
from netsynth.generate.tst.tokens import SeriesTokens, pad
from netsynth.generate.tst.totals import SMALLEST_GAIN, left_out_nats
from netsynth.generate.tst.values import series_means
from netsynth.numbers import IntArray
from netsynth.tables import TokenField

PREFIX_BATCH = 512  # prefixes a step
MOST_JUDGED = 2000  # held-out samples that an evaluation looks at
MOST_PARENTS = 3  # columns whose counts tell of another
SORTED_BATCHES = 16  # put in order of length together, so that little is padded


def split_samples(count: int, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Choose the samples to learn from and those to judge by: int64 [F - E] and [E]."""
    order = np.random.default_rng([seed, 1]).permutation(count)
    held = max(1, round(count * share)) if count > 1 else 0
    return order[held:], order[:held] if held else order


def choose_parents(
    fields: tuple[TokenField, ...], prefix: IntArray
) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Choose, for each column of the prefix, the columns before it whose counts tell most of it.

    Args:
        fields: Columns of the prefix.
        prefix: int64 [F, P].

    Returns:
        By column, levels of parents from coarse to fine, for `FieldDecoder`. Of numbers, counts
        under the first parent are blurred before they are taken as they are: of a kind of series
        that has one to five records, another has six sooner than thirty.
    """
    chosen: dict[str, tuple[tuple[str, ...], ...]] = {}
    for place, item in enumerate(fields):
        order: list[int] = []
        code = np.zeros(len(prefix), dtype=np.int64)
        reached = left_out_nats(code, prefix[:, place], item.size)
        while item.size > 1 and len(order) < MOST_PARENTS:
            loss = {
                other: left_out_nats(
                    code * fields[other].size + prefix[:, other], prefix[:, place], item.size
                )
                for other in range(place)
                if other not in order and fields[other].size > 1
            }
            best = min(loss, key=lambda other: loss[other], default=-1)
            if best < 0 or loss[best] > reached - SMALLEST_GAIN:
                break
            order.append(best)
            reached = loss[best]
            code = np.unique(code * fields[best].size + prefix[:, best], return_inverse=True)[1]
        names = [fields[other].name for other in order]
        levels = [tuple(names[: end + 1]) for end in range(len(names))]
        if names and item.number is not None:
            levels.insert(0, (f"~{names[0]}",))
        chosen[item.name] = tuple(levels)
    return chosen


def fit_prefix(
    decoder: FieldDecoder,
    start: Tensor,
    prefix: IntArray,
    *,
    config: TstConfig,
    seed: int,
    device: torch.device,
    control: FitControl,
) -> FitOutcome:
    """Train the prefix level on prefixes [F, P]."""
    random = np.random.default_rng([seed, 2])
    train, test = split_samples(len(prefix), config.held_out, seed)
    every = torch.as_tensor(prefix).to(device)
    nothing = every[:, :0]
    decoder.set_counts(every[torch.as_tensor(train)], nothing[: train.size], choose=True)

    def loss(rows: IntArray) -> Tensor:
        some = every[torch.as_tensor(rows)]
        state = start.expand(len(some), -1)
        return decoder.loss(state, some, nothing[: len(some)]).sum(1).mean()

    def batches() -> Iterator[Callable[[], Tensor]]:
        order = random.permutation(train)
        for at in range(0, order.size, PREFIX_BATCH):
            yield partial(loss, order[at : at + PREFIX_BATCH])

    outcome = fit_level(
        decoder,
        name="metadata",
        batches=batches,
        evaluate=lambda: float(loss(test[:MOST_JUDGED])),
        config=_plan(config),
        evaluate_steps=int(np.clip(train.size // PREFIX_BATCH, 20, 100)),
        control=control,
    )
    decoder.set_counts(every, nothing, choose=False)
    return outcome


def fit_values(
    network: SeriesTransformer,
    tokens: SeriesTokens,
    dataset: SeriesDataset,
    *,
    config: TstConfig,
    seed: int,
    device: torch.device,
    control: FitControl,
) -> FitOutcome:
    """Train the values level."""
    random = np.random.default_rng([seed, 3])
    data = SeriesBatches(tokens, dataset)
    train, test = split_samples(len(dataset), config.held_out, seed)
    test = np.sort(test[:MOST_JUDGED])
    usual = float(dataset.lengths.mean())
    network.set_prior(
        [
            None if value.has_number
            else torch.bincount(torch.as_tensor(data.tokens[:, place]), minlength=value.size)
            for place, value in enumerate(tokens.values)
        ]
    )  # fmt: skip

    def loss(rows: IntArray) -> Tensor:
        return network.loss(data.batch(rows, device)).mean() / usual

    def batches() -> Iterator[Callable[[], Tensor]]:
        order = random.permutation(train)
        group = SORTED_BATCHES * config.batch
        for at in range(0, order.size, group):
            some = order[at : at + group]
            some = some[np.argsort(dataset.lengths[some], kind="stable")]
            starts = random.permutation(np.arange(0, some.size, config.batch))
            for begin in starts:
                yield partial(loss, some[begin : begin + config.batch])

    def evaluate() -> float:
        ordered = test[np.argsort(dataset.lengths[test], kind="stable")]
        total = 0.0
        for at in range(0, ordered.size, config.batch):
            total += float(network.loss(data.batch(ordered[at : at + config.batch], device)).sum())
        return total / float(dataset.lengths[test].sum())

    steps = -(-train.size // config.batch)
    return fit_level(
        network,
        name="series",
        batches=batches,
        evaluate=evaluate,
        config=_plan(config),
        evaluate_steps=int(np.clip(2 * steps, 30, 200)),
        control=control,
    )


class SeriesBatches:
    """A dataset as tokens, from which batches are cut."""

    def __init__(self, tokens: SeriesTokens, dataset: SeriesDataset) -> None:
        random = np.random.default_rng(0)  # spreads counts inside the unit they fill
        nothing = np.ones(dataset.values.shape[0])
        coded = [
            value.encode(
                dataset.values[:, place],
                series_means(dataset, place) if value.is_relative else nothing,
                random.random(nothing.size),
            )
            for place, value in enumerate(tokens.values)
        ]
        self.codec, self.dataset = tokens, dataset
        self.tokens = np.stack([token for token, _ in coded], axis=1)  # [N, K]
        self.numbers = np.stack([number for _, number in coded], axis=1).astype(np.float32)
        self.prefix = tokens.encode_prefix(dataset)
        self.within = np.stack(tokens.lengths_within(self.prefix), axis=1)
        self.expected = tokens.expectations(self.prefix, dataset.metadata)
        self.is_steered = steered(tokens)

    def batch(self, rows: IntArray, device: torch.device) -> Batch:
        """Cut out samples; with room to say that a series ends after a whole patch."""
        patch, schema = self.codec.patch, self.codec.schema
        lengths = self.dataset.lengths[rows]
        limit = -(-schema.max_length // patch)
        patches = min(-(-(int(lengths.max()) + 1) // patch), limit)
        offsets, width = self.dataset.offsets, patches * patch
        summed = self.dataset.values[:, self.codec.totalled]
        done = np.cumsum(pad(summed, offsets, rows, width), axis=1)  # [B, T, M]
        done = np.concatenate([np.zeros_like(done[:, :1]), done[:, patch - 1 :: patch]], axis=1)
        step = np.minimum(np.arange(patches) * patch, lengths[:, None])
        progress = progress_features(
            torch.as_tensor(done[:, :patches]),
            torch.as_tensor(step),
            torch.as_tensor(self.expected[rows][:, None]),
            is_steered=torch.as_tensor(self.is_steered),
        ).float()
        parts = {
            "prefix": self.prefix[rows],
            "tokens": pad(self.tokens, offsets, rows, width),
            "numbers": pad(self.numbers, offsets, rows, width),
            "lengths": lengths,
            "within": self.within[rows],
            "progress": progress,
        }
        return Batch(**{name: torch.as_tensor(part).to(device) for name, part in parts.items()})


def steered(tokens: SeriesTokens) -> IntArray:
    """Which totals never fall while a series goes on, int64 [M] of 0 and 1."""
    columns = tokens.schema.measurements
    return np.array([int(columns[i].low >= 0) for i in tokens.totalled], dtype=np.int64)


def _plan(config: TstConfig) -> TransformerConfig:
    """What `fit_level` reads."""
    return TransformerConfig(
        learning_rate=config.learning_rate,
        patience=config.patience,
        max_epochs=config.max_epochs,
        dropout=config.dropout,
        held_out=config.held_out,
    )
