"""The nets: MLP generators and critics, and the recurrent one that makes series."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS = ("activity", "packets_forward", "packets_reverse", "bytes_forward", "bytes_reverse",
            "first", "last")  # fmt: skip
C = len(CHANNELS)
SEEN = 5  # channels of a step that level 3 sees: all but the sub-period
CHUNK_NOISE = 8  # fresh noise a chunk of steps gets


def mlp(inputs: int, outputs: int, *, width: int, hidden: int) -> nn.Sequential:
    """Build an MLP of `hidden` hidden layers of `width` with GELU."""
    layers: list[nn.Module] = []
    for index in range(hidden):
        layers += [nn.Linear(inputs if index == 0 else width, width), nn.GELU()]
    return nn.Sequential(*layers, nn.Linear(width if hidden else inputs, outputs))


class Critic(nn.Module):
    """Score pairs of condition and sample: D1, D2 and D3."""

    def __init__(self, inputs: int, *, width: int, layers: int) -> None:
        super().__init__()
        self.net = mlp(inputs, 1, width=width, hidden=layers - 1)

    @property
    def layers(self) -> list[nn.Linear]:
        """Its linear layers, with GELU between them."""
        return [layer for layer in self.net if isinstance(layer, nn.Linear)]

    def forward(self, pair: Tensor) -> Tensor:
        """Map [B, D] to [B]."""
        return self.net(pair)[:, 0]  # type: ignore[no-any-return]


class SeriesNet(nn.Module):
    """G2: noise and what is known of flows -> their series, from their first step on.

    A recurrent cell emits `chunk` steps at once: a series of T steps costs T / chunk cells.
    """

    def __init__(
        self, known: int, *, noise: int, step_count: int, chunk: int, width: int,
        backbone: str, mlp_width: int, zero_inflation: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.noise, self.chunk, self.step_count = noise, chunk, step_count
        self.chunks = -(-step_count // chunk)
        self.zero_inflation = zero_inflation
        self.backbone = backbone
        if backbone == "mlp":
            self.body: nn.Module = mlp(
                known + noise, self.chunks * chunk * C, width=mlp_width, hidden=3
            )
        else:
            self.start = nn.Linear(known + noise, width)
            self.each = nn.Linear(CHUNK_NOISE + 1, width)
            kind = nn.LSTM if backbone == "lstm" else nn.GRU
            self.body = kind(width, width, batch_first=True)
            self.out = nn.Sequential(
                nn.Linear(width, width), nn.GELU(), nn.Linear(width, chunk * C)
            )

    def forward(
        self, known: Tensor, spans: Tensor, random: torch.Generator | None = None
    ) -> Tensor:
        """Make series.

        Args:
            known: float32 [B, K], conditions and 5-tuples.
            spans: int64 [B], steps each series lasts; what is behind is 0.
            random: Source of noise; None takes torch's own.

        Returns:
            float32 [B, T, C], T the longest span rounded up to whole chunks: activity 0..1 (how
            sure a step is to be active), log counts and places 0..1, 0 where nothing is active.
        """
        batch, device = known.shape[0], known.device
        chunks = int(torch.div(spans.max() + self.chunk - 1, self.chunk, rounding_mode="floor"))
        noise = torch.randn(batch, self.noise, generator=random, device=device)
        x = torch.cat([known, noise], dim=1)
        if self.backbone == "mlp":
            raw = self.body(x).view(batch, self.chunks * self.chunk, C)[:, : chunks * self.chunk]
        else:
            fresh = torch.randn(batch, chunks, CHUNK_NOISE, generator=random, device=device)
            begins = torch.arange(chunks, device=device) * self.chunk
            left = (1 - begins / spans[:, None]).clamp(min=0)[..., None]  # [B, M, 1]
            inputs = self.start(x)[:, None] + self.each(torch.cat([fresh, left], dim=2))
            hidden, _ = self.body(functional.gelu(inputs))  # [B, M, H]
            raw = self.out(hidden).view(batch, chunks * self.chunk, C)
        return self.shape(raw, spans)

    def shape(self, raw: Tensor, spans: Tensor) -> Tensor:
        """Turn raw outputs [B, T, C] into activity, and values that are read where it is on."""
        raw = raw.float()
        inside = (torch.arange(raw.shape[1], device=raw.device) < spans[:, None])[..., None]
        values = torch.sigmoid(raw[..., 1:])
        if self.zero_inflation:
            activity = torch.sigmoid(raw[..., :1])
            values = values * activity
        else:
            activity = torch.zeros_like(raw[..., :1])
        return torch.cat([activity, values], dim=2) * inside


class RecordNet(nn.Module):
    """G3: noise, what is known of the flow, a window of its series and the records before."""

    def __init__(
        self, known: int, *, window: int, context: int, kinds: int, noise: int, width: int,
        hidden: int, backbone: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.noise, self.window, self.backbone = noise, window, backbone
        seen = window * SEEN
        if backbone == "lstm":
            self.steps = nn.LSTM(SEEN, width // 4, batch_first=True)
            seen = width // 4
        inputs = known + seen + context + noise
        self.body = nn.Sequential(mlp(inputs, width, width=width, hidden=hidden - 1), nn.GELU())
        self.kinds = nn.Linear(width, kinds)
        self.finish = mlp(width + kinds, 2, width=width // 2, hidden=1)

    def forward(
        self, known: Tensor, steps: Tensor, context: Tensor, random: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor]:
        """Read known [B, K], steps [B, W x SEEN] and context [B, X].

        Returns:
            What it makes of them [B, H], and logits of the record's kind [B, kinds].
        """
        noise = torch.randn(known.shape[0], self.noise, generator=random, device=known.device)
        if self.backbone == "lstm":
            hidden, _ = self.steps(steps.view(-1, self.window, SEEN))
            steps = hidden[:, -1]
        state: Tensor = self.body(torch.cat([known, steps, context, noise], dim=1))
        return state, self.kinds(state).float()

    def numbers(self, state: Tensor, kind: Tensor) -> Tensor:
        """Images of payload and gap [B, 2] of records of a kind [B, kinds], a 1 among 0s."""
        return torch.tanh(self.finish(torch.cat([state, kind], dim=1)).float())
