"""RecordLevel as flat arrays, for the kernel that samples on a CPU."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor, nn

from netsynth.generate.transformer.field_arrays import Packer, as_float32, weight_of
from netsynth.generate.transformer.number_arrays import NumberArrays, pack_numbers
from netsynth.generate.transformer.record_level import GAP, RecordLevel
from netsynth.numbers import Array

PARTS = 4  # kind, gap, length, window
TRACES = PARTS + 1  # columns of the history: the parts, and the gap in units of the delay
# tables in RecordArrays.numbers; rulers of gaps first
GAP_TABLE, DELAY_TABLE, LENGTH_TABLE, WINDOW_TABLE = 0, 1, 2, 3
RULERS = 2
# columns of RecordArrays.parts
SIZE, HIDDEN, HIDDEN_BIAS, HEAD, HEAD_BIAS, EMBED = 0, 1, 2, 3, 4, 5
# places in RecordArrays.gaps; the rulers' heads follow, weight and bias
INNER, INNER_BIAS, CHOICE, CHOICE_BIAS, RULER = 0, 1, 2, 3, 4


class RecordArrays(NamedTuple):
    """A RecordLevel as arrays.

    Embeddings that a linear map follows are kept multiplied by it: looking them up is all that
    is left to do.
    """

    numbers: NumberArrays  # of gaps in ns and in units of the delay, of lengths and windows
    windows: Array  # int64 [sizes of windows, 2], what tokens set and add
    weights: Array  # float32, matrices [in, out], biases and tables, one behind the other
    parts: Array  # int64 [4, 6], size of each part and where in `weights` it finds its own
    gaps: Array  # int64 [8], where the maps of the gap are, see INNER
    history: Array  # int64 [R, 5], where the table of each place and column of the history is
    blocks: Array  # int64 [2, 4], weight and bias of either map of each block
    progress: Array  # float32 [sum of sizes * W], row after row
    progress_start: Array  # int64 [40]
    around: Array  # float32 [AROUND * W]
    flow: Array  # float32 [H * W]
    flow_bias: Array  # float32 [W], biases of the history and the series around included
    of_protocol: Array  # uint8 [services, kinds]
    kind_reverse: Array  # uint8 [kinds]
    kind_payload: Array  # uint8 [kinds]
    kind_state: Array  # int64 [kinds]
    kind_brings: Array  # int64 [kinds], see `unheard.py`, as is ack_class
    kind_ack_class: Array  # int64 [kinds]
    shape_state: Array  # int64 [shapes]
    is_tcp: Array  # uint8 [services]
    fastest_runs: Array  # float64 [services, RUNS] ns
    by_delay: Array  # uint8 [services, kinds]
    timer_keys: Array  # int64 [K], see `timers.Timers`
    timer_rows: Array  # float64 [K, KNOTS]
    remainders: Array  # int64 [REMAINDERS], see `RecordLevel`
    most_payload: Array  # int64 [services]
    kind_keys: Array  # int64 [K], see `followers.Followers`
    kind_rows: Array  # uint8 [K, kinds]
    window_keys: Array  # int64 [K]
    window_rows: Array  # uint8 [K, windows]
    range_keys: Array  # int64 [K], see `gap_range.GapRange`
    range_rows: Array  # float64 [K, 2]
    after_keys: Array  # int64 [K], of ranges behind a gap of an octave
    after_rows: Array  # float64 [K, 2]
    gap_octaves: Array  # int64 [gaps + 1], see `gap_range.gap_octaves`
    length_keys: Array  # int64 [K], of lengths; see `RecordLevel.learn_lengths`
    length_rows: Array  # float64 [K, 2]
    hidden_width: int


def pack_record_level(level: RecordLevel) -> RecordArrays:
    """Copy what `level` learned to arrays."""
    packer = Packer()
    parts = np.zeros((PARTS, 6), dtype=np.int64)
    for part, size in enumerate(level.sizes):
        maps = (0, 0, 0, 0)
        if part != GAP:
            place = part - (part > GAP)
            head = level.heads[place]
            assert isinstance(head, nn.Linear)
            size = head.out_features
            hidden = packer.add_linear(level.hidden[place], level.norm)
            maps = (*hidden, *packer.add_linear(level.heads[place]))
        embed = level.embed[part]
        assert isinstance(embed, nn.Embedding)
        parts[part] = size, *maps, packer.add(embed.weight)
    gaps = [*packer.add_linear(level.gaps.inner, level.norm)]
    for layer in (level.gaps.choice, *level.gaps.heads):
        gaps += packer.add_linear(layer)
    history = [[packer.add(place) for place in table] for table in _history_tables(level)]
    blocks = []
    for block in level.blocks:
        assert isinstance(block, nn.Sequential)
        norm, first, _, second = block
        blocks.append((*packer.add_linear(first, norm), *packer.add_linear(second)))
    bias = level.flow_out.bias + level.history_out.bias + level.around_out.bias
    hidden_layer = level.hidden[0]
    assert isinstance(hidden_layer, nn.Linear)
    return RecordArrays(
        numbers=pack_numbers((level.gap, level.per_delay, level.length, level.window)),
        windows=level.windows.cpu().numpy(),
        weights=packer.array(),
        parts=parts,
        gaps=np.array(gaps, dtype=np.int64),
        history=np.array(history, dtype=np.int64).T.copy(),
        blocks=np.array(blocks, dtype=np.int64),
        progress=as_float32(level.progress.table.weight).ravel(),
        progress_start=level.progress.starts.cpu().numpy().astype(np.int64),
        around=as_float32(level.around_out.weight.T).ravel(),
        flow=as_float32(level.flow_out.weight.T).ravel(),
        flow_bias=as_float32(bias),
        of_protocol=_bytes(level.of_protocol),
        kind_reverse=_bytes(level.kind_reverse),
        kind_payload=_bytes(level.kind_payload),
        kind_state=level.kind_state.cpu().numpy().astype(np.int64),
        kind_brings=level.kind_brings.cpu().numpy().astype(np.int64),
        kind_ack_class=level.kind_ack_class.cpu().numpy().astype(np.int64),
        shape_state=level.shape_state.cpu().numpy().astype(np.int64),
        is_tcp=_bytes(level.service_tcp),
        fastest_runs=level.fastest_runs.cpu().numpy(),
        by_delay=_bytes(level.by_delay),
        timer_keys=level.gaps.timers.keys.cpu().numpy(),
        timer_rows=level.gaps.timers.rows.cpu().numpy(),
        remainders=level.remainders.cpu().numpy(),
        most_payload=level.most_payload.cpu().numpy(),
        kind_keys=level.next_kinds.keys.cpu().numpy(),
        kind_rows=_bytes(level.next_kinds.rows),
        window_keys=level.next_windows.keys.cpu().numpy(),
        window_rows=_bytes(level.next_windows.rows),
        range_keys=level.gap_range.keys.cpu().numpy(),
        range_rows=level.gap_range.rows.cpu().numpy(),
        after_keys=level.gap_after.keys.cpu().numpy(),
        after_rows=level.gap_after.rows.cpu().numpy(),
        gap_octaves=level.gap_octaves.cpu().numpy(),
        length_keys=level.length_range.keys.cpu().numpy(),
        length_rows=level.length_range.rows.cpu().numpy(),
        hidden_width=hidden_layer.out_features,
    )


def _history_tables(level: RecordLevel) -> list[Tensor]:
    """What each token of a column at each place of the history adds: [R, size + 1, W] each."""
    weight = level.history_out.weight.detach().double()  # [W, R * sum of widths]
    embeds = [weight_of(embed).detach().double() for embed in level.history_embed]
    total = sum(embed.shape[1] for embed in embeds)
    weight = weight.reshape(weight.shape[0], -1, total)  # [W, R, sum of widths]
    tables, at = [], 0
    for embed in embeds:
        piece = weight[:, :, at : at + embed.shape[1]]  # [W, R, w]
        tables.append((embed[None] @ piece.permute(1, 2, 0)).contiguous())  # [R, size + 1, W]
        at += embed.shape[1]
    return tables


def _bytes(flags: Tensor) -> Array:
    return flags.cpu().numpy().astype(np.uint8)
