"""Drawing the records of flows one after the other, all flows at once, and placing them in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from netsynth.generate.cascade.drawing import DrawnFlows
from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.pairs import Cascade
from netsynth.generate.cascade.record_data import Place
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.numbers import FloatArray, IntArray
from netsynth.tables import TokenField

FORWARD_STATES, REVERSE_STATES = 1 | 4 | 16, 2 | 8 | 32  # SYN, FIN, RST; see encode's STATE_*
STRANGE = 12.0  # nats taken from kinds that the flow's state or bytes speak against
FLOWS_AT_ONCE = 16384


@dataclass(frozen=True, kw_only=True, slots=True)
class KindRules:
    """What kinds of records may occur where; tensors [K] but the first.

    Attributes:
        of_protocol: bool [P, K], kinds by the protocol they belong to.
        protocols: int64 [P].
    """

    of_protocol: Tensor
    protocols: Tensor
    reverse: Tensor
    payload: Tensor
    state: Tensor

    @staticmethod
    def of(kind: TokenField, device: torch.device) -> KindRules:
        """Read them from the groups of the field."""
        group = {name: torch.as_tensor(value, device=device) for name, value in kind.groups.items()}
        protocols = torch.unique(group["protocol"])
        return KindRules(
            of_protocol=group["protocol"][None] == protocols[:, None],
            protocols=protocols,
            reverse=group["reverse"].bool(),
            payload=group["payload"].bool(),
            state=group["state"],
        )

    def mask(self, logits: Tensor, protocol: Tensor, state: Tensor, place: Place) -> Tensor:
        """Take from logits [M, K] what protocol, direction, state or bytes speak against."""
        row = torch.searchsorted(self.protocols, protocol).clamp(max=self.protocols.numel() - 1)
        reverse = self.reverse
        room = torch.where(reverse, place.step_left[:, 1:] > 0, place.step_left[:, :1] > 0)
        data = torch.where(reverse, place.bytes_left[:, 1:] > 0, place.bytes_left[:, :1] > 0)
        fits = self.of_protocol[row] & room
        likely = fits & (data | ~self.payload) & ((self.state & ~state[:, None]) == 0)
        # the last packets of a direction must show the flags that it owes
        late = torch.stack(
            [
                place.left[:, way] <= _bit_count(place.owed & bits)
                for way, bits in enumerate((FORWARD_STATES, REVERSE_STATES))
            ],
            dim=1,
        )
        due = torch.where(reverse, late[:, 1:], late[:, :1])
        likely &= ~due | ((self.state & place.owed[:, None]) > 0)
        # and the last of those with bytes left must carry them
        ends = torch.where(reverse, place.left[:, 1:] == 1, place.left[:, :1] == 1)
        bare = likely & ends & data & ~self.payload
        logits = logits.masked_fill(bare, -STRANGE)
        likely = torch.where(likely.any(dim=1, keepdim=True), likely, fits)
        logits = logits.masked_fill(~room, -2e4)
        logits = torch.where(self.of_protocol[row], logits, logits - 2000.0)
        return torch.where(likely, logits, logits - 4 * STRANGE)


@dataclass(slots=True)
class DrawnRecords:
    """Records in order of flow; int64 [N] each, but gap_ns, float64."""

    kind: IntArray
    size_bytes: IntArray
    gap_ns: FloatArray
    offsets: IntArray


@torch.no_grad()
def draw_records(
    cascade: Cascade, scales: CascadeScales, rules: KindRules, flows: DrawnFlows, series: Series,
    *, conditions: Tensor, tuples: Tensor, windows: Tensor, protocol: Tensor, state: Tensor,
    random: torch.Generator,
) -> DrawnRecords:  # fmt: skip
    """Draw the records of all flows.

    Args:
        cascade: The nets.
        scales: Of record numbers.
        rules: What may occur where.
        flows: Whose records.
        series: Of the flows.
        conditions: float32 [F, K].
        tuples: float32 [F, D].
        windows: float32 [S, W], what G3 sees of the steps around each active step.
        protocol: int64 [F].
        state: int64 [F], state bits.
        random: Source of randomness.
    """
    device = conditions.device
    counts = flows.totals[:, :2].sum(axis=1)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    kind = torch.zeros(total, dtype=torch.int64, device=device)
    image = torch.zeros(total, 2, device=device)
    size = np.zeros(total, dtype=np.int64)
    order = np.argsort(-counts, kind="stable")
    for at in range(0, order.size, FLOWS_AT_ONCE):
        rows = order[at : at + FLOWS_AT_ONCE]
        lanes = _Lanes(cascade, scales, rules, flows, series, rows, device)
        some = torch.as_tensor(rows, device=device)
        lanes.run(
            conditions[some], tuples[some], windows, protocol[some], state[some], random,
            torch.as_tensor(offsets[rows], device=device), kind, image, size,
        )  # fmt: skip
    numbers = image.cpu().numpy()
    kinds = kind.cpu().numpy()
    way = rules.reverse.cpu().numpy()[kinds].astype(np.int64)
    return DrawnRecords(
        kind=kinds,
        size_bytes=grow(
            size,
            np.repeat(np.arange(counts.size), counts) * 2 + way,
            flows.totals[:, 2:].ravel(),
            largest=scales.record[0].largest,
        ),
        gap_ns=scales.record[1].decode(numbers[:, 1]),
        offsets=offsets,
    )


def grow(size: IntArray, lane: IntArray, totals: IntArray, *, largest: int) -> IntArray:
    """Make payloads larger where a lane's fall short of its total.

    Args:
        size: int64 [N], bytes; 0 stays 0.
        lane: int64 [N], flow and direction of each.
        totals: int64 [L], bytes each lane should have.
        largest: Most bytes of a record.

    Returns:
        int64 [N], each at most `largest`; in proportion, the largest first to reach it.
    """
    size = size.copy()
    for _ in range(4):
        short = totals - np.bincount(lane, size, totals.size)
        open_ = (size > 0) & (size < largest) & (short[lane] > 0)
        spare = np.bincount(lane, np.where(open_, size, 0), totals.size)
        factor = 1 + np.maximum(short, 0) / np.maximum(spare, 1)
        size = np.where(open_, np.minimum(np.floor(size * factor[lane]), largest), size)
        size = size.astype(np.int64)
    return size


class _Lanes:
    """Flows whose records are drawn side by side, longest first."""

    def __init__(
        self, cascade: Cascade, scales: CascadeScales, rules: KindRules, flows: DrawnFlows,
        series: Series, rows: IntArray, device: torch.device,
    ) -> None:  # fmt: skip
        self.cascade, self.scales, self.rules = cascade, scales, rules
        self.values = torch.as_tensor(series.values, device=device)
        self.row = torch.as_tensor(series.offsets[:-1][rows], device=device)
        self.totals = torch.as_tensor(flows.totals[rows], device=device)
        self.history = cascade.config.record_history

    def run(
        self, conditions: Tensor, tuples: Tensor, windows: Tensor, protocol: Tensor,
        state: Tensor, random: torch.Generator, begins: Tensor, kind_out: Tensor,
        image_out: Tensor, size_out: IntArray,
    ) -> None:  # fmt: skip
        """Draw record after record; flows that are done fall off the end."""
        cascade, device = self.cascade, conditions.device
        counts = self.totals[:, :2].sum(1)
        longest = int(counts[0]) if counts.numel() else 0
        alive_at = torch.searchsorted(-counts, -torch.arange(longest, device=device)).tolist()
        left, bytes_left = self.totals[:, :2].clone(), self.totals[:, 2:].clone()
        row, step_left = self.row.clone(), self.values[self.row, :2].clone()
        owed = state.clone()
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
                conditions[here], tuples[here], windows[row[here]], place, random
            )
            logits = self.rules.mask(logits, protocol[here], state[here], place)
            noise = torch.empty_like(logits).exponential_(generator=random).clamp_min_(1e-20)
            kind = (logits - noise.log()).argmax(dim=1)
            image = cascade.g3.numbers(hidden, nn.functional.one_hot(kind, kinds).float())
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
            at = begins[here] + position
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


def place_in_time(
    records: DrawnRecords, flows: DrawnFlows, series: Series, *, window_ns: int, step_count: int
) -> IntArray:
    """Times of records, int64 [N], ns: gaps by G3 inside the sub-periods by G2.

    A flow begins and ends when its conditions say. In a step, the records lie between the first
    and the last one's place, in proportion to their gaps.

    References:
        CascadeNet section 5.1 (timestamps SP and ML).
    """
    step_ns = window_ns / step_count
    active = np.diff(series.offsets)
    flow = np.repeat(np.arange(active.size), active)  # of each step
    begin = flows.start_ns[flow].astype(np.float64)
    end = begin + flows.duration_ns[flow]
    low = (series.step + series.period[:, 0]) * step_ns
    high = (series.step + series.period[:, 1]) * step_ns
    first = np.zeros(flow.size, dtype=np.bool_)
    first[series.offsets[:-1]] = True
    last = np.zeros(flow.size, dtype=np.bool_)
    last[series.offsets[1:] - 1] = True
    low = np.where(first, begin, np.clip(low, begin, end))
    high = np.where(last, end, np.clip(high, begin, end))
    packets = series.values[:, :2].sum(axis=1)
    low = np.where(last & ~first & (packets == 1), end, np.minimum(low, high))
    row = np.repeat(np.arange(flow.size), packets)
    starts = np.concatenate([[0], np.cumsum(packets)])[:-1]
    gap = np.maximum(records.gap_ns, 1.0)
    gap[starts] = 0.0
    total = np.cumsum(gap)
    place = total - total[starts][row]
    whole = np.add.reduceat(gap, starts) if starts.size else gap
    share = place / np.maximum(whole, 1e-9)[row]
    time: IntArray = np.floor(low[row] + (high - low)[row] * share).astype(np.int64)
    return time


def even_out(time_ns: IntArray, offsets: IntArray, rows: NDArray[np.bool_]) -> IntArray:
    """Place the records of some flows at equal distances from their first to their last.

    Args:
        time_ns: int64 [N].
        offsets: int64 [F+1]; no flow is empty.
        rows: bool [F], flows to even out.
    """
    counts = np.diff(offsets)
    flow = np.repeat(np.arange(counts.size), counts)
    share = (np.arange(time_ns.size) - offsets[flow]) / np.maximum(counts - 1, 1)[flow]
    first = time_ns[offsets[:-1]][flow]
    even = first + (share * (time_ns[offsets[1:] - 1][flow] - first)).astype(np.int64)
    return np.where(rows[flow], even, time_ns)


def _bit_count(bits: Tensor) -> Tensor:
    """Bits set among the lowest six."""
    return torch.stack([(bits >> place) & 1 for place in range(6)]).sum(0)
