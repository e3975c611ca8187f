"""Drawing the records of flows one after the other, all flows at once, on any device."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.number_maps import NumberMaps
from netsynth.generate.cascade.pairs import Cascade, as_numpy
from netsynth.generate.cascade.record_data import Place
from netsynth.generate.cascade.record_rules import KindRules
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.numbers import Array, IntArray

FLOWS_AT_ONCE = 16384


@dataclass(kw_only=True, slots=True)
class RecordRequest:
    """Whose records to draw, and by what.

    Attributes:
        cascade: The nets.
        scales: Of record numbers.
        rules: What may occur where.
        maps: Corrections of what G3 makes.
        totals: int64 [F, 4], packets and bytes per direction.
        offsets: int64 [F+1], of the records.
        series: Of the flows.
        conditions: float32 [F, K].
        tuples: float32 [F, D].
        windows: float32 [S, W], what G3 sees of the steps around each active step.
        service: int64 [F], token.
        protocol: int64 [F].
        state: int64 [F], state bits.
        random: Source of randomness.
    """

    cascade: Cascade
    scales: CascadeScales
    rules: KindRules
    maps: NumberMaps
    totals: IntArray
    offsets: IntArray
    series: Series
    conditions: Tensor
    tuples: Tensor
    windows: Tensor
    service: Tensor
    protocol: Tensor
    state: Tensor
    random: torch.Generator


@torch.no_grad()
def draw_side_by_side(request: RecordRequest) -> tuple[IntArray, IntArray, Array]:
    """Draw kinds and payloads, int64 [N], and images of gaps, float32 [N]."""
    device, offsets = request.conditions.device, request.offsets
    total = int(offsets[-1])
    kind = torch.zeros(total, dtype=torch.int64, device=device)
    image = torch.zeros(total, 2, device=device)
    size = np.zeros(total, dtype=np.int64)
    order = np.argsort(-np.diff(offsets), kind="stable")
    for at in range(0, order.size, FLOWS_AT_ONCE):
        _Lanes(request, order[at : at + FLOWS_AT_ONCE]).run(kind, image, size)
    return kind.cpu().numpy(), size, as_numpy(image)[:, 1]


class _Lanes:
    """Flows whose records are drawn side by side, longest first."""

    def __init__(self, request: RecordRequest, rows: IntArray) -> None:
        device = request.conditions.device
        self.cascade, self.scales, self.rules = request.cascade, request.scales, request.rules
        self.maps = request.maps
        self.values = torch.as_tensor(request.series.values, device=device)
        self.row = torch.as_tensor(request.series.offsets[:-1][rows], device=device)
        self.totals = torch.as_tensor(request.totals[rows], device=device)
        self.begins = torch.as_tensor(request.offsets[rows], device=device)
        some = torch.as_tensor(rows, device=device)
        self.conditions, self.tuples = request.conditions[some], request.tuples[some]
        self.service = request.service[some]
        self.protocol, self.state = request.protocol[some], request.state[some]
        self.windows, self.random = request.windows, request.random
        self.history = self.cascade.config.record_history

    def run(self, kind_out: Tensor, image_out: Tensor, size_out: IntArray) -> None:
        """Draw record after record; flows that are done fall off the end."""
        cascade, device = self.cascade, self.conditions.device
        counts = self.totals[:, :2].sum(1)
        longest = int(counts[0]) if counts.numel() else 0
        alive_at = torch.searchsorted(-counts, -torch.arange(longest, device=device)).tolist()
        left, bytes_left = self.totals[:, :2].clone(), self.totals[:, 2:].clone()
        row, step_left = self.row.clone(), self.values[self.row, :2].clone()
        owed = self.state.clone()
        lanes = counts.numel()
        previous = torch.zeros(lanes, self.history, dtype=torch.int64, device=device)
        numbers = torch.zeros(lanes, self.history, 2, device=device)
        kinds = cascade.record_parts[0].stop
        for position in range(longest):
            here = slice(0, alive_at[position])
            done = step_left[here].sum(1) == 0
            row[here] += done
            step_left[here] = torch.where(
                done[:, None], self.values[row[here], :2], step_left[here]
            )
            place = Place(
                position=torch.full_like(row[here], position), left=left[here],
                step_left=step_left[here], bytes_left=bytes_left[here], owed=owed[here],
                enters=done if position else torch.ones_like(done),
                previous=previous[here], numbers=numbers[here],
            )  # fmt: skip
            hidden, logits = cascade.read_records(
                self.conditions[here],
                self.tuples[here],
                self.windows[row[here]],
                place,
                self.random,
            )
            logits = self.rules.mask(logits, self.protocol[here], self.state[here], place)
            noise = torch.empty_like(logits).exponential_(generator=self.random).clamp_min_(1e-20)
            kind = (logits - noise.log()).argmax(dim=1)
            image = cascade.g3.numbers(hidden, nn.functional.one_hot(kind, kinds).float())
            image = self.maps.apply(self.service[here], kind, image)
            way = self.rules.reverse[kind].long()
            spent = torch.stack([1 - way, way], dim=1)
            budget = (bytes_left[here] * spent).sum(1)
            size = torch.as_tensor(
                np.round(self.scales.record[0].decode(image[:, 0].cpu().numpy())), device=device
            ).long().clamp(min=1)  # fmt: skip
            last = (left[here] * spent).sum(1) == 1
            most = self.scales.record[0].largest
            size = torch.where(last, budget.clamp(max=most), torch.minimum(size, budget))
            size = size.clamp(min=1).masked_fill(~self.rules.payload[kind], 0)
            at = self.begins[here] + position
            kind_out[at], image_out[at] = kind, image
            size_out[at.cpu().numpy()] = size.cpu().numpy()
            image[:, 0] = torch.as_tensor(
                self.scales.record[0].encode(size.cpu().numpy()), device=device
            ).float()  # fmt: skip
            left[here] -= spent
            step_left[here] -= spent
            bytes_left[here] = (bytes_left[here] - spent * size[:, None]).clamp(min=0)
            owed[here] = owed[here] & ~self.rules.state[kind]
            previous[here] = torch.cat([kind[:, None] + 1, previous[here, :-1]], dim=1)
            numbers[here] = torch.cat([image[:, None], numbers[here, :-1]], dim=1)
