"""The three pairs of generator and critic, and what each is shown."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from netsynth.generate.cascade.config import CascadeConfig
from netsynth.generate.cascade.data import CascadeData
from netsynth.generate.cascade.emission import Part, emit, lay_out
from netsynth.generate.cascade.flow_data import Series
from netsynth.generate.cascade.networks import SEEN, C, Critic, RecordNet, SeriesNet, mlp
from netsynth.generate.cascade.record_data import Place, PlaceFeatures, StepWindows, window_at
from netsynth.generate.cascade.scales import CascadeScales
from netsynth.generate.cascade.tuple_layout import TupleLayout
from netsynth.tables import TokenField

PAIRS = ("tuples", "series", "records")


class Cascade(nn.Module):
    """G1, G2, G3 and D1, D2, D3; each level is given what those above it made."""

    def __init__(
        self, *, condition_width: int, layout: TupleLayout, kind: TokenField, step_count: int,
        config: CascadeConfig,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config, self.step_count = config, step_count
        self.parts = layout.parts
        self.record_parts = record_parts(kind)
        self.places = PlaceFeatures(kind, history=config.record_history)
        width, records = config.width, self.record_parts[-1].stop
        known = condition_width + layout.width
        self.g1 = mlp(
            condition_width + config.noise, layout.width, width=width,
            hidden=config.generator_layers,
        )  # fmt: skip
        self.g2 = SeriesNet(
            known, noise=config.noise, step_count=step_count, chunk=config.series_chunk,
            width=config.series_width, backbone=config.series_backbone, mlp_width=width,
            zero_inflation=config.zero_inflation,
        )  # fmt: skip
        self.g3 = RecordNet(
            known, window=config.window_steps, context=self.places.width, kinds=kind.size,
            noise=config.noise, width=width, hidden=config.generator_layers,
            backbone=config.record_backbone,
        )  # fmt: skip
        seen = known + config.window_steps * SEEN + self.places.width
        self.d1 = self._critic(known)
        self.d2 = self._critic(known + self.g2.chunks * self.g2.chunk * C)
        self.d3 = self._critic(seen + records)

    def _critic(self, inputs: int) -> Critic:
        return Critic(inputs, width=self.config.width, layers=self.config.critic_layers)

    def generator(self, name: str) -> nn.Module:
        """Return G1, G2 or G3 by the name of its level."""
        return {"tuples": self.g1, "series": self.g2, "records": self.g3}[name]

    def critic(self, name: str) -> Critic:
        """Return D1, D2 or D3 by the name of its level."""
        return {"tuples": self.d1, "series": self.d2, "records": self.d3}[name]

    def given(self, conditions: Tensor) -> Tensor:
        """Hide the conditions [B, K] where the ablation says so."""
        return conditions if self.config.conditions else torch.zeros_like(conditions)

    def make_tuples(
        self, conditions: Tensor, random: torch.Generator | None = None
    ) -> Tensor:  # fmt: skip
        """G1: conditions [B, K] -> tuples [B, D]."""
        noise = torch.randn(
            conditions.shape[0], self.config.noise, generator=random, device=conditions.device
        )
        raw = self.g1(torch.cat([self.given(conditions), noise], dim=1))
        return emit(raw, self.parts, random)

    def make_series(
        self, conditions: Tensor, tuples: Tensor, spans: Tensor,
        random: torch.Generator | None = None,
    ) -> Tensor:  # fmt: skip
        """G2: conditions, tuples and spans [B] -> series [B, T, C], T whole chunks."""
        made: Tensor = self.g2(torch.cat([self.given(conditions), tuples], dim=1), spans, random)
        return made

    def read_records(
        self, conditions: Tensor, tuples: Tensor, window: Tensor, place: Place,
        random: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """G3 up to the kinds of records: its state [B, H] and their logits [B, K]."""
        known = torch.cat([self.given(conditions), tuples], dim=1)
        state, logits = self.g3(known, window, self.places(place), random)
        return state, logits

    def make_records(
        self, known: Tensor, window: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """G3: records [B, K + 2], a kind and the images of payload and gap; logits of kinds.

        Args:
            known: float32 [B, K + D], conditions and tuples.
            window: float32 [B, W x SEEN].
            context: float32 [B, X], what `places` makes of their places.
        """
        state, logits = self.g3(known, window, context)
        kind = emit(logits, self.record_parts[:1])
        return torch.cat([kind, self.g3.numbers(state, kind)], dim=1), logits

    def series_pair(self, conditions: Tensor, tuples: Tensor, series: Tensor) -> Tensor:
        """What D2 sees: [B, K + D + T C]; series are padded with zeros."""
        wanted = self.g2.chunks * self.g2.chunk
        series = nn.functional.pad(series, (0, 0, 0, wanted - series.shape[1]))
        return torch.cat([self.given(conditions), tuples, series.flatten(1)], dim=1)


class Batches:
    """Real and made pairs of each level, of flows and records of the training data."""

    def __init__(self, cascade: Cascade, data: CascadeData, scales: CascadeScales) -> None:
        self.cascade, self.data, self.scales = cascade, data, scales
        self.windows = step_windows(
            data.series, scales, cascade.config, device=data.conditions.device
        )
        lasting = data.spans > 1
        # what each level learns from: flows; flows that outlast a step; records
        self.held_out = {
            "tuples": data.held_out,
            "series": data.held_out & lasting,
            "records": data.held_out[data.flow],
        }
        self.learned = {
            "tuples": ~data.held_out,
            "series": ~data.held_out & lasting,
            "records": ~data.held_out[data.flow],
        }

    def rows(self, name: str, *, held_out: bool) -> Tensor:
        """Rows of flows (tuples, series) or records that a level learns from, or is judged by."""
        return torch.nonzero((self.held_out if held_out else self.learned)[name])[:, 0]

    def real_series(self, flows: Tensor) -> Tensor:
        """Series [B, T, C] of flows [B]."""
        dense = self.scales.densify(
            self.data.series, flows.cpu().numpy(), step_count=self.cascade.step_count,
            zero_inflation=self.cascade.config.zero_inflation,
        )  # fmt: skip
        return torch.as_tensor(dense, device=flows.device)

    def real(self, name: str, rows: Tensor) -> Tensor:
        """What the critic sees of real rows [B]."""
        data, cascade = self.data, self.cascade
        if name == "tuples":
            return torch.cat([cascade.given(data.conditions[rows]), data.tuples[rows]], dim=1)
        if name == "series":
            series = self.real_series(rows)
            return cascade.series_pair(data.conditions[rows], data.tuples[rows], series)
        flow = data.flow[rows]
        known = torch.cat([cascade.given(data.conditions[flow]), data.tuples[flow]], dim=1)
        window, context = self.windows.of(data.row[rows]), cascade.places(data.place.take(rows))
        return torch.cat([known, window, context, self._real_records(rows)], dim=1)

    def _real_records(self, rows: Tensor) -> Tensor:
        """Records [B, K + 2], a 1 among 0s for the kind."""
        kinds = self.cascade.record_parts[0].stop
        one_hot = nn.functional.one_hot(self.data.kind[rows], kinds).float()
        return torch.cat([one_hot, self.data.numbers[rows]], dim=1)

    def made(self, name: str, rows: Tensor, *, alone: bool) -> Tensor:
        """What the critic sees of made rows [B].

        Args:
            name: The level.
            rows: Flows (tuples, series) or records, whose conditions are taken.
            alone: Whether the levels above are the real ones (phase 1), or made, too (phase 2).
        """
        data, cascade = self.data, self.cascade
        flow = data.flow[rows] if name == "records" else rows
        conditions = data.conditions[flow]
        if name == "tuples" or not alone:
            tuples = cascade.make_tuples(conditions)
        else:
            tuples = data.tuples[flow]
        if name == "tuples":
            return torch.cat([cascade.given(conditions), tuples], dim=1)
        if name == "series":
            series = cascade.make_series(conditions, tuples, data.spans[flow])
            return cascade.series_pair(conditions, tuples, series)
        return self._made_records(rows, conditions, tuples, alone=alone)[0]

    def both(self, name: str, rows: Tensor, *, alone: bool) -> tuple[Tensor, Tensor, int]:
        """`real` and `made`, and in how many leading columns they are equal."""
        data = self.data
        made = self.made(name, rows, alone=alone)
        common = data.conditions.shape[1]
        if not alone or name == "tuples":
            return self.real(name, rows), made, common
        if name == "series":
            return self.real(name, rows), made, common + data.tuples.shape[1]
        common = made.shape[1] - self.cascade.record_parts[-1].stop
        return torch.cat([made[:, :common], self._real_records(rows)], dim=1), made, common

    def made_with_loss(self, name: str, rows: Tensor, *, alone: bool) -> tuple[Tensor, Tensor]:
        """`made`, and what the generator loses apart from its critic's score.

        The kinds of records are many and some are rare; their likelihood, given the same records
        before them, teaches G3 in minutes what a critic would in hours.
        """
        weight = self.cascade.config.kind_likelihood
        if name != "records" or weight == 0:
            return self.made(name, rows, alone=alone), torch.zeros((), device=rows.device)
        data, flow = self.data, self.data.flow[rows]
        conditions = data.conditions[flow]
        tuples = data.tuples[flow] if alone else self.cascade.make_tuples(conditions)
        pair, logits = self._made_records(rows, conditions, tuples, alone=alone)
        loss = nn.functional.cross_entropy(logits, data.kind[rows])
        return pair, weight * loss

    def _made_records(
        self, rows: Tensor, conditions: Tensor, tuples: Tensor, *, alone: bool
    ) -> tuple[Tensor, Tensor]:
        """What D3 sees of made records, and the logits of their kinds."""
        data, cascade, flow = self.data, self.cascade, self.data.flow[rows]
        if alone:
            window = self.windows.of(data.row[rows])
        else:
            series = self._made_series(conditions, tuples, flow, self.real_series(flow))
            window = window_at(series, data.step[rows], window=cascade.config.window_steps)
        known = torch.cat([cascade.given(conditions), tuples], dim=1)
        context = cascade.places(data.place.take(rows))
        record, logits = cascade.make_records(known, window, context)
        return torch.cat([known, window, context, record], dim=1), logits

    def _made_series(
        self, conditions: Tensor, tuples: Tensor, flow: Tensor, real: Tensor
    ) -> Tensor:
        """Series [B, T, C] by G2, but for flows of one step, whose series is known."""
        lasting = torch.nonzero(self.data.spans[flow] > 1)[:, 0]
        if lasting.numel() == 0:
            return real
        made = self.cascade.make_series(
            conditions[lasting], tuples[lasting], self.data.spans[flow[lasting]]
        )
        made = made[:, : real.shape[1]]
        made = nn.functional.pad(made, (0, 0, 0, real.shape[1] - made.shape[1]))
        return real.index_copy(0, lasting, made)


def step_windows(
    series: Series, scales: CascadeScales, config: CascadeConfig, *, device: torch.device
) -> StepWindows:
    """What G3 sees of the steps around each active one of `series`."""
    flow = np.repeat(np.arange(series.offsets.size - 1), np.diff(series.offsets))
    seen = scales.encode_steps(series.values, zero_inflation=config.zero_inflation)
    return StepWindows(
        torch.as_tensor(seen, device=device),
        torch.as_tensor(series.step, device=device),
        torch.as_tensor(flow, device=device),
        window=config.window_steps,
    )


def record_parts(kind: TokenField) -> tuple[Part, ...]:
    """What G3 emits: a kind, and the images of payload and gap."""
    return lay_out([("kind", kind.size, "choice"), ("length", 1, "number"), ("gap", 1, "number")])


def sliced_distance(real: Tensor, made: Tensor, *, count: int = 96, seed: int = 0) -> float:
    """Mean Wasserstein distance of random one-dimensional projections; 0 is equal.

    Args:
        real: float32 [M, D]; columns are scaled to unit deviation.
        made: float32 [M, D].
        count: Projections.
        seed: Of the projections.

    References:
        Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", JMIV 51, 2015.
    """
    scale = real.std(dim=0)
    used = scale > 1e-4
    scale = scale[used]
    random = torch.Generator().manual_seed(seed)
    width = int(used.sum())
    direction = torch.randn(width, count, generator=random)
    few = torch.rand(width, count, generator=random) < min(1.0, 8 / max(width, 1))
    direction = direction * few  # of a few columns each, or single ones would drown
    direction = direction / direction.norm(dim=0).clamp_min(1e-6)
    direction = direction.to(real.device)
    ours = (real[:, used] / scale) @ direction
    theirs = (made[:, used] / scale) @ direction
    return float((ours.sort(dim=0).values - theirs.sort(dim=0).values).abs().mean())


def as_numpy(tensor: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """Copy a tensor to the host."""
    return tensor.detach().cpu().numpy()
