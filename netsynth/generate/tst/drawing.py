"""Drawing series from the likelihood model, many side by side."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from netsynth.dataset import COUNT, SeriesDataset
from netsynth.generate.transformer.fields import FieldDecoder
from netsynth.generate.tst.fit import steered
from netsynth.generate.tst.layers import draw
from netsynth.generate.tst.likelihood import LAGS, SeriesTransformer, progress_features
from netsynth.generate.tst.tokens import SeriesTokens
from netsynth.numbers import FloatArray, IntArray

LARGEST_STRETCH = 2.0  # that values are scaled by, at most, to meet their total
SMALL_COUNT = 16  # counts up to it are never scaled


def known_prefix(
    tokens: SeriesTokens, count: int, metadata: FloatArray | None, lengths: IntArray | None
) -> IntArray:
    """Prefixes [count, P] of wanted metadata [count, m] and lengths [count]; -1: not wanted."""
    known = np.full((count, len(tokens.prefix_fields)), -1, dtype=np.int64)
    if metadata is not None:
        for place in range(metadata.shape[1]):
            given = ~np.isnan(metadata[:, place])
            known[given, place] = tokens.encode_metadata(place, metadata[given, place])
    if lengths is not None:
        codec = tokens.prefix_codecs[tokens.length_place]
        assert codec is not None
        known[:, tokens.length_place] = codec.encode(lengths)
    return known


def draw_prefix(decoder: FieldDecoder, known: Tensor, *, random: torch.Generator) -> Tensor:
    """Draw prefixes: tokens int64 [B, P], those of `known` [B, P] where they are not -1.

    Columns are drawn in order, so that a known one steers those behind it alone.
    """
    state = torch.zeros(len(known), decoder.norm.normalized_shape[0], device=known.device)
    seen = known[:, :0]
    for place, embed in enumerate(decoder.embed):
        token = known[:, place]
        if bool((token < 0).any()):
            token = torch.where(token < 0, draw(decoder.logits(place, state, seen), random), token)
        seen = torch.cat([seen, token[:, None]], dim=1)
        state = state + embed(token)
    return seen


def draw_values(
    network: SeriesTransformer,
    tokens: SeriesTokens,
    prefix: IntArray,
    metadata: FloatArray,
    within: IntArray,
    totals: FloatArray,
    *,
    random: torch.Generator,
    uniform: np.random.Generator,
) -> tuple[FloatArray, IntArray]:
    """Draw the series of prefixes.

    Args:
        network: The fitted values level.
        tokens: Its codecs.
        prefix: int64 [B, P].
        metadata: float64 [B, m].
        within: int64 [B, 2], fewest and most records of each.
        totals: float64 [B, M], what the numbers of each should add up to.
        random: Of the draws of the network.
        uniform: Of places in bins.

    Returns:
        Cells float64 [N, K], series one after the other, and lengths int64 [B].
    """
    device, patch = network.bos.device, tokens.patch
    batch, count = len(prefix), len(tokens.values)
    limit = int(within[:, 1].max())
    patches = -(-limit // patch)
    cells = np.zeros((batch, patches * patch, count))
    lengths = np.zeros(batch, dtype=np.int64)
    expectations = tokens.expectations(prefix, metadata)
    means = np.ones((batch, count))
    means[:, tokens.totalled] = totals / within.mean(axis=1)[:, None]
    means = np.where(means > 0, means, 1.0)
    expected = torch.as_tensor(expectations)
    mask, done = torch.as_tensor(steered(tokens)), np.zeros((batch, len(tokens.totalled)))
    alive = np.arange(batch)
    bounds = torch.as_tensor(within).to(device)
    given = torch.as_tensor(prefix).to(device)
    state, cache = network.start(given, patches)
    kind = network.kinds(given).detach()
    earlier: list[Tensor] = []  # embedded records, the last first
    for index in range(patches):
        first = index * patch
        held = network.draw_end(state, first, bounds, random)
        counts = held.cpu().numpy()
        lengths[alive] = first + counts
        records = []
        for place in range(int(counts.max(initial=0))):
            token, number, record = network.draw_record(state, kind, first + place, earlier, random)
            cell = _decode(tokens, token, number, means[alive], uniform)
            exists = counts > place
            cells[alive[exists], first + place] = cell[exists]
            done[alive] += cell[:, tokens.totalled] * exists[:, None]
            earlier = [record, *earlier[: LAGS - 1]]
            records.append(record)
        going = np.flatnonzero((counts == patch) & (lengths[alive] < within[alive, 1]))
        if going.size == 0 or index + 1 == patches:
            break
        if going.size < alive.size:
            rows = torch.as_tensor(going).to(device)
            cache.keep(rows)
            bounds, kind, records = bounds[rows], kind[rows], [part[rows] for part in records]
            earlier, alive = [record[rows] for record in earlier], alive[going]
        step = torch.full((alive.size,), float(first + patch), dtype=torch.float64)
        progress = progress_features(
            torch.as_tensor(done[alive]), step, expected[torch.as_tensor(alive)], is_steered=mask
        )
        read: Tensor = torch.stack(records, dim=1)  # [B, S, H]
        state = network.step(read, progress.float().to(device), cache)
    active = np.arange(cells.shape[1]) < lengths[:, None]
    return cells[active], lengths


def meet_totals(dataset: SeriesDataset, tokens: SeriesTokens, totals: FloatArray) -> SeriesDataset:
    """Scale the numbers of each series so that they add up to totals [F, M], within bounds.

    Zeros and small counts stay, no value leaves its column's range, and none is scaled by more
    than LARGEST_STRETCH.
    """
    values, sample = dataset.values.copy(), dataset.sample_of_record
    for index, measurement in enumerate(tokens.totalled):
        column = dataset.schema.measurements[measurement]
        if column.low < 0:
            continue  # totals of signed numbers cannot be met by scaling
        cell = values[:, measurement]
        kept = cell <= SMALL_COUNT if column.kind == COUNT else cell == 0
        scaled = np.add.reduceat(np.where(kept, 0, cell), dataset.offsets[:-1])
        fixed = np.add.reduceat(np.where(kept, cell, 0), dataset.offsets[:-1])
        wanted = np.maximum(totals[:, index] - fixed, 0)
        factor = np.divide(wanted, scaled, out=np.ones_like(wanted), where=scaled > 0)
        factor = np.clip(factor, 1 / LARGEST_STRETCH, LARGEST_STRETCH)
        made = cell * factor[sample]
        made = np.round(made) if column.kind == COUNT else made
        values[:, measurement] = np.where(kept, cell, np.clip(made, column.low, column.high))
    return SeriesDataset(
        schema=dataset.schema, metadata=dataset.metadata, values=values, offsets=dataset.offsets
    )


def _decode(
    tokens: SeriesTokens,
    token: Tensor,
    number: Tensor,
    means: FloatArray,
    uniform: np.random.Generator,
) -> FloatArray:
    """Cells [B, K] of what the network drew."""
    token_table, number_table = token.cpu().numpy(), number.cpu().numpy().astype(np.float64)
    place = uniform.random(token_table.shape)
    return np.stack(
        [
            value.decode(
                token_table[:, index], number_table[:, index], means[:, index], place[:, index]
            )
            for index, value in enumerate(tokens.values)
        ],
        axis=1,
    )
