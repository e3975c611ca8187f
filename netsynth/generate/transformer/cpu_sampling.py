"""Drawing windows on a CPU: the same walk as `sampling`, through compiled loops and on all cores.

Every window and every flow draws from a random stream of its own, so the result does not depend
on how many threads there are or which of them draws what.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from netsynth.generate.transformer.detail_kernel import draw_details
from netsynth.generate.transformer.drawn import DrawnFlows, DrawnRecords, DrawnSeries, DrawnTotals
from netsynth.generate.transformer.excess import share_excess
from netsynth.generate.transformer.field_arrays import (
    as_float32,
    embedding_table,
    pack_allowed,
    weight_of,
)
from netsynth.generate.transformer.flow_arrays import pack_flow_level
from netsynth.generate.transformer.flow_drawing import LATEST
from netsynth.generate.transformer.flow_kernel import draw_skeletons, start_windows
from netsynth.generate.transformer.flow_level import SKELETON, FlowLevel
from netsynth.generate.transformer.kernels import (
    add_to,
    compiled,
    gelu,
    linear,
    seed_streams,
    uniforms,
)
from netsynth.generate.transformer.plan import STRETCH
from netsynth.generate.transformer.plan_left import fit_to_parts
from netsynth.generate.transformer.record_arrays import pack_record_level
from netsynth.generate.transformer.record_context import count_bucket
from netsynth.generate.transformer.record_data import around_rows
from netsynth.generate.transformer.record_kernel import draw_rows
from netsynth.generate.transformer.record_lanes import DrawnRows, FlowsToDraw
from netsynth.generate.transformer.record_level import RETRIES, RecordLevel
from netsynth.generate.transformer.series_drawing import (
    hold_handshakes,
    openings,
    wait_for_replies,
)
from netsynth.generate.transformer.series_kernel import draw_series_rows, pack_series_level
from netsynth.generate.transformer.series_level import PHASES, SeriesLevel
from netsynth.numbers import Array, FloatArray, IntArray

Result = TypeVar("Result")
STEPS = 256  # flows of each window between two visits to the details
VECTOR_ROWS = 64  # flows whose vectors are computed together
COUNTS = 1 << 16  # packets whose buckets are tabled; more share the last
LONGEST_WINDOW = 1 << 40  # more flows than any window has
SKELETONS, DETAILS, SERIES, RECORDS, LIKENESS = range(5)  # what a stream is for


class CpuSampler:
    """The three levels as arrays.

    Args:
        flows: The trained levels, in the walk's order.
        series: The second.
        records: The third.
    """

    def __init__(self, flows: FlowLevel, series: SeriesLevel, records: RecordLevel) -> None:
        self._level = flows
        self._flows = pack_flow_level(flows)
        self._series_level, self._series = series, pack_series_level(series)
        self.draw_records = CpuRecords(records).draw_records
        self._phases = [as_float32(weight_of(table)) for table in series.embed_phase]
        self._series_table = embedding_table(series.flow_embed)

    def draw_flows(
        self,
        *,
        window_count: int,
        window_ns: int,
        seed: int,
        random: torch.Generator,
        allowed: dict[str, Array],
        flow_limit: int,
    ) -> DrawnFlows:
        """Draw the flows of windows; see `flow_drawing.draw_flows`."""
        conditions = {name: torch.as_tensor(mask) for name, mask in allowed.items()}
        plans = self._level.plans.draw(window_count, random)
        plans, binds = self._level.plans.under(plans, conditions, random)
        counts, edges, large = (x.numpy() for x in (plans.counts, plans.edges, plans.large))
        names = [f.name for f in self._level.fields]
        count = len(SKELETON)
        masks = (
            pack_allowed(self._flows.skeleton, names[:count], allowed),
            pack_allowed(self._flows.details, names[count:], allowed),
        )

        def draw(windows: IntArray) -> DrawnFlows:
            streams = seed_streams(_key(seed, SKELETONS), windows)
            lanes = start_windows(
                self._flows, windows, counts[windows], edges[windows], large[windows], streams,
                window_ns, is_strict=binds,
            )  # fmt: skip
            parts = []
            for _ in range(0, flow_limit, STEPS):
                parts.append(
                    draw_skeletons(
                        self._flows, lanes, steps=STEPS, window_ns=window_ns,
                        latest_ns=window_ns * (LATEST if binds else 1), allowed=masks[0],
                        is_strict=binds,
                    )
                )  # fmt: skip
                if lanes.alive[0] == 0:
                    break
            window, ordinal, part, start_ns, skeleton, state = map(
                np.concatenate, zip(*parts, strict=True)
            )
            order = np.lexsort((ordinal, window))
            window, ordinal, start_ns = window[order], ordinal[order], start_ns[order]
            if binds:
                start_ns = fit_to_parts(
                    torch.as_tensor(window), torch.as_tensor(part[order]),
                    torch.as_tensor(start_ns), plans.spans * window_ns,
                    stretch=math.inf if allowed else STRETCH,
                ).numpy()  # fmt: skip
            tokens = np.zeros((window.size, len(names)), dtype=np.int64)
            tokens[:, :count] = skeleton[order]
            number = window * LONGEST_WINDOW + ordinal
            quantiles = self._level.couplings.draw(
                torch.as_tensor(tokens), torch.as_tensor(window), torch.as_tensor(start_ns),
                window_ns=window_ns,
                normal=lambda source: torch.special.ndtri(torch.as_tensor(
                    uniforms(seed_streams(_key(seed, LIKENESS + source), number))
                )),
            )  # fmt: skip
            told = np.full((window.size, len(names) - count), -1.0)
            for name, values in quantiles.items():
                told[:, names.index(name) - count] = values.numpy()
            draw_details(
                self._flows, state[order], start_ns, tokens, float(window_ns), masks[1],
                told, seed_streams(_key(seed, DETAILS), number),
            )  # fmt: skip
            return DrawnFlows(
                window=torch.as_tensor(window),
                start_ns=torch.as_tensor(start_ns),
                tokens=torch.as_tensor(tokens),
            )

        parts = on_all_cores(draw, window_count)
        window = torch.cat([part.window for part in parts])
        order = torch.argsort(window, stable=True)
        return DrawnFlows(
            window=window[order],
            start_ns=torch.cat([part.start_ns for part in parts])[order],
            tokens=torch.cat([part.tokens for part in parts])[order],
        )

    def draw_series(
        self,
        flows: DrawnFlows,
        totals: DrawnTotals,
        *,
        first_flow: int,
        window_ns: int,
        step_count: int,
        seed: int,
    ) -> DrawnSeries:
        """Draw the active steps of each flow; see `series_drawing.draw_series`.

        `first_flow` is the number of the first of these flows among all that the seed gave.
        """
        scale = step_count / window_ns
        start_ns, duration_ns = flows.start_ns.numpy(), totals.duration_ns.numpy()
        start, end = start_ns * scale, (start_ns + duration_ns) * scale
        first = np.clip(start.astype(np.int64), 0, step_count - 1)
        last = np.clip(end.astype(np.int64), 0, step_count - 1)
        room_ns = torch.as_tensor((first + 1) / scale - start_ns)
        opening = openings(totals, room_ns).numpy()
        tokens, amounts = flows.tokens.numpy(), totals.packets_and_bytes.numpy()
        numbers = np.arange(first.size) + first_flow

        def draw(rows: IntArray) -> tuple[IntArray, IntArray, IntArray, IntArray]:
            vector = flow_vectors(*self._series_table, tokens[rows])
            vector += self._phases[0][_phase_bucket(1 - start[rows] % 1)]
            vector += self._phases[1][_phase_bucket(end[rows] % 1)]
            streams = seed_streams(_key(seed, SERIES), numbers[rows])
            drawn = draw_series_rows(
                self._series, vector, amounts[rows], first[rows], last[rows], opening[rows],
                streams,
            )  # fmt: skip
            return (rows, *drawn)

        parts = on_all_cores(draw, first.size)
        counts = np.zeros(first.size, dtype=np.int64)
        for rows, count, _, _ in parts:
            counts[rows] = count
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        step = np.zeros(int(offsets[-1]), dtype=np.int64)
        values = np.zeros((step.size, 4), dtype=np.int64)
        for rows, count, steps, amount in parts:
            inside = np.arange(steps.size) - np.repeat(np.cumsum(count) - count, count)
            place = np.repeat(offsets[rows], count) + inside
            step[place], values[place] = steps, amount
        values = share_excess(offsets, values)
        drawn = DrawnSeries(offsets=offsets, step=step, values=values)
        drawn = hold_handshakes(
            drawn, self._series_level, flows, totals, scale=scale, step_count=step_count
        )
        return wait_for_replies(drawn, flows, totals, scale=scale, step_count=step_count)


class CpuRecords:
    """The record level as arrays."""

    def __init__(self, records: RecordLevel) -> None:
        self._records = pack_record_level(records)
        self._service, self._shape = records.service_place, records.shape_place
        self._bytes, self._stack = records.bytes_places, records.stack
        self._is_exact = records.is_exact.cpu().numpy()
        self._record_table = embedding_table(records.flow_embed)
        mix = records.flow_mix[1]
        assert isinstance(mix, nn.Linear)
        self._mix = as_float32(mix.weight.T), as_float32(mix.bias)
        self._count_bucket = count_bucket(torch.arange(COUNTS)).numpy()

    def draw_records(
        self,
        flows: DrawnFlows,
        totals: DrawnTotals,
        series: DrawnSeries,
        *,
        first_flow: int,
        window_ns: int,
        step_count: int,
        seed: int,
        retries: int = RETRIES,
    ) -> DrawnRecords:
        """Draw the records of all flows; see `record_drawing`, and `draw_series` here."""
        tokens, start_ns = flows.tokens.numpy(), flows.start_ns.numpy()
        amounts = totals.packets_and_bytes.numpy()
        packets = amounts[:, 0] + amounts[:, 1]
        offsets = np.concatenate([[0], np.cumsum(packets)]).astype(np.int64)
        vector = flow_vectors(*self._record_table, tokens)
        _mix_vectors(vector, *self._mix)
        everything = FlowsToDraw(
            vector=vector,
            service=np.ascontiguousarray(tokens[:, self._service]),
            shape=np.ascontiguousarray(tokens[:, self._shape]),
            stack=self._stack(flows.tokens).cpu().numpy(),
            totals=amounts,
            exact=self._is_exact[tokens[:, self._bytes]],
            start_ns=start_ns,
            end_ns=start_ns + totals.duration_ns.numpy(),
            latest_ns=start_ns + totals.longest_ns.numpy(),
            delays=np.stack([totals.answer_ns.numpy(), totals.reply_ns.numpy()], axis=1),
            series_offsets=series.offsets,
            step=series.step,
            values=series.values,
            around=around_rows(series.offsets, series.step, series.values).astype(np.float32),
            streams=seed_streams(_key(seed, RECORDS), np.arange(packets.size) + first_flow),
            offsets=offsets,
        )
        drawn = DrawnRows(
            tokens=np.zeros((int(offsets[-1]), 3), dtype=np.int32),
            size_bytes=np.zeros(int(offsets[-1]), dtype=np.int64),
            time_ns=np.zeros(int(offsets[-1])),
        )
        order = np.argsort(-packets, kind="stable")  # longest first: no thread ends far behind
        order = order[: np.count_nonzero(packets)]

        def draw(rows: IntArray) -> None:
            draw_rows(
                self._records, everything, order[rows], self._count_bucket,
                window_ns / step_count, drawn, retries=retries,
            )  # fmt: skip

        on_all_cores(draw, order.size)
        return DrawnRecords(
            offsets=offsets,
            tokens=drawn.tokens,
            size_bytes=drawn.size_bytes,
            time_ns=np.floor(drawn.time_ns).astype(np.int64),
        )


def on_all_cores(draw: Callable[[IntArray], Result], count: int) -> list[Result]:
    """Call `draw` with the rows 0 .. count - 1, dealt out to as many threads as torch may use."""
    threads = min(torch.get_num_threads(), max(count, 1))
    shares = [np.arange(place, count, threads) for place in range(threads)]
    if threads == 1:
        return [draw(shares[0])]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(draw, shares))


def _key(seed: int, purpose: int) -> int:
    """Key of the streams for a purpose; see `seed_streams`."""
    return int(np.random.SeedSequence([seed, purpose]).generate_state(1, np.uint64)[0])


def _phase_bucket(share: FloatArray) -> IntArray:
    """`series_level._phase_bucket`."""
    octaves = -2 * np.log2(np.maximum(share, 1e-9))
    return np.clip(octaves.astype(np.int64), 0, PHASES - 1)


@compiled
def flow_vectors(table: Array, starts: Array, tokens: Array) -> Array:
    """Sum the embeddings of the tokens [F, K] of each flow, through a GELU: float32 [F, H]."""
    width = table.shape[1]
    vectors = np.zeros((tokens.shape[0], width), dtype=np.float32)
    for row in range(tokens.shape[0]):
        for column in range(starts.size):
            add_to(vectors[row], table[starts[column] + tokens[row, column]])
    gelu(vectors, tokens.shape[0], width)
    return vectors


@compiled
def _mix_vectors(vectors: Array, weight: Array, bias: Array) -> None:
    """Map vectors [F, H] linearly and through a GELU, in place."""
    width = vectors.shape[1]
    source = np.zeros((VECTOR_ROWS, width), dtype=np.float32)
    target = np.zeros((VECTOR_ROWS, width), dtype=np.float32)
    for first in range(0, vectors.shape[0], VECTOR_ROWS):
        rows = min(VECTOR_ROWS, vectors.shape[0] - first)
        source[:rows] = vectors[first : first + rows]
        linear(source, rows, weight, bias, target)
        gelu(target, rows, width)
        vectors[first : first + rows] = target[:rows]
